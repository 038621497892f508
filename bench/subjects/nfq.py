"""netfilterqueue-trivial, -python and -scapy: the Python library with three callbacks (bench/subjects/nfq_judge.py)."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.rig import GATEWAY, JUDGE_CPU, Rig
from bench.subjects.policy import python_policy
from bench.subjects.subject import Witness

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = Path(__file__).with_name("nfq_judge.py")


class Netfilterqueue:
    """A process of its own around `netfilterqueue`."""

    witness = Witness.QUEUE

    def __init__(self, callback: str) -> None:
        self.name = f"netfilterqueue-{callback}"
        self._callback = callback
        self._process: subprocess.Popen[bytes] | None = None

    def available(self) -> str | None:
        """Return which package is missing."""
        wanted = ["netfilterqueue", *(["scapy"] if self._callback == "scapy" else [])]
        missing = [package for package in wanted if find_spec(package) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    def start(self, rig: Rig) -> None:
        """Bind the queue, then send packets to it."""
        policy = rig.directory / "python-policy.json"
        policy.write_text(python_policy())
        self._process = rig.start(GATEWAY, [sys.executable, str(PROGRAM), self._callback, str(policy)], cpu=JUDGE_CPU)
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != b"ready":
            raise RuntimeError(f"{self.name} did not start")
        rig.intercept()

    def judge_pids(self) -> Sequence[int]:
        """Return its process."""
        return [self._process.pid] if self._process else []

    def counted(self, rig: Rig) -> int:  # noqa: ARG002
        """Nothing counts but the queue."""
        return 0

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)
            self._process = None
