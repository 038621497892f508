"""IP packets that a capture holds in pieces, put together again.

In: a packet that is a fragment, from its IP header on, as captured. Out: the whole packet at the piece that completes
it, with a header that says so; None before. Of bytes that come twice, the piece with the lower offset counts. Judges
nothing: the live path has the kernel put fragments together, and never asks this.
SPEC: RFC 791 section 3.2 (IPv4), RFC 8200 section 4.5 (IPv6).
"""

from __future__ import annotations

from typing import Final

MOST_WAITING: Final = 1024  # packets; the one that has waited longest gives way
LONGEST: Final = 65535  # bytes of a packet: no length in an IPv4 header says more
IPV4: Final = 4
IPV6_HEADER: Final = 40
FRAGMENT: Final = 44
EXTENSIONS: Final = frozenset((0, 43, 60))  # those that stand before a fragment header
UNIT: Final = 8  # bytes; what offsets count

Key = tuple[bytes, int, bytes]


class _Packet:
    """What is there of one packet."""

    def __init__(self) -> None:
        self.head = b""
        self.pieces: dict[int, bytes] = {}
        self.end = -1

    def take(self, head: bytes, offset: int, piece: bytes, *, is_last: bool) -> bytes | None:
        """Take a piece; return the whole packet if that completes it."""
        if offset == 0 and not self.head:
            self.head = head
        if is_last:
            self.end = offset + len(piece)
        self.pieces.setdefault(offset, piece)
        return self._whole() if self.head and self.end >= 0 else None

    def _whole(self) -> bytes | None:
        carried = bytearray()
        for offset in sorted(self.pieces):
            if offset > len(carried):
                return None
            carried += self.pieces[offset][len(carried) - offset :]
        return self.head + bytes(carried[: self.end]) if len(carried) >= self.end else None


class Fragments:
    """The pieces of packets that are not complete."""

    def __init__(self) -> None:
        self._waiting: dict[Key, _Packet] = {}

    def add(self, packet: bytes) -> bytes | None:
        """Take a fragment; return the packet that it completes."""
        return self._add_ipv4(packet) if packet[0] >> 4 == IPV4 else self._add_ipv6(packet)

    def _add_ipv4(self, packet: bytes) -> bytes | None:
        head = 4 * (packet[0] & 15)
        placed = int.from_bytes(packet[6:8], "big")
        piece = packet[head : int.from_bytes(packet[2:4], "big")]
        key = (packet[12:20], packet[9], packet[4:6])
        whole = self._take(key, packet[:head], UNIT * (placed & 0x1FFF), piece, is_last=not placed & 0x2000)
        if whole is None:
            return None
        return whole[:2] + len(whole).to_bytes(2, "big") + whole[4:6] + bytes(2) + whole[8:]

    def _add_ipv6(self, packet: bytes) -> bytes | None:
        named, at = 6, IPV6_HEADER  # where the next header's number stands, and where that header does
        while packet[named] in EXTENSIONS and at + UNIT <= len(packet):
            named, at = at, at + UNIT * (packet[at + 1] + 1)
        if packet[named] != FRAGMENT or at + UNIT > len(packet):
            return None
        placed = int.from_bytes(packet[at + 2 : at + 4], "big")
        head = packet[:named] + packet[at : at + 1] + packet[named + 1 : at]
        piece = packet[at + UNIT : IPV6_HEADER + int.from_bytes(packet[4:6], "big")]
        key = (packet[8:40], FRAGMENT, packet[at + 4 : at + 8])
        whole = self._take(key, head, placed & 0xFFF8, piece, is_last=not placed & 1)
        if whole is None:
            return None
        return whole[:4] + (len(whole) - IPV6_HEADER).to_bytes(2, "big") + whole[6:]

    def _take(self, key: Key, head: bytes, offset: int, piece: bytes, *, is_last: bool) -> bytes | None:
        if not piece or len(head) + offset + len(piece) > LONGEST:
            return None
        if key not in self._waiting and len(self._waiting) == MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        whole = self._waiting.setdefault(key, _Packet()).take(head, offset, piece, is_last=is_last)
        if whole is not None:
            del self._waiting[key]
        return whole
