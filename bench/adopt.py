"""The whole way of a plant, in the lab: learn in monitor, accept, show readiness, enforce, and stop an attacker.

`python -m bench.adopt [--minutes 5]`: the water works with its inventory but no conduit, in monitor. Operator stations
poll their controllers, an engineer writes now and then. Enforcing on the first day is refused. After that time
`learn` proposes conduits, they are applied on terms and confirmed; when the plant cycle was observed often enough the
ceiling is raised without force, and the office laptop attacks. Judges are the controllers' registers and the stations'
own counts. Prints one line a step and a JSON summary; exit code 1 when a poll was missed, the attack arrived, or a step
was refused. Root; namespaces of its own, taken down at the end. Used by a bounded test.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from deploy.lab.actors import Actors
from deploy.lab.gateway import DEFAULT_POLICY, LabGateway
from deploy.lab.plant import ATTACKER
from deploy.lab.plc import SAFE_SETPOINT
from deploy.lab.processes import wait_for
from deploy.lab.topology import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.lab.actors import Running

STATIONS: Final = (("hmi-1", "plc-1"), ("hmi-2", "plc-2"), ("hmi-1", "plc-2"), ("scada-server", "plc-1"),
                   ("hmi-2", "plc-1"), ("scada-server", "plc-2"))  # fmt: skip
ENGINEER: Final = "eng-laptop"
FIRST_DAY_S: Final = 5.0
CYCLE_S: Final = 30
OCCURRENCES: Final = 2
ATTACKS: Final = 10
STOLEN: Final = 6666
ENGINEER_EVERY_S: Final = 10.0
READY_WITHIN_S: Final = 30.0


def inventory(cycle_s: int) -> str:
    """Return the water works without a conduit: what a plant has on the first day, with a cycle of some seconds."""
    text = DEFAULT_POLICY.read_text()
    head, _, _ = text.partition("# modbus, s7, https")
    cycles = f"cycles:\n  scan: {{every: {cycle_s}s, minimum: {OCCURRENCES}, description: Every station has polled}}\n"
    return f"{head}{cycles}\nconduits: {{}}\n"


class Adoption:
    """One plant on its way to enforcing."""

    def __init__(self, lab: Lab, cycle_s: int, say: Callable[[str], None]) -> None:
        self._say = say
        self._cycle_s = cycle_s
        self.actors = Actors(lab)
        self.gateway = LabGateway(lab, inventory(cycle_s))
        self.stations: dict[tuple[str, str], Running] = {}
        self.summary: dict[str, Any] = {}

    def begin(self) -> None:
        """Start controllers, gateway and stations."""
        for controller in ("plc-1", "plc-2"):
            self.actors.start_controller(controller)
        self.gateway.start()
        for station in STATIONS:
            self.stations[station] = self.actors.start_poller(*station)
        self.actors.knows(ATTACKER, "plc-1")

    def work(self, seconds: float) -> None:
        """Let the plant run; the engineer writes the set point now and then."""
        end = time.monotonic() + seconds
        written = 0
        while time.monotonic() < end:
            for controller in ("plc-1", "plc-2"):
                written += self.actors.write(ENGINEER, controller, SAFE_SETPOINT)
            time.sleep(min(ENGINEER_EVERY_S, max(0.0, end - time.monotonic())))
        self.summary["engineer_wrote"] = written
        self._say(f"{seconds:.0f} s of work: {self.answered()} polls answered, {self.missed()} missed")

    def learn(self) -> None:
        """Take over what was seen: propose, write down, apply on terms, confirm."""
        folder = self.gateway.base / "adopted"
        folder.mkdir()
        learned = folder / "learned.yaml"
        # Minutes are no plant's week: `learn` says low confidence, and it is taken on knowingly.
        taken = ("--accept", str(learned), "--stage", "enforce", "--min-confidence", "low")
        found = self.gateway.json("learn", "--tape", "--since", "1h", *taken)
        for one in found["withheld"]:
            self._say(f"withheld: {json.dumps(one, ensure_ascii=False)[:300]}")
        self.summary["proposed"] = len(found["proposals"])
        self.summary["withheld"] = len(found["withheld"])
        main = folder / "policy.yaml"
        main.write_text(inventory(self._cycle_s).replace("version: 1", "version: 1\ninclude: [learned.yaml]", 1))
        self.gateway.ctl("policy", "check", str(main))
        self.gateway.ctl("policy", "apply", str(main), "--confirm-within", "60s", "--reason", "what was learned")
        self.gateway.ctl("policy", "confirm")
        conduits = self.gateway.json("conduits")["conduits"]
        self.summary["conduits"] = [f"{one['source']} → {one['destination']}: {one['services']}" for one in conduits]
        for line in self.summary["conduits"]:
            self._say(f"learned: {line}")

    def hurry(self) -> None:
        """Try to enforce on the first day, which would stop the plant: it must be refused."""
        refused = self.gateway.ctl("stage", "set", "enforce", "--reason", "in a hurry", check=False)
        self.summary["refused_before_proof"] = refused.returncode != 0
        self._say(f"enforcing at once, refused: {refused.returncode != 0}: {_first_line(refused.stderr)}")

    def enforce(self) -> None:
        """Wait until the plant cycle was observed under what was learned, then enforce without force."""
        self.acknowledge()
        self.work(self._cycle_s * (OCCURRENCES + 1))
        wait_for("readiness", self._ready, READY_WITHIN_S)
        done = self.gateway.ctl("stage", "set", "enforce", "--reason", "adopted", check=False)
        self.summary["enforced_without_force"] = done.returncode == 0
        self._say(f"enforced without force: {done.returncode == 0} {_first_line(done.stderr)}")

    def acknowledge(self) -> None:
        """Take on what enforcing will drop and nobody learned: none in this plant, or it is said."""
        drops = [
            drop
            for row in self.gateway.json("readiness")["objects"]
            for drop in row["would_drops"]
            if drop["acknowledged"] is None
        ]
        self.summary["acknowledged"] = len(drops)
        for drop in drops:
            self._say(f"acknowledged: {drop['source']} → {drop['destination']} {drop['service']} ({drop['code']})")
            ends = (drop["source"], drop["destination"], drop["service"])
            self.gateway.ctl("readiness", "acknowledge", *ends, "--reason", "seen before the conduits were learned",
                             check=False)  # fmt: skip

    def _ready(self) -> bool:
        rows = self.gateway.json("readiness")["objects"]
        return all(row["ready"] for row in rows if row["object"] == "ceiling")

    def attack(self) -> None:
        """Let the office laptop write; the register judges."""
        before = [self.actors.register(name) for name in ("plc-1", "plc-2")]
        answered = sum(self.actors.write(ATTACKER, "plc-1", STOLEN, within_s=0.3) for _ in range(ATTACKS))
        arrived = sum(STOLEN in write["values"] for write in self.actors.writes("plc-1"))
        after = [self.actors.register(name) for name in ("plc-1", "plc-2")]
        self.summary |= {"attacks": ATTACKS, "attacks_answered": answered, "attacks_arrived": arrived}
        self._say(f"{ATTACKS} attacks: {arrived} arrived, {answered} answered, registers {before} → {after}")

    def answered(self) -> int:
        """Return the polls answered so far."""
        return sum(station.said()["answered"] for station in self.stations.values())

    def missed(self) -> int:
        """Return the polls missed so far."""
        return sum(station.said()["missed"] for station in self.stations.values())

    def end(self) -> dict[str, Any]:
        """Count once more and return the summary."""
        self.work(5.0)
        self.summary |= {"answered": self.answered(), "missed": self.missed()}
        failed = [
            self.summary["missed"] != 0,
            self.summary["attacks_arrived"] != 0,
            self.summary["attacks_answered"] != 0,
            not self.summary["refused_before_proof"],
            not self.summary["enforced_without_force"],
        ]
        self.summary["held"] = not any(failed)
        return self.summary


def _first_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().partition("\n")[0])[:200]


def adopt(minutes: float, say: Callable[[str], None], cycle_s: int = CYCLE_S) -> dict[str, Any]:
    """Go the whole way in a lab of its own and return what came of it."""
    lab = Lab(f"cga{os.getpid() % 1_000_000}")
    try:
        lab.up()
        plant = Adoption(lab, cycle_s, say)
        plant.begin()
        plant.work(FIRST_DAY_S)
        plant.hurry()
        plant.work(minutes * 60)
        plant.learn()
        plant.enforce()
        plant.attack()
        summary = plant.end()
        plant.gateway.stop()
        return summary
    finally:
        lab.down()


def main() -> int:
    """Parse the command line, go the way, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long the plant is watched before learning")
    given = parser.parse_args()
    summary = adopt(given.minutes, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(summary, indent=2, ensure_ascii=False))
    return 0 if summary["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
