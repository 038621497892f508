"""Modbus/TCP conversations without a network: what judging their segments costs, and what remembering them does.

In: a plan. Out: `timed`, nanoseconds a segment in process (bench/classify.pyx) with 100 and with 10,000 conversations
that are inspected or not, and `held`, what an engine process holds with 10,000 of each. The plants differ in nothing
but inspection. Used by the suite `inspection` and by the instruction guard.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from array import array
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bench.conversations import READ_REGISTERS, REGISTERS
from bench.engine_process import engine
from bench.extension import classify_module
from bench.messages import STRIDE_BYTES, SYN, message, payload_at
from bench.policies import SEED, Plant, Talk, plant
from bench.suites.classify import counters_segment, events_segment, flows_segment
from bench.suites.memory import KIB_PER_MIB, memory_kib
from fastpath.abi import MAX_BATCH, Reason
from gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Plan

CONDUITS: Final = 100
SIZES: Final = (100, 10_000)  # conversations
FLOW_ENTRIES: Final = 65_536
GOES_ON: Final = 0x40000000  # as in bench/classify.pyx
SYN_ACK, ACK = 0x12, 0x10
SLICE_FRAMES: Final = 65_536
SLICES: Final = 6
QUICK_SLICES: Final = 2
MEANT_SHARE: Final = 0.98  # of the conversations; a few find no place in a full bucket of the flow table


@dataclass(frozen=True, slots=True)
class Conversations:
    """Queue messages: two that open each conversation, and its request and its answer; indices of them by kind."""

    messages: bytearray
    opening: array[int]
    requests: array[int]
    answers: array[int]

    def order(self, frames: int, chance: random.Random) -> array[int]:
        """Return that many segments of conversations in random order, an answer MAX_BATCH behind each request."""
        found = array("I")
        while len(found) < frames:
            asked = chance.sample(range(len(self.requests)), min(MAX_BATCH, len(self.requests)))
            found.extend(self.requests[number] for number in asked)
            found.extend(self.answers[number] for number in asked)
        return found[:frames]


def conversations(place: Plant, count: int) -> Conversations:
    """Return conversations of a plant that all read ten registers."""
    found = Conversations(bytearray(), *(array("I") for _ in range(3)))
    for openers in zip(*map(opening, talks(place, count)), strict=True):
        for content in openers:
            found.opening.append(_add(found.messages, content))
    for talk, port in talks(place, count):
        request = message(talk, port, payload=READ_REGISTERS)
        answer = message(talk, port, reply=True, payload=REGISTERS)
        found.requests.append(_add(found.messages, request) | GOES_ON)
        found.answers.append(_add(found.messages, answer) | GOES_ON)
    return found


def talks(place: Plant, count: int) -> Iterator[tuple[Talk, int]]:
    """Yield permitted talks over TCP, each with a client port of its own."""
    chance = random.Random(SEED)
    tcp = (talk for talk in place.talks(chance) if talk.protocol == "tcp")
    return ((talk, 20_000 + number) for number, talk in enumerate(islice(tcp, count)))


def opening(talk_and_port: tuple[Talk, int]) -> tuple[bytes, bytes]:
    """Return the SYN and its answer; both sides' first byte is number 1."""
    talk, port = talk_and_port
    syn = message(talk, port, flags=SYN, payload=b"", numbers=(0, 0))
    return syn, message(talk, port, reply=True, flags=SYN_ACK, payload=b"", numbers=(0, 1))


def _add(messages: bytearray, content: bytes) -> int:
    messages.extend(content.ljust(STRIDE_BYTES, b"\0"))
    return len(messages) // STRIDE_BYTES - 1


# ---- what judging costs ---------------------------------------------------------------------------------------------


def timed(plan: Plan) -> dict[str, list[float]]:
    """Return nanoseconds a segment, run by run; cases alternate slice by slice, a run is the median batch."""
    chance = random.Random(SEED)
    orders, classifiers = {}, {}
    for count in SIZES:
        for kind in ("plain", "inspected"):
            place = plant(CONDUITS, inspected=kind == "inspected")
            said = conversations(place, count)
            classifiers[f"ns_{kind}_{count}"] = opened(place, said)
            orders[f"ns_{kind}_{count}"] = said.order(SLICE_FRAMES, chance)
    figures: dict[str, list[float]] = {name: [] for name in classifiers}
    for number in range(plan.runs):
        spent: dict[str, list[int]] = {name: [] for name in classifiers}
        for _ in range(QUICK_SLICES if plan.quick else SLICES):
            for name, classifier in classifiers.items():
                batches = array("Q", bytes(8 * (SLICE_FRAMES // MAX_BATCH)))
                classifier.run(orders[name], batches)
                spent[name] += batches
        for name, found in spent.items():
            figures[name].append(statistics.median(found) / MAX_BATCH)
        plan.say(f"run {number + 1}: " + ", ".join(f"{name} {runs[-1]:.0f}" for name, runs in figures.items()))
    for name, classifier in classifiers.items():
        check_counts(classifier, name)
    return figures


def opened(place: Plant, said: Conversations) -> Any:
    """Return a classifier that knows every conversation."""
    segments = (flows_segment(FLOW_ENTRIES), counters_segment(), events_segment())
    classifier = classify_module().Classifier(*place.compiled(), *segments, said.messages, payload_at(said.messages))
    classifier.prepare(said.opening)
    return classifier


def check_counts(classifier: Any, name: str) -> None:
    """Raise RuntimeError unless the segments were judged as meant: a figure of something else is none."""
    by_reason, _, _ = classifier.counts()
    opened_ones = sum(by_reason.get(Reason.POLICY_CONDUIT, ()))
    total = sum(passed + dropped for passed, dropped in by_reason.values())
    passed, _ = by_reason.get(Reason.FLOW_ESTABLISHED, (0, 0))
    if passed < MEANT_SHARE * (total - opened_ones):
        shown = {Reason(reason).name: counts for reason, counts in by_reason.items()}
        raise RuntimeError(f"{name}: the segments were not judged as intended: {shown}")


# ---- what remembering costs -----------------------------------------------------------------------------------------


def held(plan: Plan) -> dict[str, list[float]]:
    """Return the resident memory of an engine process in MiB, run by run; each time a fresh process."""
    figures: dict[str, list[float]] = {"rss_plain_mib": [], "rss_inspected_mib": []}
    for number in range(plan.runs):
        for name, runs in figures.items():
            place = plant(CONDUITS, inspected=name == "rss_inspected_mib")
            runs.append(asyncio.run(_filled(place)) / KIB_PER_MIB)
        plan.say(f"run {number + 1}: " + ", ".join(f"{name} {runs[-1]:.1f}" for name, runs in figures.items()))
    return figures


async def _filled(place: Plant) -> int:
    """Return the KiB of an engine that follows 10,000 conversations, each in the middle of an answer."""
    async with engine(Settings(), *place.compiled()) as running:
        await running.judge(_begun(place, SIZES[-1]))
        used = running.flows_in_use()
        if used < MEANT_SHARE * SIZES[-1]:
            raise RuntimeError(f"only {used} of {SIZES[-1]} flows are in use")
        return memory_kib(running, "Rss")


def _begun(place: Plant, count: int) -> Iterator[bytes]:
    for talk, port in talks(place, count):
        yield from opening((talk, port))
        yield message(talk, port, payload=READ_REGISTERS)
        cut = REGISTERS[: len(REGISTERS) // 2]
        yield message(talk, port, reply=True, payload=cut, numbers=(1, 1 + len(READ_REGISTERS)))
