"""throughput: the highest rate at which nothing is lost, reordered or duplicated, and everything was judged.

Metric pps. Each run of each subject: a trial as fast as the generator goes; when that loses something, what was judged
of it is where the search begins: halving between the highest rate that held and the lowest that did not, to STEP, then
one longer trial to confirm. A rate that fails is tried once more. A later run starts where the ones before ended.
Queued but overflown packets that FAIL_OPEN let pass were not judged: a trial that had any did not hold.
Where the generator is the limit, the line says so: then the figure is the generator's, and the subject can do more.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import subjects, traffic
from bench.results import Result
from bench.rig import Rig
from bench.subjects.subject import NotJudgedError, Watch, standing

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.subjects.subject import Subject

SUITE: Final = "throughput"
TRIAL_SECONDS: Final = 0.3
CONFIRM_SECONDS: Final = 0.6
FASTEST: Final = 400_000.0  # packets/s; sizes the trial without a pace
SLOWEST: Final = 2_000.0  # below this a subject has no lossless rate here
STEP: Final = 0.03  # of the rate: finer than the noise between runs
BACK: Final = 0.95  # the next lower rate when one could not be confirmed
FIRST_TRY: Final = 0.9  # of what is expected
REACH: Final = 1.3  # no rate above this much of one that held is tried
UNPACED_FROM: Final = 150_000.0  # packets/s: a subject that was as fast as this may be as fast as the generator


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial: whether it held, and the packets per second that were sent and judged."""

    held: bool
    achieved: float
    judged_rate: float


@dataclass(frozen=True, slots=True)
class Found:
    """One run's answer."""

    pps: float
    generator_limit: bool


def run(plan: Plan) -> list[Result]:
    """Measure every subject, interleaved."""
    found: dict[str, list[float]] = defaultdict(list)
    with Rig() as rig:
        every = subjects.chosen(plan)
        for number, name in plan.rounds(list(every)):
            with standing(every[name], rig):
                best = Search(plan, rig, every[name]).search(found[name])
            remark = "  (the generator's limit)" if best.generator_limit else ""
            plan.say(f"  run {number + 1} {name:24} pps {best.pps:10.0f}{remark}")
            found[name].append(best.pps)
    return [Result.of(SUITE, name, "pps", "packets/s", runs) for name, runs in found.items()]


class Search:
    """Looks for the limit of one standing subject."""

    def __init__(self, plan: Plan, rig: Rig, subject: Subject) -> None:
        self._plan, self._rig, self._subject = plan, rig, subject
        self._flows = traffic.poll_flows()

    def search(self, before: list[float]) -> Found:
        """Return the highest rate that held."""
        expected, lowest_failed = statistics.median(before or [0.0]), FASTEST
        if not before or expected > UNPACED_FROM:
            outcome = self._try(0, TRIAL_SECONDS)
            if outcome.held and self._holds(0, CONFIRM_SECONDS):
                return Found(outcome.achieved, generator_limit=True)
            # What was judged while too much was sent is close to what can be judged.
            expected = min(outcome.judged_rate, outcome.achieved)
            lowest_failed = outcome.achieved
        held = expected * FIRST_TRY
        while held > SLOWEST and not self._holds(held, TRIAL_SECONDS):
            lowest_failed, held = held, held * FIRST_TRY
        lowest_failed = min(lowest_failed, held * REACH)
        while held > SLOWEST and lowest_failed - held > STEP * held:
            middle = (held + lowest_failed) / 2
            outcome = self._attempt(middle, TRIAL_SECONDS)
            if outcome.held and outcome.achieved > held:
                held = outcome.achieved
            else:
                lowest_failed = middle
        while held > SLOWEST and not self._holds(held, CONFIRM_SECONDS):
            held *= BACK
        return Found(held, generator_limit=False)

    def _holds(self, rate: float, seconds: float) -> bool:
        return self._attempt(rate, seconds).held

    def _attempt(self, rate: float, seconds: float) -> Outcome:
        outcome = self._try(rate, seconds)
        # Once more: a pause of the machine is not the subject's limit.
        return outcome if outcome.held else self._try(rate, seconds)

    def _try(self, rate: float, seconds: float) -> Outcome:
        """Run one trial. It held when everything arrived once and in order and was judged."""
        count = int((rate or FASTEST) * seconds * self._plan.seconds)
        watch = Watch(self._subject, self._rig)
        trial = traffic.stream(self._rig, self._flows, rate, count)
        if trial.ring_dropped:
            raise NotJudgedError(f"the sink itself lost {trial.ring_dropped} frames: this trial says nothing")
        judged = watch.judged(trial.sent, trial.received) if trial.perfect else watch.seen(trial.sent)
        return Outcome(trial.perfect and judged >= trial.sent, trial.achieved, judged / trial.seconds)
