"""Frames for the fallback's tests, each named by what is special about it.

In: nothing. Out: bytes from the Ethernet header on, and the table of cases: name, frame, port in, port out, verdict of
docs/reference/semantics.md. Addresses are those of `plant`.
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from tests.netns.kernel.plant import (
    GROUP,
    GROUP_MAC,
    HMI,
    HMI6,
    HMI_MAC,
    LAPTOP,
    LAPTOP6,
    OTHER,
    PLC,
    PLC2,
    PLC6,
    PLC_MAC,
)

LAPTOP_MAC = b"\x02\x00\x00\x00\x01\x32"
MACS = {1: LAPTOP_MAC, 2: HMI_MAC, 3: PLC_MAC}


def text(mac: bytes) -> str:
    """Return a MAC as scapy writes it."""
    return mac.hex(":")


def ether(source: int, destination: int, *, mac: bytes | None = None, to: bytes | None = None, **fields: Any) -> Ether:
    """Return the header of a frame between two ports, with the MACs that belong there."""
    return Ether(src=text(mac or MACS[source]), dst=text(to or MACS[destination]), **fields)


PAYLOAD = Raw(b"conduit gateway kernel test payload")


def tcp(source: int, destination: int, flags: str, sport: int, dport: int, **how: Any) -> bytes:
    """Return a TCP segment between HMI (2), PLC (3) and laptop (1)."""
    addresses = {1: LAPTOP, 2: HMI, 3: PLC}
    src, dst = how.pop("src", addresses[source]), how.pop("dst", addresses[destination])
    ip = IP(src=src, dst=dst, **how.pop("ip", {}))
    tag = how.pop("tag", None)
    header = ether(source, destination, **how)
    return bytes((header / tag if tag else header) / ip / TCP(sport=sport, dport=dport, flags=flags) / PAYLOAD)


def arp(source: int, destination: int, sender: str, target: str, **how: Any) -> bytes:
    """Return an ARP request; `claims` is the hardware address in it, when it is not the frame's."""
    mac = how.get("mac") or MACS[source]
    body = ARP(op=1, hwsrc=text(how.pop("claims", mac)), psrc=sender, pdst=target)
    tag = how.pop("tag", None)
    header = ether(source, destination, **how)
    return bytes((header / tag if tag else header) / body / Raw(bytes(18)))


def six(source: int, destination: int, src: str, dst: str, *layers: Any, **how: Any) -> bytes:
    """Return an IPv6 frame."""
    tag = how.pop("tag", None)
    packet = ether(source, destination, **how)
    for layer in (*([tag] if tag else []), IPv6(src=src, dst=dst), *layers):
        packet /= layer
    return bytes(packet)


def ping(source: int, destination: int, src: str, dst: str, kind: int, number: int, **how: Any) -> bytes:
    """Return an echo request (kind 8) or reply (kind 0)."""
    tag = how.pop("tag", None)
    header = ether(source, destination, **how)
    return bytes((header / tag if tag else header) / IP(src=src, dst=dst) / ICMP(type=kind, id=number) / PAYLOAD)


def fragments(**fields: Any) -> bytes:
    """Return an IPv4 fragment of a TCP segment to the PLC."""
    return tcp(2, 3, "S", 40100, 502, ip=fields)


NS, NA = ICMPv6ND_NS, ICMPv6ND_NA
TAG = Dot1Q(vlan=100)
FRAGMENT6 = IPv6ExtHdrFragment(nh=6, id=7)
CASES: list[tuple[str, bytes, int, int, str]] = [
    ("tcp opening", tcp(2, 3, "S", 40100, 502), 2, 3, "accepted"),
    ("tcp reply", tcp(3, 2, "SA", 502, 40100), 3, 2, "accepted"),
    ("tcp data", tcp(2, 3, "PA", 40100, 502), 2, 3, "accepted"),
    ("tcp range", tcp(2, 3, "S", 50000, 40005), 2, 3, "accepted"),
    ("tcp opening backwards", tcp(3, 2, "S", 502, 40100), 3, 2, "dropped"),
    ("tcp wrong port", tcp(2, 3, "S", 40100, 22), 2, 3, "dropped"),
    ("tcp fail closed", tcp(2, 3, "S", 40100, 503), 2, 3, "dropped"),
    ("tcp fail open, any service", tcp(1, 2, "S", 40100, 22), 1, 2, "accepted"),
    ("tcp fail open, backwards", tcp(2, 1, "S", 40100, 22), 2, 1, "accepted"),
    ("tcp fail open, impossible flags", tcp(1, 2, "SF", 40100, 22), 1, 2, "dropped"),
    ("tcp no flags", tcp(2, 3, "", 40100, 502), 2, 3, "dropped"),
    ("tcp SYN FIN", tcp(2, 3, "SF", 40100, 502), 2, 3, "dropped"),
    ("tcp SYN RST", tcp(2, 3, "SR", 40100, 502), 2, 3, "dropped"),
    ("tcp PSH only", tcp(2, 3, "P", 40100, 502), 2, 3, "dropped"),
    ("no conduit between zones", tcp(1, 3, "S", 40100, 502), 1, 3, "dropped"),
    ("spoofed IP", tcp(1, 3, "S", 40100, 502, src=HMI), 1, 3, "dropped"),
    ("spoofed IP and MAC", tcp(1, 3, "S", 40100, 502, src=HMI, mac=HMI_MAC), 1, 3, "dropped"),
    ("wrong MAC", tcp(2, 3, "S", 40100, 502, mac=b"\x02\x00\x00\x00\x02\x0b"), 2, 3, "dropped"),
    ("unlisted host of the prefix", tcp(2, 3, "S", 40100, 502, src="10.0.0.77"), 2, 3, "accepted"),
    ("asset of elsewhere inside the prefix", tcp(2, 3, "S", 40100, 502, src=PLC2), 2, 3, "dropped"),
    ("source unknown", tcp(2, 3, "S", 40100, 502, src="192.0.2.1"), 2, 3, "dropped"),
    ("destination unknown", tcp(2, 3, "S", 40100, 502, dst="192.0.2.1"), 2, 3, "dropped"),
    ("destination behind another port", tcp(2, 3, "S", 40100, 502, dst=LAPTOP), 2, 3, "dropped"),
    ("asset without MAC check", tcp(2, 3, "S", 40100, 502, dst=PLC2), 2, 3, "accepted"),
    ("first fragment", fragments(flags="MF"), 2, 3, "dropped"),
    ("later fragment", fragments(frag=5), 2, 3, "dropped"),
    ("tagged, no such VLAN", tcp(2, 3, "S", 40100, 502, tag=Dot1Q(vlan=7)), 2, 3, "dropped"),
    ("tagged, known VLAN", tcp(2, 3, "S", 40100, 502, tag=Dot1Q(vlan=100)), 2, 3, "accepted"),
    ("priority tag", tcp(2, 3, "S", 40100, 502, tag=Dot1Q(vlan=0, prio=5)), 2, 3, "accepted"),
    ("two tags", tcp(2, 3, "S", 40100, 502, tag=Dot1Q(vlan=100) / Dot1Q(vlan=1)), 2, 3, "dropped"),
    ("service tag", tcp(2, 3, "S", 40100, 502, tag=Dot1AD(vlan=100)), 2, 3, "dropped"),
    ("udp", bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / UDP(sport=5000, dport=20000) / PAYLOAD), 2, 3, "accepted"),
    (
        "udp group",
        bytes(ether(2, 3) / IP(src=HMI, dst=GROUP) / UDP(sport=5000, dport=20000) / PAYLOAD),
        2,
        3,
        "accepted",
    ),
    (
        "udp wrong port",
        bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / UDP(sport=5000, dport=53) / PAYLOAD),
        2,
        3,
        "dropped",
    ),
    (
        "udp unasked reply",
        bytes(ether(3, 2) / IP(src=PLC, dst=HMI) / UDP(sport=20000, dport=5999) / PAYLOAD),
        3,
        2,
        "dropped",
    ),
    ("gre", bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / GRE() / PAYLOAD), 2, 3, "accepted"),
    ("sctp", bytes(ether(2, 3) / IP(src=HMI, dst=PLC, proto=132) / PAYLOAD), 2, 3, "dropped"),
    ("ping", bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / ICMP(type=8, id=9) / PAYLOAD), 2, 3, "accepted"),
    ("ping backwards", bytes(ether(3, 2) / IP(src=PLC, dst=HMI) / ICMP(type=8, id=9) / PAYLOAD), 3, 2, "dropped"),
    ("pong unasked", bytes(ether(3, 2) / IP(src=PLC, dst=HMI) / ICMP(type=0, id=77) / PAYLOAD), 3, 2, "dropped"),
    ("icmp redirect", bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / ICMP(type=5) / PAYLOAD), 2, 3, "dropped"),
    ("arp", arp(2, 3, HMI, PLC), 2, 3, "accepted"),
    ("arp answer", arp(3, 2, PLC, HMI), 3, 2, "accepted"),
    ("arp no conduit", arp(1, 3, LAPTOP, PLC), 1, 3, "dropped"),
    ("arp unlisted", arp(1, 2, LAPTOP, HMI), 1, 2, "accepted"),
    ("arp unlisted, two MACs", arp(1, 2, OTHER, HMI, claims=HMI_MAC), 1, 2, "dropped"),
    ("arp spoofed sender", arp(1, 2, PLC, HMI), 1, 2, "dropped"),
    ("arp asset, two MACs", arp(2, 3, HMI, PLC, claims=LAPTOP_MAC), 2, 3, "dropped"),
    ("arp asset, wrong MAC", arp(2, 3, HMI, PLC, mac=LAPTOP_MAC), 2, 3, "dropped"),
    ("arp probe", arp(2, 3, "0.0.0.0", PLC), 2, 3, "dropped"),
    ("arp gratuitous", arp(2, 3, HMI, HMI), 2, 3, "accepted"),
    ("arp gratuitous, unchecked", arp(1, 2, LAPTOP, LAPTOP), 1, 2, "dropped"),
    ("tagged arp", arp(2, 3, HMI, PLC, tag=TAG), 2, 3, "accepted"),
    ("tagged arp, asset, two MACs", arp(2, 3, HMI, PLC, claims=LAPTOP_MAC, tag=TAG), 2, 3, "dropped"),
    ("tagged arp, no asset in between", arp(2, 3, "10.0.0.77", PLC2, tag=TAG), 2, 3, "accepted"),
    ("tagged arp, spoofed sender", arp(2, 3, PLC, PLC2, tag=TAG), 2, 3, "dropped"),
    ("tagged arp gratuitous", arp(2, 3, HMI, HMI, tag=TAG), 2, 3, "accepted"),
    ("tagged arp gratuitous, into no zone", arp(2, 1, HMI, HMI, tag=TAG), 2, 1, "dropped"),
    ("tagged arp probe", arp(2, 3, "0.0.0.0", PLC, tag=TAG), 2, 3, "dropped"),
    ("tagged ping", ping(2, 3, HMI, PLC, 8, 9, tag=TAG), 2, 3, "accepted"),
    ("tagged ping backwards", ping(3, 2, PLC, HMI, 8, 9, tag=TAG), 3, 2, "dropped"),
    ("tagged pong unasked", ping(3, 2, PLC, HMI, 0, 78, tag=TAG), 3, 2, "dropped"),
    ("tagged ping6", six(2, 3, HMI6, PLC6, ICMPv6EchoRequest(id=9), PAYLOAD, tag=TAG), 2, 3, "accepted"),
    ("tagged solicitation", six(2, 3, HMI6, "ff02::1:ff00:30", NS(tgt=PLC6), tag=TAG), 2, 3, "accepted"),
    ("tagged solicitation probe", six(2, 3, "::", "ff02::1:ff00:30", NS(tgt=PLC6), tag=TAG), 2, 3, "dropped"),
    ("tagged advertisement", six(3, 2, PLC6, HMI6, NA(tgt=PLC6), tag=TAG), 3, 2, "accepted"),
    ("tagged advertisement of another", six(3, 2, PLC6, HMI6, NA(tgt=HMI6), tag=TAG), 3, 2, "dropped"),
    ("tagged advertisement to all", six(3, 2, PLC6, "ff02::1", NA(tgt=PLC6), tag=TAG), 3, 2, "accepted"),
    ("tagged advertisement, into no zone", six(3, 1, PLC6, "ff02::1", NA(tgt=PLC6), tag=TAG), 3, 1, "dropped"),
    ("goose", bytes(ether(2, 3, to=GROUP_MAC, type=0x88B8) / Raw(bytes(range(60)))), 2, 3, "accepted"),
    ("goose from elsewhere", bytes(ether(1, 3, to=GROUP_MAC, type=0x88B8) / Raw(bytes(range(60)))), 1, 3, "dropped"),
    ("other EtherType", bytes(ether(2, 3, to=GROUP_MAC, type=0x8892) / Raw(bytes(range(60)))), 2, 3, "dropped"),
    ("llc", PLC_MAC + HMI_MAC + b"\x00\x26\x42\x42\x03" + bytes(range(60)), 2, 3, "dropped"),
    ("tcp6", six(2, 3, HMI6, PLC6, TCP(sport=40100, dport=502, flags="S"), PAYLOAD), 2, 3, "accepted"),
    ("tcp6 reply", six(3, 2, PLC6, HMI6, TCP(sport=502, dport=40100, flags="SA"), PAYLOAD), 3, 2, "accepted"),
    ("tcp6 wrong port", six(2, 3, HMI6, PLC6, TCP(sport=40100, dport=22, flags="S"), PAYLOAD), 2, 3, "dropped"),
    (
        "destination options",
        six(2, 3, HMI6, PLC6, IPv6ExtHdrDestOpt(), TCP(dport=502, flags="S"), PAYLOAD),
        2,
        3,
        "dropped",
    ),
    ("fragment6", six(2, 3, HMI6, PLC6, FRAGMENT6, TCP(dport=502, flags="S"), PAYLOAD), 2, 3, "dropped"),
    ("tcp6 wrong MAC", six(2, 3, HMI6, PLC6, TCP(dport=502, flags="S"), PAYLOAD, mac=LAPTOP_MAC), 2, 3, "dropped"),
    ("ping6", six(2, 3, HMI6, PLC6, ICMPv6EchoRequest(id=9), PAYLOAD), 2, 3, "accepted"),
    ("pong6 unasked", six(3, 2, PLC6, HMI6, ICMPv6EchoReply(id=77), PAYLOAD), 3, 2, "dropped"),
    ("solicitation", six(2, 3, HMI6, "ff02::1:ff00:30", NS(tgt=PLC6), PAYLOAD), 2, 3, "accepted"),
    ("solicitation of a prefix", six(2, 1, HMI6, "ff02::1:ff00:50", NS(tgt=LAPTOP6), PAYLOAD), 2, 1, "accepted"),
    ("solicitation, no conduit", six(1, 3, LAPTOP6, "ff02::1:ff00:30", NS(tgt=PLC6), PAYLOAD), 1, 3, "dropped"),
    ("solicitation probe", six(2, 3, "::", "ff02::1:ff00:30", NS(tgt=PLC6), PAYLOAD), 2, 3, "dropped"),
    ("advertisement", six(3, 2, PLC6, HMI6, NA(tgt=PLC6), PAYLOAD), 3, 2, "accepted"),
    ("advertisement of another", six(1, 2, LAPTOP6, HMI6, NA(tgt=PLC6), PAYLOAD), 1, 2, "dropped"),
    ("advertisement unlisted", six(1, 2, LAPTOP6, HMI6, NA(tgt=LAPTOP6), PAYLOAD), 1, 2, "accepted"),
    ("advertisement to all", six(3, 2, PLC6, "ff02::1", NA(tgt=PLC6), PAYLOAD), 3, 2, "accepted"),
    ("advertisement to all, unchecked", six(1, 2, LAPTOP6, "ff02::1", NA(tgt=LAPTOP6), PAYLOAD), 1, 2, "dropped"),
]
