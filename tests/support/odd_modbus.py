"""Modbus conversations as no good client would hold them, as captured frames: a client, a server, one port each.

In: a seeded random.Random. Out: Ethernet frames with their times, and from which side each came: requests of every kind
and their answers, split, repeated, changed, put out of order, reset and begun anew. Called by tests of `simulate`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from . import wire
from .capture_file import Packet
from .plain import Address

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

CLIENT_MAC, SERVER_MAC = bytes.fromhex("020000000101"), bytes.fromhex("020000000201")
CLIENT, SERVER = Address(4, 0x0A010001), Address(4, 0x0A020001)
CONVERSATIONS: Final = 12
TURNS: Final = 100
START_NS: Final = 1_700_000_000_000_000_000
GAP_NS: Final = 3_000_000  # between frames


class Seen(NamedTuple):
    """A frame, and whether the client sent it."""

    packet: Packet
    from_client: bool


class Station:
    """One end of a generated conversation: what it sends goes on where it stands, unless it is told to err."""

    def __init__(self, rng: random.Random, port: int, *, client: bool) -> None:
        self.rng, self.client = rng, client
        self.ports = (port, 502) if client else (502, port)
        self.at = rng.randrange(1 << 32)
        self.sent: list[tuple[int, bytes]] = []

    def packet(self, number: int, at: int, acknowledged: int, flags: int, data: bytes) -> Seen:
        """Return one segment as a captured frame."""
        ends = (CLIENT, SERVER) if self.client else (SERVER, CLIENT)
        segment = bytearray(wire.tcp(*ends, self.ports, flags, data))
        struct.pack_into("!II", segment, 4, at & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF)
        macs = (SERVER_MAC, CLIENT_MAC) if self.client else (CLIENT_MAC, SERVER_MAC)
        frame = b"".join(macs) + b"\x08\x00" + wire.ip(*ends, 6, bytes(segment))
        return Seen(Packet(START_NS + number * GAP_NS, frame, len(frame)), self.client)

    def mangled(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return (offset, flags, bytes) of the segments that carry data: whole, split, repeated, changed, exchanged."""
        cut = self.rng.randrange(len(data) + 1)
        parts = [(0, 0x18, data)] if self.rng.random() < 0.6 else [(0, 0x10, data[:cut]), (cut, 0x18, data[cut:])]
        parts = [part for part in parts if part[2]]
        what = self.rng.random()
        if what < 0.1:
            parts.append(self.rng.choice(parts))
        elif what < 0.14:
            at, flags, bytes_ = self.rng.choice(parts)
            parts.append((at, flags, bytes_[:-1] + bytes((bytes_[-1] ^ 1,))))
        elif what < 0.2:
            parts.reverse()
        elif what < 0.22:
            parts[-1] = (parts[-1][0], parts[-1][1] | 0x20, parts[-1][2])  # URG
        elif what < 0.25:
            parts.pop()
        return parts


def request(rng: random.Random, transaction: int) -> bytes:
    """Return a request of some kind, sometimes nonsense."""
    value, address = rng.choice((0, 200, 400, 900, 5000)), rng.randrange(12)
    body = rng.choices(
        [
            struct.pack("!BBHH", 1, 3, address, 1),
            struct.pack("!BBHH", rng.choice((1, 2)), 6, address, value),
            struct.pack("!BBHHBHH", 1, 16, address, 2, 4, value, value),
            bytes((1, 99, 0)),
            b"",
        ],
        weights=(8, 4, 2, 1, 1),
    )[0]
    return struct.pack("!HHH", transaction, 0, len(body)) + body


def answer(asked: bytes, rng: random.Random) -> bytes:
    """Return a server's answer: what was read, the echo of a write, or an exception."""
    if len(asked) < 8 or asked[7] not in (3, 6, 16) or rng.random() < 0.1:
        body = asked[6:7] + bytes((asked[7] | 0x80 if len(asked) > 7 else 0x83, 1))
    elif asked[7] == 3:
        body = asked[6:8] + struct.pack("!BH", 2, rng.choice((0, 100, 300)))
    else:
        body = asked[6:12]
    return asked[:4] + struct.pack("!H", len(body)) + body


def generated(rng: random.Random) -> Iterator[Seen]:
    """Yield conversations one after the other; some have no beginning."""
    number = 0
    for port in range(50000, 50000 + CONVERSATIONS):
        client, server = Station(rng, port, client=True), Station(rng, port, client=False)
        if rng.random() < 0.8:
            yield client.packet(number, client.at - 1, 0, 0x02, b"")
            yield server.packet(number, server.at - 1, client.at, 0x12, b"")
            yield client.packet(number, client.at, server.at, 0x10, b"")
        for turn in range(TURNS):
            asked = request(rng, turn)
            for speaker, listener, data in ((client, server, asked), (server, client, answer(asked, rng))):
                for offset, flags, part in speaker.mangled(data):
                    number += 1
                    yield speaker.packet(number, speaker.at + offset, listener.at, flags, part)
                speaker.at += len(data)
            if rng.random() < 0.02:
                speaker = rng.choice((client, server))
                listener = server if speaker is client else client
                yield speaker.packet(number, speaker.at, listener.at, rng.choice((0x04, 0x14, 0x11)), b"")
            if rng.random() < 0.2:
                client.at, server.at = rng.randrange(1 << 32), rng.randrange(1 << 32)
                yield client.packet(number, client.at - 1, 0, 0x02, b"")
                yield server.packet(number, server.at - 1, client.at, 0x12, b"")
