"""Whatever is asked among what is permitted, and however it is split, repeated and answered: each is told its own."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any, Final, NamedTuple

from fastpath import abi
from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Conversations
from tests.support import enip_messages as build
from tests.support import twin_cip
from tests.support.enip_ends import NOT_SUPPORTED, Device
from tests.support.tcp_model import ACK, SYN

PERMITTED: Final = (Operation.READ, Operation.DIAGNOSE)
CONVERSATIONS: Final = 250
ROUNDS: Final = 25
MOST_CHANGED: Final = abi.WAY_EDITS
CLIENT, SERVER = 0xFFFFFF00, 77
POINT_TO_POINT: Final = 2
PARAMETER: Final = build.place(0x0F, 1, 1)
PLAIN: Final = (
    build.request(0x0E, PARAMETER),
    build.request(0x01, build.place(1, 1)),
    build.request(0x4C, build.symbol("Level"), b"\1\0"),
    build.request(0x10, PARAMETER, b"\x07\0"),
    build.request(0x4D, build.symbol("Level"), bytes.fromhex("c30001000500")),
    build.request(0x05, build.place(1, 1)),
    build.request(0x4B, build.place(0x99, 1)),
)


class Asked(NamedTuple):
    """A request in flight: what its client waits for."""

    service: int  # that the answer has to name
    refused: bool


def is_refused(message: bytes) -> bool:
    """Tell by the slow twin whether a CIP message asks for anything that is not permitted."""
    if message[2:6] == build.MANAGER and message[0] in (0x54, 0x5B):
        return message[-1] != 1 or message[-3] != 2  # what is no connection for messages is one for outputs
    return any(
        one["operation"] is not Operation.NONE and one["operation"] not in PERMITTED
        for one in twin_cip.accesses(message, {})
    )


class Exchange:
    """One conversation: a client that sends what it likes, the live path's gateway, and a slow device."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.held = Conversations(
            Inspector.ENIP,
            operations=PERMITTED,
            memory=bytearray(abi.streams_table_bytes(4, 2)),
            flows=bytearray(8 * abi.FLOW.size),
            streams=4,
            windows=2,
            answers=True,
        )
        self.device = Device()
        self.permitted: list[bytes] = []  # what the device has to carry out, with what is embedded
        self.waiting: dict[bytes, list[Asked]] = {}  # by context, or number and sequence count; oldest first
        self.connections: list[int] = []
        self.serial = self.sequence = self.sent = self.got = 0
        self.texts: tuple[dict[int, int], dict[int, int]] = ({}, {})  # behind the gateway: place: byte
        self.held.segment(0, True, CLIENT - 1, 0, SYN, b"")
        self.held.segment(0, False, SERVER - 1, CLIENT, SYN | ACK, b"")

    # ---- what is asked ----

    def message(self) -> bytes:
        """Return a CIP message of any kind."""
        rng, kind = self.rng, self.rng.randrange(10)
        if kind == 0:
            self.serial += 1
            path, transport = rng.choice([("010020022401", 0xA3), ("200424052c652c64", 1)])
            large = rng.random() < 0.5
            half = POINT_TO_POINT << (29 if large else 13) | 500
            opening = {"transport": transport, "serial": b"%08d" % self.serial, "large": large}
            return build.forward_open(bytes.fromhex(path), forward=half, back=half, **opening)
        plain = rng.choice(PLAIN)
        if kind < 3:
            plain = build.multiple([rng.choice(PLAIN) for _ in range(rng.randrange(1, 5))])
        return build.routed(plain) if kind in (2, 3) else plain

    def request(self) -> tuple[bytes, int | None]:
        """Return an encapsulated request, and where its service stands if it is one that is refused."""
        message = self.message()
        refused = is_refused(message)
        asked = Asked(self._named(message), refused)
        if not refused:
            self.permitted.append(message)
        if self.connections and message[2:6] != build.MANAGER and self.rng.random() < 0.5:
            self.sequence += 1
            number = self.rng.choice(self.connections)
            self._wait(b"%d %d" % (number, self.sequence), asked)
            return build.connected(message, connection=number, sequence=self.sequence), 46 if refused else None
        context = self.rng.choice([b"AAAAAAAA", b"BBBBBBBB", b"%08d" % self.rng.randrange(100)])
        self._wait(context, asked)
        return build.unconnected(message, context=context), 40 if refused else None

    @staticmethod
    def _named(message: bytes) -> int:
        """Return the service that an answer names: of a routed message, the one that is routed."""
        return message[8 + 2] if message[0] == 0x52 and message[2:6] == build.MANAGER else message[0]

    def _wait(self, key: bytes, asked: Asked) -> None:
        self.waiting.setdefault(key, []).append(asked)

    # ---- how it travels ----

    def burst(self) -> bytes:
        """Have the client send some requests; return what arrived at the device, which acknowledges all of it."""
        text, changed = b"", []
        for _ in range(self.rng.randrange(1, 5)):
            one, place = self.request()
            changed += [] if place is None else [len(text) + place]
            text += one
            if len(changed) == MOST_CHANGED:
                break
        arrived = self.travel(text, changed, opener=True)
        expected = bytearray(text)
        for place in changed:
            expected[place] = 0x7F
        assert arrived == expected, "the outermost service of what is refused, and nothing else"
        return arrived

    def travel(self, text: bytes, changed: list[int], *, opener: bool) -> bytes:
        """Send a text in segments, some of them again; return it as it arrived. Nothing of it is lost for good."""
        base = self.sent if opener else self.got
        cuts = {self.rng.randrange(1, len(text)) for _ in range(self.rng.choice([0, 0, 1, 4]))}
        if opener:  # a request whose service has passed is reset, which is not tried here
            cuts = {cut for cut in cuts if not any(place < cut < place + 400 for place in changed)}
        edges = sorted({0, len(text), *cuts})
        for start, end in pairwise(edges):
            self.segment(text, start, end, base, opener=opener)
            if self.rng.random() < 0.3:
                again = sorted(self.rng.sample(range(end + 1), 2)) if end else [0, 0]
                self.segment(text, *again, base, opener=opener)
        return bytes(self.texts[opener][base + at] for at in range(len(text)))

    def segment(self, text: bytes, start: int, end: int, base: int, *, opener: bool) -> None:
        """Pass one segment: whatever carries a place has the same byte there."""
        first = CLIENT if opener else SERVER
        other = SERVER + self.got if opener else CLIENT + self.sent
        judged = self.held.segment(
            0, opener, first + base + start & 0xFFFFFFFF, other & 0xFFFFFFFF, ACK, text[start:end]
        )
        assert judged.reason in (Reason.NONE, Reason.MESSAGE_OPERATION), judged
        assert judged.passes
        data = bytearray(text[start:end])
        for place, byte in judged.edits:
            data[place] = byte
        for at, byte in enumerate(data, base + start):
            assert self.texts[opener].setdefault(at, byte) == byte

    def round(self) -> Counter[str]:
        """Ask, let the device answer in any permitted order, and see what the client is told."""
        arrived = self.burst()
        self.sent += len(arrived)
        answers = self.device.receive(arrived)
        by_key: dict[bytes, list[bytes]] = {}
        for answer in answers:
            by_key.setdefault(self.key(answer), []).append(answer)
        turns = [key for key, some in by_key.items() for _ in some]
        self.rng.shuffle(turns)
        ordered = [by_key[key].pop(0) for key in turns]
        told = self.travel(b"".join(ordered), [], opener=False)
        self.got += len(told)
        return self.hear(told)

    @staticmethod
    def key(answer: bytes) -> bytes:
        """Return by what an answer is known."""
        if answer[0] == 0x6F:
            return answer[12:20]
        return b"%d %d" % (int.from_bytes(answer[36:40], "little") - 0x1000, int.from_bytes(answer[44:46], "little"))

    def hear(self, told: bytes) -> Counter[str]:
        """Compare every answer with what was asked."""
        seen: Counter[str] = Counter()
        while told:
            end = 24 + int.from_bytes(told[2:4], "little")
            answer, told = told[:end], told[end:]
            key = self.key(answer)
            asked = self.waiting[key].pop(0)
            reply = answer[40:] if answer[0] == 0x6F else answer[46:]
            assert reply[0] == asked.service | 0x80
            assert (reply[2] == NOT_SUPPORTED) is asked.refused
            seen["refused" if asked.refused else "answered"] += 1
            seen["connected refused"] += asked.refused and answer[0] == 0x70
            if reply[0] in (0xD4, 0xDB) and not reply[2]:
                self.connections = [*self.connections[-3:], int.from_bytes(reply[4:8], "little")]
                if len(self.connections) > 8:
                    self.connections.pop(0)
        return seen


def executed(message: bytes) -> list[bytes]:
    """Return what a device carries out of a message."""
    alone = Device()
    alone.receive(build.unconnected(message))
    return alone.executed


def test_everybody_is_told_what_became_of_their_own(seed: int) -> None:
    """What is refused is never carried out and answered as such, all else is carried out in its order and answered."""
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    for _ in range(CONVERSATIONS):
        exchange = Exchange(rng)
        for _round in range(rng.randrange(1, ROUNDS)):
            if exchange.device.opened >= 10:
                break  # there is room for twelve
            seen += exchange.round()
        assert exchange.device.executed == [one for message in exchange.permitted for one in executed(message)]
        assert not any(exchange.waiting.values())
    assert min(seen["refused"], seen["answered"]) > 3 * CONVERSATIONS
    assert seen["connected refused"] > CONVERSATIONS // 2


def test_no_part_of_a_refused_request_is_carried_out(seed: int) -> None:
    """However it is cut: it goes on changed, or the rest of it does not pass."""
    rng = random.Random(seed)
    outcomes: Counter[Any] = Counter()
    for _ in range(2 * CONVERSATIONS):
        exchange = Exchange(rng)
        message = next(one for one in iter(exchange.message, None) if is_refused(one))
        text = build.unconnected(message)
        cuts = sorted({0, len(text), *(rng.randrange(1, len(text)) for _ in range(rng.choice([1, 1, 2, 9])))})
        passed = bytearray()
        for start, end in pairwise(cuts):
            judged = exchange.held.segment(0, True, CLIENT + start & 0xFFFFFFFF, SERVER, ACK, text[start:end])
            part = bytearray(text[start:end])
            for place, byte in judged.edits:
                part[place] = byte
            passed += part if judged.passes else b""
        exchange.device.receive(bytes(passed))
        assert not exchange.device.executed
        outcomes["changed" if len(passed) == len(text) else "stopped"] += 1
    assert min(outcomes["changed"], outcomes["stopped"]) > CONVERSATIONS // 5
