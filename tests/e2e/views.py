"""Views of which something is taken away: a member, the group's memory, the log's start, Redis.

Called by chain.py with itself as `e2e`: its checks, its programs.
"""
import collections
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import audit

TAKEOVER_S = 20  # the group waits 10 s for a member that says nothing, then the partitions move
COUNT_ONLY = ("--views", "count")


def log(text):
    print(f"    {text}", flush=True)


def read_json(e2e, topic, form="%s\n"):
    done = e2e.run("kcat", "-b", e2e.BROKERS, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-f", form,
                   "-X", "isolation.level=read_committed")
    return done.stdout.splitlines()


def groups(e2e, *words):
    """Kafka's own tool for consumer groups. @return what it printed"""
    done = e2e.services("kafka_java org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "
                        f"{e2e.BROKERS} {' '.join(words)}")
    return done.stdout.decode() + done.stderr.decode()


def members(e2e, group):
    """Member ids of a group by partition."""
    found = {}
    for line in groups(e2e, "--describe", "--group", group).splitlines():
        words = line.split()
        if len(words) > 6 and words[0] == group and words[1].endswith(".flows.v1"):
            found[int(words[2])] = words[6]
    return found


def delete_records(e2e, topic, offsets):
    path = e2e.DATA / "delete.json"
    path.write_text(json.dumps({"version": 1, "partitions": [
        {"topic": topic, "partition": partition, "offset": offset} for partition, offset in offsets.items()]}))
    e2e.services(f"kafka_java org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server {e2e.BROKERS} "
                 f"--offset-json-file {path}")


def ends(e2e, topic, partitions=6):
    """End offsets, as a reader of uncommitted records sees them."""
    found = {}
    for partition in range(partitions):
        done = e2e.run("kcat", "-b", e2e.BROKERS, "-Q", "-t", f"{topic}:{partition}:-1")
        found[partition] = int(done.stdout.split()[-1])
    return found


def stored_positions(e2e, prefix):
    """What state.v1 says of the view enrich, by partition."""
    found = {}
    for line in read_json(e2e, f"{prefix}.state.v1", "%k %s\n"):
        key, value = line.decode().split(" ", 1)
        if ".enrich." in key:
            found[int(key.rsplit(".", 1)[1])] = json.loads(value)
    return found


def watermarks(e2e, prefix, database):
    flat = e2e.redis("hgetall", f"{prefix}:{{0}}:watermarks", database=database).decode().split()
    return {int(a): int(b) for a, b in zip(flat[0::2], flat[1::2])}


class Stream(threading.Thread):
    """A replay that goes on: two minutes of packets a second, each from a source of its own, so that every partition
    always has something to do. Frames are large, because the sensor reads its input in blocks of a megabyte."""

    FRAME_BYTES, PER_MINUTE = 1400, 800

    def __init__(self, e2e, prefix):
        super().__init__(daemon=True)
        self.wanted, self.number = True, 0
        self.process = e2e.start(f"{prefix}.sensor", e2e.SENSOR, "-r", "-", "--replay-id", "stream", "--topic-prefix",
                                 prefix, "--brokers", e2e.BROKERS, "--sensor", "e2e", "--dark", e2e.DARK, "-o", "kafka",
                                 stdin=subprocess.PIPE)
        self.start()

    def frame(self):
        self.number += 1
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, self.FRAME_BYTES - 14, self.number & 0xFFFF, 0, 50, 17, 0,
                         struct.pack(">I", 0x0A000000 | (self.number * 2654435761 & 0xFFFFFF)),
                         bytes((198, 51, 100, self.number % 256)))
        udp = struct.pack(">HHHH", 40000, 2323, self.FRAME_BYTES - 34, 0)
        return bytes(12) + b"\x08\x00" + ip + udp + bytes(self.FRAME_BYTES - 42)

    def run(self):
        out, second = self.process.stdin, 1767225600
        try:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            while self.wanted:
                for i in range(self.PER_MINUTE):
                    at = second + i * 60 // self.PER_MINUTE
                    out.write(struct.pack("<IIII", at, 0, self.FRAME_BYTES, self.FRAME_BYTES) + self.frame())
                out.flush()
                second += 60
                time.sleep(0.5)
            out.close()
        except BrokenPipeError:
            pass

    def end(self):
        """@return packets sent"""
        self.wanted = False
        self.join()
        self.process.wait(timeout=120)
        return self.number


# ---- takeover ----


def first_after(e2e, prefix, since_ms):
    """Of each partition, the time of the first enriched record that was appended after a moment."""
    found = {}
    for line in read_json(e2e, f"{prefix}.enriched.v1", "%p %T\n"):
        partition, when = map(int, line.split())
        if when > since_ms:
            found.setdefault(partition, when)
    return found


def measure_takeover(e2e, prefix, name, act):
    """Every partition must be served again soon. Prints how soon."""
    since_ms = int(time.time() * 1000)
    act()
    e2e.wait_for(lambda: len(first_after(e2e, prefix, since_ms)) == 6, 40, 0.5)
    waits = [(when - since_ms) / 1000 for when in first_after(e2e, prefix, since_ms).values()]
    e2e.check(f"takeover: {name}: every partition is served again within {TAKEOVER_S} s",
              len(waits) == 6 and max(waits) <= TAKEOVER_S, sorted(waits))
    log(f"{name}: seconds until each partition was served again: {' '.join(f'{wait:.1f}' for wait in sorted(waits))}")


def test_takeover(e2e, *_):
    """A member is killed, another one frozen and woken: the rest serves its partitions, and nothing comes twice."""
    prefix, database = "e2e-tk", 5
    e2e.topics(prefix)
    pair = [e2e.collector(prefix, database, name=f"member{i}") for i in range(2)]
    stream = Stream(e2e, prefix)
    group = f"{prefix}.hoshimi.enrich"
    e2e.wait_for(lambda: len(set(members(e2e, group).values())) == 2, 30)
    time.sleep(4)
    measure_takeover(e2e, prefix, "SIGKILL", lambda: e2e.stop(pair[0], signal.SIGKILL))
    pair[0] = e2e.collector(prefix, database, name="member0")
    e2e.check("takeover: a new member gets its share",
              e2e.wait_for(lambda: len(set(members(e2e, group).values())) == 2, 40), members(e2e, group))
    time.sleep(4)
    measure_takeover(e2e, prefix, "SIGSTOP", lambda: pair[1].send_signal(signal.SIGSTOP))
    time.sleep(2)
    pair[1].send_signal(signal.SIGCONT)
    e2e.check("takeover: the woken member is one of the group again",
              e2e.wait_for(lambda: len(set(members(e2e, group).values())) == 2, 40), members(e2e, group))
    time.sleep(4)
    since_ms = int(time.time() * 1000)
    e2e.check("takeover: both work",
              e2e.wait_for(lambda: len(first_after(e2e, prefix, since_ms)) == 6, 20), first_after(e2e, prefix, since_ms))
    sent = stream.end()
    in_log = packets_behind(e2e, prefix, {})
    e2e.check("takeover: every packet is in the log", in_log["packets"] == sent, (in_log, sent))
    ok = e2e.wait_for(lambda: e2e.counted(prefix, database) == sent, 60, 1)
    e2e.check("takeover: every packet is counted once", ok, (e2e.counted(prefix, database), sent))
    e2e.wait_for(lambda: len(e2e.enriched(prefix)) >= in_log["records"], 60, 1)
    lines = e2e.enriched(prefix)
    e2e.check("takeover: every flow is enriched, and none twice",
              len(lines) == len(set(lines)) == in_log["records"], (len(lines), len(set(lines)), in_log))
    audit.is_clean(e2e, "after takeovers", prefix, database)
    for process in pair:
        e2e.check("takeover: both members lived on", process.poll() is None)
        e2e.stop(process)


# ---- standstill ----


def packets_behind(e2e, prefix, low):
    """Packets and flow records in the log, from the given offsets on."""
    found = collections.Counter()
    for partition, offset, value in audit.read_topic(e2e, f"{prefix}.flows.v1"):
        if offset < low.get(partition, 0):
            continue
        for record in audit.open_container(value):
            if "entry" not in record:
                found.update(packets=record["packets"], records=1)
    return found


def gaps_of(shown):
    return sorted((gap["partition"], gap["from_offset"], gap["to_offset"]) for gap in shown)


def caught_up(e2e, prefix, database):
    _, shown, _ = audit.audit(e2e, prefix, database)
    return shown and all(view and view["flows_behind"] == 0 for view in shown["views"].values())


def in_every_form(e2e, prefix, database, name, gap):
    """The sentence about a gap, in each form of the report that Redis gives."""
    sentence = f"not counted: offsets {gap[1]} to {gap[2] - 1} of partition {gap[0]}, which the topic no longer held"
    base = [e2e.REPORT, "--redis", e2e.redis_url(database), "--topic-prefix", prefix]
    for words in ([], ["--json"], ["--csv"], ["--by", "class"], ["--by", "class", "--csv"], ["--per", "day", "--json"],
                  ["--from", "2020-01-01", "--csv"]):
        text = e2e.run(*base, *words).stdout.decode()
        e2e.check(f"{name}: {' '.join(['the report', *words])} shows the gap", sentence in text, text[:600])
    text = e2e.run(*base, "--audit", "--brokers", e2e.BROKERS).stdout.decode()
    e2e.check(f"{name}: the audit shows both views' gaps",
              sentence in text and sentence.replace("counted", "enriched") in text, text[-800:])


def test_standstill(e2e, capture, summary, reference):
    """After more than a week without a collector: Kafka has forgotten the groups, and the log's start has moved."""
    prefix, database = "e2e-st", 6
    e2e.topics(prefix)
    parts = e2e.split_capture(capture, 10)
    e2e.sensor(prefix, "-r", *parts[:4])
    process = e2e.collector(prefix, database)
    e2e.wait_for(lambda: e2e.counted(prefix, database) > 0 and caught_up(e2e, prefix, database), pause=1)
    e2e.stop(process)
    before = ends(e2e, f"{prefix}.flows.v1")
    early = e2e.sums_of(e2e.enriched(prefix))["counted"]
    records_before = len(e2e.enriched(prefix))
    stood = {partition: state["offset"] for partition, state in stored_positions(e2e, prefix).items()}
    e2e.check("standstill: both views stood at the same place", stood == watermarks(e2e, prefix, database),
              (stood, watermarks(e2e, prefix, database)))

    e2e.sensor(prefix, "-r", *parts[4:])
    after = ends(e2e, f"{prefix}.flows.v1")
    said = groups(e2e, "--delete", "--group", f"{prefix}.hoshimi.enrich", "--group", f"{prefix}.hoshimi.count")
    e2e.check("standstill: Kafka forgot the groups", "successful" in said, said)
    # two partitions lose nothing that was not worked through, the others half of what came later
    low = {p: before[p] - 1 - p if p < 2 else (before[p] + after[p]) // 2 for p in range(6)}
    delete_records(e2e, f"{prefix}.flows.v1", low)
    still = packets_behind(e2e, prefix, {p: max(low[p], stood[p]) for p in range(6)})
    lost = summary["counted"] - early - still["packets"]
    e2e.check("standstill: packets are lost, and not all of them", still["packets"] > 0 and lost > 0, (still, lost))

    process = e2e.collector(prefix, database)
    e2e.check("standstill: both views go on to the end",
              e2e.wait_for(lambda: caught_up(e2e, prefix, database), 60, 1), e2e.said(prefix, "collector")[-400:])
    expected = [(p, stood[p], low[p]) for p in range(2, 6)]
    shown = e2e.report(prefix, database)
    e2e.check("standstill: Redis has what was counted and what was still there, once",
              shown["base"]["applied"] == early + still["packets"], (shown["base"]["applied"], early, still))
    e2e.check("standstill: the gap of each partition is recorded with its range",
              gaps_of(shown["base"]["count_gaps"]) == expected, (shown["base"]["count_gaps"], expected))
    lines = e2e.enriched(prefix)
    e2e.check("standstill: every flow that was still there is enriched once",
              len(lines) == len(set(lines)) == records_before + still["records"] and
              e2e.sums_of(lines)["counted"] == early + still["packets"], (len(lines), records_before, still))
    audited = audit.is_clean(e2e, "after a standstill", prefix, database)
    e2e.check("standstill: the audit has the gaps of both views",
              gaps_of(audited["enrich_gaps"]) == gaps_of(audited["count_gaps"]) == expected, audited["enrich_gaps"])
    in_every_form(e2e, prefix, database, "standstill", expected[0])
    e2e.stop(process)
    process = e2e.collector(prefix, database)
    time.sleep(8)
    e2e.check("standstill: another start changes nothing",
              len(e2e.enriched(prefix)) == len(lines) and
              gaps_of(e2e.report(prefix, database)["base"]["count_gaps"]) == expected)

    e2e.redis("flushdb", database=database)
    ok = e2e.wait_for(lambda: caught_up(e2e, prefix, database), 60, 1)
    shown = e2e.report(prefix, database)
    e2e.check("standstill: an emptied Redis says what it cannot be filled with any more",
              ok and gaps_of(shown["base"]["count_gaps"]) == [(p, 0, low[p]) for p in range(6)] and
              shown["base"]["applied"] == packets_behind(e2e, prefix, low)["packets"], shown["base"])
    e2e.stop(process)


# ---- Redis ----


def own_redis(e2e, port, *words):
    """A Redis of the test's own: it may be frozen, and take over from another one."""
    folder = e2e.DATA / f"redis-{port}"  # a replica keeps what it was sent
    folder.mkdir()
    process = e2e.start(f"redis-{port}", "redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir",
                        folder, "--maxmemory-policy", "noeviction", "--bind", "127.0.0.1", *words)
    e2e.wait_for(lambda: ask(e2e, port, "ping") == "PONG", 20)
    return process


def ask(e2e, port, *words):
    return e2e.run("redis-cli", "-p", port, *words, timeout=60).stdout.decode().strip()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Address:
    """One address for Redis, behind which another one can be put, as a failover does."""

    def __init__(self, target):
        self.target, self.pairs = target, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self.pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for end in (a, b):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def move(self, target):
        self.target = target
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def rss_kib(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


POLL_MS = 15000  # how long a member may be silent here; the group's session lasts 10 s
AWAY_S = 40


def while_away(e2e, prefix, name, process, port, begin, finish):
    """Redis is away for longer than the group's patience: what must not change does not."""
    names = [f"{prefix}.hoshimi.{view}" for view in ("count", "enrich")]
    before, enriched_before = [members(e2e, group) for group in names], len(e2e.enriched(prefix))
    sizes = [rss_kib(process)]
    since = time.monotonic()
    begin()
    while time.monotonic() - since < AWAY_S:
        time.sleep(2)
        sizes.append(rss_kib(process))
    during, enriched_after = [members(e2e, group) for group in names], len(e2e.enriched(prefix))
    finish()
    e2e.wait_for(lambda: ask(e2e, port, "ping") == "PONG", 30)
    e2e.check(f"{name}: both groups keep their members", before == during and all(len(x) == 6 for x in before),
              (before, during))
    e2e.check(f"{name}: enrich goes on", enriched_after > enriched_before, (enriched_before, enriched_after))
    grown = max(sizes) - sizes[0]
    e2e.check(f"{name}: the collector's memory does not grow", grown < 48 * 1024, sizes)
    log(f"{name}: {AWAY_S} s, collector {sizes[0]} KiB before, {max(sizes)} at most, {sizes[-1]} at the end; "
        f"{enriched_after - enriched_before} records enriched meanwhile")


def exact_report(e2e, prefix, port, summary):
    done = e2e.run(e2e.REPORT, "--redis", f"redis://127.0.0.1:{port}/0", "--topic-prefix", prefix, "--json")
    shown = json.loads(done.stdout) if done.returncode == 0 and done.stdout else None
    return shown and shown["base"]["applied"] == shown["counted"] == summary["counted"] and \
        not e2e.same_fields(shown, summary)


def test_redis_away(e2e, capture, summary, reference):
    """Redis frozen, paused, full, emptied, restored and failed over to an older replica, in one stream."""
    prefix = "e2e-ra"
    e2e.topics(prefix)
    ports = [free_port() for _ in range(2)]
    first = own_redis(e2e, ports[0])
    address = Address(ports[0])
    process = e2e.start(f"{prefix}.collector", e2e.COLLECTOR, "--topic-prefix", prefix, "--brokers", e2e.BROKERS,
                        "--redis", f"redis://127.0.0.1:{address.port}/0", "--set",
                        f"kafka.properties.max.poll.interval.ms={POLL_MS}")
    sender = []
    feeder = threading.Thread(target=lambda: sender.append(e2e.slow_sensor(prefix, capture, 220)))
    feeder.start()
    groups_are_there = lambda: len(members(e2e, f"{prefix}.hoshimi.count")) == 6  # noqa: E731
    e2e.wait_for(groups_are_there, 60, 1)
    time.sleep(8)
    while_away(e2e, prefix, "Redis frozen", process, ports[0], lambda: first.send_signal(signal.SIGSTOP),
               lambda: first.send_signal(signal.SIGCONT))
    while_away(e2e, prefix, "Redis paused", process, ports[0],
               lambda: ask(e2e, ports[0], "client", "pause", AWAY_S * 1000), lambda: None)
    while_away(e2e, prefix, "Redis full", process, ports[0],
               lambda: ask(e2e, ports[0], "config", "set", "maxmemory", "1mb"),
               lambda: ask(e2e, ports[0], "config", "set", "maxmemory", "0"))

    second = own_redis(e2e, ports[1], "--replicaof", "127.0.0.1", ports[0])
    mark = lambda port: ask(e2e, port, "hvals", f"{prefix}:{{0}}:watermarks").split()  # noqa: E731
    e2e.wait_for(lambda: mark(ports[1]) == mark(ports[0]) != [], 30)
    ask(e2e, ports[1], "replicaof", "no", "one")  # from here on it falls behind
    old = mark(ports[1])
    e2e.wait_for(lambda: mark(ports[0]) != old, 30)
    address.move(ports[1])
    e2e.stop(first, signal.SIGKILL)
    time.sleep(5)
    ask(e2e, ports[1], "flushall")
    feeder.join()
    sender[0].wait(timeout=60)
    ok = e2e.wait_for(lambda: exact_report(e2e, prefix, ports[1], summary), 120, 1)
    e2e.check("Redis away: in the end every figure is exact", ok, e2e.said(prefix, "collector")[-400:])
    lines = e2e.enriched(prefix)
    e2e.check("Redis away: every enriched record once",
              len(lines) == len(set(lines)) and not e2e.differs(e2e.sums_of(lines), summary))
    e2e.check("Redis away: the collector lived on", process.poll() is None)
    e2e.stop(process)
    for server in (first, second):
        if server.poll() is None:
            e2e.stop(server, signal.SIGKILL)


def test_reload(e2e, capture, summary, reference):
    """Geography files and the configuration are replaced, by good ones and bad ones, while a replay goes through."""
    prefix, database = "e2e-re", 14
    e2e.topics(prefix)
    geo, config = e2e.DATA / "re-country.mmdb", e2e.DATA / "re.yaml"
    files = e2e.ROOT / "tests/collector/geo"

    def replace(path, data):
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.rename(path)

    replace(geo, (files / "country.mmdb").read_bytes())
    replace(config, b"log_level: info\n")
    process = e2e.collector(prefix, database, "-c", config, "--set", f"geo.country={geo}")
    sensor = e2e.slow_sensor(prefix, capture, 0.1, stop_after=10)
    e2e.stop(sensor, signal.SIGKILL)
    feeding = threading.Thread(target=e2e.slow_sensor, args=(prefix, capture, 10))
    feeding.start()
    for step in range(10):
        replace(geo, [(files / "country.mmdb").read_bytes(), (files / "asn.mmdb").read_bytes(), b"no such format"][step % 3])
        replace(config, b"log_level: debug\n" if step % 2 == 0 else b"log_levvel: info\n")
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
    feeding.join()
    e2e.settle(prefix, database, summary, reference, "reload under way")
    log = (e2e.DATA / f"{prefix}.collector.log").read_text()
    e2e.check("reload under way: good files and bad ones were met",
              "log_levvel" in log and "configuration read again" in log and "mmdb" in log, log[-300:])
    e2e.stop(process)
    e2e.check("reload under way: the collector ends well", process.returncode == 0, process.returncode)


TESTS = {"reload": test_reload, "takeover": test_takeover, "standstill": test_standstill, "redis_away": test_redis_away}
