"""TCP segments packed by hand into frames, every field open to lies.

In: addresses, a segment's numbers, and a `Form` that says how it is wrapped. Out: the Ethernet frames that carry it:
several when it is fragmented. Unlike tests/support/wire.py this keeps sequence numbers, and knows fragments and tags.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import count
from typing import Final

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
IPV4, IPV6, VLAN, SERVICE_VLAN = 0x0800, 0x86DD, 0x8100, 0x88A8
TCP, FRAGMENT_HEADER = 6, 44
HOPS: Final = 64
MORE: Final = 0x2000
DONT_FRAGMENT: Final = 0x4000
SEQUENCE: Final = 1 << 32
SNAP: Final = b"\xaa\xaa\x03\x00\x00\x00"
_identifications = count(1)


@dataclass(frozen=True, slots=True)
class Piece:
    """A fragment of the IP payload, in bytes from its start; both ends multiples of 8 but for the last end (None)."""

    start: int
    end: int | None
    fill: bytes | None = None  # other bytes than the segment's, of the same length


@dataclass(frozen=True, slots=True)
class Form:
    """How a segment is wrapped; the default is as a kernel would do it."""

    hops: int = HOPS
    true_checksum: bool = True
    stale: bool = False  # a timestamp from before the conversation (with timestamps only)
    ip_options: bytes = b""
    tcp_options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()  # IPv6: (type, header without its first byte)
    pieces: tuple[Piece, ...] = ()
    tags: bytes = b""  # in front of the EtherType
    snap: bool = False


PLAIN: Final = Form()


@dataclass(frozen=True, slots=True)
class Ends:
    """Who speaks to whom, by which addresses (4 bytes or 16)."""

    source_mac: bytes
    destination_mac: bytes
    source: bytes
    destination: bytes


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\x00"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def tcp(
    ends: Ends,
    ports: tuple[int, int],
    numbers: tuple[int, int],
    flags: int,
    data: bytes,
    *,
    urgent: int = 0,
    window: int = 64240,
    options: bytes = b"",
    true_checksum: bool = True,
) -> bytes:
    """Return a TCP segment; `numbers` are sequence and acknowledgement."""
    options += bytes(-len(options) % 4)
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack(
        "!HHIIBBHHH", *ports, numbers[0] % SEQUENCE, numbers[1] % SEQUENCE, offset, flags, window, 0, urgent
    )
    body = head + options + data
    if len(ends.source) == 4:
        pseudo = ends.source + ends.destination + struct.pack("!BBH", 0, TCP, len(body))
    else:
        pseudo = ends.source + ends.destination + struct.pack("!IHBB", len(body), 0, 0, TCP)
    total = checksum(pseudo + body)
    return body[:16] + struct.pack("!H", total if true_checksum else total ^ 0x5555) + body[18:]


def frames(ends: Ends, body: bytes, form: Form) -> list[bytes]:
    """Return the frames that carry a TCP segment."""
    if len(ends.source) == 4:
        packets = _ipv4(ends, body, form)
        kind = IPV4
    else:
        packets = _ipv6(ends, body, form)
        kind = IPV6
    return [_ethernet(ends, kind, packet, form) for packet in packets]


def _ethernet(ends: Ends, kind: int, packet: bytes, form: Form) -> bytes:
    addresses = ends.destination_mac + ends.source_mac + form.tags
    if form.snap:
        inner = SNAP + struct.pack("!H", kind) + packet
        return (addresses + struct.pack("!H", len(inner)) + inner).ljust(60, b"\x00")
    return (addresses + struct.pack("!H", kind) + packet).ljust(60, b"\x00")


def _cut(body: bytes, pieces: tuple[Piece, ...]) -> list[tuple[int, bool, bytes]]:
    """Return (offset, more follow, bytes) of each fragment."""
    found = []
    for piece in pieces:
        end = len(body) if piece.end is None else min(piece.end, len(body))
        part = body[piece.start : end] if piece.fill is None else piece.fill[: end - piece.start]
        if part:
            found.append((piece.start, end < len(body), part))
    return found


def _ipv4(ends: Ends, body: bytes, form: Form) -> list[bytes]:
    name = next(_identifications) & 0xFFFF
    options = form.ip_options + bytes(-len(form.ip_options) % 4)

    def packet(fragment: int, part: bytes) -> bytes:
        size = 20 + len(options) + len(part)
        head = struct.pack("!BBHHHBB", 0x40 | 5 + len(options) // 4, 0, size, name, fragment, form.hops, TCP)
        tail = ends.source + ends.destination + options
        return head + struct.pack("!H", checksum(head + b"\0\0" + tail)) + tail + part

    if not form.pieces:
        return [packet(DONT_FRAGMENT, body)]
    return [packet(start // 8 | (MORE if more else 0), part) for start, more, part in _cut(body, form.pieces)]


def _ipv6(ends: Ends, body: bytes, form: Form) -> list[bytes]:
    name = next(_identifications)

    def packet(fragment: bytes, part: bytes) -> bytes:
        kinds = [kind for kind, _ in form.extensions] + ([FRAGMENT_HEADER] if fragment else []) + [TCP]
        headers = [rest for _, rest in form.extensions] + ([fragment] if fragment else [])
        chain = b"".join(bytes((kind,)) + rest for kind, rest in zip(kinds[1:], headers, strict=True))
        head = struct.pack("!IHBB", 6 << 28, len(chain) + len(part), kinds[0], form.hops)
        return head + ends.source + ends.destination + chain + part

    if not form.pieces:
        return [packet(b"", body)]
    return [
        packet(struct.pack("!BHI", 0, start | (1 if more else 0), name), part)
        for start, more, part in _cut(body, form.pieces)
    ]


@dataclass(frozen=True, slots=True)
class Heard:
    """A TCP segment that came back."""

    port: int  # of ours
    sequence: int
    acknowledged: int
    flags: int
    data: bytes
    timestamp: int


def heard(frame: bytes) -> Heard | None:
    """Return the TCP segment in a frame, None for anything else."""
    kind = int.from_bytes(frame[12:14], "big")
    packet = frame[14:]
    if kind == IPV4 and packet[9] == TCP:
        body = packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4], "big")]
    elif kind == IPV6 and packet[6] == TCP:
        body = packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    else:
        return None
    _, port, sequence, acknowledged, offset, flags = struct.unpack_from("!HHIIBB", body)
    options, data = body[20 : (offset >> 4) * 4], body[(offset >> 4) * 4 :]
    return Heard(port, sequence, acknowledged, flags, data, _timestamp(options))


def _timestamp(options: bytes) -> int:
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 8 and at + 10 <= len(options):
            return int.from_bytes(options[at + 2 : at + 6], "big")
        at += 1 if options[at] == 1 else max(2, options[at + 1] if at + 1 < len(options) else 2)
    return 0


def timestamps(value: int, echoed: int) -> bytes:
    """Return the option of RFC 7323 with its padding."""
    return struct.pack("!BBBBII", 1, 1, 8, 10, value % SEQUENCE, echoed % SEQUENCE)
