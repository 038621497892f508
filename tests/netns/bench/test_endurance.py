"""The endurance suites in short: polls survive spoofed flows and forbidden traffic, and mixed traffic's counts close.

What is timed is left to the bench: here a late answer is an answer, and a full queue, which a busy machine may have,
only moves frames from one exact count to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import polls
from bench.plan import Plan
from bench.rig import Rig
from bench.siege import Siege, siege
from bench.suites import steady, storm
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns

TABLE = 4096
FLOWS = 30_000
FLOWS_PER_S = 15_000.0
STORM_SECONDS = 1.5
STEADY_RATE, STEADY_SECONDS = 5_000.0, 3.0
NOT_LOST = (None, polls.TOO_LATE, polls.NOT_ASKED)


@pytest.fixture(autouse=True)
def capable() -> None:
    """Both need the whole gateway."""
    require("netns")
    require("nfqueue")


@pytest.fixture
def besieged() -> Iterator[Siege]:
    """A plant that polls, behind a gateway with a small flow table."""
    with siege(TABLE) as standing:
        yield standing


def test_polls_survive_spoofed_flows_and_a_storm(besieged: Siege) -> None:
    """More flows than the table holds evict each other and not the polls' own; nothing forbidden arrives."""
    flood = storm.watch(besieged, lambda: besieged.flood(FLOWS_PER_S, FLOWS))
    forbidden = storm.watch(besieged, lambda: besieged.storm(STORM_SECONDS))
    rows = besieged.finish()
    assert [row for row in rows if row.wrong not in NOT_LOST] == []
    assert {row.kind for row in rows} == {polls.TCP, polls.UDP}
    assert flood.trial is not None
    assert forbidden.trial is not None
    assert flood.counted["flows_created"] + flood.counted["static"] >= FLOWS
    assert flood.counted["flows_evicted"] > FLOWS / 2 - flood.counted["static"]
    assert (flood.trial.lost, flood.evicted, forbidden.evicted) == (0, 0, 0)
    assert forbidden.trial.received == 0
    assert forbidden.trial.sent == forbidden.counted["dropped"] + forbidden.counted["static_dropped"]
    assert flood.counted["queue_lost"] == forbidden.counted["queue_lost"] == 0


def test_counts_of_mixed_traffic_close() -> None:
    """Everything permitted arrives, nothing else does, and every equation of the account holds to the frame."""
    lines: list[str] = []
    with Rig() as rig:
        figures = steady.measure(Plan(lines.append), rig, STEADY_RATE, STEADY_SECONDS)
    counts = ("lost", "duplicated", "forbidden_arrived", "unaccounted")
    assert [figures[name] for name in counts] == [0, 0, 0, 0], lines
    assert figures["forbidden_sent"] > 0
    assert figures["reordered"] == 0 or figures["unjudged"] > 0, lines
