"""A subject whose judging is done by one process that reads queue 0: how it is started, watched and ended.

In: what to launch, from the subject. Out: the process, ready before packets are sent to it. A subject that does not say
so when it is ready overrides `wait_until_ready`; one that stands among rules of its own overrides `intercept`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from bench.subjects.subject import Witness

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from bench.rig import Rig


class OneProcess(ABC):
    """One judging process behind the queue."""

    witness = Witness.QUEUE
    ends_within_s = 10.0

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def available(self) -> str | None:
        """Return why this machine cannot run it, None if it can."""

    @abstractmethod
    def launch(self, rig: Rig) -> subprocess.Popen[bytes]:
        """Start the process."""

    def start(self, rig: Rig) -> None:
        """Let it bind the queue, then send packets to it."""
        self._process = self.launch(rig)
        self.wait_until_ready(self._process)
        self.intercept(rig)

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it has bound the queue: it says `ready`."""
        assert process.stdout is not None
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError(f"{self.name} did not start")

    def intercept(self, rig: Rig) -> None:
        """Send packets to the queue."""
        rig.intercept()

    def judge_pids(self) -> Sequence[int]:
        """Return the process, all threads of which are the price."""
        return [self._process.pid] if self._process else []

    def counted(self, rig: Rig) -> int:  # noqa: ARG002
        """Nothing counts but the queue."""
        return 0

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=self.ends_within_s)
            self._process = None
