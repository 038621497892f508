"""cpu: user and system time of the judging process for each packet, at fixed rates.

Metrics us_per_packet_100k and us_per_packet_20k (permitted flows), us_per_packet_100k_dropped (a stream that is all
forbidden; conduitd only: it must cost no more than an accept). CPU time is the threads' run time as the scheduler
counts it, compared with utime + stime; divided by the packets that were judged. Time that the kernel spends on a packet
in the judge's own system calls (verdict, bridge, the far side's receive) is in it for every subject alike. A subject
that can't keep up is divided by what it judged, and the line says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bench import subjects, traffic
from bench.results import Result
from bench.rig import Rig
from bench.subjects.subject import NotJudgedError, Watch, Witness, standing

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.subjects.subject import Cost, Subject

SUITE: Final = "cpu"
RATES: Final = {"us_per_packet_100k": (100_000.0, 1.2), "us_per_packet_20k": (20_000.0, 1.5)}  # packets/s, seconds
DROPPED: Final = "us_per_packet_100k_dropped"
DROPPED_RATE: Final = (100_000.0, 1.0)
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
    for metric, (rate, seconds) in RATES.items():
        count = int(rate * seconds * plan.seconds)
        watch = Watch(subject, rig)
        trial = traffic.stream(rig, traffic.poll_flows(), rate, count)
        cost = checked(subject, watch.cost(trial.sent, trial.received))
        kept_up = cost.packets >= KEPT_UP * trial.sent
        remark = "" if kept_up else f"  overloaded: {cost.packets} of {trial.sent} judged"
        remark += f"  lost {trial.lost}" if trial.lost else ""
        remark += "" if trial.achieved > KEPT_UP * rate else f"  generator reached {trial.achieved:.0f}/s"
        plan.say(f"  run {number + 1} {subject.name:24} {metric:28} {cost.us_per_packet:8.3f} us{remark}")
        figures[metric] = cost.us_per_packet
    if subject.name.startswith("conduitd"):
        figures[DROPPED] = dropped(plan, rig, subject, number)
    return figures


def dropped(plan: Plan, rig: Rig, subject: Subject, number: int) -> float:
    """Return what one forbidden packet costs. Raises NotJudgedError when one passed."""
    rate, seconds = DROPPED_RATE
    watch = Watch(subject, rig)
    trial = traffic.stream(rig, traffic.forbidden_flows(), rate, int(rate * seconds * plan.seconds))
    if trial.received:
        raise NotJudgedError(f"{subject.name}: {trial.received} forbidden packets passed")
    cost = checked(subject, watch.cost_of_dropping())
    if cost.packets < KEPT_UP * trial.sent:
        raise NotJudgedError(f"{subject.name}: {cost.packets} of {trial.sent} forbidden packets were judged")
    plan.say(f"  run {number + 1} {subject.name:24} {DROPPED:28} {cost.us_per_packet:8.3f} us")
    return cost.us_per_packet


def checked(subject: Subject, cost: Cost) -> Cost:
    """Return a cost that both of the kernel's clocks agree on. Raises NotJudgedError when they differ."""
    seconds = cost.run_ns / 1e9
    if abs(cost.ticks_s - seconds) > TICKS_AGREE * seconds + TICK_S * 2:
        raise NotJudgedError(f"{subject.name}: schedstat says {seconds:.3f} s, utime + stime {cost.ticks_s:.3f} s")
    return cost
