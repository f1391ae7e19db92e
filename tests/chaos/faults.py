"""The faults. Each is a generator: it does harm, yields the seconds until it wants to go on, and undoes it.

A fault names what it lays hands on; two that name the same thing never overlap, others do. All
numbers come from the generator's own random numbers, so a plan is the same for the same seed.
"""
import signal

KINDS = {}


def fault(*touches):
    def register(function):
        KINDS[function.__name__] = (function, frozenset(touches))
        return function
    return register


# ---- the replay's sensor ----


@fault("replay")
def kill_sensor(world, rng):
    """SIGKILL while it sends; a new one reads from the start and goes on behind the cursor."""
    for _ in range(rng.randint(1, 3)):
        world.replay.advance(world.step / 3, 0)
        yield rng.uniform(0, 0.3)
        world.replay.kill()
        yield rng.uniform(0, 1)
        world.replay.start()
        yield rng.uniform(0.1, 1.5)


@fault("replay")
def freeze_sensor(world, rng):
    """SIGSTOP for longer than its transaction may last."""
    world.replay.advance(world.step / 2, 0)
    yield rng.uniform(0, 0.3)
    world.replay.process.freeze()
    yield rng.uniform(10.5, 13)
    world.replay.process.thaw()


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
    leave(world, 1)


def kill_members(world, rng, count):
    group = world.groups[0]
    group.want(count)
    yield rng.uniform(0.2, 4 if count > 1 else 1)
    for victim in rng.sample(range(count), rng.randint(1, count)):
        group.held.add(victim)
        group.members[victim].kill()
        yield rng.uniform(0, 1)
        group.held.discard(victim)
        group.start(victim)
        yield rng.uniform(0, 0.5)


def leave(world, count):
    for text in world.groups[0].leave(count):
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
def flush_redis(world, rng):
    """All of Redis is emptied."""
    yield rng.uniform(0, 1)
    world.redis.epoch += 1
    world.redis.call(0, "FLUSHALL")
