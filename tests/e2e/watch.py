"""The view watch: counters.v1 equals what the same flows give without any server, killed or not.

Called by chain.py with itself as `e2e`: its checks, its programs.
"""
import collections
import json
import signal
import time

FIGURES = ("packets", "bytes", "unique_actors")
BASE = ("sensors", "monitored_addresses", "address_seconds", "kernel_drops", "interface_drops", "lost_packets")


def offline(e2e, capture):
    done = e2e.run("bash", "-c", f"{e2e.SENSOR} -r {capture} --dark {e2e.DARK} -o - | {e2e.COLLECTOR} -i - --print counters")
    return [json.loads(line) for line in done.stdout.splitlines()]


def in_kafka(e2e, prefix):
    done = e2e.run("kcat", "-b", e2e.BROKERS, "-t", f"{prefix}.counters.v1", "-C", "-e", "-q", "-o", "beginning",
                   "-X", "isolation.level=read_committed")
    return [json.loads(line) for line in done.stdout.splitlines()]


def series(records):
    """Figures by minute and label, partitions added up; without totals that are zero."""
    found = collections.defaultdict(lambda: [0] * len(FIGURES))
    for record in records:
        place = found[record["minute_ms"], record["dimension"], record["role"], record["label"], record["late"]]
        for i, figure in enumerate(FIGURES):
            place[i] += record[figure]
    return {key: value for key, value in found.items() if any(value)}


def totals(records):
    """Each minute's total by partition: it must be there once, and last."""
    found = collections.Counter()
    for record in records:
        if record["dimension"] == "total" and not record["late"]:
            found[record["partition"], record["minute_ms"]] += 1
    return found


def test_watch(e2e, capture, _summary, _reference):
    prefix = "e2e-wa"
    e2e.topics(prefix)
    expected = offline(e2e, capture)
    wanted = series(expected)
    minutes = {record["minute_ms"] for record in expected}
    sensor = e2e.slow_sensor(prefix, capture, 12)
    for kill in range(4):
        process = e2e.collector(prefix, 0, "--views", "watch", name=f"collector{kill}")
        time.sleep(3 if kill < 3 else 0)
        if kill < 3:
            e2e.stop(process, signal.SIGKILL)
    sensor.wait(timeout=120)
    ok = e2e.wait_for(lambda: len(totals(in_kafka(e2e, prefix))) == 6 * len(minutes), 120, 1)
    records = in_kafka(e2e, prefix)
    found = series(records)
    differing = [key for key in set(found) | set(wanted) if found.get(key) != wanted.get(key)]
    e2e.check("watch: after three kills the counters are those of the same flows without a server",
              ok and wanted and not differing, [(key, found.get(key), wanted.get(key)) for key in differing[:3]])
    once = totals(records)
    e2e.check("watch: each partition has one total of each minute", set(once.values()) == {1} and len(once) == 6 * len(minutes),
              (len(once), 6 * len(minutes), once.most_common(2)))
    bases = collections.defaultdict(set)
    for record in records + expected:
        if record["dimension"] == "total":
            bases[record["minute_ms"]].add(tuple(record[field] for field in BASE))
    e2e.check("watch: every total of a minute has the same base", all(len(base) == 1 for base in bases.values()),
              next((base for base in bases.values() if len(base) > 1), None))
    e2e.stop(process)
    e2e.check("watch: the collector ends well", process.returncode == 0, process.returncode)
    faults = e2e.schema_faults("counters", records[:3000])
    e2e.check("watch: counters follow their JSON Schema", not faults, faults[:3])
