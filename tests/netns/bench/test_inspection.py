"""The suite `inspection` in short: real conversations through an inspecting gateway, each packet of them judged."""

from __future__ import annotations

import pytest

from bench import targets
from bench.conversations import MODBUS, NONSENSE, Conversations, EndedError
from bench.inspected_policy import CASES
from bench.plan import Plan
from bench.results import Result
from bench.rig import Rig
from bench.suites import inspection
from tests.support.capability import require

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

PORT = 1600
EXCHANGES = 500


def test_every_case_is_measured_and_proven_to_be_inspected() -> None:
    """Every conversation is answered to the byte, nonsense ends the inspected ones, and each case has its figure."""
    require("netns")
    require("nfqueue")
    lines: list[str] = []
    found = inspection.through_the_queue(Plan(lines.append, runs=1, seconds=0.25, quick=True))
    assert list(found) == list(CASES)
    assert all(runs[0] > 0 for runs in found.values())
    ended = [case for case in CASES if any(line.startswith(f"  {case}: converse") for line in lines)]
    assert ended == [case for case in CASES if "_" in case]
    results = [Result.of("inspection", "conduitd", f"us_per_packet_{case}", "us", runs) for case, runs in found.items()]
    judged = [one for one in targets.outcomes(results) if "Modbus inspected" in one.target.text]
    assert [len(one.runs) for one in judged] == [1]


def test_conversations_count_what_was_answered_and_notice_what_was_not() -> None:
    """Without a judge all is answered; a rule that drops the answers ends the program with what it had heard."""
    require("netns")
    with Rig() as rig:
        with Conversations(rig, MODBUS, PORT, connections=4) as talk:
            assert talk.say(EXCHANGES, 10_000.0, 4)["done"] == EXCHANGES
        with Conversations(rig, NONSENSE, PORT + 1, connections=1) as talk:
            assert talk.say(1, 1000.0, 1)["done"] == 1
            rig.intercept(f"add rule CHAIN tcp sport {PORT + 1} drop\nadd rule CHAIN accept\n")
            with pytest.raises(EndedError, match="0 of 1 were answered"):
                talk.say(1, 1000.0, 1)
