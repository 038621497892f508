"""S7comm conversations as the inspector reads them: framing, answers, transfers, what is refused."""

from __future__ import annotations

import pytest

from fastpath.abi import Inspector, Operation, Protocol, Reason
from fastpath.dissect import Dissection, s7_memory
from tests.support import s7_messages as s7
from tests.support.s7_conversation import fresh

READ_DB1 = s7.read_items(s7.pointer(2, 4, 1, 0x84, 0))
NONE, MALFORMED, ANSWER = Reason.NONE, Reason.MESSAGE_MALFORMED, Reason.MESSAGE_ANSWER
OTHER_PROTOCOL, OPAQUE, BUDGET = Reason.MESSAGE_PROTOCOL, Reason.MESSAGE_OPAQUE, Reason.MESSAGE_BUDGET


def test_connecting_tells_the_called_tsap() -> None:
    """Rack and slot stand in the called TSAP; connecting asks nothing of the equipment."""
    reason, (access,) = Dissection(Inspector.S7COMM).read(s7.CONNECT, True)
    assert (reason, access["protocol"], access["operation"]) == (NONE, Protocol.COTP, Operation.NONE)
    assert access["fields"]["destination_tsap"] == 0x0102
    said = {name: access["fields"][name] for name in ("connection_type", "rack", "slot")}
    assert said == {"connection_type": 1, "rack": 0, "slot": 2}
    text = s7.CONNECT.replace(bytes.fromhex("c2020102"), bytes.fromhex("c203010200")).replace(b"\x16\x11", b"\x17\x12")
    _, (other,) = Dissection(Inspector.S7COMM).read(text, True)
    assert other["fields"]["destination_tsap"] == 0x010200
    assert "connection_type" not in other["fields"]
    assert fresh().read(s7.CONNECT, False)[0] is ANSWER
    assert fresh().read(s7.CONFIRM, True)[0] is ANSWER


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("16", OTHER_PROTOCOL),  # a TLS record
        ("0301", MALFORMED),
        ("03000006", MALFORMED),
        ("0300000702", NONE),  # too little to tell
        ("0300000703", MALFORMED),  # the COTP header is longer than the TPKT
        ("0300000702f081", MALFORMED),  # a number in class 0
        ("0300000803f08032", MALFORMED),  # a data TPDU with parameters
        ("030000090410800001", MALFORMED),  # expedited data
        ("0300001711e00000000100c0010ac1020100c202010232", MALFORMED),  # user data behind a connect
    ],
)
def test_what_cannot_begin_a_message_is_said_at_once(start: str, reason: Reason) -> None:
    """The first contradicting byte decides, whatever else is still to come."""
    assert fresh().measure(bytes.fromhex(start), True) == (reason, 0)


def test_a_split_data_unit_is_bounded() -> None:
    """64 fragments and 8 KiB are followed; more are refused before they are whole."""
    empty = s7.tpkt(b"\x02\xf0\x00")
    last = s7.job(READ_DB1)
    dissection = fresh()
    assert dissection.measure(empty * 64 + last, True) == (NONE, 7 * 64 + len(last))
    assert dissection.measure(empty * 65, True) == (BUDGET, 0)
    long = s7.tpkt(b"\x02\xf0\x00" + bytes(4096))
    assert dissection.measure(long * 2, True) == (NONE, 0)
    assert dissection.measure(long * 2 + s7.tpkt(b"\x02\xf0\x80" + b"x"), True) == (BUDGET, 0)
    assert dissection.measure(empty + s7.CONNECT, True) == (MALFORMED, 0)


def test_every_length_of_a_message_is_measured() -> None:
    """Too little says so; from the header on the length is right, also of three fragments."""
    message = s7.data(s7.pdu(1, READ_DB1), cuts=(3, 9))
    dissection = fresh()
    lengths = [dissection.measure(message[:here], True) for here in range(len(message) + 1)]
    assert all(reason is NONE for reason, _ in lengths)
    assert {length for _, length in lengths} == {0, len(message)}
    assert dissection.measure(message + message, True) == (NONE, len(message))


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (bytes.fromhex("0d1c050613010016"), OTHER_PROTOCOL),  # ISO session: MMS
        (bytes.fromhex("1603010005"), OPAQUE),  # TLS inside COTP
        (bytes.fromhex("3201"), MALFORMED),
        (s7.pdu(1, READ_DB1) + b"x", MALFORMED),
        (s7.pdu(1, READ_DB1, b"x"), MALFORMED),
        (s7.pdu(1, b"\x04\x00"), MALFORMED),
        (s7.pdu(1, b""), MALFORMED),
        (s7.pdu(1, s7.read_items(s7.pointer(2, 0, 1, 0x84, 0))), MALFORMED),
        (s7.pdu(1, s7.write_items(s7.pointer(4, 1, 1, 0x84, 0)), s7.written(4, bytes(4))), MALFORMED),
        (s7.pdu(1, s7.write_items(s7.pointer(1, 2, 1, 0x84, 0)), s7.written(3, bytes(2))), MALFORMED),
        (s7.pdu(1, s7.service(b"_GARB", b"xxP_PROGRAM")), MALFORMED),
        (s7.pdu(7, bytes.fromhex("0001120411440101"), bytes.fromhex("ff0900020132")), NONE),
        (s7.pdu(7, bytes.fromhex("0001120411440101"), bytes.fromhex("ff0900030132")), MALFORMED),
        (s7.pdu(7, bytes.fromhex("0001120511440101"), bytes.fromhex("0a000000")), MALFORMED),
    ],
)
def test_what_contradicts_itself_is_refused(user: bytes, reason: Reason) -> None:
    """Lengths agree to the byte, or the message is none."""
    assert fresh().read(s7.data(user), True)[0] is reason


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        (4, b"\x03\xe8", 1000),
        (6, b"\x00\x00\x03\xe8", 1000),
        (2, b"\x07", 7),
        (8, bytes.fromhex("3f800000"), 0x3F800000),
    ],
)
def test_one_variable_written_is_one_number(kind: int, value: bytes, number: int) -> None:
    """The same bytes are the same number, written by their type or as bytes."""
    typed = s7.job(s7.write_items(s7.pointer(kind, 1, 1, 0x84, 80)), s7.written(4, value))
    plain = s7.job(s7.write_items(s7.pointer(2, len(value), 1, 0x84, 80)), s7.written(4, value))
    for message in (typed, plain):
        reason, (access,) = fresh().read(message, True)
        assert (reason, access["operation"]) == (NONE, Operation.WRITE)
        assert access["fields"]["value"] == number
        assert access["fields"]["count"] == len(value)
        assert access["values"] == [value]
        assert access["fields"]["address"] in {10, (10, 9 + len(value))}


def test_a_bit_is_written_without_a_count() -> None:
    """A clause that names a count of bytes does not match a single bit; a longer write is no single number."""
    bit = s7.job(s7.write_items(s7.pointer(1, 1, 1, 0x84, 87)), s7.written(3, b"\x01"))
    _, (access,) = fresh().read(bit, True)
    assert access["fields"]["value"] == 1
    assert access["fields"]["address"] == 10
    assert "count" not in access["fields"]
    assert access["values"] == [1]
    eight = s7.job(s7.write_items(s7.pointer(2, 8, 1, 0x84, 80)), s7.written(4, bytes(8)))
    _, (access,) = fresh().read(eight, True)
    assert "value" not in access["fields"]


def test_a_byte_at_a_crooked_address_touches_both() -> None:
    """What one server rounds down another may round up."""
    _, (access,) = fresh().read(s7.job(s7.read_items(s7.pointer(2, 1, 1, 0x84, 81))), True)
    assert access["fields"]["address"] == (10, 11)


def test_a_timer_in_a_data_block_is_not_understood() -> None:
    """Where a numbered thing of another area lies, servers disagree."""
    for size, area in ((29, 0x84), (2, 29), (28, 29)):
        _, found = fresh().read(s7.job(s7.read_items(s7.pointer(size, 1, 1, area, 8))), True)
        assert [one["operation"] for one in found] == [Operation.READ, Operation.OTHER]


def test_a_download_is_fetched_by_the_cpu() -> None:
    """The CPU's jobs are answers to the download asked for; the pieces sent are of the block that it names."""
    fetch = s7.job(b"\x1b" + bytes(7) + s7.block_name("0A", 5), reference=70)
    piece = s7.acknowledge(b"\x1b\x00", bytes.fromhex("000200fbaabb"), reference=70)
    dissection = fresh()
    assert dissection.read(fetch, False)[0] is ANSWER
    assert dissection.read(piece.replace(b"\x00\x46", b"\x00\x47"), True)[0] is ANSWER
    ask = b"\x1a" + bytes(7) + s7.block_name("0A", 5) + b"\x0d1000216000088"
    reason, (access,) = dissection.read(s7.job(ask), True)
    assert (reason, access["operation"], access["fields"]["block"]) == (NONE, Operation.PROGRAM, 1_000_005)
    assert dissection.read(s7.acknowledge(b"\x1a"), False)[0] is NONE
    assert dissection.read(fetch, False)[0] is NONE
    reason, (access,) = dissection.read(piece, True)
    assert (reason, access["operation"], access["answer"]) == (NONE, Operation.PROGRAM, False)
    assert access["fields"]["block"] == 1_000_005
    assert dissection.read(s7.job(b"\x1c" + bytes(7) + s7.block_name("0A", 5), reference=71), False)[0] is NONE
    assert dissection.read(s7.acknowledge(b"\x1c", reference=71), True)[0] is NONE
    assert dissection.read(fetch, False)[0] is ANSWER


def test_an_upload_keeps_its_block() -> None:
    """The pieces are asked for by number; which block that is was said at the start."""
    dissection = fresh()
    dissection.read(s7.job(b"\x1d" + bytes(7) + s7.block_name("08", 1)), True)
    dissection.read(s7.acknowledge(b"\x1d" + bytes(3) + bytes.fromhex("00000007") + b"\x070000216"), False)
    _, (known,) = dissection.read(s7.job(b"\x1e" + bytes(3) + bytes.fromhex("00000007")), True)
    _, (unknown,) = dissection.read(s7.job(b"\x1e" + bytes(3) + bytes.fromhex("00000008")), True)
    assert known["fields"]["block"] == 800_001
    assert "block" not in unknown["fields"]
    assert known["operation"] is unknown["operation"] is Operation.PROGRAM


def test_what_the_opener_sends_is_judged_whatever_it_calls_itself() -> None:
    """A request that poses as a response or a push has the operation of its group: some servers do not look."""
    for kind in (4, 8, 0, 7, 11, 3):
        reason, (access,) = fresh().read(s7.userdata(kind, 7, 2, bytes(10)), True)
        assert (reason, access["operation"], access["answer"]) == (NONE, Operation.ADMIN, False)
    reason, (access,) = fresh().read(s7.data(s7.pdu(8, b"\x05")), True)
    assert (reason, access["operation"]) == (NONE, Operation.OTHER)


def test_what_a_cpu_pushes_was_not_asked_for_by_one_request() -> None:
    """Cyclic data and alarms pass as answers; a response needs its request."""
    dissection = fresh()
    assert dissection.read(s7.userdata(0, 2, 1, bytes(8), form=12), False)[0] is NONE
    assert dissection.read(s7.userdata(8, 4, 1, bytes(8), form=12), False)[0] is ANSWER
    dissection.read(s7.userdata(4, 4, 1, bytes(4)), True)
    assert dissection.read(s7.userdata(8, 7, 1, bytes(8), form=12), False)[0] is ANSWER
    reason, (access,) = dissection.read(s7.userdata(8, 4, 1, bytes(8), form=12), False)
    assert (reason, access["operation"]) == (NONE, Operation.DIAGNOSE)


def test_a_subscription_names_what_it_reads() -> None:
    """Cyclic items are accesses with addresses, like those of a read."""
    content = bytes((0, 2, 1, 5)) + s7.pointer(2, 4, 1, 0x84, 0) + s7.pointer(4, 1, 2, 0x84, 16)
    reason, found = fresh().read(s7.userdata(4, 2, 1, content), True)
    assert reason is NONE
    assert [(one["operation"], one["fields"]["db"], one["further"]) for one in found] == [
        (Operation.READ, 1, False),
        (Operation.READ, 2, True),
    ]
    assert all(one["fields"]["userdata_group"] == 2 for one in found)


@pytest.mark.parametrize(
    ("opcode", "function", "body", "operation"),
    [
        (0x31, 0x054C, bytes(12), Operation.READ),
        (0x31, 0x04BB, bytes(12), Operation.READ),
        (0x31, 0x0542, bytes.fromhex("000003c03400000000"), Operation.WRITE),
        (0x31, 0x0542, bytes.fromhex("000003c034000003c0"), Operation.WRITE),
        (0x31, 0x0542, bytes.fromhex("000003c03400000034"), Operation.CONTROL),
        (0x31, 0x04F2, bytes.fromhex("000003c03400000034"), Operation.CONTROL),
        (0x31, 0x04CA, bytes.fromhex("00000120360000011d"), Operation.NONE),
        (0x31, 0x04CA, bytes.fromhex("000003c03400000003"), Operation.PROGRAM),
        (0x31, 0x04D4, bytes.fromhex("000003c034000003c0"), Operation.NONE),
        (0x31, 0x04D4, bytes.fromhex("000003c03400000003"), Operation.PROGRAM),
        (0x31, 0x056B, bytes(12), Operation.CONTROL),
        (0x31, 0x0999, bytes(12), Operation.OTHER),
        (0x32, 0x054C, bytes(12), Operation.OTHER),  # an opener does not answer
    ],
)
def test_s7comm_plus_in_clear_has_an_operation(opcode: int, function: int, body: bytes, operation: Operation) -> None:
    """By function, and by object where the function alone does not say it."""
    reason, (access,) = fresh().read(s7.plus(opcode, function, body), True)
    assert (reason, access["protocol"], access["operation"]) == (NONE, Protocol.S7COMM_PLUS, operation)
    assert access["fields"] == {"version": 2, "opcode": opcode, "function": function, "reference": 7}


def test_s7comm_plus_continues_what_had_no_trailer() -> None:
    """A continuation keeps its operation; a request in its place is read as one."""
    write = bytes.fromhex("000003c03400000000")
    dissection = fresh()
    dissection.read(s7.plus(0x31, 0x054C, bytes(12), trailer=False), True)
    middle = s7.data(bytes.fromhex("72020004aabbccdd72020000"))
    assert dissection.read(middle, True)[1][0]["operation"] is Operation.READ
    dissection.read(s7.plus(0x31, 0x054C, bytes(12), trailer=False), True)
    assert dissection.read(s7.plus(0x31, 0x0542, write), True)[1][0]["operation"] is Operation.WRITE
    assert dissection.read(middle, True)[0] is OPAQUE


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("72030004aabbccdd72030000", OPAQUE),
        ("7204000431000005720400007203", OPAQUE),
        ("720200013172020000", MALFORMED),
        ("7202000431000005720200", MALFORMED),
        ("7202", MALFORMED),
    ],
)
def test_s7comm_plus_that_is_not_in_clear_is_refused(user: str, reason: Reason) -> None:
    """Unknown versions and opcodes are opaque, wrong lengths malformed."""
    assert fresh().read(s7.data(bytes.fromhex(user)), True)[0] is reason


def test_what_is_remembered_fits() -> None:
    """The memory of an S7 conversation is no larger than every conversation's."""
    used, room = s7_memory()
    assert used <= room - 8  # the last word is the stream layer's


def test_a_mode_transition_has_no_subfunction() -> None:
    """Its octet is the mode; group and mode are no more than that."""
    reason, (access,) = fresh().read(s7.userdata(0, 0, 3, form=12), False)
    assert (reason, access["fields"]["userdata_group"]) == (NONE, 0)
    assert "userdata_subfunction" not in access["fields"]


def test_lengths_that_disagree_are_refused_and_told() -> None:
    """Refused, and what the head says stands in the log; it is no operation that could be permitted."""
    reason, (access,) = fresh().read(s7.data(s7.pdu(1, READ_DB1) + b"\0"), True)
    assert (reason, access["operation"], access["fields"]["function"]) == (MALFORMED, Operation.OTHER, 4)
    reason, (access,) = fresh().read(s7.data(s7.pdu(7, bytes.fromhex("0001120411440100")) + b"\0"), True)
    assert (reason, access["fields"]["userdata_group"], access["fields"]["userdata_subfunction"]) == (MALFORMED, 4, 1)
