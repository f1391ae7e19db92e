"""Closing the books: hoshimi-report --audit on clean logs, and on logs, views and counters that were tampered with.

Called by chain.py with itself as `e2e`: its checks, its programs. A harness that cannot fail is
worthless, so every kind of tampering must be found, named, and nothing else with it.
"""
import collections
import io
import json
import subprocess
import time

HOUR_MS, DAY_MS = 3600000, 86400000


def audit(e2e, prefix, database, *words):
    """The exit status and the report of an audit; None when it printed none."""
    done = e2e.run(e2e.REPORT, "--audit", "--json", "--brokers", e2e.BROKERS, "--redis", e2e.redis_url(database),
                   "--topic-prefix", prefix, *words)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def findings(shown):
    return [(found["sensor"], found["minute_ms"], found["what"], found["expected"], found["found"])
            for found in shown["findings"]]


def is_clean(e2e, name, prefix, database, *words):
    code, shown, said = audit(e2e, prefix, database, *words)
    e2e.check(f"audit: {name}: balanced, exit 0",
              code == 0 and shown["balanced"] and not shown["findings"], (code, shown and findings(shown)[:5], said[-300:]))
    return shown


def finds(e2e, name, prefix, database, expected, *words):
    """An audit must exit 1 and find exactly these (sensor, minute_ms, what, expected, found)."""
    code, shown, said = audit(e2e, prefix, database, *words)
    found = findings(shown) if shown else []
    missing = [item for item in expected if item not in found]
    more = [item for item in found if item not in expected]
    e2e.check(f"audit: {name}: found and named, nothing else", code == 1 and not missing and not more,
              ("exit", code, "missing", missing[:3], "more", more[:3], said[-300:]))
    return shown


def read_topic(e2e, topic):
    """(partition, offset, value) of what a reader of committed records sees."""
    done = e2e.run("kcat", "-b", e2e.BROKERS, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-f", "%p %o %S\n%s",
                   "-X", "isolation.level=read_committed")
    stream, records = io.BytesIO(done.stdout), []
    while line := stream.readline():
        partition, offset, size = map(int, line.split())
        records.append((partition, offset, stream.read(size)))
    return records


def produce(e2e, topic, partition, value, *words):
    path = e2e.DATA / "forged.bin"
    path.write_bytes(value)
    e2e.run("kcat", "-b", e2e.BROKERS, "-P", "-t", topic, "-p", partition, *words, path, check=True)


def produce_and_abort(e2e, topic, partition, value):
    """A message in a transaction that is aborted: it lies in the log, and only a reader of uncommitted records sees it."""
    def uncommitted():
        return e2e.run("kcat", "-b", e2e.BROKERS, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-f", "%o\n",
                       "-X", "isolation.level=read_uncommitted").stdout.count(b"\n")

    before = uncommitted()
    end = "--end of the forged message--"
    process = subprocess.Popen(["kcat", "-b", e2e.BROKERS, "-P", "-t", topic, "-p", str(partition), "-D", end,
                                "-X", "transactional.id=forger.aborts", "-X", "linger.ms=5"], stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    e2e.running.append(process)
    process.stdin.write(value + end.encode() + b"." * 100000)  # kcat reads in large steps; the dots are never sent
    process.stdin.flush()
    e2e.wait_for(lambda: uncommitted() > before, 20)
    process.kill()
    process.wait(timeout=30)
    # whoever comes next under this name aborts what was left open
    e2e.run("kcat", "-b", e2e.BROKERS, "-P", "-t", topic, "-p", partition, "-X", "transactional.id=forger.aborts",
            stdin=subprocess.DEVNULL, check=True)
    time.sleep(1)
    e2e.check("audit: an aborted transaction's message lies in the log", uncommitted() == before + 1 and
              len(read_topic(e2e, topic)) == before, (before, uncommitted(), len(read_topic(e2e, topic))))


def open_container(value):
    from avro.datafile import DataFileReader
    from avro.io import DatumReader

    return DataFileReader(io.BytesIO(value), DatumReader())


def forged_container(value, change):
    """The container again, its records changed."""
    import avro.schema
    from avro.datafile import DataFileWriter
    from avro.io import DatumWriter

    reader = open_container(value)
    records = [change(record) for record in reader]
    schema = avro.schema.parse(reader.meta["avro.schema"].decode())
    out = io.BytesIO()
    writer = DataFileWriter(out, DatumWriter(), schema)
    for key, meta in reader.meta.items():
        if not key.startswith("avro."):
            writer.set_meta(key, meta)
    for record in records:
        writer.append(record)
    writer.flush()
    return out.getvalue()


def epoch_ms(moment):
    return int(moment.timestamp() * 1000 + 0.5) if hasattr(moment, "timestamp") else moment


def feed_two(e2e, prefix, database, capture):
    """Two sensors' captures in one log, audited on the way; their summaries."""
    other = e2e.DATA / "other.pcap"
    e2e.run(e2e.DEMO, "--pcap", other, "--truth", e2e.DATA / "other.json", "--packets", e2e.PACKETS // 2, "--seed", "8",
            check=True)
    e2e.topics(prefix)
    shown = is_clean(e2e, "an empty log", prefix, database)
    e2e.check("audit: an empty log: no sensors, no views",
              shown["sensors"] == [] and shown["views"] == {"count": None, "enrich": None}, shown)
    summaries = {}
    for name, path in (("one", capture), ("two", other)):
        done = e2e.run(e2e.SENSOR, "-r", path, "--dark", e2e.DARK, "--summary")
        summaries[name] = json.loads(done.stdout)
        e2e.run(e2e.SENSOR, "-r", path, "--dark", e2e.DARK, "-o", "kafka", "--sensor", name, "--topic-prefix", prefix,
                "--brokers", e2e.BROKERS, check=True)
    shown = is_clean(e2e, "no collector yet", prefix, database)
    e2e.check("audit: no collector yet: enriched topic and Redis are not available",
              all(series["enriched_packets"] is None and series["applied_packets"] is None
                  for series in shown["sensors"]), shown["sensors"])
    return summaries


def while_views_work(e2e, prefix, database, summaries):
    """What a view has not worked through yet is pending, never a finding."""
    process = e2e.collector(prefix, database)
    counted = sum(summary["counted"] for summary in summaries.values())
    wrong, runs, was_behind = [], 0, False
    deadline = time.monotonic() + e2e.WAIT_S
    while time.monotonic() < deadline:
        code, shown, said = audit(e2e, prefix, database)
        runs += 1
        if code != 0:
            wrong.append((code, shown and findings(shown)[:3], said[-200:]))
        views = shown["views"] if shown else {}
        was_behind |= any(view and view["flows_behind"] > 0 for view in views.values())
        if all(view and view["flows_behind"] == 0 for view in views.values()):
            break
    e2e.check(f"audit: while the views work: {runs} audits, none alarmed", not wrong, wrong[:2])
    ok = e2e.wait_for(lambda: e2e.counted(prefix, database) == counted)
    e2e.check("audit: the views come to the end", ok)
    is_clean(e2e, "with the collector running", prefix, database)
    e2e.stop(process)
    return is_clean(e2e, "everything counted", prefix, database)


def same_as_summaries(e2e, shown, summaries):
    fields = "frames non_ip malformed not_dark counted wire_bytes".split()
    for series in shown["sensors"]:
        summary = summaries[series["sensor"]]
        differs = [field for field in fields if series[field] != summary[field]]
        differs += [field for field in ("flows_packets", "enriched_packets", "applied_packets")
                    if series[field] != summary["counted"]]
        e2e.check(f"audit: sensor {series['sensor']}: each figure equals the summary's",
                  not differs and series["minutes"] == len(summary["per_minute"]), (differs, series))
    e2e.check("audit: Redis's days add up to both sensors",
              shown["redis"]["packets"] == sum(summary["counted"] for summary in summaries.values()) and
              shown["redis"]["minutes_compared"] == shown["sensors"][0]["minutes"] and
              shown["redis"]["minutes_expired"] == 0, shown["redis"])


# ---- tampering ----


def tamper_redis(e2e, prefix, database, minute_s):
    def redis(*words):
        return e2e.redis(*words, database=database).decode().strip()

    def key(period, start_s, name):
        return f"{prefix}:{{0}}:{period}:{start_s}:{name}"

    minute_ms, hour_s = minute_s * 1000, minute_s // 3600 * 3600
    day_s = minute_s // 86400 * 86400
    cases = [  # name, key, field, amount, finding
        ("a ledger field", key("minute", minute_s, "ledger"), "not_dark", 1, (None, minute_ms, "not_dark in Redis, ledger of the minute")),
        ("a ledger field of an hour", key("hour", hour_s, "ledger"), "wire_bytes", 60, (None, hour_s * 1000, "wire_bytes in Redis, ledger of the hour")),
        ("observed time", key("day", day_s, "ledger"), "observed_ms", -1, (None, day_s * 1000, "observed_ms in Redis, ledger of the day")),
        ("a total", key("minute", minute_s, "packets:total"), "total", 5, (None, minute_ms, "packets in Redis, sum by total of the minute")),
        ("a class", key("hour", hour_s, "packets:class"), "scan.tcp_syn", 3, (None, hour_s * 1000, "packets in Redis, sum by class of the hour")),
        ("bytes of a tool", key("day", day_s, "bytes:tool"), "zmap", -7, (None, day_s * 1000, "wire_bytes in Redis, sum by tool of the day")),
    ]
    for name, where, field, amount, (sensor, when, what) in cases:
        before = int(redis("hget", where, field))
        whole = before if ":ledger" in where else sum(
            int(value) for value in redis("hvals", where).split())
        redis("hincrby", where, field, amount)
        finds(e2e, f"Redis: {name} was changed", prefix, database, [(sensor, when, what, whole, whole + amount)])
        redis("hincrby", where, field, -amount)
    where = key("minute", minute_s, "packets:sensor")
    before = int(redis("hget", where, "one"))
    whole = sum(int(value) for value in redis("hvals", where).split())
    redis("hdel", where, "one")
    finds(e2e, "Redis: a sensor's field was deleted", prefix, database,
          [("one", minute_ms, "packets in Redis, sensor's minute", before, None),
           (None, minute_ms, "packets in Redis, sum by sensor of the minute", whole, whole - before)])
    redis("hset", where, "one", before)
    where = key("hour", hour_s, "ledger")
    before = int(redis("hget", where, "kernel_drops"))
    redis("hdel", where, "kernel_drops")
    finds(e2e, "Redis: a ledger field that is zero was deleted", prefix, database,
          [(None, hour_s * 1000, "kernel_drops in Redis, ledger of the hour", 0, None)])
    redis("hset", where, "kernel_drops", before)
    block = sorted(name for name in redis("smembers", key("day", day_s, "blocks")).split() if ":ipv" in name or "service:" in name)[0]
    where = key("day", day_s, f"counters:{block}")
    field = sorted(redis("hkeys", where).split())[0]
    before = redis("hget", where, field)
    total = int(redis("hget", key("day", day_s, "packets:total"), "total"))
    packets, size = map(int, before.split(" ")[:2])
    redis("hset", where, field, f"{packets + 2} {size} {' '.join(before.split(' ')[2:])}")
    finds(e2e, "Redis: a service was changed", prefix, database,
          [(None, day_s * 1000, "packets in Redis, sum by service of the day", total, total + 2)])
    redis("hset", where, field, before if before.count(" ") > 1 else before + " ")
    names = ["ledger", "packets:total"]
    total = int(redis("hget", key("minute", minute_s, "packets:total"), "total"))
    for name in names:
        redis("rename", key("minute", minute_s, name), f"put-aside:{name}")
    finds(e2e, "Redis: a minute's keys were deleted", prefix, database,
          [(None, minute_ms, "packets in Redis, keys of the minute", total, None)])
    for name in names:
        redis("rename", f"put-aside:{name}", key("minute", minute_s, name))
    where = key("day", day_s, "actors:total:total")
    redis("copy", where, "put-aside:actors")
    before, number = int(redis("pfcount", where)), 0
    while int(redis("pfcount", where)) == before:
        number += 1
        redis("pfadd", where, f"stranger{number}")
    finds(e2e, "Redis: an actor was added to a sketch", prefix, database,
          [(None, day_s * 1000, "estimate of unique actors in Redis, sketch of the day", before,
            int(redis("pfcount", where)))])
    redis("rename", "put-aside:actors", where)
    redis("hset", f"{prefix}:{{0}}:sensor_gaps", f"one:{minute_ms * 1000000}", minute_ms * 1000000 + 9)
    finds(e2e, "Redis: a gap of a sensor was made up", prefix, database,
          [("one", minute_ms, "end in ns of a gap in Redis that no ledger names", None, minute_ms * 1000000 + 9)])
    redis("hdel", f"{prefix}:{{0}}:sensor_gaps", f"one:{minute_ms * 1000000}")
    is_clean(e2e, "lifetimes and days are Redis's own, whatever the report's configuration says", prefix, database,
             "--set", "redis.day_offset=+09:00", "--set", "redis.minute_lifetime=1m", "--set", "redis.day_lifetime=400d")
    position = redis("hget", f"{prefix}:{{0}}:watermarks", 3)
    redis("hincrby", f"{prefix}:{{0}}:watermarks", 3, 1000000)
    code, shown, _ = audit(e2e, prefix, database)
    e2e.check("audit: Redis: a watermark behind the log's end: found and named", code == 1 and any(
        found["what"] == "view count stands behind the end of flows.v1 partition 3" for found in shown["findings"]),
        findings(shown)[:3])
    redis("hset", f"{prefix}:{{0}}:watermarks", 3, position)
    is_clean(e2e, "Redis put right again", prefix, database)


def tamper_topics(e2e, prefix, database):
    """Each forgery stays in the log, so findings pile up."""
    enriched = f"{prefix}.enriched.v1"
    partition, _, value = read_topic(e2e, enriched)[100]
    record = json.loads(value)
    sums = collections.Counter()
    for _, _, other in read_topic(e2e, enriched):
        other = json.loads(other)
        if (other["sensor"], other["window_ms"]) == (record["sensor"], record["window_ms"]):
            sums.update(records=1, packets=other["packets"], bytes=other["bytes"])
    produce_and_abort(e2e, enriched, partition, value)
    is_clean(e2e, "an enriched record in an aborted transaction", prefix, database)
    produce(e2e, enriched, partition, value)
    about = (record["sensor"], record["window_ms"])
    known = [(*about, "records in enriched.v1", sums["records"], sums["records"] + 1),
             (*about, "packets in enriched.v1", sums["packets"], sums["packets"] + record["packets"]),
             (*about, "wire_bytes in enriched.v1", sums["bytes"], sums["bytes"] + record["bytes"])]
    finds(e2e, "a forged enriched record", prefix, database, known)
    shown = audit(e2e, prefix, database, "--from", (record["window_ms"] + 60000) // 1000)[1]
    e2e.check("audit: --from: what is wrong before it is not reported", shown["balanced"] and
              all(series["minutes"] > 0 for series in shown["sensors"]), findings(shown)[:3])

    flows = f"{prefix}.flows.v1"
    messages = read_topic(e2e, flows)
    containers = [(partition, value, list(open_container(value))) for partition, _, value in messages[:40]]
    partition, value, records = next(item for item in containers if "entry" not in item[2][0])
    sensor = open_container(value).meta["hoshimi.sensor"].decode()
    minute_ms = epoch_ms(records[0]["window"])
    in_log = collections.Counter()
    for _, _, other in messages:
        reader = open_container(other)
        if reader.meta["hoshimi.sensor"].decode() == sensor:
            for record in reader:
                if "entry" not in record and epoch_ms(record["window"]) == minute_ms:
                    in_log.update(packets=record["packets"], bytes=record["bytes"])
    doubled = collections.Counter()
    for record in records:
        doubled.update(packets=record["packets"], bytes=record["bytes"])
    produce_and_abort(e2e, flows, partition, value)
    finds(e2e, "a doubled flows message in an aborted transaction", prefix, database, known)
    produce(e2e, flows, partition, value, "-X", "transactional.id=forger.commits")
    known += [(sensor, minute_ms, "counted: packets in flows.v1", in_log["packets"], in_log["packets"] + doubled["packets"]),
              (sensor, minute_ms, "wire_bytes in flows.v1", in_log["bytes"], in_log["bytes"] + doubled["bytes"]),
              (sensor, minute_ms, f"flow records behind the last marker in flows.v1 partition {partition}", 0, len(records))]
    finds(e2e, "a doubled flows message, committed", prefix, database, known)
    produce(e2e, flows, partition, value)
    known[3:] = [(sensor, minute_ms, known[3][2], in_log["packets"], in_log["packets"] + 2 * doubled["packets"]),
                 (sensor, minute_ms, known[4][2], in_log["bytes"], in_log["bytes"] + 2 * doubled["bytes"]),
                 (sensor, minute_ms, known[5][2], 0, 2 * len(records))]
    finds(e2e, "a doubled flows message outside any transaction", prefix, database, known)

    other = (partition + 1) % 6 or 1  # markers of partition 0 carry the books
    markers = [value for part, _, value in messages if part == other]
    markers = [value for value in markers if "entry" in next(open_container(value))]
    marker = next(open_container(markers[-1]))
    sensor = open_container(markers[-1]).meta["hoshimi.sensor"].decode()
    minute_ms = epoch_ms(marker["minute"])
    value = forged_container(markers[-1], lambda record: {**record, "flows": 7, "packets": 9, "entry": record["entry"] + 1})
    produce(e2e, flows, other, value)
    code, shown, _ = audit(e2e, prefix, database)
    new = [found for found in findings(shown) if found not in known]
    where = f"flows.v1 partition {other}"
    expected = [(sensor, minute_ms, f"flow records in {where}, entry {marker['entry'] + 1}", 7, 0),
                (sensor, minute_ms, f"packets in {where}, entry {marker['entry'] + 1}", 9, 0)]
    e2e.check("audit: a marker with other counts: found and named", code == 1 and
              all(item in new for item in expected), (code, new[:6]))
    e2e.check("audit: a marker of an entry that nobody else has: found and named", all(
        (sensor, None, f"last entry number in {name}", marker["entry"] + 1, marker["entry"]) in new
        for name in ["sensors.v1"] + [f"flows.v1 partition {p}" for p in range(6) if p != other]), new[:6])

    sensors = f"{prefix}.sensors.v1"
    _, _, value = read_topic(e2e, sensors)[5]
    ledger = json.loads(value)
    produce(e2e, sensors, 0, value)
    code, shown, _ = audit(e2e, prefix, database)
    e2e.check("audit: a ledger that comes again in sensors.v1: found and named",
              code == 1 and (ledger["sensor"], ledger["minute_ms"], "ledgers in sensors.v1", 1, 2) in findings(shown),
              findings(shown)[-6:])


def forged_books(e2e, prefix, database):
    """A log whose only entry states other books than its flows, and than its own copy for readers."""
    source = "e2e-au"
    e2e.topics(prefix)
    entry = {}
    for partition, _, value in read_topic(e2e, f"{source}.flows.v1"):
        reader = open_container(value)
        if reader.meta["hoshimi.sensor"] != b"one" or entry.get(partition) == "done":
            continue
        record = next(reader)
        if "entry" in record:
            entry[partition] = "done"
            if partition == 0:
                counted, minute_ms = record["counted"], epoch_ms(record["minute"])
                value = forged_container(value, lambda marker: {**marker, "counted": marker["counted"] + 4,
                                                                "frames": marker["frames"] + 5})
        produce(e2e, f"{prefix}.flows.v1", partition, value)
    ledger = next(value for _, _, value in read_topic(e2e, f"{source}.sensors.v1") if json.loads(value)["sensor"] == "one")
    produce(e2e, f"{prefix}.sensors.v1", 0, ledger)
    frames = json.loads(ledger)["frames"]
    finds(e2e, "books that do not balance", prefix, database, [
        ("one", minute_ms, "frames = non_ip + malformed + not_dark + counted, entry 0", frames + 4, frames + 5),
        ("one", minute_ms, "counted: packets in flows.v1", counted + 4, counted),
        ("one", minute_ms, "markers of the other partitions state another ledger than partition 0's", 0, 1),
        ("one", minute_ms, "frames in sensors.v1", frames + 5, frames),
        ("one", minute_ms, "counted in sensors.v1", counted + 4, counted)])


def cut_log(e2e, prefix, database, capture, summaries):
    """Retention has moved the start of both topics: only what is held is compared."""
    e2e.topics(prefix)
    e2e.sensor(prefix, "-r", capture)
    process = e2e.collector(prefix, database)
    counted = summaries["one"]["counted"]
    e2e.wait_for(lambda: e2e.counted(prefix, database) == counted)
    e2e.wait_for(lambda: e2e.sums_of(e2e.enriched(prefix))["counted"] == counted, pause=1)
    e2e.stop(process)
    is_clean(e2e, "before the log is cut", prefix, database)
    cut = {"partitions": [{"topic": f"{prefix}.{name}.v1", "partition": partition, "offset": offset + 20 * partition}
                          for name, offset in (("flows", 100), ("enriched", 1500)) for partition in range(6)], "version": 1}
    path = e2e.DATA / "cut.json"
    path.write_text(json.dumps(cut))
    e2e.services(f"kafka_java org.apache.kafka.tools.DeleteRecordsCommand --bootstrap-server {e2e.BROKERS} "
                 f"--offset-json-file {path}")
    shown = is_clean(e2e, "the log's start is gone", prefix, database)
    series = shown["sensors"][0]
    e2e.check("audit: the log's start is gone: it says from when on it compares",
              0 < series["minutes_not_held"] < series["minutes"] and
              series["held_from_ms"] > summaries["one"]["per_minute"][0][0] * 1000 and
              shown["redis"]["minutes_compared"] > 0 and shown["redis"]["days_skipped"] == 1, (series, shown["redis"]))
    minute_s = summaries["one"]["per_minute"][-2][0]
    where = f"{prefix}:{{0}}:minute:{minute_s}:ledger"
    before = int(e2e.redis("hget", where, "frames", database=database))
    e2e.redis("hincrby", where, "frames", 1, database=database)
    finds(e2e, "what is still held is compared", prefix, database,
          [(None, minute_s * 1000, "frames in Redis, ledger of the minute", before, before + 1)])


def refusals(e2e):
    done = e2e.run(e2e.REPORT, "--audit", "--brokers", e2e.BROKERS, "--redis", "redis://127.0.0.1:1/0", "--topic-prefix",
                   "e2e-au")
    e2e.check("audit: a Redis that was named and is not reachable: exit 1 with the address",
              done.returncode == 1 and b"127.0.0.1:1" in done.stderr, done.stderr)
    done = e2e.run(e2e.REPORT, "--audit", "--brokers", "127.0.0.1:1", "--topic-prefix", "e2e")
    e2e.check("audit: a Kafka that is not reachable: exit 1 with the address",
              done.returncode == 1 and b"127.0.0.1:1" in done.stderr, done.stderr)
    done = e2e.run(e2e.REPORT, "--audit", "--csv", "--brokers", e2e.BROKERS)
    e2e.check("audit: --csv: usage error", done.returncode == 2, (done.returncode, done.stderr))
    done = e2e.run(e2e.REPORT, "--audit", "--brokers", e2e.BROKERS, "--redis", e2e.redis_url(12), "--topic-prefix", "e2e-au")
    text = done.stdout.decode()
    e2e.check("audit: for people: a line for each finding, then the sensors and the views",
              done.returncode == 1 and "do not add up" in text and "expected" in text and "Sensor one, replay" in text and
              "Views" in text, text[:400])


def after_the_kills(e2e):
    """The logs that sensors, members and servers were killed over."""
    for prefix, database in (("e2e", 1), ("e2e-ks", 5), ("e2e-kc", 6), ("e2e-kr", 7), ("e2e-kk", 8), ("e2e-po", 9),
                             ("e2e-bp", 11), ("e2e-ss", 14), ("e2e-lk", 14)):
        code, shown, said = audit(e2e, prefix, database)
        e2e.check(f"audit: the log of {prefix}: balanced", code == 0 and shown["sensors"],
                  (code, shown and findings(shown)[:4], said[-200:]))


def test_audit(e2e, capture, is_alone=False):
    prefix, database = "e2e-au", 12
    if not is_alone:
        after_the_kills(e2e)
    summaries = feed_two(e2e, prefix, database, capture)
    shown = while_views_work(e2e, prefix, database, summaries)
    same_as_summaries(e2e, shown, summaries)
    tamper_redis(e2e, prefix, database, summaries["one"]["per_minute"][10][0])
    forged_books(e2e, "e2e-af", 13)
    cut_log(e2e, "e2e-ac", 13, capture, summaries)
    tamper_topics(e2e, prefix, database)
    refusals(e2e)
