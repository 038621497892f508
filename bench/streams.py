"""Numbered streams through a real conduitd, and when each of their packets arrived: `steady` is always permitted,
`changing` only by one of two policies, `forbidden` (if asked for) by none.

    scada-server ── sup0 [ conduitd ] ctl0 ── plc-1        10.20.40.20 → 10.20.50.10, UDP 40000, 40001 and 40002

In: the lab. Out: a running gateway whose policy is switched by its own API, and the arrivals on the far side. Used by
the suites `swap` and `revoke` and by `drill`. Root; namespaces of its own.
"""

from __future__ import annotations

import bisect
import json
import os
import secrets
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.arrivals import RECORD
from deploy.lab import plant
from deploy.lab.gateway import LabGateway
from deploy.lab.processes import wait_for
from deploy.lab.topology import Lab

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NEAR, FAR = "scada-server", "plc-1"
STEADY, CHANGING, FORBIDDEN = 40000, 40001, 40002
RUNNING_S: Final = 600.0  # no suite takes so long; a stream ends by itself then
WITHIN_S: Final = 10.0
POLICY: Final = """\
version: 1
site: {name: bench, ceiling: enforce, default_stage: enforce}
zones:
  supervisory: {kind: supervisory, sl_t: 2, ports: [sup0], prefixes: [10.20.40.0/24]}
  control: {kind: control, sl_t: 2, ports: [ctl0], prefixes: [10.20.50.0/24]}
services:
  steady: {protocol: udp, ports: [%d]}
  changing: {protocol: udp, ports: [%d]}
conduits:
  steady: {from: {zone: supervisory}, to: {zone: control}, services: [%s], log: none, owner: bench, reason: streams}
"""
OPEN: Final = POLICY % (STEADY, CHANGING, "steady, changing")
CLOSED: Final = POLICY % (STEADY, CHANGING, "steady")


@dataclass(frozen=True, slots=True)
class Change:
    """One policy put in force: CLOCK_REALTIME ns of the request and of its answer, and the answer."""

    opened: bool
    asked_ns: int
    answered_ns: int
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What came, by port: numbers and times in order of arrival; and how many were sent."""

    sent: dict[int, int]
    numbers: dict[int, list[int]]
    times_ns: dict[int, list[int]]

    def lost(self, port: int) -> int:
        """Return how many packets of a stream never arrived."""
        return self.sent[port] - len(set(self.numbers[port]))

    def last_before(self, port: int, moment_ns: int) -> int | None:
        """Return when the last packet up to a moment arrived."""
        at = bisect.bisect_right(self.times_ns[port], moment_ns)
        return self.times_ns[port][at - 1] if at else None

    def first_after(self, port: int, moment_ns: int) -> int | None:
        """Return when the first packet after a moment arrived."""
        at = bisect.bisect_right(self.times_ns[port], moment_ns)
        return self.times_ns[port][at] if at < len(self.times_ns[port]) else None


class Streams:
    """All streams under way; `rates` are packets/s by port."""

    def __init__(self, lab: Lab, gateway: LabGateway, rates: Mapping[int, int]) -> None:
        self.lab = lab
        self.gateway = gateway
        self._out = lab.directory / "arrivals"
        ports = ",".join(map(str, rates))
        argv = [sys.executable, "-m", "bench.arrivals", "--ports", ports, "--out", str(self._out)]
        self._receiver = lab.start(FAR, argv)
        wait_for("the receiver", self._out.with_suffix(".ready").exists, WITHIN_S)
        self._senders = {port: self._sender(port, rate) for port, rate in rates.items()}
        wait_for("both streams to be judged", lambda: self.counters()["engine"]["flows_created"] >= 2, WITHIN_S)

    def change(self, *, opened: bool, **terms: Any) -> Change:
        """Put the one or the other policy in force, on terms if any are given."""
        asked = time.time_ns()
        body = {"text": OPEN if opened else CLOSED, "name": "streams", **terms}
        status, answer = self.gateway.api("POST", "/v1/policy", body)
        answered = time.time_ns()
        if status != 200:
            raise RuntimeError(f"the policy was refused: {status} {answer}")
        return Change(opened, asked, answered, answer)

    def counters(self) -> Any:
        """Return the gateway's account of every frame."""
        status, answer = self.gateway.api("GET", "/v1/counters")
        if status != 200:
            raise RuntimeError(f"no counters: {status} {answer}")
        return answer

    def finish(self) -> Arrivals:
        """End the streams and return what arrived."""
        sent = {port: _ended(*sender) for port, sender in self._senders.items()}
        self._receiver.terminate()
        self._receiver.wait(WITHIN_S)
        numbers: dict[int, list[int]] = defaultdict(list)
        times: dict[int, list[int]] = defaultdict(list)
        for port, number, moment in RECORD.iter_unpack(self._out.read_bytes()):
            numbers[port].append(number)
            times[port].append(moment)
        return Arrivals(sent, numbers, times)

    def _sender(self, port: int, rate: int) -> tuple[subprocess.Popen[bytes], Path]:
        near, far, said = plant.host(NEAR), plant.host(FAR), self.lab.directory / f"sender-{port}.json"
        words = {
            "--source-ip": near.ip4,
            "--source-mac": near.mac,
            "--target-ip": far.ip4,
            "--target-mac": far.mac,
            "--target-port": str(port),
            "--run": secrets.token_hex(8),
            "--rate": str(rate),
            "--count": str(int(rate * RUNNING_S)),
            "--seconds": str(RUNNING_S),
        }
        with said.open("wb") as sink:
            argv = [sys.executable, "-m", "deploy.lab.sender", *(word for pair in words.items() for word in pair)]
            return self.lab.start(NEAR, argv, log=sink), said


@contextmanager
def streams(name: str, rate: int, lane: str = "off", forbidden: int = 0) -> Iterator[Streams]:
    """Build the lab, a gateway that permits the first two streams, and all streams; everything goes with the block.

    name: two letters that tell the suite's namespaces from others. rate: packets/s of each of the first two. lane:
    conduitd's `lane.mode`. forbidden: packets/s of the third, 0 for none.
    """
    rates = {STEADY: rate, CHANGING: rate} | ({FORBIDDEN: forbidden} if forbidden else {})
    with Lab(f"{name}{os.getpid() % 1_000_000}") as lab:
        gateway = LabGateway(lab, OPEN, lane=lane)
        gateway.start()
        running = Streams(lab, gateway, rates)
        yield running
        gateway.stop()


def _ended(sender: subprocess.Popen[bytes], said: Path) -> int:
    sender.terminate()
    sender.wait(WITHIN_S)
    return int(json.loads(said.read_text())["sent"])
