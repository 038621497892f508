"""bulk: goodput of one TCP connection through the judged path, with GSO and every offload on.

Metric mbit (10^6 bits of content per second, from connected to the last byte read). Sender and receiver share the
traffic CPU, the judge has its own. The content's SHA-256 must be equal at both ends; it is taken after the transfer.
With GSO one queued packet is up to 64 KB: without F_GSO a queue would cut them, and in the bridge family corrupt them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import subjects, traffic
from bench.results import Result
from bench.rig import NORTH, SOUTH, TRAFFIC_CPU, Host, Rig
from bench.subjects.subject import Watch, standing

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.subjects.subject import Subject

SUITE: Final = "bulk"
AMONG: Final = ("none", "c-accept", "c-accept-batch", "conduitd")
CONTENT_BYTES: Final = 400_000_000
SEED: Final = 20260
SEGMENT_BYTES: Final = 65_536
END_WITHIN_S: Final = 90.0
PROGRAM: Final = Path(__file__).resolve().parent.parent / "bulk_end.py"


def run(plan: Plan) -> list[Result]:
    """Measure, interleaved."""
    found: dict[str, list[float]] = defaultdict(list)
    with Rig(offloads=True) as rig:
        every = subjects.chosen(plan, AMONG)
        for number, name in plan.rounds(list(every)):
            with standing(every[name], rig):
                mbit = transfer(rig, every[name], int(CONTENT_BYTES * plan.seconds), SEED + number)
            plan.say(f"  run {number + 1} {name:24} mbit {mbit:10.0f}")
            found[name].append(mbit)
    return [Result.of(SUITE, name, "mbit", "Mbit/s", runs) for name, runs in found.items()]


def transfer(rig: Rig, subject: Subject, size: int, seed: int) -> float:
    """Return the goodput of one transfer. Raises RuntimeError when the content did not arrive as it was sent."""
    watch = Watch(subject, rig)
    place = [Host(SOUTH, 1).ip, str(traffic.BULK_PORT), str(size), str(seed)]
    receiver = rig.start(SOUTH, [sys.executable, str(PROGRAM), "receive", *place], cpu=TRAFFIC_CPU)
    traffic.await_ready(receiver)
    sender = rig.start(NORTH, [sys.executable, str(PROGRAM), "send", *place], cpu=TRAFFIC_CPU)
    sent, got = _answer(sender), _answer(receiver)
    if (sent["sha256"], sent["bytes"]) != (got["sha256"], got["bytes"]):
        raise RuntimeError(f"{subject.name}: {sent['bytes']} bytes sent, {got['bytes']} received, or others")
    segments = size // SEGMENT_BYTES
    watch.judged(segments, segments // 2)  # at least; acknowledgements and smaller segments come on top
    return float(size * 8 / got["seconds"] / 1e6)


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(process.communicate(timeout=END_WITHIN_S)[0])
    return said
