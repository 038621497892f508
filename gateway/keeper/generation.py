"""A generation as the keeper holds it: its number and two descriptors, and a proposal to put one in force.

The keeper never looks into an image; it keeps the descriptors so that an engine or a control plane started anew gets
exactly what is in force. Owns the descriptors until `close`.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Generation:
    """An image and its state as descriptors."""

    number: int
    image_fd: int
    state_fd: int

    def same_memory(self, other: Generation) -> bool:
        """Return whether both are the very same two segments, by descriptors of their own."""
        pairs = ((self.image_fd, other.image_fd), (self.state_fd, other.state_fd))
        return all(os.path.sameopenfile(ours, theirs) for ours, theirs in pairs)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self.image_fd)
        os.close(self.state_fd)


def _future() -> asyncio.Future[str | None]:
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A generation that control wants in force; `answer` becomes None when it is, else the reason why not."""

    generation: Generation
    answer: asyncio.Future[str | None] = field(default_factory=_future)

    def accept(self) -> None:
        """Answer that it is in force; the descriptors are now kept as such."""
        if not self.answer.done():
            self.answer.set_result(None)

    def refuse(self, error: str) -> None:
        """Answer why it is not in force, and give its descriptors back."""
        self.generation.close()
        if not self.answer.done():
            self.answer.set_result(error)
