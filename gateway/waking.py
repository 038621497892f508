"""Waking whoever sleeps on a queue's socket, so that it looks up at once and not when its receive times out.

In: the descriptor of a queue's netlink socket. Out: one empty message (NLMSG_NOOP) in that socket's own receive buffer,
which every reader of ours passes over. Needs CAP_NET_ADMIN, as the verdicts do. Must never wait: a socket whose buffer
is full has a reader that is awake. Called by keeper and engine when they stop a reader or give it something new.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Final

# SPEC: linux/netlink.h nlmsghdr: length, type NLMSG_NOOP, flags, sequence number, port.
_NOOP: Final = struct.pack("=IHHII", 16, 1, 0, 0, 0)


def wake(fd: int) -> None:
    """Have the reader of this socket return from its sleep; harmless when nobody sleeps."""
    with socket.socket(fileno=os.dup(fd)) as queue, contextlib.suppress(OSError):
        queue.sendto(_NOOP, socket.MSG_DONTWAIT, (queue.getsockname()[0], 0))
