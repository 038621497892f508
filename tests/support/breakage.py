"""Ways to break a good frame's bytes: lengths that lie, fragments, extension headers, tags, cuts, flipped bits.

In: a Frame and a seeded random.Random. Out: another Frame, whose `about` says what was done.
Called by the stream generator and the fuzzer. Must never need to know what the frame should get.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .wire import IPV4, IPV6, checksum

if TYPE_CHECKING:
    from .plain import Frame

EXTENSION_HEADERS: Final = (0, 43, 44, 50, 51, 59, 60, 135, 139, 140)
TAG_TYPES: Final = (0x8100, 0x8100, 0x88A8, 0x9100)
ETHERTYPES: Final = (0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x88B8, 0x0000, 0x0004, 0x05DC, 0x05FF, 0x0600)

Break = Callable[[bytearray, int, random.Random], None]


def break_frame(frame: Frame, rng: random.Random) -> Frame:
    """Return the frame broken in one way."""
    roll = rng.random()
    if roll < 0.08:
        return _wrap(frame, rng)
    if roll < 0.15:
        length = rng.choice((len(frame.payload), 0, 3, 1535, rng.randrange(1536)))
        return replace(frame, ethertype=length, about=frame.about + ", LLC")
    if roll < 0.2:
        return replace(frame, ethertype=rng.choice(ETHERTYPES), about=frame.about + ", other EtherType")
    way = rng.choice(BREAKS)
    payload = bytearray(frame.payload)
    if payload:
        way(payload, frame.ethertype, rng)
    return replace(frame, payload=bytes(payload), about=f"{frame.about}, {way.__name__.strip('_')}")


def _wrap(frame: Frame, rng: random.Random) -> Frame:
    """Put a tag into the payload: the frame's own one where none was taken off, else a second one."""
    kind, control = rng.choice(TAG_TYPES), rng.choice((frame.vlan, frame.vlan | 0xE000, rng.randrange(65536)))
    inner = struct.pack("!HH", control, frame.ethertype) + frame.payload
    about = f"{frame.about}, tag in payload"
    wrapped = replace(frame, ethertype=kind, payload=inner, about=about)
    if rng.random() < 0.4:
        return replace(wrapped, vlan=0)
    return replace(wrapped, priority_tagged=rng.random() < 0.5)


def _cut(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    del payload[rng.randrange(len(payload)) :]


def _cut_and_say_so(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    """Cut behind the IP header and correct the IP length: the transport header is what ends early."""
    header = {IPV4: 20, IPV6: 40}.get(ethertype, 0)
    if len(payload) > header:
        del payload[rng.randrange(header, len(payload)) :]
        _set_ip_length(payload, ethertype, len(payload))


def _set_ip_length(payload: bytearray, ethertype: int, length: int) -> None:
    if ethertype == IPV4 and len(payload) >= 20:
        struct.pack_into("!H", payload, 2, length & 0xFFFF)
        struct.pack_into("!H", payload, 10, 0)
        struct.pack_into("!H", payload, 10, checksum(bytes(payload[:20])))
    elif ethertype == IPV6 and len(payload) >= 40:
        struct.pack_into("!H", payload, 4, (length - 40) & 0xFFFF)


def _pad(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    payload += rng.randbytes(rng.randrange(1, 24))


def _lie_about_length(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    lie = rng.choice((0, 1, 19, 20, 39, 40, len(payload) - 1, len(payload) + 1, 65535))
    _set_ip_length(payload, ethertype, lie)


def _fragment(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    if ethertype == IPV4 and len(payload) >= 20:
        struct.pack_into("!H", payload, 6, rng.choice((0x2000, 0x0001, 0x2001, 0x1FFF, 0x8000, 0xC000, 0x4001)))
    elif ethertype == IPV6 and len(payload) >= 40:
        payload[40:40] = struct.pack("!BBHI", payload[6], 0, rng.choice((0, 1, 8)), rng.randrange(1 << 32))
        payload[6] = 44
        _set_ip_length(payload, ethertype, len(payload))


def _extend(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    if ethertype == IPV6 and len(payload) >= 40:
        payload[40:40] = bytes((payload[6], 0, 1, 4, 0, 0, 0, 0))
        payload[6] = rng.choice(EXTENSION_HEADERS)
        _set_ip_length(payload, ethertype, len(payload))
    elif ethertype == IPV4 and len(payload) >= 20:
        payload[20:20] = b"\x01" * 4
        payload[0] = 0x46
        _set_ip_length(payload, ethertype, len(payload))


def _spoil_first_byte(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    payload[0] = rng.choice((0x00, 0x40, 0x44, 0x45, 0x46, 0x4F, 0x55, 0x60, 0x65, 0xF5, rng.randrange(256)))


def _spoil_protocol(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    at = {IPV4: 9, IPV6: 6}.get(ethertype)
    if at is not None and len(payload) > at:
        payload[at] = rng.choice((0, 1, 6, 17, 58, 44, 43, 60, 135, rng.randrange(256)))


def _spoil_transport(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    """Overwrite a byte where TCP's data offset and flags, UDP's length and ICMP's type stand."""
    base = {IPV4: 20, IPV6: 40}.get(ethertype, 0)
    at = base + rng.choice((0, 4, 5, 12, 12, 13, 13))
    if at < len(payload):
        payload[at] = rng.randrange(256)


def _flip(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        payload[rng.randrange(min(len(payload), 80))] ^= 1 << rng.randrange(8)


def _empty(payload: bytearray, ethertype: int, rng: random.Random) -> None:
    payload.clear()


BREAKS: Final[tuple[Break, ...]] = (
    _cut,
    _cut_and_say_so,
    _pad,
    _lie_about_length,
    _fragment,
    _extend,
    _spoil_first_byte,
    _spoil_protocol,
    _spoil_transport,
    _flip,
    _flip,
    _empty,
)
