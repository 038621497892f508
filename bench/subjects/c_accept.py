"""c-accept and c-accept-batch: bench/native/accept.c, which accepts everything. The floor of every NFQUEUE system.

The queue is set as conduitd sets its own (`gateway.settings.QueueSettings`), so that only the judging differs.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Literal

from bench.native import program
from bench.rig import GATEWAY, JUDGE_CPU, Rig
from bench.subjects.subject import Witness
from gateway.settings import QueueSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


class CAccept:
    """The C reference, one verdict each or batched, sleeping or spinning."""

    witness = Witness.QUEUE

    def __init__(self, name: str, mode: Literal["single", "batch"], wait: Literal["block", "spin"] = "block") -> None:
        self.name = name
        self._mode, self._wait = mode, wait
        self._process: subprocess.Popen[bytes] | None = None

    def available(self) -> str | None:
        """It needs nothing but a compiler."""
        return None

    def start(self, rig: Rig) -> None:
        """Bind the queue, then send packets to it."""
        queue = QueueSettings()
        limits = ["--copy", queue.copy_bytes, "--length", queue.max_length, "--buffer", queue.receive_buffer_bytes]
        argv = [program("accept"), "--queue", "0", "--mode", self._mode, "--wait", self._wait, *map(str, limits)]
        self._process = rig.start(GATEWAY, argv, cpu=JUDGE_CPU)
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
