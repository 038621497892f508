"""S7comm requests as the data path reads them, beside the slow twin: whole, split, cut short, and broken."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Dissection
from tests.support import s7_messages as s7
from tests.support.twin_s7comm import read_request

BYTE = st.integers(0, 255)
WORD = st.integers(0, 65535)
SIZE = st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 28, 29, 30, 13, 19))
AREA = st.sampled_from((0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 28, 29, 30, 31, 3, 6))
COUNT = st.integers(0, 12)
POINTERS = st.builds(s7.pointer, SIZE, COUNT, WORD, AREA, st.integers(0, 0xFFFFFF))
PIECES = st.lists(st.binary(min_size=5, max_size=5), max_size=4)
DB_READS = PIECES.map(lambda pieces: bytes((0x12, 2 + 5 * len(pieces), 0xB0, len(pieces))) + b"".join(pieces))
OTHERS = st.builds(
    lambda syntax, rest: bytes((0x12, 1 + len(rest), syntax)) + rest,
    st.sampled_from((0x82, 0x83, 0x84, 0xA2, 0xB2, 0x13, 0x10)),
    st.binary(max_size=11),
)
NAMES = st.sampled_from(
    (b"P_PROGRAM", b"_INSE", b"_INS2", b"_DELE", b"_MODU", b"_GARB", b"_N_LOGIN_", b"_N_LOGOUT", b"_N_F_COPY", b"_X")
)
BLOCKS = st.builds(s7.block_name, st.sampled_from(("08", "0A", "0C", "0E", "zz")), st.integers(0, 99999))


@st.composite
def items(draw: st.DrawFn) -> bytes:
    """Return items of a read, mostly padded as they must be."""
    some = draw(st.lists(POINTERS | DB_READS | OTHERS, min_size=1, max_size=5))
    return bytes((len(some),)) + b"".join(
        one + (b"\x00" if len(one) % 2 and at + 1 < len(some) else b"") for at, one in enumerate(some)
    )


@st.composite
def writes(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return parameters and data of a write, mostly in agreement."""
    some = draw(st.lists(st.tuples(SIZE, st.integers(1, 6), AREA, st.integers(0, 4000)), min_size=1, max_size=4))
    parameters, data = b"", b""
    for at, (size, count, area, start) in enumerate(some):
        number = 1 if size == 1 else count
        width = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 9: 2, 12: 2, 28: 2, 29: 2, 15: 8}.get(size, 4)
        value = draw(st.binary(min_size=number * width, max_size=number * width))
        kind = 3 if size == 1 else draw(st.sampled_from((4, 4, 4, 5, 9, 7)))
        parameters += s7.pointer(size, number, 1, area, start)
        data += s7.written(kind, value, last=at + 1 == len(some))
    return bytes((5, len(some))) + parameters, data


@st.composite
def blocks_service(draw: st.DrawFn) -> bytes:
    """Return a PI service, with blocks where it takes some."""
    name = draw(NAMES)
    if name in {b"_INSE", b"_INS2", b"_DELE"}:
        blocks = draw(st.lists(BLOCKS, min_size=1, max_size=3))
        return s7.service(name, bytes((len(blocks), 0)) + b"".join(block[2:] for block in blocks))
    return s7.service(name, draw(st.sampled_from((b"", b"C ", b"EP", b"xP_PROGRAM"))))


JOBS = st.one_of(
    items().map(lambda rest: s7.pdu(1, b"\x04" + rest)),
    writes().map(lambda pair: s7.pdu(1, *pair)),
    blocks_service().map(lambda parameters: s7.pdu(1, parameters)),
    st.builds(lambda kind, name: s7.pdu(1, bytes((kind,)) + bytes(7) + name), st.integers(0x1A, 0x1D), BLOCKS),
    st.builds(lambda kind: s7.pdu(1, bytes((kind,)) + bytes(7)), st.integers(0x1A, 0x1F)),
    st.just(s7.pdu(1, bytes.fromhex("29000000000009505f50524f4752414d"))),
    st.just(s7.pdu(1, s7.SETUP)),
    st.builds(lambda kind, rest: s7.pdu(1, bytes((kind,)) + rest), BYTE, st.binary(max_size=6)),
)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda kind, number: f"{kind:02X}{number:05d}A".encode(), BYTE, st.integers(0, 99999)),
    st.sampled_from((b"0A", b"08", b"xx", bytes.fromhex("0014000200000000000100000000000100010001000100001303"))),
    items().map(lambda rest: b"\x00" + rest[:1] + b"\x01\x05" + rest[1:]),
)
USERDATA = st.builds(
    lambda kind, group, subfunction, content, form: s7.userdata(kind, group, subfunction, content, form=form)[7:],
    st.sampled_from((4, 4, 4, 0, 8, 7)),
    st.integers(0, 15),
    st.integers(0, 24),
    CONTENTS,
    st.sampled_from((8, 12)),
)
REQUESTS = JOBS | USERDATA


def said(user: bytes, **how: Any) -> tuple[Reason, list[tuple[Operation, dict[str, Any]]]]:
    """Read one data unit of the opener in a conversation of its own."""
    message = s7.data(user, **how)
    dissection = Dissection(Inspector.S7COMM)
    assert dissection.measure(message, True) == (Reason.NONE, len(message))
    reason, found = dissection.read(message, True)
    assert [one["further"] for one in found] == [at > 0 for at in range(len(found))]
    assert not any(one["partial"] or one["answer"] for one in found)
    return reason, [(one["operation"], one["fields"]) for one in found]


def agree(user: bytes) -> None:
    """Compare with the twin: the same accesses, or both refuse."""
    reason, found = said(user)
    expected = read_request(user)
    if expected is None:
        assert reason is Reason.MESSAGE_MALFORMED
    else:
        assert (reason, found) == (Reason.NONE, expected)


@given(REQUESTS)
@settings(max_examples=400, deadline=None)
def test_a_request_means_what_the_twin_says(user: bytes) -> None:
    """Well-formed requests, and those that the grammar gets wrong, are read alike."""
    agree(user)


@given(REQUESTS, st.lists(st.tuples(st.integers(1, 200), BYTE), min_size=1, max_size=4), st.integers(0, 3))
@settings(max_examples=400, deadline=None)
def test_a_broken_request_is_read_as_the_twin_reads_it(user: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """Changed bytes and missing ends: the same accesses or the same refusal."""
    broken = bytearray(user)
    for place, value in changes:
        if place < len(broken):
            broken[place] = value
    if broken[1] in {2, 3}:
        return  # what the opener acknowledges depends on the conversation
    agree(bytes(broken[: len(broken) - cut]))


@given(REQUESTS, st.lists(st.integers(0, 120), max_size=6))
@settings(max_examples=200, deadline=None)
def test_splitting_a_data_unit_changes_nothing(user: bytes, cuts: list[int]) -> None:
    """The same accesses however COTP splits the message, empty fragments included."""
    assert said(user, cuts=tuple(cuts)) == said(user)


@given(REQUESTS, st.integers(7, 200))
@settings(max_examples=400, deadline=None)
def test_the_beginning_of_a_message_says_only_what_stays_true(user: bytes, here: int) -> None:
    """A partial reading has no field or operation that the whole message contradicts, and changes no memory."""
    message = s7.data(user)
    here = min(here, len(message) - 1)
    dissection = Dissection(Inspector.S7COMM)
    partial_reason, found = dissection.read(message[:here], True, len(message))
    reason, whole = dissection.read(message, True)
    assert (reason, whole) == Dissection(Inspector.S7COMM).read(message, True)
    if reason is Reason.NONE:
        assert partial_reason is Reason.NONE
        for early, late in zip(found, whole, strict=False):
            assert early["partial"]
            # A read stays a read, of something that may turn out not to be understood.
            assert early["operation"] in {Operation.NONE, late["operation"]} or late["operation"] is Operation.OTHER
            assert early["fields"].items() <= late["fields"].items()
        assert len(found) <= len(whole)
