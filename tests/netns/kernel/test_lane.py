"""The fast lane for real: what the engine lets stay in the kernel, and what never does.

The test plays the engine: it gives a frame the lane's mark, and what came with the same key passes without a queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, TCP, UDP

from fastpath.abi import MARK_JUDGED
from gateway.kernel import nft
from rules.static_lane import LANE_SECONDS, LANE_SETS
from tests.netns.kernel.frames import PAYLOAD, ether, six, tcp
from tests.netns.kernel.lane_flows import FIRST, FLOWS, OUTSIDE, STREAM, enter, numbers, seen_by_engine, taken
from tests.netns.kernel.plant import HMI, HMI6, PLC, PLC6
from tests.netns.kernel.reader import Judge
from tests.netns.kernel.wire import Wire, inside, wait_until

if TYPE_CHECKING:
    from gateway.kernel.lane import Lane

pytestmark = pytest.mark.netns


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
