"""When everything was recorded: any doubt is a gap, and what the tape forgets is no longer covered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.control.keeper_port import EngineStatus
from gateway.control.kernel_port import KernelView, QueueStats
from gateway.errors import KernelError
from gateway.tape import coverage, recorder
from gateway.tape.coverage import Stretch, Way
from gateway.tape.sight import Sum
from gateway.tape.store import DAY_NS, SLOT_NS, Tape
from rules.compile import compile_text
from tests.unit.tape.test_tape import NOW, POLICY, Rig, sight

if TYPE_CHECKING:
    from pathlib import Path

WAYS = frozenset({Way("p0", 0, "office"), Way("p1", 0, "cell")})


def begun() -> Rig:
    """A recorder that has looked once: what was before, nobody knows."""
    rig = Rig()
    assert turn(rig) == 0
    return rig


def turn(rig: Rig) -> int:
    """Let the recorder write, and return how many stretches there are."""
    asyncio.run(rig.recorder.write())
    return len(rig.tape.recorded())


def test_what_goes_on_is_one_stretch_with_the_zones_of_the_policy() -> None:
    rig = begun()
    before = time.time_ns()
    for _ in range(4):
        assert turn(rig) == 1
    (found,) = rig.tape.recorded()
    assert found.ways == WAYS
    assert found.from_ns <= before < found.to_ns <= time.time_ns()


def test_whatever_may_hide_something_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = begun()
    assert turn(rig) == 1

    def gap() -> None:
        whole = rig.tape.recorded()
        assert turn(rig) == len(whole)
        assert rig.tape.recorded() == whole, "what was doubtful counts as recorded"
        assert turn(rig) == len(whole) + 1

    rig.lost += 1
    gap()
    rig.core.keeper.engine = EngineStatus("judging", 2, 1)  # it died and is back
    gap()
    rig.recorder._plane.pump.unrenderable += 1
    gap()
    rig.core.rulesets_gone += 1  # another program flushed it: frames passed unasked and uncounted
    gap()
    rig.recorder._uncounted = 3  # a flood that left something out
    gap()
    really = time.time_ns
    monkeypatch.setattr(coverage.time, "time_ns", lambda: really() + 3600 * 10**9)  # the clock was set
    gap()
    rig.core.keeper.engine = EngineStatus("dead", None, 1)
    whole = rig.tape.recorded()
    assert turn(rig) == turn(rig) == len(whole)


def kernel(offered: int = 9, static: int = 0, queue: int = 0, user: int = 0) -> KernelView:
    """What the kernel counts."""
    counters = {"frames_before_queue": (offered, offered * 60), "static": (static, static * 60)}
    return KernelView(counters, [QueueStats(0, 3, queue, user)])


@pytest.mark.parametrize(
    "counts",
    [
        kernel(static=1),  # a queue overflowed, or the engine took too long: nobody saw it
        kernel(queue=1),
        kernel(user=1),
        kernel(offered=2),  # another ruleset's: the one before was gone
        None,
    ],
)
def test_what_the_kernel_let_pass_without_the_engine_is_a_gap(counts: KernelView | None) -> None:
    rig = begun()
    rig.kernel = kernel(offered=30)
    assert turn(rig) == 1, "what the engine judged is none"
    rig.kernel = counts if counts is not None else rig.kernel
    if counts is None:
        rig.core.kernel.view = refused
    assert turn(rig) == 1
    rig.core.kernel.view = lambda: rig.kernel
    turn(rig)
    assert turn(rig) == 2
    assert rig.tape.recorded()[0].to_ns < rig.tape.recorded()[1].from_ns


def refused() -> KernelView:
    """A kernel whose counters can't be read: then nobody knows."""
    raise KernelError("COUNTERS_UNREADABLE", "no such table")


def test_a_port_that_is_not_there_was_not_watched() -> None:
    rig = begun()
    rig.ports = {101: 1}
    turn(rig)
    turn(rig)
    assert [{way.zone for way in one.ways} for one in rig.tape.recorded()] == [{"office"}]


def test_what_a_failing_tape_had_to_leave_out_is_no_longer_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums that are kept for the next write may be crowded out by then, with the time that they are of."""
    monkeypatch.setattr(recorder, "SIGHTS_MAX", 2)
    rig = begun()
    rig.tape._db.execute("PRAGMA query_only=ON")
    for number in range(2):
        rig.recorder._add(sight(number=number), Sum(NOW, NOW, 1, 1, 1))
    really = rig.tape.write

    def meanwhile(*given: Any) -> None:
        for number in range(5, 7):
            rig.recorder._add(sight(number=number), Sum(NOW, NOW, 1, 1, 1))
        really(*given)

    monkeypatch.setattr(rig.tape, "write", meanwhile)
    assert turn(rig) == 0
    monkeypatch.setattr(rig.tape, "write", really)
    rig.tape._db.execute("PRAGMA query_only=OFF")
    assert turn(rig) == 0, "two sights of the first write are nowhere"
    assert turn(rig) == 1


def test_a_policy_that_moves_a_port_counts_for_what_it_leaves_alone() -> None:
    rig = begun()
    turn(rig)
    split = (
        POLICY.replace("ports: [p1]", "ports: [p1, p2]").replace("  cell:", "  cell2:").replace("e: cell", "e: cell2")
    )
    rig.core.current.lowered = compile_text(split).lowered
    rig.ports = {101: 1, 102: 2, 103: 3}
    turn(rig)
    turn(rig)
    assert [{way.zone for way in one.ways} for one in rig.tape.recorded()] == [
        {"office", "cell"}, {"office"}, {"office", "cell2"},
    ]  # fmt: skip


def test_a_tape_that_cannot_be_written_catches_up() -> None:
    rig = begun()
    rig.tape._db.execute("PRAGMA query_only=ON")
    assert turn(rig) == 0
    rig.tape._db.execute("PRAGMA query_only=OFF")
    assert turn(rig) == 1


def test_what_is_forgotten_is_no_longer_covered(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "tape.sqlite")
    old = NOW - 40 * DAY_NS
    tape.write({sight(): Sum(old, old, 1, 1, 1)}, recorded=[Stretch(old, old + 20 * DAY_NS, WAYS)])
    tape.write({sight(): Sum(NOW, NOW, 1, 1, 1)}, recorded=[Stretch(NOW - DAY_NS, NOW, WAYS)])
    tape.prune(NOW, 30, 1 << 40)
    assert [(one.from_ns, one.to_ns) for one in tape.recorded()] == [
        (NOW - 30 * DAY_NS, old + 20 * DAY_NS),
        (NOW - DAY_NS, NOW),
    ]
    tape.prune(NOW, 2, 1 << 40)
    assert len(tape.recorded()) == 1
    tape.close()
    assert Tape(tmp_path / "tape.sqlite").recorded() == [Stretch(NOW - DAY_NS, NOW, WAYS)]
    assert DAY_NS % SLOT_NS == 0
