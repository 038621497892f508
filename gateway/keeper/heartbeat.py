"""Whether the engine's threads still turn, by the heartbeats they write into the counters.

In: the counters segment and the time. Out: the first queue whose heartbeat has stood still for too long. Judges by
change alone, so the clocks need not agree; a pause of the keeper itself (suspended, starved) is not held against the
engine. Pure but for reading shared memory.
"""

from __future__ import annotations

from typing import Final

from fastpath import abi
from gateway.segments import Segment

POLL_SECONDS: Final = 0.1
STALE_SECONDS: Final = 1.0  # workers loop at least every 100 ms
OWN_PAUSE_SECONDS: Final = 0.5


class HeartbeatWatch:
    """The heartbeats of one engine's life; make a new one when the engine is told to go."""

    def __init__(self, counters: Segment, now: float) -> None:
        offset = abi.QUEUE_COUNTERS.offsets["heartbeat_ns"]
        starts = (
            abi.COUNTERS_HEADER_BYTES + index * abi.QUEUE_COUNTERS_STRIDE + offset
            for index in range(counters.header["queue_count"])
        )
        self._beats = [counters.view[start : start + 8].cast("Q") for start in starts]
        self._last = [beat[0] for beat in self._beats]
        self._changed = [now] * len(self._beats)
        self._polled = now

    def stale_queue(self, now: float) -> int | None:
        """Return the index of a queue that stood still for more than a second, else None. Call it every 100 ms."""
        paused = now - self._polled > OWN_PAUSE_SECONDS
        self._polled = now
        for index, beat in enumerate(self._beats):
            value = beat[0]
            if paused or value != self._last[index]:
                self._last[index], self._changed[index] = value, now
            elif now - self._changed[index] > STALE_SECONDS:
                return index
        return None
