"""What a conduit permits inside: the engine and its slow twin say the same of any accesses under any profile."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.abi import FIELD_NAMES, Inspector, Operation, Protocol
from fastpath.profiles import ProfileJudge
from rules.image import build_state
from rules.profiles import CONNECT
from rules.records import ClauseRecord, ProfileRecord, RangeRecord
from tests.support.twin_profile import TwinProfile
from tests.unit.test_profiles import NAMED, PLC, asks, image_of, plain_lowered

STATE = bytes(build_state(plain_lowered(), 1, {}))
NUMBERS = st.integers(0, 8)
OPERATIONS = st.sampled_from(Operation)
SOME = st.frozensets(st.sampled_from(sorted(NAMED - {Operation.NONE})), min_size=1)


def spans() -> st.SearchStrategy[tuple[int, int]]:
    """Draw a small range."""
    return st.tuples(NUMBERS, st.integers(0, 4)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))


@st.composite
def clauses(draw: Any) -> ClauseRecord:
    """Draw a clause of one of two protocols that have values, or about a connect."""
    protocol = draw(st.sampled_from((Protocol.MODBUS, Protocol.MODBUS, Protocol.CIP, Protocol.COTP)))
    if protocol is Protocol.COTP:
        kinds = draw(st.sets(spans(), max_size=2))
        place = FIELD_NAMES[protocol].index("connection_type")
        rows = sorted(RangeRecord(place, *span) for span in dict(sorted(kinds)).items())
        return ClauseRecord(protocol, CONNECT, tuple(rows), 0, *draw(st.sampled_from(((0, 0), (10, 10)))))
    known = ("unit", "function", "address", "value") if protocol is Protocol.MODBUS else ("service", "class", "value")
    fields = draw(st.dictionaries(st.sampled_from(known), st.sets(spans(), min_size=1, max_size=3), max_size=3))
    places = FIELD_NAMES[protocol]
    ranges = {name: dict(sorted(values)) for name, values in fields.items()}
    rows = sorted(RangeRecord(places.index(name), *span) for name, one in ranges.items() for span in one.items())
    rate = draw(st.sampled_from(((0, 0), (0, 0), (10, 10), (10, 30))))
    step = draw(st.sampled_from((0, 0, 1, 3))) if protocol is Protocol.MODBUS else 0
    return ClauseRecord(protocol, draw(SOME | st.just(NAMED)), tuple(rows), step, *rate)


@st.composite
def accesses(draw: Any) -> dict[str, Any]:
    """Draw an access, whole or partial, asked or answered, with values or without."""
    protocol = draw(st.sampled_from((*[Protocol.MODBUS] * 3, Protocol.CIP, Protocol.COTP)))
    operation = draw(OPERATIONS)
    if protocol is Protocol.COTP:
        told = {"type": draw(st.sampled_from((8, 14))), **draw(st.dictionaries(st.just("connection_type"), NUMBERS))}
        return {"protocol": protocol, "operation": Operation.NONE, "fields": told, "answer": draw(st.booleans())}
    if protocol is Protocol.CIP:
        given_ = draw(st.dictionaries(st.sampled_from(("service", "class", "value")), NUMBERS | spans()))
        return {"protocol": protocol, "operation": operation, "fields": given_, "partial": draw(st.booleans())}
    fields = {"unit": draw(st.integers(0, 1)), "function": draw(st.sampled_from((3, 4, 6, 16)))}
    access = {"protocol": protocol, "operation": operation, "fields": fields, "answer": draw(st.booleans())}
    address = draw(NUMBERS)
    if draw(st.booleans()):
        values = draw(st.lists(NUMBERS, min_size=1, max_size=4))
        fields |= {"address": (address, address + len(values) - 1), "value": (min(values), max(values))}
        return access | {"values": struct.pack(f">{len(values)}H", *values), "value_bytes": 2}
    if access["answer"] and operation is Operation.WRITE:
        return access | {"fields": fields | {"exception": draw(st.integers(0, 1))}, "recalled": {"address": address}}
    fields |= draw(st.dictionaries(st.sampled_from(("address", "value", "count")), NUMBERS | spans()))
    return access | {"partial": draw(st.booleans())}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(clauses(), max_size=5, unique=True),
    SOME | st.just(NAMED),
    st.lists(st.tuples(st.lists(accesses(), max_size=4), st.booleans()), min_size=1, max_size=8),
)
def test_the_engine_judges_like_its_twin(drawn: Any, operations: Any, segments: Any) -> None:
    """Row by row, with everything that rates and steps remember from one segment to the next."""
    granted = frozenset(operations) | {Operation.NONE}
    image = image_of(*drawn, operations=granted)
    judge = ProfileJudge(image, STATE)
    twin = TwinProfile(ProfileRecord(frozenset({Inspector.MODBUS}), granted, tuple(drawn), asks(drawn)))
    for number, (segment, enforced) in enumerate(segments):
        now_ns = 1000 + 7 * number
        expected = twin.judge(segment, now_ns, enforced=enforced)
        assert judge.judge(0, segment, responder=PLC, now_ns=now_ns, enforced=enforced) is expected, (number, segment)
        assert judge.compared == twin.compared, (number, segment)
