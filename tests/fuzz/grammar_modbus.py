"""A small grammar of Modbus: requests and answers as Application Protocol V1.1b3 has them, and with one rule broken.

In: a seeded random generator. Out: messages, in Modbus/TCP or in RTU frames. See `grammar` for what they are for.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.fuzz.grammar import Made

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

BITS_READ, WORDS_READ, BITS_WRITTEN, WORDS_WRITTEN, WORDS_EXCHANGED = 2000, 125, 1968, 123, 121
LONGEST_PDU: Final = 253
DEFINED: Final = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43)
ZERO_DATA: Final = (2, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20)  # diagnostics whose data are 0


class Exchange(NamedTuple):
    """A request's PDU and the PDU that answers it."""

    request: bytes
    answer: bytes


def crc(frame: bytes) -> bytes:
    """Return the CRC of an RTU frame, low byte first."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def packed(*words: int) -> bytes:
    """Return 16-bit numbers, high byte first."""
    return struct.pack(f"!{len(words)}H", *words)


def span(rng: random.Random, most: int) -> tuple[int, int]:
    """Return an address and a count that a device may have."""
    count = rng.choice((1, most, rng.randint(1, most)))
    return rng.choice((0, 65536 - count, rng.randint(0, 65536 - count))), count


def exchange(rng: random.Random, function: int) -> Exchange:
    """Return a request of a function and its answer."""
    code = bytes((function,))
    if function in (1, 2, 3, 4):
        address, count = span(rng, BITS_READ if function < 3 else WORDS_READ)
        size = (count + 7) // 8 if function < 3 else 2 * count
        return Exchange(code + packed(address, count), code + bytes((size,)) + rng.randbytes(size))
    if function in (5, 6, 22):
        value = rng.choice((0, 0xFF00)) if function == 5 else rng.randrange(65536)
        more = packed(rng.randrange(65536)) if function == 22 else b""
        same = code + packed(rng.randrange(65536), value) + more
        return Exchange(same, same)
    if function in (15, 16):
        address, count = span(rng, BITS_WRITTEN if function == 15 else WORDS_WRITTEN)
        size = (count + 7) // 8 if function == 15 else 2 * count
        head = code + packed(address, count)
        return Exchange(head + bytes((size,)) + rng.randbytes(size), head)
    if function == 23:
        read, written = span(rng, WORDS_READ), span(rng, WORDS_EXCHANGED)
        request = code + packed(*read, *written) + bytes((2 * written[1],)) + rng.randbytes(2 * written[1])
        return Exchange(request, code + bytes((2 * read[1],)) + rng.randbytes(2 * read[1]))
    return _other(rng, function)


def _other(rng: random.Random, function: int) -> Exchange:
    code = bytes((function,))
    if function == 8:
        subfunction = rng.choice((0, 1, 3, *ZERO_DATA))
        fixed = {0: rng.randbytes(2), 1: rng.choice((b"\0\0", b"\xff\0")), 3: rng.randbytes(1) + b"\0"}
        request = code + packed(subfunction) + fixed.get(subfunction, b"\0\0")
        return Exchange(request, request)
    if function in (20, 21):
        return _files(rng, function)
    if function == 24:
        words = rng.randint(0, 31)
        return Exchange(code + rng.randbytes(2), code + packed(2 + 2 * words, words) + rng.randbytes(2 * words))
    if function == 43:
        objects = b"".join(bytes((i, n)) + rng.randbytes(n) for i, n in enumerate(rng.choices(range(9), k=3)))
        return Exchange(code + bytes((14, rng.randint(1, 4), 0)), code + bytes((14, 1, 1, 0, 0, 3)) + objects)
    size = {7: 1, 11: 4}.get(function)
    if size is None:
        body = rng.randbytes(rng.randint(6, 70))
        return Exchange(code, code + bytes((len(body),)) + body)
    return Exchange(code, code + rng.randbytes(size))


def _files(rng: random.Random, function: int) -> Exchange:
    asked, told = b"", b""
    for _ in range(rng.randint(1, 3)):
        words, record = rng.randint(1, 12), rng.randint(0, 9000)
        head = struct.pack("!BHHH", 6, rng.randint(1, 65535), record, words)
        values = rng.randbytes(2 * words)
        asked += head + (values if function == 21 else b"")
        told += bytes((1 + 2 * words, 6)) + values
    request = bytes((function, len(asked))) + asked
    return Exchange(request, request if function == 21 else bytes((20, len(told))) + told)


# ---- what can be wrong ---------------------------------------------------------------------------------------------


def _changed(pdu: bytes, at: int, *words: int) -> bytes:
    return pdu[:at] + packed(*words) + pdu[at + 2 * len(words) :]


def _count(rng: random.Random) -> tuple[str, bytes]:
    function = rng.choice((1, 2, 3, 4, 15, 16, 23))
    most = {15: BITS_WRITTEN, 16: WORDS_WRITTEN}.get(function, BITS_READ if function < 3 else WORDS_READ)
    pdu = exchange(rng, function).request
    return "a count of 0 or too many", _changed(pdu, 1, 0, rng.choice((0, most + 1, rng.randint(most + 1, 65535))))


def _beyond(rng: random.Random) -> tuple[str, bytes]:
    pdu = exchange(rng, rng.choice((1, 2, 3, 4, 15, 16, 23))).request
    count = struct.unpack_from("!H", pdu, 3)[0]
    if count == 1:
        return _beyond(rng)
    return "addresses beyond 65535", _changed(pdu, 1, 65536 - rng.randint(1, count - 1))


def _byte_count(rng: random.Random) -> tuple[str, bytes]:
    function = rng.choice((15, 16, 23, 20, 21))
    at = {15: 5, 16: 5, 23: 9}.get(function, 1)
    pdu = bytearray(exchange(rng, function).request)
    pdu[at] = rng.choice([size for size in range(256) if size != pdu[at]])
    return "a byte count that is not what follows", bytes(pdu)


def _length(rng: random.Random) -> tuple[str, bytes]:
    function = rng.choice([one for one in DEFINED if one != 8])
    pdu = exchange(rng, function).request
    if rng.random() < 0.5 and len(pdu) > 1:
        return "a request too short", pdu[: rng.randint(1, len(pdu) - 1)]
    more = rng.randint(1, 5)
    return ("a request too long", pdu + rng.randbytes(more)) if len(pdu) + more <= LONGEST_PDU else _length(rng)


def _value(rng: random.Random) -> tuple[str, bytes]:
    if rng.random() < 0.5:
        value = rng.choice((1, 0xFF, 0x00FF, 0xFF01, 0xFFFF, rng.randint(1, 0xFEFF)))
        return "a coil neither on nor off", b"\5" + packed(rng.randrange(65536), value)
    subfunction = rng.choice((1, 3, *ZERO_DATA))
    value = rng.randint(1, 255) if subfunction == 3 else rng.randint(1, 0xFEFF)
    return "diagnostic data that the clause fixes", b"\x08" + packed(subfunction, value)


def _file(rng: random.Random) -> tuple[str, bytes]:
    pdu = bytearray(exchange(rng, rng.choice((20, 21))).request)
    way = rng.randrange(4)
    if way == 0:
        pdu[2] = rng.choice([kind for kind in range(256) if kind != 6])
    elif way == 1:
        pdu[3:5] = b"\0\0"
    elif way == 2:
        pdu[5:7] = packed(rng.randint(10000, 65535))
    else:
        pdu[7:9] = packed(rng.choice((0, rng.randint(2000, 65535))))
    return "a file group with a wrong reference type, file, record or length", bytes(pdu)


def _function(rng: random.Random) -> tuple[str, bytes]:
    code = rng.choice((0, rng.randint(128, 255)))
    return "function 0, or an exception as a request", bytes((code,)) + rng.randbytes(rng.randint(0, 8))


def _identification(rng: random.Random) -> tuple[str, bytes]:
    return "an identification code outside 1 to 4", bytes((43, 14, rng.choice((0, rng.randint(5, 255))), 0))


PDU_RULES: Final = (_count, _beyond, _byte_count, _length, _value, _file, _function, _identification)


def _wrong_answer(rng: random.Random) -> tuple[str, bytes, bytes]:
    """Return a rule, a request, and an answer that breaks the rule."""
    function = rng.choice((1, 2, 3, 4, 5, 6, 15, 16, 22, 23))
    request, answer = exchange(rng, function)
    way = rng.randrange(4)
    if way == 0:
        other = bytearray(answer)
        at = rng.randrange(1, 5) if function in (5, 6, 15, 16, 22) else 1
        other[at] ^= 1 << rng.randrange(8)
        return "an answer that is not what was asked for", request, bytes(other)
    if way == 1:
        return "an exception of more or less than one code", request, bytes((function | 0x80, *rng.randbytes(2)))
    if way == 2:
        return "an answer too long", request, answer[:LONGEST_PDU] + rng.randbytes(1)
    another = rng.choice([one for one in DEFINED if one != function])
    return "an answer to another function", request, exchange(rng, another).answer


# ---- Modbus/TCP and RTU --------------------------------------------------------------------------------------------


def tcp(pdu: bytes, transaction: int = 7, unit: int = 1) -> bytes:
    """Return a PDU behind the header of Modbus/TCP."""
    return struct.pack("!HHHB", transaction, 0, 1 + len(pdu), unit) + pdu


def rtu(pdu: bytes, unit: int = 1) -> bytes:
    """Return a PDU in an RTU frame."""
    frame = bytes((unit,)) + pdu
    return frame + crc(frame)


def _right(rng: random.Random, wrap: Callable[[bytes], bytes]) -> Made:
    request, answer = exchange(rng, rng.choice(DEFINED))
    if rng.random() < 0.2:
        answer = bytes((request[0] | 0x80, rng.randint(1, 11)))
    if rng.random() < 0.5:
        return Made(wrap(request))
    return Made(wrap(answer), from_opener=False, asked=(wrap(request),))


def _wrong(rng: random.Random, wrap: Callable[[bytes], bytes]) -> Made:
    if rng.random() < 0.3:
        rule, request, answer = _wrong_answer(rng)
        if len(answer) > LONGEST_PDU:
            return _wrong(rng, wrap)
        return Made(wrap(answer), from_opener=False, asked=(wrap(request),), broken=rule)
    if rng.random() < 0.05:
        return Made(wrap(exchange(rng, rng.choice(DEFINED)).answer), from_opener=False, broken="nobody asked")
    rule, pdu = rng.choice(PDU_RULES)(rng)
    return Made(wrap(pdu), broken=rule)


def right_tcp(rng: random.Random) -> Made:
    """Return a right message in Modbus/TCP."""
    return _right(rng, functools.partial(tcp, transaction=rng.randrange(65536), unit=rng.randrange(256)))


def wrong_tcp(rng: random.Random) -> Made:
    """Return a wrong message in Modbus/TCP."""
    roll = rng.random()
    if roll > 0.15:
        return _wrong(rng, functools.partial(tcp, transaction=rng.randrange(65536), unit=rng.randrange(256)))
    request, answer = exchange(rng, rng.choice(DEFINED))
    if roll < 0.05:
        message = _changed(tcp(request), 2, rng.randint(1, 65535))
        return Made(message, broken="a protocol identifier that is not 0")
    if roll < 0.1:
        message = _changed(tcp(request), 4, rng.choice((0, 1, 255, rng.randint(255, 65535))))
        return Made(message, broken="a length outside 2 to 254")
    answered = tcp(answer, 8) if rng.random() < 0.5 else tcp(answer, unit=2)
    return Made(answered, from_opener=False, asked=(tcp(request),), broken="another transaction or unit")


def right_rtu(rng: random.Random) -> Made:
    """Return a right message in RTU."""
    return _right(rng, functools.partial(rtu, unit=rng.randrange(256)))


def wrong_rtu(rng: random.Random) -> Made:
    """Return a wrong message in RTU."""
    roll = rng.random()
    if roll > 0.15:
        return _wrong(rng, functools.partial(rtu, unit=rng.randrange(256)))
    frame = bytearray(rtu(exchange(rng, rng.choice(DEFINED)).request))
    if roll < 0.1:
        frame[-rng.randint(1, 2)] ^= 1 << rng.randrange(8)
        return Made(bytes(frame), broken="a wrong CRC")
    code = rng.choice([one for one in range(1, 128) if one not in DEFINED])
    return Made(rtu(bytes((code,)) + rng.randbytes(4)), broken="a function whose length nobody knows")
