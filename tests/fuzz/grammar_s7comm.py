"""A small grammar of S7comm in COTP in TPKT: jobs, userdata, answers and connections, and with one rule broken.

In: a seeded random generator. Out: messages of either direction. The rules are those of RFC 1006 and ISO 8073 class 0,
and of S7comm as docs/reference/protocols/s7comm.md has it. See `grammar` for what they are for.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tests.fuzz.grammar import Made
from tests.support import s7_messages as s7

if TYPE_CHECKING:
    import random

WIDTHS: Final = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 4, 12: 2}
AREAS: Final = (0x81, 0x82, 0x83, 0x84, 0x85)
LIST_HEAD: Final = bytes.fromhex("0001120411440100")


def _pointer(rng: random.Random, *, size: int = 0, count: int = 0) -> bytes:
    chosen = size or rng.choice(tuple(WIDTHS))
    elements = count or (1 if chosen == 1 else rng.randint(1, 20))
    start = rng.randrange(60000) * 8 + (rng.randrange(8) if chosen == 1 else 0)
    return s7.pointer(chosen, elements, rng.randint(1, 999), rng.choice(AREAS), start)


def _pairs(rng: random.Random, number: int) -> tuple[bytes, bytes]:
    """Return items and data of a write."""
    items = data = b""
    for at in range(number):
        size = rng.choice(tuple(WIDTHS))
        count = 1 if size == 1 else rng.randint(1, 9)
        items += _pointer(rng, size=size, count=count)
        data += s7.written(3 if size == 1 else 4, rng.randbytes(count * WIDTHS[size]), last=at + 1 == number)
    return items, data


def _block(rng: random.Random) -> bytes:
    return s7.block_name(rng.choice(("08", "0A", "0B", "0C", "0E")), rng.randrange(10000))


def _request(rng: random.Random) -> tuple[bytes, bytes, int]:
    """Return parameters and data of a request, and its ROSCTR."""
    number = rng.randint(1, 6)
    pairs = _pairs(rng, number)
    content = rng.randbytes(rng.randrange(20))
    return rng.choice(
        (
            (s7.read_items(*(_pointer(rng) for _ in range(number))), b"", 1),
            (bytes((5, number)) + pairs[0], pairs[1], 1),
            (s7.SETUP, b"", 1),
            (b"\x1a" + bytes(7) + _block(rng) + b"\x0d1000216000088", b"", 1),
            (bytes((rng.choice((0x1B, 0x1C, 0x1D)),)) + bytes(7) + _block(rng), b"", 1),
            (bytes((rng.choice((0x1E, 0x1F)),)) + rng.randbytes(7), b"", 1),
            (s7.service(b"_INSE", b"\x01\x00" + _block(rng)[2:]), b"", 1),
            (s7.service(b"P_PROGRAM", rng.choice((b"", b"C "))), b"", 1),
            (bytes.fromhex("29000000000009505f50524f4752414d"), b"", 1),
            (LIST_HEAD[:5] + bytes((0x44, rng.choice((1, 2)), 0)), _content(content), 7),
            (LIST_HEAD[:5] + bytes((0x47, rng.randint(1, 4), 0)), bytes.fromhex("0a000000"), 7),
        )
    )


def _content(content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 9, len(content)) + content


def _framed(rng: random.Random, user: bytes) -> bytes:
    cuts = tuple(rng.randrange(len(user) + 1) for _ in range(rng.choice((0, 0, 1, 3))))
    return s7.data(user, cuts=cuts)


def right(rng: random.Random) -> Made:
    """Return a request, an answer after its request, or a connect, as they should be."""
    way = rng.randrange(8)
    if way == 0:
        return Made(s7.CONNECT)
    if way == 1:
        values = [rng.randbytes(rng.randint(1, 9)) for _ in range(rng.randint(1, 5))]
        ask = s7.job(s7.read_items(*(s7.pointer(2, len(value), 1, 0x84, 0) for value in values)), reference=5)
        results = b"".join(
            b"\xff" + s7.written(4, value, last=at + 1 == len(values))[1:] for at, value in enumerate(values)
        )
        return Made(s7.acknowledge(bytes((4, len(values))), results, reference=5), False, (s7.CONNECT, ask))
    if way == 2:
        items, data = _pairs(rng, 2)
        ask = s7.job(b"\x05\x02" + items, data, reference=6)
        return Made(s7.acknowledge(b"\x05\x02", b"\xff\x0a", reference=6), False, (s7.CONNECT, ask))
    parameters, body, rosctr = _request(rng)
    return Made(_framed(rng, s7.pdu(rosctr, parameters, body, reference=rng.randrange(65536))))


def _tpkt_rules(rng: random.Random, message: bytes) -> dict[str, bytes]:
    """Break the framing of a whole message of one TPKT."""
    user = message[7:]
    return {
        "TPKT version": bytes((rng.choice((0, 1, 2, 4, 0x16)),)) + message[1:],
        "TPKT reserved octet": message[:1] + bytes((rng.randint(1, 255),)) + message[2:],
        "TPKT shorter than its TPDU": message[:2] + struct.pack(">H", rng.randint(0, 6)) + message[4:],
        "COTP header of another length": message[:4] + bytes((rng.choice((0, 1, 3, 6)),)) + message[5:],
        "TPDU of another class": message[:5] + bytes((rng.choice((0x10, 0x20, 0x50, 0x60, 0xF1)),)) + message[6:],
        "number in class 0": message[:6] + bytes((0x80 | rng.randint(1, 127),)) + message[7:],
        "connect within a data unit": s7.tpkt(b"\x02\xf0\x00" + user[:3]) + s7.CONNECT,
        "user data behind a connect": s7.tpkt(s7.CONNECT[4:] + user),
        "parameter twice": s7.tpkt(bytes((18,)) + s7.CONNECT[5:] + b"\xc2\x00"[: rng.choice((1, 2))]),
        "another transport class": s7.CONNECT[:10] + bytes((rng.choice((0x10, 0x20, 0x40)),)) + s7.CONNECT[11:],
    }


def _pdu_rules(rng: random.Random, parameters: bytes, body: bytes, rosctr: int) -> dict[str, bytes]:
    """Break the lengths of a PDU."""
    whole = s7.pdu(rosctr, parameters, body)
    more = rng.randint(1, 300)
    return {
        "another protocol": bytes((rng.choice((0x0D, 0x01, 0x31, 0x33)),)) + whole[1:],
        "bytes behind the data": whole + rng.randbytes(rng.randint(1, 9)),
        "end missing": whole[: len(whole) - rng.randint(1, min(9, len(whole) - 1))],
        "parameters longer than the message": whole[:6] + struct.pack(">H", len(parameters) + more) + whole[8:],
        "data longer than the message": whole[:8] + struct.pack(">H", len(body) + more) + whole[10:],
    }


def _job_rules(rng: random.Random) -> dict[str, bytes]:
    """Break the contents of a job or a userdata request."""
    number = rng.randint(1, 5)
    items, data = _pairs(rng, number)
    item, name = _pointer(rng, size=2, count=4), _block(rng)
    block = name[2:]
    return {
        "no items": s7.pdu(1, b"\x04\x00"),
        "fewer items than said": s7.pdu(1, bytes((4, number + 1)) + items),
        "more items than said": s7.pdu(1, bytes((4, number)) + items + item),
        "item of another kind": s7.pdu(1, b"\x04\x01" + bytes((rng.choice((0x11, 0x13, 0)),)) + item[1:]),
        "item of no elements": s7.pdu(1, s7.read_items(s7.pointer(2, 0, 1, 0x84, 0))),
        "item of another length": s7.pdu(1, b"\x04\x01\x12" + bytes((rng.randint(11, 200),)) + item[2:]),
        "data in a read": s7.pdu(1, s7.read_items(item), rng.randbytes(rng.randint(1, 9))),
        "more written than addressed": s7.pdu(1, b"\x05\x01" + item, s7.written(4, rng.randbytes(rng.randint(5, 40)))),
        "less written than addressed": s7.pdu(1, b"\x05\x01" + item, s7.written(4, rng.randbytes(rng.randint(0, 3)))),
        "bytes behind what is written": s7.pdu(1, bytes((5, number)) + items, data + rng.randbytes(rng.randint(2, 9))),
        "written bits that are no bytes": s7.pdu(1, b"\x05\x01" + item, struct.pack(">BBH", 0, 4, 27) + bytes(4)),
        "several bits written": s7.pdu(1, s7.write_items(s7.pointer(1, 2, 1, 0x84, 3)), s7.written(3, b"\1\1")),
        "bit written as bytes": s7.pdu(1, s7.write_items(s7.pointer(1, 1, 1, 0x84, 3)), s7.written(4, b"\1")),
        "setup of another length": s7.pdu(1, s7.SETUP[: rng.randint(1, 7)]),
        "download without a name": s7.pdu(1, b"\x1a" + bytes(7) + name[: rng.randint(0, 9)]),
        "upload with data": s7.pdu(1, b"\x1d" + bytes(7) + name, b"x"),
        "bytes behind a transfer": s7.pdu(1, b"\x1e" + bytes(7 + rng.randint(1, 9))),
        "service with hidden arguments": s7.pdu(1, s7.service(b"_GARB", b"xP_PROGRAM")),
        "service of fewer blocks than said": s7.pdu(1, s7.service(b"_INSE", b"\x02\x00" + block)),
        "service of no block": s7.pdu(1, s7.service(b"_DELE", b"\x00\x00")),
        "bytes behind a service": s7.pdu(1, s7.service(b"_MODU", b"EP") + b"x"),
        "bytes behind a stop": s7.pdu(1, bytes.fromhex("29000000000009505f50524f4752414d") + b"x"),
        "job of no function": s7.pdu(1, b""),
        "userdata of another head": s7.pdu(7, b"\x01" + LIST_HEAD[1:], bytes.fromhex("0a000000")),
        "userdata of another length": s7.pdu(7, LIST_HEAD[:3] + b"\x05" + LIST_HEAD[4:], bytes.fromhex("0a000000")),
        "userdata longer than its data": s7.pdu(7, LIST_HEAD, struct.pack(">BBH", 0xFF, 9, 9) + bytes(8)),
        "userdata shorter than its data": s7.pdu(7, LIST_HEAD, struct.pack(">BBH", 0xFF, 9, 7) + bytes(8)),
    }


def _answer_rules(rng: random.Random) -> dict[str, bytes]:
    """Break answers to a read of four bytes, whose reference is 5."""
    good = s7.written(4, rng.randbytes(4))
    other = rng.choice((0, 4, 6, 0x0500))
    return {
        "answer of another reference": s7.acknowledge(b"\x04\x01", good, reference=other),
        "answer of another function": s7.acknowledge(b"\x05\x01", b"\xff", reference=5),
        "answer of more items": s7.acknowledge(b"\x04\x02", good + good, reference=5),
        "answer of fewer results": s7.acknowledge(b"\x04\x01", b"", reference=5),
        "bytes behind a result": s7.acknowledge(b"\x04\x01", b"\xff" + good[1:] + b"xx", reference=5),
        "userdata that nobody asked for": s7.userdata(8, rng.randint(1, 7), 1, bytes(4), reference=5, form=12),
        "job of the responder": s7.job(s7.read_items(_pointer(rng)), reference=5),
        "download that nobody asked for": s7.job(b"\x1b" + bytes(7) + _block(rng)),
        "connect of the responder": s7.CONNECT,
    }


def wrong(rng: random.Random) -> Made:
    """Return a message with one thing wrong, and the rule that it breaks."""
    way = rng.randrange(5)
    parameters, body, rosctr = _request(rng)
    if way == 4:
        ask = s7.job(s7.read_items(s7.pointer(2, 4, 1, 0x84, 0)), reference=5)
        rule, message = rng.choice(tuple(_answer_rules(rng).items()))
        return Made(message, False, (s7.CONNECT, ask), rule)
    if way == 0:
        rule, message = rng.choice(tuple(_tpkt_rules(rng, s7.data(s7.pdu(rosctr, parameters, body))).items()))
        return Made(message, broken=rule)
    rules = _pdu_rules(rng, parameters, body, rosctr) if way == 1 else _job_rules(rng)
    rule, user = rng.choice(tuple(rules.items()))
    return Made(_framed(rng, user), broken=rule)
