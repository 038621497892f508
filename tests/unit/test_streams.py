"""Streams: what a segment may carry, place by place, when its conversation is inspected."""

from __future__ import annotations

import pytest

from fastpath.abi import Reason
from tests.support.stream_wire import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Wire,
    poll,
    read_answer,
    read_request,
    write_request,
)


def test_dialog_across_the_wrap(wire: Wire) -> None:
    """Requests and answers pass while sequence numbers wrap."""
    at, answered = 1, 1
    for _ in range(200):
        at, answered = poll(wire, at, answered)


def test_every_split_of_a_request(wire: Wire) -> None:
    """A request in two segments passes; a forbidden one is stopped at the latest by the segment that completes it."""
    at, answered = 1, 1
    for cut in range(1, len(read_request())):
        assert wire.client(at, read_request()[:cut], acknowledged=answered).reason is Reason.NONE
        assert wire.client(at + cut, read_request()[cut:], acknowledged=answered).reason is Reason.NONE
        at += len(read_request())
        assert wire.server(answered, read_answer(), acknowledged=at).reason is Reason.NONE
        answered += len(read_answer())
    for cut in range(1, len(write_request())):
        stopped = Wire()
        stopped.shake_hands()
        first = stopped.client(1, write_request()[:cut])
        assert first.reason in {Reason.NONE, Reason.MESSAGE_OPERATION}
        second = stopped.client(1 + cut, write_request()[cut:])
        assert second.reason is (Reason.MESSAGE_OPERATION if first.reason is Reason.NONE else Reason.STREAM_REFUSED)


def test_forbidden_in_single_bytes(wire: Wire) -> None:
    """One byte at a time: refused as soon as the function is there, and nothing passes from then on."""
    reasons = [wire.client(1 + i, bytes([byte])).reason for i, byte in enumerate(write_request())]
    refused = reasons.index(Reason.MESSAGE_OPERATION)
    assert refused < len(write_request()) - 1
    assert set(reasons[:refused]) == {Reason.NONE}
    assert reasons[refused + 1] is Reason.STREAM_REFUSED


def test_the_worst_of_several_decides(wire: Wire) -> None:
    """Permitted messages before and behind a forbidden one do not save the segment; the finding says where it is."""
    judged = wire.client(1, read_request(1) + write_request(2) + read_request(3))
    assert judged.reason is Reason.MESSAGE_OPERATION
    assert (judged.message, judged.message_bytes) == (len(read_request()), len(write_request()))


def test_refused_until_the_next_handshake(wire: Wire) -> None:
    """A refused conversation carries no data; it can still be let go, and begun anew on the same ports."""
    assert wire.client(1, write_request()).reason is Reason.MESSAGE_OPERATION
    assert wire.client(1, read_request()).reason is Reason.STREAM_REFUSED
    assert wire.server(1, read_answer()).reason is Reason.STREAM_REFUSED
    assert wire.client(1, flags=RST).reason is Reason.NONE
    assert wire.client(5000, flags=SYN).reason is Reason.NONE
    assert wire.client(1, read_request()).reason is Reason.STREAM_REFUSED  # nobody has accepted it yet
    assert wire.server(7000, flags=SYN | ACK, acknowledged=5001).reason is Reason.NONE
    assert wire.client(5001, read_request(), acknowledged=7001).reason is Reason.NONE


def test_silent_refusal_leaves_the_conversation() -> None:
    """Without `shuts` only the segment is dropped, and other bytes may take its place."""
    wire = Wire(shuts=False)
    wire.shake_hands()
    assert wire.client(1, write_request()).reason is Reason.MESSAGE_OPERATION
    assert wire.client(1, read_request()).reason is Reason.NONE


@pytest.mark.parametrize("waiting", [0, 1, 31, 32])
def test_a_dropped_segment_asks_nothing(waiting: int) -> None:
    """What waited for its answer before waits again, and nothing of the segment does, however much there was."""
    wire = Wire(shuts=False)
    wire.shake_hands()
    asked = b"".join(read_request(number) for number in range(waiting))
    assert wire.client(1, asked).reason is Reason.NONE
    assert wire.client(1 + len(asked), read_request(99) + write_request(100)).reason is Reason.MESSAGE_OPERATION
    assert wire.server(1, read_answer(99)).reason is Reason.MESSAGE_ANSWER
    answers = b"".join(read_answer(number) for number in range(waiting))
    assert wire.server(1, answers).reason is Reason.NONE
    assert wire.server(1 + len(answers), read_answer(0)).reason is Reason.MESSAGE_ANSWER


@pytest.mark.parametrize("acknowledged", [False, True])
def test_retransmissions(wire: Wire, acknowledged: bool) -> None:
    """The same bytes pass again; other bytes only where the other end has said that it has the first ones."""
    wire.client(1, read_request())
    end = 1 + len(read_request())
    if acknowledged:
        wire.server(1, acknowledged=end)
    assert wire.client(1, read_request()).reason is Reason.NONE
    assert wire.client(3, read_request()[2:9]).reason is Reason.NONE
    changed = bytearray(read_request())
    changed[7] = 6
    expected = Reason.NONE if acknowledged else Reason.STREAM_CONFLICT
    assert wire.client(1, bytes(changed)).reason is expected


def test_retransmission_that_extends(wire: Wire) -> None:
    """What is new of a segment that also repeats is judged."""
    wire.client(1, read_request(1)[:5])
    assert wire.client(1, read_request(1) + read_request(2)).reason is Reason.NONE
    assert wire.client(1 + len(read_request()), read_request(2) + write_request(3)).reason is Reason.MESSAGE_OPERATION


def test_changed_bytes_of_a_partial_message(wire: Wire) -> None:
    """The first half can't be exchanged for another one while the second is under way."""
    wire.client(1, read_request()[:9])
    other = bytearray(read_request()[:9])
    other[6] = 9
    assert wire.client(1, bytes(other)).reason is Reason.STREAM_CONFLICT


def test_ahead_is_dropped_until_its_predecessor_came(wire: Wire) -> None:
    """Order is kept: what comes too early is dropped, and passes when it is repeated."""
    assert wire.client(13, read_request(2)).reason is Reason.STREAM_AHEAD
    assert wire.client(1, read_request(1)).reason is Reason.NONE
    assert wire.client(13, read_request(2)).reason is Reason.NONE
    assert wire.client(40, flags=FIN | ACK).reason is Reason.STREAM_AHEAD


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        ((1, b"x", URG | ACK), Reason.STREAM_URGENT),
        ((1, b"x", SYN), Reason.STREAM_OPENING_DATA),
        ((1, b"", SYN | ACK), Reason.STREAM_SEQUENCE),
        ((1, b"x", RST), Reason.STREAM_SEQUENCE),
        ((1, b"x", PSH), Reason.STREAM_SEQUENCE),
        ((1 << 30, b"x", ACK), Reason.STREAM_SEQUENCE),
        ((1 << 30, b"", RST), Reason.STREAM_SEQUENCE),
        ((-(1 << 30), b"x", ACK), Reason.STREAM_SEQUENCE),
        ((1 << 30, b"", ACK), Reason.STREAM_SEQUENCE),
    ],
)
def test_segments_that_are_refused(wire: Wire, segment: tuple[int, bytes, int], reason: Reason) -> None:
    """What no client needs is refused."""
    assert wire.client(*segment).reason is reason


def test_urgent_data_elsewhere_end_nothing(wire: Wire) -> None:
    """Else one frame with the right addresses and ports would have both ends reset, whatever its numbers."""
    at, answered = poll(wire, 1, 1)
    for place in (at - 1, at + 1, at + (1 << 30)):
        assert wire.client(place, b"x", URG | ACK, acknowledged=answered).reason is Reason.STREAM_SEQUENCE
        assert wire.server(answered + place - at, b"x", URG | ACK, acknowledged=at).reason is Reason.STREAM_SEQUENCE
    poll(wire, at, answered)


def test_resets_make_nobody_forget(wire: Wire) -> None:
    """Whatever a reset says, the bytes that have passed stay what they were."""
    wire.client(1, read_request()[:6])
    for at in (1, 3, 7, 500):
        assert wire.client(at, flags=RST).reason is Reason.NONE
    assert wire.client(1, b"other!").reason is Reason.STREAM_CONFLICT


def test_keep_alive(wire: Wire) -> None:
    """A probe carries nothing or one byte of any value, before what is acknowledged."""
    at, answered = poll(wire, 1, 1)
    assert wire.client(at - 1, acknowledged=answered).reason is Reason.NONE
    assert wire.client(at - 1, b"\xff", acknowledged=answered).reason is Reason.NONE
    assert wire.server(answered, acknowledged=at).reason is Reason.NONE
    poll(wire, at, answered)


def test_zero_window_probe(wire: Wire) -> None:
    """The byte behind a closed window passes, and again when the window opens."""
    assert wire.client(1, read_request()[:1]).reason is Reason.NONE
    assert wire.server(1, acknowledged=1).reason is Reason.NONE
    assert wire.client(1, read_request()).reason is Reason.NONE


def test_end_of_the_stream(wire: Wire) -> None:
    """A FIN comes with or behind data; nothing may stand where it stood."""
    end = 1 + len(read_request())
    assert wire.client(1, read_request(), FIN | ACK).reason is Reason.NONE
    assert wire.client(1, read_request(), FIN | ACK).reason is Reason.NONE
    assert wire.server(1, read_answer(), FIN | ACK, acknowledged=end + 1).reason is Reason.NONE
    assert wire.client(end + 1, acknowledged=2 + len(read_answer())).reason is Reason.NONE
    assert wire.client(end, read_request()).reason is Reason.STREAM_CONFLICT
