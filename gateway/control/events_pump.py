"""The pump: out of the engine's rings, through the renderer, into the event stream.

In: a reader over the events segment. Out: JSON objects, in ring order per queue. Works in bounded batches and yields
between them, so that an event storm never starves the control socket: what the rings cannot hold meanwhile, the engine
counts as lost. Must never stop because of one event it cannot render: that one is counted.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from gateway.control.event_text import EventText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.control.event_stream import EventStream
    from gateway.control.names import NameBook

BATCH_EVENTS: Final = 512
IDLE_S: Final = 0.02  # an event is with its followers within this time
INTERFACE_NAMES_S: Final = 2.0  # how long a renamed interface may be shown under its old name
_log = structlog.get_logger(__name__)


class RingReader(Protocol):
    """The events segment, as its only reader sees it."""

    def read(self, limit: int = ...) -> list[dict[str, Any]]:
        """Take up to `limit` events out of the rings."""

    def lost(self) -> int:
        """Return how many events found their ring full."""


class InterfaceNames:
    """Interface names by ifindex, asked of the kernel at most every two seconds."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._asked = 0.0

    def __call__(self, ifindex: int) -> str | None:
        """Return the name; None for 0 and for an interface that is gone."""
        now = time.monotonic()
        if now - self._asked > INTERFACE_NAMES_S:
            self._asked = now
            self._names = dict(socket.if_nameindex())
        return self._names.get(ifindex)


class EventsPump:
    """The loop."""

    def __init__(self, reader: RingReader, book: NameBook, stream: EventStream) -> None:
        self._reader = reader
        self._book = book
        self._stream = stream
        self._text = EventText(InterfaceNames())
        self._lost_reported = reader.lost()
        self.unrenderable = 0
        self.taps: list[Callable[[Mapping[str, Any], Mapping[str, Any]], None]] = []  # (raw, as rendered)

    async def run(self) -> None:
        """Pump until cancelled."""
        while True:  # noqa: ASYNC110 (the rings have no bell)
            # The rings have no bell: the engine must not pay a wake-up for us.
            await asyncio.sleep(0 if self.turn() else IDLE_S)

    def turn(self) -> int:
        """Move one batch and return its size."""
        batch = self._reader.read(BATCH_EVENTS)
        self._report_lost()
        rendered = [(event, text) for event in batch if (text := self._rendered(event)) is not None]
        self._stream.publish([text for _, text in rendered])
        for tap in self.taps:
            for event, text in rendered:
                tap(event, text)
        return len(batch)

    def _report_lost(self) -> None:
        """Put a hole in the stream into the stream: whoever reads it must know that something is missing."""
        lost = self._reader.lost()
        if lost > self._lost_reported:
            self._stream.control("events.lost", count=lost - self._lost_reported, total=lost)
        self._lost_reported = lost

    def lost(self) -> int:
        """Return the engine's count of events that found their ring full."""
        return self._reader.lost()

    def _rendered(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return self._text.render(event, self._book.of(event["generation"]))
        except (ValueError, KeyError, OverflowError) as error:
            self.unrenderable += 1
            _log.warning("event_unrenderable", error=str(error), sequence=event.get("sequence"))
            return None
