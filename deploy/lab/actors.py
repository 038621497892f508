"""What people and machines of the lab do, as calls: start a controller, poll it, write to it, attack it, watch it.

In: a standing lab and host names. Out: what the judges' files and the one-shot programs said.
Must never decide whether an attack worked by what the attacker reports: ask `register`. Used by demo, tests and bench.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from deploy.lab import plant, processes
from deploy.lab.namespaces import LabError
from deploy.lab.plc import SETPOINT
from deploy.lab.topology import HOST_INTERFACE, Lab

if TYPE_CHECKING:
    from pathlib import Path

START_WITHIN_S: Final = 15.0
END_WITHIN_S: Final = 5.0


def identity(controller: str) -> int:
    """Return the number that a controller shows in its first register, so that no other can be taken for it."""
    host = plant.host(controller)
    return host.octet * 100 + host.host


@dataclass(frozen=True, slots=True)
class Running:
    """A started lab program and the file in which it says what it sees."""

    process: subprocess.Popen[bytes]
    state: Path
    log: Path

    def said(self) -> Any:
        """Return what it last published, None if nothing yet."""
        return processes.read_json(self.state)

    def end(self) -> Any:
        """Ask it to end, wait, and return its last word. Raises LabError if it does not end."""
        self.process.terminate()
        try:
            self.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise LabError(f"{self.state.stem} did not end within {END_WITHIN_S:.0f} s of SIGTERM") from error
        return self.said()


class Actors:
    """The plant at work in one lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._running: dict[str, Running] = {}

    def start_controller(self, name: str) -> Running:
        """Start a Modbus controller on its host and wait until it listens."""
        running = self._start(name, name, "deploy.lab.plc", ["--identity", str(identity(name))])
        self._wait_until_ready(name, running)
        return running

    def start_s7_controller(self, name: str) -> Running:
        """Start an S7 controller on a host, beside its Modbus one, and wait until it listens."""
        label = f"{name}-s7"
        running = self._start(label, name, "deploy.lab.s7_controller", [])
        self._wait_until_ready(label, running)
        return running

    def start_poller(self, name: str, controller: str, interval_ms: int = 100) -> Running:
        """Start an operator station that polls a controller, and wait for its first right answer."""
        given = [
            "--host",
            plant.host(controller).ip4,
            "--identity",
            str(identity(controller)),
            "--interval-ms",
            str(interval_ms),
        ]
        running = self._start(f"{name}-polls-{controller}", name, "deploy.lab.hmi", given)
        processes.wait_for(
            f"{name}: a right answer from {controller}", lambda: (running.said() or {}).get("answered"), START_WITHIN_S
        )
        return running

    def start_witness(self, node: str, run: bytes, count: int, seconds: float) -> Running:
        """Start counting an experiment's frames on a host, and wait until it listens."""
        given = ["--run", run.hex(), "--count", str(count), "--seconds", str(seconds)]
        label = f"witness-{run.hex()}-{node}"
        running = self._start(label, node, "deploy.lab.witness", given)
        self._wait_until_ready(label, running)
        return running

    def start_sender(
        self,
        node: str,
        target: str,
        run: bytes,
        *,
        rate: int,
        count: int,
        seconds: float = 60.0,
        source_port: int = 40000,
        target_port: int = 40000,
        claim: str | None = None,
        padding: int = 0,
    ) -> subprocess.Popen[bytes]:
        """Start a stream of numbered frames towards a host, in the name of `claim` if given."""
        aim, me = plant.host(target), plant.host(claim or node)
        return self.lab.start(
            node,
            [
                sys.executable,
                "-m",
                "deploy.lab.sender",
                "--run",
                run.hex(),
                "--rate",
                str(rate),
                "--count",
                str(count),
                "--seconds",
                str(seconds),
                "--source-ip",
                me.ip4,
                "--source-mac",
                me.mac,
                "--target-ip",
                aim.ip4,
                "--target-mac",
                aim.mac,
                "--source-port",
                str(source_port),
                "--target-port",
                str(target_port),
                "--padding",
                str(padding),
            ],
        )

    def knows(self, node: str, target: str) -> None:
        """Let a host know another's MAC without asking: an attacker needs no ARP."""
        aim = plant.host(target)
        for address in (aim.ip4, aim.ip6):
            self.lab.run(
                node, ["ip", "neigh", "replace", address, "lladdr", aim.mac, "nud", "permanent", "dev", HOST_INTERFACE]
            )

    def write(self, node: str, controller: str, value: int, *, register: int = SETPOINT, within_s: float = 1.0) -> bool:
        """Write one register once; return whether the writer got a right answer."""
        return self.try_write(node, controller, value, register=register, within_s=within_s)["ok"] is True

    def try_write(
        self, node: str, controller: str, value: int, *, register: int = SETPOINT, within_s: float = 1.0
    ) -> dict[str, Any]:
        """Write one register once; return what the writer says of it: ok, detail, took_ms."""
        return self._ask(node, controller, register, within_s, ["--write", str(value)])

    def read(self, node: str, controller: str, *, register: int = SETPOINT, within_s: float = 1.0) -> int | None:
        """Read one register over the network; None without an answer."""
        answer = self._ask(node, controller, register, within_s, [])
        return int(answer["values"][0]) if answer["ok"] else None

    def s7(self, node: str, controller: str, what: str, *, value: int = 0) -> dict[str, Any]:
        """Ask an S7 controller once: `read`, `stop`, or `write` a dose of `value`.

        Returns what the asker says: ok, detail, values, took_ms.
        """
        host = plant.host(controller).ip4
        argv = [sys.executable, "-m", "deploy.lab.s7_request", "--host", host, "--value", str(value), what]
        return self._outcome(node, argv)

    def spoof(self, node: str, claim: str, controller: str, value: int, *, with_mac: bool, rounds: int = 8) -> int:
        """Attack a controller in another host's name; return how many frames were sent."""
        aim, claimed = plant.host(controller), plant.host(claim)
        argv = [
            sys.executable,
            "-m",
            "deploy.lab.attacker",
            "--claim-ip",
            claimed.ip4,
            "--target-ip",
            aim.ip4,
            "--target-mac",
            aim.mac,
            "--register",
            str(SETPOINT),
            "--value",
            str(value),
            "--rounds",
            str(rounds),
        ]
        if with_mac:
            argv += ["--claim-mac", claimed.mac]
        return int(json.loads(self.lab.run(node, argv).stdout)["sent"])

    def register(self, controller: str, number: int = SETPOINT) -> int:
        """Return a register as the controller itself holds it: the judge's view."""
        said = self._running[controller].said()
        return int(said["registers"][number])

    def writes(self, controller: str) -> list[dict[str, Any]]:
        """Return every write that a controller took, oldest first: also one that was overwritten since."""
        said = self._running[controller].said()
        return list(said["writes"])

    def said(self, label: str) -> Any:
        """Return what a started program published last, None if nothing yet."""
        return self._running[label].said()

    def end_all(self) -> None:
        """End what these calls started."""
        for running in self._running.values():
            if running.process.poll() is None:
                running.end()

    def _ask(self, node: str, controller: str, register: int, within_s: float, more: list[str]) -> dict[str, Any]:
        argv = [
            sys.executable,
            "-m",
            "deploy.lab.modbus_request",
            "--host",
            plant.host(controller).ip4,
            "--register",
            str(register),
            "--within-s",
            str(within_s),
            *more,
        ]
        return self._outcome(node, argv)

    def _outcome(self, node: str, argv: list[str]) -> dict[str, Any]:
        done = self.lab.run(node, argv, check=False)
        if not done.stdout:
            raise LabError(f"{node}: no outcome of {argv[2]}: {done.stderr.strip()}")
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    def _start(self, label: str, node: str, module: str, given: list[str]) -> Running:
        state = self.lab.directory / f"{label}.json"
        log = self.lab.directory / f"{label}.log"
        for old in (state, state.with_suffix(".ready")):
            old.unlink(missing_ok=True)
        with log.open("wb") as sink:
            argv = [sys.executable, "-m", module, *given, "--state", os.fspath(state)]
            process = self.lab.start(node, argv, log=sink)
        running = Running(process, state, log)
        self._running[label] = running
        return running

    @staticmethod
    def _wait_until_ready(label: str, running: Running) -> None:
        def look() -> bool:
            if running.process.poll() is not None:
                raise LabError(f"{label} ended at once: {running.log.read_text().strip()[-500:]}")
            return running.state.with_suffix(".ready").exists()

        processes.wait_for(f"{label} to be ready", look, START_WITHIN_S)
