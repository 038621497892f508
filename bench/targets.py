"""What the figures have to show: every target of the project, computed as ratios within one interleaved run.

In: the results of one run. Out: for each target its figure and one of three outcomes. "better": every run meets it.
"worse": every run misses it. "look by hand": the runs disagree, or there is no figure. Called at the end of a bench.
"""

from __future__ import annotations

import operator
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.results import Result

BETTER, WORSE, BY_HAND = "better", "worse", "look by hand"
AT_MOST, AT_LEAST = "≤", "≥"
_HOLDS: Final = {AT_MOST: operator.le, AT_LEAST: operator.ge}


class Figures:
    """The runs of every figure, by suite, subject and metric."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._runs = {(result.suite, result.subject, result.metric): result.runs for result in results}

    def of(self, suite: str, subject: str, metric: str) -> list[float]:
        """Return the runs of a figure; raises KeyError when it was not measured."""
        return self._runs[suite, subject, metric]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table; without `bound` it is printed and judged by nobody."""

    text: str
    compute: Callable[[Figures], list[float]]
    holds: str = AT_MOST
    bound: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a target."""

    target: Target
    runs: list[float]

    @property
    def verdict(self) -> str:
        """Return better, worse or look by hand; nothing for a line that has no bound."""
        if not self.runs:
            return BY_HAND
        if self.target.bound is None:
            return ""
        met = {_HOLDS[self.target.holds](run, self.target.bound) for run in self.runs}
        return BY_HAND if len(met) > 1 else BETTER if met == {True} else WORSE


def value(suite: str, subject: str, metric: str) -> Callable[[Figures], list[float]]:
    """Take a figure as it is."""
    return lambda figures: list(figures.of(suite, subject, metric))


def ratio(suite: str, metric: str, ours: str, other: str, floor: str = "") -> Callable[[Figures], list[float]]:
    """Divide run by run: ours ÷ other, both above `floor` when one is named."""

    def compute(figures: Figures) -> list[float]:
        above = figures.of(suite, floor, metric) if floor else None
        rows = zip(figures.of(suite, ours, metric), figures.of(suite, other, metric), strict=True)
        bottoms = above if above is not None else [0.0] * len(figures.of(suite, ours, metric))
        return [_divided(mine - low, theirs - low) for (mine, theirs), low in zip(rows, bottoms, strict=True)]

    return compute


def _divided(one: float, other: float) -> float:
    return one / other if other else float("inf")


def difference(suite: str, subject: str, metric: str, other: str) -> Callable[[Figures], list[float]]:
    """Subtract run by run: one metric of a subject - another."""

    def compute(figures: Figures) -> list[float]:
        rows = zip(figures.of(suite, subject, metric), figures.of(suite, subject, other), strict=True)
        return [one - another for one, another in rows]

    return compute


def metrics(suite: str, subject: str, metric: str, other: str) -> Callable[[Figures], list[float]]:
    """Divide run by run: one metric of a subject ÷ another."""

    def compute(figures: Figures) -> list[float]:
        rows = zip(figures.of(suite, subject, metric), figures.of(suite, subject, other), strict=True)
        return [_divided(one, another) for one, another in rows]

    return compute


OURS, POLLING, LANE = "conduitd", "conduitd-polling", "conduitd-fastlane"
FLOOR, SINGLE, NONE, NFT = "c-accept-batch", "c-accept", "none", "nft-stateful"
PYTHON, SCAPY, SURICATA = "netfilterqueue-python", "netfilterqueue-scapy", "suricata"


def _inspected(case: str, plain: str) -> Callable[[Figures], list[float]]:
    return metrics("inspection", OURS, f"us_per_packet_{case}", f"us_per_packet_{plain}")


AT_100K, AT_20K = "us_per_packet_100k", "us_per_packet_20k"


def _inspected_beside_udp(figures: Figures) -> list[float]:
    """Reckon with the cheapest packet there is, which no TCP of the far host makes dearer."""
    added = difference("inspection", OURS, "ns_inspected_10000", "ns_plain_10000")(figures)
    rows = zip(added, figures.of("cpu", OURS, AT_100K), strict=True)
    return [1 + more_ns / 1000 / packet_us for more_ns, packet_us in rows]


TARGETS: Final = (
    Target("lossless throughput, all judged ÷ C batched", ratio("throughput", "pps", OURS, FLOOR), AT_LEAST, 0.95),
    Target("CPU per packet at 100,000/s, all judged ÷ C batched", ratio("cpu", AT_100K, OURS, FLOOR), AT_MOST, 1.05),
    Target("CPU per packet, dropped ÷ accepted", metrics("cpu", OURS, f"{AT_100K}_dropped", AT_100K), AT_MOST, 1.05),
    Target("CPU above the C floor, ours ÷ Python lookup", ratio("cpu", AT_100K, OURS, PYTHON, FLOOR), AT_MOST, 0.2),
    Target("CPU above the C floor, ours ÷ scapy", ratio("cpu", AT_20K, OURS, SCAPY, FLOOR), AT_MOST, 0.01),
    Target("round trip p50 at 2,000/s, blocking ÷ C batched", ratio("latency", "p50_2k", OURS, FLOOR), AT_MOST, 1.05),
    Target("round trip p99 at 2,000/s, blocking ÷ C batched", ratio("latency", "p99_2k", OURS, FLOOR), AT_MOST, 1.10),
    Target(
        "added round trip p50, polling ÷ C batched", ratio("latency", "p50_2k", POLLING, FLOOR, NONE), AT_MOST, 0.25
    ),
    Target("added round trip p99, polling ÷ C batched", ratio("latency", "p99_2k", POLLING, FLOOR, NONE), AT_MOST, 0.4),
    Target("fast-lane throughput ÷ nft stateful ruleset", ratio("throughput", "pps", LANE, NFT), AT_LEAST, 0.95),
    Target("fast-lane throughput ÷ no queue", ratio("throughput", "pps", LANE, NONE)),
    Target("CPU per packet at 100,000/s, Suricata ÷ ours", ratio("cpu", AT_100K, SURICATA, OURS), AT_LEAST, 1.0),
    Target("added round trip p50, Suricata ÷ ours", ratio("latency", "p50_2k", SURICATA, POLLING, NONE), AT_LEAST, 4),
    Target("classify, 10,000 conduits, 100,000 assets", value("classify", OURS, "ns_10000"), AT_MOST, 150, "ns"),
    Target("classify, 100,000 ÷ 10 conduits", metrics("classify", OURS, "ns_100000", "ns_10"), AT_MOST, 1.5),
    Target("check and compile 100,000 assets", value("compile", OURS, "compile_s"), AT_MOST, 10, "s"),
    Target("the same, peak memory", value("compile", OURS, "rss_mib"), AT_MOST, 1024, "MiB"),
    Target("the same, image", value("compile", OURS, "image_mib"), AT_MOST, 64, "MiB"),
    Target("one conduit of 10,000 changed, in force", value("compile", OURS, "change_s"), AT_MOST, 2, "s"),
    Target("classify, 10,000 ÷ 10 conduits", metrics("classify", OURS, "ns_10000", "ns_10"), AT_MOST, 1.5),
    Target(
        "simulate, summary, frames a second of one core",
        value("simulate", "conduitctl-simulate", "frames_core_s"),
        AT_LEAST,
        200_000,
    ),
    Target("bulk TCP, judged ÷ C accept-all with GSO", ratio("bulk", "mbit", OURS, SINGLE), AT_LEAST, 0.9),
    Target("engine memory, largest policy, flows full", value("memory", OURS, "rss_mib"), AT_MOST, 128, "MiB"),
    Target("polls missed, 1,000,000 spoofed flows", value("storm", OURS, "polls_missed_flood"), AT_MOST, 0),
    Target("polls missed, storm of forbidden traffic", value("storm", OURS, "polls_missed_forbidden"), AT_MOST, 0),
    Target("generation bump → last fast-lane packet, p99", value("revoke", LANE, "p99"), AT_MOST, 10, "ms"),
    Target("CPU per packet, Modbus inspected ÷ not", _inspected("modbus_read", "modbus"), AT_MOST, 1.3),
    Target("the same, constraints of eight clauses", _inspected("modbus_clauses", "modbus")),
    Target("the same, every message logged", _inspected("modbus_messages", "modbus")),
    Target("CPU per packet, S7comm inspected ÷ not", _inspected("s7comm_read", "s7comm")),
    Target("CPU per packet, EtherNet/IP inspected ÷ not", _inspected("cip_read", "cip")),
    Target(
        "judging in process, inspected - not, 100 conversations",
        difference("inspection", OURS, "ns_inspected_100", "ns_plain_100"),
        unit="ns",
    ),
    Target(
        "the same, 10,000 conversations",
        difference("inspection", OURS, "ns_inspected_10000", "ns_plain_10000"),
        unit="ns",
    ),
    Target(
        "the same beside a UDP packet's CPU at 100,000/s: (packet + it) ÷ packet",
        _inspected_beside_udp,
        AT_MOST,
        1.3,
    ),
    Target(
        "memory of 10,000 conversations, inspected - not",
        difference("inspection", OURS, "rss_inspected_mib", "rss_plain_mib"),
        AT_MOST,
        64,
        "MiB",
    ),
    Target("lost of 20,000/s mixed, all judged", value("steady", OURS, "lost"), AT_MOST, 0),
    Target("reordered of 20,000/s mixed, all judged", value("steady", OURS, "reordered"), AT_MOST, 0),
)


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    """Return every target with its figure; without runs when a part of it was not measured."""
    figures = Figures(results)
    found = []
    for target in TARGETS:
        try:
            found.append(Outcome(target, target.compute(figures)))
        except (KeyError, ValueError):  # not measured, or by suites that ran differently often
            found.append(Outcome(target, []))
    return found


def table(found: Sequence[Outcome]) -> str:
    """Return the outcomes as text: figure, target, outcome, spread."""
    rows = [("figure", "", "target", "outcome", "runs")]
    for outcome in found:
        target, runs = outcome.target, outcome.runs
        figure = f"{statistics.median(runs):.4g} {target.unit}".strip() if runs else "not measured"
        bound = "" if target.bound is None else f"{target.holds} {target.bound:g} {target.unit}".strip()
        spread = " ".join(f"{run:.4g}" for run in runs)
        rows.append((target.text, figure, bound, outcome.verdict, spread))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    )
