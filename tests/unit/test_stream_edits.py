"""Requests that go on changed: which byte of which segment, and for how long it stays so."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fastpath import abi
from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Conversations, Judged
from tests.support.tcp_model import ACK, FIN, SYN

READ: Final = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
WRITE: Final = bytes.fromhex("0002 0000 0006 01 06 0004 1234")
FUNCTION: Final = 7
CHANGED_REFUSED: Final = bytes.fromhex("0002 0000 0003 01 80 01")
CLIENT, SERVER = 1000, 0xFFFFFFF0


class Talk:
    """A conversation that has just been opened, where only reading is permitted."""

    def __init__(self, **terms: Any) -> None:
        self.held = Conversations(
            Inspector.MODBUS,
            operations=[Operation.READ],
            memory=bytearray(abi.streams_table_bytes(4, 2)),
            flows=bytearray(8 * abi.FLOW.size),
            streams=4,
            windows=2,
            answers=True,
            **terms,
        )
        self.held.segment(0, True, CLIENT - 1, 0, SYN, b"")
        self.held.segment(0, False, SERVER - 1, CLIENT, SYN | ACK, b"")

    def ask(self, data: bytes, at: int = 0, got: int = 0, **terms: Any) -> Judged:
        """Have the client send at a place, having got so much."""
        return self.held.segment(0, True, CLIENT + at, (SERVER + got) & 0xFFFFFFFF, ACK, data, **terms)

    def answer(self, data: bytes, at: int = 0, got: int = 0, **terms: Any) -> Judged:
        """Have the server send at a place, having got so much."""
        return self.held.segment(0, False, (SERVER + at) & 0xFFFFFFFF, CLIENT + got, ACK, data, **terms)


@pytest.fixture
def talk() -> Talk:
    """Return a conversation."""
    return Talk()


def test_a_forbidden_request_goes_on_without_its_function(talk: Talk) -> None:
    """The verdict is a drop, and one byte makes the device refuse it."""
    judged = talk.ask(WRITE)
    assert (judged.reason, judged.passes, judged.edits) == (Reason.MESSAGE_OPERATION, True, [(FUNCTION, 0)])


def test_permitted_messages_of_the_segment_pass_unharmed(talk: Talk) -> None:
    """Each forbidden one is changed in its place."""
    judged = talk.ask(READ + WRITE + READ + WRITE)
    assert judged.passes
    assert judged.edits == [(12 + FUNCTION, 0), (36 + FUNCTION, 0)]
    assert judged.message == 12


def test_a_repetition_is_changed_again_until_it_is_acknowledged(talk: Talk) -> None:
    """Whole, in part, with more behind it; and only with the bytes that were sent."""
    talk.ask(WRITE)
    again = talk.ask(WRITE)
    assert (again.reason, again.passes, again.edits) == (Reason.NONE, True, [(FUNCTION, 0)])
    assert talk.ask(WRITE[5:9], at=5).edits == [(2, 0)]
    assert talk.ask(WRITE[:7]).edits == []
    assert talk.ask(WRITE[7:8], at=7).edits == [(0, 0)]
    assert talk.ask(WRITE + READ).edits == [(FUNCTION, 0)]
    talk.answer(b"", got=7)
    assert talk.ask(WRITE).edits == [(FUNCTION, 0)]
    talk.answer(b"", got=8)
    assert talk.ask(WRITE).edits == []


def test_what_the_device_got_is_no_repetition(talk: Talk) -> None:
    """The changed byte, sent by the client itself, conflicts with what it sent before."""
    talk.ask(WRITE)
    changed = WRITE[:FUNCTION] + b"\0" + WRITE[FUNCTION + 1 :]
    assert talk.ask(changed).reason is Reason.STREAM_CONFLICT


def test_a_repetition_that_cant_be_changed_is_dropped(talk: Talk) -> None:
    """Its sender repeats it once more; the conversation goes on."""
    talk.ask(WRITE)
    judged = talk.ask(WRITE, changeable=False)
    assert (judged.reason, judged.passes) == (Reason.STREAM_BUDGET, False)
    assert talk.ask(WRITE).passes


def test_the_answer_is_mended_also_when_it_is_repeated(talk: Talk) -> None:
    """The client gets the exception of the function that it asked for."""
    talk.ask(WRITE)
    first = talk.answer(CHANGED_REFUSED, got=12)
    assert (first.reason, first.edits) == (Reason.NONE, [(FUNCTION, 0x86)])
    assert first.accesses[0]["fields"]["function"] == 6
    assert talk.answer(CHANGED_REFUSED, got=12).edits == [(FUNCTION, 0x86)]
    talk.ask(b"", at=12, got=9)
    assert talk.answer(CHANGED_REFUSED, got=12).edits == []


def test_an_answer_in_parts_is_mended(talk: Talk) -> None:
    """Its function may pass before its end is here."""
    talk.ask(WRITE)
    assert talk.answer(CHANGED_REFUSED[:8], got=12).edits == [(FUNCTION, 0x86)]
    last = talk.answer(CHANGED_REFUSED[8:], at=8, got=12)
    assert (last.reason, last.edits) == (Reason.NONE, [])


def test_a_carried_out_answer_to_a_changed_request_is_none(talk: Talk) -> None:
    """No device can answer a write that it never got."""
    talk.ask(WRITE)
    assert talk.answer(WRITE, got=12).reason is Reason.MESSAGE_ANSWER


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_request_in_parts_is_changed_only_where_its_function_has_not_passed(cut: int) -> None:
    """Else the conversation is refused."""
    talk = Talk()
    first = talk.ask(WRITE[:cut])
    if cut <= FUNCTION:
        assert first.reason is Reason.NONE
        last = talk.ask(WRITE[cut:], at=cut)
        assert (last.reason, last.edits) == (Reason.MESSAGE_OPERATION, [(FUNCTION - cut, 0)])
    else:
        assert (first.reason, first.passes) == (Reason.MESSAGE_OPERATION, False)
        assert talk.ask(READ).reason is Reason.STREAM_REFUSED


def test_more_changes_than_can_be_remembered_are_a_refusal(talk: Talk) -> None:
    """Nothing of that segment passes, and nothing after it."""
    judged = talk.ask(WRITE * (abi.WAY_EDITS + 1))
    assert (judged.reason, judged.passes) == (Reason.MESSAGE_OPERATION, False)
    assert talk.ask(READ).reason is Reason.STREAM_REFUSED


@pytest.mark.parametrize("bad", [bytes.fromhex("0002 0001 0006"), bytes.fromhex("0002 0000 0005 01 03 0000 00")])
def test_a_segment_with_what_is_no_message_does_not_pass(talk: Talk, bad: bytes) -> None:
    """A change is made only where all the rest of the segment is in order."""
    judged = talk.ask(WRITE + bad)
    assert not judged.passes
    assert talk.ask(READ).reason is Reason.STREAM_REFUSED


def test_a_request_with_its_senders_end_goes_on(talk: Talk) -> None:
    """The FIN stands where it stood."""
    judged = talk.held.segment(0, True, CLIENT, SERVER, ACK | FIN, WRITE)
    assert judged.edits == [(FUNCTION, 0)]
    assert talk.answer(CHANGED_REFUSED, got=13).edits == [(FUNCTION, 0x86)]


def test_rtu_frames_are_not_changed() -> None:
    """Their check sum covers the function."""
    held = Conversations(
        Inspector.MODBUS_RTU,
        operations=[Operation.READ],
        memory=bytearray(abi.streams_table_bytes(4, 2)),
        flows=bytearray(8 * abi.FLOW.size),
        streams=4,
        windows=2,
        answers=True,
    )
    held.segment(0, False, SERVER - 1, CLIENT, SYN | ACK, b"")
    judged = held.segment(0, True, CLIENT, SERVER, ACK, bytes.fromhex("01 06 0004 1234 C57C"))
    assert not judged.passes
