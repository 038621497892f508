"""The fast lane for real: what the engine lets stay in the kernel, what never does, and how it ends at once.

The test plays the engine: it gives a frame the lane's mark, and what came with the same key passes without a queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q

from fastpath.abi import MARK_JUDGED, MARK_LANE, Form
from gateway.kernel import bridge, guard, interception, monitor, nft, readback, sync
from gateway.kernel.lane import Lane
from rules.static import render
from rules.static_lane import LANE_SECONDS, LANE_SETS
from tests.netns.kernel.frames import LAPTOP_MAC, PAYLOAD, ether, six, tcp
from tests.netns.kernel.plant import HMI, HMI6, PLC, PLC6, plant
from tests.netns.kernel.reader import Judge
from tests.netns.kernel.wire import BRIDGE, PORTS, QUEUE, Wire, inside, wait_until
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns
FIRST, SECOND = MARK_LANE | 1, MARK_LANE | 2


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


@pytest.fixture
def laned(wire: Wire, form: Form) -> Wire:
    """The wire with the queue rule and the lane standing."""
    require("nfqueue")
    wire.load(render(plant(PORTS, vlan=100), form=form, first_queue=QUEUE, lane=True))
    with inside(wire.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
    return wire


@pytest.fixture
def lane(laned: Wire) -> Iterator[Lane]:
    """The lane, open at the first generation, with no flow in it."""
    made = Lane()
    with inside(laned.gateway):
        made.open_at(FIRST, numbers(), afresh=True)
    yield made
    with inside(laned.gateway):
        made.close()
        made.forget_socket()


@pytest.fixture
def judge(laned: Wire) -> Iterator[Judge]:
    """The engine: each frame it sees may stay in the kernel."""
    reader = Judge(laned)
    reader.mark = FIRST
    yield reader
    reader.close()


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


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_stays_in_the_kernel(laned: Wire, lane: Lane, judge: Judge, name: str) -> None:
    """After one marked frame the flow's next ones arrive without anybody reading the queue, and are counted."""
    frame = FLOWS[name]
    source, destination = (3, 2) if name == "tcp back" else (2, 3)
    enter(laned, judge, frame, source)
    before = laned.counts()
    laned.received(destination)
    for _ in range(3):
        laned.send(source, frame)
    wait_until(lambda: taken(laned, before) == 3, "the lane counts three frames")
    assert laned.arrives(frame, destination)
    after = laned.counts()
    assert after["frames_before_queue"] - before["frames_before_queue"] == 3
    assert all(after[other] == before[other] for other in ("judged_accepted", "static"))
    with inside(laned.gateway):
        (entry,) = lane.entries(10)
    assert (entry.mark, entry.protocol, entry.packets) == (FIRST, name[:3], 4), "the frame that entered included"
    ports = {"tcp": (40100, 502), "udp": (40200, 20000)}[name[:3]]
    assert (entry.source_port, entry.destination_port) == (ports[::-1] if source == 3 else ports)
    assert (entry.source, entry.destination)[source - 2] == (HMI6 if name.endswith("6") else HMI)
    assert 0 < entry.expires_ms <= LANE_SECONDS * 1000


def test_what_is_not_exactly_the_flow_is_judged(laned: Wire, lane: Lane, judge: Judge) -> None:
    """Whatever differs from the frame that the engine marked, or could open, end or hide something, is not let past."""
    for name, (flow, frame, source) in OUTSIDE.items():  # one test: loading the ruleset takes longer than all of it
        with inside(laned.gateway):
            lane.open_at(FIRST, numbers(), afresh=True)
        judge.mark = FIRST
        enter(laned, judge, FLOWS[flow])
        judge.mark = MARK_JUDGED
        before = laned.counts()
        laned.send(source, frame)
        waits_for_nobody(laned, judge, before, name)
        assert taken(laned, before) == 0, name


def waits_for_nobody(wire: Wire, judge: Judge, before: dict[str, int], name: str) -> None:
    """Wait until a frame was counted where frames end that took no lane; judge it if it was queued."""
    ends = ("judged_accepted", "l2_accepted", "l2_dropped", "static_dropped")
    queued: list[int] = []

    def ended() -> bool:
        after = wire.counts()
        if after["frames_before_queue"] > before["frames_before_queue"] and not queued:
            judge.one()
            queued.append(1)
        return any(after[end] > before[end] for end in ends)

    wait_until(ended, f"{name}: the frame is judged elsewhere")


def test_a_new_generation_has_every_flow_judged_again(laned: Wire, lane: Lane, judge: Judge) -> None:
    """The next frame waits for the engine; a frame with the mark of before changes nothing; a new mark lets it in."""
    enter(laned, judge, STREAM)
    with inside(laned.gateway):
        lane.open_at(SECOND, numbers())
        assert lane.mark_in_force() == SECOND
    for mark in (FIRST, FIRST, SECOND):
        judge.mark = mark
        seen_by_engine(laned, judge, STREAM)
    before = laned.counts()
    laned.send(2, STREAM)
    wait_until(lambda: taken(laned, before) == 1, "the flow is in the lane again")


def test_a_closed_lane_takes_nothing(laned: Wire, lane: Lane, judge: Judge) -> None:
    """Closed, every frame is judged, whatever its mark; opened afresh, no flow of before is known."""
    enter(laned, judge, STREAM)
    with inside(laned.gateway):
        lane.close()
        assert lane.mark_in_force() == 0
    for _ in range(2):
        seen_by_engine(laned, judge, STREAM)
    with inside(laned.gateway):
        assert lane.entries(10)
        lane.open_at(SECOND, numbers(), afresh=True)
        assert lane.entries(10) == []
    seen_by_engine(laned, judge, STREAM)


def test_whoever_looks_with_nft_sees_it(laned: Wire, lane: Lane, judge: Judge) -> None:
    """nft can list every set of flows with several elements in it, as text and as JSON: some keys make it abort."""
    ends = ((40100, 502), (40101, 502))
    for source, destination in ends:
        enter(laned, judge, tcp(2, 3, "A", source, destination))
        enter(laned, judge, bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / UDP(sport=source, dport=destination) / PAYLOAD))
        for layer in (TCP(sport=source, dport=destination, flags="A"), UDP(sport=source, dport=destination)):
            enter(laned, judge, six(2, 3, HMI6, PLC6, layer, PAYLOAD))
    with inside(laned.gateway):
        assert len(lane.entries(100)) == 4 * len(ends)
        text = nft.text_listing("ruleset")
        held = {found["set"]["name"]: found["set"] for found in nft.listing("ruleset") if "set" in found}
    assert all(f"add @{name} " in text for name in LANE_SETS)
    assert [len(held[name]["elem"]) for name in LANE_SETS] == [len(ends)] * 4


def test_an_unmarked_flow_never_enters(laned: Wire, lane: Lane, judge: Judge) -> None:
    """What the engine accepts with its plain mark is judged frame by frame."""
    judge.mark = MARK_JUDGED
    for _ in range(3):
        seen_by_engine(laned, judge, STREAM)
    with inside(laned.gateway):
        assert lane.entries(10) == []


def test_quarantine_stops_a_flow_in_the_lane(laned: Wire, lane: Lane, judge: Judge) -> None:
    """The guard stands in front of the lane."""
    enter(laned, judge, STREAM)
    before = laned.counts()
    with inside(laned.gateway):
        guard.add([guard.Member("ip4", PLC)])
    try:
        laned.send(2, STREAM)
        wait_until(lambda: laned.counts()["c_quarantined"] == before["c_quarantined"] + 1, "quarantine counts it")
        assert taken(laned, before) == 0
    finally:
        with inside(laned.gateway):
            guard.remove([guard.Member("ip4", PLC)])


def test_traffic_does_not_prolong_the_stay(laned: Wire, lane: Lane, judge: Judge) -> None:
    """Neither frames in the lane nor another marked one put off the moment at which the engine is asked again."""
    enter(laned, judge, STREAM)
    with inside(laned.gateway):
        left = lane.entries(1)[0].expires_ms
    before = laned.counts()
    for number in range(1, 21):
        laned.send(2, STREAM)
        wait_until(lambda number=number: taken(laned, before) == number, "the frame took the lane")
    with inside(laned.gateway):  # the kernel counts in ticks of some milliseconds: twenty frames may fit into one
        wait_until(lambda: lane.entries(1)[0].expires_ms < left, "the stay has become shorter")


def test_the_lane_goes_on_while_nobody_judges(laned: Wire, lane: Lane) -> None:
    """With the engine gone, what it let into the lane passes until its time is over; `static` has the rest."""
    reader = Judge(laned)
    reader.mark = FIRST
    enter(laned, reader, STREAM)
    reader.close()
    before = laned.counts()
    laned.received(3)
    laned.send(2, STREAM)
    assert laned.arrives(STREAM, 3)
    laned.send(2, tcp(2, 3, "A", 40102, 22))
    wait_until(lambda: laned.counts()["static_dropped"] == before["static_dropped"] + 1, "static drops the rest")
    assert taken(laned, before) == 1


def test_what_moves_in_the_lane_is_no_foreign_change(laned: Wire, lane: Lane, judge: Judge, form: Form) -> None:
    """Flows that come, generations that change and closing neither ring nor look like a changed ruleset."""
    policy = plant(PORTS, vlan=100)
    stages = dict(policy.pair_stages)
    how: dict[str, Any] = {"form": form, "bridge_name": BRIDGE, "lane": True}
    how |= {"first_queue": QUEUE, "queue_count": 1, "layer2_queue": None}
    with inside(laned.gateway):
        loaded = sync.apply_policy(policy, stages=stages, closed=frozenset(), **how)
        script = sync.script_of(policy, stages=stages, closed=frozenset(), **how)
        heard = monitor.open_monitor()
    enter(laned, judge, STREAM)
    with inside(laned.gateway):
        assert lane.entries(10), "flows outlive a policy swap; the generation tells which of them pass"
        lane.open_at(SECOND, numbers())
        assert sync.stands(loaded)
        assert sync.in_sync(script)
        lane.close()
        assert sync.stands(loaded)
    assert not monitor.heard_deletion(heard)
    heard.close()


def test_without_a_lane_none_is_left_behind(laned: Wire, lane: Lane, judge: Judge, form: Form) -> None:
    """A ruleset without the lane takes its chains and sets away; a frame that still has its mark passes as judged."""
    policy = plant(PORTS, vlan=100)
    how: dict[str, Any] = {"form": form, "bridge_name": BRIDGE, "stages": dict(policy.pair_stages)}
    how |= {"first_queue": QUEUE, "queue_count": 1, "layer2_queue": None}
    with inside(laned.gateway):
        sync.apply_policy(policy, closed=frozenset(), **how)
        assert not [name for name in readback.names("bridge", "conduit") if name.startswith("lane")]
        assert (lane.mark_in_force(), lane.entries(10)) == (0, [])
    for _ in range(2):
        seen_by_engine(laned, judge, STREAM)
