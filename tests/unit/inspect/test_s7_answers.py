"""Which S7comm answer belongs to which job, what it tells of the places that were read, and what is forgotten."""

from __future__ import annotations

from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Dissection
from tests.support import s7_messages as s7
from tests.support.s7_conversation import fresh

READ_DB1 = s7.read_items(s7.pointer(2, 4, 1, 0x84, 0))
NONE, MALFORMED, ANSWER = Reason.NONE, Reason.MESSAGE_MALFORMED, Reason.MESSAGE_ANSWER


def test_answers_belong_to_their_jobs() -> None:
    """By reference, function and number of items; once each."""
    dissection = fresh()
    good = s7.acknowledge(b"\x04\x01", s7.written(4, bytes(4)), reference=9)
    assert dissection.read(good, False)[0] is ANSWER
    assert dissection.read(s7.job(READ_DB1, reference=9), True)[0] is NONE
    for wrong in (
        s7.acknowledge(b"\x04\x01", s7.written(4, bytes(4)), reference=8),
        s7.acknowledge(b"\x05\x01", b"\xff", reference=9),
        s7.acknowledge(b"\x04\x02", s7.written(4, bytes(4)) * 2, reference=9),
    ):
        assert dissection.read(wrong, False)[0] is ANSWER
    reason, (access,) = dissection.read(good, False)
    assert (reason, access["operation"], access["answer"]) == (NONE, Operation.READ, True)
    assert dissection.read(good, False)[0] is ANSWER


def test_what_is_read_is_told_with_its_place() -> None:
    """Values of one, two or four bytes, each where its item lies; what failed, bits and longer reads bring none."""
    items = (
        s7.pointer(4, 1, 7, 0x84, 160),
        s7.pointer(1, 1, 7, 0x84, 8),
        s7.pointer(2, 3, 7, 0x84, 0),
        s7.pointer(2, 1, 0, 0x83, 40),
        s7.pointer(6, 1, 8, 0x84, 0),
    )
    results = b"".join(
        (
            bytes.fromhex("ff040010 03e8"),
            bytes.fromhex("ff030001 01 00"),
            bytes.fromhex("ff040018 010203 00"),
            bytes.fromhex("ff040008 2a 00"),
            bytes.fromhex("0a000000"),
        )
    )
    dissection = fresh()
    dissection.read(s7.job(s7.read_items(*items)), True)
    reason, found = dissection.read(s7.acknowledge(b"\x04\x05", results), False)
    assert reason is NONE
    assert [(one["recalled"], one["values"], one["further"]) for one in found] == [
        ({"area": 0x84, "db": 7, "address": 20}, [b"\x03\xe8"], False),
        ({"area": 0x83, "address": 5}, [b"\x2a"], True),
    ]
    assert all(one["operation"] is Operation.READ and one["answer"] for one in found)


def test_places_are_forgotten_in_time() -> None:
    """Of reads that ask for more variables than are remembered the oldest answers bring no values."""
    dissection = fresh()
    for reference in range(3):
        dissection.read(s7.job(s7.read_items(*[s7.pointer(4, 1, 1, 0x84, 0)] * 12), reference=reference), True)
    values = [
        dissection.read(s7.acknowledge(b"\x04\x0c", bytes.fromhex("ff0400100001") * 12, reference=reference), False)[1]
        for reference in range(3)
    ]
    assert [[one["values"] is not None for one in found] for found in values] == [[False], [True] * 12, [True] * 12]


def ask_for_bytes(dissection: Dissection, start: int, reference: int) -> None:
    """Have the opener read one word of DB1."""
    item = s7.pointer(4, 1, 1, 0x84, 8 * start)
    assert dissection.read(s7.job(s7.read_items(item), reference=reference), True)[0] is NONE


def brings_values(dissection: Dissection, reference: int) -> bool:
    """Have the CPU answer it."""
    reason, found = dissection.read(
        s7.acknowledge(b"\x04\x01", bytes.fromhex("ff0400100001"), reference=reference), False
    )
    assert reason is NONE
    return found[0]["values"] is not None


def test_answers_that_no_reference_tells_apart_bring_no_values() -> None:
    """Whoever gives two reads one reference would choose what is known of a place; later ones bring them again."""
    dissection = fresh()
    ask_for_bytes(dissection, 20, 1)
    ask_for_bytes(dissection, 40, 1)
    assert not brings_values(dissection, 1)
    assert not brings_values(dissection, 1)
    ask_for_bytes(dissection, 40, 1)
    assert brings_values(dissection, 1)


def test_answers_to_jobs_that_were_forgotten_bring_no_values() -> None:
    """More jobs than can wait: whose reference a forgotten one had gets its answer first."""
    dissection = fresh()
    for reference in [1, *range(2, 18)]:
        ask_for_bytes(dissection, 20, reference)
    ask_for_bytes(dissection, 40, 1)
    assert not brings_values(dissection, 1)
    assert brings_values(dissection, 17)


def test_a_conversation_taken_up_in_the_middle_forgives_answers() -> None:
    """What was asked before is not known: 16 answers are forgiven; a CPU's own jobs stay refused."""
    dissection = Dissection(Inspector.S7COMM, taken_up=True)
    assert dissection.read(s7.acknowledge(b"\x04\x01", s7.written(4, bytes(4))), False)[0] is NONE
    assert dissection.read(s7.userdata(8, 4, 1, bytes(8), form=12), False)[0] is NONE
    assert dissection.read(s7.job(READ_DB1), False)[0] is ANSWER
    strays = [dissection.read(s7.acknowledge(b"\x05\x01", b"\xff"), False)[0] for _ in range(15)]
    assert strays == [*[NONE] * 14, ANSWER]


def test_as_many_jobs_wait_as_are_remembered() -> None:
    """The 17th makes the oldest forgotten, the others get their answers."""
    dissection = fresh()
    for reference in range(17):
        assert dissection.read(s7.job(READ_DB1, reference=reference), True)[0] is NONE
    reasons = [
        dissection.read(s7.acknowledge(b"\x04\x01", s7.written(4, bytes(4)), reference=reference), False)[0]
        for reference in range(17)
    ]
    assert reasons == [ANSWER, *[NONE] * 16]


def test_a_refused_job_is_answered_with_an_error() -> None:
    """An acknowledgement without data, of whatever kind, says why; its code is a field."""
    for rosctr in (2, 3):
        dissection = fresh()
        dissection.read(s7.userdata(4, 1, 2, bytes(8)), True)
        reason, (access,) = dissection.read(s7.data(s7.pdu(rosctr, b"", reference=1, error=0x8104)), False)
        assert (reason, access["fields"]["error"]) == (NONE, 0x8104)
        assert access["operation"] is Operation.DIAGNOSE
