#!/usr/bin/env python3
"""Writes expected.json for recorded captures: expect.py RECORDED-DIR OUT-DIR

Nothing here knows our programs. How each tool was called says what class and tool its packets are;
tcpdump's own filters count them, and its output names the addresses. A capture whose packets are
not all of the expected kind is refused.
"""
import json
import os
import re
import shutil
import subprocess
import sys

FLAGS = {"syn": 0x02, "fin": 0x01, "null": 0x00, "xmas": 0x29, "ack": 0x10, "maimon": 0x11}


def tcp(kind):
    return "tcp[13] & 0x3f = %d" % FLAGS[kind], "scan.tcp_" + kind, "ipv4/tcp"


# name: (filter of what the tool was told to send, class, protocol, tool as rules.md names it)
UDP = ("udp", "scan.udp", "ipv4/udp")
ECHO = ("icmp[0] = 8", "scan.icmp_echo", "ipv4/icmp")
KNOWN = {
    "masscan_syn": tcp("syn") + ("masscan",),
    "masscan_udp": UDP + ("none",),  # its relation is one of SYN packets
    "masscan_ping": ECHO + ("none",),
    "zmap_syn": tcp("syn") + ("zmap",),
    "zmap_udp": UDP + ("zmap",),
    "zmap_icmp": ECHO + ("zmap",),
    "nmap_ss": tcp("syn") + ("nmap",),
    "nmap_sf": tcp("fin") + ("nmap",),
    "nmap_sn": tcp("null") + ("nmap",),
    "nmap_sx": tcp("xmas") + ("nmap",),
    "nmap_sa": tcp("ack") + ("nmap",),
    "nmap_sm": tcp("maimon") + ("nmap",),
    "nmap_su": UDP + ("none",),
    "nmap_ss_ipv6": ("ip6 and tcp and ip6[53] & 0x3f = 2", "scan.tcp_syn", "ipv6/tcp", "nmap"),
    "hping_syn": tcp("syn") + ("hping",),
    "hping_fin": tcp("fin") + ("hping",),
    "hping_udp": UDP + ("none",),
    "hping_icmp": ECHO + ("none",),
    "fping": ECHO + ("none",),
    "fping_ipv6": ("ip6 and ip6[6] = 58 and ip6[40] = 128", "scan.icmp_echo", "ipv6/icmp6", "none"),
}
# Relations of 16 bits agree by chance once in 65,536 packets; rules.md names the first that applies.
CHANCES = {
    "zmap": "ip[4:2] = 54321",
    "masscan": "tcp[13] & 0x3f = 2 and ip[4:2] = ip[18:2] ^ tcp[2:2] ^ tcp[6:2]",
}
PACKAGES = ("masscan", "zmap", "nmap", "hping3", "fping", "tcpdump")


def tcpdump(path, expression):
    words = ["tcpdump", "-nn", "-tt", "-q", "--time-stamp-precision=nano", "-r", path, expression]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def frame_lengths(path):
    """Original lengths, from the record headers of a little-endian pcap."""
    data, at, lengths = open(path, "rb").read(), 24, []
    while at < len(data):
        captured, original = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "little") for i in (0, 1))
        lengths.append(original)
        at += 16 + captured
    return lengths


def addresses(lines):
    """Sources, destinations and destination ports, as tcpdump prints them."""
    sources, destinations, ports = set(), set(), {}
    for line in lines:
        found = re.match(r"\S+ IP6? (\S+) > (\S+): ", line)
        ends = []
        for end in found.groups():
            address, dot, port = end.rpartition(".")
            has_port = bool(dot) and (":" in address or address.count(".") == 3)
            ends.append((address, port) if has_port else (end, None))
        sources.add(ends[0][0])
        destinations.add(ends[1][0])
        if ends[1][1] is not None:
            ports[int(ends[1][1])] = ports.get(int(ends[1][1]), 0) + 1
    return sources, destinations, ports


def fingerprints(path, frames, tool):
    """All packets carry the tool's mark, but for those that agree with an earlier rule by chance."""
    found = {}
    for other, expression in CHANCES.items():
        if other == tool:
            break
        chance = len(tcpdump(path, expression))
        if chance > 0:
            found[other] = chance
    found[tool] = frames - sum(found.values())
    return found


def expect(path, name):
    expression, label, protocol, tool = KNOWN[name]
    everything, wanted = tcpdump(path, ""), tcpdump(path, expression)
    frames = len(everything)
    if frames == 0 or len(wanted) != frames:
        sys.exit("%s: %d of %d packets are what the tool was told to send" % (name, len(wanted), frames))
    sources, destinations, ports = addresses(everything)
    times = [int(line.split()[0].replace(".", "")) for line in everything]
    minutes = {}
    for time in times:
        minutes[time // 10**9 // 60 * 60] = minutes.get(time // 10**9 // 60 * 60, 0) + 1
    family = protocol.split("/")[1]
    return {
        "frames": frames,
        "non_ip": 0,
        "malformed": 0,
        "not_dark": 0,
        "counted": frames,
        "wire_bytes": sum(frame_lengths(path)),
        "first_ns": min(times),
        "last_ns": max(times),
        "per_protocol": {protocol: frames},
        "per_proto_dport": {"%s/%d" % (family, port): ports[port] for port in sorted(ports)},
        "per_class": {label: frames},
        "per_fingerprint": fingerprints(path, frames, tool),
        "sources_by_tool": {tool: len(sources)},
        "unique_sources": len(sources),
        "unique_destinations": len(destinations),
        "per_minute": [[minute, minutes[minute]] for minute in sorted(minutes)],
    }


def version(package):
    words = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def main():
    recorded, out = sys.argv[1:]
    captures = {}
    for name in KNOWN:
        path = os.path.join(recorded, name + ".pcap")
        captures[name + ".pcap"] = {
            "command": open(os.path.join(recorded, name + ".command"), encoding="utf-8").read().strip(),
            "dark": ["198.51.100.0/24", "2001:db8:64::/64"],
            **expect(path, name),
        }
    about = "Recorded by tests/captures/record. Class and tool follow from the command, figures from tcpdump."
    text = {"about": about, "versions": {package: version(package) for package in PACKAGES}, "captures": captures}
    with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as handle:
        json.dump(text, handle, indent=1)
        handle.write("\n")
    for name in KNOWN:
        shutil.copyfile(os.path.join(recorded, name + ".pcap"), os.path.join(out, name + ".pcap"))


main()
