"""Kafka and Redis of a chaos run: started, killed, frozen, brought back, by the process we started."""
import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA_PORT = 9092  # the network namespace is ours: all ports are free
REDIS_PORT = 6379

# Who reaches whom under which address, so that one way can be cut and the others stay.
DRIVER, SENSORS, COLLECTORS, REDIS = "127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.2.1"
LISTENERS = (("SENSORS", SENSORS, 100), ("COLLECTORS", COLLECTORS, 200))  # ports above KAFKA_PORT

# Shortly after its start and during its shutdown a lone node knows of no leader, itself not being
# registered: then Kafka 4.3.1 takes the partitions of a transaction that ends for deleted and skips their
# markers. The transaction counts as complete and hangs; the next one's markers decide, in each partition,
# what becomes of it. deploy/kafka/server.properties and the controller beside the brokers make that rare.
SKIPPED = re.compile(r"transaction markers for (\S+), these partitions are likely deleted")


kills = collections.Counter()  # SIGKILLs of running processes by what was killed; the end of a run is none


def cut(address):
    """Packets to the address vanish from now on; connections stay, and hang."""
    subprocess.run(["ip", "route", "add", "blackhole", f"{address}/32", "table", "local"], check=True)


def join(address):
    subprocess.run(["ip", "route", "del", "blackhole", f"{address}/32", "table", "local"], check=True)


def wait_for(what, seconds, pause=0.1):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(pause)
    return False


class Process:
    """A program that may die and come back; its output goes to one log."""

    def __init__(self, name, log):
        self.name, self.log, self.child = name, pathlib.Path(log), None
        self.since = 0  # where in the log the present one begins

    def run(self, words, **options):
        with open(self.log, "ab") as log:
            self.since = log.tell()
            self.child = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log, **options)

    @property
    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def send(self, number):
        if self.is_running:
            self.child.send_signal(number)

    def kill(self):
        if self.is_running:
            kills[self.name.rstrip("0123456789")] += 1
        self.end(signal.SIGKILL)

    def end(self, number=signal.SIGTERM, seconds=30):
        """@return the exit status; one that does not end in time is killed, and None"""
        if self.child is None:
            return None
        self.send(number)
        self.send(signal.SIGCONT)
        try:
            return self.child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def terminate(self):
        """SIGTERM, without waiting."""
        self.send(signal.SIGTERM)

    def freeze(self):
        self.send(signal.SIGSTOP)

    def thaw(self):
        self.send(signal.SIGCONT)

    def said(self, since=0):
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")


class Kafka:
    """Brokers, and a controller beside them.

    A lone node that is its own controller (as in the quick start), and three that are when all are killed,
    wake up after SIGKILL as the leaders of everything, begin to end the transactions they find, only then
    register, lose their leaders, and skip the markers: see SKIPPED. A controller that lives on takes the
    leaders away before.
    """

    CLUSTER = "Q2hhb3NDaGFvc0NoYW9zIQ"
    CONTROLLER_PORT = KAFKA_PORT + 1000

    def __init__(self, data, jars, java, nodes):
        self.dir, self.jars, self.java = data / "kafka", jars, java
        self.nodes = [Process(f"kafka{i + 1}", data / f"log/kafka{i + 1}.log") for i in range(nodes)]
        self.formats = []
        self.controller = Process("controller", data / "log/controller.log")
        self.ports = [KAFKA_PORT + i for i in range(nodes)]
        self.brokers = ",".join(f"{DRIVER}:{port}" for port in self.ports)
        self.brokers_of = {name: ",".join(f"{address}:{port + more}" for port in self.ports)
                           for name, address, more in LISTENERS}

    def configure(self):
        text = (ROOT / "deploy/kafka/server.properties").read_text()
        count = len(self.nodes)
        copies = min(3, count)
        for i in range(count):
            folder = self.dir / str(i + 1)
            folder.mkdir(parents=True)
            own = text.replace("@PORT@", str(self.ports[i])).replace("@DATA@", str(folder / "data"))
            own = own.replace("@CONTROLLER_PORT@", str(self.CONTROLLER_PORT)).replace("voters=1@", "voters=100@")
            own = own.replace("replication.factor=1", f"replication.factor={copies}")
            own = own.replace("state.log.min.isr=1", f"state.log.min.isr={max(1, copies - 1)}")
            own += f"\nmin.insync.replicas={max(1, copies - 1)}\nunclean.leader.election.enable=false\n"
            if i == 0:
                self.configure_controller(own)
            own = own.replace("node.id=1", f"node.id={i + 1}").replace("roles=broker,controller", "roles=broker")
            own = re.sub(r",CONTROLLER://\S*", "", own)
            more = "".join(f",{name}://{address}:{self.ports[i] + more}" for name, address, more in LISTENERS)
            own = re.sub(r"^((advertised\.)?listeners=PLAINTEXT://[^,\n]*)", rf"\1{more}", own, flags=re.M)
            own = own.replace("map=PLAINTEXT:PLAINTEXT", "map=PLAINTEXT:PLAINTEXT" +
                              "".join(f",{name}:PLAINTEXT" for name, _, _ in LISTENERS))
            self.format(folder, own)
        for process in self.formats:
            said = process.communicate()[0]
            if process.returncode != 0:
                raise RuntimeError(f"Kafka's data cannot be prepared: {said[-900:]}")

    def configure_controller(self, text):
        folder = self.dir / "controller"
        folder.mkdir(parents=True)
        text = text.replace("roles=broker,controller", "roles=controller").replace("node.id=1", "node.id=100")
        text = text.replace(str(self.dir / "1"), str(folder))
        text = re.sub(r"^listeners=\S*", f"listeners=CONTROLLER://{DRIVER}:{self.CONTROLLER_PORT}", text, flags=re.M)
        text = re.sub(r"^advertised\.listeners=.*\n", "", text, flags=re.M)
        self.format(folder, text)

    def format(self, folder, text):
        """Begins to; configure() waits."""
        (folder / "server.properties").write_text(text)
        self.formats.append(subprocess.Popen(
            self.command("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", self.CLUSTER, "-c",
                         folder / "server.properties"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT))

    def command(self, name, *words):
        log4j = ROOT / "deploy/kafka/log4j2.properties"
        return [str(word) for word in (*self.java, f"-Dlog4j2.configurationFile={log4j}", "-cp",
                                       f"{self.jars}/libs/*", name, *words)]

    def start(self, node=None):
        """Starts what does not run. Does not wait: whoever uses it must."""
        if not self.controller.is_running:
            self.controller.run(self.command("kafka.Kafka", self.dir / "controller/server.properties"))
        for i, process in enumerate(self.nodes):
            if node in (None, i) and not process.is_running:
                process.run(self.command("kafka.Kafka", self.dir / str(i + 1) / "server.properties"))

    def start_again(self):
        """A killed JVM may hold its port a moment longer than it lives; the next one then ends at once."""
        for i, process in enumerate(self.nodes):
            if process.child is not None and process.child.poll() == 1 and \
                    "Address already in use" in process.said(process.since):
                self.start(i)

    def answers(self):
        self.start_again()
        for port in self.ports:
            done = subprocess.run(["kcat", "-L", "-m", "2", "-b", f"127.0.0.1:{port}"], capture_output=True, check=False)
            if done.returncode != 0:
                return False
        return True

    def wait(self, seconds=60):
        if not wait_for(self.answers, seconds):
            raise RuntimeError(f"Kafka does not answer, see {self.nodes[0].log}")

    @property
    def processes(self):
        return [*self.nodes, self.controller]

    def each(self, what):
        for process in self.nodes:
            getattr(process, what)()

    def skipped(self, prefix):
        """Transactions under this prefix whose markers Kafka has not written: its fault, not ours."""
        ids = {found for node in self.nodes for found in SKIPPED.findall(node.said())}
        return sorted(name for name in ids if name.startswith(prefix + "."))

    def read(self, topic, form=None, seconds=600):
        """All committed messages of a topic, as kcat shows them."""
        words = ["kcat", "-b", self.brokers, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-X",
                 "isolation.level=read_committed"] + (["-f", form] if form else [])
        return subprocess.run(words, capture_output=True, check=False, timeout=seconds).stdout

    def read_messages(self, topic):
        """(partition, offset, value) of all committed messages of a topic."""
        data, at, messages = self.read(topic, "%p %o %S\n%s"), 0, []
        while at < len(data):
            end = data.index(b"\n", at)
            partition, offset, size = map(int, data[at:end].split())
            size = max(size, 0)
            messages.append((partition, offset, data[end + 1 : end + 1 + size]))
            at = end + 1 + size
        return messages


class RedisError(Exception):
    pass


class RedisClient:
    """As much of Redis's protocol as is needed here."""

    def __init__(self, seconds=20):
        self.socket = socket.create_connection(("127.0.0.1", REDIS_PORT), timeout=seconds)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(out))

    def receive(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis has closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.file.read(int(text) + 2)[:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(text))]
        return text

    def call(self, *words):
        self.send(words)
        return self.receive()


# All keys of a prefix but positions, sketches by what they count; as tests/e2e/chain.py does it.
DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local name = string.sub(key, #ARGV[1] + 1)
  local kind = redis.call('TYPE', key).ok
  local value
  if string.find(name, ':watermarks$') then value = nil
  elseif kind == 'hash' then
    local flat = redis.call('HGETALL', key)
    local fields = {}
    for i = 1, #flat, 2 do fields[#fields + 1] = flat[i] .. '=' .. flat[i + 1] end
    table.sort(fields); value = fields
  elseif kind == 'string' then value = redis.call('PFCOUNT', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key); table.sort(value)
  else value = redis.call('LRANGE', key, 0, -1) end
  if value ~= nil then out[name] = value end
end
return cjson.encode(out)
"""

# Watermarks and packets by minute and class, of one moment.
GLANCE = """
local marks, figures = redis.call('HGETALL', ARGV[1] .. ':{0}:watermarks'), {}
for _, start in ipairs(redis.call('ZRANGE', ARGV[1] .. ':{0}:buckets:minute', 0, -1)) do
  local flat = redis.call('HGETALL', ARGV[1] .. ':{0}:minute:' .. start .. ':packets:class')
  for i = 1, #flat, 2 do figures[start .. ' ' .. flat[i]] = tonumber(flat[i + 1]) end
end
return cjson.encode({ marks, figures })
"""


class Redis:
    def __init__(self, data):
        self.dir = data / "redis"
        self.aof = self.dir / "data/appendonlydir"
        self.process = Process("redis", data / "log/redis.log")
        self.epoch = 0  # one more each time it may have lost what it acknowledged
        self.fsync = "always"

    def configure(self):
        (self.dir / "data").mkdir(parents=True)
        text = (ROOT / "deploy/redis/redis.conf").read_text()
        text = text.replace("@PORT@", str(REDIS_PORT)).replace("@DATA@", str(self.dir / "data"))
        lines = [line for line in text.splitlines() if not line.startswith(("bind", "unixsocket", "appendfsync"))]
        lines += [f"bind {DRIVER} {REDIS}", "auto-aof-rewrite-percentage 0", "databases 16"]
        (self.dir / "redis.conf").write_text("\n".join(lines) + "\n")

    def mend(self):
        """Cuts a torn log where its last whole transaction ends, as an operator should.

        Redis 7.0 by itself (aof-load-truncated) cuts behind the last whole command, inside a MULTI; the
        next start then takes half a script for a whole one ("MULTI calls can not be nested").
        """
        manifest = next(self.aof.glob("*.manifest"))
        subprocess.run(["redis-check-aof", "--fix", str(manifest)], input=b"y\n" * 10, capture_output=True, check=True)

    def start(self):
        if not self.process.is_running:
            self.process.run(["redis-server", self.dir / "redis.conf", "--appendfsync", self.fsync])

    def answers(self):
        try:
            return self.call(0, "PING", seconds=2) == b"PONG"
        except (OSError, RedisError):
            return False

    def wait(self, seconds=30):
        if not wait_for(self.answers, seconds):
            raise RuntimeError(f"Redis does not answer, see {self.process.log}")

    def call(self, database, *words, seconds=60):
        client = RedisClient(seconds)
        try:
            if database:
                client.call("SELECT", database)
            return client.call(*words)
        finally:
            client.close()

    def dump(self, database, prefix):
        import json
        return json.loads(self.call(database, "EVAL", DUMP, 0, prefix))

    def glance(self, database, prefix):
        """Watermarks by partition, and packets by minute and class."""
        import json
        marks, figures = json.loads(self.call(database, "EVAL", GLANCE, 0, prefix, seconds=10))
        return {int(marks[i]): int(marks[i + 1]) for i in range(0, len(marks), 2)}, dict(figures)

    def empty(self):
        self.epoch += 1
        self.call(0, "FLUSHALL")

    # ---- its disk ----

    def tail(self):
        """The file that is appended to."""
        return max(self.aof.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)

    def keep_copy(self):
        copy = self.dir / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.aof, copy)

    def put_copy_back(self):
        """The disk of some time ago. Redis must not run."""
        copy = self.dir / "copy"
        if not copy.exists():
            return False
        shutil.rmtree(self.aof)
        shutil.copytree(copy, self.aof)
        self.epoch += 1
        return True

    def cut_tail(self, size):
        os.truncate(self.tail(), size)
        self.epoch += 1
