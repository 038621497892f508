"""The drills in short: unconfirmed changes go back over kills of control, and swaps lose, leak and misname nothing.

How late they go back is left to the drill itself (`python -m bench.drill`): here a late rollback is a rollback.
"""

from __future__ import annotations

import pytest

from bench import drill
from bench.streams import STEADY, Change, Streams, streams
from deploy.lab.processes import wait_for
from tests.support.capability import require

pytestmark = pytest.mark.netns

CHANGES, KILLED = 10, 3
TOLD_S = 10.0
SWAPS, RATE = 30, 1500


@pytest.fixture(autouse=True)
def capable() -> None:
    """Both need the whole gateway."""
    require("netns")
    require("nfqueue")


def test_unconfirmed_changes_go_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten of ten, three with control killed and started anew, none before its deadline, and no packet lost."""
    with streams("td", drill.RATE) as running:
        done = drill.drill(running, CHANGES, KILLED, print)
        recorded = drill.recorded_as_rolled_back(running, CHANGES)
        wait_for("the journal to tell", lambda: _actions(running).count("policy.rolled_back") == CHANGES, TOLD_S)
        actions = _actions(running)
        arrivals = running.finish()
    late = drill.lateness_ms(done, arrivals)
    with capsys.disabled():
        print(f"\nrollback effective - deadline, ms: {sorted(round(ms, 1) for ms in late)}")
    assert sum(one.killed for one in done) == KILLED
    assert all(0 <= ms < float("inf") for ms in late), late
    assert recorded == CHANGES
    assert actions.count("policy.rolled_back") == actions.count("policy.pending") == CHANGES
    assert arrivals.lost(STEADY) == 0


def test_swaps_under_load_lose_leak_and_misname_nothing() -> None:
    """Thirty swaps: every packet that both permit arrives, none that neither does, events name what was in force."""
    assert drill.drill_swap(SWAPS, RATE)


def test_a_misnamed_event_would_be_seen() -> None:
    """The check of events can fail: one that names the old policy after the answer is counted."""
    change = Change(opened=False, asked_ns=1_000_000_000, answered_ns=2_000_000_000, answer={"digest": "bbbb"})
    events = [
        {"timestamp": "1970-01-01T00:00:00.500000+0000", "digest": "aaaa"},
        {"timestamp": "1970-01-01T00:00:01.500000+0000", "digest": "aaaa"},
        {"timestamp": "1970-01-01T00:00:01.500000+0000", "digest": "bbbb"},
        {"timestamp": "1970-01-01T00:00:02.500000+0000", "digest": "bbbb"},
    ]
    assert drill.misattributed(iter(events), [change], "aaaa") == (0, 4)
    late = {"timestamp": "1970-01-01T00:00:02.500000+0000", "digest": "aaaa"}
    early = {"timestamp": "1970-01-01T00:00:00.500000+0000", "digest": "bbbb"}
    assert drill.misattributed(iter([*events, late, early]), [change], "aaaa") == (2, 6)


def _actions(running: Streams) -> list[str]:
    entries = running.gateway.api("GET", "/v1/journal?limit=1000")[1]["entries"]
    return [entry["action"] for entry in entries]
