"""How long a stage change takes to be felt.

Subject: conduitd. In the lab, a forbidden stream of 2,000 packets/s; the site's ceiling goes from alert to enforce and
back as fast as the API answers. Packets are placed in time by the engine's own events. Metrics in ms: p50, p99 from the
request to the first packet judged under the new stage; reply_p50, reply_p99 from the API's answer to the last packet
judged under the old one, 0 when there was none. The store comes before the kernel's static rules and the answer, so
packets usually feel a change before the operator reads the answer. A packet judged under a stage that was never set
fails the suite.
"""

from __future__ import annotations

import bisect
import json
import os
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bench.results import Result, percentile
from deploy.lab.actors import Actors
from deploy.lab.gateway import LabGateway
from deploy.lab.plant import ATTACKER
from deploy.lab.processes import wait_for
from deploy.lab.topology import Lab

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan

SUITE: Final = "toggle"
SUBJECT: Final = "conduitd"
TOGGLES: Final = 100  # a run
RATE: Final = 2000  # forbidden packets per second: a resolution of 0.5 ms
STREAM_S: Final = 300.0
STAGES: Final = ("alert", "enforce")
PAUSE_S: Final = 0.005  # after a reply, so that packets can show the new stage before the next request
DRAIN_WITHIN_S: Final = 60.0
MS_PER_S: Final = 1000


@dataclass(slots=True)
class Toggles:
    """When each change was asked for and answered (CLOCK_REALTIME, seconds), and to which stage."""

    asked: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged:
    """The judged packets of the forbidden stream, in order: when (CLOCK_REALTIME, seconds), and under which stage."""

    times: list[float]
    stages: list[str]


def run(plan: Plan) -> list[Result]:
    """Measure; runs follow each other in one laboratory."""
    if not plan.chosen((SUBJECT,)):
        return []
    with Lab(f"tg{os.getpid() % 1_000_000}") as lab:
        gateway = LabGateway(lab)
        gateway.start()
        gateway.ctl("stage", "set", "enforce", "--force", "--reason", "measuring")
        # The first toggle is the first change that packets can see: the stream starts under enforce.
        experiment, count = secrets.token_bytes(8), int(RATE * STREAM_S)
        sender = Actors(lab).start_sender(ATTACKER, "plc-1", experiment, rate=RATE, count=count, seconds=STREAM_S)
        log = gateway.base / "log" / "events.jsonl"
        wait_for("the stream's first event", lambda: log.exists() and log.stat().st_size > 10_000, 20)
        done = []
        for number in range(plan.runs):
            done.append(toggle(gateway, max(20, int(TOGGLES * plan.seconds))))
            plan.say(f"run {number + 1}: {len(done[-1].stage)} toggles")
        sender.terminate()
        sender.wait(10)
        drain(log)
        packets = judged(log)
        gateway.stop()
    if unknown := set(packets.stages) - set(STAGES):
        raise RuntimeError(f"packets were judged under stages that nobody set: {unknown}")
    runs = [figures(one, packets) for one in done]
    return [Result.of(SUITE, SUBJECT, metric, "ms", [found[metric] for found in runs]) for metric in runs[0]]


def toggle(gateway: LabGateway, count: int) -> Toggles:
    """Change the ceiling `count` times, as fast as the API answers."""
    done = Toggles()
    for number in range(count):
        stage = STAGES[number % 2]
        done.asked.append(time.time())
        status, body = gateway.api("PUT", "/v1/stages", {"stage": stage, "force": True, "reason": "measuring"})
        done.answered.append(time.time())
        time.sleep(PAUSE_S)
        if status != 200:
            raise RuntimeError(f"toggle {number}: {status} {body}")
        done.stage.append(stage)
    return done


def drain(log: Path) -> None:
    """Wait until the event log stands still."""
    size = -1

    def still() -> bool:
        nonlocal size
        before, size = size, log.stat().st_size
        return before == size

    wait_for("the event log to drain", still, DRAIN_WITHIN_S)


def judged(log: Path) -> Judged:
    """Read the packets of the forbidden stream from the event log and those before it."""
    seen = []
    for path in sorted(log.parent.glob(log.name + "*")):
        for line in path.read_bytes().splitlines():
            event: dict[str, Any] = json.loads(line)
            if event.get("policy_verdict") == "drop" and event.get("proto") == "UDP":
                moment = datetime.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
                seen.append((moment, str(event["stage"])))
    seen.sort()
    return Judged([moment for moment, _ in seen], [stage for _, stage in seen])


def figures(done: Toggles, packets: Judged) -> dict[str, float]:
    """Return the percentiles of one run in milliseconds. Raises RuntimeError when hardly a packet saw a change."""
    felt, late = [], []
    ends = [*done.asked[1:], done.answered[-1] + PAUSE_S]
    for asked, answered, stage, end in zip(done.asked, done.answered, done.stage, ends, strict=True):
        first = first_under(stage, packets, asked, end)
        if first is None:
            continue  # no packet between this request and the next showed the new stage
        felt.append((first - asked) * MS_PER_S)
        late.append((last_before_change(stage, packets, answered, end) - answered) * MS_PER_S)
    if len(felt) < len(done.stage) / 2:
        raise RuntimeError(f"only {len(felt)} of {len(done.stage)} toggles were seen by a packet")
    return {
        "p50": percentile(felt, 50),
        "p99": percentile(felt, 99),
        "reply_p50": percentile(late, 50),
        "reply_p99": percentile(late, 99),
    }


def first_under(stage: str, packets: Judged, start: float, end: float) -> float | None:
    """Return when the first packet under a stage was judged, within a span."""
    for at in range(bisect.bisect_left(packets.times, start), bisect.bisect_left(packets.times, end)):
        if packets.stages[at] == stage:
            return packets.times[at]
    return None


def last_before_change(stage: str, packets: Judged, start: float, end: float) -> float:
    """Return when the last packet before the first one under `stage` was judged, `start` when there was none.

    A packet is stamped when its batch is read. One read just before the next request and judged just after it stands at
    the end of this span under the next stage: it is not an old one.
    """
    last = start
    for at in range(bisect.bisect_left(packets.times, start), bisect.bisect_left(packets.times, end)):
        if packets.stages[at] == stage:
            return last
        last = packets.times[at]
    return start
