"""EtherNet/IP and CIP messages, built from their parts: for tests and the malformed grammar.

In: numbers and bytes. Out: bytes as they stand on the wire; nothing is checked, so that wrong ones can be built too.
"""

from __future__ import annotations

import struct
from typing import Final

CONTEXT: Final = b"_context"
SESSION: Final = 0x11223344
ROUTER: Final = bytes.fromhex("20022401")
MANAGER: Final = bytes.fromhex("20062401")
SERIAL: Final = bytes.fromhex("0100 4d00 78563412".replace(" ", ""))


def encapsulated(
    command: int,
    body: bytes = b"",
    *,
    session: int = SESSION,
    status: int = 0,
    context: bytes = CONTEXT,
    options: int = 0,
) -> bytes:
    """Return an encapsulation message."""
    return struct.pack("<HHII8sI", command, len(body), session, status, context, options) + body


def unconnected(message: bytes, *, context: bytes = CONTEXT, sockets: int = 0) -> bytes:
    """Return a SendRRData."""
    extra = b"".join(struct.pack("<HH16s", 0x8000 + at, 16, b"") for at in range(sockets))
    body = struct.pack("<IHHHHHH", 0, 10, 2 + sockets, 0, 0, 0xB2, len(message)) + message + extra
    return encapsulated(0x6F, body, context=context)


def connected(message: bytes, *, connection: int = 0x1000, sequence: int = 1) -> bytes:
    """Return a SendUnitData."""
    head = struct.pack("<IHHHHIHHH", 0, 0, 2, 0xA1, 4, connection, 0xB1, len(message) + 2, sequence)
    return encapsulated(0x70, head + message)


def logical(kind: int, value: int, width: int | None = None) -> bytes:
    """Return a logical segment: 0 class, 1 instance, 2 member, 3 connection point, 4 attribute; width 1, 2 or 4 bytes."""
    width = width or (1 if value < 0x100 else 2 if value < 0x10000 else 4)
    form = {1: 0, 2: 1, 4: 2}[width]
    return bytes((0x20 | kind << 2 | form,)) + (b"" if width == 1 else b"\0") + value.to_bytes(width, "little")


def place(klass: int, instance: int | None = None, attribute: int | None = None) -> bytes:
    """Return the path of an attribute, an instance or a class."""
    parts = [logical(0, klass)]
    parts += [] if instance is None else [logical(1, instance)]
    parts += [] if attribute is None else [logical(4, attribute)]
    return b"".join(parts)


def symbol(text: str | bytes) -> bytes:
    """Return a symbolic segment."""
    data = text if isinstance(text, bytes) else text.encode("ascii")
    return bytes((0x91, len(data))) + data + b"\0" * (len(data) & 1)


def request(service: int, path: bytes, data: bytes = b"") -> bytes:
    """Return a request to the message router."""
    return bytes((service, len(path) // 2)) + path + data


def answer(service: int, data: bytes = b"", *, status: int = 0, extended: bytes = b"") -> bytes:
    """Return an answer; `service` is the one asked for."""
    return bytes((service | 0x80, 0, status, len(extended) // 2)) + extended + data


def multiple(messages: list[bytes], service: int = 0x0A) -> bytes:
    """Return a Multiple Service Packet."""
    return request(service, ROUTER, slices(messages))


def slices(messages: list[bytes]) -> bytes:
    """Return the data of a Multiple Service Packet, or of its answer."""
    starts, at = [], 2 + 2 * len(messages)
    for message in messages:
        starts.append(at)
        at += len(message)
    return struct.pack(f"<H{len(starts)}H", len(starts), *starts) + b"".join(messages)


def routed(message: bytes, route: bytes = b"\x01\x00") -> bytes:
    """Return an Unconnected Send; the route leads to slot 0."""
    padded = message + b"\0" * (len(message) & 1)
    data = struct.pack("<BBH", 7, 0xE9, len(message)) + padded + bytes((len(route) // 2, 0)) + route
    return request(0x52, MANAGER, data)


def forward_open(
    path: bytes, *, forward: int, back: int, transport: int, large: bool = False, serial: bytes = SERIAL
) -> bytes:
    """Return a Forward Open; `forward` and `back` are the parameters of the two directions."""
    wide = "I" if large else "H"
    data = struct.pack("<BBII", 7, 0xE9, 0, 0x2000) + serial + struct.pack("<B3x", 1)
    data += struct.pack("<I" + wide, 10_000, forward) + struct.pack("<I" + wide, 10_000, back)
    return request(0x5B if large else 0x54, MANAGER, data + bytes((transport, len(path) // 2)) + path)


def opened(*, connection: int = 0x1000, back: int = 0x2000, serial: bytes = SERIAL, large: bool = False) -> bytes:
    """Return the answer to a Forward Open."""
    data = struct.pack("<II", connection, back) + serial + struct.pack("<IIBB", 10_000, 10_000, 0, 0)
    return answer(0x5B if large else 0x54, data)


def forward_close(path: bytes = ROUTER, serial: bytes = SERIAL) -> bytes:
    """Return a Forward Close."""
    return request(0x4E, MANAGER, bytes((7, 0xE9)) + serial + bytes((len(path) // 2, 0)) + path)


def closed(serial: bytes = SERIAL) -> bytes:
    """Return the answer to a Forward Close."""
    return answer(0x4E, serial + b"\0\0")


def datum(data: bytes, *, connection: int = 0x1000, sequence: int = 1) -> bytes:
    """Return a datagram of implicit I/O."""
    return struct.pack("<HHHIIHH", 2, 0x8002, 8, connection, sequence, 0xB1, len(data)) + data
