"""Readers of one queue. `Reader` passes every frame on unmarked, as the keeper does while no engine judges; `Judge`
gives each a mark, as the engine does.

In: a namespace and a queue number. Out: the queue is bound, and read by the product's own Releaser, or one frame at a
time through netfilterqueue when the test says so.
"""

from __future__ import annotations

import mmap
import os
import select
import threading
from typing import TYPE_CHECKING, Self

from netfilterqueue import NetfilterQueue

from fastpath.abi import MARK_JUDGED
from fastpath.queue import Releaser, open_queue
from gateway.segments import create_counters
from tests.netns.kernel.wire import DEADLINE_SECONDS, QUEUE, inside

if TYPE_CHECKING:
    from netfilterqueue import Packet

    from tests.netns.kernel.wire import Wire

MAX_LENGTH = 4096
COPY_BYTES = 128
RECEIVE_BYTES = 8 << 20


class Reader:
    """The queue, bound and read between enter and exit."""

    def __init__(self, namespace: str, number: int) -> None:
        self._namespace, self._number = namespace, number

    def __enter__(self) -> Self:
        descriptor = create_counters([self._number])
        self._counters = mmap.mmap(descriptor, 0)
        os.close(descriptor)
        with inside(self._namespace):
            self._queue = open_queue(self._number, MAX_LENGTH, COPY_BYTES, RECEIVE_BYTES)
        self._releaser = Releaser(self._queue.fd, self._counters, 0)
        self._thread = threading.Thread(target=self._releaser.run, name="reader")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._releaser.stop()
        self._thread.join()
        self._queue.close()


class Judge:
    """A reader that gives each frame a mark and lets it go on; it judges when it is told to."""

    def __init__(self, wire: Wire) -> None:
        self.mark = MARK_JUDGED
        with inside(wire.gateway):
            self._queue = NetfilterQueue()
            self._queue.bind(QUEUE, self._judge)

    def _judge(self, packet: Packet) -> None:
        if self.mark:
            packet.set_mark(self.mark)
        packet.accept()

    def one(self) -> None:
        """Judge what waits, which is at least one frame."""
        assert select.select([self._queue.get_fd()], [], [], DEADLINE_SECONDS)[0], "the frame did not reach the queue"
        self._queue.run(block=False)

    def close(self) -> None:
        """Leave the queue; nobody has bound it then."""
        self._queue.unbind()
