"""Modbus/TCP by the clauses of Application Protocol V1.1b3: its own examples, its limits, and what is none of it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Dissection
from tests.fuzz.grammar_modbus import packed, tcp

READ, WRITE, DIAGNOSE = Operation.READ, Operation.WRITE, Operation.DIAGNOSE
CONTROL, ADMIN, PROGRAM, OTHER = Operation.CONTROL, Operation.ADMIN, Operation.PROGRAM, Operation.OTHER

# The examples of clauses 6.1 to 6.21: request, answer, operation, and the request's fields.
EXAMPLES: Final[list[tuple[str, str, Operation, dict[str, Any]]]] = [
    ("0100130013", "0103cd6b05", READ, {"address": (19, 37), "count": 19}),
    ("0200c40016", "0203acdb35", READ, {"address": (196, 217), "count": 22}),
    ("03006b0003", "0306022b00000064", READ, {"address": (107, 109), "count": 3}),
    ("0400080001", "0402000a", READ, {"address": 8, "count": 1}),
    ("0500acff00", "0500acff00", WRITE, {"address": 172, "value": 1}),
    ("0600010003", "0600010003", WRITE, {"address": 1, "value": 3}),
    ("07", "076d", DIAGNOSE, {}),
    ("080000a537", "080000a537", DIAGNOSE, {"subfunction": 0}),
    ("0b", "0bffff0108", DIAGNOSE, {}),
    ("0c", "0c080000010801212000", DIAGNOSE, {}),
    ("0f0013000a02cd01", "0f0013000a", WRITE, {"address": (19, 28), "count": 10, "value": (0, 1)}),
    ("100001000204000a0102", "1000010002", WRITE, {"address": (1, 2), "count": 2, "value": (10, 258)}),
    ("11", "110309ff00", DIAGNOSE, {}),
    (
        "140e0600040001000206000300090002", "140c05060dfe0020050633cd0040", READ,
        {"file": 4, "record": (1, 2), "count": 2},
    ),
    (
        "150d0600040007000306af04be100d", "150d0600040007000306af04be100d", WRITE,
        {"file": 4, "record": (7, 9), "count": 3, "value": (0x04BE, 0x100D)},
    ),
    ("16000400f20025", "16000400f20025", WRITE, {"address": 4, "value": (5, 0xF7)}),
    (
        "1700030006000e00030600ff00ff00ff", "170c00fe0acd00010003000d00ff", WRITE,
        {"address": (14, 16), "count": 3, "value": 255},
    ),
    ("1804de", "180006000201b81284", READ, {"address": 1246}),
    ("2b0e0100", "2b0e010100000300024142010143020144", DIAGNOSE, {"subfunction": 14}),
]  # fmt: skip


def ask(pdu: bytes) -> tuple[Reason, list[dict[str, Any]]]:
    """Return what a request means in a new conversation."""
    return Dissection(Inspector.MODBUS).read(tcp(pdu), True)


@pytest.mark.parametrize(("request_", "answer", "operation", "fields"), EXAMPLES, ids=[one[0] for one in EXAMPLES])
def test_examples_of_the_clauses(request_: str, answer: str, operation: Operation, fields: dict[str, Any]) -> None:
    """Every example is read as its clause says, and its answer answers it."""
    dissection = Dissection(Inspector.MODBUS)
    request, answered = tcp(bytes.fromhex(request_)), tcp(bytes.fromhex(answer))
    reason, found = dissection.read(request, True)
    assert reason is Reason.NONE
    assert found[0]["operation"] is operation
    shared = {"unit": 1, "transaction": 7, "function": int(request_[:2], 16)}
    assert found[0]["fields"] == shared | fields
    reason, found = dissection.read(answered, False)
    assert (reason, found[0]["operation"], found[0]["answer"]) == (Reason.NONE, operation, True)
    assert dissection.read(answered, False)[0] is Reason.MESSAGE_ANSWER  # it was asked for once


def test_an_answer_that_may_be_to_a_forgotten_request_brings_no_values() -> None:
    """Whoever asks more at once than is remembered would choose what is known of a register."""
    dissection = Dissection(Inspector.MODBUS)
    dissection.read(tcp(bytes.fromhex("0300640001")), True)
    for _ in range(32):
        dissection.read(tcp(bytes.fromhex("0300280001")), True)
    reason, (found,) = dissection.read(tcp(bytes.fromhex("03022710")), False)
    assert (reason, found["recalled"]["address"], found["values"]) == (Reason.NONE, 40, None)
    dissection.read(tcp(bytes.fromhex("0300280001"), transaction=8), True)
    assert dissection.read(tcp(bytes.fromhex("03020007"), transaction=8), False)[1][0]["values"] == [b"\x00\x07"]


def test_an_answer_recalls_what_its_request_asked_for() -> None:
    """Address and count of a read answer are no fields of it, but known."""
    dissection = Dissection(Inspector.MODBUS)
    dissection.read(tcp(bytes.fromhex("03006b0003")), True)
    _, (found,) = dissection.read(tcp(bytes.fromhex("0306022b00000064")), False)
    assert found["fields"] == {"unit": 1, "function": 3, "transaction": 7}
    assert found["recalled"] == {"address": 107, "count": 3}
    assert found["values"] == [b"\x02\x2b", b"\x00\x00", b"\x00\x64"]
    dissection.read(tcp(bytes.fromhex("03006b0003")), True)
    _, (found,) = dissection.read(tcp(b"\x83\x02"), False)
    assert found["fields"] == {"unit": 1, "function": 3, "transaction": 7, "exception": 2}
    assert found["operation"] is READ


def test_reading_and_writing_at_once_are_two_accesses() -> None:
    """Function 23 writes, and reads besides: both are judged."""
    _, found = ask(bytes.fromhex("1700030006000e00030600ff00ff00ff"))
    assert [(one["operation"], one["further"], one["fields"]["address"]) for one in found] == [
        (WRITE, False, (14, 16)),
        (READ, True, (3, 8)),
    ]


def test_every_group_of_a_file_request_is_an_access() -> None:
    """Function 20 asks for several records."""
    _, found = ask(bytes.fromhex("140e0600040001000206000300090002"))
    assert [(one["further"], one["fields"]["file"], one["fields"]["record"]) for one in found] == [
        (False, 4, (1, 2)),
        (True, 3, (9, 10)),
    ]


@pytest.mark.parametrize(
    ("pdu", "fine"),
    [
        (b"\1" + packed(0, 2000), True), (b"\1" + packed(0, 2001), False), (b"\2" + packed(0, 0), False),
        (b"\3" + packed(0, 125), True), (b"\3" + packed(0, 126), False), (b"\4" + packed(65535, 1), True),
        (b"\4" + packed(65535, 2), False), (b"\5" + packed(1, 1), False), (b"\5" + packed(1, 0), True),
        (b"\x0f" + packed(0, 1968) + b"\xf6" + bytes(246), True),
        (b"\x0f" + packed(0, 1969) + b"\xf7" + bytes(247), False),
        (b"\x10" + packed(0, 123) + b"\xf6" + bytes(246), True), (b"\x10" + packed(0, 2) + b"\5" + bytes(4), False),
        (b"\x10" + packed(0, 2) + b"\4" + bytes(5), False), (b"\x10" + packed(0, 2) + b"\4" + bytes(3), False),
        (b"\x17" + packed(0, 125, 0, 121) + b"\xf2" + bytes(242), True),
        (b"\x17" + packed(0, 126, 0, 1) + b"\2" + bytes(2), False),
        (b"\x08" + packed(1, 0xFF00), True), (b"\x08" + packed(1, 1), False), (b"\x08" + packed(4, 1), False),
        (b"\x2b\x0e\x05\x00", False), (b"\x07\x00", False), (b"\x00", False), (b"\x83\x01", False),
        (b"\x64" + bytes(252), True),
    ],
)  # fmt: skip
def test_limits(pdu: bytes, fine: bool) -> None:
    """Counts, byte counts, lengths and values at the limits of their clauses, and one beyond."""
    assert ask(pdu)[0] is (Reason.NONE if fine else Reason.MESSAGE_MALFORMED)


@pytest.mark.parametrize(
    ("pdu", "operation"),
    [
        (b"\x08\x00\x01\x00\x00", CONTROL), (b"\x08\x00\x04\x00\x00", CONTROL), (b"\x08\x00\x0a\x00\x00", ADMIN),
        (b"\x08\x00\x03\x0a\x00", ADMIN), (b"\x08\x00\x0b\x00\x00", DIAGNOSE), (b"\x08\x00\x15\x00\x00", OTHER),
        (b"\x2b\x0d\x01", OTHER), (b"\x2b\x7f", OTHER), (b"\x5a\x00\x02", PROGRAM), (b"\x41", OTHER), (b"\x7d", OTHER),
    ],
)  # fmt: skip
def test_operations_that_depend_on_more_than_the_function(pdu: bytes, operation: Operation) -> None:
    """Sub-functions, tunnels, reserved and user-defined functions."""
    reason, found = ask(pdu)
    assert (reason, found[0]["operation"]) == (Reason.NONE, operation)


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("160301020001000001fc0303"), b"GET / HTTP/1.1\r\n", bytes.fromhex("05000b0310000000"),
        bytes.fromhex("0300001611e00000"), bytes.fromhex("000700010006"),
    ],
    ids=["TLS", "HTTP", "DCE/RPC", "TPKT", "protocol identifier 1"],
)  # fmt: skip
def test_other_protocols_on_the_port(data: bytes) -> None:
    """Something else is told by its first bytes, whoever sends it."""
    for from_opener in (True, False):
        reason, length = Dissection(Inspector.MODBUS).measure(data, from_opener)
        assert reason in (Reason.MESSAGE_PROTOCOL, Reason.MESSAGE_MALFORMED)
        assert length == 0


def test_a_mask_write_is_judged_by_all_that_it_can_leave() -> None:
    """The old value is not known: the range is from the forced bits to these and all kept ones."""
    _, (found,) = ask(b"\x16" + packed(4, 0xFFFF, 0))
    assert found["fields"]["value"] == (0, 0xFFFF)
    _, (found,) = ask(b"\x16" + packed(4, 0, 0x1234))
    assert found["fields"]["value"] == 0x1234


def test_what_has_not_arrived_is_not_judged() -> None:
    """A beginning says what is certain: the function, then the address, then the values."""
    message = tcp(bytes.fromhex("100001000204000a0102"))
    dissection = Dissection(Inspector.MODBUS)
    seen = []
    for count in (7, 8, 10, 12, len(message) - 1):
        reason, found = dissection.read(message[:count], True, len(message))
        assert reason is Reason.NONE
        seen.append({name: value for one in found for name, value in one["fields"].items()})
        assert all(one["partial"] for one in found)
    assert [sorted(set(one) - {"unit", "transaction"}) for one in seen] == [
        [],
        ["function"],
        ["address", "function"],
        ["address", "count", "function"],
        ["address", "count", "function"],
    ]
    assert dissection.read(tcp(bytes.fromhex("1000010002")), False)[0] is Reason.MESSAGE_ANSWER


def test_umas_alone_may_be_longer() -> None:
    """Controllers that speak UMAS offer 1021 bytes; a longer message of any other function frames nothing."""
    long = tcp(b"\x5a\x00" + bytes(1019))
    assert Dissection(Inspector.MODBUS).measure(long[:7], True) == (Reason.NONE, 0)
    assert Dissection(Inspector.MODBUS).measure(long[:8], True) == (Reason.NONE, len(long))
    dissection = Dissection(Inspector.MODBUS)
    reason, found = dissection.read(long, True)
    assert (reason, [one["operation"] for one in found]) == (Reason.NONE, [PROGRAM])
    assert dissection.read(tcp(b"\x5a\x00\xfe" + bytes(900)), False)[0] is Reason.NONE
    reason, length = Dissection(Inspector.MODBUS).measure(tcp(b"\x03" + bytes(1019)), True)
    assert (reason, length) == (Reason.MESSAGE_MALFORMED, 0)
    assert Dissection(Inspector.MODBUS).measure(tcp(b"\x5a" + bytes(1023)), True)[0] is Reason.MESSAGE_MALFORMED
