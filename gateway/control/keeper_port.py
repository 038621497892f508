"""What the enforcement core asks of the keeper, as one interface.

In: a generation and its two memfds. Out: the engine's own answer, relayed. The product's implementation is
`keeper_link.KeeperLink` over the control channel; tests bring a scripted one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the keeper last said about the engine."""

    state: str = "unknown"  # judging, starting, dead
    pid: int | None = None
    restarts: int = 0


class KeeperPort(Protocol):
    """The keeper, as control knows it."""

    @property
    def engine(self) -> EngineStatus:
        """The engine's last known condition."""

    async def install(self, generation: int, image_fd: int, state_fd: int) -> None:
        """Have the engine take an image; returns when it judges by it. Raises ControlError when it refuses."""
