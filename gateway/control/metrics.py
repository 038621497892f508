"""The same account as Prometheus metrics, from a registry of our own.

In: the account of `counts`, the engine's condition, the stages. Out: the text format. Every series is read when it is
asked for; nothing is kept. Reason and conduit names are the only labels: their number is bounded by the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLAIN = {
    "frames_before_queue": "Frames offered to the queue, counted by the kernel in front of it",
    "judged_accepted": "Frames the engine accepted, counted by the kernel behind it",
    "lane": "Frames that the fast lane let pass: of flows that the engine lets stay in the kernel",
    "static": "Frames that no engine judged and the kernel's fallback decided",
    "static_dropped": "Frames that the kernel's fallback dropped",
    "static_would_drop": "Frames that the kernel's fallback let pass because of their stage",
    "lost": "Frames that the kernel dropped because a queue or its socket was full",
    "accepted": "Frames that the engine accepted",
    "dropped": "Frames that the engine dropped",
    "would_drop": "Frames that the policy forbids and their stage let pass",
    "released": "Frames handed to the fallback unjudged while no engine lived",
    "refused": "Dropped frames whose sender got a TCP reset or ICMP prohibited",
    "quarantined": "Frames dropped because of quarantine",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything the metrics are made of, taken at one moment."""

    account: Mapping[str, Any]
    engine_judging: bool
    engine_restarts: int
    generation: int
    ceiling: int
    quarantined: int
    events_lost: int
    events_published: int
    events_file_lost: int
    journal_failures: int
    pending_seconds: float | None  # None while no change waits to be confirmed


class _Once(Collector):
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterable[Metric]:
        yield from _counters(self._reading.account)
        yield from _gauges(self._reading)


def _counters(account: Mapping[str, Any]) -> Iterable[Metric]:
    for name, text in _PLAIN.items():
        yield CounterMetricFamily(f"conduit_frames_{name.removeprefix('frames_')}", text, value=account[name])
    reasons = CounterMetricFamily("conduit_reason_frames", "Judged frames by reason", labels=["reason", "verdict"])
    for reason, sums in account["by_reason"].items():
        reasons.add_metric([reason, "accept"], sums["passed"])
        reasons.add_metric([reason, "drop"], sums["dropped"])
    yield reasons
    conduits = CounterMetricFamily("conduit_conduit_frames", "Judged frames by conduit", labels=["conduit", "verdict"])
    for name, sums in account["by_conduit"].items():
        conduits.add_metric([name, "accept"], sums["accepted"])
        conduits.add_metric([name, "drop"], sums["dropped"])
    yield conduits


def _gauges(reading: Reading) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "conduit_unaccounted_frames", "0 when no frame is under way", value=reading.account["unaccounted"]
    )
    yield GaugeMetricFamily("conduit_engine_judging", "1 while the engine judges", value=int(reading.engine_judging))
    yield CounterMetricFamily("conduit_engine_restarts", "Engine restarts", value=reading.engine_restarts)
    yield GaugeMetricFamily(
        "conduit_policy_generation", "Generation in force, 0 without a policy", value=reading.generation
    )
    yield GaugeMetricFamily("conduit_site_ceiling", "1 monitor, 2 alert, 3 enforce, 0 no policy", value=reading.ceiling)
    left = reading.pending_seconds
    yield GaugeMetricFamily(
        "conduit_change_pending", "1 while a change waits to be confirmed", value=int(left is not None)
    )
    if left is not None:
        yield GaugeMetricFamily("conduit_change_pending_seconds", "Until it goes back by itself", value=left)
    yield GaugeMetricFamily("conduit_quarantine_entries", "Devices in quarantine", value=reading.quarantined)
    yield CounterMetricFamily(
        "conduit_events_lost",
        "Events that found their ring full or their zone's share used up",
        value=reading.events_lost,
    )
    yield CounterMetricFamily("conduit_events_published", "Events written out", value=reading.events_published)
    yield CounterMetricFamily("conduit_events_file_lost", "Events the disk refused", value=reading.events_file_lost)
    yield CounterMetricFamily("conduit_journal_failures", "Journal entries not written", value=reading.journal_failures)


def render(reading: Reading) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(reading))
    return generate_latest(registry)
