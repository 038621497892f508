"""The keeper of time with a clock of the test's own: bits, lane, `static` and journal at every turn of the clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gateway.control.core import Core
from gateway.control.history import History
from gateway.control.in_force import PolicyInForce, build
from gateway.control.journal import Journal
from gateway.control.names import NameBook
from gateway.control.state_dir import InForceRecord
from gateway.control.windows import LOOK_EVERY_S, SHORTEST_PAUSE_S, Windows
from gateway.errors import KernelError
from rules.compile import compile_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.control.kernel_port import StagesInForce

POLICY = """
version: 1
site: {name: works, timezone: Europe/Berlin, ceiling: enforce}
zones:
  a: {kind: supervisory, ports: p1, prefixes: 10.1.0.0/16}
  b: {kind: control, ports: p2, prefixes: 10.2.0.0/16}
assets:
  hmi: {zone: a, ips: 10.1.0.1}
  plc: {zone: b, ips: 10.2.0.1}
windows:
  night: {weekly: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "22:00", to: "06:00"}]}
  visit: {once: [{from: 2026-12-01T05:00, to: 2026-12-01T07:00, reason: vendor}]}
conduits:
  always: {from: {asset: hmi}, to: {asset: plc}, services: dnp3}
  nightly: {from: {asset: hmi}, to: {asset: plc}, services: modbus, windows: night}
  both: {from: {asset: hmi}, to: {asset: plc}, services: https, windows: [night, visit]}
  off: {from: {asset: hmi}, to: {asset: plc}, services: ssh, windows: night, enabled: false}
  proven: {from: {asset: hmi}, to: {asset: plc}, services: ssh, windows: night, requires: session}
"""
EVENING = datetime(2026, 11, 30, 20, 59, 59, tzinfo=UTC)  # 21:59:59 in Berlin
SECOND = timedelta(seconds=1)


class SetClock:
    """Both clocks as the test sets them; `pass_by` moves both, setting `now` only the wall."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.ran = 0.0

    def wall(self) -> datetime:
        """What was set."""
        return self.now

    def monotonic(self) -> float:
        """What has gone by."""
        return self.ran

    def pass_by(self, time: timedelta) -> None:
        """Let time go by."""
        self.now += time
        self.ran += time.total_seconds()


class Kernel:
    """The part of the kernel that windows reach."""

    def __init__(self) -> None:
        self.refuses = False
        self.marks: list[int] = []
        self.opened: list[Mapping[int, bool]] = []

    def lane_wanted(self) -> bool:
        """There is a lane."""
        return True

    def lane_mark(self) -> int:
        """The newest."""
        return self.marks[-1] if self.marks else 0

    def lane_open(self, mark: int, ports: Mapping[int, int], *, afresh: bool) -> None:
        """Open at a generation."""
        self.marks.append(mark)

    def lane_close(self) -> None:
        """Close."""

    def update_static(self, lowered: Any, stages: StagesInForce) -> None:
        """Take the open conduits, or refuse."""
        if self.refuses:
            raise KernelError("REFUSED", "no")
        self.opened.append(dict(stages.opened))


class Stream:
    """What followers were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def control(self, action: str, **detail: Any) -> None:
        """Remember it."""
        self.told.append((action, detail))


class Rig:
    """A core with a policy in force, and its windows."""

    def __init__(self, text: str = POLICY, applied: datetime = EVENING) -> None:
        self.clock, self.kernel, self.stream = SetClock(EVENING), Kernel(), Stream()
        self.core = Core(None, self.kernel, None, None, Journal(None), History(None, 2), self.stream, NameBook())  # type: ignore[arg-type]
        self.windows = self.core.windows = Windows(self.core, self.clock)
        compiled = compile_text(text)
        record = InForceRecord(
            text=text, name="t", digest="", generation=1, slots={}, who="test", applied=applied
        )  # fmt: skip
        self.policy: PolicyInForce = build(record, compiled, {})
        self.windows.place(self.policy)
        self.core.current = self.policy
        self.core.lane.govern(self.policy.state)

    def look(self) -> None:
        """Have it look once."""
        asyncio.run(self.windows.look())

    def at(self, text: str) -> set[str]:
        """Let time go by until a moment in UTC, look, and return what is open."""
        self.clock.pass_by(datetime.fromisoformat(text).replace(tzinfo=UTC) - self.clock.now)
        self.look()
        return self.open

    @property
    def open(self) -> set[str]:
        """The conduits whose bit is set."""
        return {name for name, slot in self.policy.slots.items() if self.policy.state.conduit_open(slot)}

    def entries(self, action: str) -> list[dict[str, Any]]:
        """Journal entries of an action, oldest first."""
        return [entry["detail"] for entry in reversed(self.core.journal.entries(100)) if entry["action"] == action]


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A rig just before the night."""
    made = Rig()
    yield made
    made.policy.close()
    made.core.journal.close()


def test_opens_and_closes_at_the_second(rig: Rig) -> None:
    """Not a second early, and closed in the very second that `to` names; one window of two keeps a conduit open."""
    rig.look()
    assert rig.open == {"always"}
    assert rig.at("2026-11-30T21:00:00") == {"always", "nightly", "both"}
    assert rig.at("2026-12-01T04:59:59") == {"always", "nightly", "both"}
    assert rig.at("2026-12-01T05:00:00") == {"always", "both"}, "the visit goes on"
    assert rig.at("2026-12-01T06:00:00") == {"always"}


def test_journal_and_stream_say_which_window_and_which_conduits(rig: Rig) -> None:
    """One line for all conduits that the same windows moved."""
    rig.at("2026-11-30T21:00:00")
    rig.at("2026-12-01T05:00:00")
    rig.at("2026-12-01T06:00:00")
    opened = [(entry["windows"], entry["conduits"]) for entry in rig.entries("window.open")]
    closed = [(entry["windows"], entry["conduits"]) for entry in rig.entries("window.close")]
    assert opened == [(["night"], ["both", "nightly"])]
    assert closed == [(["night"], ["nightly"]), (["visit"], ["both"])]
    assert [action for action, _ in rig.stream.told].count("window.close") == 2


def test_static_and_lane_follow_each_change_and_nothing_else(rig: Rig) -> None:
    """`static` gets the open conduits once per change, the lane a new generation; not by a look alone."""
    rig.look()
    before = len(rig.kernel.marks)
    rig.at("2026-11-30T21:00:00")
    for _ in range(3):
        rig.clock.pass_by(SECOND)
        rig.look()
    slots = rig.policy.slots
    assert [opened[slots["nightly"]] for opened in rig.kernel.opened] == [True]
    assert len(rig.kernel.marks) == before + 1
    assert rig.policy.state.lane_mark == rig.kernel.marks[-1]


def test_what_is_disabled_or_unproven_stays_closed(rig: Rig) -> None:
    """Windows open nothing that somebody closed."""
    assert not rig.at("2026-11-30T23:00:00") & {"off", "proven"}
    assert set(rig.policy.schedule.governed) == {"nightly", "both"}


@pytest.mark.parametrize("jump", [timedelta(hours=8), timedelta(hours=-12)])
def test_a_clock_that_was_set_is_acted_on_at_the_next_look(rig: Rig, jump: timedelta) -> None:
    """Both directions: the bits are right for the new time, and the journal says by how much."""
    assert rig.at("2026-11-30T21:30:00") == {"always", "nightly", "both"}
    rig.clock.now += jump
    rig.look()
    assert "nightly" not in rig.open
    assert [entry["seconds"] for entry in rig.entries("clock.step")] == [jump.total_seconds()]
    rig.clock.now -= jump
    rig.look()
    assert "nightly" in rig.open
    assert len(rig.entries("clock.step")) == 2


def test_a_clock_that_drifts_is_no_step(rig: Rig) -> None:
    """adjtime moves a clock slowly, and nobody set it."""
    for _ in range(100):
        rig.clock.pass_by(SECOND)
        rig.clock.now += timedelta(microseconds=500)
        rig.look()
    assert rig.entries("clock.step") == []


def test_a_wrong_clock_closes_every_window() -> None:
    """More than a day before the policy was applied: closed, and trouble says so, until it is right."""
    rig = Rig(applied=EVENING + timedelta(days=3))
    assert rig.at("2026-11-30T23:00:00") == {"always"}
    assert "2026-11-30 23:00:00" in rig.core.trouble["clock"]
    assert rig.windows.next_change(rig.policy, "nightly") is None
    rig.clock.now += timedelta(days=3)
    rig.look()
    assert "nightly" in rig.open
    assert "clock" not in rig.core.trouble
    rig.policy.close()


def test_closing_waits_for_no_kernel(rig: Rig) -> None:
    """The bit is closed although `static` refuses; it is tried again until it follows."""
    rig.at("2026-11-30T21:00:00")
    rig.kernel.refuses = True
    assert rig.at("2026-12-01T06:00:00") == {"always"}
    assert "static" in rig.core.trouble
    rig.clock.pass_by(SECOND)
    rig.look()
    assert "static" in rig.core.trouble
    rig.kernel.refuses = False
    rig.clock.pass_by(SECOND)
    rig.look()
    assert "static" not in rig.core.trouble
    assert not rig.kernel.opened[-1][rig.policy.slots["nightly"]]
    assert len(rig.entries("window.close")) == 1, "tried again, told once"


def test_a_policy_comes_into_force_with_the_right_bits(rig: Rig) -> None:
    """Also one that is resumed with the bits of hours ago, and its changes are told."""
    rig.clock.pass_by(timedelta(hours=3))
    assert rig.windows.place(rig.policy) == {"nightly": True, "both": True}
    assert rig.open == {"always", "nightly", "both"}
    assert rig.windows.place(rig.policy) == {}


def test_the_next_boot_begins_with_every_window_closed(rig: Rig) -> None:
    """However open they are now."""
    rig.at("2026-11-30T23:00:00")
    slots, opened = rig.policy.slots, rig.policy.stages_at_boot().opened
    assert {name for name, slot in slots.items() if opened[slot]} == {"always"}


def test_it_sleeps_until_the_change_and_never_longer_than_a_second(rig: Rig) -> None:
    """The pause ends with the change to come."""
    assert rig.windows._pause(rig.clock.now) == pytest.approx(1.0)
    rig.clock.pass_by(timedelta(milliseconds=750))
    assert rig.windows._pause(rig.clock.now) == pytest.approx(0.25)
    rig.at("2026-11-30T22:00:00")
    assert rig.windows._pause(rig.clock.now) == LOOK_EVERY_S


def test_a_change_that_comes_during_a_look_is_seen_at_once(rig: Rig) -> None:
    """Looks fall on whole seconds as windows do: the second may begin after a look has read the clock."""
    rig.clock.pass_by(SECOND - timedelta(microseconds=1))
    looked = rig.clock.now
    rig.clock.pass_by(timedelta(milliseconds=1))
    assert rig.windows._pause(looked) == SHORTEST_PAUSE_S
