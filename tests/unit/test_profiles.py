"""What a profile permits, access by access, as the engine judges it; and what an image may not say of profiles."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from fastpath import abi
from fastpath.abi import Inspector, Operation, Protocol, Reason, Section
from fastpath.judge import validate_image
from fastpath.profiles import ProfileJudge
from rules.compile import compile_text
from rules.image import build_image, build_state
from rules.records import ClauseRecord, LoweredPolicy, ProfileRecord, RangeRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICY = """
version: 1
site: {name: works}
zones:
  control: {kind: control, ports: [p0], prefixes: [10.0.0.0/24]}
  hall: {kind: supervisory, ports: [p1], prefixes: [10.1.0.0/24]}
conduits:
  poll: {from: {zone: hall}, to: {zone: control}, services: [modbus]}
"""
FIELDS = abi.FIELD_NAMES[Protocol.MODBUS]
PLC = bytes(10) + b"\xff\xff\x0a\x00\x00\x05"
SECOND = 1_000_000_000
NAMED = frozenset(Operation) - {Operation.OTHER}


@cache
def plain_lowered() -> LoweredPolicy:
    """Return the policy without any profile."""
    return compile_text(POLICY).lowered


def spans(**ranges: tuple[int, int] | list[tuple[int, int]]) -> tuple[RangeRecord, ...]:
    """Return ranges by field name."""
    given = {name: value if isinstance(value, list) else [value] for name, value in ranges.items()}
    return tuple(sorted(RangeRecord(FIELDS.index(name), *span) for name, pairs in given.items() for span in pairs))


def clause(operations: frozenset[Operation] = NAMED, **ranges: Any) -> ClauseRecord:
    """Return a clause about Modbus."""
    return ClauseRecord(Protocol.MODBUS, operations, spans(**ranges))


def asks(clauses: Sequence[ClauseRecord]) -> bool:
    """Tell whether messages have to match a clause: those about COTP are about connects alone."""
    return any(clause.protocol is not Protocol.COTP for clause in clauses)


def image_of(*clauses: ClauseRecord, operations: frozenset[Operation] = NAMED, generation: int = 1) -> bytes:
    """Return an image whose only conduit has this profile."""
    lowered = plain_lowered()
    profile = ProfileRecord(frozenset({Inspector.MODBUS}), operations, clauses, asks(clauses))
    conduits = tuple(replace(conduit, profile=profile) for conduit in lowered.conduits)
    inspectors = {service.klass: Inspector.MODBUS for service in lowered.services}
    return build_image(replace(lowered, conduits=conduits, inspectors=inspectors), generation)


def judge_of(*clauses: ClauseRecord, operations: frozenset[Operation] = NAMED) -> ProfileJudge:
    """Return a judge of one profile."""
    return ProfileJudge(image_of(*clauses, operations=operations), build_state(plain_lowered(), 1, {}))


def access(operation: Operation, *values: int, **fields: Any) -> dict[str, Any]:
    """Return one access, with 16-bit values where there are any."""
    more = {"values": struct.pack(f">{len(values)}H", *values), "value_bytes": 2} if values else {}
    if values:
        fields["value"] = (min(values), max(values))
    return {"protocol": Protocol.MODBUS, "operation": operation, "fields": fields, **more}


def reason(judge: ProfileJudge, *accesses: dict[str, Any], now_ns: int = SECOND, enforced: bool = True) -> Reason:
    """Return what the judge says of one segment."""
    return judge.judge(0, accesses, responder=PLC, now_ns=now_ns, enforced=enforced)


def test_inspector_of_a_conduits_service() -> None:
    """A conduit with a profile has its services read; a service class that no image names is not."""
    judge = judge_of()
    assert judge.inspector(0, abi.FIRST_SERVICE_CLASS) is Inspector.MODBUS
    assert judge.inspector(0, abi.SERVICE_NEIGHBOUR) is Inspector.NONE
    assert judge.inspector(0, 60000) is Inspector.NONE


def test_operations() -> None:
    """What the conduit does not name is refused; what asks for nothing never is, and OTHER always."""
    judge = judge_of(operations=frozenset({Operation.NONE, Operation.READ}))
    found = [reason(judge, access(operation)) for operation in Operation]
    refused = Reason.MESSAGE_OPERATION
    assert found == [Reason.NONE, Reason.NONE, *[refused] * 6]
    assert reason(judge_of(), access(Operation.OTHER)) is refused


def test_every_field_lies_in_a_range_of_its_own() -> None:
    """A range of addresses has to lie in one range of the clause; a missing field is no match unless partial."""
    judge = judge_of(clause(function=(3, 3), address=[(0, 9), (20, 29)]), clause(function=(4, 4)))
    read = Operation.READ
    assert reason(judge, access(read, function=3, address=(20, 29))) is Reason.NONE
    assert reason(judge, access(read, function=3, address=(5, 25))) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, access(read, function=3)) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, access(read, function=3) | {"partial": True}) is Reason.NONE
    assert reason(judge, access(read, function=3, address=10) | {"partial": True}) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, access(read, function=4, address=65535)) is Reason.NONE
    other = {"protocol": Protocol.S7COMM, "operation": read, "fields": {"function": 4}}
    assert reason(judge, other) is Reason.MESSAGE_CONSTRAINT


def test_the_first_reason_of_a_segment_stands() -> None:
    """All accesses are judged, and the first that is refused says why."""
    judge = judge_of(clause(address=(0, 9)), operations=frozenset({Operation.READ}))
    fine, wide, write = access(Operation.READ, address=1), access(Operation.READ, address=99), access(Operation.WRITE)
    assert reason(judge, fine, wide, write) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, fine, write, wide) is Reason.MESSAGE_OPERATION


def test_value_band() -> None:
    """A value outside of the only clause that fits otherwise is a matter of the process."""
    judge = judge_of(clause(address=(40, 41), value=(0, 1000)))
    assert reason(judge, access(Operation.WRITE, 0, 1000, function=16, address=(40, 41))) is Reason.NONE
    assert reason(judge, access(Operation.WRITE, 5, 1001, function=16, address=(40, 41))) is Reason.PROCESS_VALUE
    assert reason(judge, access(Operation.WRITE, 1001, function=6, address=42)) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, access(Operation.READ, function=3, address=40)) is Reason.MESSAGE_CONSTRAINT


def stepping() -> ProfileJudge:
    """Return a judge that lets register 40 be read, and moved by 50 at most."""
    write = clause(frozenset({Operation.WRITE}), address=(40, 40))._replace(step=50)
    return judge_of(clause(frozenset({Operation.READ})), write)


def written(value: int, address: int = 40) -> dict[str, Any]:
    """Return the write of one register."""
    return access(Operation.WRITE, value, function=6, unit=1, address=address)


def read(*values: int, address: int = 40) -> dict[str, Any]:
    """Return the answer to a reading of registers."""
    last = address + len(values) - 1
    return access(Operation.READ, *values, function=3, unit=1, address=(address, last)) | {"answer": True}


def test_step_from_what_was_read() -> None:
    """A value that nobody has seen can't be moved; one that was read can, as far as the step goes."""
    judge = stepping()
    assert reason(judge, written(500)) is Reason.PROCESS_STEP
    assert reason(judge, read(1, 2, 500, 3, address=38)) is Reason.NONE
    assert reason(judge, written(551)) is Reason.PROCESS_STEP
    assert reason(judge, written(449)) is Reason.PROCESS_STEP
    assert reason(judge, written(550)) is Reason.NONE
    assert reason(judge, written(600)) is Reason.NONE
    assert reason(judge, written(500)) is Reason.PROCESS_STEP


def test_a_refused_segment_moves_nothing() -> None:
    """What does not pass leaves no trace, also when its first part was permitted; where it passes it does."""
    judge = stepping()
    reason(judge, read(500))
    assert reason(judge, written(550), written(0, address=7)) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, written(600)) is Reason.PROCESS_STEP
    assert reason(judge, written(900), enforced=False) is Reason.PROCESS_STEP
    assert reason(judge, written(950)) is Reason.NONE


def test_several_messages_of_a_segment_follow_each_other() -> None:
    """The second write is compared with the first one before either has passed."""
    judge = stepping()
    reason(judge, read(500))
    assert reason(judge, written(550), written(600)) is Reason.NONE
    assert reason(judge, written(650), written(701)) is Reason.PROCESS_STEP


def test_places_are_apart() -> None:
    """Another device, another unit and another table of the same address are other places."""
    judge = stepping()
    reason(judge, read(500))
    elsewhere = bytes(15) + b"\x01"
    assert judge.judge(0, [written(500)], responder=elsewhere) is Reason.PROCESS_STEP
    assert judge.judge(0, [written(500)], responder=PLC, space=1) is Reason.PROCESS_STEP
    assert reason(judge, access(Operation.WRITE, 500, function=6, unit=2, address=40)) is Reason.PROCESS_STEP
    judge = stepping()
    inputs = read(500)
    inputs["fields"]["function"] = 4
    reason(judge, inputs)
    assert reason(judge, written(500)) is Reason.PROCESS_STEP


def test_more_guarded_values_than_are_held() -> None:
    """A segment that writes more guarded values than can be held back is refused; one that reads them is not."""
    many = clause(address=(0, 9999))._replace(step=5)
    judge = judge_of(clause(frozenset({Operation.READ})), many)
    answer = read(*[7] * 300, address=0)
    assert reason(judge, answer) is Reason.NONE
    assert reason(judge, access(Operation.WRITE, *[7] * 256, function=16, unit=1, address=(0, 255))) is Reason.NONE
    wide = access(Operation.WRITE, *[7] * 257, function=16, unit=1, address=(0, 256))
    assert reason(judge, wide) is Reason.MESSAGE_BUDGET


def test_rate() -> None:
    """A clause carries so many accesses and no more; what is refused for another reason uses nothing up."""
    ten = clause(frozenset({Operation.WRITE}), address=(40, 40))
    ten = ten._replace(rate_interval_ns=6 * SECOND, rate_burst_ns=12 * SECOND)
    judge = judge_of(ten)
    assert reason(judge, written(1), written(2), written(3)) is Reason.PROCESS_RATE
    assert reason(judge, written(1), written(2, address=9)) is Reason.MESSAGE_CONSTRAINT
    assert reason(judge, written(1)) is Reason.NONE
    assert reason(judge, written(1)) is Reason.NONE
    assert reason(judge, written(1)) is Reason.PROCESS_RATE
    assert reason(judge, written(1), now_ns=6 * SECOND) is Reason.PROCESS_RATE
    assert reason(judge, written(1), now_ns=7 * SECOND) is Reason.NONE


def test_rates_outlive_a_policy_swap() -> None:
    """The same clause goes on where it was, in whatever image and place it stands."""
    once = clause(address=(40, 40))._replace(rate_interval_ns=60 * SECOND, rate_burst_ns=60 * SECOND)
    judge = judge_of(once)
    assert reason(judge, written(1)) is Reason.NONE
    lowered = plain_lowered()
    judge.install(image_of(clause(address=(0, 5)), once, generation=2), build_state(lowered, 2, {}))
    assert reason(judge, written(1)) is Reason.PROCESS_RATE
    assert reason(judge, written(1, address=5)) is Reason.NONE


@pytest.mark.parametrize(
    ("section", "layout", "field", "value", "what"),
    [
        (Section.CONDUITS, abi.CONDUIT, "profile", 2, "conduit 0 names a profile out of range"),
        (Section.PROFILES, abi.PROFILE, "first_clause", 3, "its clauses are out of range"),
        (Section.PROFILES, abi.PROFILE, "clause_count", 3, "its clauses are out of range"),
        (Section.PROFILES, abi.PROFILE, "inspectors", 1 << 20, "no inspector"),
        (Section.PROFILES, abi.PROFILE, "operations", 1 << 7, "an operation that this engine does not know"),
        (Section.PROFILES, abi.PROFILE, "every", 0, "a message log"),
        (Section.PROFILES, abi.PROFILE, "refuse", 3, "a message log"),
        (Section.CLAUSES, abi.CLAUSE, "protocol", 99, "a clause of a protocol"),
        (Section.CLAUSES, abi.CLAUSE, "first_range", 3, "a clause's ranges are out of range"),
        (Section.CLAUSES, abi.CLAUSE, "range_count", 3, "a clause's ranges are out of range"),
        (Section.CLAUSES, abi.CLAUSE, "rate_interval_ns", 5, "contradict each other"),
        (Section.RANGES, abi.RANGE, "field", 12, "a field out of range"),
        (Section.RANGES, abi.RANGE, "field", 8, "not sorted"),
        (Section.RANGES, abi.RANGE, "low", 99, "runs backwards"),
        (Section.SERVICE_INSPECTORS, abi.Layout("u8", 1, of="B"), "of", 200, "read by an inspector"),
    ],
)
def test_refused_images(section: Section, layout: abi.Layout, field: str, value: int, what: str) -> None:
    """Whatever the engine would follow without asking is asked when the image is loaded."""
    image = bytearray(image_of(clause(address=[(0, 9), (20, 29)]), clause()))
    entry = abi.SECTION.unpack_from(image, abi.IMAGE_HEADER.size + section * abi.SECTION.size)
    fields = layout.unpack_from(image, entry["offset_bytes"]) | {field: value}
    layout.pack_into(image, entry["offset_bytes"], *fields.values())
    at = abi.IMAGE_HEADER.offsets["image_sha256"]
    image[at : at + 32] = abi.image_sha256(image)
    with pytest.raises(ValueError, match=what):
        validate_image(bytes(image))


def test_what_the_device_refuses_is_unknown() -> None:
    """After an exception the value has to be read again: what was asked for is not what is there."""
    judge = stepping()
    reason(judge, read(500))
    assert reason(judge, written(550)) is Reason.NONE
    fields = {"unit": 1, "function": 6, "exception": 4}
    refusal = access(Operation.WRITE, **fields) | {"answer": True, "recalled": {"address": 40}}
    assert reason(judge, refusal) is Reason.NONE
    assert reason(judge, written(550)) is Reason.PROCESS_STEP
    reason(judge, read(500))
    assert reason(judge, written(550)) is Reason.NONE


def test_addresses_that_the_request_named_are_enough() -> None:
    """A Modbus answer has values and no address: what its request asked for says where they are."""
    judge = stepping()
    answer = read(500)
    del answer["fields"]["address"]
    assert reason(judge, answer | {"recalled": {"address": 40}}) is Reason.NONE
    assert reason(judge, written(550)) is Reason.NONE


def test_steps_of_s7_values() -> None:
    """The very same bytes of a DB; the same bytes by another width, or of another DB, are unknown."""
    names = abi.FIELD_NAMES[Protocol.S7COMM]
    word = tuple(RangeRecord(names.index(name), low, high) for name, low, high in (("db", 5, 6), ("address", 10, 11)))
    judge = judge_of(ClauseRecord(Protocol.S7COMM, NAMED, word, step=50))

    def s7(operation: Operation, value: int, width: int = 2, db: int = 5) -> dict[str, Any]:
        place = {"area": 0x84, "db": db, "address": (10, 9 + width)}
        data = value.to_bytes(width, "big")
        return {
            "protocol": Protocol.S7COMM,
            "operation": operation,
            "fields": place | {"value": value},
            "values": data,
            "value_bytes": width,
        }

    assert reason(judge, s7(Operation.WRITE, 500)) is Reason.PROCESS_STEP
    assert reason(judge, s7(Operation.READ, 500) | {"answer": True}) is Reason.NONE
    assert reason(judge, s7(Operation.WRITE, 551)) is Reason.PROCESS_STEP
    assert reason(judge, s7(Operation.WRITE, 550)) is Reason.NONE
    assert reason(judge, s7(Operation.WRITE, 2, width=1)) is Reason.PROCESS_STEP
    assert reason(judge, s7(Operation.WRITE, 550, db=6)) is Reason.PROCESS_STEP
