"""storm: what a plant's polls notice while somebody else sends all he can. Subject: conduitd, all judged, in enforce.

Every 100 ms an operator station polls a controller over Modbus/TCP, and over UDP beside it; the client judges (see
bench.polls: an answer later than the period is a miss). Four phases of one run, the same two conversations throughout:
calm; fill, as many spoofed flows as touch every page of the flow table; flood, 1,000,000 more in 60 s, permitted by the
policy, so that they enter the table; forbidden, 60 s
of what no conduit permits, from enterprise to the polled controller at the generator's maximum. What the full queue
cannot take then falls to `static`. Metrics, each with the phase behind it: polls_missed, udp_polls_missed, poll_p50,
poll_p99, poll_max in ms; of the flood flows_created, flows_evicted, polls_evicted and rss_growth_mib; of the storm
judged, static, queue_lost, arrived in packets, and the packets/s that were sent.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench import polls
from bench.results import Result, percentile
from bench.siege import Polled, Siege, polled, siege

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan
    from bench.traffic import Trial

SUITE: Final = "storm"
SUBJECT: Final = "conduitd"
CALM_S, LOADED_S, QUICK_S = 10.0, 60.0, 5.0
FLOWS_PER_S: Final = 1_000_000 / LOADED_S
FILL_FLOWS, FILL_FLOWS_PER_S = 200_000, 40_000.0
CALM, FILL, FLOOD, FORBIDDEN = "calm", "fill", "flood", "forbidden"
UNITS: Final = {"polls": "polls", "poll": "ms", "rss": "MiB", "flows": "flows"}  # by a metric's first word


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time and what the gateway counted in it."""

    begin_ns: int
    end_ns: int
    counted: dict[str, int]
    grown_mib: float
    evicted: int  # conversations of the polls that are not the same entries any more
    trial: Trial | None


def run(plan: Plan) -> list[Result]:
    """Measure; each run builds a plant of its own."""
    if not plan.chosen((SUBJECT,)):
        return []
    found: dict[str, list[float]] = defaultdict(list)
    loaded = QUICK_S if plan.quick else LOADED_S
    for _ in range(plan.runs):
        for metric, value in measure(plan, loaded).items():
            found[metric].append(value)
    return [
        Result.of(SUITE, SUBJECT, metric, UNITS.get(metric.removeprefix("udp_").split("_")[0], "packets"), runs)
        for metric, runs in found.items()
    ]


def measure(plan: Plan, loaded_s: float) -> dict[str, float]:
    """Return the metrics of one run."""
    with siege() as standing:
        phases = {
            CALM: watch(standing, lambda: time.sleep(min(CALM_S, loaded_s))),
            FILL: watch(standing, lambda: standing.flood(FILL_FLOWS_PER_S, FILL_FLOWS)),
            FLOOD: watch(standing, lambda: standing.flood(FLOWS_PER_S, int(FLOWS_PER_S * loaded_s))),
            FORBIDDEN: watch(standing, lambda: standing.storm(loaded_s)),
        }
        rows = standing.finish()
    found: dict[str, float] = {}
    for name, phase in phases.items():
        asked = polled(rows, phase.begin_ns, phase.end_ns)
        plan.say(f"{name}: " + said(asked))
        found |= {f"{metric}_{name}": value for metric, value in poll_figures(asked).items()}
    flood, storm = phases[FLOOD], phases[FORBIDDEN]
    assert flood.trial is not None
    assert storm.trial is not None
    found |= {
        "flows_created": flood.counted["flows_created"],
        "flows_evicted": flood.counted["flows_evicted"],
        "polls_evicted": flood.evicted,
        "rss_growth_mib": flood.grown_mib,
        "lost_flood": flood.trial.lost,
        "sent_forbidden": storm.trial.sent,
        "arrived_forbidden": storm.trial.received,
    }
    found |= {f"{name}_forbidden": storm.counted[name] for name in ("judged", "static", "queue_lost")}
    plan.say(f"fill: {phases[FILL].counted['flows_created']} flows created; engine {phases[FILL].grown_mib:+.2f} MiB")
    plan.say(
        f"flood: {flood.trial.sent} frames at {flood.trial.achieved:.0f}/s, {flood.trial.lost} lost, "
        f"{found['flows_created']} flows created, {found['flows_evicted']} evicted, "
        f"{flood.evicted} of the polls' own; engine {flood.grown_mib:+.2f} MiB; account {flood.counted}"
    )
    plan.say(
        f"forbidden: {storm.trial.sent} frames at {storm.trial.achieved:.0f}/s, {storm.trial.received} arrived; "
        f"engine {storm.grown_mib:+.2f} MiB, {storm.evicted} of the polls' flows evicted; account {storm.counted}"
    )
    return found


def watch(standing: Siege, act: Callable[[], Trial | None]) -> Phase:
    """Let something happen and return what the gateway counted meanwhile."""
    before, flows, held = counts(standing.account()), standing.poll_flows(), standing.resident_mib()
    if len(flows) != 2:
        raise RuntimeError(f"the polls are not two conversations: {flows}")
    begin_ns = time.monotonic_ns()
    trial = act()
    end_ns = time.monotonic_ns()
    grown = standing.resident_mib() - held
    after, still = counts(standing.account()), standing.poll_flows()
    evicted = sum(still.get(flow) != since for flow, since in flows.items())
    return Phase(begin_ns, end_ns, {name: after[name] - before[name] for name in after}, grown, evicted, trial)


def counts(account: Any) -> dict[str, int]:
    """Return the numbers of an account that the suite shows."""
    engine = account["engine"]
    return {
        "frames": account["frames_before_queue"],
        "judged": account["judged"],
        "dropped": account["dropped"],
        "static": account["static"],
        "static_accepted": account["static_accepted"],
        "static_dropped": account["static_dropped"],
        "queue_lost": account["lost"],
        "flows_created": engine["flows_created"],
        "flows_evicted": engine["flows_evicted"],
    }


def poll_figures(found: Polled) -> dict[str, float]:
    """Return the metrics of a phase's polls."""
    took = found.took_ms[polls.TCP] or [float("inf")]
    return {
        "polls_missed": len(found.missed[polls.TCP]),
        "udp_polls_missed": len(found.missed[polls.UDP]),
        "poll_p50": percentile(took, 50),
        "poll_p99": percentile(took, 99),
        "poll_max": max(took),
    }


def said(found: Polled) -> str:
    """Return a phase's polls as a line."""
    parts = []
    for kind, took in found.took_ms.items():
        marks = "/".join(f"{percentile(took, percent):.2f}" for percent in (50, 99, 100)) if took else "-"
        missed = found.missed[kind]
        why = f": {missed[:5]}" if missed else ""
        parts.append(f"{kind} {len(missed)} of {found.asked[kind]} polls missed{why}, p50/p99/max {marks} ms")
    return "; ".join(parts)
