"""Streams whose beginning, or part, nobody saw; and the ends of their memory."""

from __future__ import annotations

import pytest

from fastpath import abi
from fastpath.abi import FailMode, Reason
from tests.support.stream_wire import (
    ACK,
    CLIENT,
    FIN,
    SERVER,
    STREAMS,
    SYN,
    Wire,
    poll,
    read_answer,
    read_request,
    write_request,
)

MOST_STRAYS = 32  # for each time that a part of the conversation was not seen


def test_mid_stream_is_refused_where_enforced() -> None:
    """Nobody completes half a message that was sent before the gateway looked."""
    wire = Wire()
    assert wire.client(500, b"").reason is Reason.NONE
    assert wire.client(500, read_request()).reason is Reason.STREAM_PICKUP
    assert wire.server(900, read_answer()).reason is Reason.STREAM_PICKUP


def test_mid_stream_is_taken_up_where_it_passes() -> None:
    """In monitor a conversation is taken up at a message's start; enforcement does not trust it."""
    wire = Wire()
    wire.enforced = False
    assert wire.client(500, read_request()[5:], acknowledged=900).reason is Reason.STREAM_PICKUP
    assert wire.client(507, read_request(), acknowledged=900).reason is Reason.NONE
    assert wire.server(900, read_answer(), acknowledged=519).reason is Reason.NONE
    assert wire.client(519, write_request(), acknowledged=911).reason is Reason.MESSAGE_OPERATION
    assert wire.client(534, read_request(), acknowledged=911).reason is Reason.NONE
    wire.enforced = True
    assert wire.client(546, read_request(), acknowledged=911).reason is Reason.STREAM_PICKUP


def test_data_with_a_syn_where_it_passes() -> None:
    """Nobody knows whether the responder took it: enforcement begins anew."""
    wire = Wire()
    wire.enforced = False
    assert wire.client(0, b"x", SYN).reason is Reason.STREAM_OPENING_DATA
    assert wire.server(0, flags=SYN | ACK, acknowledged=2).reason is Reason.NONE
    assert wire.client(2, read_request()).reason is Reason.NONE
    wire.enforced = True
    assert wire.client(14, read_request()).reason is Reason.STREAM_PICKUP


def test_one_hole_is_followed_where_it_passes(wire: Wire) -> None:
    """In monitor a segment that overtook its predecessor is read when that comes."""
    wire.enforced = False
    assert wire.client(13, read_request(2)).reason is Reason.STREAM_AHEAD
    assert wire.client(25, write_request(3)).reason is Reason.STREAM_AHEAD
    judged = wire.client(1, read_request(1))
    assert judged.reason is Reason.MESSAGE_OPERATION
    assert len(judged.accesses) == 3
    assert wire.client(25 + len(write_request()), read_request(4)).reason is Reason.NONE


@pytest.mark.parametrize("fail", list(FailMode))
def test_bytes_that_never_came_by(fail: FailMode) -> None:
    """What `static` passed while nobody judged shows by its acknowledgement: go on behind it, or not."""
    wire = Wire(fail=fail)
    wire.shake_hands()
    answer = wire.server(1, acknowledged=21)
    if fail is FailMode.CLOSED:
        assert answer.reason is Reason.STREAM_PICKUP
        return
    assert answer.reason is Reason.NONE
    assert wire.client(21, read_request()).reason is Reason.NONE


def test_behind_a_gap_only_whole_messages() -> None:
    """Behind bytes that never came by the beginning of a message has to be seen."""
    wire = Wire()
    wire.shake_hands()
    wire.server(1, acknowledged=21)
    assert wire.client(21, read_request()[:9]).reason is Reason.STREAM_PICKUP


def test_half_written_stream_is_not_trusted(wire: Wire) -> None:
    """What a crash left in the middle of a change is as if it had never been there."""
    poll(wire, 1, 1)
    wire.held.tear(0)
    assert wire.client(13, read_request()).reason is Reason.STREAM_PICKUP
    assert not wire.held.has_stream(0)


def test_another_engine_goes_on(wire: Wire) -> None:
    """The memory outlives its engine: a partial message is completed under the next one, and not exchanged."""
    wire.client(1, write_request()[:6])
    heir = Wire(before=wire, shuts=False)
    assert heir.client(1, b"x").reason is Reason.STREAM_CONFLICT
    assert Wire(before=wire).client(7, write_request()[6:]).reason is Reason.MESSAGE_OPERATION


def test_segment_that_was_not_copied_whole(wire: Wire) -> None:
    """What cannot be read is not passed."""
    judged = wire.held.segment(0, True, (CLIENT + 1) & 0xFFFFFFFF, SERVER + 1, ACK, read_request(), cut=1)
    assert judged.reason is Reason.STREAM_BUDGET


def test_more_in_flight_than_a_stream_holds(wire: Wire) -> None:
    """Large windows hold what is under way; beyond that segments wait until some of it is acknowledged."""
    burst = read_request() * 5000
    at = 1
    while (judged := wire.client(at, burst)).reason is Reason.NONE:
        at += len(burst)
    assert judged.reason is Reason.STREAM_BUDGET
    assert wire.held.windows_in_use == 1
    assert at - 1 > abi.STREAM_LARGE_BYTES - len(burst)
    wire.server(1, acknowledged=at)
    assert wire.held.windows_in_use == 0
    assert wire.client(at, burst).reason is Reason.NONE


def test_windows_run_out_and_come_back() -> None:
    """With every large window taken only what needs one waits."""
    wire = Wire()
    for number in range(4):
        wire.shake_hands(number)
    burst = read_request() * 200
    reasons = [wire.client(1, burst, number=number).reason for number in range(3)]
    assert reasons == [Reason.NONE, Reason.NONE, Reason.STREAM_BUDGET]
    assert wire.client(1, read_request(), number=3).reason is Reason.NONE
    wire.server(1, acknowledged=1 + len(burst), number=0)
    assert wire.client(1, burst, number=2).reason is Reason.NONE


def test_streams_run_out_for_new_conversations_only() -> None:
    """No conversation that is alive gives way: the handshake of one too many is refused. What has ended gives way."""
    wire = Wire()
    for number in range(STREAMS):
        wire.shake_hands(number)
    assert wire.server(0, flags=SYN | ACK, number=STREAMS).reason is Reason.STREAM_BUDGET
    assert wire.client(1, read_request(), number=0).reason is Reason.NONE
    wire.held.forget(3)
    wire.shake_hands(STREAMS)
    assert wire.server(0, flags=SYN | ACK, number=STREAMS + 1).reason is Reason.STREAM_BUDGET
    wire.client(1, flags=FIN | ACK, number=5)
    wire.server(1, flags=FIN | ACK, acknowledged=2, number=5)
    wire.shake_hands(STREAMS + 1)


def test_silent_conversation_gives_way_after_hours() -> None:
    """Who was silent for longer than RFC 5382 asks for gives way, when there is need."""
    wire = Wire()
    for number in range(STREAMS):
        wire.shake_hands(number)
    wire.now_ns += 7441 * 10**9
    for number in range(1, STREAMS):
        wire.client(1, number=number)
    wire.shake_hands(STREAMS)
    assert not wire.held.has_stream(0)


def test_datagrams() -> None:
    """A datagram is whole messages and nothing else."""
    wire = Wire()
    assert wire.held.datagram(0, True, read_request()).reason is Reason.NONE
    assert wire.held.datagram(0, False, read_answer()).reason is Reason.NONE
    assert wire.held.datagram(0, True, write_request()).reason is Reason.MESSAGE_OPERATION
    assert wire.held.datagram(0, True, read_request() + b"x").reason is Reason.MESSAGE_MALFORMED
    assert wire.held.datagram(0, True, b"").reason is Reason.MESSAGE_MALFORMED
    assert wire.held.datagram(0, True, read_request(2)).reason is Reason.NONE


@pytest.mark.parametrize("shift", [-100, 100])
def test_answer_to_another_handshake(wire: Wire, shift: int) -> None:
    """A server with SYN cookies takes the answer to its first SYN-ACK, when the stream begins at its second one."""
    # RFC 4987 section 3.6: a cookie contains the opener's number, so the two differ as the opener's two SYNs do.
    request = read_request() + bytes(100)
    assert wire.client(1, request[:12], acknowledged=1 + shift).reason is Reason.STREAM_SEQUENCE
    assert wire.client(1 - 100, write_request(), acknowledged=1 + shift).reason is Reason.STREAM_SEQUENCE
    assert wire.client(1, acknowledged=1 + shift).reason is Reason.STREAM_SEQUENCE
    poll(wire, 1, 1)


def test_unused_openings_give_way(wire: Wire) -> None:
    """Openings that ask for nothing don't lock the others out for hours; those that were used stay."""
    poll(wire, 1, 1)
    for number in range(1, STREAMS):
        wire.shake_hands(number)
    assert wire.client(0, flags=SYN, acknowledged=-SERVER, number=STREAMS).reason is Reason.NONE
    assert wire.server(0, flags=SYN | ACK, number=STREAMS).reason is Reason.STREAM_BUDGET
    wire.now_ns += 241 * 10**9
    for number in range(STREAMS, 2 * STREAMS - 1):
        wire.shake_hands(number)
    assert wire.server(0, flags=SYN | ACK, number=2 * STREAMS - 1).reason is Reason.STREAM_BUDGET
    at, answered = 1 + len(read_request()), 1 + len(read_answer())
    poll(wire, at, answered)


def test_goes_on_behind_what_static_let_pass() -> None:
    """A poll went by without us in both directions: the next one passes, what nobody saw never changes."""
    wire = Wire(fail=FailMode.STATIC)
    wire.shake_hands()
    at, answered = poll(wire, 1, 1)
    ahead, told = at + len(read_request()), answered + len(read_answer())
    assert wire.client(ahead, read_request(), acknowledged=told).reason is Reason.NONE
    assert wire.client(at, write_request(), acknowledged=told).reason is Reason.STREAM_SEQUENCE
    assert wire.client(at, read_request(), acknowledged=told).reason is Reason.STREAM_SEQUENCE
    ahead += len(read_request())
    assert wire.server(told, read_answer(), acknowledged=ahead).reason is Reason.NONE
    poll(wire, ahead, told + len(read_answer()))


def test_a_lie_about_what_static_let_pass_gains_nothing() -> None:
    """Where the responder never acknowledges what was left out, it never gets it."""
    wire = Wire(fail=FailMode.STATIC)
    wire.shake_hands()
    at, answered = poll(wire, 1, 1)
    assert wire.client(at + 12, read_request(), acknowledged=answered + 40).reason is Reason.NONE
    for lie in (write_request(), read_request()):
        assert wire.client(at, lie, acknowledged=answered).reason is Reason.STREAM_SEQUENCE


def test_fail_closed_goes_on_behind_nothing() -> None:
    """There nothing passes without us: if something did, both ends are told instead of repeating it for ever."""
    wire = Wire(fail=FailMode.CLOSED)
    wire.shake_hands()
    at, answered = poll(wire, 1, 1)
    assert wire.client(at + 12, read_request(), acknowledged=answered + 40).reason is Reason.STREAM_PICKUP
    assert wire.client(at, read_request(), acknowledged=answered).reason is Reason.STREAM_REFUSED


def test_answers_after_many_outages() -> None:
    """A connection of months: each outage may leave an answer behind whose request nobody saw."""
    wire = Wire(fail=FailMode.STATIC)
    wire.shake_hands()
    at, answered = poll(wire, 1, 1)
    for _ in range(3 * MOST_STRAYS):
        at += len(read_request())  # passed by `static`; its answer is seen
        assert wire.server(answered, read_answer(), acknowledged=at).reason is Reason.NONE
        answered += len(read_answer())
        at, answered = poll(wire, at, answered)


def test_one_outage_explains_no_more_answers_than_can_wait() -> None:
    """What nobody asked for stays refused."""
    wire = Wire(fail=FailMode.STATIC)
    wire.shake_hands()
    at, answered = poll(wire, 1, 1)
    at += len(read_request())
    reasons = []
    for _ in range(MOST_STRAYS + 1):
        reasons.append(wire.server(answered, read_answer(), acknowledged=at).reason)
        answered += len(read_answer())
    assert reasons == [Reason.NONE] * MOST_STRAYS + [Reason.MESSAGE_ANSWER]
