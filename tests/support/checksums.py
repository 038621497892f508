"""Right checksums for recorded frames: many were taken on the sending host, before its network card filled them in.

In: an Ethernet frame without a tag. Out: the same frame, the checksums of IPv4 headers and of whole TCP and UDP right.
"""

from __future__ import annotations

import struct
from typing import Final

from .plain import Address
from .wire import checksum, pseudo_header

LINK_BYTES: Final = 14
AT: Final = {6: 16, 17: 6}  # where TCP and UDP keep it


def corrected(frame: bytes) -> bytes:
    """Return the frame with its checksums as they should be."""
    out = bytearray(frame)
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == 0x0800 and len(frame) >= LINK_BYTES + 20:
        _correct_ipv4(out)
    elif ethertype == 0x86DD and len(frame) >= LINK_BYTES + 40:
        size = int.from_bytes(frame[LINK_BYTES + 4 : LINK_BYTES + 6], "big")
        addresses = (_address(6, frame, LINK_BYTES + 8), _address(6, frame, LINK_BYTES + 24))
        _correct_transport(out, LINK_BYTES + 40, size, frame[LINK_BYTES + 6], addresses)
    return bytes(out)


def _address(version: int, frame: bytes, at: int) -> Address:
    return Address(version, int.from_bytes(frame[at : at + (4 if version == 4 else 16)], "big"))


def _correct_ipv4(out: bytearray) -> None:
    header = (out[LINK_BYTES] & 0x0F) * 4
    end = LINK_BYTES + header
    struct.pack_into("!H", out, LINK_BYTES + 10, 0)
    struct.pack_into("!H", out, LINK_BYTES + 10, checksum(bytes(out[LINK_BYTES:end])))
    whole = not int.from_bytes(out[LINK_BYTES + 6 : LINK_BYTES + 8], "big") & 0x3FFF
    if whole:
        size = int.from_bytes(out[LINK_BYTES + 2 : LINK_BYTES + 4], "big") - header
        addresses = (_address(4, bytes(out), LINK_BYTES + 12), _address(4, bytes(out), LINK_BYTES + 16))
        _correct_transport(out, end, size, out[LINK_BYTES + 9], addresses)


def _correct_transport(out: bytearray, at: int, size: int, protocol: int, addresses: tuple[Address, Address]) -> None:
    place = AT.get(protocol)
    if place is None or size < place + 2 or at + size > len(out):
        return
    struct.pack_into("!H", out, at + place, 0)
    body = bytes(out[at : at + size])
    total = checksum(pseudo_header(*addresses, protocol, size) + body)
    struct.pack_into("!H", out, at + place, total or (0xFFFF if protocol == 17 else 0))
