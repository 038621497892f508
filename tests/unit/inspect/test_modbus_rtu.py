"""RTU frames in a TCP stream: lengths by function and direction, the CRC, and what cannot be told."""

from __future__ import annotations

import pytest

from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Dissection
from tests.fuzz.grammar_modbus import crc, rtu
from tests.unit.inspect.test_modbus import EXAMPLES


def test_the_crc_of_a_known_frame() -> None:
    """The frame of every tutorial: unit 1 reads ten holding registers from 0."""
    assert crc(bytes.fromhex("01030000000a")) == bytes.fromhex("c5cd")
    reason, (found,) = Dissection(Inspector.MODBUS_RTU).read(bytes.fromhex("01030000000ac5cd"), True)
    assert reason is Reason.NONE
    assert found["fields"] == {"unit": 1, "function": 3, "address": (0, 9), "count": 10}


@pytest.mark.parametrize(("request_", "answer", "operation", "fields"), EXAMPLES, ids=[one[0] for one in EXAMPLES])
def test_lengths_follow_from_the_frames(request_: str, answer: str, operation: Operation, fields: object) -> None:
    """Two frames of each function behind one another are told apart, in both directions."""
    dissection = Dissection(Inspector.MODBUS_RTU)
    for pdu, from_opener in ((request_, True), (answer, False)):
        frame = rtu(bytes.fromhex(pdu))
        found, left = dissection.messages(frame + frame, from_opener)
        assert [(length, reason) for _, length, reason, _ in found] == [(len(frame), Reason.NONE)] * 2
        assert left == b""
        assert found[0][3][0]["operation"] is operation


def test_a_wrong_crc_is_refused() -> None:
    """Every bit of a frame counts."""
    frame = rtu(bytes.fromhex("100001000204000a0102"))
    for bit in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        found, left = Dissection(Inspector.MODBUS_RTU).messages(bytes(changed), True)
        assert left or found[0][2] is not Reason.NONE, f"bit {bit}"


@pytest.mark.parametrize("pdu", [b"\x5a\0\1", b"\x41", b"\x09\0", b"\x2b\x0d\0"])
def test_functions_without_a_length_are_opaque(pdu: bytes) -> None:
    """Where no clause says how long a frame is, nobody can tell where the next one begins."""
    assert Dissection(Inspector.MODBUS_RTU).measure(rtu(pdu), True)[0] is Reason.MESSAGE_OPAQUE


def test_a_longer_echo_is_refused() -> None:
    """A diagnostic echo of four bytes cannot be told from one of two and something behind it."""
    found, _ = Dissection(Inspector.MODBUS_RTU).messages(rtu(bytes.fromhex("08000001020304")), True)
    assert found[0][2] is Reason.MESSAGE_MALFORMED


def test_answers_come_in_the_order_of_the_requests() -> None:
    """Two reads of the same shape wait: the first answer is the first one's."""
    dissection = Dissection(Inspector.MODBUS_RTU)
    for address in ("0001", "0005"):
        dissection.read(rtu(bytes.fromhex(f"03{address}0001")), True)
    answers = [dissection.read(rtu(bytes.fromhex("03020000")), False) for _ in range(3)]
    assert [found[0]["recalled"].get("address") for _, found in answers] == [1, 5, None]
    assert answers[2][0] is Reason.MESSAGE_ANSWER
