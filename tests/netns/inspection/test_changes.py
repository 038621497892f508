"""Policies, stages, windows and quarantine that change under inspected conversations.

What is permitted goes on or is begun anew, as semantics.md says which; what is forbidden is from the first frame on.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from bench.upheaval import CONTROL, WITHIN_S
from bench.upheaval_policy import READ, policy, varied
from deploy.lab import namespaces
from deploy.lab.processes import wait_for
from deploy.lab.topology import GATEWAY
from tests.netns.inspection.conftest import REFUSED, Standing, outcomes

if TYPE_CHECKING:
    from bench.upheaval import Upheaval

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

SWAPS, MANY_SWAPS = 15, 100
EVERYTHING: Final = "    operations: [read, write, control, program, admin, diagnose]\n"
CLOSED_FOR: Final = timedelta(seconds=2)
LEAD: Final = timedelta(seconds=3)
WINDOWS: Final = """\
windows:
  visit:
    once:
      - {{from: 2026-01-01T00:00:00, to: {closes:%Y-%m-%dT%H:%M:%S}, reason: a test}}
      - {{from: {opens:%Y-%m-%dT%H:%M:%S}, to: 2199-01-01T00:00:00, reason: a test}}
"""
THINKS_S: Final = 0.5
FLOWS: Final = 1024
FORGETFUL: Final = "net.netfilter.nf_conntrack_tcp_timeout_established=1"
AFTER: Final = 10  # attacks
SILENT, CROWD = 20, 1600


@pytest.mark.parametrize("swaps", [SWAPS, pytest.param(MANY_SWAPS, marks=pytest.mark.slow)])
def test_swaps_break_no_poll_and_let_nothing_through(going: Upheaval, seed: int, swaps: int) -> None:
    """Clauses, their order, other conduits before and behind, messages told or not: no poll notices."""
    going.apply(policy())
    going.start_polls()
    going.start_intruders(seed)
    for turn in range(swaps):
        going.apply(varied(turn))
    going.wait_for_polls()
    assert going.failed() == []
    assert {row.connection for row in going.rows()} == {0}
    wait_for("attacks, before the swaps and behind", lambda: len(going.attacks()) > swaps / 5, WITHIN_S)
    assert going.done() == {}


def test_a_permission_that_is_taken_away_ends_at_once(going: Upheaval, seed: int) -> None:
    """What was begun under it is not ended, what is asked from then on is not done; readings go on."""
    going.apply(policy(EVERYTHING))
    begun = Standing(going, "halves")
    going.start_polls()
    going.start_intruders(seed, ["modbus"])
    wait_for("something to be written", lambda: bool(going.done()), WITHIN_S)
    going.apply(policy(READ))
    taken = time.monotonic()
    begun.tell()
    assert outcomes(begun) <= REFUSED
    wait_for("attacks to go on", lambda: sum(one.began > taken for one in going.attacks()) > AFTER, WITHIN_S)
    going.wait_for_polls()
    done = going.done()
    assert list(done) == ["modbus changed"]
    assert max(done["modbus changed"]) <= max(one.number for one in going.attacks() if one.began < taken)
    assert going.failed() == []
    assert {row.connection for row in going.rows()} == {0}


def test_a_conversation_that_becomes_inspected_is_begun_anew(going: Upheaval) -> None:
    """Nobody knows what half a message passed before: each station is reset once, and none when inspection ends."""
    going.apply(policy(inspection=""))
    begun = Standing(going, "halves")
    going.start_polls()
    for turn in range(2):
        going.apply(policy(READ, reason=f"inspected {turn}"))
        if not turn:
            begun.tell()
        going.wait_for_polls()
        assert {row.connection for row in going.rows()} == set(range(turn + 2))
        assert max(row.ended - row.asked for row in going.failed()) < WITHIN_S / 2
        going.apply(policy(inspection="", reason=f"not {turn}"))
        going.wait_for_polls()
    assert len(going.failed()) == 2 * len({row.station for row in going.rows()})
    assert outcomes(begun) <= REFUSED
    assert going.done() == {}


def test_whoever_waits_for_an_answer_is_told_too(going: Upheaval) -> None:
    """Inspection begins while a device thinks: its answer is refused, and the station that waits for it hears so."""
    going.apply(policy(inspection=""))
    going.start_polls(["pymodbus"])
    going.wait_for_polls()
    going.standing.pause("modbus")
    wait_for("a poll to wait", lambda: time.monotonic() > going.rows()[-1].ended + THINKS_S, WITHIN_S)
    going.apply(policy(READ))
    began = time.monotonic()
    going.standing.resume("modbus")
    going.wait_for_polls()
    [failed] = going.failed()
    assert "reset" in failed.wrong
    assert failed.ended - began < WITHIN_S / 2
    assert going.done() == {}


def test_stages_change_under_going_conversations(going: Upheaval) -> None:
    """Streams are followed in every stage: raising it breaks no poll, and ends no write that was begun below it."""
    going.apply(policy())
    going.stage("monitor")
    begun = Standing(going, "halves")
    going.start_polls()
    for stage in ("alert", "enforce", "monitor", "enforce"):
        going.wait_for_polls()
        going.stage(stage)
    begun.tell()
    assert outcomes(begun) <= REFUSED
    going.wait_for_polls()
    assert going.failed() == []
    assert {row.connection for row in going.rows()} == {0}
    assert going.done() == {}


def test_control_and_quarantine_come_and_go(going: Upheaval, seed: int) -> None:
    """A dead control is not noticed; quarantine stops everything, and what it stopped goes on behind it."""
    going.apply(policy())
    going.start_polls()
    going.start_intruders(seed)
    going.wait_for_polls()
    going.kill(CONTROL)
    going.wait_for_polls()
    assert max(row.ended - row.asked for row in going.rows()) < WITHIN_S / 2
    going.quarantine()
    isolated = time.monotonic()
    asked = len(going.attacks())
    wait_for("somebody to notice", lambda: len(going.attacks()) > asked, WITHIN_S)
    released = time.monotonic()
    assert [row for row in going.rows() if isolated < row.asked and row.ended < released] == []
    going.release()
    going.wait_for_polls()
    assert going.failed() == []
    assert {row.connection for row in going.rows()} == {0}
    assert going.done() == {}


def test_a_window_closes_and_opens_again(going: Upheaval) -> None:
    """Nothing passes while it is closed; afterwards each conversation is begun anew, and none hangs."""
    closes = datetime.now(UTC).replace(microsecond=0) + LEAD
    windows = WINDOWS.format(closes=closes, opens=closes + CLOSED_FOR)
    going.apply(policy(READ + "    windows: visit\n", windows=windows))
    begun = Standing(going, "halves")
    going.start_polls()
    going.wait_for_polls()
    wait_for("the window to close", lambda: not going.is_open(), WITHIN_S)
    closed = time.monotonic()
    begun.tell()
    wait_for("the window to open", going.is_open, WITHIN_S)
    opened = time.monotonic()
    assert [row for row in going.rows() if closed < row.asked and row.ended < opened and not row.wrong] == []
    going.wait_for_polls()
    assert {row.connection for row in going.rows()} == {0, 1}
    assert outcomes(begun) <= REFUSED
    assert going.done() == {}


def test_the_daemon_is_restarted_and_its_small_tables_are_full(going: Upheaval, seed: int) -> None:
    """After a planned restart each conversation is begun anew once.

    One that was silent while others took its place is told so when it speaks again; one that polls keeps its place. The
    kernel's own memory of connections, which forgets them after a second here, is not asked.
    """
    going.apply(policy())
    going.start_polls()
    going.start_intruders(seed)
    going.wait_for_polls()
    gateway = going.gateway
    gateway.stop()
    settings = gateway.settings.read_text()
    gateway.settings.write_text(settings.replace("[queue]\n", f"[queue]\nflows = {FLOWS}\n"))
    gateway.start()
    going.wait_for_polls()
    assert all(row.connection <= 1 for row in going.rows())
    assert going.done() == {}
    failed = len(going.failed())

    inside = namespaces.inside(going.lab.namespace(GATEWAY), ["sysctl", "-qw", FORGETFUL])
    namespaces.run(inside)
    silent = Standing(going, "idle", str(SILENT), str(CROWD))
    silent.tell()
    again = silent.outcomes()["again"]
    told = [one for one in again if one == "reset"]
    assert told, "all of them kept their place"
    assert all(one == "reset" or one.startswith("0") for one in again), again
    going.wait_for_polls()
    assert len(going.failed()) == failed
    assert going.done() == {}
