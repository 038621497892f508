"""Whatever an attacker does, no server executes what is forbidden; whatever a network does, the rest arrives.

The gateway is the live path's code; both ends are slow models (tests/support/tcp_model.py).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from fastpath import abi
from fastpath.abi import FailMode, Inspector, Operation, Reason
from fastpath.dissect import Conversations
from tests.support.tcp_model import ACK, FIN, HABITS, RST, SYN, URG, Client, Habits, Segment, Server, wire
from tests.support.twin_stream import StreamTwin

if TYPE_CHECKING:
    from collections.abc import Callable

PERMITTED: Final = (Operation.READ, Operation.WRITE)
FORBIDDEN: Final = {8, 43}  # functions
ATTACKS: Final = 500  # for each kind of server and of refusal
SEGMENTS: Final = 60
TRANSFERS: Final = 60
ROUNDS: Final = 3000
MOST_WAITING: Final = 16  # requests: Modbus Messaging on TCP/IP, NumberMaxOfServerTransaction


def adu(transaction: int, pdu: bytes) -> bytes:
    """Return a Modbus message to unit 1."""
    return transaction.to_bytes(2, "big") + bytes(2) + (len(pdu) + 1).to_bytes(2, "big") + b"\x01" + pdu


def reading(transaction: int) -> bytes:
    """Return a request to read."""
    return adu(transaction, bytes.fromhex("03 0000 0002"))


def forbidden(transaction: int) -> bytes:
    """Return a request to be silent for ever."""
    return adu(transaction, bytes.fromhex("08 0004 0000"))


def writing(transaction: int, content: bytes) -> bytes:
    """Return a request to write registers; its values may look like anything."""
    content += bytes(len(content) % 2)
    count = len(content) // 2
    return adu(transaction, b"\x10" + bytes(2) + count.to_bytes(2, "big") + bytes([len(content)]) + content)


def gateway(
    rng: random.Random, *, shuts: bool, fail: FailMode | None = None, enforced: bool = True
) -> Callable[[Segment, bool], Reason]:
    """Return the live path's verdict on one enforced conversation."""
    memory = bytearray(abi.streams_table_bytes(4, 2))
    held = Conversations(
        Inspector.MODBUS,
        operations=PERMITTED,
        memory=memory,
        flows=bytearray(8 * abi.FLOW.size),
        streams=4,
        windows=2,
        shuts=shuts,
        fail=rng.choice(list(FailMode)) if fail is None else fail,
    )
    return lambda segment, opener: held.segment(0, opener, *segment, enforced=enforced).reason


def answering_gateway(rng: random.Random) -> Callable[[Segment, bool], Segment | None]:
    """Return what the live path makes of a segment where refused requests go on changed; None: it is dropped.

    Some frames can't be changed, as when too many of a batch were.
    """
    memory = bytearray(abi.streams_table_bytes(4, 2))
    held = Conversations(
        Inspector.MODBUS,
        operations=PERMITTED,
        memory=memory,
        flows=bytearray(8 * abi.FLOW.size),
        streams=4,
        windows=2,
        fail=rng.choice(list(FailMode)),
        answers=True,
    )

    def pass_on(segment: Segment, opener: bool) -> Segment | None:
        judged = held.segment(0, opener, *segment, changeable=rng.random() < 0.9)
        if not judged.passes:
            return None
        data = bytearray(segment.data)
        for place, byte in judged.edits:
            data[place] = byte
        return segment._replace(data=bytes(data))

    return pass_on


def open_gate(segment: Segment, opener: bool) -> Reason:
    """Let everything pass, as the control of the experiment."""
    return Reason.NONE


class Attacker:
    """Somebody who has several texts for the same places, and mixes them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.start = rng.choice([rng.randrange(1 << 32), (1 << 32) - rng.randrange(1, 300)])
        self.server_next = 0
        self.reached = 0  # what the server says that it has
        honest = self._text(evil=False)
        self.texts = [honest] * rng.randrange(4) + [self._text(evil=True), self._changed(honest), self._changed(honest)]

    def _changed(self, text: bytes) -> bytes:
        """Return a text with a forbidden request in the place of something else."""
        changed = bytearray(text)
        place = self.rng.randrange(300)
        changed[place : place + 12] = forbidden(1)
        return bytes(changed)

    def _text(self, *, evil: bool) -> bytes:
        rng = self.rng
        parts = []
        while sum(map(len, parts)) < 400:
            transaction = rng.randrange(8)
            parts.append(
                rng.choice(
                    [
                        reading(transaction),
                        forbidden(transaction) if evil else reading(transaction),
                        writing(transaction, forbidden(1)),
                        writing(transaction, reading(1) + forbidden(2)),
                        writing(transaction, rng.randbytes(rng.randrange(1, 30))),
                    ]
                )
            )
        return b"".join(parts)

    def learn(self, segment: Segment) -> None:
        """See what the server sent."""
        if segment.flags & SYN:
            self.start = wire(segment.acknowledged - 1)
            self.reached = 0
            self.server_next = wire(segment.sequence + 1)
        elif segment.flags & ACK:
            self.reached = max(self.reached, min(wire(segment.acknowledged - self.start - 1), 400))
            self.server_next = wire(segment.sequence + len(segment.data))

    def next(self) -> Segment:
        """Return a segment, usually one that makes some sense."""
        rng = self.rng
        if rng.random() < 0.03:
            data = rng.choice([b"", b"", rng.choice(self.texts)[: rng.randrange(1, 30)]])
            return Segment(rng.choice([self.start, wire(self.start + rng.randrange(1 << 32))]), 0, SYN, data)
        place = max(0, self.reached + rng.choice([0, 0, 0, rng.randrange(-20, 40)]))
        size = rng.choice([0, 1, 2, rng.randrange(40), rng.randrange(120), 12])
        data = rng.choice(self.texts)[place : place + size]
        flags = rng.choices([ACK, ACK | FIN, RST, RST | ACK, ACK | URG, 0, FIN, SYN | ACK], [90, 2, 2, 1, 1, 1, 1, 1])[
            0
        ]
        sequence = wire(self.start + 1 + place)
        if rng.random() < 0.02:
            sequence = wire(sequence + rng.choice([1 << 31, 1 << 30, -(1 << 30), 70000, rng.randrange(1 << 32)]))
        acknowledged = wire(self.server_next + rng.choices([0, -5, 9, 1 << 31], [94, 2, 2, 2])[0])
        if not flags & (ACK | RST | SYN | FIN):
            flags = RST if rng.random() < 0.5 else FIN
        return Segment(sequence, acknowledged, flags, b"" if flags & SYN else data)


def attack(
    rng: random.Random, gate: Callable[[Segment, bool], Reason], habits: Habits
) -> tuple[Server, Counter[Reason]]:
    """Attack once. Whatever passes the gate may be lost on the server, as with a bad checksum or a short TTL."""
    attacker, server = Attacker(rng), Server(rng, habits)
    reasons: Counter[Reason] = Counter()
    segments = [Segment(attacker.start, 0, SYN)]
    for _ in range(SEGMENTS):
        for segment in segments:
            reason = gate(segment, True)
            reasons[reason] += 1
            if reason is not Reason.NONE or rng.random() < 0.15:
                continue
            for answer in server.receive(segment):
                if gate(answer, False) is Reason.NONE and rng.random() < 0.95:
                    attacker.learn(answer)
        segments = [attacker.next() for _ in range(rng.choice([1, 1, 2, 3]))]
        rng.shuffle(segments)
        if rng.random() < 0.2:
            segments.append(rng.choice(segments))
    return server, reasons


@pytest.mark.parametrize("shuts", [True, False])
@pytest.mark.parametrize("habits", HABITS, ids=lambda habits: habits.overlap)
def test_no_server_executes_what_is_forbidden(habits: Habits, shuts: bool, seed: int) -> None:
    """No mixture of segments makes any kind of server execute a forbidden function."""
    rng = random.Random(f"{seed} {habits} {shuts}")
    seen: Counter[Reason] = Counter()
    executed = 0
    for _ in range(ATTACKS):
        server, reasons = attack(rng, gateway(rng, shuts=shuts), habits)
        assert not [message.hex() for function, message in server.executed if function in FORBIDDEN]
        seen += reasons
        executed += len(server.executed)
    assert executed > ATTACKS, "the attacks must get somewhere at all"
    expected = {Reason.STREAM_CONFLICT, Reason.STREAM_AHEAD, Reason.STREAM_SEQUENCE, Reason.MESSAGE_OPERATION}
    assert expected | {Reason.STREAM_URGENT, Reason.STREAM_OPENING_DATA} <= set(seen)


@pytest.mark.parametrize("habits", HABITS, ids=lambda habits: habits.overlap)
def test_no_server_executes_what_was_changed(habits: Habits, seed: int) -> None:
    """Nor does it where forbidden requests go on changed, however they are split, repeated and lost."""
    rng = random.Random(f"{seed} {habits} changed")
    executed: Counter[int] = Counter()
    for _ in range(2 * ATTACKS):
        gate = answering_gateway(rng)
        attacker, server = Attacker(rng), Server(rng, habits)
        segments = [Segment(attacker.start, 0, SYN)]
        for _ in range(SEGMENTS):
            for segment in segments:
                going = gate(segment, True)
                if going is None or rng.random() < 0.15:
                    continue
                for answer in server.receive(going):
                    coming = gate(answer, False)
                    if coming is not None and rng.random() < 0.95:
                        attacker.learn(coming)
            segments = [attacker.next() for _ in range(rng.choice([1, 1, 2, 3]))]
            rng.shuffle(segments)
            if rng.random() < 0.4:
                segments.append(rng.choice(segments))
        executed.update(function for function, _ in server.executed)
    assert not FORBIDDEN & set(executed)
    assert executed[0] > ATTACKS // 10, "requests must have gone on changed"
    assert executed[3] > ATTACKS


@pytest.mark.parametrize("habits", HABITS, ids=lambda habits: habits.overlap)
def test_the_attacks_are_real(habits: Habits, seed: int) -> None:
    """Without the gateway many of the same attacks execute what is forbidden."""
    rng = random.Random(f"{seed} {habits}")
    reached = 0
    for _ in range(200):
        server, _ = attack(rng, open_gate, habits)
        reached += any(function in FORBIDDEN for function, _ in server.executed)
    assert reached > 30


def compared(
    rng: random.Random, twin: StreamTwin, held: Callable[[Segment, bool], Reason], seen: Counter[Reason]
) -> Callable[[Segment, bool], Reason]:
    """Return a gate that asks both and compares; of messages only the engine speaks, where the twin asks for it."""

    def judge(segment: Segment, opener: bool) -> Reason:
        reason = held(segment, opener)
        said = twin.judge(segment, opener, lambda: reason if is_of_content(reason) else Reason.MESSAGE_PROTOCOL)
        assert reason is said, (segment, opener)
        seen[reason] += 1
        return reason

    def is_of_content(reason: Reason) -> bool:
        lost = reason is Reason.STREAM_PICKUP and not all(way.known for way in twin.ways.values())
        return lost or reason is Reason.NONE or reason >= Reason.MESSAGE_PROTOCOL

    return judge


@pytest.mark.parametrize("shuts", [True, False])
@pytest.mark.parametrize("fail", list(FailMode))
def test_the_engine_says_what_the_page_says(fail: FailMode, shuts: bool, seed: int) -> None:
    """Engine and slow twin give the same reason for every segment of every attack."""
    rng = random.Random(f"{seed} {fail} {shuts}")
    seen: Counter[Reason] = Counter()
    for _ in range(ATTACKS // 2):
        gate = compared(rng, StreamTwin(fail, shuts=shuts), gateway(rng, shuts=shuts, fail=fail), seen)
        attack(rng, gate, rng.choice(HABITS))
    assert {reason for reason in Reason if reason.name.startswith("STREAM_")} - set(seen) <= {
        Reason.STREAM_BUDGET,
        Reason.STREAM_SHARE,
        Reason.STREAM_PICKUP,
        *(() if shuts else (Reason.STREAM_REFUSED,)),
    }


def test_nothing_forbidden_passes_unseen_where_it_passes(seed: int) -> None:
    """In monitor a server that executed what is forbidden has been seen to get something that enforcement refuses."""
    rng = random.Random(seed)
    executed = 0
    for _ in range(ATTACKS):
        watch = gateway(rng, shuts=True, enforced=False)
        said: list[Reason] = []

        def gate(segment: Segment, opener: bool, watch: Any = watch, said: list[Reason] = said) -> Reason:
            said.append(watch(segment, opener))
            return Reason.NONE

        server, _ = attack(rng, gate, rng.choice(HABITS))
        if any(function in FORBIDDEN for function, _ in server.executed):
            executed += 1
            assert set(said) > {Reason.NONE}
    assert executed > ATTACKS // 10


def test_what_passes_is_followed(seed: int) -> None:
    """In monitor, on a network that only doubles and overtakes, no message is missed, and none is misread."""
    rng = random.Random(seed)
    for _ in range(TRANSFERS):
        watch = gateway(rng, shuts=True, enforced=False)
        reasons = Counter(watch(*sent) for sent in overtaking(rng))
        assert set(reasons) <= {Reason.NONE, Reason.STREAM_AHEAD}


def overtaking(rng: random.Random) -> list[tuple[Segment, bool]]:
    """Return a conversation of readings whose requests come in two segments, some of them in the wrong order."""
    client, server = rng.randrange(1 << 32), rng.randrange(1 << 32)
    wired = [(Segment(client, 0, SYN), True), (Segment(server, wire(client + 1), SYN | ACK), False)]
    client, server = client + 1, server + 1
    for transaction in range(50):
        text = reading(transaction)
        cut = rng.randrange(1, len(text))
        parts = [
            (Segment(wire(client), wire(server), ACK, text[:cut]), True),
            (Segment(wire(client + cut), wire(server), ACK, text[cut:]), True),
        ]
        client += len(text)
        if rng.random() < 0.5:
            parts.reverse()
        if rng.random() < 0.2:
            parts.append(rng.choice(parts))
        answer = adu(transaction, bytes.fromhex("03 04 0000 0000"))
        wired += [*parts, (Segment(wire(server), wire(client), ACK, answer), False)]
        server += len(answer)
    return wired


def transfer(rng: random.Random, gate: Callable[[Segment, bool], Reason]) -> tuple[list[bytes], Server, set[Reason]]:
    """Have a client ask many things over a network that loses, doubles and reorders on both sides of the gateway."""
    asked = [
        rng.choice([reading(transaction), writing(transaction, rng.randbytes(rng.randrange(1, 200)))])
        for transaction in range(rng.randrange(2, 60))
    ]
    client, server = Client(rng, b"".join(asked)), Server(rng, Habits())
    reasons: set[Reason] = set()
    trouble = rng.choice([0.0, 0.02, 0.2])
    window = rng.choice([12, 40, 12 * MOST_WAITING])
    for _ in range(ROUNDS):
        if client.is_done:
            break
        passed = []
        for segment in shaken(rng, client.send(window), trouble):
            reason = gate(segment, True)
            reasons.add(reason)
            if reason is Reason.NONE:
                passed.append(segment)
        answers = [answer for segment in shaken(rng, passed, trouble) for answer in server.receive(segment)]
        for answer in shaken(rng, answers, 0):
            reason = gate(answer, False)
            reasons.add(reason)
            if reason is Reason.NONE and rng.random() >= trouble:
                client.receive(answer)
    return asked, server, reasons


def shaken(rng: random.Random, segments: list[Segment], trouble: float) -> list[Segment]:
    """Return segments as a bad network delivers them."""
    arrived = [segment for segment in segments if rng.random() >= trouble]
    for place in range(len(arrived) - 1):
        if rng.random() < trouble:
            arrived[place], arrived[place + 1] = arrived[place + 1], arrived[place]
    return [again for segment in arrived for again in [segment] * (1 + (rng.random() < trouble))]


def test_what_is_permitted_arrives(seed: int) -> None:
    """Every permitted request is executed, in order and once, whatever the network does; none is refused for good."""
    rng = random.Random(seed)
    for _ in range(TRANSFERS):
        asked, server, reasons = transfer(rng, gateway(rng, shuts=True))
        assert [message for _, message in server.executed] == asked
        assert reasons <= {Reason.NONE, Reason.STREAM_AHEAD}
