"""What one frame costs the engine, in process: nanoseconds per frame against the size of the policy.

Subjects: conduitd. Metrics: ns_10, ns_1000, ns_10000, ns_100000 (conduits; ten assets each, at most 100,000). A frame
is everything between recvmmsg and sendto: message, parse, identity, flow, decision, tally, event, verdict message
(bench/classify.pyx). 65,536 conversations in a flow memory of twice as many entries, both ways, in random order; 2 % of
the frames open a conversation, 9 % are denied (no conduit, unknown source, wrong MAC). A run is the median over slices
of 65,536 frames, each timed by CLOCK_MONOTONIC around batches of 64; sizes alternate slice by slice.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.extension import classify_module
from bench.messages import payload_at, traffic
from bench.policies import SEED, plant
from bench.results import Result
from fastpath import abi
from fastpath.abi import FIRST_DROP_REASON, Reason

if TYPE_CHECKING:
    from array import array

    from bench.plan import Plan

SUITE: Final = "classify"
SUBJECT: Final = "conduitd"
SIZES: Final = (10, 1000, 10_000, 100_000)  # conduits
CONVERSATIONS: Final = 65_536
FLOW_ENTRIES: Final = 131_072
MISSES: Final = 0.09
FRESH: Final = 0.02
SLICE_FRAMES: Final = 65_536
SLICES: Final = 16  # a run: a million frames per size
QUICK_SLICES: Final = 2


@dataclass(frozen=True, slots=True)
class Table:
    """One size, ready to be timed."""

    classifier: Any
    slices: list[array[int]]


def run(plan: Plan) -> list[Result]:
    """Measure every size, interleaved slice by slice."""
    if not plan.chosen((SUBJECT,)):
        return []
    slices = QUICK_SLICES if plan.quick else SLICES
    tables = {}
    for size in SIZES:
        plan.say(f"{size} conduits: building the plant")
        tables[size] = table(size, slices)
    runs: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(plan.runs):
        for size, figure in timed(tables, slices).items():
            runs[size].append(figure)
        plan.say(f"run {number + 1}: " + ", ".join(f"{size}: {runs[size][-1]:.0f} ns" for size in SIZES))
    for size in SIZES:
        check_counts(tables[size].classifier, size)
    return [Result.of(SUITE, SUBJECT, f"ns_{size}", "ns", runs[size]) for size in SIZES]


def timed(tables: dict[int, Table], slices: int) -> dict[int, float]:
    """Return nanoseconds per frame by size: the median slice."""
    figures: dict[int, list[float]] = {size: [] for size in tables}
    for number in range(slices):
        for size, one in tables.items():
            spent, frames = one.classifier.run(one.slices[number])
            figures[size].append(spent / frames)
    return {size: statistics.median(found) for size, found in figures.items()}


def table(size: int, slices: int, conversations: int = CONVERSATIONS, entries: int = FLOW_ENTRIES) -> Table:
    """Build a plant, its image and its traffic, and open every conversation once."""
    place = plant(size)
    image, state = place.compiled()
    found = traffic(place, conversations, SEED)
    classifier = classify_module().Classifier(
        image,
        state,
        flows_segment(entries),
        counters_segment(),
        events_segment(),
        found.messages,
        payload_at(found.messages),
    )
    classifier.run(found.opening)
    chance = random.Random(SEED)
    orders = [found.order(SLICE_FRAMES, chance, misses=MISSES, fresh=FRESH) for _ in range(slices)]
    return Table(classifier, orders)


def check_counts(classifier: Any, size: int) -> None:
    """Raise RuntimeError unless the frames were judged as they were made to be: a figure of something else is none."""
    by_reason, _, _ = classifier.counts()
    total = sum(passed + dropped for passed, dropped in by_reason.values())
    share = {reason: sum(counts) / total for reason, counts in by_reason.items()}
    denied = sum(value for reason, value in share.items() if reason >= FIRST_DROP_REASON)
    wanted = {Reason.POLICY_NO_CONDUIT, Reason.IDENTITY_SOURCE_UNKNOWN, Reason.IDENTITY_SOURCE_MAC}
    kinds = {reason for reason in share if reason >= FIRST_DROP_REASON}
    if kinds != wanted or not MISSES / 2 < denied < MISSES * 2 or share.get(Reason.FLOW_ESTABLISHED, 0) < 0.5:
        shown = {Reason(reason).name: round(value, 4) for reason, value in share.items()}
        raise RuntimeError(f"{size} conduits: the traffic was not judged as intended: {shown}")


def flows_segment(entries: int) -> bytearray:
    """Return an empty flow memory; its seed is fixed, so that two runs find the same collisions."""
    segment = bytearray(abi.flows_bytes(1, entries))
    abi.FLOWS_HEADER.pack_into(segment, 0, abi.FLOWS_MAGIC, abi.ABI_VERSION, 1, entries, 0, SEED, bytes(32))
    return segment


def counters_segment() -> bytearray:
    """Return zeroed counters of one queue."""
    return bytearray(abi.counters_bytes(1))


def events_segment() -> bytearray:
    """Return an empty ring of one queue."""
    return bytearray(abi.events_bytes(1))
