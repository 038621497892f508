"""CIP requests by the examples of their clauses: operations, paths, tags, values, what is embedded."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fastpath.abi import Inspector, Protocol, Reason
from fastpath.dissect import Dissection
from rules.protocols.cip import NAMES, tag_number
from tests.support import enip_messages as build


def read(message: bytes) -> tuple[Reason, list[dict[str, Any]]]:
    """Read one unconnected request."""
    reason, found = Dissection(Inspector.ENIP).read(build.unconnected(message), True)
    return reason, [one for one in found if one["protocol"] is Protocol.CIP]


def first(message: bytes) -> dict[str, Any]:
    """Return the message's own access; it must not be refused."""
    reason, found = read(message)
    assert reason is Reason.NONE, reason
    return found[0]


@pytest.mark.parametrize(
    ("service", "klass", "operation"),
    [
        (0x01, 0x01, "READ"), (0x0E, 0xF5, "READ"),
        (0x10, 0x04, "WRITE"), (0x10, 0x0F, "WRITE"), (0x02, 0x0A, "WRITE"),
        (0x10, 0xF5, "ADMIN"), (0x10, 0xF6, "ADMIN"), (0x10, 0xF4, "ADMIN"),
        (0x10, 0x43, "ADMIN"), (0x10, 0x8B, "ADMIN"),
        (0x10, 0x5D, "ADMIN"), (0x05, 0x01, "CONTROL"), (0x06, 0x8E, "CONTROL"), (0x07, 0x64, "CONTROL"),
        (0x08, 0x6B, "PROGRAM"), (0x09, 0x68, "PROGRAM"), (0x15, 0x0F, "ADMIN"), (0x16, 0x0F, "ADMIN"),
        (0x10, 0x68, "PROGRAM"), (0x4C, 0x8E, "PROGRAM"), (0x4D, 0xA1, "PROGRAM"), (0x4B, 0x37, "PROGRAM"),
        (0x4F, 0x37, "PROGRAM"), (0x4B, 0x01, "DIAGNOSE"), (0x56, 0x06, "DIAGNOSE"), (0x4E, 0x44, "READ"),
        (0x50, 0x44, "WRITE"), (0x51, 0x44, "OTHER"), (0x4C, 0x6C, "READ"), (0x55, 0x6B, "READ"),
        (0x4B, 0x300, "OTHER"),
        (0x32, 0x01, "OTHER"), (0x7F, 0x04, "OTHER"), (0x17, 0x01, "NONE"),
    ],
)  # fmt: skip
def test_operations_by_service_and_class(service: int, klass: int, operation: str) -> None:
    """The table of the reference page, by example."""
    assert first(build.request(service, build.place(klass, 1)))["operation"].name == operation


@pytest.mark.parametrize(
    ("path", "name", "offset"),
    [
        (build.symbol("Motor"), "motor", None),
        (build.symbol("MOTOR"), "Motor", None),
        (b"\x65Motor", "Motor", None),
        (build.symbol("Program:Main") + build.symbol("Speed"), "Program:Main.Speed", None),
        (build.symbol("A") + build.logical(2, 3) + build.symbol("B"), "A[3].B", None),
        (build.symbol("A") + build.logical(2, 1) + build.logical(2, 2), "A[1,2]", None),
        (build.symbol("A") + build.logical(2, 70000), "A", 70000),
        (build.place(0x6B, 5) + build.symbol("Member"), ".Member", None),
    ],
)
def test_a_tag_is_named_by_its_path(path: bytes, name: str, offset: int | None) -> None:
    """The number in `tag` is that of the name that a policy writes."""
    fields = first(build.request(0x4C, path, b"\1\0"))["fields"]
    assert fields["tag"] == tag_number(name)
    assert fields["offset"] == (offset or 0)


@pytest.mark.parametrize("name", ["", "A..B", "A[", "A[1,2,3,4]", "A B", "A[3]", "Ä", "x" * 501])
def test_what_no_path_says_is_no_name(name: str) -> None:
    """A single subscript at the end stands in `offset`; the hint says so."""
    with pytest.raises(ValueError, match=r"(?i)write tag"):
        tag_number(name)


def test_different_names_have_different_numbers() -> None:
    """Joints and lengths count."""
    names = ["A", "A.B", "AB", "A.B.C", "A[1,2]", "A[12,2]", ".A", "aaaaaaaa", "aaaaaaa", "aaaaaaaaa"]
    assert len({tag_number(name) for name in names}) == len(names)


def test_values_are_a_band() -> None:
    """Integers as they stand on the wire; floats enclosed by whole numbers; what cannot be enclosed is everything."""
    for kind, values, band in (
        ("dint", struct.pack("<3i", 7, 3, 5), (3, 7)),
        ("dint", struct.pack("<i", -1), 2**32 - 1),
        ("real", struct.pack("<2f", 1.5, 2.0), (1, 2)),
        ("real", struct.pack("<f", -0.5), (0, 2**64 - 1)),
        ("lreal", struct.pack("<d", float("nan")), (0, 2**64 - 1)),
        ("sint", b"\x80", 0x80),
    ):
        size = {"dint": 4, "real": 4, "lreal": 8, "sint": 1}[kind]
        head = struct.pack("<HH", NAMES["type"][kind], len(values) // size)
        assert first(build.request(0x4D, build.symbol("T"), head + values))["fields"]["value"] == band


def test_a_fragment_lies_within_what_it_announces() -> None:
    """Byte offset and data of a fragmented write stay within count."""
    head = struct.pack("<HHI", 0xC4, 4, 8)
    found = first(build.request(0x53, build.symbol("T"), head + bytes(8)))
    assert (found["fields"]["offset"], len(found["values"])) == ((0, 3), 2)
    for wrong in (head + bytes(12), head + bytes(7), struct.pack("<HHI", 0xC4, 4, 2) + bytes(4)):
        assert read(build.request(0x53, build.symbol("T"), wrong))[0] is Reason.MESSAGE_MALFORMED


def test_each_attribute_of_a_list_is_asked_for() -> None:
    """The message names the first, further accesses the others; a list that is written hides what follows its first."""
    _, found = read(build.request(0x03, build.place(1, 1), struct.pack("<4H", 3, 1, 7, 6)))
    assert [(one["further"], one["fields"]["attribute"]) for one in found] == [(False, 1), (True, 7), (True, 6)]
    _, found = read(build.request(0x04, build.place(0x8B, 1), struct.pack("<3HB", 2, 6, 1, 5)))
    assert [one["fields"].get("attribute") for one in found] == [6, None]
    assert (
        read(build.request(0x03, build.place(1, 1), struct.pack("<130H", 129, *range(129))))[0] is Reason.MESSAGE_BUDGET
    )


def test_a_part_within_a_part_is_asked_for_twice() -> None:
    """An instance of symbol within a program matches no clause that names the instance alone."""
    _, found = read(build.request(0x4C, build.place(0x68, 9) + build.place(0x6B, 5), b"\1\0"))
    assert [(one["fields"]["class"], one["fields"]["instance"]) for one in found] == [(0x6B, 5), (0x68, 9)]


@pytest.mark.parametrize(
    ("command", "function", "operation"),
    [(15, 0xA2, "READ"), (15, 0xAA, "WRITE"), (15, 0x80, "CONTROL"), (15, 0x50, "PROGRAM"), (6, 3, "DIAGNOSE"),
     (1, 0, "READ"), (8, 0, "WRITE"), (15, 0x77, "OTHER"), (0x20, 0, "OTHER")],
)  # fmt: skip
def test_pccc_is_read_by_command_and_function(command: int, function: int, operation: str) -> None:
    """`type` is command and function."""
    data = b"\x07" + bytes(6) + bytes((command, 0, 1, 0, function))
    found = first(build.request(0x4B, build.place(0x67, 1), data))
    assert found["operation"].name == operation
    assert found["fields"]["type"] >> 8 == command


def test_embedded_messages_are_messages_of_their_own() -> None:
    """Each at its depth, with its own operation; the answer likewise."""
    inner = [build.request(0x0E, build.place(1, 1, 1)), build.request(0x07, build.place(0x8E, 1))]
    _, found = read(build.routed(build.multiple(inner)))
    assert [(one["depth"], one["operation"].name) for one in found] == [
        (0, "NONE"),
        (1, "NONE"),
        (2, "READ"),
        (2, "CONTROL"),
    ]
    talk = Dissection(Inspector.ENIP)
    talk.read(build.unconnected(build.multiple(inner)), True)
    replies = build.slices([build.answer(0x0E, b"ab"), build.answer(0x07, status=8)])
    reason, found = talk.read(build.unconnected(build.answer(0x0A, replies, status=0x1E)), False)
    assert reason is Reason.NONE
    assert [one["fields"]["status"] for one in found[1:]] == [0x1E, 0, 8]


def test_slices_lie_in_order_side_by_side() -> None:
    """Offsets that go back, overlap the table, or pass the end are refused, and so is an answer within a request."""
    one = build.request(0x0E, build.place(1, 1, 1))
    for offsets in ((6, 6), (14, 6), (5, 14), (7, 14), (6, 99), (6, 22)):
        data = struct.pack("<HHH", 2, *offsets) + one + one
        assert read(build.request(0x0A, build.ROUTER, data))[0] is Reason.MESSAGE_MALFORMED
    assert read(build.multiple([one, build.answer(0x0E)]))[0] is Reason.MESSAGE_MALFORMED
    assert read(build.request(0x0A, build.ROUTER, b"\0\0"))[0] is Reason.MESSAGE_MALFORMED


def test_nesting_is_bounded() -> None:
    """Four deep is read, five is not."""
    message = build.request(0x0E, build.place(1, 1, 1))
    for _ in range(4):
        message = build.multiple([message])
    assert read(message)[0] is Reason.NONE
    assert read(build.multiple([message]))[0] is Reason.MESSAGE_BUDGET


def test_a_violation_is_seen_before_its_message_is_complete() -> None:
    """A stop is put once its path is here, also within a packet; a Forward Open not before it says what it opens."""
    stop = build.request(0x07, build.place(0x8E, 1), bytes(8))
    whole = build.unconnected(build.multiple([build.request(0x0E, build.place(1, 1, 1)), stop]))
    talk = Dissection(Inspector.ENIP)
    _, found = talk.read(whole[:-8], True, len(whole))
    assert [one["operation"].name for one in found if one["protocol"] is Protocol.CIP] == ["NONE", "READ", "CONTROL"]
    assert all(one["partial"] for one in found)
    _, found = talk.read(whole[:-9], True, len(whole))
    assert [one["operation"].name for one in found if one["protocol"] is Protocol.CIP] == ["NONE", "READ"]


@pytest.mark.parametrize(
    "path",
    [
        "2001 2401 2402",  # two instances
        "2001 2401 3001 3002",  # two attributes
        "2401",  # an instance of nothing
        "2801",  # a member of nothing
        "2300",  # a width that is none
        "3401",  # a key of no format
        "2001 0100",  # a hop within a request
        "9100",  # an empty symbol
        "9103 4100 4200",  # a character that is none
        "c100",  # a type
        "2500 01",  # cut short
    ],
)
def test_paths_that_are_none(path: str) -> None:
    """Each is refused."""
    data = bytes.fromhex(path.replace(" ", ""))
    data += b"" if len(data) % 2 == 0 else b"\0"
    assert read(build.request(0x0E, data))[0] is Reason.MESSAGE_MALFORMED


def test_what_follows_a_malformed_service_is_told_too() -> None:
    """The packet is refused all the same."""
    reset = build.request(0x05, build.place(1, 1))
    reason, found = read(build.multiple([build.request(0x0E, b"\xc1\0"), reset]))
    assert reason is Reason.MESSAGE_MALFORMED
    assert [(one["fields"]["service"], one["operation"].name) for one in found] == [
        (0x0A, "NONE"), (0x0E, "OTHER"), (0x05, "CONTROL"),
    ]  # fmt: skip


def test_a_route_that_is_none_is_refused_with_what_it_carries() -> None:
    """Its length disagrees, or a segment is none: the send counts as administration."""
    for send in (build.routed(build.request(0x05, build.place(1, 1))) + b"\0\0",
                 build.routed(build.request(0x05, build.place(1, 1)), b"\xc1\0")):  # fmt: skip
        reason, found = read(send)
        assert reason is Reason.MESSAGE_MALFORMED
        assert [one["operation"].name for one in found] == ["ADMIN", "CONTROL"]


def test_a_write_that_its_sender_put_twice_is_one() -> None:
    """pycomm3 repeats sequence count and request behind a single tag's values; nothing else may stand there."""
    write = build.request(0x4D, build.symbol("Dose"), struct.pack("<HHI", 0xC4, 1, 400))
    other = build.request(0x4D, build.symbol("Dose"), struct.pack("<HHI", 0xC4, 1, 401))
    read_ = build.request(0x4C, build.symbol("Dose"), struct.pack("<H", 1))

    def ask(message: bytes, sequence: int = 7) -> tuple[Reason, list[dict[str, Any]]]:
        whole = build.connected(message, sequence=sequence)
        reason, found = Dissection(Inspector.ENIP, taken_up=True).read(whole, True)
        return reason, [one for one in found if one["protocol"] is Protocol.CIP]

    assert ask(write + struct.pack("<H", 7) + write) == ask(write)
    assert ask(write)[1][0]["fields"]["value"] == 400
    for surplus in (struct.pack("<H", 8) + write, struct.pack("<H", 7) + other, struct.pack("<H", 7), bytes(4)):
        assert ask(write + surplus)[0] is Reason.MESSAGE_MALFORMED
    assert ask(read_ + struct.pack("<H", 7) + read_)[0] is Reason.MESSAGE_MALFORMED
    part = build.request(0x53, build.symbol("Dose"), struct.pack("<HHIh", 0xC3, 100, 0, 400))
    assert ask(part + struct.pack("<H", 7) + part)[1][0]["fields"]["value"] != 400  # all to the end is written
    assert read(write + struct.pack("<H", 7) + write)[0] is Reason.MESSAGE_MALFORMED  # unconnected: nobody sends so
