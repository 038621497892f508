"""`conduitctl decode`: its lines, word by word, and what captures have that the wire does not."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.decoding.messages import decoded
from gateway.simulate.sources import CaptureFile
from tests.support import capture_file
from tests.support.capture_file import Packet

if TYPE_CHECKING:
    from pathlib import Path

CLIENT, SERVER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
IPV4: Final = bytes(12) + b"\x08\x00"
SYN, ACK = 0x02, 0x10


def tcp(port: int, at: int, payload: bytes, *, back: bool = False, flags: int = ACK, total: int | None = None) -> bytes:
    """Return an IPv4 packet from the client, or back, whose bytes stand `at` behind the first."""
    ports = (port, 40000) if back else (40000, port)
    source, destination = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    head = struct.pack("!HHIIBBHHH", *ports, 1000 + at, 1000, 0x50, flags, 8192, 0, 0)
    size = 40 + len(payload) if total is None else total
    return struct.pack("!BBHHHBBH", 0x45, 0, size, 1, 0, 64, 6, 0) + source + destination + head + payload


def read(transaction: int, address: int = 0, count: int = 2) -> bytes:
    """Return a Modbus request for holding registers."""
    return struct.pack("!HHHBBHH", transaction, 0, 6, 1, 3, address, count)


def written(folder: Path, *frames: bytes, link: int = 1, prefix: bytes = IPV4, snap: int = 65535) -> CaptureFile:
    """Write frames into a capture."""
    whole = [prefix + frame for frame in frames]
    packets = [Packet(at * 1000, one[:snap], len(one), link) for at, one in enumerate(whole)]
    path = folder / "made.pcap"
    path.write_bytes(capture_file.pcap(packets, link=link))
    return CaptureFile(path)


def seen(file: CaptureFile) -> list[tuple[int, int, Any]]:
    """Return frame, index and transaction of each message."""
    return [(one["frame"], one["index"], one["fields"]["transaction"]) for one in decoded(file)]


MODBUS_ABSENT: Final = {"exception": None, "subfunction": None, "value": None, "file": None, "record": None}


def test_lines_word_by_word(tmp_path: Path) -> None:
    """Pipelined and split Modbus messages, an S7 and a CIP one, as the command prints them."""
    s7 = bytes.fromhex("0300001902f08032010000000100080000f0000001000101e0")
    cip = struct.pack("<HHIIQI", 0x6F, 24, 5, 0, 0, 0) + bytes(6) + struct.pack("<HHHHH", 2, 0, 0, 0xB2, 8)
    cip += bytes.fromhex("0e03200124013001")
    file = written(
        tmp_path, tcp(502, 0, read(1) + read(2, 7)), tcp(502, 24, read(3)[:7]), tcp(502, 31, read(3)[7:]),
        tcp(102, 0, s7), tcp(44818, 0, cip),
    )  # fmt: skip
    done = CliRunner().invoke(app, ["decode", str(file.path), "-o", "jsonl"], catch_exceptions=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ends = {"src": "10.0.0.1", "sport": 40000, "dst": "10.0.0.2"}

    def modbus(frame: int, index: int, transaction: int, address: int) -> dict[str, Any]:
        fields = {"unit": 1, "function": 3, "address": address, "count": 2, "transaction": transaction}
        return {"frame": frame, "index": index, **ends, "dport": 502, "protocol": "modbus", "operation": "read",
                "answer": False, "fields": fields | MODBUS_ABSENT}  # fmt: skip

    assert lines[:3] == [modbus(1, 0, 1, 0), modbus(1, 1, 2, 7), modbus(3, 0, 3, 0)]
    assert [(one["frame"], one["index"], one["dport"], one["protocol"]) for one in lines[3:]] == [
        (4, 0, 102, "s7comm"), (5, 0, 44818, "enip"), (5, 1, 44818, "cip"),
    ]  # fmt: skip
    assert {name: lines[3]["fields"][name] for name in ("rosctr", "function", "userdata_group")} == {
        "rosctr": 1, "function": 0xF0, "userdata_group": None,
    }  # fmt: skip
    assert lines[4]["fields"]["command"] == 0x6F
    asked = {"service": 0x0E, "response": False, "class": 1, "instance": 1, "attribute": 1, "status": None, "depth": 0}
    assert {name: lines[5]["fields"][name] for name in asked} == asked
    assert done.stdout.splitlines()[0].startswith('{"frame": 1, "index": 0, "src": "10.0.0.1", "sport": 40000, "dst": ')


def test_a_gap_ends_no_conversation(tmp_path: Path) -> None:
    """Behind lost frames the next message is read, and what fills the gap late too, once."""
    frames = [tcp(502, at, read(at)) for at in (0, 36, 24, 48, 36, 12, 24)]
    assert seen(written(tmp_path, *frames)) == [(1, 0, 0), (2, 0, 36), (3, 0, 24), (4, 0, 48), (6, 0, 12)]


def test_parts_in_the_wrong_order(tmp_path: Path) -> None:
    """The rest of a message that came before its middle completes it with the middle."""
    whole = read(5)
    frames = (tcp(502, 0, whole[:6]), tcp(502, 9, whole[9:]), tcp(502, 6, whole[6:9]), tcp(502, 12, read(6)))
    assert seen(written(tmp_path, *frames)) == [(3, 0, 5), (4, 0, 6)]


def test_a_message_that_stays_incomplete_holds_nothing_up(tmp_path: Path) -> None:
    """Whose rest was never captured is not shown; the next one is."""
    assert seen(written(tmp_path, tcp(502, 0, read(5)[:9]), tcp(502, 12, read(6)))) == [(2, 0, 6)]


def test_keep_alives_and_repetitions_say_nothing(tmp_path: Path) -> None:
    """The byte in front of the next one and bytes sent again are no messages."""
    frames = (tcp(502, 0, read(5)), tcp(502, 11, b"\0"), tcp(502, 0, read(5)), tcp(502, 12, read(6)))
    assert seen(written(tmp_path, *frames)) == [(1, 0, 5), (4, 0, 6)]


def test_ports_used_again(tmp_path: Path) -> None:
    """Another SYN begins another conversation at numbers that were used before; the same one again does not."""
    syn = tcp(502, 11, b"", flags=SYN)
    frames = (tcp(502, 0, read(5) + read(6)), syn, tcp(502, 12, read(7)), syn, tcp(502, 12, read(7)))
    assert seen(written(tmp_path, *frames)) == [(1, 0, 5), (1, 1, 6), (3, 0, 7)]


def test_who_has_the_port_is_asked(tmp_path: Path) -> None:
    """Even where that end sent the SYN."""
    answer = struct.pack("!HHHBBB4s", 5, 0, 7, 1, 3, 4, bytes(4))
    frames = (tcp(502, -1, b"", back=True, flags=SYN), tcp(502, 0, read(5)), tcp(502, 0, answer, back=True))
    assert [(one["frame"], one["answer"]) for one in decoded(written(tmp_path, *frames))] == [(2, False), (3, True)]


def test_another_port_is_known_by_its_content(tmp_path: Path) -> None:
    """Whole messages from the first to the last; what is none is not taken for one."""
    assert seen(written(tmp_path, tcp(1502, 0, read(5)), tcp(1502, 12, read(6)))) == [(1, 0, 5), (2, 0, 6)]
    assert seen(written(tmp_path, tcp(1502, 0, b"GET / HTTP/1.1\r\n"))) == []


@pytest.mark.parametrize(
    ("prefix", "link"),
    [
        (bytes(12) + b"\x81\0\0\x05\x08\0", 1),
        (bytes(12) + b"\x88\xa8\0\x05\x81\0\0\x06\x08\0", 1),
        (bytes(12) + b"\0\x40\xaa\xaa\x03\0\0\0\x08\0", 1),
        (b"\2\0\0\0", 0),
        (b"", 101),
        (b"\0\0\0\x01\0\x06" + bytes(8) + b"\x08\0", 113),
    ],
)
def test_links_and_tags(tmp_path: Path, prefix: bytes, link: int) -> None:
    """Tags, SNAP, loopback, raw IP and the cooked form."""
    assert seen(written(tmp_path, tcp(502, 0, read(5)), prefix=prefix, link=link)) == [(1, 0, 5)]


def test_lengths_that_captures_have(tmp_path: Path) -> None:
    """A length of 0 means all that is there; what stands behind the packet is no part of it, cut off or not."""
    assert seen(written(tmp_path, tcp(502, 0, read(5) * 2, total=0))) == [(1, 0, 5), (1, 1, 5)]
    padded = tcp(502, 0, read(5)) + bytes(6)
    assert seen(written(tmp_path, padded)) == [(1, 0, 5)]
    assert seen(written(tmp_path, padded, snap=len(IPV4 + padded) - 4)) == [(1, 0, 5)]


def test_a_cut_message_shows_what_is_there(tmp_path: Path) -> None:
    """Its end was on the wire but not captured; the one behind it is read."""
    frames = (tcp(502, 0, read(5, 9)), tcp(502, 12, read(6)[:8]))
    file = written(tmp_path, *frames, snap=len(IPV4) + 40 + 10)
    assert [(one["frame"], one["fields"]["transaction"], one["fields"]["address"], one["fields"]["count"])
            for one in decoded(file)] == [(1, 5, 9, None)]  # fmt: skip


def test_ipv6_with_extension_headers(tmp_path: Path) -> None:
    """Hop-by-hop options in front of TCP are passed over."""
    segment = tcp(502, 0, read(5))[20:]
    ends = bytes(15) + b"\1" + bytes(15) + b"\2"
    plain = struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + ends + segment
    extended = struct.pack("!IHBB", 6 << 28, len(segment) + 8, 0, 64) + ends + b"\6\0\1\4\0\0\0\0" + segment
    prefix = bytes(12) + b"\x86\xdd"
    assert seen(written(tmp_path, plain, prefix=prefix)) == seen(written(tmp_path, extended, prefix=prefix))
    assert seen(written(tmp_path, extended, prefix=prefix)) == [(1, 0, 5)]


def test_fragments_are_put_together(tmp_path: Path) -> None:
    """IPv4 and IPv6, whichever comes first; the frame that completes the packet has the message."""
    whole = tcp(502, 0, read(5))
    head = bytearray(whole[:20])

    def piece(start: int, end: int, more: int) -> bytes:
        head[2:4], head[6:8] = struct.pack("!H", 20 + end - start), struct.pack("!H", more << 13 | start // 8)
        return bytes(head) + whole[20 + start : 20 + end]

    first, middle, last = piece(0, 16, 1), piece(16, 24, 1), piece(24, 32, 0)
    assert seen(written(tmp_path, last, first)) == []
    assert seen(written(tmp_path, last, first, first, middle, tcp(502, 12, read(6)))) == [(4, 0, 5), (5, 0, 6)]
    ends = bytes(15) + b"\1" + bytes(15) + b"\2"
    parts = [
        struct.pack("!IHBB", 6 << 28, 8 + end - start, 44, 64) + ends + struct.pack("!BBHI", 6, 0, start | more, 7)
        + whole[20 + start : 20 + end]
        for start, end, more in ((24, 32, 0), (0, 24, 1))
    ]  # fmt: skip
    assert seen(written(tmp_path, *parts, prefix=bytes(12) + b"\x86\xdd")) == [(2, 0, 5)]


def test_an_exchange_has_two_places(tmp_path: Path) -> None:
    """Modbus 23 has no one address: what it writes and what it reads are named."""
    asked = struct.pack("!HHHBBHHHHBH", 5, 0, 13, 1, 23, 70, 3, 9, 1, 2, 77)
    (one,) = decoded(written(tmp_path, tcp(502, 0, asked)))
    places = {"address": None, "count": None, "write_address": 9, "write_count": 1, "read_address": 70, "read_count": 3}
    assert {name: one["fields"][name] for name in places} == places


def test_zeros_are_no_message(tmp_path: Path) -> None:
    """What pads files would also be EtherNet/IP that says nothing."""
    assert list(decoded(written(tmp_path, tcp(24523, 0, bytes(240))))) == []


def test_the_end_of_a_message_is_not_taken_for_a_beginning(tmp_path: Path) -> None:
    """Four bytes ahead of the rest, which look like a head's first ones, wait for what is in front of them."""
    whole = read(5) + read(6, 0, 0x7D)
    frames = (tcp(502, 0, b""), tcp(502, 0, read(4)), tcp(502, 32, whole[20:]), tcp(502, 12, whole[:20]),
              tcp(502, 36, read(7)))  # fmt: skip
    assert seen(written(tmp_path, *frames)) == [(2, 0, 4), (4, 0, 5), (4, 1, 6), (5, 0, 7)]
