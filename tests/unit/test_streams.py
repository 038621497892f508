"""Streams: what a segment may carry, place by place, when its conversation is inspected."""

from __future__ import annotations

from typing import Final

import pytest

from fastpath import abi
from fastpath.abi import FailMode, Inspector, Operation, Reason
from fastpath.dissect import Conversations, Judged

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
STREAMS: Final = 8
WINDOWS: Final = 2
CLIENT: Final = 0xFFFF_FFF0  # sequence numbers wrap within every dialog
SERVER: Final = 0x0000_1000
READING: Final = (Operation.READ,)


def read_request(transaction: int = 1) -> bytes:
    """Return a request to read one register."""
    return transaction.to_bytes(2, "big") + bytes.fromhex("0000 0006 01 03 0000 0001")


def read_answer(transaction: int = 1) -> bytes:
    """Return its answer."""
    return transaction.to_bytes(2, "big") + bytes.fromhex("0000 0005 01 03 02 0007")


def write_request(transaction: int = 1, registers: int = 1) -> bytes:
    """Return a request to write registers."""
    body = bytes.fromhex("01 10 0000") + registers.to_bytes(2, "big") + bytes([2 * registers]) + bytes(2 * registers)
    return transaction.to_bytes(2, "big") + bytes(2) + len(body).to_bytes(2, "big") + body


class Wire:
    """One conversation seen by the gateway, with the numbers that both ends have reached."""

    def __init__(self, *, shuts: bool = True, fail: FailMode = FailMode.STATIC, before: Wire | None = None) -> None:
        self.memory = before.memory if before else bytearray(abi.streams_table_bytes(STREAMS, WINDOWS))
        self.flows = before.flows if before else bytearray(2 * STREAMS * abi.FLOW.size)
        self.held = Conversations(
            Inspector.MODBUS,
            operations=READING,
            memory=self.memory,
            flows=self.flows,
            streams=STREAMS,
            windows=WINDOWS,
            shuts=shuts,
            fail=fail,
        )
        self.enforced = True
        self.now_ns = 1

    def client(self, at: int, data: bytes = b"", flags: int = ACK, *, acknowledged: int = 1, number: int = 0) -> Judged:
        """Send from the opener: `at` and `acknowledged` count from the first numbers of both ends."""
        return self._send(number, True, CLIENT + at, SERVER + acknowledged, flags, data)

    def server(self, at: int, data: bytes = b"", flags: int = ACK, *, acknowledged: int = 1, number: int = 0) -> Judged:
        """Send from the responder."""
        return self._send(number, False, SERVER + at, CLIENT + acknowledged, flags, data)

    def _send(self, number: int, opener: bool, sequence: int, acknowledged: int, flags: int, data: bytes) -> Judged:
        return self.held.segment(
            number,
            opener,
            sequence & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF,
            flags,
            data,
            enforced=self.enforced,
            now_ns=self.now_ns,
        )

    def shake_hands(self, number: int = 0) -> None:
        """Open the conversation."""
        assert self.client(0, flags=SYN, acknowledged=-SERVER, number=number).reason is Reason.NONE
        assert self.server(0, flags=SYN | ACK, number=number).reason is Reason.NONE
        assert self.client(1, number=number).reason is Reason.NONE


@pytest.fixture
def wire() -> Wire:
    """Return a conversation after its handshake."""
    wire = Wire()
    wire.shake_hands()
    return wire


def poll(wire: Wire, at: int, answered: int) -> tuple[int, int]:
    """Ask and answer once; return where both ends stand then."""
    assert wire.client(at, read_request(), acknowledged=answered).reason is Reason.NONE
    at += len(read_request())
    assert wire.server(answered, read_answer(), acknowledged=at).reason is Reason.NONE
    answered += len(read_answer())
    assert wire.client(at, acknowledged=answered).reason is Reason.NONE
    return at, answered


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
        assert answer.reason is Reason.STREAM_SEQUENCE
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
