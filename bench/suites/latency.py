"""latency: round trips of small UDP requests through the gateway, which judges both directions.

Metrics p50_2k, p99_2k, p999_2k and p50_20k, p99_20k, p999_20k in µs, at 2,000 and 20,000 requests per second. Client
and reflector are one spinning thread on the traffic CPU, so that every microsecond above `none` is the queue's and the
judge's. Each sample goes to build/bench/latency/SUBJECT-RATE.txt for the plots. A rate at which requests stay
unanswered is no figure; the line says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bench import subjects, traffic
from bench.plan import LATENCY_SAMPLES
from bench.results import Result, percentile
from bench.rig import Rig
from bench.subjects.subject import Watch, standing

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.subjects.subject import Subject

SUITE: Final = "latency"
RATES: Final = {"2k": (2_000.0, 2.0), "20k": (20_000.0, 0.8)}  # requests/s, seconds
WARM_UP: Final = (2_000.0, 200)  # rate, requests: the flow is known and the caches are warm
PERCENTS: Final = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
ANSWERED: Final = 0.999


def run(plan: Plan) -> list[Result]:
    """Measure every subject, interleaved."""
    samples: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    with Rig() as rig:
        every = subjects.chosen(plan)
        for number, name in plan.rounds(list(every)):
            with standing(every[name], rig):
                traffic.round_trips(rig, *WARM_UP)
                for rate, trips in measure(plan, rig, every[name], number).items():
                    samples[name, rate].append(trips)
    write_samples(samples)
    results = []
    for (name, rate), runs in samples.items():
        for metric, percent in PERCENTS.items():
            values = [percentile(trips, percent) for trips in runs]
            results.append(Result.of(SUITE, name, f"{metric}_{rate}", "us", values))
    return results


def measure(plan: Plan, rig: Rig, subject: Subject, number: int) -> dict[str, list[float]]:
    """Return one run's round trips of one subject, by rate."""
    found = {}
    for label, (rate, seconds) in RATES.items():
        watch = Watch(subject, rig)
        trips = traffic.round_trips(rig, rate, int(rate * seconds * plan.seconds))
        answered = len(trips.microseconds)
        line = f"  run {number + 1} {subject.name:24} {label:>4}"
        if answered < ANSWERED * trips.sent:
            plan.say(f"{line} {trips.unanswered} of {trips.sent} requests unanswered: overloaded, no figure")
            continue
        watch.judged(2 * trips.sent, 2 * answered)
        marks = [percentile(trips.microseconds, percent) for percent in PERCENTS.values()]
        late = "" if trips.sent / trips.seconds > ANSWERED * rate else f"  (at {trips.sent / trips.seconds:.0f}/s)"
        plan.say(line + "".join(f"  {name} {mark:8.1f}" for name, mark in zip(PERCENTS, marks, strict=True)) + late)
        found[label] = trips.microseconds
    return found


def write_samples(samples: dict[tuple[str, str], list[list[float]]]) -> None:
    """Write every sample where the plots look for it."""
    LATENCY_SAMPLES.mkdir(parents=True, exist_ok=True)
    for (name, rate), runs in samples.items():
        lines = [f"{trip:.3f}\n" for trips in runs for trip in trips]
        (LATENCY_SAMPLES / f"{name}-{rate}.txt").write_text("".join(lines))
