"""The bench's sink counts exactly what happened to a stream, and a subject that judges nothing gets no figure."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from bench import traffic
from bench.rig import NORTH_PORT, SOUTH_PORT, Rig
from bench.subjects.c_accept import CAccept
from bench.subjects.kernel import NftStateful
from bench.subjects.subject import NotJudgedError, Watch, standing
from gateway.kernel import nft
from gateway.settings import QueueSettings
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns

FRAMES = 6400
RATE = 20_000.0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """A rig without a judge."""
    require("netns")
    with Rig() as standing_rig:
        yield standing_rig


@pytest.fixture(autouse=True)
def plain(rig: Rig) -> Iterator[None]:
    """Every test begins with a plain bridge."""
    yield
    rig.reset()


def test_plain_bridge_passes_every_frame(rig: Rig) -> None:
    """The control case: everything sent arrives once and in order, flow by flow."""
    trial = traffic.stream(rig, traffic.poll_flows(), RATE, FRAMES)
    assert trial.perfect
    assert trial.received == FRAMES
    assert {flow[:2] for flow in trial.by_flow} == {(100, 100)}


def test_loss_is_counted_by_flow(rig: Rig) -> None:
    """Frames that a rule drops are lost, all of them and no others."""
    port = traffic.POLL_PORTS[0]
    rig.intercept(f"add rule CHAIN udp dport {port} drop\nadd rule CHAIN accept\n")
    flows = traffic.poll_flows()
    trial = traffic.stream(rig, flows, RATE, FRAMES)
    assert trial.lost == FRAMES // len(traffic.POLL_PORTS)
    assert [flow[1] for flow in trial.by_flow] == [0 if flow.port == port else 100 for flow in flows]


def test_mixed_flows_pass(rig: Rig) -> None:
    """Sizes, weights and TCP segments go through a stateful firewall, which checks checksums."""
    first = traffic.poll_flows()[0]
    tcp = traffic.Flow(first.source, first.destination, 45_000, 5000, "tcp", 300)
    large = traffic.Flow(first.source, first.destination, 45_001, 5000, "udp", 1400, weight=3)
    rig.intercept("add rule CHAIN ct state invalid drop\nadd rule CHAIN accept\n")
    trial = traffic.stream(rig, [tcp, large], RATE, 4000)
    assert trial.perfect
    assert [flow[0] for flow in trial.by_flow] == [1000, 3000]


def test_duplicates_are_counted(rig: Rig) -> None:
    """A frame that arrives twice is one received and one duplicated."""
    hook = f"type filter hook ingress device {NORTH_PORT} priority 0;"
    rules = f"add table netdev t\nadd chain netdev t c {{ {hook} }}\nadd rule netdev t c dup to {SOUTH_PORT}\n"
    rig.inside(lambda: nft.apply(rules))
    trial = traffic.stream(rig, traffic.poll_flows(), RATE, FRAMES)
    assert (trial.received, trial.duplicated, trial.reordered) == (FRAMES, FRAMES, 0)


def test_overtaken_frames_are_reordered(rig: Rig) -> None:
    """What is parked while FAIL_OPEN lets the rest pass arrives late: each such frame is counted."""
    judge, flows, parked = CAccept("c-accept-batch", "batch"), traffic.poll_flows(), QueueSettings().max_length
    with standing(judge, rig), traffic.Sink(rig, flows, settle_ms=500) as sink:
        os.kill(judge.judge_pids()[0], signal.SIGSTOP)
        said = traffic.send(rig, flows, RATE, FRAMES, run=sink.run)
        assert rig.counts().waiting == parked
        os.kill(judge.judge_pids()[0], signal.SIGCONT)
        trial = sink.trial(RATE, said)
    assert (trial.lost, trial.duplicated, trial.reordered) == (0, 0, parked)


def test_bypassed_subject_has_no_figure(rig: Rig) -> None:
    """A queue that nothing is sent to, or rules that are gone, are noticed."""
    flows = traffic.poll_flows()
    for subject in (CAccept("c-accept", "single"), NftStateful()):
        with standing(subject, rig):
            watch = Watch(subject, rig)
            trial = traffic.stream(rig, flows, RATE, FRAMES)
            assert watch.judged(trial.sent, trial.received) >= FRAMES
    with standing(CAccept("c-accept", "single"), rig):
        watch = Watch(CAccept("c-accept", "single"), rig)
        rig.reset()
        trial = traffic.stream(rig, flows, RATE, FRAMES)
        with pytest.raises(NotJudgedError):
            watch.judged(trial.sent, trial.received)


def test_round_trips_are_all_answered(rig: Rig) -> None:
    """Every request gets its answer, and none takes no time."""
    trips = traffic.round_trips(rig, 2000, 400)
    assert (trips.sent, trips.unanswered) == (400, 0)
    assert min(trips.microseconds) > 1
