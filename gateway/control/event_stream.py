"""Events on their way out: the newest in memory, the file, and whoever follows on the control socket.

In: JSON objects, from the rings (through the pump) and from control itself (`control` events). Out: one line each to
every taker. A subscriber that does not keep up gets one notice and is dropped; the engine's pace is nobody's problem.
Must never await a taker. Runs in the event loop's thread only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from gateway.control.event_text import timestamp
from gateway.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLLOWERS_MAX: Final = 64  # each may hold thousands of lines
RECENT_KEPT: Final = 4096
LINES_WAITING: Final = 8192  # per subscriber


class EventSink(Protocol):
    """Where complete lines go besides the subscribers."""

    written: int
    lost: int
    error: str

    def put(self, lines: bytes, count: int) -> None:
        """Take complete lines; never blocks."""

    def close(self) -> None:
        """Write what is waiting and stop."""


class Subscriber:
    """One follower: a bounded queue of lines. `None` ends it."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue(LINES_WAITING + 2)
        self.ended = False

    def offer(self, line: bytes) -> bool:
        """Queue a line; False when the subscriber was too slow and has been told so."""
        if self.lines.qsize() < LINES_WAITING:
            self.lines.put_nowait(line)
            return True
        notice = {"timestamp": timestamp(time.time_ns()), "event_type": "control", "action": "events.dropped_follower"}
        self.lines.put_nowait(orjson.dumps(notice | {"detail": "this follower did not keep up"}) + b"\n")
        self.end()
        return False

    def end(self) -> None:
        """Let the follower finish what is queued, then stop."""
        if not self.ended:
            self.ended = True
            self.lines.put_nowait(None)


class EventStream:
    """The fan-out."""

    def __init__(self, sink: EventSink) -> None:
        self.sink = sink
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT_KEPT)
        self._subscribers: set[Subscriber] = set()
        self.published = 0
        self.followers_dropped = 0

    def publish(self, events: Iterable[dict[str, Any]]) -> None:
        """Send events to every taker."""
        lines = []
        for event in events:
            self._recent.append(event)
            lines.append(orjson.dumps(event) + b"\n")
        if not lines:
            return
        self.published += len(lines)
        self.sink.put(b"".join(lines), len(lines))
        for subscriber in tuple(self._subscribers):
            if not all(subscriber.offer(line) for line in lines):
                self._subscribers.discard(subscriber)
                self.followers_dropped += 1

    def control(self, action: str, **fields: Any) -> None:
        """Publish an event of the control plane itself."""
        self.publish([{"timestamp": timestamp(time.time_ns()), "event_type": "control", "action": action} | fields])

    def recent(self) -> list[dict[str, Any]]:
        """Return the newest events, oldest first."""
        return list(self._recent)

    def subscribe(self) -> Subscriber:
        """Begin to follow. Raises ControlError when too many do."""
        if len(self._subscribers) >= FOLLOWERS_MAX:
            raise ControlError("busy", f"{FOLLOWERS_MAX} followers are connected already", "end one of them first")
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Stop following."""
        self._subscribers.discard(subscriber)

    @property
    def followers(self) -> int:
        """How many follow now."""
        return len(self._subscribers)

    def close(self) -> None:
        """End every follower."""
        for subscriber in tuple(self._subscribers):
            subscriber.end()
        self._subscribers.clear()
