"""cpu: user and system time of the judging process for each packet, at fixed rates.

Metrics us_per_packet_100k and us_per_packet_20k: permitted flows in bursts of BURST frames, as a port hands them over
that coalesces interrupts. us_per_packet_20k_single: one by one, so that nearly every packet wakes a sleeping judge;
what that costs is the scheduler's and drowns the judging. us_per_packet_100k_dropped: a stream that is all forbidden
(conduitd only: it must cost no more than an accept).
CPU time is the threads' run time as the scheduler counts it, compared with utime + stime; divided by the packets that
were judged. Time that the kernel spends on a packet in the judge's own system calls (verdict, bridge, the far side's
receive) is in it for every subject alike. A subject that can't keep up is divided by what it judged, and the line says
so.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import subjects, traffic
from bench.results import Result
from bench.rig import Rig
from bench.subjects.subject import QUEUE_SHARE, NotJudgedError, Watch, Witness, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Plan
    from bench.subjects.subject import Cost, Subject
    from bench.traffic import Flow, Trial

SUITE: Final = "cpu"
BURST: Final = 16


@dataclass(frozen=True, slots=True)
class Load:
    """A stream: packets per second, for how many seconds, how many at once."""

    rate: float
    seconds: float
    burst: int = BURST


LOADS: Final = {
    "us_per_packet_100k": Load(100_000.0, 1.0),
    "us_per_packet_20k": Load(20_000.0, 1.0),
    "us_per_packet_20k_single": Load(20_000.0, 0.6, burst=1),
}
DROPPED: Final = "us_per_packet_100k_dropped"
DROPPED_LOAD: Final = Load(100_000.0, 0.8)
KEPT_UP: Final = 0.99  # of the packets judged; below that the subject was overloaded
TICKS_AGREE: Final = 0.05  # of the time, plus a tick for each clock that is read
TICK_S: Final = 0.02


def run(plan: Plan) -> list[Result]:
    """Measure every subject that has a judging process, interleaved."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with Rig() as rig:
        every = {name: one for name, one in subjects.chosen(plan).items() if has_process(one)}
        for number, name in plan.rounds(list(every)):
            with standing(every[name], rig):
                for metric, value in measure(plan, rig, every[name], number).items():
                    found[name, metric].append(value)
    return [Result.of(SUITE, name, metric, "us", runs) for (name, metric), runs in found.items()]


def has_process(subject: Subject) -> bool:
    """Return whether somebody judges whose CPU time can be read."""
    return subject.witness in {Witness.QUEUE, Witness.LANE}


def measure(plan: Plan, rig: Rig, subject: Subject, number: int) -> dict[str, float]:
    """Return one run's figures of one subject."""
    figures = {}
    for metric, load in LOADS.items():
        watch = Watch(subject, rig)
        trial = stream(plan, rig, traffic.poll_flows(), load)
        cost = checked(subject, watch.cost(trial.sent, trial.received))
        kept_up = cost.packets >= KEPT_UP * trial.sent
        remark = "" if kept_up else f"  overloaded: {cost.packets} of {trial.sent} judged"
        remark += f"  lost {trial.lost}" if trial.lost else ""
        remark += "" if trial.achieved > KEPT_UP * load.rate else f"  generator reached {trial.achieved:.0f}/s"
        plan.say(f"  run {number + 1} {subject.name:24} {metric:28} {cost.us_per_packet:8.3f} us{remark}")
        figures[metric] = cost.us_per_packet
    if subject.name.startswith("conduitd"):
        figures[DROPPED] = dropped(plan, rig, subject, number)
    return figures


def stream(plan: Plan, rig: Rig, flows: Sequence[Flow], load: Load) -> Trial:
    """Send a load, scaled by the plan."""
    return traffic.stream(rig, flows, load.rate, int(load.rate * load.seconds * plan.seconds), burst=load.burst)


def dropped(plan: Plan, rig: Rig, subject: Subject, number: int) -> float:
    """Return what one forbidden packet costs. Raises NotJudgedError when one passed."""
    watch = Watch(subject, rig)
    trial = stream(plan, rig, traffic.forbidden_flows(), DROPPED_LOAD)
    if trial.received:
        raise NotJudgedError(f"{subject.name}: {trial.received} forbidden packets passed")
    cost = checked(subject, watch.cost_of_dropping())
    if cost.packets < QUEUE_SHARE * trial.sent:
        raise NotJudgedError(f"{subject.name}: {cost.packets} of {trial.sent} forbidden packets were judged")
    kept_up = "" if cost.packets >= KEPT_UP * trial.sent else f"  overloaded: {cost.packets} of {trial.sent} judged"
    plan.say(f"  run {number + 1} {subject.name:24} {DROPPED:28} {cost.us_per_packet:8.3f} us{kept_up}")
    return cost.us_per_packet


def checked(subject: Subject, cost: Cost) -> Cost:
    """Return a cost that both of the kernel's clocks agree on. Raises NotJudgedError when they differ."""
    seconds = cost.run_ns / 1e9
    if abs(cost.ticks_s - seconds) > TICKS_AGREE * seconds + TICK_S * 2:
        raise NotJudgedError(f"{subject.name}: schedstat says {seconds:.3f} s, utime + stime {cost.ticks_s:.3f} s")
    return cost
