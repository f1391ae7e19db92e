"""Sensors and collectors of a chaos run."""
import os
import re
import select
import signal
import subprocess
import threading
import time

from servers import REDIS, Process

DARK = "198.51.100.0/24,203.0.113.0/24,2001:db8:77::/64"


def last_lines(text, count=3):
    return " | ".join(text.strip().splitlines()[-count:])[-600:]


class Replay:
    """The sensor of the replay: a capture through a pipe, of which only so much has arrived yet."""

    def __init__(self, world, prefix, capture):
        self.world, self.prefix, self.capture = world, prefix, capture.read_bytes()
        self.process = Process("replay", world.data / "log/replay.log")
        self.allowed = self.goal = 0  # bytes: what may be written now, and soon
        self.rate = 1.0  # bytes a second on the way there
        self.wanted = False
        self.started = self.started_at = 0.0  # monotonic and by the clock
        self.workers = 1  # any number sends the same
        self.lock = threading.Lock()
        self.ended = False
        self.pipes = []  # [process, bytes written to it]
        threading.Thread(target=self.feed, daemon=True).start()

    def words(self, prefix, source="-"):
        return [self.world.sensor, "-r", source, "--replay-id", "chaos", "--topic-prefix", prefix, "--brokers",
                self.world.kafka.brokers_of["SENSORS"], "--sensor", "chaos", "--dark", DARK, "--workers",
                str(self.workers), "-o", "kafka"]

    def start(self):
        self.wanted, self.started, self.started_at = True, time.monotonic(), time.time()
        with self.lock:
            self.process.run(self.words(self.prefix), stdin=subprocess.PIPE)
            os.set_blocking(self.process.child.stdin.fileno(), False)
            self.pipes = [pipe for pipe in self.pipes if pipe[0] is not self.process]  # that was of the one before
            self.pipes.append([self.process, 0])

    def has_introduced_itself(self):
        """Whether its id stands in the cursor: the last one to come as far stays."""
        times = [int(line.split()[1]) for line in self.world.kafka.read(f"{self.prefix}.cursors.v1", "%k %T\n").splitlines()
                 if line.startswith(f"{self.prefix}.replay.chaos ".encode())]
        return bool(times) and times[-1] / 1000 > self.started_at

    def has_waited(self):
        """Whether it gave up because there has been no broker for the 30 s that a replay waits for one."""
        lived = time.monotonic() - self.started
        return lived >= 30 and self.world.kafka_held > self.started and self.process.child.returncode == 1 and \
            re.search("Broker transport failure|[Tt]imed out|not reachable", last_lines(self.process.said(), 1))

    def kill(self):
        self.wanted = False
        self.process.kill()

    def begin_another(self):
        """A second one beside the first, which from then on is nobody's but still gets its input."""
        self.process = Process("replay", self.process.log)
        self.start()

    def advance(self, share, seconds):
        """So much more of the capture arrives within some seconds; at once when it is zero."""
        self.goal = min(len(self.capture), self.goal + int(share * len(self.capture)))
        self.rate = (self.goal - self.allowed) / max(seconds, 0.001)

    def advance_to_end(self):
        self.goal, self.rate = len(self.capture), 1e9

    def feed(self):
        """A thread: writes what may be written, also again to a sensor that begins anew."""
        past = time.monotonic()
        while not self.ended:
            time.sleep(0.02)
            now = time.monotonic()
            self.allowed = min(self.goal, int(self.allowed + self.rate * (now - past)))
            past = now
            with self.lock:
                self.pipes = [pipe for pipe in self.pipes if pipe[0].is_running and not pipe[0].child.stdin.closed]
                for pipe in self.pipes:
                    self.write(pipe)

    def write(self, pipe):
        stdin = pipe[0].child.stdin
        try:
            while pipe[1] < self.allowed and select.select([], [stdin], [], 0)[1]:
                pipe[1] += os.write(stdin.fileno(), self.capture[pipe[1] : min(self.allowed, pipe[1] + 65536)])
            if pipe[1] == len(self.capture):
                stdin.close()
        except (BrokenPipeError, BlockingIOError):
            pass

    @property
    def is_fed(self):
        return self.allowed == len(self.capture)

    @property
    def is_done(self):
        return self.process.child is not None and self.process.child.poll() == 0


def how_it_ended(member, status):
    """@return what is wrong with how a collector ended that was told to"""
    if status == 0 or (status == -signal.SIGTERM and "views started" not in member.said(member.since)):
        return []  # or it had not yet come as far as to listen to signals
    return [f"{member.name} ended with {status}: {last_lines(member.said())}"]


class Members:
    """Collectors of one group; one, or several for a while."""

    def __init__(self, world, prefix, database, name):
        self.world, self.prefix, self.database, self.name = world, prefix, database, name
        self.members = []
        self.wanted = 0
        self.held = set()  # whom a fault keeps down
        self.more = ()  # options

    def start(self, index):
        while len(self.members) <= index:
            self.members.append(Process(f"{self.name}{len(self.members)}",
                                        self.world.data / f"log/{self.name}{len(self.members)}.log"))
        if not self.members[index].is_running:
            self.members[index].run(self.words())

    def words(self):
        return [self.world.collector, "--topic-prefix", self.prefix, "--brokers",
                self.world.kafka.brokers_of["COLLECTORS"], "--redis", f"redis://{REDIS}:6379/{self.database}",
                "--state", self.world.data / "state", *self.more]

    def want(self, count):
        self.wanted = count
        for i in range(count):
            if i not in self.held:
                self.start(i)

    def leave(self, count):
        """Down to so many, by SIGTERM. @return what is wrong with how they ended"""
        self.wanted = count
        found = []
        for member in self.members[count:]:
            found += how_it_ended(member, member.end(seconds=60) if member.is_running else 0)
        return found


class World:
    """All that a run consists of."""

    def __init__(self, build, data, kafka, redis):
        self.build, self.data, self.kafka, self.redis = build, data, kafka, redis
        self.step, self.storm = 0.0, 1  # share of the stream with each fault; kills in a storm
        self.sensor = build / "sensor/hoshimi-sensor"
        self.collector = build / "collector/hoshimi-collector"
        self.report = build / "collector/hoshimi-report"
        self.findings = []  # what nobody expected
        self.replay = self.live = None
        self.kafka_held = 0.0  # when a fault last had its hands on Kafka
        self.groups = []

    def find(self, text):
        self.findings.append(text)
        print(f"    finding: {text}", flush=True)

    def create_topics(self, prefix):
        copies = min(3, len(self.kafka.nodes))
        done = subprocess.run([self.collector, "--create-topics", "--topic-prefix", prefix, "--brokers",
                               self.kafka.brokers, "--replication", str(copies)], capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"topics: {done.stderr.decode()}")

    def close(self):
        """Everything ends at once."""
        if self.replay is not None:
            self.replay.ended = True
            for process, _ in self.replay.pipes:
                process.end(signal.SIGKILL)
        for group in self.groups:
            for member in group.members:
                member.end(signal.SIGKILL)
        if self.live is not None:
            self.live.close()
        for process in (*self.kafka.processes, self.redis.process):
            process.end(signal.SIGKILL)

    def watch(self):
        """Whoever ended by itself is a finding, and is started again, as systemd would."""
        replay = self.replay
        if replay.wanted and not replay.process.is_running and not replay.is_done:
            if not replay.has_waited():
                self.find(f"the replay's sensor ended with {replay.process.child.returncode}: "
                          f"{last_lines(replay.process.said())}")
            replay.start()
        for group in self.groups:
            for i, member in enumerate(group.members[: group.wanted]):
                if i not in group.held and not member.is_running:
                    self.find(f"{member.name} ended with {member.child.returncode}: {last_lines(member.said())}")
                    group.start(i)
        if self.live is not None:
            self.live.watch()
