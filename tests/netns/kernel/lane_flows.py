"""The flows of the fast lane's tests: their frames, what looks nearly like them, and how they enter the lane.

In: the wire, and a `Judge` that plays the engine. Out: frames as bytes, and flows that stay in the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q

from fastpath.abi import MARK_LANE
from gateway.kernel import bridge
from tests.netns.kernel.frames import LAPTOP_MAC, PAYLOAD, ether, six, tcp
from tests.netns.kernel.plant import HMI, HMI6, PLC, PLC6
from tests.netns.kernel.wire import PORTS, Wire, wait_until

if TYPE_CHECKING:
    from tests.netns.kernel.reader import Judge

FIRST, SECOND = MARK_LANE | 1, MARK_LANE | 2  # of two generations


def udp(source: int, destination: int, **how: Any) -> bytes:
    """Return a datagram of a flow between HMI and PLC."""
    ends = {2: (HMI, 40200), 3: (PLC, 20000)}
    (src, sport), (dst, dport) = ends[source], ends[destination]
    layers = IP(src=src, dst=dst, **how.pop("ip", {})) / UDP(sport=sport, dport=dport, **how.pop("udp", {})) / PAYLOAD
    return bytes(ether(source, destination, **how) / layers)


def segment(**how: Any) -> bytes:
    """Return a segment of the flow between HMI and PLC."""
    layers = IP(src=HMI, dst=PLC) / TCP(sport=40100, dport=502, flags="A", **how) / PAYLOAD
    return bytes(ether(2, 3) / layers)


STREAM = tcp(2, 3, "A", 40100, 502)
FLOWS = {
    "tcp": STREAM,
    "tcp back": tcp(3, 2, "PA", 502, 40100),
    "tcp with options": segment(options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]),
    "tcp, the longest header": segment(options=[("NOP", None)] * 40),
    "udp": udp(2, 3),
    "tcp6": six(2, 3, HMI6, PLC6, TCP(sport=40100, dport=502, flags="A"), PAYLOAD),
    "udp6": six(2, 3, HMI6, PLC6, UDP(sport=40200, dport=20000), PAYLOAD),
}
# frames of which the flow in the lane is known, and each of which the engine must see: (the flow, the frame, its port)
OUTSIDE = {
    "another port in": ("tcp", STREAM, 1),
    "another source MAC": ("tcp", tcp(2, 3, "A", 40100, 502, mac=b"\x02\x00\x00\x00\x02\x0b"), 2),
    "another port out": ("tcp", tcp(2, 3, "A", 40100, 502, to=LAPTOP_MAC), 2),
    "tagged": ("tcp", tcp(2, 3, "A", 40100, 502, tag=Dot1Q(vlan=100)), 2),
    "priority tag": ("tcp", tcp(2, 3, "A", 40100, 502, tag=Dot1Q(vlan=0)), 2),
    "more fragments": ("tcp", tcp(2, 3, "A", 40100, 502, ip={"flags": "MF"}), 2),
    "later fragment": ("udp", udp(2, 3, ip={"frag": 100}), 2),
    "opening": ("tcp", tcp(2, 3, "S", 40100, 502), 2),
    "opening answered": ("tcp", tcp(2, 3, "SA", 40100, 502), 2),
    "ending": ("tcp", tcp(2, 3, "FA", 40100, 502), 2),
    "reset": ("tcp", tcp(2, 3, "RA", 40100, 502), 2),
    "no flag": ("tcp", tcp(2, 3, "", 40100, 502), 2),
    "IP options": ("tcp", tcp(2, 3, "A", 40100, 502, ip={"options": [IPOption_NOP()] * 4}), 2),
    "another source port": ("tcp", tcp(2, 3, "A", 40101, 502), 2),
    "another destination port": ("tcp", tcp(2, 3, "A", 40100, 503), 2),
    "another source": ("tcp", tcp(2, 3, "A", 40100, 502, src="10.0.0.21"), 2),
    "another protocol": ("udp", tcp(2, 3, "A", 40200, 20000), 2),
    "TCP header of 4 words": ("tcp", segment(dataofs=4), 2),
    "TCP header of 3 words": ("tcp", segment(dataofs=3), 2),
    "TCP header of none": ("tcp", segment(dataofs=0), 2),
    "opening, pushing, urgent": ("tcp", tcp(2, 3, "SPU", 40100, 502), 2),
    "UDP length below its header": ("udp", udp(2, 3, udp={"len": 7}), 2),
    "extension header": ("tcp6", six(2, 3, HMI6, PLC6, IPv6ExtHdrDestOpt(), TCP(sport=40100, dport=502, flags="A")), 2),
    "the other IP version": ("tcp", FLOWS["tcp6"], 2),
}


def numbers() -> dict[int, int]:
    """Return the policy's numbers of the ports by ifindex; call it in the gateway."""
    indexes = bridge.ports_ifindex(PORTS)
    return {indexes[name]: number for number, name in enumerate(PORTS, start=1)}


def taken(wire: Wire, before: dict[str, int]) -> int:
    """Return how many frames took the lane since then."""
    return wire.counts()["lane"] - before["lane"]


def enter(wire: Wire, judge: Judge, frame: bytes, source: int = 2) -> None:
    """Have the engine see a frame of a flow, and accept it with the lane's mark."""
    before = wire.counts()
    wire.send(source, frame)
    judge.one()
    wait_until(lambda: wire.counts()["judged_accepted"] == before["judged_accepted"] + 1, "the frame is judged")
    assert taken(wire, before) == 0


def seen_by_engine(wire: Wire, judge: Judge, frame: bytes, source: int = 2) -> None:
    """Send a frame and see that it waits for the engine."""
    enter(wire, judge, frame, source)
