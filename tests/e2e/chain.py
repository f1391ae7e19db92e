#!/usr/bin/env python3
"""The whole chain against real servers; started by tests/e2e/run.

A capture of the demo generator, with its ground truth, goes through every path; each path must
give the same figures. Then programs and servers are killed at bad moments and the figures must
still be the same.
"""
import collections
import gzip
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import audit
import times
import views
import watch

BUILD = pathlib.Path(sys.argv[1])
DATA = pathlib.Path(sys.argv[2])
ROOT = pathlib.Path(__file__).resolve().parents[2]
SENSOR = BUILD / "sensor/hoshimi-sensor"
COLLECTOR = BUILD / "collector/hoshimi-collector"
REPORT = BUILD / "collector/hoshimi-report"
DEMO = BUILD / "deploy/demo/hoshimi-demo"
BROKERS = os.environ["KAFKA_BROKERS"]
REDIS = os.environ["REDIS_URL"].split("/0")[0]
DARK = "198.51.100.0/24,203.0.113.0/24,2001:db8:77::/64"
PACKETS = int(os.environ.get("E2E_PACKETS", "60000"))
CHAIN_FIELDS = (
    "frames non_ip malformed not_dark counted wire_bytes first_ns last_ns "
    "per_protocol per_class per_fingerprint per_service per_minute"
).split()
WAIT_S = 90

passed = failed = skipped = 0
running = []


def check(name, ok, detail=""):
    global passed, failed
    if ok:
        passed += 1
        print(f"ok {name}", flush=True)
    else:
        failed += 1
        print(f"not ok {name}: {str(detail)[:600]}", flush=True)
    return ok


def skip(name, why):
    global skipped
    skipped += 1
    print(f"skip {name}: {why}", flush=True)


def run(*words, **options):
    options.setdefault("capture_output", True)
    options.setdefault("timeout", 300)
    return subprocess.run([str(word) for word in words], **options)


def start(name, *words, **options):
    log = open(DATA / f"{name}.log", "ab")
    process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log, **options)
    running.append(process)
    return process


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
    process.wait(timeout=30)


def wait_for(what, seconds=WAIT_S, pause=0.2):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(pause)
    return False


def services(command):
    """Runs functions of deploy/lib/services.sh on this test's servers."""
    script = f'set -euo pipefail; source "$HOSHIMI_SERVICES"; services_use "$HOSHIMI_SERVICES_DIR"; {command}'
    return run("bash", "-c", script, check=True)


def redis(*words, database=0):
    port = os.environ["REDIS_PORT"]
    return run("redis-cli", "-p", port, "-n", database, *words).stdout


def redis_url(database):
    return f"{REDIS}/{database}"


def topics(prefix):
    done = run(COLLECTOR, "--create-topics", "--topic-prefix", prefix, "--brokers", BROKERS)
    assert done.returncode == 0, done.stderr


def sensor(prefix, *words, **options):
    base = ["--topic-prefix", prefix, "--brokers", BROKERS, "--sensor", "e2e", "--dark", DARK, "-o", "kafka"]
    return run(SENSOR, *words, *base, **options)


def collector(prefix, database, *words, name="collector"):
    base = ["--topic-prefix", prefix, "--brokers", BROKERS, "--redis", redis_url(database)]
    return start(f"{prefix}.{name}", COLLECTOR, *base, *words)


def report(prefix, database, *words):
    done = run(REPORT, "--redis", redis_url(database), "--topic-prefix", prefix, "--json", *words)
    return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None


def counted(prefix, database):
    """Packets counted, once all partitions have come as far; -1 before."""
    shown = report(prefix, database)
    return shown["counted"] if shown and shown["base"]["applied"] == shown["counted"] else -1


def same_fields(a, b):
    return [field for field in CHAIN_FIELDS if a[field] != b[field]]


def enriched(prefix):
    """All enriched records that a reader of committed records sees."""
    done = run("kcat", "-b", BROKERS, "-t", f"{prefix}.enriched.v1", "-C", "-e", "-q", "-o", "beginning",
               "-X", "isolation.level=read_committed")
    return done.stdout.splitlines()


def sums_of(records):
    """Figures of enriched records, named as the summary names them."""
    sums = {"counted": 0, "per_protocol": collections.Counter(), "per_class": collections.Counter(),
            "per_fingerprint": collections.Counter(), "per_minute": collections.Counter(),
            "per_service": {role: collections.Counter() for role in ("probe", "backscatter", "residue", "other")}}
    for line in records:
        flow = json.loads(line)
        packets = flow["packets"]
        sums["counted"] += packets
        sums["per_protocol"][flow["protocol"]] += packets
        sums["per_class"][flow["class"]] += packets
        sums["per_fingerprint"][flow["tool"]] += packets
        sums["per_service"][flow["role"]][flow["service"]] += packets
        sums["per_minute"][flow["window_ms"] // 1000] += packets
    sums["per_minute"] = [[minute, count] for minute, count in sorted(sums["per_minute"].items())]
    return sums


def differs(sums, truth):
    return [field for field in sums if sums[field] != truth[field]]


def dump(prefix, database):
    """Every counter key with its content; sketches by what they count; no positions or connections."""
    content = {}
    for key in sorted(redis("--scan", "--pattern", f"{prefix}:*", database=database).decode().split()):
        name = key[len(prefix):]
        if name.endswith(":watermarks"):
            continue
        kind = redis("type", key, database=database).strip().decode()
        if kind == "hash":
            lines = redis("hgetall", key, database=database).decode().split("\n")
            content[name] = dict(zip(lines[0::2], lines[1::2]))
        elif kind == "string":
            content[name] = int(redis("pfcount", key, database=database))
        elif kind == "zset":
            content[name] = redis("zrange", key, 0, -1, database=database).decode().split()
        elif kind == "set":
            content[name] = sorted(redis("smembers", key, database=database).decode().split())
        else:
            content[name] = redis("lrange", key, 0, -1, database=database).decode()
    return content


def fast_dump(prefix, database):
    """As dump, in one script call: thousands of keys."""
    script = """
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
    return json.loads(redis("--raw", "eval", script, 0, prefix, database=database))


def difference(a, b):
    keys = [key for key in sorted(set(a) | set(b)) if a.get(key) != b.get(key)]
    return [(key, a.get(key), b.get(key)) for key in keys[:3]] + ([len(keys)] if keys else [])


# ---- the capture and its truth ----


def make_capture():
    capture, truth = DATA / "demo.pcap", DATA / "demo.json"
    run(DEMO, "--pcap", capture, "--truth", truth, "--packets", PACKETS, "--seed", "7", check=True)
    return capture, json.loads(truth.read_text())


def split_capture(capture, parts):
    """Ten captures of one: the records dealt out in runs."""
    data = capture.read_bytes()
    header, at, records = data[:24], 24, []
    while at < len(data):
        size = int.from_bytes(data[at + 8 : at + 12], "little")
        records.append(data[at : at + 16 + size])
        at += 16 + size
    per = (len(records) + parts - 1) // parts
    paths = []
    for i in range(parts):
        path = DATA / f"part{i}.pcap"
        path.write_bytes(header + b"".join(records[i * per : (i + 1) * per]))
        paths.append(path)
    return paths


def test_offline(capture, truth):
    done = run(SENSOR, "-r", capture, "--dark", DARK, "--summary")
    summary = json.loads(done.stdout)
    fields = [field for field in truth if field in summary and summary[field] != truth[field]]
    check("the summary equals the generator's truth", not fields, fields)
    piped = run("bash", "-c", f"{SENSOR} -r {capture} --dark {DARK} -o - | {COLLECTOR} -i - --report --json")
    check("the pipe's report equals the summary", not same_fields(json.loads(piped.stdout), summary))
    return summary


# ---- one pass through everything ----


def feed(prefix, database, words, summary, name, views="count,enrich"):
    topics(prefix)
    done = sensor(prefix, "-r", *words)
    check(f"{name}: the sensor ends well", done.returncode == 0, done.stderr)
    process = collector(prefix, database, "--views", views)
    ok = wait_for(lambda: counted(prefix, database) == summary["counted"])
    check(f"{name}: Redis comes to the sensor's count", ok, counted(prefix, database))
    return process


def test_chain(capture, summary):
    process = feed("e2e", 1, [capture], summary, "chain")
    shown = report("e2e", 1)
    check("chain: the report from Redis equals the summary", not same_fields(shown, summary),
          same_fields(shown, summary))
    ok = wait_for(lambda: sums_of(enriched("e2e"))["counted"] == summary["counted"], pause=1)
    sums = sums_of(enriched("e2e"))
    check("chain: the enriched topic as kcat reads it equals the summary", ok and not differs(sums, summary),
          differs(sums, summary))
    again = sensor("e2e", "-r", capture)
    check("chain: the same replay again sends nothing", again.returncode == 0 and b"already complete" in again.stderr,
          again.stderr)
    other = run(SENSOR, "-r", capture, "-o", "kafka", "--topic-prefix", "e2e", "--brokers", BROKERS, "--sensor", "e2e")
    check("chain: with other settings it is refused, naming them", other.returncode == 1 and b"dark" in other.stderr,
          other.stderr)
    stop(process)
    check("chain: the collector ends well on SIGTERM", process.returncode == 0, process.returncode)
    return fast_dump("e2e", 1)


def test_readers(summary):
    from avro.datafile import DataFileReader
    from avro.io import DatumReader

    done = run("kcat", "-b", BROKERS, "-t", "e2e.flows.v1", "-C", "-e", "-q", "-o", "beginning", "-f", "%S\n%s",
               "-X", "isolation.level=read_committed")
    stream, packets, markers, classes = io.BytesIO(done.stdout), 0, 0, collections.Counter()
    while line := stream.readline():
        for record in DataFileReader(io.BytesIO(stream.read(int(line))), DatumReader()):
            if "entry" in record:
                markers += 1
            else:
                packets += record["packets"]
                classes[record["class"].replace("_", ".", 1)] += record["packets"]
    check("readers: an Avro reader that is not ours reads the same packets from the flows topic",
          packets == summary["counted"] and classes == summary["per_class"], (packets, summary["counted"]))
    check("readers: markers are in every partition", markers > 0 and markers % 6 == 0, markers)
    try:
        import duckdb
    except ImportError:
        skip("readers: DuckDB on the enriched topic", "duckdb is not installed")
        return
    lines = DATA / "enriched.jsonl"
    lines.write_bytes(b"\n".join(enriched("e2e")) + b"\n")
    rows = duckdb.sql(f"select class, sum(packets)::bigint from read_json('{lines}') group by class").fetchall()
    check("readers: DuckDB on the enriched topic adds up to the summary", dict(rows) == summary["per_class"])


def schema_faults(topic, records):
    import jsonschema

    validator = jsonschema.Draft7Validator(json.loads((ROOT / f"schemas/{topic}.schema.json").read_text()))
    return [error.message for record in records for error in validator.iter_errors(record)]


def test_schemas():
    for topic in ("enriched", "sensors"):
        done = run("kcat", "-b", BROKERS, "-t", f"e2e.{topic}.v1", "-C", "-e", "-q", "-o", "beginning",
                   "-X", "isolation.level=read_committed")
        lines = done.stdout.splitlines()
        faults = schema_faults(topic, [json.loads(line) for line in lines[:3000]])
        check(f"schemas: {topic} records follow their JSON Schema", lines and not faults, faults[:3])


def test_ways(capture, summary, reference):
    ways = {"workers2": ["--workers", "2", capture], "workers4": ["--workers", "4", capture],
            "split": split_capture(capture, 10)}
    for number, (name, words) in enumerate(ways.items()):
        prefix, database = f"e2e-{name}", 2 + number
        options = words[:2] if name.startswith("workers") else []
        files = words[2:] if options else words
        topics(prefix)
        done = sensor(prefix, *options, "-r", *files)
        check(f"{name}: the sensor ends well", done.returncode == 0, done.stderr)
        process = collector(prefix, database, "--views", "count")
        wait_for(lambda: counted(prefix, database) == summary["counted"])
        found = fast_dump(prefix, database)
        check(f"{name}: identical counters in Redis", found == reference, difference(found, reference))
        stop(process)


# ---- faults ----


def slowly(capture, process, seconds, stop_after=None):
    """Feeds a capture into a process's standard input over some seconds."""
    data = capture.read_bytes()
    step = max(1, len(data) // 100)
    for i, at in enumerate(range(0, len(data), step)):
        if stop_after is not None and i == stop_after:
            return
        try:
            process.stdin.write(data[at : at + step])
            process.stdin.flush()
        except BrokenPipeError:
            return
        time.sleep(seconds / 100)
    process.stdin.close()


def slow_sensor(prefix, capture, seconds, stop_after=None):
    process = start(f"{prefix}.sensor", SENSOR, "-r", "-", "--replay-id", "slow", "--topic-prefix", prefix, "--brokers",
                    BROKERS, "--sensor", "e2e", "--dark", DARK, "-o", "kafka", stdin=subprocess.PIPE)
    slowly(capture, process, seconds, stop_after)
    return process


def settle(prefix, database, summary, reference, name, with_enriched=True):
    ok = wait_for(lambda: counted(prefix, database) == summary["counted"], 240)
    found = fast_dump(prefix, database)
    check(f"{name}: identical counters in Redis", ok and found == reference, difference(found, reference))
    if not with_enriched:
        return
    ok = wait_for(lambda: sums_of(enriched(prefix))["counted"] >= summary["counted"], 120, 1)
    sums = sums_of(enriched(prefix))
    check(f"{name}: every enriched record once", ok and not differs(sums, summary),
          (sums["counted"], summary["counted"]))


def test_kill_sensor(capture, summary, reference):
    prefix, database = "e2e-ks", 5
    topics(prefix)
    for after in (30, 55, 80):
        process = slow_sensor(prefix, capture, 3, stop_after=after)
        time.sleep(0.3)
        stop(process, signal.SIGKILL)
    with open(capture, "rb") as whole:
        done = sensor(prefix, "-r", "-", "--replay-id", "slow", stdin=whole)
    check("sensor killed three times: the last run ends well", done.returncode == 0, done.stderr)
    process = collector(prefix, database)
    settle(prefix, database, summary, reference, "sensor killed three times")
    stop(process)


def test_kill_collector(capture, summary, reference):
    prefix, database = "e2e-kc", 6
    topics(prefix)
    members = [collector(prefix, database, name=f"member{i}") for i in range(2)]
    time.sleep(5)
    feeder = start(f"{prefix}.feeder", "bash", "-c",
                   f"cat {capture} | {SENSOR} -r - --replay-id slow --topic-prefix {prefix} --brokers {BROKERS} "
                   f"--sensor e2e --dark {DARK} -o kafka")
    for i in range(4):
        time.sleep(0.7)
        stop(members[i % 2], signal.SIGKILL)
        members[i % 2] = collector(prefix, database, name=f"member{i % 2}")
    feeder.wait(timeout=60)
    settle(prefix, database, summary, reference, "collector members killed four times")
    for member in members:
        stop(member)


def test_kill_redis(capture, summary, reference):
    prefix, database = "e2e-kr", 7
    topics(prefix)
    process = collector(prefix, database)
    sender = slow_sensor(prefix, capture, 3, stop_after=60)
    services("redis_kill")
    time.sleep(2)
    services("redis_start")
    stop(sender, signal.SIGKILL)
    with open(capture, "rb") as whole:
        sensor(prefix, "-r", "-", "--replay-id", "slow", stdin=whole)
    settle(prefix, database, summary, reference, "Redis killed")
    redis("flushall")
    settle(prefix, database, summary, reference, "Redis emptied", with_enriched=False)
    check("Redis killed: the collector lived on", process.poll() is None)
    stop(process)


def test_kill_kafka(capture, summary, reference):
    prefix, database = "e2e-kk", 8
    topics(prefix)
    process = collector(prefix, database)
    sender = start(f"{prefix}.sensor", "bash", "-c",
                   f"(head -c 4000000 {capture}; sleep 6; tail -c +4000001 {capture}) | {SENSOR} -r - --replay-id slow "
                   f"--topic-prefix {prefix} --brokers {BROKERS} --sensor e2e --dark {DARK} -o kafka")
    time.sleep(2)
    services("kafka_kill")
    time.sleep(2)
    services("kafka_start")
    sender.wait(timeout=200)
    check("Kafka killed: the sensor ends well", sender.returncode == 0, sender.returncode)
    settle(prefix, database, summary, reference, "Kafka killed")
    check("Kafka killed: the collector lived on", process.poll() is None)
    stop(process)


def rebuild(prefix, database, *words):
    return run(COLLECTOR, "rebuild", "--topic-prefix", prefix, "--brokers", BROKERS, "--redis", redis_url(database), *words)


def test_rebuild(capture, summary, reference):
    """Counters that something else has changed are made anew from the log, beside the live ones."""
    prefix, database = "e2e-rb", 11
    topics(prefix)
    done = rebuild(prefix, database)
    check("rebuild: nothing counted yet is said", done.returncode == 1 and b"nothing to rebuild" in done.stderr, done.stderr)
    process = collector(prefix, database, "--views", "count")
    sender = slow_sensor(prefix, capture, 12)
    wait_for(lambda: counted(prefix, database) > 0)
    minutes = [int(key.split(":")[3]) for key in
               redis("--scan", "--pattern", f"{prefix}:*:minute:*:ledger", database=database).decode().split()]
    key = f"{prefix}:{{0}}:minute:{min(minutes)}:packets:class"
    redis("hincrby", key, "scan.udp", 1000, database=database)
    redis("del", key.replace("class", "tool"), database=database)
    done = rebuild(prefix, database)  # while the collector goes on and more arrives
    check("rebuild: done while the collector goes on", done.returncode == 0, done.stderr[-400:])
    sender.wait(timeout=60)
    ok = wait_for(lambda: counted(prefix, database) == summary["counted"])
    found = fast_dump(prefix, database)
    check("rebuild: every counter is as if nothing had happened", ok and found == reference, difference(found, reference))
    check("rebuild: no key of it is left", not redis("--scan", "--pattern", f"{prefix}~*", database=database))

    late = sorted(minutes)[-1]
    first = f"{prefix}:{{0}}:minute:{min(minutes)}:packets:class"
    last = f"{prefix}:{{0}}:minute:{late}:packets:class"
    redis("hincrby", first, "scan.udp", 1000, database=database)
    redis("hincrby", last, "scan.udp", 1000, database=database)
    done = rebuild(prefix, database, "--from", late)
    found = fast_dump(prefix, database)
    name = first[len(prefix):]
    check("rebuild --from: what begins before stays as it is, the rest is new",
          done.returncode == 0 and [key for key in found if found[key] != reference[key]] == [name] and
          set(found) == set(reference), difference(found, reference))
    stop(process)
    redis("hincrby", last, "scan.udp", 1000, database=database)
    redis("hincrby", first, "scan.udp", -1000, database=database)
    done = rebuild(prefix, database)
    found = fast_dump(prefix, database)
    check("rebuild: without a collector", done.returncode == 0 and found == reference, difference(found, reference))


def test_hidden_value():
    prefix = "e2e-hv"
    topics(prefix)
    done = run(BUILD / "tests/hidden_value", BROKERS, prefix)
    check("a cursor behind another's open transaction is waited for and found",
          done.stdout.startswith(b"rc=0 value=mine waited=1"), done.stdout + done.stderr)


def test_changed_partitions(capture):
    """Somebody gives the log more partitions while a sensor sends: it ends, and says why."""
    prefix = "e2e-cp"
    topics(prefix)
    data = capture.read_bytes()
    process = start(f"{prefix}.sensor", SENSOR, "-r", "-", "--replay-id", "slow", "--topic-prefix", prefix, "--brokers",
                    BROKERS, "--sensor", "e2e", "--dark", DARK, "-o", "kafka", stdin=subprocess.PIPE)
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    wait_for(lambda: b'"entry"' in run("kcat", "-b", BROKERS, "-t", f"{prefix}.sensors.v1", "-C", "-e", "-q", "-o",
                                       "beginning", "-X", "isolation.level=read_committed").stdout)
    services(f"kafka_java org.apache.kafka.tools.TopicCommand --bootstrap-server {BROKERS} --alter "
             f"--topic {prefix}.flows.v1 --partitions 8")
    try:
        process.stdin.write(data[len(data) // 2 :])
        process.stdin.close()
    except BrokenPipeError:
        pass
    process.wait(timeout=60)
    log = said(prefix, "sensor")
    check("changed partitions: the sensor ends and says why", process.returncode == 1 and "never changes" in log,
          (process.returncode, log[-300:]))
    after = [partition for partition, record in log_records(prefix) if partition >= 6 or record.get("partitions", 6) != 6]
    check("changed partitions: nothing was sent by another number", not after, after[:3])


def test_poison(capture, summary):
    prefix, database = "e2e-po", 9
    topics(prefix)
    for text in (b"poison", b"Obj\x01" + bytes(100), b"", b"Obj\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"):
        run("kcat", "-b", BROKERS, "-t", f"{prefix}.flows.v1", "-P", "-p", "2", "-D", "\x1f", input=text)
    sensor(prefix, "-r", capture)
    process = collector(prefix, database)
    ok = wait_for(lambda: counted(prefix, database) == summary["counted"])
    shown = report(prefix, database)
    check("poison messages: skipped, the rest counts", ok)
    check("poison messages: counted", shown["base"]["poison_messages"] >= 3, shown["base"])
    wait_for(lambda: sums_of(enriched(prefix))["counted"] == summary["counted"], pause=1)
    dead = run("kcat", "-b", BROKERS, "-t", f"{prefix}.deadletter.v1", "-C", "-e", "-q", "-f", "%h\n",
               "-X", "isolation.level=read_committed").stdout
    check("poison messages: put aside with their origin", dead.count(b"partition=2") == shown["base"]["poison_messages"],
          dead)
    stop(process)


def test_broken_pipe(capture, summary, reference):
    """An input that breaks off is no end of a replay when it comes through a pipe; a file's end is its end."""
    prefix, database = "e2e-bp", 11
    topics(prefix)
    data = capture.read_bytes()
    at = 24
    while at < len(data) * 3 // 5:
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    cut_bytes = data[: at + 20]  # inside a record
    cases = {"a cut record": cut_bytes, "a cut gzip stream": gzip.compress(data)[: at // 4], "nothing at all": b""}
    for name, piped in cases.items():
        done = sensor(prefix, "-r", "-", "--replay-id", "slow", input=piped)
        check(f"broken pipe: {name}: exit 1, and how to go on is said",
              done.returncode == 1 and b"run it again with the whole input" in done.stderr, (done.returncode, done.stderr))
    with open(capture, "rb") as whole:
        done = sensor(prefix, "-r", "-", "--replay-id", "slow", stdin=whole)
    check("broken pipe: the whole input ends well", done.returncode == 0, done.stderr)
    done = sensor(prefix, "-r", "-", "--replay-id", "slow", input=cut_bytes)
    check("broken pipe: once complete it stays so",
          done.returncode == 1 and b"already complete" in done.stderr and b"run it again" not in done.stderr, done.stderr)
    process = collector(prefix, database)
    settle(prefix, database, summary, reference, "broken pipe")
    stop(process)

    (DATA / "cut.pcap").write_bytes(cut_bytes)
    first = sensor(prefix, "-r", DATA / "cut.pcap")
    again = sensor(prefix, "-r", DATA / "cut.pcap")
    check("cut file: everything readable counts, exit 1",
          first.returncode == 1 and b"byte" in first.stderr and b"run it again" not in first.stderr, first.stderr)
    check("cut file: again it sends nothing, says so and exits as it did",
          again.returncode == 1 and b"already complete" in again.stderr, again.stderr)


def test_refusals(capture):
    done = run(REPORT, "--redis", "redis://127.0.0.1:1/0")
    check("unreachable Redis: exit 1 with the address", done.returncode == 1 and b"127.0.0.1:1" in done.stderr, done.stderr)
    done = run(REPORT, "--redis", redis_url(15), "--json", "--topic-prefix", "nothing")
    empty = json.loads(done.stdout)
    check("empty Redis: zeros, exit 0", done.returncode == 0 and empty["counted"] == 0 and empty["first_ns"] is None)
    done = run(SENSOR, "-r", "-", "-o", "kafka", "--brokers", BROKERS, stdin=subprocess.DEVNULL)
    check("standard input into Kafka needs --replay-id", done.returncode == 2 and b"--replay-id" in done.stderr, done.stderr)
    fifo = DATA / "fifo"
    os.mkfifo(fifo)
    done = run(SENSOR, "-r", fifo, "-o", "kafka", "--brokers", BROKERS)
    check("a FIFO into Kafka needs --replay-id", done.returncode == 2 and b"--replay-id" in done.stderr, done.stderr)
    prefix, database = "e2e-wt", 10
    topics(prefix)
    sensor(prefix, "-r", capture)
    key = f"{prefix}:{{0}}:buckets:day"
    redis("set", key, "in the way", database=database)
    process = collector(prefix, database, "--views", "count")
    process.wait(timeout=60)
    log = (DATA / f"{prefix}.collector.log").read_text()
    check("a key of another type: refused by name", process.returncode == 1 and key in log, log[-400:])
    check("a key of another type: nothing was applied",
          redis("keys", f"{prefix}:*", database=database).split() == [key.encode()])


def test_second_sensor():
    prefix = "e2e-ss"
    topics(prefix)
    words = [SENSOR, "-i", "lo", "--dark", "127.0.0.0/8", "-o", "kafka", "--topic-prefix", prefix, "--brokers", BROKERS,
             "--sensor", "twin", "--state", DATA / f"{prefix}.state"]
    first = start(f"{prefix}.first", *words)
    time.sleep(4)
    second = start(f"{prefix}.second", *words)
    time.sleep(4)
    second.send_signal(signal.SIGTERM)
    second.wait(timeout=20)
    first.send_signal(signal.SIGTERM)
    first.wait(timeout=20)
    log = (DATA / f"{prefix}.first.log").read_text()
    check("a second sensor of one name: the newer one ends well", second.returncode == 0, second.returncode)
    check("a second sensor of one name: the older one ends with a message",
          first.returncode == 1 and "another sensor of this name" in log, (first.returncode, log[-300:]))


def test_fenced_replay(capture, summary, reference):
    """The same replay twice at once: the older one ends with a message, although its pipe stays open and silent."""
    prefix, database = "e2e-fr", 12
    topics(prefix)
    older = slow_sensor(prefix, capture, 2, stop_after=50)
    with open(capture, "rb") as whole:
        done = sensor(prefix, "-r", "-", "--replay-id", "slow", stdin=whole)
    check("fenced replay: the newer one ends well", done.returncode == 0, done.stderr)
    data, began = capture.read_bytes(), time.monotonic()
    older.stdin.write(data[len(data) // 100 * 50 :][: len(data) // 5])  # minutes close, and are refused
    older.stdin.flush()
    ended = wait_for(lambda: older.poll() is not None, 30)
    log = (DATA / f"{prefix}.sensor.log").read_text()
    check("fenced replay: the older one ends by itself, with a message",
          ended and older.returncode == 1 and "another sensor of this name" in log, (older.returncode, log[-300:]))
    print(f"# the older replay ended {time.monotonic() - began:.1f} s after it was given more")
    process = collector(prefix, database)
    settle(prefix, database, summary, reference, "fenced replay")
    stop(process)


# ---- a live sensor and a broker that comes late ----

LATE_DARK = "127.9.0.0/16"
LATE_PARTITIONS = 5  # neither the default nor the one that stands in while the number is unknown


def send_probes(sources=40):
    """A datagram from each of so many neighbourhoods to the dark range on the loopback interface."""
    for i in range(sources):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((f"127.1.{i}.1", 40000))
            sender.sendto(b"probe", (f"127.9.0.{i + 1}", 2323))
    return sources


def late_sensor(prefix, name):
    return start(f"{prefix}.{name}", SENSOR, "-i", "lo", "--dark", LATE_DARK, "-F", "udp", "-o", "kafka", "--sensor", "late",
                 "--topic-prefix", prefix, "--brokers", BROKERS, "--set", "sensor.late_seconds=1",
                 "--state", DATA / f"{prefix}.state")


def ledgers(prefix):
    done = run("kcat", "-b", BROKERS, "-t", f"{prefix}.sensors.v1", "-C", "-e", "-q", "-o", "beginning",
               "-X", "isolation.level=read_committed")
    return [json.loads(line) for line in done.stdout.splitlines()]


def said(prefix, name):
    return (DATA / f"{prefix}.{name}.log").read_text()


def log_records(prefix):
    """(partition, record) of everything in the flows topic, by a reader that is not ours."""
    from avro.datafile import DataFileReader
    from avro.io import DatumReader

    done = run("kcat", "-b", BROKERS, "-t", f"{prefix}.flows.v1", "-C", "-e", "-q", "-o", "beginning", "-f", "%p %S\n%s",
               "-X", "isolation.level=read_committed")
    stream = io.BytesIO(done.stdout)
    while line := stream.readline():
        partition, size = map(int, line.split())
        for record in DataFileReader(io.BytesIO(stream.read(size)), DatumReader()):
            yield partition, record


def test_late_kafka():
    prefix = "e2e-lk"
    run(COLLECTOR, "--create-topics", "--partitions", LATE_PARTITIONS, "--topic-prefix", prefix, "--brokers", BROKERS,
        check=True)
    services("kafka_stop")

    lonely = late_sensor(prefix, "lonely")
    wait_for(lambda: "capturing" in said(prefix, "lonely"), 20)
    sent = send_probes()
    time.sleep(1)
    began = time.monotonic()
    stop(lonely)
    check("Kafka away all the time: the sensor ends in time and keeps its minutes in the spool",
          lonely.returncode == 0 and time.monotonic() - began < 15 and "in the spool" in said(prefix, "lonely"),
          (lonely.returncode, said(prefix, "lonely")[-300:]))

    killed = late_sensor(prefix, "killed")
    check("Kafka late: the sensor captures at once", wait_for(lambda: "capturing" in said(prefix, "killed"), 5),
          said(prefix, "killed")[-300:])
    sent += send_probes()
    time.sleep(62 - time.time() % 60)  # the minute closes while nobody knows the number of partitions
    check("Kafka late: the sensor waits and says so",
          killed.poll() is None and "waiting for kafka" in said(prefix, "killed"), said(prefix, "killed")[-300:])
    sent += send_probes()  # the minute that is open when the process is killed
    time.sleep(0.5)
    stop(killed, signal.SIGKILL)
    process = late_sensor(prefix, "late")
    wait_for(lambda: "capturing" in said(prefix, "late"), 5)
    sent += send_probes()
    services("kafka_start")
    check("Kafka late: the sensor notices the broker", wait_for(lambda: "kafka answers" in said(prefix, "late")),
          said(prefix, "late")[-300:])
    sent += send_probes()
    time.sleep(1)
    stop(process)
    check("Kafka late: the sensor ends well", process.returncode == 0, (process.returncode, said(prefix, "late")[-300:]))

    found = ledgers(prefix)
    boots = sorted({ledger["boot"] for ledger in found})
    check("Kafka late: the spool's minutes went out with the boot that closed them, in one sequence",
          len(boots) == 3 and [ledger["boot"] for ledger in found] == sorted(ledger["boot"] for ledger in found) and
          [ledger["entry"] for ledger in found] == list(range(len(found))), [(x["boot"], x["entry"]) for x in found])
    firsts = [next(ledger for ledger in found if ledger["boot"] == boot) for boot in boots]
    check("Kafka late: the time without a sensor is named at each start",
          [ledger["gap_from_ns"] is not None for ledger in firsts] == [False, True, True] and
          sum(ledger["gap_from_ns"] is not None for ledger in found) == 2, [x["gap_from_ns"] for x in found])
    check("Kafka late: nothing is named as lost", all(ledger["lost_entries"] == 0 for ledger in found), found)

    partitions, actors, packets, markers = collections.defaultdict(set), set(), 0, collections.Counter()
    for partition, record in log_records(prefix):
        if "entry" in record:
            markers[record["entry"], record["partitions"], partition == record["partition"]] += 1
            continue
        packets += record["packets"]
        partitions[record["actor"]].add(partition)
        actors.add(record["actor"])
    check("Kafka late: every packet is in the log once", packets == sent, (packets, sent))
    check("Kafka late: an actor's flows of before and after lie in one partition",
          len(actors) == 40 and all(len(found) == 1 for found in partitions.values()) and
          len(set.union(*partitions.values())) == LATE_PARTITIONS, partitions)
    check("Kafka late: each entry has a marker in each partition",
          len(markers) >= 2 and all(key[1:] == (LATE_PARTITIONS, True) and count == LATE_PARTITIONS
                                    for key, count in markers.items()), markers)


def main():
    only = os.environ.get("E2E_ONLY")  # for work on one of them
    if only in ("second_sensor", "late_kafka", "hidden_value"):
        globals()[f"test_{only}"]()
        return
    capture, truth = make_capture()
    summary = test_offline(capture, truth)
    reference = test_chain(capture, summary)
    more = {**views.TESTS, "times": times.test_times, "watch": watch.test_watch}
    if only == "audit":
        audit.test_audit(sys.modules[__name__], capture, is_alone=True)
        return
    if only in more:
        more[only](sys.modules[__name__], capture, summary, reference)
        return
    if only:
        globals()[f"test_{only}"](capture, summary, reference)
        return
    test_readers(summary)
    test_schemas()
    test_ways(capture, summary, reference)
    test_kill_sensor(capture, summary, reference)
    test_kill_collector(capture, summary, reference)
    test_kill_redis(capture, summary, reference)
    test_kill_kafka(capture, summary, reference)
    test_rebuild(capture, summary, reference)
    test_broken_pipe(capture, summary, reference)
    test_changed_partitions(capture)
    test_poison(capture, summary)
    test_refusals(capture)
    test_hidden_value()
    test_second_sensor()
    test_fenced_replay(capture, summary, reference)
    test_late_kafka()
    audit.test_audit(sys.modules[__name__], capture)
    for test in more.values():
        test(sys.modules[__name__], capture, summary, reference)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended below
try:
    main()
finally:
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed else 0)
