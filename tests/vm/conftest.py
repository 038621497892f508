"""One gateway for the virtual machine's cases: three hosts, native interception, everything enforced.

In: the laboratory and policy.yaml beside this file. Out: `gateway` (judging), `lab`, `station` (runs the small host
program). Only in the machine that `make test-vm` boots: elsewhere these cases are not collected as runnable.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from deploy.lab.gateway import LabGateway
from deploy.lab.namespaces import inside
from deploy.lab.topology import Lab
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLICY: Final = Path(__file__).with_name("policy.yaml")
STATION: Final = Path(__file__).parents[1] / "support" / "vm" / "station.py"
PYTHON: Final = ("/usr/bin/python3", "-I", "-S")


class Station:
    """One run of the host program on a node; `answer` waits for it to end."""

    def __init__(self, lab: Lab, node: str, *words: str) -> None:
        command = inside(lab.namespace(node), [*PYTHON, os.fspath(STATION), *words])
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.name = f"{node}: {' '.join(words)[:80]}"

    def ready(self) -> Station:
        """Wait until it listens, and return it."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", f"{self.name}: {self._said()}"
        return self

    def answer(self, seconds: float) -> list[str]:
        """Return the words of what it printed, once it has ended."""
        out, problem = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, f"{self.name}: {problem}"
        return out.split()

    def end(self) -> None:
        """Make sure that nothing is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def _said(self) -> str:
        return self.process.stderr.read() if self.process.stderr else ""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The laboratory, standing for the whole module: everything here takes ten times as long."""
    if os.environ.get("CONDUIT_RING") != "vm":
        pytest.skip("runs in the virtual machine: make test-vm")
    require("netns")
    with Lab(f"v{os.getpid() % 10_000_000}") as made:
        yield made


@pytest.fixture(scope="module")
def gateway(lab: Lab) -> Iterator[LabGateway]:
    """A running conduitd that had to find native interception."""
    made = LabGateway(lab, POLICY.read_text(), form="bridge", lane="auto")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def station(lab: Lab) -> Iterator[Callable[..., Station]]:
    """Start the host program on a node: station("hmi-1", "send", "eth0", ...)."""
    started: list[Station] = []

    def start(node: str, *words: str) -> Station:
        started.append(Station(lab, node, *words))
        return started[-1]

    yield start
    for running in started:
        running.end()
