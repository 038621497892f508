"""S7comm messages, built from their parts: jobs, items, userdata, in COTP in TPKT.

In: numbers. Out: bytes as a client or a CPU sends them. Written from the descriptions that the inspector's page names,
with struct and nothing of the product.
"""

from __future__ import annotations

import struct
from typing import Final

SETUP: Final = bytes.fromhex("f0000001000101e0")
CONNECT: Final = bytes.fromhex("0300001611e00000000100c0010ac1020100c2020102")
CONFIRM: Final = bytes.fromhex("0300001611d00001000200c0010ac1020100c2020102")


def tpkt(payload: bytes) -> bytes:
    """Return a TPKT around a TPDU."""
    return struct.pack(">BBH", 3, 0, len(payload) + 4) + payload


def data(user: bytes, *, cuts: tuple[int, ...] = ()) -> bytes:
    """Return a data unit, split behind these places."""
    places = sorted({min(cut, len(user)) for cut in cuts})
    parts = [user[start:end] for start, end in zip([0, *places], [*places, len(user)], strict=True)]
    return b"".join(
        tpkt(b"\x02\xf0" + (b"\x80" if at + 1 == len(parts) else b"\x00") + part) for at, part in enumerate(parts)
    )


def pdu(rosctr: int, parameters: bytes, body: bytes = b"", *, reference: int = 1, error: int = 0) -> bytes:
    """Return an S7comm PDU; acknowledgements carry the error."""
    head = struct.pack(">BBHHHH", 0x32, rosctr, 0, reference, len(parameters), len(body))
    return head + (struct.pack(">H", error) if rosctr in {2, 3} else b"") + parameters + body


def job(parameters: bytes, body: bytes = b"", *, reference: int = 1) -> bytes:
    """Return a whole job, framed."""
    return data(pdu(1, parameters, body, reference=reference))


def acknowledge(parameters: bytes, body: bytes = b"", *, reference: int = 1, error: int = 0) -> bytes:
    """Return the answer to a job, framed."""
    return data(pdu(3, parameters, body, reference=reference, error=error))


def pointer(size: int, count: int, db: int, area: int, start: int) -> bytes:
    """Return an item that points to variables; `start` in bits, of timers and counters in numbers."""
    return struct.pack(">BBBBHHB", 0x12, 10, 0x10, size, count, db, area) + start.to_bytes(3, "big")


def written(kind: int, value: bytes, *, last: bool = True) -> bytes:
    """Return the data of one item; lengths of kinds 3 to 5 are in bits (of one bit: 1)."""
    length = 1 if kind == 3 else len(value) * 8 if kind in {4, 5} else len(value)
    return struct.pack(">BBH", 0, kind, length) + value + (b"" if last or len(value) % 2 == 0 else b"\x00")


def read_items(*items: bytes) -> bytes:
    """Return the parameters of a read."""
    return bytes((4, len(items))) + b"".join(items)


def write_items(*items: bytes) -> bytes:
    """Return the parameters of a write."""
    return bytes((5, len(items))) + b"".join(items)


def block_name(kind: str, number: int, *, system: str = "P") -> bytes:
    """Return a counted file name."""
    return b"\x09_" + f"{kind}{number:05d}{system}".encode()


def service(name: bytes, arguments: bytes = b"") -> bytes:
    """Return the parameters of a PI service."""
    return b"\x28" + bytes(6) + b"\xfd" + struct.pack(">H", len(arguments)) + arguments + bytes((len(name),)) + name


def userdata(
    kind: int, group: int, subfunction: int, content: bytes = b"", *, reference: int = 1, form: int = 8
) -> bytes:
    """Return userdata, framed: kind 4 asks, 8 answers, 0 is pushed; without content it has none."""
    head = bytes((0, 1, 0x12, form - 4, 0x11 if form == 8 else 0x12, kind << 4 | group, subfunction, 0))
    head += bytes(form - 8)
    body = struct.pack(">BBH", 0xFF, 9, len(content)) + content if content else bytes.fromhex("0a000000")
    return data(pdu(7, head, body, reference=reference))


def plus(opcode: int, function: int, body: bytes = b"", *, version: int = 2, trailer: bool = True) -> bytes:
    """Return an S7comm-plus PDU in clear, framed."""
    content = struct.pack(">BHHHH", opcode, 0, function, 0, 7) + body
    end = bytes((0x72, version, 0, 0)) if trailer else b""
    return data(bytes((0x72, version)) + struct.pack(">H", len(content)) + content + end)
