"""What judging a segment may cost, in comparisons: the heaviest messages by the largest profile, engine beside twin."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.abi import FIELD_NAMES, MAX_RANGES, Inspector, Operation, Protocol, Reason
from fastpath.dissect import Dissection
from fastpath.profiles import ProfileJudge
from rules.records import ClauseRecord, ProfileRecord, RangeRecord
from tests.property.test_profile_twin import accesses, clauses
from tests.support.heaviest import FAR, HEAVIEST, NAMED, full_clauses, image_and_state
from tests.support.twin_profile import MOST_COMPARISONS, RATE_COMPARISONS, TwinProfile

RESPONDER: Final = bytes(16)
MOST: Final = (
    MOST_COMPARISONS + 1 + MAX_RANGES + RATE_COMPARISONS
)  # asked before a clause, which is then compared whole
HEAVY: Final = sorted(HEAVIEST.keys() - {"enip-io"})  # a datagram of implicit I/O asks for one thing
RECORDED: Final = 74  # things that the largest segment of our recorded traffic asks for


def asked_by(name: str) -> list[dict[str, Any]]:
    """Return the accesses of the heaviest segment."""
    heaviest = HEAVIEST[name]
    talk = Dissection(heaviest.inspector, taken_up=True)
    found, left = talk.messages(heaviest.segment(), True)
    assert left == b""
    assert {reason for _, _, reason, _ in found} == {Reason.NONE}
    return [access for *_, accesses in found for access in accesses]


def both(inspector: Inspector, rows: tuple[ClauseRecord, ...]) -> tuple[ProfileJudge, TwinProfile]:
    """Return an engine and a twin with a profile of these clauses."""
    twin = TwinProfile(ProfileRecord(frozenset({inspector}), NAMED, rows, bool(rows)))
    return ProfileJudge(*image_and_state(inspector, rows)), twin


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("matching", [None, 255], ids=["nothing matches", "the last clause matches"])
@pytest.mark.parametrize("enforced", [True, False])
def test_the_heaviest_segment_ends_at_the_budget(name: str, matching: int | None, *, enforced: bool) -> None:
    """However many things it asks for; and where nothing matches, enforcement ends with the first of them."""
    asked = asked_by(name)
    judge, twin = both(HEAVIEST[name].inspector, full_clauses(HEAVIEST[name], matching=matching))
    reason = judge.judge(0, asked, responder=RESPONDER, now_ns=1, enforced=enforced)
    plain = [{key: value for key, value in access.items() if value is not None} for access in asked]
    assert reason is twin.judge(plain, 1, enforced=enforced)
    assert judge.compared == twin.compared
    assert judge.compared <= MOST
    assert reason is (Reason.MESSAGE_CONSTRAINT if matching is None else Reason.MESSAGE_BUDGET)
    assert (judge.compared < MOST_COMPARISONS) is (enforced and matching is None)
    assert len(asked) > 10 * MOST_COMPARISONS // (len(twin.profile.clauses) + MAX_RANGES)  # the test is none without


@pytest.mark.parametrize("name", HEAVY)
def test_what_recorded_traffic_asks_for_passes(name: str) -> None:
    """Five times the largest recorded segment fits even into the largest profile."""
    judge, _ = both(HEAVIEST[name].inspector, full_clauses(HEAVIEST[name], matching=255))
    asked = asked_by(name)[: 5 * RECORDED]
    assert judge.judge(0, asked, responder=RESPONDER, now_ns=1) is Reason.NONE


def costly(protocol: Protocol, ranges: int) -> ClauseRecord:
    """Return a clause that takes many comparisons and permits nothing."""
    field = FIELD_NAMES[protocol].index("function")
    return ClauseRecord(protocol, NAMED, tuple(RangeRecord(field, FAR + at, FAR + at) for at in range(ranges)))


def filler() -> dict[str, Any]:
    """Return an access that only costs."""
    return {"protocol": Protocol.MODBUS, "operation": Operation.READ, "fields": {"function": 3}}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(clauses(), max_size=4, unique=True),
    st.integers(900, 1000),
    st.integers(-3, 3),
    st.lists(accesses(), min_size=1, max_size=6),
    st.booleans(),
)
def test_around_the_budget_the_engine_judges_like_its_twin(
    drawn: Any, ranges: int, near: int, segment: Any, enforced: bool
) -> None:
    """What is asked for while the comparisons run out, guards among it, is judged and remembered alike."""
    rows = (costly(Protocol.MODBUS, ranges), *drawn)
    judge, twin = both(Inspector.MODBUS, rows)
    each = twin_cost(rows)
    fillers = [filler()] * max(MOST_COMPARISONS // each + near, 0)
    for number, asked in enumerate(([*fillers, *segment], segment)):
        now_ns = 1000 + 7 * number
        expected = twin.judge(asked, now_ns, enforced=enforced)
        assert judge.judge(0, asked, responder=RESPONDER, now_ns=now_ns, enforced=enforced) is expected
        assert judge.compared == twin.compared <= MOST


def twin_cost(rows: tuple[ClauseRecord, ...]) -> int:
    """Return what one filler costs."""
    twin = TwinProfile(ProfileRecord(frozenset({Inspector.MODBUS}), NAMED, rows, True))
    twin.judge([filler()], 1, enforced=False)
    return twin.compared
