"""c-accept and c-accept-batch: bench/native/accept.c, which accepts everything. The floor of every NFQUEUE system.

The queue is set as conduitd sets its own (`gateway.settings.QueueSettings`), so that only the judging differs.
c-accept-ruled is the batched one under conduitd's ruleset and with its mark: against c-accept-batch it shows what the
rules around the queue cost, against conduitd what judging costs. It runs when it is asked for by name.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Literal

from bench.interception import BRIDGE, form
from bench.native import program
from bench.rig import GATEWAY, JUDGE_CPU, NORTH_PORT, SOUTH_PORT, Rig
from bench.subjects.policy import policy_yaml
from bench.subjects.subject import Witness
from fastpath.abi import MARK_JUDGED
from gateway.kernel import interception, nft
from gateway.settings import QueueSettings
from rules.compile import compile_text
from rules.static import render

if TYPE_CHECKING:
    from collections.abc import Sequence


class CAccept:
    """The C reference, one verdict each or batched, sleeping or spinning."""

    witness = Witness.QUEUE
    mark = 0

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
        argv = [program("accept"), "--mode", self._mode, "--wait", self._wait, "--mark", self.mark, *limits]
        self._process = rig.start(GATEWAY, [str(word) for word in argv], cpu=JUDGE_CPU)
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != b"ready":
            raise RuntimeError(f"{self.name} did not start")
        self.intercept(rig)

    def intercept(self, rig: Rig) -> None:
        """Send packets to the queue."""
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


class CAcceptRuled(CAccept):
    """The C reference where conduitd's own ruleset stands around the queue."""

    mark = MARK_JUDGED

    def intercept(self, rig: Rig) -> None:
        """Load the ruleset of the bench's policy in enforce, then its queue rule."""
        lowered = compile_text(policy_yaml()).lowered
        rules = render(lowered, form=form(), bridge_ports=[NORTH_PORT, SOUTH_PORT])

        def load() -> None:
            nft.apply(rules)
            interception.install(form(), BRIDGE, 0, 1)

        rig.inside(load)
