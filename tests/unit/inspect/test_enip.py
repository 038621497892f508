"""EtherNet/IP conversations message by message: what each asks for, what is remembered, what is refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fastpath.abi import FIELD_NAMES, Inspector, Operation, Protocol, Reason
from fastpath.dissect import Dissection
from tests.support import enip_messages as build

IDENTITY = build.request(0x0E, build.place(1, 1, 7))
LONGER = build.unconnected(IDENTITY)[24:] + b"\0"
OUTPUTS = bytes.fromhex("200424052c652c64")  # configuration 5, outputs 101, inputs 100 of class assembly
TO_ROUTER = bytes.fromhex("010020022401")
POINT_TO_POINT, MULTICAST = 2 << 13, 1 << 13


class Talk:
    """One conversation, as the engine would see it."""

    def __init__(self, inspector: Inspector = Inspector.ENIP, *, taken_up: bool = False) -> None:
        self.seen = Dissection(inspector, taken_up)

    def says(self, message: bytes, *, opener: bool = True) -> tuple[Reason, list[dict[str, Any]]]:
        """Let one end say a whole message."""
        reason, length = self.seen.measure(message, opener)
        if reason is not Reason.NONE:
            return reason, []
        assert length == len(message)
        return self.seen.read(message, opener)

    def cip(self, message: bytes, *, opener: bool = True) -> list[tuple[str, dict[str, int]]]:
        """Let one end say a message that is not refused; return operation and fields of what CIP asks in it."""
        reason, found = self.says(message, opener=opener)
        assert reason is Reason.NONE, reason
        return [(one["operation"].name, one["fields"]) for one in found if one["protocol"] is Protocol.CIP]

    def opens(self, path: bytes = TO_ROUTER, *, connection: int = 0x1000, serial: bytes = build.SERIAL) -> None:
        """Open a connection for messages."""
        half = POINT_TO_POINT | 500
        asked = build.forward_open(path, forward=half, back=half, transport=0xA3, serial=serial)
        assert self.cip(build.unconnected(asked))[0][0] == "NONE"
        self.cip(build.unconnected(build.opened(connection=connection, serial=serial)), opener=False)


def test_a_session_is_registered_and_ended() -> None:
    """Register, answer and end ask nothing of the device."""
    talk = Talk()
    for message, opener in (
        (build.encapsulated(0x65, b"\1\0\0\0", session=0), True),
        (build.encapsulated(0x65, b"\1\0\0\0"), False),
        (build.encapsulated(0, b"anything"), True),
        (build.encapsulated(0x66), True),
    ):
        reason, found = talk.says(message, opener=opener)
        assert (reason, [one["operation"] for one in found]) == (Reason.NONE, [Operation.NONE])


def test_identity_is_asked_and_answered() -> None:
    """List commands diagnose; the answer's items must fill it."""
    talk = Talk()
    reason, (found,) = talk.says(build.encapsulated(0x63, session=0))
    assert (reason, found["operation"], found["fields"]["command"]) == (Reason.NONE, Operation.DIAGNOSE, 0x63)
    item = struct.pack("<HHH", 1, 0x0C, 5) + b"hello"
    assert talk.says(build.encapsulated(0x63, item, session=0), opener=False)[0] is Reason.NONE
    talk.says(build.encapsulated(0x63, session=0))
    assert talk.says(build.encapsulated(0x63, item + b"!", session=0), opener=False)[0] is Reason.MESSAGE_MALFORMED


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Reason.MESSAGE_PROTOCOL, id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", Reason.MESSAGE_PROTOCOL, id="HTTP"),
        pytest.param(build.encapsulated(0x61), Reason.MESSAGE_PROTOCOL, id="a command that is none"),
        pytest.param(build.encapsulated(1), Reason.MESSAGE_PROTOCOL, id="a command of older equipment"),
        pytest.param(build.encapsulated(0xC8), Reason.MESSAGE_OPAQUE, id="DTLS begins"),
        pytest.param(build.encapsulated(0x63, options=1), Reason.MESSAGE_MALFORMED, id="options"),
        pytest.param(build.encapsulated(0x63, status=1), Reason.MESSAGE_MALFORMED, id="a request with a status"),
        pytest.param(build.encapsulated(0x63, b"x"), Reason.MESSAGE_MALFORMED, id="a list request with data"),
        pytest.param(build.encapsulated(0x65, b"\2\0\0\0"), Reason.MESSAGE_MALFORMED, id="another version"),
        pytest.param(build.encapsulated(0x6F, b"\1" + bytes(15)), Reason.MESSAGE_OPAQUE, id="another interface"),
        pytest.param(build.unconnected(b""), Reason.MESSAGE_MALFORMED, id="no CIP"),
        pytest.param(build.unconnected(IDENTITY + b"\0")[:-1], None, id="a byte short"),
        pytest.param(build.encapsulated(0x6F, LONGER), Reason.MESSAGE_MALFORMED, id="a byte long"),
        pytest.param(build.unconnected(IDENTITY[:-1]), Reason.MESSAGE_MALFORMED, id="a path beyond the end"),
        pytest.param(build.connected(IDENTITY), Reason.MESSAGE_OPAQUE, id="a connection that nobody opened"),
        pytest.param(build.unconnected(build.answer(0x0E)), Reason.MESSAGE_ANSWER, id="an answer from the opener"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(message: bytes, reason: Reason | None) -> None:
    """Each with its reason, from an opener."""
    if reason is None:
        assert Talk().seen.measure(message, True) == (Reason.NONE, len(message) + 1)
    else:
        assert Talk().says(message)[0] is reason


def test_two_socket_addresses_may_follow() -> None:
    """Forward Open may carry them; nothing else may."""
    assert Talk().says(build.unconnected(IDENTITY, sockets=2))[0] is Reason.NONE
    message = bytearray(build.unconnected(IDENTITY, sockets=1))
    message[-20:-18] = b"\x86\0"
    assert Talk().says(bytes(message))[0] is Reason.MESSAGE_MALFORMED


def test_answers_tell_what_they_answer() -> None:
    """An answer has the operation of its request; the second one answers nothing."""
    talk = Talk()
    talk.cip(build.unconnected(IDENTITY))
    reply = build.unconnected(build.answer(0x0E, b"ab", status=5, extended=b"\1\2"))
    assert talk.cip(reply, opener=False) == [("READ", {"service": 0x0E, "response": 1, "status": 5})]
    assert talk.says(reply, opener=False)[0] is Reason.MESSAGE_ANSWER
    talk.cip(build.unconnected(IDENTITY))
    other = build.unconnected(build.answer(0x10))
    assert talk.says(other, opener=False)[0] is Reason.MESSAGE_ANSWER
    assert talk.says(build.unconnected(IDENTITY), opener=False)[0] is Reason.MESSAGE_ANSWER


def test_answers_are_told_apart_by_their_context() -> None:
    """Pipelined requests may be answered in any order."""
    talk = Talk()
    talk.cip(build.unconnected(IDENTITY, context=b"AAAAAAAA"))
    talk.cip(build.unconnected(build.request(5, build.place(1, 1)), context=b"BBBBBBBB"))
    assert talk.cip(build.unconnected(build.answer(5), context=b"BBBBBBBB"), opener=False)[0][0] == "CONTROL"
    assert talk.cip(build.unconnected(build.answer(0x0E), context=b"AAAAAAAA"), opener=False)[0][0] == "READ"


def test_a_hundred_requests_without_an_answer_may_all_be_answered() -> None:
    """What was forgotten for lack of room may still be answered, as often as it was asked and no more."""
    talk = Talk()
    contexts = [b"%08d" % number for number in range(100)]
    for context in contexts:
        talk.cip(build.unconnected(IDENTITY, context=context))
    for context in contexts:
        talk.cip(build.unconnected(build.answer(0x0E), context=context), opener=False)
    assert talk.says(build.unconnected(build.answer(0x0E)), opener=False)[0] is Reason.MESSAGE_ANSWER


def test_a_routed_request_is_answered_by_the_service_in_it_or_by_its_own() -> None:
    """Unconnected Send: the message one deeper; on its way back it stands alone."""
    for service, told in ((0x10, "ADMIN"), (0x52, "ADMIN")):
        talk = Talk()
        found = talk.cip(build.unconnected(build.routed(build.request(0x10, build.place(0xF5, 1, 5), bytes(30)))))
        assert [operation for operation, _ in found] == ["NONE", "ADMIN"]
        assert found[0][1]["count"] == 1
        assert talk.cip(build.unconnected(build.answer(service)), opener=False)[0][0] == told


def test_a_route_out_of_the_chassis_is_administration() -> None:
    """Two hops, or an address behind a port, make the device a way into another network."""
    for route in (b"\x01\x00\x02\x05", b"\x12\x0810.0.0.1"):
        operation, fields = Talk().cip(build.unconnected(build.routed(IDENTITY, route)))[0]
        assert (operation, fields["count"]) == ("ADMIN", len(route) // 2 if len(route) == 4 else 1)


def test_messages_by_a_connection_that_was_opened() -> None:
    """After Forward Open and its answer; both directions by their own numbers; not after Forward Close."""
    talk = Talk()
    assert talk.says(build.connected(IDENTITY))[0] is Reason.MESSAGE_OPAQUE
    talk.opens()
    assert talk.cip(build.connected(IDENTITY))[0][1]["connection"] == 0x1000
    assert talk.cip(build.connected(build.answer(0x0E), connection=0x2000), opener=False)[0][0] == "READ"
    assert talk.says(build.connected(IDENTITY, connection=0x2000))[0] is Reason.MESSAGE_OPAQUE
    assert talk.cip(build.unconnected(build.forward_close()))[0][0] == "NONE"
    talk.cip(build.unconnected(build.closed()), opener=False)
    assert talk.says(build.connected(IDENTITY))[0] is Reason.MESSAGE_OPAQUE


def test_a_connection_the_target_refused_carries_nothing() -> None:
    """An error opens nothing."""
    talk = Talk()
    half = POINT_TO_POINT | 500
    talk.cip(build.unconnected(build.forward_open(TO_ROUTER, forward=half, back=half, transport=0xA3)))
    talk.cip(build.unconnected(build.answer(0x54, build.SERIAL + b"\0\0", status=1)), opener=False)
    assert talk.says(build.connected(IDENTITY))[0] is Reason.MESSAGE_OPAQUE


def test_read_modify_write_is_not_taken_for_forward_close() -> None:
    """Both are 0x4E: only what the connection manager answers ends a connection."""
    talk = Talk()
    talk.opens()
    write = build.request(0x4E, build.symbol("Tag"), b"\1\0\xff\xff")
    assert talk.cip(build.unconnected(write))[0][0] == "WRITE"
    talk.cip(build.unconnected(build.closed()), opener=False)
    assert talk.says(build.connected(IDENTITY))[0] is Reason.NONE


def test_only_so_many_connections_for_messages() -> None:
    """The thirteenth is refused; what was asked for and never opened gives way."""
    talk = Talk()
    half = POINT_TO_POINT | 500
    for number in range(20):
        serial = struct.pack("<Q", number + 1)
        talk.cip(
            build.unconnected(build.forward_open(TO_ROUTER, forward=half, back=half, transport=0xA3, serial=serial))
        )
        talk.cip(build.unconnected(build.answer(0x54, status=1)), opener=False)
    for number in range(12):
        talk.opens(connection=0x1000 + number, serial=struct.pack("<Q", 100 + number))
    again = build.forward_open(TO_ROUTER, forward=half, back=half, transport=0xA3, serial=struct.pack("<Q", 9999))
    assert talk.says(build.unconnected(again))[0] is Reason.MESSAGE_BUDGET
    assert talk.cip(build.connected(IDENTITY, connection=0x100B))[0][0] == "READ"


@pytest.mark.parametrize(
    ("forward", "back", "transport", "operation"),
    [
        (POINT_TO_POINT | 10, MULTICAST | 20, 1, "WRITE"),
        (POINT_TO_POINT | 3, MULTICAST | 20, 1, "WRITE"),
        (POINT_TO_POINT | 2, MULTICAST | 20, 1, "READ"),  # heartbeats: input only, listen only
        (POINT_TO_POINT, POINT_TO_POINT | 20, 0, "READ"),
        (POINT_TO_POINT | 1, POINT_TO_POINT | 20, 0, "WRITE"),
        (0, 0, 1, "DIAGNOSE"),
        (POINT_TO_POINT | 500, POINT_TO_POINT | 500, 0xA3, "OTHER"),  # messages for an assembly: whose, nobody knows
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_what_a_connection_will_carry_is_asked_by_opening_it(
    forward: int, back: int, transport: int, operation: str, large: bool
) -> None:
    """A read-only conduit lets no output connection be opened; each assembly it names is asked for."""
    wide = [(half & 0x1FF) | half >> 13 << 29 if large else half for half in (forward, back)]
    asked = build.forward_open(OUTPUTS, forward=wide[0], back=wide[1], transport=transport, large=large)
    found = Talk().cip(build.unconnected(asked))
    assert [one for one, _ in found] == [operation] * 4
    assert [fields["instance"] for _, fields in found] == [1, 5, 0x65, 0x64]
    assert [fields["class"] for _, fields in found] == [6, 4, 4, 4]
    assert found[0][1]["count"] == (forward & 0x1FF)


def test_a_configuration_is_written() -> None:
    """A data segment writes the configuration assembly, whatever is opened with it."""
    path = OUTPUTS + b"\x80\x02abcd"
    asked = build.forward_open(path, forward=POINT_TO_POINT | 2, back=MULTICAST | 20, transport=1)
    assert Talk().cip(build.unconnected(asked))[0][0] == "WRITE"


def test_a_connection_beyond_the_chassis_is_administration_too() -> None:
    """Whoever may read may not reach another network through the device."""
    path = b"\x01\x00\x12\x0810.0.0.9" + build.ROUTER
    half = POINT_TO_POINT | 500
    found = Talk().cip(build.unconnected(build.forward_open(path, forward=half, back=half, transport=0xA3)))
    assert [(operation, fields.get("count")) for operation, fields in found] == [("NONE", 500), ("ADMIN", 2)]


def test_a_forward_open_must_fill_its_request() -> None:
    """One byte more or less is refused."""
    asked = build.forward_open(OUTPUTS, forward=POINT_TO_POINT | 2, back=0, transport=1)
    for wrong in (asked + b"\0", asked[:-1], asked[:-2]):
        assert Talk().says(build.unconnected(wrong))[0] is Reason.MESSAGE_MALFORMED


def test_a_conversation_taken_up_in_its_middle_is_read_leniently() -> None:
    """Connections and requests of before are unknown: messages are judged, answers pass."""
    talk = Talk(taken_up=True)
    assert talk.cip(build.connected(IDENTITY))[0][0] == "READ"
    talk.cip(build.connected(build.answer(0x0E), connection=0x77), opener=False)
    talk.cip(build.unconnected(build.answer(0x10)), opener=False)


def test_implicit_data_is_written_and_read() -> None:
    """What the opener sends is written, what comes back is read, and a heartbeat is neither."""
    talk = Talk(Inspector.ENIP_IO)
    for data, opener, operation in (
        (b"\1\0" + bytes(6), True, Operation.WRITE),
        (b"\1\0" + bytes(6), False, Operation.READ),
        (b"\1\0", True, Operation.NONE),
        (b"", False, Operation.NONE),
    ):
        reason, (found,) = talk.says(build.datum(data, connection=7), opener=opener)
        assert (reason, found["operation"], found["fields"]) == (Reason.NONE, operation, {"connection": 7})
    assert talk.says(b"\3\0" + build.datum(b"")[2:])[0] is Reason.MESSAGE_PROTOCOL


def test_fields_stand_where_the_abi_has_them() -> None:
    """The numbers in the .pxd files follow FIELD_NAMES: each field is found under its own name."""
    write = build.request(0x4D, build.symbol("Tag") + build.logical(2, 3), b"\xc4\0\2\0" + struct.pack("<II", 5, 9))
    talk = Talk()
    talk.opens()
    ((_, fields),) = talk.cip(build.connected(write))
    tag = fields.pop("tag")
    assert tag > 2**32
    assert fields == {
        "service": 0x4D, "response": 0, "connection": 0x1000, "value": (5, 9),
        "offset": (3, 4), "count": 2, "type": 0xC4,
    }  # fmt: skip
    assert set(fields) < set(FIELD_NAMES[Protocol.CIP])
