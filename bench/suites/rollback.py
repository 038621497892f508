"""How long after its deadline a change that nobody confirmed has gone back, as the traffic notices it.

Subject: conduitd. Two streams of 500 packets/s; a policy without one of them is put in force for a second on terms, and
never confirmed. Metrics in ms: p50, p99 from the deadline to the first packet that passes again, by the far host's
clock; killed_p99 the same of every fifth change, during which control was killed (-9) and started anew; lost, packets
of the stream that both policies permit. `python -m bench.drill rollback` is the same a hundred times, with a verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.drill import RATE, drill, lateness_ms
from bench.results import Result, percentile
from bench.streams import STEADY, streams

if TYPE_CHECKING:
    from bench.plan import Plan

SUITE: Final = "rollback"
SUBJECT: Final = "conduitd"
CHANGES: Final = 5  # a run
KILLED: Final = 1


def run(plan: Plan) -> list[Result]:
    """Measure; runs follow each other in one laboratory."""
    if not plan.chosen((SUBJECT,)):
        return []
    with streams("rb", RATE) as running:
        runs = [drill(running, CHANGES, KILLED, plan.say) for _ in range(plan.runs)]
        arrivals = running.finish()
    late = [lateness_ms(done, arrivals) for done in runs]
    killed = [
        [ms for ms, one in zip(found, done, strict=True) if one.killed] for found, done in zip(late, runs, strict=True)
    ]
    return [
        Result.of(SUITE, SUBJECT, "p50", "ms", [percentile(found, 50) for found in late]),
        Result.of(SUITE, SUBJECT, "p99", "ms", [percentile(found, 99) for found in late]),
        Result.of(SUITE, SUBJECT, "killed_p99", "ms", [percentile(found, 99) for found in killed]),
        Result.of(SUITE, SUBJECT, "lost", "packets", [float(arrivals.lost(STEADY))]),
    ]
