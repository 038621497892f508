"""CIP requests that go on changed: which byte, whose answer is mended, and what is not remembered of them."""

from __future__ import annotations

from typing import Final

import pytest

from fastpath import abi
from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Conversations, Judged
from tests.support import enip_messages as build
from tests.support.tcp_model import ACK, SYN

CLIENT, SERVER = 1000, 0xFFFFFFF0
UNCONNECTED, CONNECTED = 40, 46  # where the service stands
RESERVED: Final = 0x7F
NOT_SUPPORTED: Final = 8
POINT_TO_POINT: Final = 2
PARAMETER: Final = build.place(0x0F, 1, 1)
READ: Final = build.request(0x0E, PARAMETER)
WRITE: Final = build.request(0x10, PARAMETER, b"\x07\0")
WRITE_TAG: Final = build.request(0x4D, build.symbol("Level"), bytes.fromhex("c30001000500"))
REFUSED: Final = build.answer(RESERVED, status=NOT_SUPPORTED)
OUTPUTS: Final = bytes.fromhex("200424052c652c64")
TO_ROUTER: Final = bytes.fromhex("010020022401")


def opening(path: bytes, transport: int, *, large: bool = False, serial: bytes = build.SERIAL) -> bytes:
    """Return a Forward Open in both directions."""
    half = POINT_TO_POINT << (29 if large else 13) | 500
    return build.forward_open(path, forward=half, back=half, transport=transport, large=large, serial=serial)


class Talk:
    """A conversation that has just been opened; each end has got what the other one sent."""

    def __init__(self, *operations: Operation) -> None:
        self.held = Conversations(
            Inspector.ENIP,
            operations=operations or [Operation.READ],
            memory=bytearray(abi.streams_table_bytes(4, 2)),
            flows=bytearray(8 * abi.FLOW.size),
            streams=4,
            windows=2,
            answers=True,
        )
        self.asked = self.answered = 0
        self.held.segment(0, True, CLIENT - 1, 0, SYN, b"")
        self.held.segment(0, False, SERVER - 1, CLIENT, SYN | ACK, b"")

    def ask(self, data: bytes) -> Judged:
        """Have the client send."""
        judged = self.held.segment(0, True, CLIENT + self.asked, (SERVER + self.answered) & 0xFFFFFFFF, ACK, data)
        self.asked += len(data) if judged.passes else 0
        return judged

    def answer(self, data: bytes) -> Judged:
        """Have the device send."""
        judged = self.held.segment(0, False, (SERVER + self.answered) & 0xFFFFFFFF, CLIENT + self.asked, ACK, data)
        self.answered += len(data) if judged.passes else 0
        return judged

    def opens(self) -> None:
        """Open a connection for messages."""
        assert self.ask(build.unconnected(opening(TO_ROUTER, 0xA3))).reason is Reason.NONE
        assert self.answer(build.unconnected(build.opened())).reason is Reason.NONE


@pytest.fixture
def talk() -> Talk:
    """Return a conversation where only reading is permitted."""
    return Talk()


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        pytest.param(WRITE, 0x10, id="set attribute"),
        pytest.param(WRITE_TAG, 0x4D, id="write tag"),
        pytest.param(build.request(5, build.place(1, 1)), 5, id="reset"),
        pytest.param(build.multiple([READ, WRITE]), 0x0A, id="in a Multiple Service Packet"),
        pytest.param(build.routed(WRITE), 0x10, id="in an Unconnected Send"),
        pytest.param(build.routed(build.multiple([READ, WRITE])), 0x0A, id="two deep"),
        pytest.param(build.routed(READ, b"\x01\x00\x02\x05"), 0x0E, id="read out of the chassis"),
        pytest.param(opening(OUTPUTS, 1), 0x54, id="implicit outputs"),
        pytest.param(opening(OUTPUTS, 1, large=True), 0x5B, id="large"),
        pytest.param(build.request(0x4B, build.place(0x99, 1)), 0x4B, id="what no table knows"),
    ],
)
def test_the_outermost_service_becomes_nobodys(talk: Talk, request_: bytes, named: int) -> None:
    """The device refuses it, and its client gets the refusal of what it asked for."""
    judged = talk.ask(build.unconnected(request_))
    assert (judged.reason, judged.passes) == (Reason.MESSAGE_OPERATION, True)
    assert judged.edits == [(UNCONNECTED, RESERVED)]
    mended = talk.answer(build.unconnected(REFUSED))
    assert (mended.reason, mended.edits) == (Reason.NONE, [(UNCONNECTED, named | 0x80)])
    told = mended.accesses[-1]["fields"]
    assert (told["service"], told["status"], told["response"]) == (named, NOT_SUPPORTED, 1)
    assert talk.ask(build.unconnected(READ)).reason is Reason.NONE
    assert talk.answer(build.unconnected(build.answer(0x0E, b"\1\0"))).edits == []


def test_messages_of_a_connection_are_changed_behind_their_sequence_count(talk: Talk) -> None:
    """Both ways; the count stays, and pairs them."""
    talk.opens()
    assert talk.ask(build.connected(WRITE, sequence=7)).edits == [(CONNECTED, RESERVED)]
    assert talk.ask(build.connected(READ, sequence=8)).edits == []
    first = talk.answer(build.connected(build.answer(0x0E, b"\1\0"), connection=0x2000, sequence=8))
    assert (first.reason, first.edits) == (Reason.NONE, [])
    other = talk.answer(build.connected(REFUSED, connection=0x2000, sequence=7))
    assert (other.reason, other.edits) == (Reason.NONE, [(CONNECTED, 0x90)])


def test_answers_are_mended_by_whose_they_are(talk: Talk) -> None:
    """Several wait, with contexts of their own or with one for all: then they come in their order."""
    one, other = b"AAAAAAAA", b"BBBBBBBB"
    judged = talk.ask(
        build.unconnected(WRITE, context=one)
        + build.unconnected(READ, context=one)
        + build.unconnected(WRITE_TAG, context=other)
        + build.unconnected(build.request(5, build.place(1, 1)), context=one)
    )
    assert [to for _, to in judged.edits] == [RESERVED] * 3
    for context, said, expected in (
        (other, REFUSED, [0xCD]),
        (one, REFUSED, [0x90]),
        (one, build.answer(0x0E, b"\1\0"), []),
        (one, REFUSED, [0x85]),
    ):
        mended = talk.answer(build.unconnected(said, context=context))
        assert (mended.reason, [to for _, to in mended.edits]) == (Reason.NONE, expected)
    assert talk.answer(build.unconnected(REFUSED, context=one)).reason is Reason.MESSAGE_ANSWER


@pytest.mark.parametrize("cut", range(1, 44))
def test_a_request_in_parts_is_changed_only_where_its_service_has_not_passed(cut: int) -> None:
    """Else the conversation is refused."""
    talk = Talk()
    message = build.unconnected(WRITE)
    first = talk.ask(message[:cut])
    assert first.reason is Reason.NONE
    last = talk.ask(message[cut:])
    assert last.reason is Reason.MESSAGE_OPERATION
    assert (last.passes, last.edits) == ((True, [(UNCONNECTED - cut, RESERVED)]) if cut <= UNCONNECTED else (False, []))


@pytest.mark.parametrize("cut", range(1, 44))
def test_an_answer_in_parts_is_mended_with_the_part_that_has_its_service(talk: Talk, cut: int) -> None:
    """It is known by its context, which stands before."""
    talk.ask(build.unconnected(WRITE))
    message = build.unconnected(REFUSED)
    found = talk.answer(message[:cut]).edits
    found += [(at + cut, to) for at, to in talk.answer(message[cut:]).edits]
    assert found == [(UNCONNECTED, 0x90)]


@pytest.mark.parametrize("status", [0, 0x06, 0x1E])
def test_nobody_believes_that_it_was_carried_out(talk: Talk, status: int) -> None:
    """A device that has the reserved service carried out something else: its client must not take that for its own."""
    talk.ask(build.unconnected(WRITE))
    judged = talk.answer(build.unconnected(build.answer(RESERVED, status=status)))
    assert (judged.reason, judged.passes) == (Reason.MESSAGE_ANSWER, False)
    assert talk.ask(build.unconnected(READ)).reason is Reason.STREAM_REFUSED


def test_the_service_that_was_asked_for_answers_nothing(talk: Talk) -> None:
    """No device can answer what it never got."""
    talk.ask(build.unconnected(WRITE))
    assert talk.answer(build.unconnected(build.answer(0x10))).reason is Reason.MESSAGE_ANSWER


def test_a_refusal_by_the_encapsulation_passes_as_it_is(talk: Talk) -> None:
    """It names no service: the client is told by its status."""
    talk.ask(build.unconnected(WRITE))
    judged = talk.answer(build.encapsulated(0x6F, status=NOT_SUPPORTED))
    assert (judged.reason, judged.edits) == (Reason.NONE, [])
    assert talk.answer(build.unconnected(REFUSED)).reason is Reason.MESSAGE_ANSWER


def test_who_asks_for_the_reserved_service_itself_is_reset(talk: Talk) -> None:
    """There is nothing to change it into."""
    judged = talk.ask(build.unconnected(build.request(RESERVED, PARAMETER)))
    assert (judged.reason, judged.passes) == (Reason.MESSAGE_OPERATION, False)


def test_what_carries_no_cip_is_not_changed(talk: Talk) -> None:
    """List commands have no service; whoever may not ask for them is reset."""
    judged = talk.ask(build.encapsulated(0x63, session=0))
    assert (judged.reason, judged.passes) == (Reason.MESSAGE_OPERATION, False)


def test_what_contradicts_itself_is_not_changed(talk: Talk) -> None:
    """Only what is well formed and not permitted: of anything else nobody knows how a device frames it."""
    for message in (build.unconnected(WRITE[:-3]), build.connected(WRITE), build.unconnected(build.answer(0x10))):
        assert not Talk().ask(message).passes


def test_a_refused_connection_was_never_asked_for() -> None:
    """Its number, even if some device gave it out, carries nothing; one that was asked for before still may be."""
    talk = Talk(Operation.WRITE)
    both = build.multiple([opening(TO_ROUTER, 0xA3, serial=b"refused."), READ])
    talk.ask(build.unconnected(opening(TO_ROUTER, 0xA3, serial=b"earlier.")))
    assert talk.ask(build.unconnected(both, context=b"together")).passes
    talk.answer(build.unconnected(build.opened(connection=0x10, serial=b"refused.")))
    assert talk.ask(build.connected(WRITE, connection=0x10)).reason is Reason.MESSAGE_OPAQUE
    talk = Talk(Operation.WRITE)
    talk.ask(build.unconnected(opening(TO_ROUTER, 0xA3, serial=b"earlier.")))
    both = build.multiple([opening(TO_ROUTER, 0xA3, serial=b"earlier."), READ])
    assert talk.ask(build.unconnected(both, context=b"together")).passes
    talk.answer(build.unconnected(build.opened(connection=0x10, serial=b"earlier.")))
    assert talk.ask(build.connected(WRITE, connection=0x10)).reason is Reason.NONE


def test_refused_openings_take_no_room() -> None:
    """As many as there are: the next one that is permitted finds its place."""
    talk = Talk(Operation.WRITE)
    for number in range(30):
        serial = b"%08d" % number
        both = build.multiple([opening(TO_ROUTER, 0xA3, serial=serial), READ])
        assert talk.ask(build.unconnected(both)).passes
        assert talk.answer(build.unconnected(REFUSED)).reason is Reason.NONE
    for number in range(12):
        serial = b"%08d" % (100 + number)
        assert talk.ask(build.unconnected(opening(TO_ROUTER, 0xA3, serial=serial))).reason is Reason.NONE
        assert talk.answer(build.unconnected(build.opened(connection=number + 1, serial=serial))).reason is Reason.NONE


@pytest.mark.parametrize("inspector", [Inspector.ENIP, Inspector.ENIP_IO])
def test_datagrams_are_not_changed(inspector: Inspector) -> None:
    """They are dropped: nothing tells a repetition."""
    held = Conversations(
        inspector,
        operations=[Operation.READ],
        memory=bytearray(abi.streams_table_bytes(4, 2)),
        flows=bytearray(8 * abi.FLOW.size),
        streams=4,
        windows=2,
        answers=True,
    )
    message = build.unconnected(WRITE) if inspector is Inspector.ENIP else build.datum(b"\1\0\0\0\0\0")
    for _ in range(5):
        judged = held.datagram(0, True, message)
        assert (judged.reason, judged.passes, judged.edits) == (Reason.MESSAGE_OPERATION, False, [])
