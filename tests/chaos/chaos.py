"""Chaos: faults drawn from a seed, and every figure must be as if there had been none.

  tests/chaos/run [--seed N] [--faults N] [--kinds LIST] [--storm N] [--nodes N] [BUILD-DIR]
  tests/chaos/run --long [--kills N] [--minutes N] [--seed N] [...]

A stream of known packets (the demo's capture) goes through a slow pipe into a sensor, collectors
count and enrich it, and meanwhile a driver kills, freezes, empties, restores and fills what it
finds. The plan is drawn from the seed, and the seed is printed; the same seed makes the same plan.

The long form goes on with rounds, each of a seed of its own, every third with three brokers, until
so many processes have been killed (SIGKILL). A round's line repeats it alone.

The oracle is an undisturbed run of the same stream. At the end these must be equal, record for
record: the messages of the log in each partition and in their order, the enriched records, the
counters of each minute, the ledger, and every key in Redis; and the report must say what the
sensor's own summary says. After each fault: nothing in Redis is above the oracle's figure for that minute and class, and no
watermark has gone back, unless Redis was emptied, restored or lost its last second on purpose.

Beside it a live sensor captures on a veth pair. Its packets may be missing only where its ledger
says so (live.py); Redis must equal what an undisturbed collector makes of the same log, and the
enriched topic what a collector without any server prints of it.
"""
import argparse
import collections
import copy
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
import faults  # noqa: E402
import live  # noqa: E402
from programs import DARK, Members, Replay, World  # noqa: E402
from servers import Kafka, Redis, kills  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
CHAIN_FIELDS = ("frames non_ip malformed not_dark counted wire_bytes first_ns last_ns "
                "per_protocol per_class per_fingerprint per_service per_minute").split()
TOPICS = ("flows.v1", "sensors.v1", "enriched.v1", "counters.v1", "deadletter.v1")
CALM, REPLAY, LIVE = "calm", "chaos", "live"  # topic prefixes
CALM_DB, REPLAY_DB, LIVE_DB, LIVE_CALM_DB = 1, faults.REPLAY_DB, 3, 4
settle_s = 120
WORLDS_MAX = 8  # new servers for the rest of a plan, when Kafka has spoilt the last ones
SHORT_STORM, LONG_STORM = 8, 60  # kills in a storm, at most
WHO = {"replay": "of the replay's sensor", "live": "of the live sensor", "member": "of the replay's collectors",
       "livemember": "of the live sensor's collectors", "kafka": "of Kafka", "redis": "of Redis"}

counts = {"ok": 0, "not ok": 0, "skip": 0}
excuses = []  # transactions that Kafka itself has left open


def check(name, differences):
    kind = "ok" if not differences else "skip" if excuses else "not ok"
    if differences and excuses:
        differences = [f"Kafka wrote no markers for {', '.join(excuses)}"] + list(differences)
    counts[kind] += 1
    why = f": {'; '.join(map(str, differences))[:900]}" if differences else ""
    print(f"{kind} {name}{why}", flush=True)
    return not differences


def run(*words, **options):
    options.setdefault("timeout", 900)
    return subprocess.run([str(word) for word in words], capture_output=True, check=False, **options)


def wait_while_it_moves(what, progress, pause=0.3):
    """Until it is so, or nothing has moved for settle_s: a slow machine is no fault."""
    last, deadline = None, time.monotonic() + settle_s
    while time.monotonic() < deadline:
        if what():
            return True
        now = progress()
        if now != last:
            last, deadline = now, time.monotonic() + settle_s
        time.sleep(pause)
    return False


def weight_of(plan, storm):
    """How many ordinary faults' share of the stream the plan needs."""
    return len(plan) + sum(item["function"] is faults.sensor_storm for item in plan) * storm * faults.STORM_STEP


def make_capture(world, faults_count, weight):
    """The stream grows with the number of faults, so that each has something to disturb."""
    capture, truth = world.data / "demo.pcap", world.data / "demo.json"
    hours = max(6, faults_count // 20, int(weight) // 6)
    packets = 60000 + 100 * max(0, faults_count - 100)
    done = run(world.build / "deploy/demo/hoshimi-demo", "--pcap", capture, "--truth", truth, "--packets", packets,
               "--hours", hours, "--seed", "7")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    summary = run(world.sensor, "-r", capture, "--dark", DARK, "--summary")
    return capture, json.loads(summary.stdout)


class Oracle:
    """What the stream comes to when nothing disturbs it."""

    def __init__(self, world, capture, summary):
        self.summary = summary
        world.create_topics(CALM)
        calm = Replay(world, CALM, capture)
        calm.advance_to_end()
        calm.start()
        group = Members(world, CALM, CALM_DB, "calm")
        group.want(1)
        if calm.process.child.wait(timeout=900) != 0:
            raise RuntimeError(f"undisturbed run: {calm.process.said()[-500:]}")
        if not wait_until_counted(world, CALM, CALM_DB, summary["counted"]):
            raise RuntimeError("undisturbed run: Redis does not come to the summary's count")
        self.topics = settled_topics(world, CALM, summary["counted"])
        group.leave(0)
        self.dump = world.redis.dump(CALM_DB, CALM)
        _, self.figures = world.redis.glance(CALM_DB, CALM)


def counted(world, prefix, database):
    """Packets counted, once all partitions have come as far; -1 before."""
    done = run(world.report, "--redis", f"redis://127.0.0.1:6379/{database}", "--topic-prefix", prefix, "--json")
    if done.returncode != 0 or not done.stdout:
        return -1
    shown = json.loads(done.stdout)
    return shown["counted"] if shown["base"]["applied"] == shown["counted"] else -1


def figures_in_redis(world, prefix, database):
    marks, figures = world.redis.glance(database, prefix)
    return sorted(marks.items()), sum(figures.values())


def wait_until_counted(world, prefix, database, packets):
    return wait_while_it_moves(lambda: counted(world, prefix, database) == packets,
                               lambda: figures_in_redis(world, prefix, database))


def packets_of(messages):
    """Of enriched flows, or of the totals among counters."""
    records = [json.loads(value) for _, _, value in messages]
    return sum(record["packets"] for record in records if record.get("dimension", "total") == "total")


def settled_topics(world, prefix, packets):
    """The topics once those made of flows have come to so many packets, or when they come to no more."""
    seen = [0]

    def are_all_there(topic):
        seen[0] = packets_of(world.kafka.read_messages(f"{prefix}.{topic}"))
        return seen[0] >= packets

    for topic in ("enriched.v1", "counters.v1"):
        wait_while_it_moves(lambda: are_all_there(topic), lambda: seen[0], 2)
    found = {}
    for topic in TOPICS:
        partitions = collections.defaultdict(list)
        for partition, _, value in world.kafka.read_messages(f"{prefix}.{topic}"):
            partitions[partition].append(value)
        found[topic] = partitions
    return found


def topic_differences(name, calm, found):
    """Record for record, in each partition in order."""
    differences = []
    for partition in sorted(set(calm) | set(found)):
        a, b = calm.get(partition, []), found.get(partition, [])
        if a == b:
            continue
        missing, extra = collections.Counter(a), collections.Counter(b)
        missing.subtract(extra)
        lacks = sum(n for n in missing.values() if n > 0)
        more = -sum(n for n in missing.values() if n < 0)
        first = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        differences.append(f"{name} partition {partition}: {len(a)} records undisturbed, {len(b)} now, {lacks} missing, "
                           f"{more} too many, first difference at {first}")
    return differences


def counter_differences(records, packets):
    """Every dimension adds up to the packets, and a minute closes once in each partition."""
    sums = collections.Counter()
    closed = collections.Counter()
    for record in records:
        sums[record["dimension"]] += record["packets"]
        if record["dimension"] == "total" and not record["late"]:
            closed[record["partition"], record["minute_ms"]] += 1
    return [f"{dimension}: {found} packets, {packets} in the ledger" for dimension, found in sums.items() if found != packets] + \
        [f"{len(twice)} totals are there more than once" for twice in [[n for n in closed.values() if n > 1]] if twice]


def dump_differences(calm, found):
    keys = [key for key in sorted(set(calm) | set(found)) if calm.get(key) != found.get(key)]
    shown = []
    for key in keys[:3]:
        a, b = calm.get(key), found.get(key)
        if isinstance(a, list) and isinstance(b, list):
            a, b = sorted(set(map(str, a)) - set(map(str, b)))[:3], sorted(set(map(str, b)) - set(map(str, a)))[:3]
        shown.append(f"{key}: {str(a)[:120]} undisturbed, {str(b)[:120]} now")
    return [f"{len(keys)} keys differ"] + shown if keys else []


class Invariants:
    """What must hold at any time."""

    def __init__(self, world, oracle):
        self.world, self.oracle = world, oracle
        self.marks, self.epoch = {}, world.redis.epoch

    def look(self):
        epoch = self.world.redis.epoch
        marks, figures = self.world.redis.glance(REPLAY_DB, REPLAY)
        found = [f"watermark of partition {partition} went back from {before} to {marks.get(partition)}"
                 for partition, before in self.marks.items()
                 if epoch == self.epoch and marks.get(partition, -1) < before]
        above = [name for name, packets in figures.items() if packets > self.oracle.figures.get(name, 0)]
        found += [f"{name}: {figures[name]} packets in Redis, {self.oracle.figures.get(name, 0)} in truth"
                  for name in above[:3]]
        if self.world.live is not None:
            _, figures = self.world.redis.glance(LIVE_DB, LIVE)
            sent = sum(counted for _, _, counted in self.world.live.bursts) + live.BURST_MAX
            if sum(figures.values()) > sent:
                found.append(f"live: {sum(figures.values())} packets in Redis, {sent} sent")
        self.marks, self.epoch = marks, epoch
        return found


class Driver:
    """Plays the plan: up to so many faults at a time, none that touch the same thing."""

    AT_ONCE = 4

    def __init__(self, world, invariants, plan, seed):
        self.world, self.invariants, self.seed = world, invariants, seed
        self.waiting, self.active = plan, []
        self.full_since = None

    def play(self):
        """@return what of the plan is left, because Kafka itself has forgotten a transaction"""
        look_at = 0
        while self.waiting or self.active:
            self.begin_next()
            for item in list(self.active):
                if time.monotonic() >= item["due"]:
                    self.go_on(item)
            if any("kafka" in item["touches"] for item in self.active):
                self.world.kafka_held = time.monotonic()
            self.world.watch()
            time.sleep(0.02)
            if time.monotonic() > look_at:
                look_at = time.monotonic() + 1
                forgotten = self.world.kafka.skipped(REPLAY) + self.world.kafka.skipped(LIVE)
                if forgotten:
                    excuses[:] = forgotten
                    check(f"this far (seed {self.seed}); the rest of the plan begins anew", ["servers.py, SKIPPED"])
                    excuses.clear()
                    return self.active + self.waiting
        return []

    def begin_next(self):
        touched = set().union(*(item["touches"] for item in self.active)) if self.active else set()
        if len(self.active) >= self.AT_ONCE:
            return
        if not self.may_lack_kafka():
            touched = touched | {"kafka"}
        for item in self.waiting:  # most lay hands on Kafka, one after the other: they must not wait for the rest
            if not item["touches"] & touched:
                self.waiting.remove(item)
                self.active.append(item)
                item["rng"] = random.Random(item["seed"])
                item["steps"] = item["function"](self.world, item["rng"])
                item["due"] = time.monotonic() + item["rng"].uniform(0, 1)
                item["began"] = time.monotonic()
                self.world.replay.advance(self.world.step, item["rng"].uniform(1, 6))
                return

    def may_lack_kafka(self):
        """Faults of Kafka that follow each other at once would fill the live sensor's spool; so it gets time to drain."""
        if self.world.live is None or self.world.live.has_room():
            self.full_since = None
        elif self.full_since is None:
            self.full_since = time.monotonic()
        return self.full_since is None or time.monotonic() > self.full_since + 90

    def go_on(self, item):
        try:
            item["due"] = time.monotonic() + next(item["steps"])
            return
        except StopIteration:
            self.active.remove(item)
        found = self.world.findings[:]
        self.world.findings.clear()
        is_away = any(other["touches"] & {"redis"} for other in self.active)
        if not is_away:
            found += self.invariants.look()
        seconds = time.monotonic() - item["began"]
        print(f"    {seconds:.1f} s, {self.world.replay.allowed / len(self.world.replay.capture):.0%} of the stream"
              f"{', redis not looked at: another fault holds it' if is_away else ''}", flush=True)
        check(f"{item['name']} (seed {self.seed})", found)


def make_plan(kinds, number, seed):
    """Rounds of all kinds, each in an order of its own."""
    rng, names = random.Random(seed), []
    while len(names) < number:
        names += rng.sample(kinds, len(kinds))
    return [{"name": f"{i + 1} {name}", "function": faults.KINDS[name][0], "touches": faults.KINDS[name][1],
             "seed": f"{seed}/{i}"} for i, name in enumerate(names[:number])]


def settle_replay(world, oracle, seed):
    """The rest of the stream in peace, then the comparison."""
    excuses[:] = world.kafka.skipped(REPLAY)
    world.replay.advance_to_end()
    done = wait_while_it_moves(lambda: (world.watch(), world.replay.is_done)[1],
                               lambda: figures_in_redis(world, REPLAY, REPLAY_DB))
    check(f"the replay ends well (seed {seed})", [] if done else [world.replay.process.said()[-400:]])
    wait_until_counted(world, REPLAY, REPLAY_DB, oracle.summary["counted"])
    done = run(world.report, "--redis", f"redis://127.0.0.1:6379/{REPLAY_DB}", "--topic-prefix", REPLAY, "--json")
    shown = json.loads(done.stdout) if done.returncode == 0 else {}
    check(f"the report equals the summary (seed {seed})",
          [f"{field} differs" for field in CHAIN_FIELDS if shown.get(field) != oracle.summary[field]])
    topics = settled_topics(world, REPLAY, oracle.summary["counted"])
    world.watch()
    check(f"all members of the replay's group end well (seed {seed})", world.groups[0].leave(0) + world.findings)
    world.findings.clear()
    found = world.redis.dump(REPLAY_DB, REPLAY)
    check(f"every key in Redis is as undisturbed (seed {seed})", dump_differences(oracle.dump, found))
    for topic, what in (("flows.v1", "the log holds every message once, in order"),
                        ("sensors.v1", "the ledger is as undisturbed"),
                        ("enriched.v1", "every enriched record once, in order"),
                        ("counters.v1", "every counter once, in order"),
                        ("deadletter.v1", "no message was put aside")):
        check(f"{what} (seed {seed})", topic_differences(topic, oracle.topics[topic], topics[topic]))


def settle_live(world, seed):
    """The live sensor ends; then its log is held against what was sent, and the views against the log."""
    excuses[:] = world.kafka.skipped(LIVE)
    world.live.ending = True
    world.live.hold()
    check(f"live: the sensor ends well (seed {seed})", world.live.end())
    ledger = [json.loads(value) for _, _, value in world.kafka.read_messages(f"{LIVE}.sensors.v1")]
    (world.data / "live.ledger.json").write_text("".join(json.dumps(part) + "\n" for part in ledger))
    for name, judge in (("every packet is in the log, or the ledger names it", live.account),
                        ("gaps are named where no sensor ran, nowhere else", live.gaps_are_true),
                        ("each moment is in an entry, in a gap or named as lost", live.time_is_whole),
                        ("what the spool held is in no gap", live.durable_is_kept),
                        ("entries are one sequence, and lost ones are named", live.entries_differ)):
        check(f"live: {name} (seed {seed})", judge(world.live, ledger))

    log = world.data / "live.avro"
    log.write_bytes(world.kafka.read(f"{LIVE}.flows.v1", "%s"))
    offline = json.loads(run(world.collector, "-i", log, "--report", "--json").stdout)
    packets = sum(part["counted"] for part in ledger)
    check(f"live: the flows add up to the ledger (seed {seed})",
          [] if offline["counted"] == packets == sum(offline["per_class"].values())
          else [f"ledger {packets}, report {offline['counted']}, flows {sum(offline['per_class'].values())}"])
    calm = Members(world, LIVE, LIVE_CALM_DB, "livecalm")
    calm.more = ("--group", "calm", "--views", "count")
    calm.want(1)
    for database in (LIVE_DB, LIVE_CALM_DB):
        wait_until_counted(world, LIVE, database, packets)
    check(f"live: every key in Redis is as an undisturbed collector makes it (seed {seed})",
          dump_differences(world.redis.dump(LIVE_CALM_DB, LIVE), world.redis.dump(LIVE_DB, LIVE)))
    topics = settled_topics(world, LIVE, packets)
    found = topics["enriched.v1"]
    lines = run(world.collector, "-i", log, "--print", "enriched").stdout.splitlines()
    check(f"live: every enriched record once (seed {seed})",
          topic_differences("enriched.v1", {0: sorted(lines)}, {0: sorted(sum(found.values(), []))}))
    records = [json.loads(value) for value in sum(topics["counters.v1"].values(), [])]
    check(f"live: the counters add up to the ledger (seed {seed})", counter_differences(records, packets))
    calm.leave(0)
    check(f"live: its collector ends well (seed {seed})", world.groups[1].leave(0) + world.findings)


def options_of(words):
    parser = argparse.ArgumentParser(prog="tests/chaos/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", type=int, help="36 by default, or as many as there are kinds")
    parser.add_argument("--kinds", default="all", help="names with commas; all of them by default")
    parser.add_argument("--storm", type=int, help=f"kills in a storm, at most ({SHORT_STORM}; long form {LONG_STORM})")
    parser.add_argument("--nodes", type=int, default=1, help="of Kafka; three keep two copies in step")
    parser.add_argument("--long", action="store_true", help="rounds until so many processes have been killed")
    parser.add_argument("--kills", type=int, default=1000, help="of the long form")
    parser.add_argument("--minutes", type=int, default=120, help="after which the long form begins no other round")
    parser.add_argument("--settle", type=int, default=settle_s,
                        help="seconds in which nothing moves, after which what is missing does not come")
    parser.add_argument("--list", action="store_true", help="shows the kinds of fault")
    for name in ("--build", "--data", "--kafka"):
        parser.add_argument(name, type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    options.storm = options.storm or (LONG_STORM if options.long else SHORT_STORM)
    options.is_all = options.kinds == "all"
    options.kinds = [kind for kind in faults.KINDS if kind not in faults.OPEN] if options.kinds == "all" else \
        options.kinds.split(",")
    options.faults = options.faults or max(36, len(options.kinds))
    unknown = [kind for kind in options.kinds if kind not in faults.KINDS]
    if unknown:
        parser.error(f"{unknown[0]} is no kind of fault; there are: {' '.join(faults.KINDS)}")
    return options


def main():
    options = options_of(sys.argv[1:])
    if options.list:
        for name, (function, touches) in faults.KINDS.items():
            print(f"{name:24} {' '.join(sorted(touches)):12} {function.__doc__.splitlines()[0]}"
                  f"{' OPEN: ' + faults.OPEN[name] if name in faults.OPEN else ''}")
        return 0
    global settle_s  # pylint: disable=global-statement
    settle_s = options.settle
    os.chdir(options.data)
    run("ip", "link", "set", "lo", "up")
    if options.long:
        play_long(options)
    else:
        play_round(options, options.data)
    return 0


def told(killed):
    words = [f"{number} {WHO.get(name, name)}" for name, number in sorted(killed.items())]
    return f"{sum(killed.values())} processes killed ({', '.join(words) or 'none'})"


def play_long(options):
    """Rounds until enough processes have been killed."""
    began, number, bad = time.monotonic(), 0, []
    print(f"chaos: the long form, --seed {options.seed}: {options.kills} kills, no round begins after "
          f"{options.minutes} minutes", flush=True)
    while sum(kills.values()) < options.kills and time.monotonic() - began < 60 * options.minutes:
        number += 1
        own = copy.copy(options)
        own.seed = options.seed * 1000 + number
        own.nodes = 3 if number % 3 == 0 else options.nodes
        failed, data = counts["not ok"], options.data / f"long{number}"
        print(f"round {number}", flush=True)
        try:
            play_round(own, data)
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc()
            excuses.clear()
            check(f"the driver (seed {own.seed})", [f"{type(error).__name__}: {error}"])
        if counts["not ok"] == failed:
            shutil.rmtree(data, ignore_errors=True)  # logs of what failed stay
        else:
            bad.append(own.seed)
        print(f"so far {told(kills)} in {(time.monotonic() - began) / 60:.0f} minutes", flush=True)
    check(f"{options.kills} processes were killed", [] if sum(kills.values()) >= options.kills else
          [f"only {sum(kills.values())} when {options.minutes} minutes were over"])
    print(f"seed {options.seed}: {number} rounds, {told(kills)} in {(time.monotonic() - began) / 60:.0f} minutes; "
          f"rounds with failures: {', '.join(map(str, bad)) or 'none'}", flush=True)


def play_round(options, folder):
    """A plan from its first fault to the verdict, on new servers again whenever Kafka has spoilt some."""
    began, before = time.monotonic(), kills.copy()
    print(f"chaos: --seed {options.seed} --faults {options.faults} --storm {options.storm} --nodes {options.nodes} "
          f"--kinds {'all' if options.is_all else ','.join(options.kinds)}", flush=True)
    plan = make_plan(options.kinds, options.faults, options.seed)
    for number in range(1, WORLDS_MAX + 1):
        plan = play_on(options, plan, folder / f"world{number}")
        if not plan:
            break
    check(f"the plan came to its end (seed {options.seed})", [f"{len(plan)} faults left"] if plan else [])
    print(f"seed {options.seed}: {options.faults} faults of {len(options.kinds)} kinds, {options.nodes} Kafka "
          f"{'node' if options.nodes == 1 else 'nodes'}, {told(kills - before)} in {time.monotonic() - began:.0f} s",
          flush=True)


def play_on(options, plan, data):
    """Servers, the undisturbed run, the plan, the verdict. @return what is left of the plan"""
    (data / "log").mkdir(parents=True)
    java = (options.data / "java").read_text().splitlines()
    kafka, redis = Kafka(data, options.kafka, java, options.nodes), Redis(data)
    world = World(options.build, data, kafka, redis)
    try:
        return play_in(world, options, plan)
    finally:
        world.close()


def play_in(world, options, plan):
    began = time.monotonic()
    world.redis.configure()
    world.redis.start()
    world.kafka.configure()
    world.kafka.start()
    weight = weight_of(plan, options.storm)
    capture, summary = make_capture(world, len(plan), weight)
    world.kafka.wait()
    world.redis.wait()
    oracle = Oracle(world, capture, summary)
    print(f"    undisturbed after {time.monotonic() - began:.0f} s: {summary['counted']} packets, "
          f"{sum(map(len, oracle.topics['enriched.v1'].values()))} flows, "
          f"{sum(map(len, oracle.topics['sensors.v1'].values()))} entries, {len(oracle.dump)} keys", flush=True)

    world.create_topics(REPLAY)
    world.storm, world.step = options.storm, 0.45 / weight  # of the stream, with each fault; faults push some more
    world.replay = Replay(world, REPLAY, capture)
    world.groups = [Members(world, REPLAY, REPLAY_DB, "member")]
    world.groups[0].want(1)
    world.replay.start()
    if any("live" in item["touches"] for item in plan):
        world.create_topics(LIVE)
        world.live = live.Live(world, LIVE, options.seed)
        world.live.burst_frames = live.BURST_MAX if len(plan) <= 100 else live.BURST_MAX // 8
        world.groups.append(Members(world, LIVE, LIVE_DB, "livemember"))
        world.groups[1].want(1)
        world.live.begin()
    left = Driver(world, Invariants(world, oracle), plan, options.seed).play()
    if left:
        return left
    settle_replay(world, oracle, options.seed)
    if world.live is not None:
        settle_live(world, options.seed)
    excuses.clear()
    return []


try:
    STATUS = main()
except Exception as error:  # pylint: disable=broad-except
    traceback.print_exc()
    check("the driver", [f"{type(error).__name__}: {error}"])
    STATUS = 1
if "--list" not in sys.argv:
    print(f"{counts['ok']} passed, {counts['not ok']} failed" + (f", {counts['skip']} skipped" if counts["skip"] else ""))
sys.exit(1 if counts["not ok"] else STATUS)
