"""How long a flow in the kernel's fast lane lives on after the policy that permitted it.

Subject: conduitd-fastlane. A UDP stream of 2,000 packets/s is permitted and in the lane; then a policy without it comes
into force. Metrics in ms: p50, p99 from the moment that the kernel held another generation (by its notification) to the
last packet of the stream on the far side; request_p50, request_p99 from the request for the new policy, which includes
compiling it; reply_p50, reply_p99 from its answer. 0 where the last packet came before. Arrivals are stamped by the
kernel of the far host.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.generation_watch import GenerationWatch
from bench.results import Result, percentile
from bench.streams import CHANGING, WITHIN_S, Arrivals, Change, Streams, streams
from deploy.lab.processes import wait_for
from deploy.lab.topology import GATEWAY

if TYPE_CHECKING:
    from bench.plan import Plan

SUITE: Final = "revoke"
SUBJECT: Final = "conduitd-fastlane"
RATE: Final = 2000  # packets/s and stream: a resolution of 0.5 ms
REVOCATIONS: Final = 70  # a run: more than 200 in three runs
IN_LANE_S: Final = 0.02  # how long the stream is left in the lane before it is revoked
SETTLE_S: Final = 0.03  # how long stragglers are waited for after the answer
# Of all packets that arrived so many must have passed in the lane, else it is no lane that is measured. After every
# change both streams are judged again, and on a busy machine most of the time is changes.
LANE_SHARE: Final = 0.2
NS_PER_MS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Revocation:
    """One change to the policy without the stream, and when the kernel's generation followed it."""

    change: Change
    bumped_ns: int


def run(plan: Plan) -> list[Result]:
    """Measure; runs follow each other in one laboratory."""
    if not plan.chosen((SUBJECT,)):
        return []
    count = max(5, int(REVOCATIONS * plan.seconds))
    runs: list[list[Revocation]] = []
    with streams("rv", RATE, lane="auto") as running, GenerationWatch(running.lab.namespace(GATEWAY)) as watch:
        for number in range(plan.runs):
            runs.append([revoke(running, watch) for _ in range(count)])
            plan.say(f"run {number + 1}: {count} revocations")
        passed = lane_packets(running)
        arrivals = running.finish()
    check_lane(passed, arrivals)
    figures = [figures_of(made, arrivals) for made in runs]
    return [Result.of(SUITE, SUBJECT, metric, "ms", [found[metric] for found in figures]) for metric in figures[0]]


def revoke(running: Streams, watch: GenerationWatch) -> Revocation:
    """Let the stream into the lane, then revoke it."""
    running.change(opened=True)
    wait_for("the stream to enter the lane", lambda: in_lane(running), WITHIN_S)
    time.sleep(IN_LANE_S)
    change = running.change(opened=False)
    time.sleep(SETTLE_S)
    bumped = watch.first_after(change.asked_ns)
    if bumped is None or bumped > change.answered_ns:
        raise RuntimeError("the new policy was answered, and the kernel's generation had not changed")
    return Revocation(change, bumped)


def in_lane(running: Streams) -> bool:
    """Tell whether the kernel lets the stream pass unjudged now."""
    status, answer = running.gateway.api("GET", "/v1/lane?limit=1000")
    if status != 200:
        raise RuntimeError(f"no lane: {status} {answer}")
    return any(flow["destination_port"] == CHANGING for flow in answer["flows"])


def lane_packets(running: Streams) -> int:
    """Return how many frames passed in the lane, by the kernel's counter."""
    status, answer = running.gateway.api("GET", "/v1/counters")
    if status != 200:
        raise RuntimeError(f"no counters: {status} {answer}")
    return int(answer["lane"])


def check_lane(passed: int, arrivals: Arrivals) -> None:
    """Raise RuntimeError when hardly a packet took the lane: then the time is the engine's and not the lane's."""
    arrived = sum(len(times) for times in arrivals.times_ns.values())
    if passed < LANE_SHARE * arrived:
        raise RuntimeError(f"only {passed} of {arrived} packets passed in the lane")


def figures_of(made: list[Revocation], arrivals: Arrivals) -> dict[str, float]:
    """Return the percentiles of one run."""
    found = {}
    lasts = [arrivals.last_before(CHANGING, one.change.answered_ns + int(SETTLE_S * 1e9)) for one in made]
    starts = {
        "": [one.bumped_ns for one in made],
        "request_": [one.change.asked_ns for one in made],
        "reply_": [one.change.answered_ns for one in made],
    }
    for name, moments in starts.items():
        late = [max(0, (last or 0) - moment) / NS_PER_MS for last, moment in zip(lasts, moments, strict=True)]
        found[f"{name}p50"], found[f"{name}p99"] = percentile(late, 50), percentile(late, 99)
    return found
