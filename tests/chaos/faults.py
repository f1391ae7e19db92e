"""The faults. Each is a generator: it does harm, yields the seconds until it wants to go on, and undoes it.

A fault names what it lays hands on; two that name the same thing never overlap, others do. All
numbers come from the generator's own random numbers, so a plan is the same for the same seed.
"""
import time

from programs import how_it_ended
from servers import COLLECTORS, REDIS, SENSORS, RedisError, cut, join

REPLAY_DB = 2  # of Redis, where the replay is counted
STORM_STEP = 0.7  # of a fault's share of the stream with each kill of a storm, so that there is something to send
KINDS = {}


# Left out unless they are named: what they show is not mended yet, or not ours.
OPEN = {
    "torn_redis": "Redis 7.0 cuts a torn log inside a transaction, and the second start applies half a script",
}


def fault(*touches):
    def register(function):
        KINDS[function.__name__] = (function, frozenset(touches))
        return function
    return register


def until(what, seconds=180):
    """Goes on when it is so. The others' faults go on meanwhile."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds} s in vain for {what}")
        yield 0.2


def soon(rng):
    """@return how long a process may live in a storm: now and then its first moments, else until it is at work"""
    return rng.choice((rng.uniform(0.02, 0.2), rng.uniform(0.1, 0.7), rng.uniform(0.4, 1.5)))


def storm_kills(world, rng):
    return rng.randint((world.storm + 1) // 2, world.storm)


def busy(world, rng):
    """Minutes follow each other quickly for a while. @return seconds until a moment in it"""
    world.replay.advance(world.step / 3, 0.3)
    return rng.uniform(0.03, 0.35)


# ---- the replay's sensor ----


@fault("replay")
def kill_sensor(world, rng):
    """SIGKILL while it sends; a new one reads from the start and goes on behind the cursor."""
    for _ in range(rng.randint(1, 3)):
        yield busy(world, rng)
        world.replay.kill()
        yield rng.uniform(0, 1)
        world.replay.start()
        yield rng.uniform(0.1, 1.5)


@fault("replay")
def sensor_storm(world, rng):
    """SIGKILL again and again, 20 ms to 1.5 s after each start, each time with another number of workers."""
    replay = world.replay
    for _ in range(storm_kills(world, rng)):
        replay.advance(world.step * STORM_STEP, 0.3)
        yield soon(rng)
        replay.kill()
        yield rng.uniform(0, 0.2)
        replay.workers = replay.workers % 4 + 1
        replay.start()


@fault("replay")
def freeze_sensor(world, rng):
    """SIGSTOP for longer than its transaction may last."""
    yield busy(world, rng)
    world.replay.process.freeze()
    yield rng.uniform(11, 17)  # its 10 s, and up to 5 until Kafka looks
    world.replay.process.thaw()


@fault("replay", "kafka")
def second_sensor(world, rng):
    """Another one of the same name: the older one ends, and says why."""
    yield from replace_sensor(world, rng, 0)


@fault("replay", "kafka")
def zombie_sensor(world, rng):
    """The older one stands still meanwhile, and wakes up when its place is taken."""
    yield from replace_sensor(world, rng, rng.uniform(1, 12))


def replace_sensor(world, rng, frozen_s):
    replay = world.replay
    yield from until(replay.has_introduced_itself)
    yield busy(world, rng)
    older = replay.process
    if frozen_s > 0:
        older.freeze()
    since = older.log.stat().st_size
    replay.begin_another()
    yield frozen_s
    older.thaw()
    for tries in range(240):
        if not older.is_running:
            break
        replay.advance(0.005 if tries < 40 else 0.0005, 0)  # it reads in large blocks, and sees that it has failed when one is full
        yield 0.5
    if older.is_running:
        older.kill()
        if not replay.is_fed:  # at the stream's end it may have had nothing more to send
            world.find("the older of two sensors of one name did not end")
    elif not replay.is_fed and (older.child.returncode != 1 or "another sensor of this name" not in older.said(since)):
        world.find(f"the older of two sensors of one name ended with {older.child.returncode}: {older.said(since)[-300:]}")


# ---- the collectors ----


@fault("members")
def kill_collector(world, rng):
    """SIGKILL of the only member."""
    yield from kill_members(world, rng, 1)


@fault("members")
def kill_collectors(world, rng):
    """Three members, of which some are killed."""
    yield from kill_members(world, rng, 3)
    yield rng.uniform(0, 2)
    yield from leave(world, 1)


def at_work(world, group=None):
    """Waits until the group's partitions are dealt out: after a kill that takes the group's 10 s."""
    group = group or world.groups[0]
    deadline, before = time.monotonic() + 14, None
    while time.monotonic() < deadline:
        try:
            marks = world.redis.call(group.database, "HVALS", f"{group.prefix}:{{0}}:watermarks", seconds=1)
        except (OSError, RedisError):
            return  # another fault has Redis
        if before is not None and marks != before:
            return
        before = marks
        world.replay.advance(world.step / 20, 0)
        yield 0.5


def kill_members(world, rng, count):
    group = world.groups[0]
    group.want(count)
    if rng.random() < 0.7:
        yield from at_work(world)
    yield rng.uniform(0, 2)
    for victim in rng.sample(range(count), rng.randint(1, count)):
        yield busy(world, rng) + rng.uniform(0, 0.6)  # a transaction of enrich is open for half a second
        group.held.add(victim)
        group.members[victim].kill()
        yield rng.uniform(0, 1)
        group.held.discard(victim)
        group.start(victim)
        yield rng.uniform(0, 0.5)


@fault("members")
def collector_storm(world, rng):
    """SIGKILL again and again of one to three members, of the replay's or of the live sensor's log."""
    group = rng.choice(world.groups)
    count = rng.randint(1, 3)
    group.want(count)
    for number in range(storm_kills(world, rng)):
        if number % 6 == 0:
            yield from at_work(world, group)  # else none ever gets what the dead ones had
        world.replay.advance(world.step / 8, 0.3)
        victim = rng.randrange(count)
        yield soon(rng)
        group.held.add(victim)
        group.members[victim].kill()
        yield rng.uniform(0, 0.3)
        group.held.discard(victim)
        group.start(victim)
    yield from leave(world, 1, group)


@fault("members")
def freeze_collector(world, rng):
    """SIGSTOP of the only member for longer than a transaction and the group's patience."""
    yield rng.uniform(0, 0.5)
    world.groups[0].members[0].freeze()
    yield rng.uniform(10.5, 14)
    world.groups[0].members[0].thaw()
    yield 1


@fault("members")
def zombie_collector(world, rng):
    """SIGSTOP of a member until its partitions have moved; then it wakes up with what it had in hand."""
    group = world.groups[0]
    group.want(rng.randint(2, 3))
    yield rng.uniform(3, 5)
    victim = group.members[rng.randrange(group.wanted)]
    victim.freeze()
    yield rng.uniform(11, 15)
    victim.thaw()
    yield rng.uniform(0.5, 3)
    yield from leave(world, 1)


@fault("members")
def rebalance_storm(world, rng):
    """Members come and go faster than the group can settle."""
    for _ in range(rng.randint(3, 6)):
        world.groups[0].want(rng.randint(2, 4))
        yield rng.uniform(0.1, 1.5)
        yield from leave(world, rng.randint(1, world.groups[0].wanted))
        yield rng.uniform(0, 0.5)
    yield from leave(world, 1)


def leave(world, count, group=None):
    """Down to so many, by SIGTERM; others' faults go on while they end."""
    group = group or world.groups[0]
    group.wanted = count
    leaving = [member for member in group.members[count:] if member.is_running]
    for member in leaving:
        member.thaw()
        member.terminate()
    tries = 300
    while any(member.is_running for member in leaving) and tries > 0:
        tries -= 1
        yield 0.2
    for text in group.leave(count):
        world.find(text)
    for member in leaving:
        for text in how_it_ended(member, member.child.returncode):
            world.find(text)


# ---- Redis ----


@fault("redis")
def kill_redis(world, rng):
    """SIGKILL; each acknowledged write is on its disk."""
    yield rng.uniform(0, 1)
    world.redis.process.kill()
    yield rng.uniform(0, 2)
    world.redis.start()
    world.redis.wait()


@fault("redis")
def redis_storm(world, rng):
    """SIGKILL again and again, also while it reads its log."""
    for _ in range(storm_kills(world, rng)):
        yield soon(rng)
        world.redis.process.kill()
        yield rng.uniform(0, 0.3)
        world.redis.start()
        if rng.random() < 0.5:
            yield from until(world.redis.answers)
    yield from until(world.redis.answers)


@fault("redis")
def kill_redis_everysec(world, rng):
    """A power cut with appendfsync everysec: the last second of its log is not on the disk."""
    yield from tear_redis(world, rng)
    world.redis.mend()
    world.redis.start()
    yield from until(world.redis.answers)


@fault("redis")
def torn_redis(world, rng):
    """The same, and nobody mends its log; then it is killed once more."""
    yield from tear_redis(world, rng)
    world.redis.start()
    yield from until(world.redis.answers)
    yield rng.uniform(1, 3)
    world.redis.process.kill()
    world.redis.epoch += 1
    world.redis.start()
    yield from until(world.redis.answers)


def tear_redis(world, rng):
    redis = world.redis
    redis.fsync = "everysec"
    redis.call(0, "CONFIG", "SET", "appendfsync", redis.fsync)
    yield rng.uniform(0.5, 3)
    synced = redis.tail().stat().st_size
    yield rng.uniform(0.1, 1)
    redis.process.kill()
    redis.cut_tail(rng.randint(synced, redis.tail().stat().st_size))
    yield rng.uniform(0, 1)
    redis.fsync = "always"


@fault("redis")
def restore_redis(world, rng):
    """It comes back with the disk of some seconds ago."""
    redis = world.redis
    redis.keep_copy()
    yield rng.uniform(2, 8)
    redis.process.kill()
    redis.put_copy_back()
    redis.mend()
    redis.start()
    yield from until(redis.answers)


@fault("redis")
def flush_redis(world, rng):
    """All of Redis is emptied, once or more, while the collectors fill it."""
    for _ in range(rng.randint(1, 2)):
        yield from at_work(world)
        world.replay.advance(world.step / 2, 3)  # batches are in the collectors' hands when it happens, and follow
        yield rng.uniform(0.5, 1.5)
        world.redis.empty()
        yield rng.uniform(1, 2)


@fault("redis")
def full_redis(world, rng):
    """Out of memory for some seconds."""
    world.redis.call(0, "CONFIG", "SET", "maxmemory", "1mb")
    yield rng.uniform(2, 6)
    world.redis.call(0, "CONFIG", "SET", "maxmemory", "0")


@fault("redis")
def freeze_redis(world, rng):
    """SIGSTOP, now and then for longer than anybody waits for an answer."""
    yield rng.uniform(0, 1)
    world.redis.process.freeze()
    yield rng.choice((rng.uniform(1, 5), rng.uniform(10.5, 13)))
    world.redis.process.thaw()
    yield from until(world.redis.answers)


@fault("redis")
def pause_redis(world, rng):
    """CLIENT PAUSE: commands wait."""
    seconds = rng.uniform(1, 6)
    world.redis.call(0, "CLIENT", "PAUSE", int(seconds * 1000), rng.choice(("ALL", "WRITE")))
    yield seconds + 0.1


@fault("redis")
def forget_scripts(world, rng):
    """SCRIPT FLUSH: the script is to be loaded again."""
    for _ in range(rng.randint(1, 4)):
        world.redis.call(0, "SCRIPT", "FLUSH")
        yield rng.uniform(0, 1.5)


@fault("redis")
def cut_connections(world, rng):
    """Connections break off, also between a call and its answer."""
    for _ in range(rng.randint(5, 30)):
        world.redis.call(0, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield rng.uniform(0, 0.2)


@fault("redis")
def cut_off_redis(world, rng):
    """No packet comes from the collectors to Redis."""
    yield rng.uniform(0, 1)
    yield from cut_off(world, rng, REDIS)


def cut_off(world, rng, address):
    cut(address)
    yield rng.choice((rng.uniform(1, 4), rng.uniform(10.5, 14)))
    join(address)


# ---- Kafka ----


@fault("kafka")
def cut_off_sensors(world, rng):
    """No packet comes from the sensors to the brokers, now and then for longer than a transaction may last."""
    yield busy(world, rng)
    yield from cut_off(world, rng, SENSORS)


@fault("members")
def cut_off_collectors(world, rng):
    """No packet comes from the collectors to the brokers, now and then for longer than the group's patience."""
    yield busy(world, rng)
    yield from cut_off(world, rng, COLLECTORS)


@fault("kafka")
def kafka_storm(world, rng):
    """SIGKILL of one broker after the other, also before the last one is back."""
    for number in range(max(2, storm_kills(world, rng) // 4)):
        node = number % len(world.kafka.nodes)
        yield busy(world, rng)
        world.kafka.nodes[node].kill()
        yield rng.uniform(0, 1)
        world.kafka.start(node)
        if rng.random() < 0.7:
            yield from until(world.kafka.answers)
        else:
            yield rng.uniform(0.5, 4)
    yield from until(world.kafka.answers)


@fault("kafka")
def kill_kafka(world, rng):
    """SIGKILL of a broker while the sensor sends."""
    node = rng.randrange(len(world.kafka.nodes))
    yield busy(world, rng)
    world.kafka.nodes[node].kill()
    yield rng.uniform(0, 3)
    world.kafka.start(node)
    yield from until(world.kafka.answers)


@fault("kafka")
def kafka_away(world, rng):
    """All brokers are gone for longer than transactions and messages may last."""
    yield busy(world, rng)
    # a lone node that is shut down in good order forgets transactions that are about to end (servers.py)
    world.kafka.each("kill" if len(world.kafka.nodes) == 1 else "terminate")
    yield rng.uniform(10.5, 14)
    world.kafka.each("end")
    world.kafka.start()
    yield from until(world.kafka.answers)


@fault("kafka")
def freeze_kafka(world, rng):
    """SIGSTOP of a broker, now and then for longer than a request may take."""
    process = world.kafka.nodes[rng.randrange(len(world.kafka.nodes))]
    yield busy(world, rng)
    process.freeze()
    yield rng.choice((rng.uniform(1, 4), rng.uniform(10.5, 13)))
    process.thaw()
    yield from until(world.kafka.answers)


# ---- the live sensor ----


@fault("live")
def kill_live(world, rng):
    """SIGKILL: what was open is lost, and the next start names the time."""
    for _ in range(rng.randint(1, 3)):
        yield rng.uniform(0.5, 3)
        world.live.kill()
        yield rng.uniform(0, 2)
        world.live.start()


@fault("live", "kafka")
def kill_live_sending(world, rng):
    """SIGKILL while it sends what had waited for the brokers."""
    live = world.live
    yield from spool_without_kafka(world, 8)
    live.kill()
    yield rng.uniform(0, 0.5)
    live.start()
    world.kafka.start()
    process, tries = live.process, 3000
    while "sending what waits" not in process.said() and tries > 0:
        tries -= 1
        yield 0.02
    yield rng.uniform(0, 0.15)
    live.kill()
    yield rng.uniform(0, 1)
    live.start()
    yield from until(world.kafka.answers)


@fault("live", "kafka")
def cut_power(world, rng):
    """The live sensor's machine loses its power: of the spool there is what was synced."""
    live = world.live
    yield from spool_without_kafka(world, rng.randint(2, 4))
    live.kill()
    live.lose_power()
    yield rng.uniform(0, 1)
    live.start()
    world.kafka.start()
    yield from until(world.kafka.answers)


def spool_without_kafka(world, entries):
    """The brokers go, and so many entries wait in the spool."""
    world.kafka.each("kill")
    yield 0.5
    first = world.live.last_sequence()
    yield from until(lambda: world.live.last_sequence() >= first + entries, 90)


@fault("live")
def live_storm(world, rng):
    """SIGKILL again and again, before it captures, while it writes an entry, while it sends."""
    live = world.live
    for _ in range(storm_kills(world, rng)):
        yield soon(rng)
        if live.is_up() and rng.random() < 0.5:
            live.close_part()
            yield rng.uniform(0, 0.1)
        if not live.wanted and not live.process.is_running:
            world.find(f"the live sensor ended with {live.process.child.returncode}: {live.process.said()[-300:]}")
        live.kill()
        yield rng.uniform(0, 0.3)
        live.start(waits=False)
    yield from until(live.is_up)


@fault("live")
def restart_live(world, rng):
    """SIGTERM: the open minute is closed, only the time until the next start is missing."""
    yield rng.uniform(0.5, 2)
    for text in world.live.end():
        world.find(text)
    yield rng.uniform(0, 2)
    world.live.start()


@fault("live")
def freeze_live(world, rng):
    """SIGSTOP for longer than a transaction may last; the kernel's ring keeps the packets."""
    yield rng.uniform(0.5, 2)
    world.live.process.freeze()
    yield rng.uniform(10.5, 12)
    world.live.process.thaw()


@fault("live", "kafka")
def full_disk(world, rng):
    """The spool's disk is full for a while; minutes wait in memory."""
    world.live.fill_disk()
    yield rng.uniform(3, 7)
    world.live.free_disk()
    yield from drain_live(world)


@fault("live", "kafka")
def full_disk_without_kafka(world, rng):
    """The same while no broker answers: the minutes in memory go out when one is back."""
    yield from fill_without_kafka(world, rng)
    if (world.live.state / "full").exists():
        world.live.free_disk()
    world.kafka.start()
    yield from until(world.kafka.answers)
    yield from drain_live(world)


@fault("live", "kafka")
def full_disk_killed(world, rng):
    """The same, and the sensor is killed with what it has in memory only: that time is a gap."""
    began = time.time_ns()
    yield from fill_without_kafka(world, rng)
    world.live.kill()
    world.live.downs.append([began, time.time_ns(), 0])
    if (world.live.state / "full").exists():
        world.live.free_disk()
    yield rng.uniform(0, 1)
    world.live.start()
    yield rng.uniform(0, 2)
    world.kafka.start()
    yield from until(world.kafka.answers)


def drain_live(world):
    """What is in memory only goes out before another fault may kill the sensor."""
    entries = world.live.last_sequence()
    yield from until(lambda: world.live.last_sequence() > entries)
    yield from until(world.live.is_drained)


def fill_without_kafka(world, rng):
    world.kafka.each("kill")
    yield rng.uniform(2, 4)
    world.live.fill_disk()
    yield rng.uniform(2, 4)
    if rng.random() < 0.5:
        world.live.free_disk()
        yield rng.uniform(2, 4)


@fault("live", "kafka")
def torn_spool(world, rng):
    """A record of the spool is damaged while no sensor runs: the ledger names it as lost."""
    live = world.live
    world.kafka.each("kill")
    yield 0.5
    first = live.last_sequence() + 1  # not in the log, and the brokers are gone
    yield from until(lambda: live.last_sequence() >= first + 2, 90)
    live.kill()
    records = [record for record in live.records() if record["sequence"] >= first]
    print(f"    torn spool: {live.damage(rng.choice(records), rng)}", flush=True)
    yield rng.uniform(0, 1)
    if rng.random() < 0.5:
        live.start()
        yield rng.uniform(0, 3)
    world.kafka.start()
    yield from until(world.kafka.answers)
    if not live.wanted:
        live.start()


@fault("live", "kafka")
def second_live(world, rng):
    """Another live sensor of the same name: the older one ends, and says why."""
    yield from drain_live(world)
    world.live.may_close.clear()  # the older one sends at the end of a minute only
    yield 2
    yield from replace_live(world, rng)


@fault("live", "kafka")
def live_duel(world, rng):
    """The same while the older one sends all the time: they fence each other until one is through."""
    yield from drain_live(world)  # of two that begin at once, the one that says later who it is stays
    yield rng.uniform(0.5, 2)
    yield from replace_live(world, rng)


def replace_live(world, rng):
    live = world.live
    live.hold()  # two that see the same packets would count them twice
    older = live.take_over()
    for _ in range(240):
        if not older.is_running:
            break
        live.close_part(older)
        yield 0.5
    if older.is_running or older.child.returncode != 1 or "another sensor of this name" not in older.said():
        world.find(f"the older of two live sensors ended with {older.child.poll()}: {older.said()[-300:]}")
        older.kill()
    live.release()
    live.may_close.set()
    yield rng.uniform(1, 3)
