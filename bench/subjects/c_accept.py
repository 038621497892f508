"""c-accept and c-accept-batch: bench/native/accept.c, which accepts everything. The floor of every NFQUEUE system.

The queue is set as conduitd sets its own (`gateway.settings.QueueSettings`), so that only the judging differs.
c-accept-ruled is the batched one under conduitd's ruleset and with its mark: against c-accept-batch it shows what the
rules around the queue cost, against conduitd what judging costs. It runs when it is asked for by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bench.interception import BRIDGE, form
from bench.native import program
from bench.rig import GATEWAY, JUDGE_CPU, NORTH_PORT, SOUTH_PORT
from bench.subjects.one_process import OneProcess
from bench.subjects.policy import policy_yaml
from fastpath.abi import MARK_JUDGED
from gateway.kernel import interception, nft
from gateway.settings import QueueSettings
from rules.compile import compile_text
from rules.static import render

if TYPE_CHECKING:
    import subprocess

    from bench.rig import Rig


class CAccept(OneProcess):
    """The C reference, one verdict each or batched, sleeping or spinning."""

    mark = 0

    def __init__(self, name: str, mode: Literal["single", "batch"], wait: Literal["block", "spin"] = "block") -> None:
        super().__init__(name)
        self._mode, self._wait = mode, wait

    def available(self) -> str | None:
        """It needs nothing but a compiler."""
        return None

    def launch(self, rig: Rig) -> subprocess.Popen[bytes]:
        """Start it with conduitd's settings of the queue."""
        queue = QueueSettings()
        limits = ["--copy", queue.copy_bytes, "--length", queue.max_length, "--buffer", queue.receive_buffer_bytes]
        argv = [program("accept"), "--mode", self._mode, "--wait", self._wait, "--mark", self.mark, *limits]
        return rig.start(GATEWAY, [str(word) for word in argv], cpu=JUDGE_CPU)


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
