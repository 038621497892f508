"""What the keeper owns from start to stop: four segments, the queue sockets, and a socket to answer by.

In: settings. Out: descriptors that outlive every child. Everything that can fail fails here, at the start, with a
message an operator can act on. The sockets are closed last of all: until then no frame waits in vain.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.errors import KernelError
from gateway.keeper import ledger
from gateway.segments import Segment, SegmentKind, attach, create_counters, create_events, create_flows, create_streams
from gateway.settings import QueueSettings


class QueueSocket(Protocol):
    """What the keeper asks of `fastpath.queue.QueueSocket`."""

    @property
    def fd(self) -> int:
        """The netlink socket, bound to its queue."""

    def close(self) -> None:
        """Unbind and close; harmless the second time."""


OpenQueue = Callable[[int, int, int, int], QueueSocket]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Segments by descriptor, the keeper's own view of the counters, and one socket per queue."""

    queue_numbers: tuple[int, ...]
    counters_fd: int
    events_fd: int
    flows_fd: int
    streams_fd: int
    counters: Segment
    sockets: tuple[QueueSocket, ...]
    answers: socket.socket
    carried: bool  # the counters go on from the last run's

    def close_queues(self) -> None:
        """Close the sockets: frames go to `static` by the rule's bypass from there on. Harmless the second time."""
        _close_all(self.sockets)

    def close(self) -> None:
        """Close everything, the sockets first."""
        self.close_queues()
        self.answers.close()
        for fd in (self.counters_fd, self.events_fd, self.flows_fd, self.streams_fd):
            os.close(fd)


def _open_sockets(settings: QueueSettings, open_queue: OpenQueue) -> tuple[QueueSocket, ...]:
    opened: list[QueueSocket] = []
    for number in settings.numbers:
        try:
            opened.append(open_queue(number, settings.max_length, settings.copy_bytes, settings.receive_buffer_bytes))
        except OSError as error:
            _close_all(opened)
            hint = "start as root, and see /proc/net/netfilter/nfnetlink_queue for another program on this queue"
            raise KernelError("queue_refused", f"queue {number} cannot be opened: {error}", hint) from error
    return tuple(opened)


def _close_all(sockets: Iterable[QueueSocket]) -> None:
    for queue in sockets:
        queue.close()


def _open_answers() -> socket.socket:
    """Open the socket by which the engine answers what it drops (`refuse: reset`), since it may not open one itself.

    Protocol 0: it sends whole frames to a port and receives none.
    """
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError as error:
        hint = "start as root, with CAP_NET_RAW in the unit's CapabilityBoundingSet"
        raise KernelError("answers_refused", f"no packet socket to answer by: {error.strerror}", hint) from error


def open_holdings(settings: QueueSettings, open_queue: OpenQueue, run_dir: Path) -> Holdings:
    """Create the segments, with the last run's counters if it left them, and open the queues. Raises KernelError."""
    sockets = _open_sockets(settings, open_queue)
    try:
        answers = _open_answers()
    except KernelError:
        _close_all(sockets)
        raise
    fds: list[int] = []
    try:
        fds.append(create_counters(settings.numbers))
        fds.append(create_events(len(settings.numbers)))
        fds.append(create_flows(len(settings.numbers), settings.flows))
        fds.append(create_streams(len(settings.numbers)))
        counters = attach(SegmentKind.COUNTERS, fds[0], writable=True)
    except OSError as error:
        for fd in fds:
            os.close(fd)
        answers.close()
        _close_all(sockets)
        raise KernelError("segments_refused", f"no shared memory: {error.strerror}", "free some memory") from error
    carried = ledger.take(run_dir, counters.view, settings.numbers)
    return Holdings(settings.numbers, fds[0], fds[1], fds[2], fds[3], counters, sockets, answers, carried)
