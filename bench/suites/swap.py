"""How long a new policy takes to be felt, and what it costs the traffic that both policies permit.

Subject: conduitd. Two policies take turns under load, 1,000 packets/s each of a stream that both permit and of one that
only the first permits. Metrics in ms: p50, p99 from the request to the first packet let through by the new policy, or
the last one by the old; reply_p50, reply_p99 the same from the API's answer, 0 when it was felt before; steady_gap the
longest silence of the stream that both permit; and lost, how many of its packets never arrived.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

from bench.results import Result, percentile
from bench.streams import CHANGING, STEADY, Arrivals, Change, streams

if TYPE_CHECKING:
    from bench.plan import Plan

SUITE: Final = "swap"
SUBJECT: Final = "conduitd"
RATE: Final = 1000  # packets/s and stream: a resolution of 1 ms
CHANGES: Final = 40  # a run
SETTLE_S: Final = 0.03  # between an answer and the next request, so that both policies are seen
NS_PER_MS: Final = 1e6
UNITS: Final = {"lost": "packets"}


def run(plan: Plan) -> list[Result]:
    """Measure; runs follow each other in one laboratory."""
    if not plan.chosen((SUBJECT,)):
        return []
    count = max(10, int(CHANGES * plan.seconds))
    with streams("sw", RATE) as running:
        changes = []
        for number in range(plan.runs):
            changes.append([])
            for turn in range(count):
                time.sleep(SETTLE_S)
                changes[-1].append(running.change(opened=turn % 2 == 1))
            plan.say(f"run {number + 1}: {count} policies put in force")
        time.sleep(SETTLE_S)
        arrivals = running.finish()
    figures = [figures_of(made, arrivals) for made in changes]
    found = {metric: [run[metric] for run in figures] for metric in figures[0]}
    # Whole streams, not runs: a packet has no run.
    found["lost"] = [float(arrivals.lost(STEADY))]
    found["steady_gap"] = [longest_gap_ms(arrivals.times_ns[STEADY])]
    return [Result.of(SUITE, SUBJECT, metric, UNITS.get(metric, "ms"), runs) for metric, runs in found.items()]


def figures_of(changes: list[Change], arrivals: Arrivals) -> dict[str, float]:
    """Return the percentiles of one run."""
    felt = [felt_ns(change, arrivals) for change in changes]
    asked = [(moment - change.asked_ns) / NS_PER_MS for change, moment in zip(changes, felt, strict=True)]
    answered = [max(0, moment - change.answered_ns) / NS_PER_MS for change, moment in zip(changes, felt, strict=True)]
    return {
        "p50": percentile(asked, 50),
        "p99": percentile(asked, 99),
        "reply_p50": percentile(answered, 50),
        "reply_p99": percentile(answered, 99),
    }


def felt_ns(change: Change, arrivals: Arrivals) -> int:
    """Return when a change was felt: the first packet of an opened stream, the last one of a closed stream."""
    if change.opened:
        moment = arrivals.first_after(CHANGING, change.asked_ns)
    else:
        moment = arrivals.last_before(CHANGING, change.answered_ns + int(SETTLE_S * 1e9))
    if moment is None:
        raise RuntimeError("the changing stream was never seen: nothing to measure")
    return max(moment, change.asked_ns)


def longest_gap_ms(times_ns: list[int]) -> float:
    """Return the longest time between two arrivals."""
    return max(later - before for before, later in itertools.pairwise(times_ns)) / NS_PER_MS
