"""The water works under load: the lab, a conduitd that enforces, an operator station that polls all the while.

    hmi-1 polls plc-1 (Modbus/TCP; requests and replies over UDP) ── conduitd ── office-laptop sends what it likes

In: nothing but the kernel; traffic of the enterprise zone. Out: what became of that traffic, the gateway's account of
it, and the polls of any stretch of time. CPU plan as in the rig: generator and sink on the traffic CPU, the engine on
the judge's. Polls and controller run where the kernel likes, with the same niceness as those: on two cores they compete
with a generator that never sleeps. Used by the suite `storm` and its test. Root; namespaces of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import polls, traffic
from bench.rig import favour
from bench.subjects.conduitd import ENGINE_CPUS
from bench.subjects.subject import pin
from deploy.lab import namespaces, plant, processes
from deploy.lab.actors import Actors, identity
from deploy.lab.gateway import DEFAULT_POLICY, LabGateway
from deploy.lab.topology import HOST_INTERFACE, Lab
from gateway.settings import QueueSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STATION, CONTROLLER, ATTACKER, SERVER = "hmi-1", "plc-1", plant.ATTACKER, "historian-dmz"
UDP_POLL_PORT: Final = 2222
REPORT_PORT: Final = 5140  # what enterprise may send to the historian: every address of its prefix may open flows
FIRST_SPOOFED: Final = 70  # unlisted addresses of enterprise's prefix: 10.20.10.70 and on
SPOOFED_ADDRESSES: Final = 180
FIRST_PORT, PORTS = 2000, 65536
END_WITHIN_S: Final = 10.0
SERVICES: Final = f"""
services:
  cyclic: {{protocol: udp, ports: [{UDP_POLL_PORT}]}}
  reports: {{protocol: udp, ports: [{REPORT_PORT}]}}
"""
CONDUITS: Final = """
  hmi-reads-cyclic: {from: {asset: hmi-1}, to: {asset: plc-1}, services: [cyclic], owner: bench, reason: polls}
  office-reports:
    {from: {zone: enterprise}, to: {asset: historian-dmz}, services: [reports], owner: bench, reason: load}

denials:"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An address that a frame shows; nobody has to have it."""

    ip: str
    mac: str


@dataclass(frozen=True, slots=True)
class Polled:
    """The polls of a stretch of time. `missed`: by kind, what was wrong with each."""

    asked: dict[str, int]
    missed: dict[str, list[str]]
    took_ms: dict[str, list[float]]  # of the polls that were answered in time


class Site:
    """The lab as `bench.traffic` sees it: programs whose output is read."""

    def __init__(self, lab: Lab) -> None:
        self.directory = lab.directory
        self._lab = lab

    def start(
        self, node: str, argv: Sequence[str], *, cpu: int | None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a program on a host with the bench's niceness; it is ended with the lab at the latest."""
        pinned = ["taskset", "--cpu-list", str(cpu)] if cpu is not None else []
        command = [*pinned, *namespaces.inside(self._lab.namespace(node), argv)]
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, env=processes.environment(), start_new_session=True
        )
        processes.record(self.directory, process.pid)
        favour(process.pid)
        return process


class Siege:
    """A standing plant whose polls go on."""

    def __init__(self, lab: Lab, gateway: LabGateway) -> None:
        self.gateway = gateway
        self.site = Site(lab)
        self._next_port = FIRST_PORT
        [self.engine_pid] = gateway.child_pids("gateway.engine")
        pin([self.engine_pid])
        favour(Actors(lab).start_controller(CONTROLLER).process.pid)
        self._rows = lab.directory / "polls.json"
        self._echo = self._python(CONTROLLER, "serve", "--port", str(UDP_POLL_PORT))
        target = ["--host", plant.host(CONTROLLER).ip4, "--identity", str(identity(CONTROLLER))]
        self._poller = self._python(
            STATION, "poll", *target, "--udp-port", str(UDP_POLL_PORT), "--out", str(self._rows)
        )

    def flood(self, rate: float, count: int) -> traffic.Trial:
        """Open flows that the policy permits, each from an address and port that no flow before had."""
        port, self._next_port = self._next_port, self._next_port + count // SPOOFED_ADDRESSES + 1
        if self._next_port > PORTS:
            raise ValueError(f"{count} more flows need more addresses")
        near, far = Claimed(f"10.20.10.{FIRST_SPOOFED}", plant.host(ATTACKER).mac), plant.host(SERVER)
        flow = traffic.Flow(near, Claimed(far.ip4, far.mac), port, REPORT_PORT)
        return self._stream([flow], SERVER, rate, count, spread=SPOOFED_ADDRESSES)

    def storm(self, seconds: float) -> traffic.Trial:
        """Send what no conduit permits to the polled controller, as fast as it goes."""
        near, far = plant.host(ATTACKER), plant.host(CONTROLLER)
        ends = Claimed(near.ip4, near.mac), Claimed(far.ip4, far.mac)
        ports = [502, UDP_POLL_PORT, 102, 4840]
        flows = [
            traffic.Flow(*ends, 41000 + number, port, protocol)
            for number in range(8)
            for port in ports
            for protocol in ("udp", "tcp")
        ]
        return self._stream(flows, CONTROLLER, 0, 1 << 40, seconds=seconds)

    def account(self) -> Any:
        """Return the gateway's account of every frame, once it closes."""
        return processes.wait_for("the account to close", self._closed_account, END_WITHIN_S)

    def poll_flows(self) -> dict[str, str]:
        """Return since when the engine knows the polls' conversations, by kind."""
        _, answer = self.gateway.api("GET", f"/v1/flows?asset={STATION}&limit=1000")
        return {
            f"{flow['protocol']}:{flow['opener_port']}": flow["first_seen"]
            for flow in answer["flows"]
            if flow["responder_asset"] == CONTROLLER and not flow["closed"]
        }

    def resident_mib(self) -> float:
        """Return what the engine's process holds, as the kernel adds it up page by page."""
        lines = Path(f"/proc/{self.engine_pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Rss:")).split()[1]) / 1024

    def finish(self) -> list[polls.Row]:
        """End the polls and return every row of them."""
        for process in (self._poller, self._echo):
            process.terminate()
            process.communicate(timeout=END_WITHIN_S)
        return [polls.Row(*row) for row in json.loads(self._rows.read_text())]

    def _stream(
        self, flows: list[traffic.Flow], target: str, rate: float, count: int, *, seconds: float = 0, spread: int = 0
    ) -> traffic.Trial:
        far, near = traffic.Place(target, HOST_INTERFACE), traffic.Place(ATTACKER, HOST_INTERFACE)
        with traffic.Sink(self.site, flows, place=far, settle_ms=300) as sink:
            said = traffic.send(self.site, flows, rate, count, run=sink.run, place=near, seconds=seconds, spread=spread)
            return sink.trial(rate, said)

    def _python(self, node: str, *words: str) -> subprocess.Popen[bytes]:
        process = self.site.start(node, [sys.executable, "-m", polls.__name__, *words], cpu=None)
        traffic.await_ready(process)
        return process

    def _closed_account(self) -> Any:
        status, found = self.gateway.api("GET", "/v1/counters")
        return found if status == 200 and found["waiting"] == found["unaccounted"] == 0 else None


@contextmanager
def siege(flows: int = QueueSettings().flows) -> Iterator[Siege]:
    """Build the lab, put the policy in force, start the polls; everything goes with the block.

    flows: places in the flow table.
    """
    text = DEFAULT_POLICY.read_text()
    policy = text.replace("ceiling: monitor", "ceiling: enforce").replace("\ndenials:", CONDUITS) + SERVICES
    with Lab(f"es{os.getpid() % 10_000_000}") as lab:
        gateway = LabGateway(lab, policy)
        settings = gateway.settings.read_text().replace("[queue]\n", f"[queue]\nflows = {flows}\n")
        gateway.settings.write_text(settings + ENGINE_CPUS)
        gateway.start()
        standing = Siege(lab, gateway)
        yield standing
        gateway.stop()


def polled(rows: list[polls.Row], begin_ns: int, end_ns: int) -> Polled:
    """Return the polls that were due between two moments of CLOCK_MONOTONIC."""
    found = Polled({}, {}, {})
    for kind in (polls.TCP, polls.UDP):
        here = [row for row in rows if row.kind == kind and begin_ns <= row.due_ns < end_ns]
        found.asked[kind] = len(here)
        found.missed[kind] = [f"{row.wrong} ({row.took_ns / 1e6:.0f} ms)" for row in here if row.wrong]
        found.took_ms[kind] = [row.took_ns / 1e6 for row in here if not row.wrong]
    return found
