"""The live sensor of a chaos run: a veth pair, a sender that counts, a spool on a small disk.

Truth is what the sender says it sent, and when. Packets may be missing from the log only where
the ledger says so: inside a gap it names, or among the packets it names as lost. A part of the
minute is closed every few seconds, by SIGHUP with other dark ranges, so that there is always
something on the way.
"""
import collections
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time

from programs import last_lines
from servers import Process, wait_for

DARK = ['"198.51.100.0/24"', '"2001:db8:64::/48"']
EMPTY_RANGE = '"100.64.0.0/24"'  # nobody sends there; it comes and goes
DISK = "12m"  # the spool, and as much again of what was synced
SPOOL = "2MiB"  # so segments are small, and come and go; nothing is given up for want of room
ROOM = 640 << 10  # of the spool, with which another time without brokers may begin
SEGMENT_HEADER, RECORD_HEADER = 40, 120  # sensor/spool_record.h
BURST_MAX = 240  # frames
BLOCK_NS = 300_000_000  # the kernel hands a block of frames over after a tenth of a second, on a busy machine later


def make_pair():
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as handle:
        handle.write("1")
    subprocess.run(["ip", "link", "add", "send0", "type", "veth", "peer", "name", "dark0"], check=True)
    for name in ("send0", "dark0"):
        subprocess.run(["ip", "link", "set", name, "arp", "off", "up"], check=True)


class Live:
    def __init__(self, world, prefix, seed):
        self.world, self.prefix, self.name = world, prefix, "live"
        self.rng = random.Random(f"{seed}/sender")
        self.state = world.data / "disk"
        self.config = world.data / "live.yaml"
        self.spool = self.state / self.name / "spool"
        self.burst_frames = BURST_MAX
        self.boots = 0
        self.process = None
        self.processes = []  # all there have been
        self.wanted = False
        self.has_extra = False
        self.bursts = []  # (from_ns, to_ns, counted)
        self.downs = []  # of each time without a sensor: from, to, durable until
        self.durable_ns = 0
        self.damaged = []  # records whose header is gone too: packets that no ledger can know
        self.damages = 0
        self.cut = 0  # records behind a cut: nothing on the disk tells of them, a gap does
        self.seen = 0  # greatest sequence number in the spool
        self.may_send = threading.Event()
        self.may_send.set()
        self.is_sending = threading.Lock()
        self.may_close = threading.Event()
        self.may_close.set()
        self.ending = False
        make_pair()
        self.state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "chaos", str(self.state)], check=True)
        self.configure()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.send_bursts, self.close_parts)]

    def begin(self):
        self.start()
        for thread in self.threads:
            thread.start()

    def close(self):
        self.ending, self.wanted = True, False
        self.hold()
        self.may_send.set()  # the thread ends
        for process in self.processes:
            process.end(signal.SIGKILL)
        for thread in self.threads:
            thread.join(timeout=10)
        subprocess.run(["umount", str(self.state)], check=False)
        subprocess.run(["ip", "link", "del", "send0"], check=False)

    # ---- the sensor ----

    def configure(self):
        ranges = DARK + ([EMPTY_RANGE] if self.has_extra else [])
        new = self.config.with_suffix(".new")
        new.write_text(f"sensor:\n  dark: [{', '.join(ranges)}]\n  late_seconds: 1\n  spool_bytes: {SPOOL}\n")
        new.rename(self.config)

    def make(self, waits=True):
        self.boots += 1
        self.processes.append(process := Process(f"live{self.boots}", self.world.data / f"log/live{self.boots}.log"))
        process.run([self.world.sensor, "-i", "dark0", "-c", self.config, "--sensor", self.name, "--state", self.state,
                     "-o", "kafka", "--topic-prefix", self.prefix, "--brokers", self.world.kafka.brokers_of["SENSORS"]],
                    env={**os.environ, "LD_PRELOAD": str(self.world.build / "tests/chaos_synced.so")})
        if waits and not wait_for(lambda: "capturing" in process.said() or not process.is_running, 60, 0.02):
            self.world.find(f"the live sensor does not capture: {last_lines(process.said())}")
        return process

    def start(self, waits=True):
        """Without waiting, whoever starts it asks is_up()."""
        self.process = self.make(waits)
        if waits:
            self.went_up()

    def is_up(self):
        """Whether it captures; from then on it is looked after."""
        if not self.wanted and "capturing" in self.process.said():
            self.went_up()
        return self.wanted

    def went_up(self):
        if self.downs and self.downs[-1][1] is None:
            self.downs[-1][1] = time.time_ns()
        self.wanted = True

    def take_over(self):
        """A second one beside the first. @return the first"""
        older, began = self.process, time.time_ns()
        newer = self.make()
        self.process = newer
        self.downs.append([began - 10**10, time.time_ns(), 0])  # the newer one names what the older one had not sent
        return older

    def went_down(self, at_ns):
        if not self.downs or self.downs[-1][1] is not None:  # else it had not come up yet
            self.downs.append([at_ns, None, self.durable_ns])

    def kill(self):
        self.is_up()
        self.wanted = False
        self.went_down(time.time_ns())
        self.process.kill()

    def end(self):
        """SIGTERM. @return what is wrong with how it ended"""
        self.wanted = False
        began, at_ns = time.monotonic(), time.time_ns()
        status = self.process.end(seconds=30)
        self.went_down(at_ns)
        took = time.monotonic() - began
        if status == 0 and took < 16:
            return []
        return [f"the live sensor ended with {status} after {took:.0f} s: {last_lines(self.process.said())}"]

    def watch(self):
        if self.wanted and not self.process.is_running:
            self.world.find(f"the live sensor ended with {self.process.child.returncode}: "
                            f"{last_lines(self.process.said())}")
            self.went_down(time.time_ns())
            self.start()

    # ---- its packets ----

    def send_bursts(self):
        sender = str(self.world.build / "tests/live_sender")
        while not self.ending:
            self.may_send.wait()
            with self.is_sending:
                if self.ending or not self.may_send.is_set():
                    continue
                began = time.time_ns()
                frames = 15 * self.rng.randint(1, self.burst_frames // 15)
                done = subprocess.run([sender, "send0", str(frames), "300"], check=True, capture_output=True)
                self.bursts.append((began, time.time_ns(), json.loads(done.stdout)["counted"]))
            time.sleep(self.rng.uniform(0.05, 0.6))

    def hold(self):
        """No packets from now on."""
        self.may_send.clear()
        with self.is_sending:
            time.sleep(0.3)  # the kernel hands a block over after a tenth of a second

    def release(self):
        self.may_send.set()

    # ---- its parts ----

    def close_part(self, process=None):
        self.has_extra = not self.has_extra
        self.configure()
        (process or self.process).send(signal.SIGHUP)

    def close_parts(self):
        while not self.ending:
            time.sleep(1.5)
            process, before, now = self.process, self.seen, time.time_ns()
            if not self.wanted or not process.is_running or not self.may_close.is_set():
                continue
            before = self.seen = max(self.seen, self.last_sequence())
            self.close_part()
            is_quiet = 5 < now // 10**9 % 60 < 55  # no minute closes meanwhile
            if wait_for(lambda: self.last_sequence() > before, 1) and is_quiet and process is self.process:
                self.durable_ns = now
                self.seen = max(self.seen, self.last_sequence())

    # ---- its disk ----

    def records(self):
        """What the spool holds, by its headers, oldest first."""
        found = []
        try:
            paths = sorted(self.spool.glob("*.spool"))
        except OSError:
            return found
        for path in paths:
            try:
                data = path.read_bytes()
            except OSError:
                continue
            at = SEGMENT_HEADER
            while at + RECORD_HEADER <= len(data) and data[at : at + 4] == b"REC1":
                payload, sequence, _, flows, packets = struct.unpack_from("<IQQQQ", data, at + 4)
                size = (RECORD_HEADER + payload + 7) // 8 * 8
                if at + size > len(data):
                    break
                found.append({"path": path, "at": at, "size": size, "payload": payload, "sequence": sequence,
                              "flows": flows, "packets": packets})
                at += size
        return found

    def has_room(self):
        """Whether the spool is far from full."""
        try:
            return sum(path.stat().st_size for path in self.spool.glob("*.spool")) < ROOM
        except OSError:  # one has just gone
            return False

    def last_sequence(self):
        records = self.records()
        return records[-1]["sequence"] if records else 0

    def cursor(self):
        found = {}
        for line in self.world.kafka.read(f"{self.prefix}.cursors.v1", "%k %s\n").splitlines():
            key, _, value = line.partition(b" ")
            if key.decode() == f"{self.prefix}.sensor.{self.name}" and value:
                found = json.loads(value)
        return found

    def is_drained(self):
        """Whether the log has what the spool holds, and so all before it."""
        return self.cursor().get("spool_sequence", -1) >= self.last_sequence()

    def fill_disk(self):
        with open(self.state / "full", "wb", buffering=0) as handle:
            try:
                while True:
                    handle.write(bytes(4096))
            except OSError:
                pass

    def free_disk(self):
        os.unlink(self.state / "full")

    def lose_power(self):
        """Leaves on the disk what was synced, and nothing else. The sensor must not run."""
        for path in self.spool.glob("*.spool"):
            synced = self.spool.parent / "synced" / path.name
            if synced.exists():
                shutil.copyfile(synced, path)
            else:
                path.unlink()
        shutil.rmtree(self.spool.parent / "open", ignore_errors=True)  # the open minute is for killed processes

    def damage(self, record, rng):
        """Spoils one record. The sensor must not run. @return what was done to it"""
        how = rng.choice(("payload", "header", "cut"))
        self.damages += 1
        if how == "cut":
            behind = [other for other in self.records() if other["sequence"] > record["sequence"]]
            self.cut += len(behind)
            self.damaged += [other["packets"] for other in behind if other["path"] == record["path"]]
            os.truncate(record["path"], record["at"] + rng.randrange(RECORD_HEADER, record["size"] - 8))
            return how
        start, size = (0, RECORD_HEADER) if how == "header" else (RECORD_HEADER, record["payload"])
        with open(record["path"], "r+b") as handle:
            handle.seek(record["at"] + start + rng.randrange(size))
            byte = handle.read(1)
            handle.seek(-1, os.SEEK_CUR)
            handle.write(bytes([byte[0] ^ 1 << rng.randrange(8)]))
        if how == "header":
            self.damaged.append(record["packets"])
        return how


# ---- the verdict ----


def overlaps(a_from, a_to, b_from, b_to):
    return a_from < b_to and b_from < a_to


def account(live, ledger):
    """Whether all that was sent is in the ledger, or named there as missing. @return differences"""
    gaps = [(part["gap_from_ns"], part["gap_to_ns"]) for part in ledger if part["gap_from_ns"] is not None]
    sent = sum(counted for _, _, counted in live.bursts)
    # what the kernel had not yet handed over when a part was closed dies with the sensor, too
    touched = sum(counted for begin, end, counted in live.bursts
                  if any(overlaps(begin, end, gap[0] - BLOCK_NS, gap[1]) for gap in gaps))
    inside = sum(counted for begin, end, counted in live.bursts
                 if any(gap[0] <= begin and end <= gap[1] - BLOCK_NS for gap in gaps))
    counted, lost = (sum(part[field] for part in ledger) for field in ("counted", "lost_packets"))
    drops = sum(part["kernel_drops"] + part["interface_drops"] for part in ledger)
    unknown = sum(live.damaged)
    # the time of lost records is named as a gap, too
    least, most = sent - touched - drops, sent - max(inside, lost)
    print(f"    live: {sent} packets sent, {counted} in the log, {lost} named as lost, {inside} to {touched} sent within "
          f"{len(gaps)} gaps, {unknown} in records without a header, {drops} drops; {len(ledger)} entries, "
          f"{live.boots} boots", flush=True)
    found = [] if least <= counted <= most else [f"{counted} packets in the log, it must be {least} to {most}"]
    return found


def gaps_are_true(live, ledger):
    """A gap holds a time without a sensor, nothing else, and begins where the spool's last entry ended.

    Or the time of records that were lost while it ran, between two entries of one boot: as many at most as there
    are such entries.
    """
    spared = live.damages + sum(part["lost_entries"] for part in ledger)
    found, downs = [], [(begin, end or time.time_ns(), durable) for begin, end, durable in live.downs]
    for number, part in enumerate(ledger):
        begin, end = part["gap_from_ns"], part["gap_to_ns"]
        if begin is None:
            continue
        is_lost = number > 0 and ledger[number - 1]["boot"] == part["boot"] and \
            ledger[number - 1]["interval_to_ns"] == begin and spared > 0
        if is_lost:
            spared -= 1
        elif not any(overlaps(begin, end, down[0], down[1]) for down in downs):
            found.append(f"entry {part['entry']} names a gap {begin}..{end} while the sensor ran")
        clash = next((other for other in ledger if other["interval_from_ns"] < other["interval_to_ns"] and
                      overlaps(begin, end, other["interval_from_ns"], other["interval_to_ns"])), None)
        if clash is not None:
            found.append(f"entry {number} names a gap in which entry {clash['entry']} has packets")
    return found


def time_is_whole(live, ledger):
    """Each moment lies in an entry's interval or in a gap, which the time of lost entries is, too."""
    spans = [(part["interval_from_ns"], part["interval_to_ns"]) for part in ledger]
    spans += [(part["gap_from_ns"], part["gap_to_ns"]) for part in ledger if part["gap_from_ns"] is not None]
    holes, through = [], None
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if through is not None and begin > through:
            holes.append((through, begin))
        through = end if through is None else max(through, end)
    return [f"nothing says what was from {begin} to {end} ({(end - begin) / 1e9:.3f} s), "
            f"{sum(counted for at, until, counted in live.bursts if overlaps(at, until, begin, end))} packets sent"
            for begin, end in holes]


def durable_is_kept(live, ledger):
    """What was in the spool when the sensor was killed lies in no gap; not asked once records were spoiled."""
    found = []
    for begin, end, durable in live.downs:
        for part in ledger:
            if part["gap_from_ns"] is not None and durable and end and \
                    overlaps(part["gap_from_ns"], part["gap_to_ns"], begin, end) and part["gap_from_ns"] < durable - 10**9:
                found.append(f"entry {part['entry']} names a gap from {part['gap_from_ns']}, but the spool had "
                             f"everything until {durable}")
    return [] if live.damages else found


def entries_differ(live, ledger):
    numbers = [part["entry"] for part in ledger]
    found = [] if numbers == list(range(len(numbers))) else [f"entries {numbers[:20]}…"]
    spans = collections.Counter((part["boot"], part["interval_from_ns"], part["interval_to_ns"]) for part in ledger
                                if part["interval_from_ns"] < part["interval_to_ns"])
    found += [f"boot {boot}: {count} entries of {begin} to {end}" for (boot, begin, end), count in spans.items()
              if count > 1]
    lost = sum(part["lost_entries"] for part in ledger)
    if len(ledger) + lost < live.seen - live.cut:
        found.append(f"{live.seen} entries were in the spool, {len(ledger)} are in the log, {lost} named as lost")
    return found
