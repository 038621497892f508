"""Traffic of a plant as the kernel hands it to a queue: NFQNL_MSG_PACKET messages, and an order in which they come.

In: a `Plant` and a mix. Out: messages of STRIDE_BYTES each for bench/classify.pyx and a shuffled, seeded order over
them. Frames are IPv4 with 24 bytes of TCP or UDP payload; attributes are those that a bridge-family queue carries, in
the kernel's order (net/netfilter/nfnetlink_queue.c). Used by the suite `classify` and the instruction guard.
"""

from __future__ import annotations

import random
import struct
from array import array
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.policies import Plant, Talk

STRIDE_BYTES: Final = 256
FRESH: Final = 0x80000000  # as in bench/classify.pyx
PAYLOAD: Final = bytes(24)
TCP, UDP = 6, 17
SYN, PUSH_ACK = 0x02, 0x18
NOBODYS_MAC: Final = bytes.fromhex("02fe00000001")
NOBODYS_NET: Final = int(IPv4Address("172.16.0.0"))
BRIDGE_IFINDEX: Final = 3
PACKET_KIND: Final = 3 << 8  # NFNL_SUBSYS_QUEUE, NFQNL_MSG_PACKET
PF_BRIDGE, FORWARD_HOOK = 7, 2
PACKET_HDR, INDEV, OUTDEV, PHYSINDEV, PHYSOUTDEV, HWADDR, IP_PAYLOAD, SKB_INFO, L2HDR = 1, 5, 6, 7, 8, 9, 10, 14, 20
CSUM_NOTVERIFIED: Final = 4


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages by number: `opening` start conversations, `established` go on with them, both ways."""

    messages: bytearray
    opening: array[int]
    established: array[int]
    fresh: array[int]  # conversations of one frame, each time from another port (FRESH)
    no_conduit: array[int]
    unknown_source: array[int]
    wrong_mac: array[int]

    def order(self, frames: int, chance: random.Random, *, misses: float, fresh: float) -> array[int]:
        """Return a shuffled order: a share of misses of all three kinds, a share of fresh ones, else established."""
        denied = [*self.no_conduit, *self.unknown_source, *self.wrong_mac]
        chosen = chance.choices(denied, k=round(frames * misses))
        chosen += chance.choices(self.fresh, k=round(frames * fresh))
        chosen += chance.choices(self.established, k=frames - len(chosen))
        chance.shuffle(chosen)
        return array("I", chosen)


def traffic(plant: Plant, conversations: int, seed: int) -> Traffic:
    """Return the messages of a number of conversations, and an eighth of that for every other kind."""
    chance = random.Random(seed)
    found = Traffic(bytearray(), *(array("I") for _ in range(6)))

    def add(content: bytes) -> int:
        found.messages.extend(content.ljust(STRIDE_BYTES, b"\0"))
        return len(found.messages) // STRIDE_BYTES - 1

    for talk in islice(plant.talks(chance), conversations):
        port = _client_port(chance)
        found.opening.append(add(message(talk, port, flags=SYN)))
        found.established.append(add(message(talk, port)))
        found.established.append(add(message(talk, port, reply=True)))
    others = max(conversations // 8, 1)
    for talk in islice(plant.talks(chance), others):
        found.fresh.append(add(message(talk, 0, flags=SYN)) | FRESH)
        stranger = IPv4Address(NOBODYS_NET + chance.randrange(1 << 16))
        found.unknown_source.append(add(message(talk, _client_port(chance), source_ip=stranger)))
        found.wrong_mac.append(add(message(talk, _client_port(chance), source_mac=NOBODYS_MAC)))
    for talk in islice(plant.foreign(chance), others):
        found.no_conduit.append(add(message(talk, _client_port(chance), flags=SYN)))
    return found


def message(
    talk: Talk,
    port: int,
    *,
    flags: int = PUSH_ACK,
    reply: bool = False,
    source_ip: IPv4Address | None = None,
    source_mac: bytes | None = None,
    payload: bytes = PAYLOAD,
    numbers: tuple[int, int] = (1, 1),
) -> bytes:
    """Return one queue message of a conversation whose opener speaks from `port`; `numbers` are TCP's two."""
    here, there = (talk.destination, talk.source) if reply else (talk.source, talk.destination)
    ports = (talk.port, port) if reply else (port, talk.port)
    mac = here.mac if source_mac is None else source_mac
    packet = _ipv4(
        here.ip if source_ip is None else source_ip, there.ip, talk.protocol, ports, (*numbers, flags), payload
    )
    body = b"".join(
        (
            _attribute(PACKET_HDR, struct.pack("!IHB", 0, 0x0800, FORWARD_HOOK)),
            _attribute(PHYSINDEV, struct.pack("!I", here.ifindex)),
            _attribute(INDEV, struct.pack("!I", BRIDGE_IFINDEX)),
            _attribute(PHYSOUTDEV, struct.pack("!I", there.ifindex)),
            _attribute(OUTDEV, struct.pack("!I", BRIDGE_IFINDEX)),
            _attribute(HWADDR, struct.pack("!HH8s", 6, 0, mac)),
            _attribute(L2HDR, there.mac + mac + b"\x08\0"),
            _attribute(SKB_INFO, struct.pack("!I", CSUM_NOTVERIFIED)),
            _attribute(IP_PAYLOAD, packet),
        )
    )
    return struct.pack("=IHHIIB3x", 20 + len(body), PACKET_KIND, 0, 0, 0, PF_BRIDGE) + body


def payload_at(content: bytes | bytearray) -> int:
    """Return where the IP header stands in a message; it is the same place in all of them."""
    at = 20
    while True:
        size, kind = struct.unpack_from("=HH", content, at)
        if kind == IP_PAYLOAD:
            return at + 4
        at += -(-size // 4) * 4


def _client_port(chance: random.Random) -> int:
    return chance.randrange(32768, 61000)


def _attribute(kind: int, content: bytes) -> bytes:
    size = 4 + len(content)
    return struct.pack("=HH", size, kind) + content + bytes(-size % 4)


def _ipv4(
    source: IPv4Address,
    destination: IPv4Address,
    protocol: str,
    ports: tuple[int, int],
    place: tuple[int, int, int],
    payload: bytes,
) -> bytes:
    """Return a packet without checksums: the engine doesn't look at them, with offloads they are unset."""
    if protocol == "tcp":
        *numbers, flags = place
        number, transport = TCP, struct.pack("!HHIIBBHHH", *ports, *numbers, 5 << 4, flags, 64000, 0, 0) + payload
    else:
        number, transport = UDP, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    length = 20 + len(transport)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, number, 0, source.packed, destination.packed)
    return header + transport
