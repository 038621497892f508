"""Capture files: written in every form that is read, and read by a slow, plainly correct twin of the replay's reader.

In: packets. Out: bytes of pcap and pcapng files; from bytes the packets, and where the file is damaged. The twin is
written from the format drafts (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng), with Python's own integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MICROSECOND, NANOSECOND, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
LATEST_NS: Final = 1 << 62
MOST_FRAME_BYTES: Final = 1 << 27
MOST_INTERFACES: Final = 4096
ETHERNET: Final = 1


class Packet(NamedTuple):
    """One captured frame."""

    time_ns: int
    data: bytes
    length: int  # on the wire
    link: int = ETHERNET


def pcap(packets: list[Packet], *, order: str = "<", magic: int = MICROSECOND, link: int = ETHERNET) -> bytes:
    """Return a pcap file; the packets' own link types are not asked."""
    unit = 1 if magic == NANOSECOND else 1000
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for packet in packets:
        seconds, rest = divmod(packet.time_ns, 1_000_000_000)
        out.append(struct.pack(order + "IIII", seconds, rest // unit, len(packet.data), packet.length))
        out.append(bytes(8) if magic == MODIFIED else b"")
        out.append(packet.data)
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    """Return a pcapng block."""
    padded = body + bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(padded) + 12)
    return struct.pack(order + "I", kind) + size + padded + size


def section(order: str = "<") -> bytes:
    """Return a section header."""
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link: int, *, resolution: int | None = None, offset_s: int = 0, snap: int = 0) -> bytes:
    """Return an interface description; `resolution` is if_tsresol as it stands in the file."""
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HH", 9, 1) + bytes((resolution, 0, 0, 0))
    if offset_s:
        options += struct.pack(order + "HHq", 14, 8, offset_s)
    if options:
        options += bytes(4)
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap) + options)


def enhanced(order: str, index: int, ticks: int, data: bytes, length: int) -> bytes:
    """Return an enhanced packet block."""
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(order, 6, head + data)


def old_packet(order: str, index: int, ticks: int, data: bytes, length: int) -> bytes:
    """Return an obsolete packet block."""
    head = struct.pack(order + "HHIIII", index, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(order, 2, head + data)


def simple(order: str, data: bytes, length: int) -> bytes:
    """Return a simple packet block."""
    return block(order, 3, struct.pack(order + "I", length) + data)


# ---- the twin -----------------------------------------------------------------------------------------------------


@dataclass
class Read:
    """What a file holds: packets, and the byte at which its damage begins."""

    packets: list[Packet] = field(default_factory=list)
    damaged_at: int | None = None


class _DamageError(Exception):
    """The record or block in hand cannot be read."""


def slow_read(data: bytes) -> Read | None:
    """Read a file; None when it is no capture."""
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        return _Blocks(data).read()
    for order in "<>":
        if len(data) >= 4 and struct.unpack_from(order + "I", data)[0] in (MICROSECOND, NANOSECOND, MODIFIED):
            return _records(data, order)
    return None


def _records(data: bytes, order: str) -> Read:
    found = Read()
    if len(data) < 24 or struct.unpack_from(order + "H", data, 4)[0] != 2:
        found.damaged_at = 0
        return found
    magic = struct.unpack_from(order + "I", data)[0]
    link = struct.unpack_from(order + "I", data, 20)[0] & 0x03FFFFFF
    head = 24 if magic == MODIFIED else 16
    at = 24
    while at < len(data):
        if at + head > len(data):
            found.damaged_at = at
            break
        seconds, fraction, captured, length = struct.unpack_from(order + "IIII", data, at)
        if captured > MOST_FRAME_BYTES or at + head + captured > len(data):
            found.damaged_at = at
            break
        time_ns = seconds * 1_000_000_000 + fraction * (1 if magic == NANOSECOND else 1000)
        body = data[at + head : at + head + captured]
        found.packets.append(Packet(time_ns, body, max(length, captured), link))
        at += head + captured
    return found


class _Interface(NamedTuple):
    link: int
    snap: int
    resolution: int
    offset_s: int

    def time_ns(self, ticks: int) -> int:
        if self.resolution & 0x80:
            ns = ticks * 1_000_000_000 >> (self.resolution & 0x7F)
        else:
            ns = ticks * 10**9 // 10**self.resolution
        return min(max(ns + self.offset_s * 1_000_000_000, 0), LATEST_NS)


class _Blocks:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<"
        self.interfaces: list[_Interface] = []
        self.last_ns = 0
        self.found = Read()

    def read(self) -> Read:
        at = 0
        while at < len(self.data):
            try:
                at += self._block(at)
            except (_DamageError, struct.error):
                self.found.damaged_at = at
                break
        return self.found

    def _number(self, code: str, data: bytes, at: int) -> int:
        return int(struct.unpack_from(self.order + code, data, at)[0])

    def _block(self, at: int) -> int:
        if at + 8 > len(self.data):
            raise _DamageError
        if self.data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            self._section(at)
        kind, size = struct.unpack_from(self.order + "II", self.data, at)
        if size < 12 or size % 4 or at + size > len(self.data):
            raise _DamageError
        if self._number("I", self.data, at + size - 4) != size:
            raise _DamageError
        body = self.data[at + 8 : at + size - 4]
        if kind == 1:
            self._interface(body)
        elif kind in (2, 6):
            self._packet(body, "H" if kind == 2 else "I")
        elif kind == 3:
            self._simple(body)
        return int(size)

    def _section(self, at: int) -> None:
        mark = self.data[at + 8 : at + 12]
        if at + 16 > len(self.data) or mark not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
            raise _DamageError
        self.order = "<" if mark == b"\x4d\x3c\x2b\x1a" else ">"
        self.interfaces = []
        if self._number("H", self.data, at + 12) != 1:
            raise _DamageError

    def _interface(self, body: bytes) -> None:
        if len(self.interfaces) == MOST_INTERFACES:
            raise _DamageError
        link, snap = self._number("H", body, 0), self._number("I", body, 4)
        resolution, offset_s, at = 6, 0, 8
        while at < len(body):
            code, size = struct.unpack_from(self.order + "HH", body, at)
            if code == 0:
                break
            if at + 4 + size + -size % 4 > len(body):
                raise _DamageError
            if code == 9 and size >= 1:
                resolution = body[at + 4]
            elif code == 14 and size >= 8:
                offset_s = self._number("q", body, at + 4)
            at += 4 + size + -size % 4
        self.interfaces.append(_Interface(link, snap, resolution, offset_s))

    def _packet(self, body: bytes, index_code: str) -> None:
        index = self._number(index_code, body, 0)
        high, low, captured, length = struct.unpack_from(self.order + "IIII", body, 4)
        if index >= len(self.interfaces) or 20 + captured > len(body):
            raise _DamageError
        one = self.interfaces[index]
        self.last_ns = one.time_ns(high << 32 | low)
        self.found.packets.append(Packet(self.last_ns, body[20 : 20 + captured], max(length, captured), one.link))

    def _simple(self, body: bytes) -> None:
        length = self._number("I", body, 0)
        if not self.interfaces:
            raise _DamageError
        one = self.interfaces[0]
        kept = body[4 : 4 + min(length, one.snap or length)]
        self.found.packets.append(Packet(self.last_ns, kept, length, one.link))
