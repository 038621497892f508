"""The conversations that the bench times in process are inspected where they are said to be, and nowhere else."""

from __future__ import annotations

import random
from array import array

import pytest

from bench.conversations import CIP, MODBUS, S7COMM, Exchange
from bench.plan import Plan
from bench.policies import plant
from bench.polled import CONDUITS, conversations, opened
from bench.suites.inspection import SCRIPTS
from fastpath.abi import MAX_BATCH, Reason

COUNT = 128


@pytest.mark.parametrize("inspected", [False, True])
def test_requests_and_answers_are_all_judged_as_established(inspected: bool) -> None:
    """Numbers go on from segment to segment, so that the same messages are new bytes every time."""
    place = plant(CONDUITS, inspected=inspected)
    said = conversations(place, COUNT)
    classifier = opened(place, said)
    classifier.run(said.order(64 * MAX_BATCH, random.Random(1)), array("Q", bytes(8 * 64)))
    by_reason, _, _ = classifier.counts()
    assert by_reason == {
        Reason.POLICY_CONDUIT: (COUNT, 0),
        Reason.FLOW_ESTABLISHED: (COUNT + 64 * MAX_BATCH, 0),
    }


@pytest.mark.parametrize(("inspected", "reason"), [(False, Reason.FLOW_ESTABLISHED), (True, Reason.MESSAGE_ANSWER)])
def test_an_answer_that_nobody_asked_for_tells_them_apart(inspected: bool, reason: Reason) -> None:
    """Only where messages are read does it matter that the request is missing."""
    place = plant(CONDUITS, inspected=inspected)
    said = conversations(place, COUNT)
    classifier = opened(place, said)
    before, _, _ = classifier.counts()
    classifier.run(said.answers, array("Q", bytes(8 * COUNT)))
    after, _, _ = classifier.counts()
    assert sum(after[reason]) - sum(before.get(reason, ())) == COUNT


@pytest.mark.parametrize("script", [MODBUS, S7COMM, CIP])
def test_scripts_leave_room_for_their_number(script: tuple[Exchange, ...]) -> None:
    """Both messages of the repeated exchange carry the number where nothing else stands."""
    each = script[-1]
    assert not any(each.request[each.number_at : each.number_at + 2] + each.answer[each.number_at : each.number_at + 2])


def test_a_run_of_other_subjects_measures_nothing() -> None:
    """The suite is about conduitd alone."""
    from bench.suites import inspection

    assert set(SCRIPTS) == {"modbus", "s7comm", "cip"}
    assert inspection.run(Plan(print, subjects=("suricata",))) == []
