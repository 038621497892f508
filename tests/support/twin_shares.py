"""The slow twin of semantics.md, "Shares": who gets one more stream, or one more large window.

In: conversations, who opens them, what they take and give back. Out: the reason that the page gives. Everything is
counted anew each time. Written from that page alone. Must never be made fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fastpath.abi import Reason

OPENER_TIMES = 3
CROWD_TIMES = 15


class Opener(NamedTuple):
    """Who opens a conversation; `zone` is that of an address that is no asset's."""

    address: int
    zone: int | None


@dataclass
class SharesTwin:
    """What one queue has."""

    streams: int
    windows: int
    open: dict[int, Opener] = field(default_factory=dict)  # by conversation
    wide: set[int] = field(default_factory=set)  # conversations that hold a large window

    def take_stream(self, number: int, opener: Opener) -> Reason:
        """Begin a conversation."""
        reason = self._reason(opener, self.streams, list(self.open.values()))
        if reason is Reason.NONE:
            self.open[number] = opener
        return reason

    def take_window(self, number: int) -> Reason:
        """Hold more than a stream does."""
        reason = self._reason(self.open[number], self.windows, [self.open[other] for other in self.wide])
        if reason is Reason.NONE:
            self.wide.add(number)
        return reason

    def end(self, number: int) -> None:
        """End a conversation, with all that it holds."""
        del self.open[number]
        self.wide.discard(number)

    def _reason(self, opener: Opener, count: int, held: list[Opener]) -> Reason:
        left = count - len(held)
        if left == 0:
            return Reason.STREAM_BUDGET
        own = sum(other.address == opener.address for other in held)
        crowd = sum(other.zone == opener.zone for other in held) if opener.zone is not None else 0
        refused = own >= OPENER_TIMES * left or crowd >= CROWD_TIMES * left
        return Reason.STREAM_SHARE if refused else Reason.NONE
