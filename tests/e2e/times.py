"""Time that does not go on as usual: edges of minutes, a leap of a year, a packet from the future, a silent day.

Called by chain.py with itself as `e2e`: its checks, its programs. Truth is what the captures here are made of.
"""
import collections
import json
import struct
import time

import audit

NS = 10**9
BASE_S = 1735689600  # 2025-01-01 00:00 UTC
DAY_S, YEAR_S = 86400, 365 * 86400
DARK_ADDRESSES = 512  # IPv4, of chain.py's DARK
SECONDS_MAX = 20  # a busy machine; usually below one
SENSOR_MIB_MAX = 96
KEYS_A_BUCKET = 40  # one class, one service, one protocol …


def frame(number):
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, number & 0xFFFF, 0, 50, 6, 0, bytes((192, 0, 2, number % 200 + 1)),
                     bytes((198, 51, 100, number % 256)))
    return bytes(12) + b"\x08\x00" + ip + struct.pack(">HHIIBBHHH", 40000, 23, 1, 0, 0x50, 2, 1024, 0, 0) + bytes(6)


def write_capture(path, times_ns):
    """A capture with a frame at each of these times, in this order."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for number, at in enumerate(times_ns):
            data = frame(number)
            out.write(struct.pack("<IIII", at // NS, at % NS, len(data), len(data)) + data)
    return path


def seconds(first_s, count, step_s=1):
    return [(first_s + i * step_s) * NS for i in range(count)]


def per_minute(*captures):
    found = collections.Counter(at // NS // 60 * 60 for times in captures for at in times)
    return [[minute, count] for minute, count in sorted(found.items())]


def peak_mib(process):
    """What it has had at most, as long as it runs."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def replay(e2e, prefix, path, name):
    """@return what the sensor took: seconds, most memory in MiB"""
    words = [e2e.SENSOR, "-r", path, "--dark", e2e.DARK, "-o", "kafka", "--sensor", name, "--topic-prefix", prefix,
             "--brokers", e2e.BROKERS]
    began = time.monotonic()
    process = e2e.start(f"{prefix}.{name}", *words)
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_mib(process))
        time.sleep(0.002)
    e2e.check(f"{prefix}: the sensor {name} ends well", process.returncode == 0, e2e.said(prefix, name)[-300:])
    return time.monotonic() - began, peak


def memory_of_redis(e2e, database):
    script = "local n = 0 for _, k in ipairs(redis.call('keys', '*')) do n = n + redis.call('memory', 'usage', k) end return n"
    return int(e2e.redis("eval", script, 0, database=database))


def buckets_of(minutes):
    """How many minutes, hours and days have packets."""
    return sum(len({minute // length for minute, _ in minutes}) for length in (60, 3600, DAY_S))


def through_everything(e2e, prefix, database, captures):
    """Captures by sensor go into log and Redis; each form must add up to what they are made of. @return the report"""
    e2e.topics(prefix)
    for name, times in captures.items():
        took = replay(e2e, prefix, write_capture(e2e.DATA / f"{prefix}.{name}.pcap", times), name)
        e2e.check(f"{prefix}: the sensor {name} is bounded in time and memory",
                  took[0] < SECONDS_MAX and took[1] < SENSOR_MIB_MAX, took)
    packets, minutes = sum(map(len, captures.values())), per_minute(*captures.values())
    began = time.monotonic()
    process = e2e.collector(prefix, database)
    ok = e2e.wait_for(lambda: e2e.counted(prefix, database) == packets, 60)
    took = time.monotonic() - began
    shown = e2e.report(prefix, database)
    e2e.check(f"{prefix}: Redis has every packet, in its minute", ok and shown["per_minute"] == minutes,
              (e2e.counted(prefix, database), packets))
    first, last = (pick(min(times) if pick is min else max(times) for times in captures.values()) for pick in (min, max))
    e2e.check(f"{prefix}: first and last packet", (shown["first_ns"], shown["last_ns"]) == (first, last), shown["first_ns"])
    peak = peak_mib(process)
    keys, size = int(e2e.redis("dbsize", database=database)), memory_of_redis(e2e, database)
    e2e.check(f"{prefix}: the collector is bounded in time and memory", took < 40 and peak < 250, (took, peak))
    e2e.check(f"{prefix}: Redis has keys for what there was only", keys < KEYS_A_BUCKET * (buckets_of(minutes) + 3), keys)
    print(f"    {prefix}: collector {took:.1f} s, {peak:.0f} MiB at most; Redis {keys} keys, {size // 1024} KiB", flush=True)
    e2e.wait_for(lambda: e2e.sums_of(e2e.enriched(prefix))["counted"] == packets, 60, 1)
    sums = e2e.sums_of(e2e.enriched(prefix))
    e2e.check(f"{prefix}: enriched records have every packet in its minute", sums["per_minute"] == minutes, sums["counted"])
    audit.is_clean(e2e, prefix, prefix, database)
    e2e.stop(process)
    return shown


def series(e2e, prefix, database, *words):
    """[time, packets] of a series in the report, zeros left out, and how many rows it had."""
    rows = e2e.report(prefix, database, *words)["rows"]
    return [[row["time_ms"] // 1000, row["packets"]] for row in rows if row["packets"] > 0], len(rows)


def minute_edges(e2e):
    """The last nanosecond of a minute and the first of the next, for ten minutes, hours and days."""
    edges = sorted(BASE_S + step * i for step in (60, 3600, DAY_S) for i in range(1, 11))
    times = sorted({at for edge in set(edges) for at in (edge * NS - 1, edge * NS)})
    through_everything(e2e, "e2e-me", 10, {"edges": times})
    for period, length in (("hour", 3600), ("day", DAY_S)):
        wanted = collections.Counter(at // NS // length * length for at in times)
        found, _ = series(e2e, "e2e-me", 10, "--per", period)
        e2e.check(f"edges: a packet belongs to the {period} in which it came", dict(map(tuple, found)) == dict(wanted),
                  (found[:4], sorted(wanted.items())[:4]))


def leap_of_a_year(e2e):
    """An archive that goes on a year later."""
    times = seconds(BASE_S, 300) + seconds(BASE_S + YEAR_S, 300)
    shown = through_everything(e2e, "e2e-ly", 10, {"archive": times})
    observed = shown["base"]["observed_seconds"]
    e2e.check("leap of a year: it is not observed time", 595 <= observed <= 600, observed)
    e2e.check("leap of a year: the rate is per observed time", abs(
        shown["base"]["packets_per_address_day"] - 600 / (DARK_ADDRESSES * observed / DAY_S)) < 0.01, shown["base"])
    found, rows = series(e2e, "e2e-ly", 10, "--per", "day")
    e2e.check("leap of a year: a series by day shows it as zeros",
              found == [[BASE_S, 300], [BASE_S + YEAR_S, 300]] and rows == 366, (found, rows))
    found, rows = series(e2e, "e2e-ly", 10, "--per", "minute", "--from", BASE_S, "--to", BASE_S + 600)
    e2e.check("leap of a year: so does one by minute of a part", len(found) == 5 and rows == 10, (found, rows))
    began = time.monotonic()
    found, rows = series(e2e, "e2e-ly", 10, "--per", "minute")
    e2e.check("leap of a year: a series of all its minutes is printed in bounded time",
              len(found) == 10 and rows == YEAR_S // 60 + 5 and time.monotonic() - began < 30, (rows, time.monotonic() - began))


def packet_from_the_future(e2e):
    """One packet carries the time of a year later; those behind it are as before."""
    times = seconds(BASE_S, 100) + [(BASE_S + YEAR_S) * NS] + seconds(BASE_S + 100, 400)
    shown = through_everything(e2e, "e2e-pf", 10, {"archive": times})
    e2e.check("packet from the future: the others keep their observed time", 495 <= shown["base"]["observed_seconds"] <= 541,
              shown["base"]["observed_seconds"])
    _, audited, _ = audit.audit(e2e, "e2e-pf", 10)
    e2e.check("packet from the future: the audit shows the same", len(audited["sensors"]) == 1 and
              audited["sensors"][0]["counted"] == 501 and
              abs(audited["sensors"][0]["observed_seconds"] - shown["base"]["observed_seconds"]) < 1, audited["sensors"])


def silent_day(e2e):
    """Of two sensors one is silent for a day, and nobody waits for it."""
    both = {"steady": seconds(BASE_S, 26 * 60, 60), "silent": seconds(BASE_S, 60, 60) + seconds(BASE_S + 25 * 3600, 60, 60)}
    shown = through_everything(e2e, "e2e-sd", 10, both)
    e2e.check("silent day: each sensor has its packets", shown["per_sensor"] == {"steady": 1560, "silent": 120},
              shown["per_sensor"])
    e2e.check("silent day: both are named as the base", shown["base"]["sensors"] == 2 and
              shown["base"]["monitored_addresses"] == 2 * DARK_ADDRESSES, shown["base"])
    rows = e2e.report("e2e-sd", 10, "--by", "sensor", "--per", "hour")["rows"]
    hours = collections.Counter((row["label"], row["packets"]) for row in rows)
    e2e.check("silent day: by hour, one goes on and the other has zeros",
              hours == {("steady", 60): 26, ("silent", 60): 2, ("silent", 0): 24}, hours)
    _, audited, _ = audit.audit(e2e, "e2e-sd", 10)
    observed = {one["sensor"]: one["observed_seconds"] for one in audited["sensors"]}
    e2e.check("silent day: it is not claimed as observed", observed["steady"] > 25.9 * 3600 and
              observed["silent"] < 2.02 * 3600, observed)
    gaps = [one["gaps"] for one in audited["sensors"] if one["sensor"] == "silent"][0]
    e2e.check("silent day: the audit names it", [gap["named_by"] for gap in gaps] == ["no frames in the capture"], gaps)
    print("    " + json.dumps({"observed": observed, "in Redis": shown["base"]["observed_seconds"]}), flush=True)


def test_times(e2e, *_):
    for test in (minute_edges, leap_of_a_year, packet_from_the_future, silent_day):
        e2e.redis("flushdb", database=10)
        test(e2e)
