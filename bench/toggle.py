"""How long a stage change takes to be felt: from the API's reply to the first packet judged under the new stage.

The store comes before the kernel's static rules and the reply, so packets usually feel the change before the operator
reads the reply; the time from the request to the first packet under the new stage is printed too.

In: the lab, a forbidden stream, a number of toggles of the site ceiling between alert and enforce. Out: p50 and p99 in
milliseconds of (a) reply → first packet judged under the new stage and (b) reply → last packet under the old one
(0: none came), and how many packets were judged under a stage that had never been set (must be 0). Packets are placed
in time by the engine's own events.
Run: `python -m bench.toggle [--toggles 1000] [--rate 5000]`. Root; in namespaces of its own.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from deploy.lab.actors import Actors
from deploy.lab.gateway import LabGateway
from deploy.lab.plant import ATTACKER
from deploy.lab.processes import wait_for
from deploy.lab.topology import Lab

STAGES: Final = ("alert", "enforce")
PAUSE_S: Final = 0.005  # after a reply, so that packets can show the new stage before the next request
DRAIN_WITHIN_S: Final = 60.0


@dataclass(slots=True)
class Toggles:
    """When each change was asked for and answered (CLOCK_REALTIME, seconds), and to which stage."""

    asked: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)


def toggle(gateway: LabGateway, count: int) -> Toggles:
    """Change the ceiling `count` times, as fast as the API answers."""
    done = Toggles()
    for number in range(count):
        stage = STAGES[number % 2]
        done.asked.append(time.time())
        status, body = gateway.api("PUT", "/v1/stages", {"stage": stage})
        done.answered.append(time.time())
        time.sleep(PAUSE_S)
        if status != 200:
            raise RuntimeError(f"toggle {number}: {status} {body}")
        done.stage.append(stage)
        if number % 100 == 99:
            print(f"  {number + 1} of {count} toggles", file=sys.stderr, flush=True)
    return done


def judged(log: Path) -> list[tuple[float, str]]:
    """Return (time, stage) of every judged packet of the forbidden stream, in order."""
    seen = []
    for path in sorted(log.parent.glob(log.name + "*")):
        for line in path.read_bytes().splitlines():
            event: dict[str, Any] = json.loads(line)
            if event.get("policy_verdict") == "drop" and event.get("proto") == "UDP":
                moment = datetime.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
                seen.append((moment, str(event["stage"])))
    return sorted(seen)


def figures(done: Toggles, packets: list[tuple[float, str]]) -> dict[str, Any]:
    """Return the distribution of both latencies in milliseconds, and the stages that were never set."""
    times = [moment for moment, _ in packets]
    felt, first, last, silent = [], [], [], 0
    ends = [*done.asked[1:], times[-1] if times else 0.0]
    for asked, answered, stage, end in zip(done.asked, done.answered, done.stage, ends, strict=True):
        since = packets[bisect.bisect_left(times, asked) : bisect.bisect_left(times, end)]
        felt += [(moment - asked) * 1000 for moment, seen in since if seen == stage][:1]
        window = packets[bisect.bisect_left(times, answered) : bisect.bisect_left(times, end)]
        new = next((moment for moment, seen in window if seen == stage), None)
        if new is None:
            silent += 1  # no packet between this reply and the next request
            continue
        # A packet is stamped when its batch is read. One read just before the next request and judged just after it
        # stands at the end of this window under the next stage: it is not an old one.
        old = [moment for moment, seen in window if seen != stage and moment < new]
        first.append((new - answered) * 1000)
        last.append((old[-1] - answered) * 1000 if old else 0.0)
    return {
        "toggles": len(done.stage),
        "packets": len(packets),
        "without_a_packet_between": silent,
        "request_to_first_new_p50_ms": percentile(felt, 50),
        "request_to_first_new_p99_ms": percentile(felt, 99),
        "first_new_p50_ms": percentile(first, 50),
        "first_new_p99_ms": percentile(first, 99),
        "last_old_p50_ms": percentile(last, 50),
        "last_old_p99_ms": percentile(last, 99),
        "old_after_reply": sum(1 for value in last if value > 0),
        "api_p50_ms": percentile([(b - a) * 1000 for a, b in zip(done.asked, done.answered, strict=True)], 50),
        "by_stage": dict(Counter(stage for _, stage in packets)),
        "never_set": sum(1 for _, stage in packets if stage not in STAGES),
    }


def percentile(values: list[float], percent: int) -> float | None:
    """Return a percentile by nearest rank, None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)], 3)


def main() -> None:
    """Build the lab, toggle under load, print one JSON object; exit 1 if a packet was judged under a foreign stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toggles", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=5000, help="forbidden packets per second")
    given = parser.parse_args()
    with Lab(f"tg{os.getpid() % 1_000_000}") as lab:
        gateway = LabGateway(lab)
        gateway.start()
        actors = Actors(lab)
        gateway.ctl("stage", "set", "enforce")
        run = secrets.token_bytes(8)
        # The first toggle is the first change that packets can see: the stream starts under enforce.
        sender = actors.start_sender(ATTACKER, "plc-1", run, rate=given.rate, count=given.rate * 300, seconds=300.0)
        log = gateway.base / "log" / "events.jsonl"
        wait_for("the stream's first event", lambda: log.exists() and log.stat().st_size > 10_000, 20)
        done = toggle(gateway, given.toggles)
        sender.terminate()
        sender.wait(10)
        size = -1

        def drained() -> bool:
            nonlocal size
            before, size = size, log.stat().st_size
            return before == size

        wait_for("the event log to drain", drained, DRAIN_WITHIN_S)
        result = figures(done, judged(log))
        result["events_lost"] = gateway.json("counters").get("events_lost")
        gateway.stop()
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["never_set"] else 0)


if __name__ == "__main__":
    main()
