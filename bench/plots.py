"""The figures as pictures: latency distributions by subject, and the cost of a frame against the size of the policy.

In: raw round trips that the suite `latency` left in build/bench/latency (SUBJECT-RATE.txt, one µs value a line) and the
results of `classify`. Out: latency-RATE.svg and policy-size.svg beside the results. Called at the end of a bench; draws
nothing for what was not measured.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bench.chart import Axis, Chart
from bench.plan import LATENCY_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.results import Result

SHARES: Final = [*(number / 200 for number in range(1, 199)), *(1 - 0.01 / 1.3**step for step in range(28))]
CLASSIFY_BOUND_NS: Final = 150  # the target at 10,000 conduits


def draw(folder: Path, results: Sequence[Result]) -> list[Path]:
    """Write every plot that there are figures for; return their paths."""
    drawn = []
    measured = {result.subject for result in results if result.suite == "latency"}
    for rate, samples in latency_samples(LATENCY_SAMPLES, measured).items():
        drawn.append(folder / f"latency-{rate}.svg")
        drawn[-1].write_text(latency_chart(rate, samples))
    if sizes := [result for result in results if result.suite == "classify"]:
        drawn.append(folder / "policy-size.svg")
        drawn[-1].write_text(size_chart(sizes))
    return drawn


def latency_samples(folder: Path, subjects: set[str]) -> dict[str, dict[str, list[float]]]:
    """Return {rate: {subject: sorted round trips in µs}} of the subjects that this run measured."""
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for path in sorted(folder.glob("*-*.txt")):
        subject, _, rate = path.stem.rpartition("-")
        if subject in subjects and (values := sorted(float(line) for line in path.read_text().split())):
            found[rate][subject] = values
    return dict(found)


def latency_chart(rate: str, samples: dict[str, list[float]]) -> str:
    """Return the distributions of one rate, as the share of round trips that took no longer."""
    shown = {name: [(quantile(values, share), share) for share in SHARES] for name, values in samples.items()}
    times = [time for points in shown.values() for time, _ in points]
    chart = Chart(
        f"Round trips at {rate} packets/s",
        Axis("µs, logarithmic", min(times), max(times), logarithmic=True),
        Axis("share of round trips that took no longer", 0, 1),
    )
    for name, points in sorted(shown.items(), key=lambda item: quantile(samples[item[0]], 0.5)):
        chart.line(f"{name} (p50 {quantile(samples[name], 0.5):.0f}, p99 {quantile(samples[name], 0.99):.0f})", points)
    return chart.text()


def quantile(ordered: list[float], share: float) -> float:
    """Return the value that a share of sorted values does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def size_chart(results: Sequence[Result]) -> str:
    """Return nanoseconds per frame against the number of conduits, every run as a dot."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    dots = []
    for result in results:
        conduits = float(result.metric.removeprefix("ns_"))
        lines[result.subject].append((conduits, result.value))
        dots += [(conduits, run) for run in result.runs]
    sizes = [size for size, _ in dots]
    chart = Chart(
        "What judging one frame costs, in process",
        Axis(
            "conduits in the policy, ten assets each up to 100,000, logarithmic",
            min(sizes),
            max(sizes),
            logarithmic=True,
        ),
        Axis("ns per frame", 0, max(CLASSIFY_BOUND_NS, *(time for _, time in dots)) * 1.1),
    )
    for name, points in lines.items():
        chart.line(name, sorted(points))
    chart.dots(dots)
    chart.level(f"target at 10,000: {CLASSIFY_BOUND_NS} ns", CLASSIFY_BOUND_NS)
    return chart.text()
