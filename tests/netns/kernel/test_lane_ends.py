"""How a flow's stay in the fast lane ends: a new generation, closing, quarantine, time, a ruleset without a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.kernel import guard, monitor, readback, sync
from tests.netns.kernel.lane_flows import FIRST, SECOND, STREAM, enter, numbers, seen_by_engine, taken
from tests.netns.kernel.plant import PLC, plant
from tests.netns.kernel.wire import BRIDGE, PORTS, QUEUE, Wire, inside, wait_until

if TYPE_CHECKING:
    from fastpath.abi import Form
    from gateway.kernel.lane import Lane
    from tests.netns.kernel.reader import Judge

pytestmark = pytest.mark.netns


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
