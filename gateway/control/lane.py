"""The fast lane's generation: whatever changes what is in force has every flow judged again from its next packet.

In: the state in force, the kernel. Out: the generation's mark in the state, which the engine gives to flows that may
stay in the kernel, and in the kernel, which lets flows of this mark pass. ORDER: the change itself, then the state,
then the kernel, so that no frame judged by what was before carries a mark that still counts. On any error the lane is
closed; should even that fail, flows that are in it end within `LANE_SECONDS`. Called under the core's lock, in the
event loop: it blocks for a tenth of a millisecond, and a hop to another thread would cost more than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from fastpath.abi import LANE_GENERATIONS, MARK_LANE
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.control.kernel_port import KernelPort
    from gateway.control.state_map import StateMap

TROUBLE: Final = "lane"
_log = structlog.get_logger(__name__)


class FastLane:
    """The lane of one control plane. Until `govern` is called there is none."""

    def __init__(self, kernel: KernelPort, trouble: dict[str, str]) -> None:
        self._kernel = kernel
        self._trouble = trouble
        self._state: StateMap | None = None
        self._generation = 0  # the newest that this process used
        self._afresh = True  # flows of unknown generations may lie in the kernel

    def govern(self, state: StateMap) -> None:
        """Take a state that is in force now in place of the one before, and open the lane; raises as `judge_again`."""
        if self._state is not None:
            self._state.changed = None
        self._state = state
        state.changed = self.judge_again
        self.judge_again()

    def judge_again(self) -> None:
        """Have every flow judged again.

        Raises KernelError only when flows of before may still pass unjudged: then nobody may be told that a change is
        in force.
        """
        state = self._state
        if state is None:
            return
        if not self._kernel.lane_wanted():
            state.lane_mark = 0
            return
        try:
            mark = self._next(state)
            state.lane_mark = mark
            self._kernel.lane_open(mark, state.ports(), afresh=self._afresh)
        except (GatewayError, OSError) as error:
            _log.error("lane_closed", error=str(error))
            self._trouble[TROUBLE] = f"closed, every frame is judged: {error}"
            self.shut()
        else:
            self._afresh = False
            self._trouble.pop(TROUBLE, None)

    def shut(self) -> None:
        """Close the lane until the next change opens it. Raises KernelError when flows may still pass."""
        if self._state is None or not self._kernel.lane_wanted():
            return
        self._state.lane_mark = 0
        self._afresh = True
        try:
            self._kernel.lane_close()
        except (GatewayError, OSError) as error:
            self._trouble[TROUBLE] = f"could not be closed, its flows pass unjudged for half a minute: {error}"
            _log.error("lane_not_closed", error=str(error))
            raise

    def _next(self, state: StateMap) -> int:
        """Return the mark of the next generation; behind the last one, flows of the first ones are forgotten."""
        if not self._generation:
            self._generation = max(self._kernel.lane_mark(), state.lane_mark) & LANE_GENERATIONS
        self._generation += 1
        if self._generation > LANE_GENERATIONS:
            self._generation, self._afresh = 1, True
        return MARK_LANE | self._generation
