"""Streams and large windows are shared as the page says, whoever opens, fills, empties and leaves conversations."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

import pytest

from fastpath import abi
from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Conversations
from tests.support.tcp_model import ACK, RST, SYN
from tests.support.twin_shares import Opener, SharesTwin

ROUNDS: Final = 40
STEPS: Final = 400
REQUEST: Final = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
BURST: Final = REQUEST * 100  # more than a stream holds itself


class Plant:
    """Conversations through the live path, and the twin beside them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.streams, self.windows = rng.choice([8, 16, 32, 60]), rng.choice([1, 2, 4])
        self.memory = bytearray(abi.streams_table_bytes(self.streams, self.windows))
        self.flows = bytearray(2 * self.streams * abi.FLOW.size)
        self.held = self._engine()
        self.twin = SharesTwin(self.streams, self.windows)
        self.sent: dict[int, int] = {}
        self.openers = [
            Opener(address, rng.choice([None, None, 1, 2])) for address in range(1, rng.choice([2, 3, 6, 40]))
        ]
        self.seen: Counter[Reason] = Counter()

    def _engine(self) -> Conversations:
        return Conversations(
            Inspector.MODBUS,
            operations=[Operation.READ],
            memory=self.memory,
            flows=self.flows,
            streams=self.streams,
            windows=self.windows,
        )

    def step(self) -> None:
        """Let something happen to a conversation, and compare."""
        free = [number for number in range(2 * self.streams) if number not in self.twin.open]
        number = self.rng.choice(list(self.twin.open) or free)
        if self.rng.random() < 0.5 and free:
            self.begin(self.rng.choice(free))
        elif number not in self.twin.open:
            return
        elif number in self.twin.wide and self.rng.random() < 0.5:
            assert self._send(number, b"", opener=False) is Reason.NONE
            self.twin.wide.discard(number)
        elif self.rng.random() < 0.6:
            self.fill(number)
        else:
            self.leave(number)
        if self.rng.random() < 0.02:
            self.held = self._engine()  # another engine goes on with what this one left
        assert self.held.windows_in_use >= len(self.twin.wide)

    def begin(self, number: int) -> None:
        """Shake hands."""
        opener = self.rng.choice(self.openers)
        self.held.opened_by(number, opener.address, asset=opener.zone is None, zone=opener.zone or 0)
        reason = self.held.segment(number, False, 999, 100, SYN | ACK, b"").reason
        assert reason is self.twin.take_stream(number, opener)
        self.seen[reason] += 1
        self.sent[number] = 0

    def fill(self, number: int) -> None:
        """Have more under way than a stream holds itself; what is refused is not sent."""
        reason = self._send(number, BURST, opener=True)
        said = Reason.NONE if number in self.twin.wide else self.twin.take_window(number)
        assert reason is said
        self.seen[reason] += 1
        self.sent[number] += len(BURST) if reason is Reason.NONE else 0

    def leave(self, number: int) -> None:
        """End a conversation by a reset, or let its flow be forgotten."""
        if self.rng.random() < 0.5:
            self.held.segment(number, True, 100 + self.sent[number], 1000, RST, b"")
        self.held.forget(number)
        self.twin.end(number)

    def _send(self, number: int, data: bytes, *, opener: bool) -> Reason:
        sequence, acknowledged = 100 + self.sent[number], 1000
        if not opener:
            sequence, acknowledged = acknowledged, sequence
        return self.held.segment(number, opener, sequence, acknowledged, ACK, data).reason


def test_the_engine_shares_as_the_page_says(seed: int) -> None:
    """Engine and slow twin say the same of every conversation and every window."""
    rng = random.Random(seed)
    seen: Counter[Reason] = Counter()
    for _ in range(ROUNDS):
        plant = Plant(rng)
        for _ in range(STEPS):
            plant.step()
        seen += plant.seen
    assert min(seen[reason] for reason in (Reason.NONE, Reason.STREAM_SHARE, Reason.STREAM_BUDGET)) > 50


@pytest.mark.parametrize("zone", [None, 1])
def test_whoever_takes_all_it_gets_leaves_some(zone: int | None, seed: int) -> None:
    """One address takes three quarters at most; addresses that somebody invents leave a sixteenth to an asset."""
    rng = random.Random(seed)
    twin = SharesTwin(1024, 128)
    for number in range(2048):
        twin.take_stream(number, Opener(1 if zone is None else rng.randrange(1 << 32), zone))
    assert len(twin.open) == (768 if zone is None else 960)
    assert twin.take_stream(4096, Opener(0, None)) is Reason.NONE
