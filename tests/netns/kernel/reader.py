"""A reader of one queue: passes every frame on unmarked, as the keeper does while no engine judges.

In: a namespace and a queue number. Out: a context in which the queue is bound and read by the product's own Releaser.
Used by tests that need the queue to be there; a test that judges uses netfilterqueue itself.
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import Self

from fastpath.queue import Releaser, open_queue
from gateway.segments import create_counters
from tests.netns.kernel.wire import inside

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
