"""The Modbus inspectors and their slow twin agree, message by message, over whole conversations."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

import pytest

from fastpath.abi import Inspector, Reason
from fastpath.dissect import Dissection
from tests.fuzz.inspection import mutated
from tests.fuzz.subjects import SUBJECTS, seeds
from tests.support.twin_modbus import Conversation

CONVERSATIONS: Final = 400
MESSAGES: Final = 60


@pytest.mark.parametrize("name", ["modbus", "modbus-rtu"])
def test_inspector_equals_twin(name: str, seed: int) -> None:
    """Recorded, made and mutated messages mean the same to both, or are refused for the same reason."""
    rng, subject = random.Random(f"{name} {seed}"), SUBJECTS[name]
    outcomes: Counter[Reason] = Counter()
    for _ in range(CONVERSATIONS):
        dissection, twin = Dissection(subject.inspector), Conversation(rtu=subject.inspector is Inspector.MODBUS_RTU)
        for message, from_opener in _talk(rng, name):
            reason, length = dissection.measure(message, from_opener)
            if reason is not Reason.NONE or not 0 < length <= len(message):
                continue
            whole = message[:length]
            found = dissection.read(whole, from_opener)
            expected = twin.read(whole, from_opener=from_opener)
            text = f"{whole.hex()} from_opener={from_opener}"
            assert found[0] is expected[0], text
            if found[0] is Reason.NONE:
                assert found[1] == expected[1], text
            outcomes[found[0]] += 1
    assert min(outcomes[Reason.NONE], outcomes[Reason.MESSAGE_MALFORMED], outcomes[Reason.MESSAGE_ANSWER]) > 1000


def _talk(rng: random.Random, name: str) -> list[tuple[bytes, bool]]:
    """Return messages of one conversation: exchanges as they should be, with strays between them."""
    subject, known = SUBJECTS[name], seeds(name)
    found: list[tuple[bytes, bool]] = []
    while len(found) < MESSAGES:
        if rng.random() < 0.5:
            made = (subject.right if rng.random() < 0.8 else subject.wrong)(rng)
            found += [(request, True) for request in made.asked]
            found.append((made.message, made.from_opener))
        else:
            found.append(mutated(rng, subject, known))
    return found


def test_the_oldest_of_too_many_requests_is_forgotten() -> None:
    """With 33 requests open, the first has no answer any more; the second has."""
    dissection = Dissection(Inspector.MODBUS)
    for transaction in range(33):
        dissection.read(transaction.to_bytes(2, "big") + bytes.fromhex("000000060103000a0001"), True)
    answers = [number.to_bytes(2, "big") + bytes.fromhex("000000050103021234") for number in range(2)]
    assert [dissection.read(one, False)[0] for one in answers] == [Reason.MESSAGE_ANSWER, Reason.NONE]
