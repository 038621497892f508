"""A small grammar of EtherNet/IP and CIP: messages as CIP Vol. 1 and 2 have them, and with one rule broken.

In: a seeded random generator. Out: messages. See `grammar` for what they are for.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tests.fuzz.grammar import Made
from tests.support import enip_messages as build

if TYPE_CHECKING:
    import random

CLASSES: Final = (1, 4, 0x0F, 0x43, 0x64, 0x8E, 0xF5, 0xF6, 0x300)
TYPES: Final = {0xC1: 1, 0xC2: 1, 0xC3: 2, 0xC4: 4, 0xCA: 4, 0xC5: 8}
SOCKETS: Final = 2
BROKEN_PATHS: Final = (
    "2401", "2801", "3001", "2300 0100", "3401 0000", "9100", "9103 4100 4200", "c100", "2001 2401 2402",
    "2001 3001 3002", "2001 0100", "2001 8001 0000", "6000", "2001 3801", "2001 2801 2401", "9101 4100 2401",
)  # fmt: skip


def place(rng: random.Random) -> bytes:
    """Return the path of a class, an instance or an attribute."""
    instance = rng.choice((None, 1, rng.randrange(70000)))
    attribute = None if instance is None else rng.choice((None, rng.randint(1, 300)))
    return build.place(rng.choice(CLASSES), instance, attribute)


def tag(rng: random.Random) -> bytes:
    """Return the path of a tag."""
    parts = [build.symbol("".join(rng.choices("abcXYZ_09", k=rng.randint(1, 9)))) for _ in range(rng.randint(1, 3))]
    return b"".join(part + build.logical(2, rng.randrange(400)) * rng.choice((0, 0, 1, 2)) for part in parts)


def listed(rng: random.Random, count: int | None = None) -> bytes:
    """Return the data of a Get_Attribute_List."""
    numbers = rng.choices(range(1, 50), k=rng.randint(1, 6))
    return struct.pack(f"<H{len(numbers)}H", len(numbers) if count is None else count, *numbers)


def written(rng: random.Random, extra: int = 0) -> bytes:
    """Return the data of a Write Tag, some bytes longer or shorter than it says."""
    kind, count = rng.choice(list(TYPES)), rng.randint(1, 20)
    return struct.pack("<HH", kind, count) + rng.randbytes(count * TYPES[kind] + extra)


def opening(rng: random.Random, transport: int | None = None) -> bytes:
    """Return a Forward Open."""
    path = rng.choice((b"\x20\x04\x24\x05\x2c\x65\x2c\x64", b"\x01\x00" + build.ROUTER, b"\x20\x04\x2c\x66\x80\x01ab"))
    half = rng.choice((0, 2 << 13 | 2, 2 << 13 | 100, 1 << 13 | 8))
    serial = rng.randbytes(8)
    return build.forward_open(
        path, forward=half, back=2 << 13 | 30, serial=serial,
        transport=rng.choice((0, 1, 0xA3)) if transport is None else transport,
    )  # fmt: skip


def pccc(rng: random.Random) -> bytes:
    """Return an Execute PCCC."""
    data = b"\x07" + rng.randbytes(6) + bytes((0x0F, 0)) + rng.randbytes(2) + bytes((rng.choice((0xA2, 0xAA, 0x80)),))
    return build.request(0x4B, build.place(0x67, 1), data)


def request(rng: random.Random, depth: int = 0) -> bytes:  # noqa: PLR0911 one return for each rule
    """Return a right request."""
    way = rng.randrange(9 if depth < 2 else 6)
    if way == 0:
        return build.request(rng.choice((0x01, 0x0E, 0x10, 0x05)), place(rng), rng.randbytes(rng.randrange(5)))
    if way == 1:
        return build.request(0x03, build.place(rng.choice(CLASSES), 1), listed(rng))
    if way == 2:
        return build.request(0x4C, tag(rng), b"\1\0")
    if way == 3:
        return build.request(0x4D, tag(rng), written(rng))
    if way == 4:
        return pccc(rng)
    if way == 5:
        return opening(rng)
    if way == 6:
        return build.routed(request(rng, depth + 1), rng.choice((b"\x01\x00", b"\x01\x03\x02\x07", b"")))
    if way == 7:
        return build.forward_close(serial=rng.randbytes(8))
    return build.multiple([request(rng, depth + 1) for _ in range(rng.randint(1, 4))])


def _changed(data: bytes, at: int, number: int, form: str = "<H") -> bytes:
    out = bytearray(data)
    struct.pack_into(form, out, at, number)
    return bytes(out)


def _encapsulation(rng: random.Random) -> tuple[str, bytes]:  # noqa: PLR0911 one return for each rule
    way = rng.randrange(7)
    if way == 0:
        return "options that are not 0", _changed(build.unconnected(request(rng)), 20, rng.randint(1, 2**32 - 1), "<I")
    if way == 1:
        return "a request with a status", _changed(build.unconnected(request(rng)), 8, rng.randint(1, 2**32 - 1), "<I")
    if way == 2:
        known = (0, 4, 0x63, 0x64, 0x65, 0x66, 0x6F, 0x70, 0x72, 0x73)
        command = rng.choice([one for one in range(300) if one not in known])
        return "a command that is none", build.encapsulated(command, rng.randbytes(rng.randrange(9)))
    if way == 3:
        command = rng.choice((4, 0x63, 0x64, 0x66))
        return "data where there are none", build.encapsulated(command, rng.randbytes(rng.randint(1, 9)))
    if way == 4:
        size = rng.choice((0, 1, 2, 3, 5, 9))
        return "a registration of another length", build.encapsulated(0x65, b"\1\0\0\0\0\0\0\0\0"[:size])
    if way == 5:
        other = rng.randint(2, 2**32 - 1)
        return "another version or options", build.encapsulated(0x65, struct.pack("<I", other))
    return "a length beyond the longest", struct.pack("<HH", 0x6F, rng.randint(65512, 65535)) + bytes(20)


def _items(rng: random.Random) -> tuple[str, bytes]:  # noqa: PLR0911 one return for each rule
    whole = build.unconnected(request(rng), sockets=rng.randint(1, SOCKETS))
    way = rng.randrange(7)
    if way == 0:
        return "another interface", _changed(whole, 24, rng.randint(1, 2**32 - 1), "<I")
    if way == 1:
        return "another number of items", _changed(whole, 30, rng.choice((0, 1, 5, 2, 65535)))
    if way == 2:
        return "an address item of another kind", _changed(whole, 32, rng.choice((0xA1, 0x8002, 1, 0xB2)))
    if way == 3:
        return "an address item that is not empty", _changed(whole, 34, rng.randint(1, 9))
    if way == 4:
        return "a data item of another kind", _changed(whole, 36, rng.choice((0xB1, 0, 0xA1, 0x0C)))
    if way == 5:
        (size,) = struct.unpack_from("<H", whole, 38)
        return "a data item of another length", _changed(whole, 38, rng.choice((0, size - 1, size + 1, 65535)))
    return "a socket address of another kind or length", _changed(whole, len(whole) - rng.choice((18, 20)), 0x8003)


def _paths(rng: random.Random) -> tuple[str, bytes]:
    if rng.random() < 0.3:
        whole = bytearray(build.request(0x0E, place(rng)))
        whole[1] += rng.randint(1, 100)
        return "a path beyond the end", build.unconnected(bytes(whole))
    path = bytes.fromhex(rng.choice(BROKEN_PATHS).replace(" ", ""))
    return "a path that is none", build.unconnected(build.request(rng.choice((0x0E, 0x10, 5)), path))


def _data(rng: random.Random) -> tuple[str, bytes]:  # noqa: PLR0911 one return for each rule
    way = rng.randrange(8)
    if way == 0:
        message = build.request(0x03, build.place(1, 1), listed(rng, rng.choice((0, 7, 40, 65535))))
        return "an attribute list of another length", build.unconnected(message)
    if way == 1:
        data = rng.choice((b"", b"\1", b"\1\0\0", b"\1\0\0\0"))
        return "a read of another length", build.unconnected(build.request(0x4C, tag(rng), data))
    if way == 2:
        message = build.request(0x4D, tag(rng), written(rng, rng.choice((1, 3, 9))))
        return "values that are not as many as said", build.unconnected(message)
    if way == 3:
        data = struct.pack("<HHI", 0xC4, 4, rng.choice((1, 2, 3, 16, 2**32 - 4))) + bytes(4)
        return "a fragment beyond what is written", build.unconnected(build.request(0x53, tag(rng), data))
    if way == 4:
        message = opening(rng)
        wrong = rng.choice((message + rng.randbytes(1), message[:-1], message[:-2], message[: rng.randint(7, 30)]))
        return "a Forward Open of another length", build.unconnected(wrong)
    if way == 5:
        return "a transport class that is none", build.unconnected(opening(rng, rng.randint(4, 15)))
    if way == 6:
        message = build.forward_close()
        return "a Forward Close of another length", build.unconnected(rng.choice((message + b"\0", message[:-1])))
    message = pccc(rng)
    return "a PCCC command cut short", build.unconnected(message[: rng.randint(6, len(message) - 1)])


def _embedded(rng: random.Random) -> tuple[str, bytes]:
    way = rng.randrange(6)
    if way == 0:
        whole = build.multiple([request(rng, 2), request(rng, 2)])
        wrong = rng.choice((0, 2, 5, 7, 65535))
        return "a first slice that does not follow", build.unconnected(_changed(whole, 8, wrong))
    if way == 1:
        whole = build.multiple([build.request(0x0E, build.place(1, 1, 7)), build.request(0x0E, build.place(1, 1, 7))])
        return "slices that overlap or pass the end", build.unconnected(
            _changed(whole, 10, rng.choice((0, 6, 9, 22, 500)))
        )
    if way == 2:
        whole = build.multiple([request(rng, 2)])
        return "another number of slices", build.unconnected(_changed(whole, 6, rng.choice((0, 2, 200, 65535))))
    if way == 3:
        return "an answer in a request", build.unconnected(build.multiple([request(rng, 2), build.answer(0x0E)]))
    if way == 4:
        inner = build.request(0x0E, build.place(1, 1, 7))
        return "an embedded length that is not", build.unconnected(
            _changed(build.routed(inner), 8, rng.choice((0, len(inner) - 3, len(inner) + 3, 65535)))
        )
    message = request(rng, 2)
    for _ in range(rng.randint(5, 8)):
        message = build.multiple([message])
    return "nested too deep", build.unconnected(message)


def _answers(rng: random.Random) -> Made:
    asked = build.unconnected(build.request(0x0E, build.place(1, 1, 7)))
    way = rng.randrange(6)
    if way == 0:
        return Made(build.unconnected(build.answer(0x0E)), from_opener=False, broken="nobody asked")
    if way == 1:
        other = build.unconnected(build.answer(rng.choice((1, 2, 3, 5, 0x10, 0x4C))))
        return Made(other, from_opener=False, asked=(asked,), broken="an answer to another service")
    if way == 2:
        other = build.unconnected(build.answer(0x0E), context=rng.randbytes(8))
        return Made(other, from_opener=False, asked=(asked,), broken="an answer with another context")
    if way == 3:
        short = bytes((0x8E, 0, rng.choice((0, 5)), rng.randint(1, 9)))
        short = short[: rng.randint(1, 4)]
        return Made(build.unconnected(short), from_opener=False, asked=(asked,), broken="an answer cut short")
    if way == 4:
        packet = build.unconnected(build.multiple([build.request(0x0E, build.place(1, 1, 7))] * 2))
        slices = bytearray(build.slices([build.answer(0x0E), build.answer(0x0E)]))
        slices[rng.choice((0, 2, 4))] += rng.choice((1, 50))
        wrong = build.unconnected(build.answer(0x0A, bytes(slices)))
        return Made(wrong, from_opener=False, asked=(packet,), broken="slices of an answer")
    return Made(asked, from_opener=False, broken="the responder asks")


def right(rng: random.Random) -> Made:
    """Return a right message."""
    roll = rng.random()
    if roll < 0.1:
        command, body = rng.choice(((4, b""), (0x63, b""), (0x64, b""), (0x65, b"\1\0\0\0"), (0x66, b""), (0, b"abc")))
        return Made(build.encapsulated(command, body))
    message = request(rng)
    asked = build.unconnected(message, context=rng.randbytes(8))
    if roll < 0.5 or message[0] in (0x0A, 0x52, 0x54, 0x4E):
        return Made(asked)
    told = build.unconnected(build.answer(message[0], rng.randbytes(rng.randrange(9))), context=asked[12:20])
    return Made(told, from_opener=False, asked=(asked,))


def wrong(rng: random.Random) -> Made:
    """Return a wrong message."""
    if rng.random() < 0.2:
        return _answers(rng)
    if rng.random() < 0.03:
        over = build.connected(request(rng, 2), connection=rng.randrange(2**32))
        return Made(over, broken="a connection that nobody opened")
    rule, message = rng.choice((_encapsulation, _items, _paths, _data, _embedded))(rng)
    return Made(message, broken=rule)


def right_io(rng: random.Random) -> Made:
    """Return a datagram of implicit I/O."""
    data = rng.randbytes(rng.choice((0, 2, 10, 500)))
    return Made(build.datum(data, connection=rng.randrange(2**32)), from_opener=rng.random() < 0.5)


def wrong_io(rng: random.Random) -> Made:
    """Return a wrong datagram."""
    whole = build.datum(rng.randbytes(rng.randint(1, 40)))
    way = rng.randrange(5)
    if way == 0:
        return Made(_changed(whole, 0, rng.choice((0, 1, 3, 65535))), broken="another number of items")
    if way == 1:
        return Made(_changed(whole, 2, rng.choice((0, 0xA1, 0xB1, 0x8000))), broken="an address of another kind")
    if way == 2:
        return Made(_changed(whole, 4, rng.choice((0, 4, 7, 9, 65535))), broken="an address of another length")
    if way == 3:
        return Made(_changed(whole, 14, rng.choice((0, 0xB2, 0xA1))), broken="data of another kind")
    (size,) = struct.unpack_from("<H", whole, 16)
    return Made(_changed(whole, 16, rng.choice((size + 1, size - 1, 65535))), broken="data of another length")
