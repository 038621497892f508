"""Releasing frames to `static` while no engine judges: one thread per queue, without the GIL.

In: the queue sockets and the counters. Out: frames handed on unjudged, at once, and counted. A thread first settles
what a dead engine left pending. ORDER: a queue has one reader at a time; the engine is dead before `start` and not yet
told to go after `stop`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from gateway.errors import InternalError
from gateway.keeper.holdings import Holdings
from gateway.waking import wake

STOP_SECONDS: Final = 1.0  # a releaser loops at least every 100 ms
RETRY_SECONDS: Final = 0.05
_log = structlog.get_logger(__name__)


class Releaser(Protocol):
    """What the keeper asks of `fastpath.queue.Releaser`."""

    def run(self) -> None:
        """Release until stopped, without the GIL."""

    def stop(self) -> None:
        """Make `run` return soon."""


MakeReleaser = Callable[[int, memoryview, int], Releaser]


class Releasing:
    """All queues' releasers, on or off together."""

    def __init__(self, holdings: Holdings, make_releaser: MakeReleaser) -> None:
        self._holdings = holdings
        self._make_releaser = make_releaser
        self._stopping = threading.Event()
        self._running: list[tuple[Releaser, threading.Thread]] = []

    @property
    def running(self) -> bool:
        """Whether frames are being released."""
        return bool(self._running)

    def start(self) -> None:
        """Take the queues over; harmless when that is so already."""
        if self._running:
            return
        self._stopping.clear()
        for index, socket in enumerate(self._holdings.sockets):
            releaser = self._make_releaser(socket.fd, self._holdings.counters.view, index)
            thread = threading.Thread(target=self._run, args=(index, releaser), name=f"release-{index}", daemon=True)
            self._running.append((releaser, thread))
            thread.start()

    def _run(self, index: int, releaser: Releaser) -> None:
        """Keep the releaser going whatever happens: nobody else reads this queue now."""
        while not self._stopping.is_set():
            try:
                releaser.run()
            except (OSError, ValueError, RuntimeError) as error:
                _log.error("releaser_failed", queue=index, error=str(error))
            self._stopping.wait(RETRY_SECONDS)

    def stop(self) -> None:
        """Let go of the queues; returns when no thread reads them any more. Raises InternalError when one does."""
        self._stopping.set()
        for (releaser, _), held in zip(self._running, self._holdings.sockets, strict=True):
            releaser.stop()
            wake(held.fd)  # one that sleeps would keep the others' frames waiting for the next reader
        for _, thread in self._running:
            _join(thread)
        self._running = []


def _join(thread: threading.Thread) -> None:
    thread.join(STOP_SECONDS)
    if thread.is_alive():
        raise InternalError("releaser_stuck", f"{thread.name} does not stop", "restart conduitd")
