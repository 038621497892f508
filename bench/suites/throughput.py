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
KEPT_PACE: Final = 0.95  # of the rate asked for
REACH: Final = 1.3  # no rate above this much of one that held is tried
UNPACED_FROM: Final = 150_000.0  # packets/s: a subject that was as fast as this may be as fast as the generator


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial: whether it held, and the packets per second that were asked for, sent and judged."""

    held: bool
    asked: float  # 0: as fast as it goes
    achieved: float
    judged: float


def run(plan: Plan) -> list[Result]:
    """Measure every subject, interleaved."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    with Rig() as rig:
        every = subjects.chosen(plan)
        for number, name in plan.rounds(list(every)):
            with standing(every[name], rig):
                best = Search(plan, rig, every[name]).search(found[name])
            plan.say(f"  run {number + 1} {name:24} pps {best.achieved:10.0f}{remark(best)}")
            found[name].append(best)
    return [Result.of(SUITE, name, "pps", "packets/s", [one.achieved for one in runs]) for name, runs in found.items()]


def remark(best: Outcome) -> str:
    """Say what limited the figure when it was not the subject."""
    if not best.held:
        return "  (no rate held)"
    if not best.asked:
        return "  (the generator's limit)"
    return "" if best.achieved > KEPT_PACE * best.asked else f"  (the generator was held up; asked {best.asked:.0f})"


class Search:
    """Looks for the limit of one standing subject."""

    def __init__(self, plan: Plan, rig: Rig, subject: Subject) -> None:
        self._plan, self._rig, self._subject = plan, rig, subject
        self._flows = traffic.poll_flows()

    def search(self, before: list[Outcome]) -> Outcome:
        """Return the highest rate that held."""
        expected, failed = statistics.median([one.asked or one.achieved for one in before] or [0.0]), FASTEST
        if not before or expected > UNPACED_FROM:
            outcome = self._try(0, TRIAL_SECONDS)
            if outcome.held and (confirmed := self._attempt(0, CONFIRM_SECONDS)).held:
                return confirmed
            # What was judged while too much was sent is close to what can be judged.
            expected, failed = outcome.judged, outcome.achieved
        best = self._attempt(expected * FIRST_TRY, TRIAL_SECONDS)
        while not best.held and best.asked > SLOWEST:
            failed = best.asked
            best = self._attempt(failed * FIRST_TRY, TRIAL_SECONDS)
        failed = min(failed, best.asked * REACH)
        while best.held and failed - best.asked > STEP * failed:
            outcome = self._attempt((best.asked + failed) / 2, TRIAL_SECONDS)
            best, failed = (outcome, failed) if outcome.held else (best, outcome.asked)
        return self._confirmed(best)

    def _confirmed(self, best: Outcome) -> Outcome:
        """Return a longer trial at the rate found, or a little below it."""
        confirmed = self._attempt(best.asked, CONFIRM_SECONDS)
        while not confirmed.held and confirmed.asked > SLOWEST:
            confirmed = self._attempt(confirmed.asked * BACK, CONFIRM_SECONDS)
        return confirmed

    def _attempt(self, rate: float, seconds: float) -> Outcome:
        """Try, and once more if it fails: a pause of the machine is not the subject's limit."""
        outcome = self._try(rate, seconds)
        return outcome if outcome.held else self._try(rate, seconds)

    def _try(self, rate: float, seconds: float) -> Outcome:
        """Run one trial. It held when everything arrived once and in order and was judged."""
        count = int((rate or FASTEST) * seconds * self._plan.seconds)
        watch = Watch(self._subject, self._rig)
        trial = traffic.stream(self._rig, self._flows, rate, count)
        if trial.ring_dropped:
            raise NotJudgedError(f"the sink itself lost {trial.ring_dropped} frames: this trial says nothing")
        judged = watch.judged(trial.sent, trial.received) if trial.perfect else watch.seen(trial.sent)
        return Outcome(trial.perfect and judged >= trial.sent, rate, trial.achieved, judged / trial.seconds)
