"""The two clocks that the keeper of windows compares: what time it is, and how much time has gone by.

Out: instants and seconds. Tests bring a clock of their own; the machine's is never set.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def wall(self) -> datetime:
        """Return what the wall clock shows, in UTC; somebody may set it at any moment."""

    def monotonic(self) -> float:
        """Return seconds that nobody sets."""


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> datetime:
        """CLOCK_REALTIME."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()
