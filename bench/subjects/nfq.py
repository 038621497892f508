"""netfilterqueue-trivial, -python and -scapy: the Python library with three callbacks (bench/subjects/nfq_judge.py)."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.rig import GATEWAY, JUDGE_CPU
from bench.subjects.one_process import OneProcess
from bench.subjects.policy import python_policy

if TYPE_CHECKING:
    import subprocess

    from bench.rig import Rig

PROGRAM: Final = Path(__file__).with_name("nfq_judge.py")


class Netfilterqueue(OneProcess):
    """A process of its own around `netfilterqueue`."""

    def __init__(self, callback: str) -> None:
        super().__init__(f"netfilterqueue-{callback}")
        self._callback = callback

    def available(self) -> str | None:
        """Return which package is missing."""
        wanted = ["netfilterqueue", *(["scapy"] if self._callback == "scapy" else [])]
        missing = [package for package in wanted if find_spec(package) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    def launch(self, rig: Rig) -> subprocess.Popen[bytes]:
        """Start it with the policy that its callback reads."""
        policy = rig.directory / "python-policy.json"
        policy.write_text(python_policy())
        return rig.start(GATEWAY, [sys.executable, str(PROGRAM), self._callback, str(policy)], cpu=JUDGE_CPU)
