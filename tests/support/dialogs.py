"""Conversations between two parties, as drafts of frames that are right until somebody spoils them.

In: a client, a server and what they talk about. Out: `Draft` objects, frame by frame, in both directions.
A draft packs itself at the end, so that changed addresses and ports still carry right lengths and checksums.
Called by tests/support/frames.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import wire
from .plain import Address, Frame
from .plant import BROADCAST_MAC, Party, Plant, group_mac
from .twin_frame import ICMP4, ICMP6, TCP, UDP

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator


@dataclass
class Draft:
    """A frame in the making; `pack` turns the fields of the draft, as they are then, into a payload."""

    in_port: str
    out_port: str
    vlan: int
    source_mac: bytes
    destination_mac: bytes | None
    ethertype: int
    source: Address | None
    destination: Address | None
    about: str
    pack: Callable[[Draft], bytes]
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    protocol: int = 0
    identification: int = 1

    def frame(self) -> Frame:
        """Return the finished frame."""
        return Frame(
            self.in_port,
            self.out_port,
            self.vlan,
            self.source_mac,
            self.destination_mac,
            self.ethertype,
            self.pack(self),
            self.about,
        )

    def reversed(self) -> Draft:
        """Return the draft of an answer: every pair of the frame exchanged."""
        return replace(
            self,
            in_port=self.out_port,
            out_port=self.in_port,
            source_mac=self.destination_mac or BROADCAST_MAC,
            destination_mac=self.source_mac,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )


def _pack_ip(draft: Draft, protocol: int, body: bytes) -> bytes:
    assert draft.source is not None
    assert draft.destination is not None
    return wire.ip(draft.source, draft.destination, protocol, body, identification=draft.identification)


def _ends(draft: Draft) -> tuple[Address, Address]:
    assert draft.source is not None
    assert draft.destination is not None
    return draft.source, draft.destination


def pack_tcp(draft: Draft) -> bytes:
    """Pack a TCP segment with three bytes of data."""
    ports = (draft.source_port, draft.destination_port)
    return _pack_ip(draft, TCP, wire.tcp(*_ends(draft), ports, draft.flags, b"abc"))


def pack_udp(draft: Draft) -> bytes:
    """Pack a UDP datagram with four bytes of data."""
    ports = (draft.source_port, draft.destination_port)
    return _pack_ip(draft, UDP, wire.udp(*_ends(draft), ports, b"data"))


def pack_other_ip(draft: Draft) -> bytes:
    """Pack an IP packet of any other protocol."""
    return _pack_ip(draft, draft.protocol, b"\x00\x01\x02\x03" * 4)


def pack_icmp(draft: Draft) -> bytes:
    """Pack an ICMP message: type in source_port, code in destination_port, identifier in flags."""
    own = ICMP4 if draft.source is None or draft.source.version == 4 else ICMP6
    rest = struct.pack("!HH", draft.flags, 1) + b"ping" * 4
    return _pack_ip(draft, own, wire.icmp(*_ends(draft), draft.source_port, draft.destination_port, rest))


def pack_nothing(draft: Draft) -> bytes:
    """Pack a payload without IP."""
    return bytes(range(46))


def draft_between(plant: Plant, source: Party, destination: Party, about: str) -> Draft:
    """Return a draft from one party to another, still without content."""
    in_port, out_port, vlan = plant.place(source, destination)
    version6 = source.ip is not None and source.ip.version == 6
    ethertype = wire.IPV6 if version6 else wire.IPV4
    return Draft(
        in_port,
        out_port,
        vlan,
        source.mac,
        destination.mac,
        ethertype,
        source.ip,
        destination.ip,
        about,
        pack_nothing,
    )


TCP_STEPS = (
    (True, wire.SYN),
    (False, wire.SYN | wire.ACK),
    (True, wire.ACK),
    (True, wire.PSH | wire.ACK),
    (False, wire.PSH | wire.ACK),
    (False, wire.FIN | wire.ACK),
    (True, wire.RST),
    (True, wire.SYN),
)


def talk_tcp(draft: Draft, port: int, rng: random.Random) -> Iterator[Draft]:
    """Yield a TCP conversation, often from its middle or from the server's side."""
    draft.pack, draft.source_port, draft.destination_port = pack_tcp, rng.randrange(1024, 65536), port
    first = rng.choice((0, 0, 0, 1, 2, 4))
    for from_client, flags in TCP_STEPS[first : rng.randrange(first + 1, len(TCP_STEPS) + 1)]:
        step = replace(draft) if from_client else draft.reversed()
        step.flags = flags
        yield step


def talk_udp(draft: Draft, port: int, rng: random.Random) -> Iterator[Draft]:
    """Yield requests and answers, sometimes an answer nobody asked for."""
    draft.pack, draft.source_port, draft.destination_port = pack_udp, rng.randrange(1024, 65536), port
    for _ in range(rng.randrange(1, 4)):
        yield replace(draft) if rng.random() < 0.6 else draft.reversed()


def talk_icmp(draft: Draft, kind: int, rng: random.Random) -> Iterator[Draft]:
    """Yield a message of the type; for echo requests also replies, and a request back with the same identifier."""
    draft.pack, draft.flags, draft.source_port, draft.destination_port = pack_icmp, rng.randrange(65536), kind, 0
    yield replace(draft)
    if kind in (8, 128):
        for _ in range(rng.randrange(0, 3)):
            answer = draft.reversed() if rng.random() < 0.8 else replace(draft)
            answer.source_port = (0 if kind == 8 else 129) if rng.random() < 0.8 else kind
            answer.destination_port = 0
            yield answer


def talk_other_ip(draft: Draft, protocol: int, rng: random.Random) -> Iterator[Draft]:
    """Yield packets of a protocol that has no flows, both ways."""
    draft.pack, draft.protocol = pack_other_ip, protocol
    yield replace(draft) if rng.random() < 0.7 else draft.reversed()


def talk_ethertype(draft: Draft, ethertype: int, rng: random.Random) -> Iterator[Draft]:
    """Yield frames without IP, both ways."""
    draft.pack, draft.ethertype = pack_nothing, ethertype
    yield replace(draft) if rng.random() < 0.7 else draft.reversed()


def talk_arp(draft: Draft, rng: random.Random) -> Iterator[Draft]:
    """Yield request, reply, announcement or probe; `flags` holds the operation."""
    draft.ethertype, draft.pack = wire.ARP, _pack_arp
    for _ in range(rng.randrange(1, 3)):
        step = replace(draft) if rng.random() < 0.6 else draft.reversed()
        step.flags = rng.choice((1, 2))
        if rng.random() < 0.15:
            step.destination = step.source
        elif rng.random() < 0.05:
            step.source = Address(4, 0)
        if step.flags == 1:
            step.destination_mac = BROADCAST_MAC
        yield step


def _pack_arp(draft: Draft) -> bytes:
    return wire.arp(draft.source_mac, *_ends(draft), operation=draft.flags)


def talk_discovery(draft: Draft, rng: random.Random) -> Iterator[Draft]:
    """Yield solicitations (to the node's group or to itself) and advertisements (asked for or to all)."""
    target = draft.destination
    assert target is not None
    asked = replace(draft, pack=lambda made: _pack_ip(made, ICMP6, _solicit(made, target)))
    if rng.random() < 0.7:
        asked.destination = wire.solicited_node(target)
        asked.destination_mac = group_mac(asked.destination)
    yield asked
    answer = replace(draft.reversed())
    if rng.random() < 0.2:
        answer.destination = Address(6, 0xFF02 << 112 | 1)
        answer.destination_mac = group_mac(answer.destination)
    shown = answer.source if rng.random() < 0.9 else draft.source
    assert shown is not None
    told = shown
    answer.pack = lambda made: _pack_ip(made, ICMP6, wire.advertisement(*_ends(made), told, made.source_mac))
    yield answer


def _solicit(made: Draft, target: Address) -> bytes:
    return wire.solicitation(*_ends(made), target, made.source_mac)
