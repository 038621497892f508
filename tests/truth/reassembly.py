"""TCP and UDP payload of a capture, in order: plain and slow, so that it can be believed.

In: packets of a capture with their link types. Out: conversations, each with the bytes of both directions as they
follow one another, and the frame that brought every byte. Retransmissions count once, segments out of order are put in
order, and a gap that is never filled begins a new run of bytes. Has nothing in common with the data path's streams.
The fuzzers take their seeds of recorded messages by it.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.capture_file import Packet

LINK_NULL, LINK_ETHERNET, LINK_RAW, LINK_LOOP, LINK_LINUX_SLL = 0, 1, 101, 108, 113  # tcpdump.org/linktypes
IPV4, IPV6, TAGS = 0x0800, 0x86DD, (0x8100, 0x88A8, 0x9100)
TCP, UDP = 6, 17
EXTENSIONS: Final = (0, 43, 60)  # hop-by-hop, routing, destination options: RFC 8200 section 4.1
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
MOST_WAITING: Final = 256  # segments ahead of a gap, before it is taken for one that nobody will fill


class Segment(NamedTuple):
    """What one frame carries of TCP or UDP."""

    frame: int  # from 1, as Wireshark counts
    protocol: int
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    sequence: int = 0
    acknowledged: int = 0
    flags: int = 0


class Piece(NamedTuple):
    """Bytes that follow those before it, unless `after_gap`."""

    frame: int
    data: bytes
    after_gap: bool = False


@dataclass
class Direction:
    """What one end has said so far."""

    following: int | None = None  # sequence number of the next byte
    waiting: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def take(self, segment: Segment) -> Iterator[Piece]:
        """Take a segment; yield what is in order now."""
        start = (segment.sequence + bool(segment.flags & SYN)) & 0xFFFFFFFF
        if segment.flags & SYN:
            self.following, self.waiting = start, {}
        if not segment.payload:
            return
        if self.following is None:
            self.following = start
        if _before(self.following, start) and len(segment.payload) >= len(self.waiting.get(start, (0, b""))[1]):
            self.waiting[start] = (segment.frame, segment.payload)
            if len(self.waiting) > MOST_WAITING:
                yield from self.skip()
            return
        yield from self._place(start, segment.frame, segment.payload)
        yield from self._ready(after_gap=False)

    def acknowledged_by_other(self, number: int) -> Iterator[Piece]:
        """Note what the other end has received: a gap below it was never captured, and what lies beyond it counts."""
        while self.waiting and self.following is not None and _before(self.following, number):
            if _before(number, self._first()):
                return
            yield from self.skip()

    def skip(self) -> Iterator[Piece]:
        """Give up the gap before the bytes that wait."""
        if self.waiting and self.following is not None:
            self.following = self._first()
            yield from self._ready(after_gap=True)

    def _first(self) -> int:
        """Return where the first bytes that wait begin."""
        following = self.following or 0
        return min(self.waiting, key=lambda start: start - following & 0xFFFFFFFF)

    def _place(self, start: int, frame: int, payload: bytes, *, after_gap: bool = False) -> Iterator[Piece]:
        assert self.following is not None
        known = self.following - start & 0xFFFFFFFF
        if known < len(payload):
            self.following = start + len(payload) & 0xFFFFFFFF
            yield Piece(frame, payload[known:], after_gap)

    def _ready(self, *, after_gap: bool) -> Iterator[Piece]:
        while self.following is not None:
            following = self.following
            start = next((start for start in self.waiting if not _before(following, start)), None)
            if start is None:
                return
            for piece in self._place(start, *self.waiting.pop(start), after_gap=after_gap):
                yield piece
                after_gap = False


@dataclass
class Conversation:
    """Two ends, from one opening to the next."""

    protocol: int
    opener: tuple[str, int]
    responder: tuple[str, int]
    begun: bool  # it was seen from its beginning
    directions: tuple[Direction, Direction] = field(default_factory=lambda: (Direction(), Direction()))


class Heard(NamedTuple):
    """A piece of one direction of a conversation."""

    conversation: Conversation
    from_opener: bool
    piece: Piece


def heard(packets: Iterable[Packet], ports: Iterable[int]) -> Iterator[Heard]:
    """Yield what conversations with one of these ports say, each piece when it is in order.

    The end with one of `ports` is the responder, as Wireshark has it; where both have one, who did not send the SYN.
    """
    service = frozenset(ports)
    conversations: dict[frozenset[tuple[str, int]], Conversation] = {}
    for segment in segments(packets):
        if not {segment.source[1], segment.destination[1]} & service:
            continue
        ends = frozenset((segment.source, segment.destination))
        found = conversations.get(ends)
        if found is None or _reopens(segment, found):
            found = conversations[ends] = _opened(segment, service)
        yield from _said(found, segment)
    for found in conversations.values():
        for index, direction in enumerate(found.directions):
            while direction.waiting:
                for piece in direction.skip():
                    yield Heard(found, index == 0, piece)


def _said(found: Conversation, segment: Segment) -> Iterator[Heard]:
    from_opener = segment.source == found.opener
    if segment.protocol == UDP:
        if segment.payload:
            yield Heard(found, from_opener, Piece(segment.frame, segment.payload, after_gap=True))
        return
    mine, other = found.directions if from_opener else found.directions[::-1]
    if segment.flags & ACK:
        for piece in other.acknowledged_by_other(segment.acknowledged):
            yield Heard(found, not from_opener, piece)
    for piece in mine.take(segment):
        yield Heard(found, from_opener, piece)


def _reopens(segment: Segment, found: Conversation) -> bool:
    if segment.protocol != TCP or segment.flags & (SYN | ACK) != SYN:
        return False
    following = found.directions[0 if segment.source == found.opener else 1].following
    return following != segment.sequence + 1 & 0xFFFFFFFF  # not the same SYN again


def _opened(segment: Segment, service: frozenset[int]) -> Conversation:
    source, destination = segment.source, segment.destination
    known = (source[1] in service, destination[1] in service)
    accepts = segment.protocol == TCP and segment.flags & (SYN | ACK) == SYN | ACK
    opened = known[1] if known[0] != known[1] else not accepts
    opener, responder = (source, destination) if opened else (destination, source)
    return Conversation(segment.protocol, opener, responder, bool(segment.flags & SYN))


def _before(a: int, b: int) -> bool:
    """Tell whether sequence number a comes before b: RFC 9293 section 3.4."""
    return 0 < b - a & 0xFFFFFFFF < 1 << 31


# ---- frames ------------------------------------------------------------------------------------------------------


def segments(packets: Iterable[Packet]) -> Iterator[Segment]:
    """Yield what frames carry of TCP and UDP, unfragmented; everything else is left out."""
    for number, packet in enumerate(packets, 1):
        try:
            found = _segment(number, packet)
        except (struct.error, ValueError, IndexError):  # cut or broken
            continue
        if found is not None:
            yield found


def _segment(number: int, packet: Packet) -> Segment | None:
    network = _network(packet)
    if not network:
        return None
    if network[0] >> 4 == 4:
        if struct.unpack_from("!H", network, 6)[0] & 0x3FFF:
            return None
        protocol, at = network[9], (network[0] & 15) * 4
        total = struct.unpack_from("!H", network, 2)[0] or len(network)  # 0: segmented by the card after capture
        source, destination = network[12:16], network[16:20]
    else:
        protocol, at = network[6], 40
        total = 40 + struct.unpack_from("!H", network, 4)[0]
        source, destination = network[8:24], network[24:40]
        while protocol in EXTENSIONS:
            protocol, at = network[at], at + 8 + 8 * network[at + 1]
    ends = [str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))]
    body = network[at:total]
    if protocol not in (TCP, UDP):
        return None
    ports = struct.unpack_from("!HH", body)
    left, right = (ends[0], ports[0]), (ends[1], ports[1])
    if protocol == UDP:
        return Segment(number, UDP, left, right, body[8:])
    sequence, acknowledged, offset, flags = struct.unpack_from("!IIBB", body, 4)
    return Segment(number, TCP, left, right, body[(offset >> 4) * 4 :], sequence, acknowledged, flags)


def _network(packet: Packet) -> bytes:
    """Return the IP packet in a frame, or nothing."""
    data = packet.data
    if packet.link in (LINK_NULL, LINK_LOOP):
        return data[4:]
    if packet.link in (12, LINK_RAW, 228, 229):
        return data
    at = {LINK_ETHERNET: 12, LINK_LINUX_SLL: 14}.get(packet.link)
    if at is None:
        return b""
    kind = struct.unpack_from("!H", data, at)[0]
    while kind in TAGS:
        at += 4
        kind = struct.unpack_from("!H", data, at)[0]
    return data[at + 2 :] if kind in (IPV4, IPV6) else b""
