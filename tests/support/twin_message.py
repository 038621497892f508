"""The slow, plain reading of a packet message: attribute after attribute, from linux/netfilter/nfnetlink_queue.h.

In: one message of a queue socket. Out: what stands in it, as tests/support/reader.pyx gives it, or None without a
packet id. Knows no message but this one. Never made fast. Called by tests/fuzz/messages.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS_BYTES: Final = 20  # nlmsghdr, nfgenmsg
TYPE_MASK: Final = 0x3FFF
PACKET_HDR, PHYSINDEV, PHYSOUTDEV, HWADDR, PAYLOAD, CAP_LEN, VLAN, L2HDR = 1, 7, 8, 9, 10, 13, 19, 20
VLAN_PROTO, VLAN_TCI = 1, 2
CUSTOMER_TAG: Final = 0x8100
OTHER_TAG: Final = 2
SHORTEST: Final = {PACKET_HDR: 7, PHYSINDEV: 4, PHYSOUTDEV: 4, HWADDR: 12, CAP_LEN: 4, L2HDR: 14}


def attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) up to the end, or to the first length that cannot be."""
    while len(content) >= 4:
        size, kind = struct.unpack_from("=HH", content)
        if not 4 <= size <= len(content):
            return
        yield kind & TYPE_MASK, content[4:size]
        content = content[-(-size // 4) * 4 :]


def read_message(message: bytes) -> tuple[int, dict[str, Any]] | None:
    """Return (id, values): of several attributes of a kind the last counts, too short a one is none."""
    sound = ((kind, value) for kind, value in attributes(message[HEADERS_BYTES:]) if len(value) >= shortest(kind))
    found = dict(sound)
    if PACKET_HDR not in found:
        return None
    number, ethertype = struct.unpack_from("!IH", found[PACKET_HDR])
    payload = found.get(PAYLOAD, b"")
    source, destination = macs(found)
    vlan, tagged = tag(found.get(VLAN, b""))
    return number, {
        "payload": payload,
        "length": max(len(payload), word(found.get(CAP_LEN))),
        "in_ifindex": word(found.get(PHYSINDEV)),
        "out_ifindex": word(found.get(PHYSOUTDEV)),
        "source_mac": source,
        "destination_mac": destination,
        "ethertype": ethertype,
        "vlan": vlan,
        "tagged": tagged,
    }


def shortest(kind: int) -> int:
    """Return how long a value of a kind is at least."""
    return SHORTEST.get(kind, 0)


def word(value: bytes | None) -> int:
    """Return a 32-bit value, 0 where there is none."""
    return 0 if value is None else int.from_bytes(value[:4], "big")


def macs(found: dict[int, bytes]) -> tuple[int, int | None]:
    """Return source and destination: of the link header, else what the kernel says of the sender."""
    if L2HDR in found:
        return int.from_bytes(found[L2HDR][6:12], "big"), int.from_bytes(found[L2HDR][:6], "big")
    said = found.get(HWADDR)
    if said is None or int.from_bytes(said[:2], "big") < 6:
        return 0, None
    return int.from_bytes(said[4:10], "big"), None


def tag(nested: bytes) -> tuple[int, int]:
    """Return the VLAN id and how the frame was tagged: 0 not, 1 by a customer's tag, 2 by any other."""
    protocol = vlan = tagged = 0
    for kind, value in attributes(nested):
        if kind == VLAN_TCI and len(value) >= 2:
            vlan, tagged = int.from_bytes(value[:2], "big") & 0x0FFF, 1
        elif kind == VLAN_PROTO and len(value) >= 2:
            protocol = int.from_bytes(value[:2], "big")
    return vlan, OTHER_TAG if tagged and protocol != CUSTOMER_TAG else tagged
