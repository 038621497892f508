"""When the kernel's fast-lane generation changed, told by the kernel: nf_tables' own notifications, with the time.

In: a network namespace by name. Out: CLOCK_REALTIME ns of every change of the map `lane_generation` in it, stamped when
the notification is read: some microseconds after the change on an idle processor, never before it. Used by `revoke`.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from typing import Final, Self

from rules.static_lane import GENERATION_MAP

CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
NETLINK_NETFILTER: Final = 12  # linux/netlink.h, as the two below
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NFNLGRP_NFTABLES: Final = 7  # linux/netfilter/nfnetlink.h
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h
RECEIVE_BUFFER_BYTES: Final = 32 << 20  # one policy is thousands of notifications
DATAGRAM_BYTES: Final = 1 << 17
LOOK_EVERY_S: Final = 0.1


class GenerationWatch:
    """A thread that lives in the namespace and listens."""

    def __init__(self, namespace: str) -> None:
        self.changes_ns: list[int] = []
        self._namespace = f"/run/netns/{namespace}"
        self._name = GENERATION_MAP.encode() + b"\0"
        self._listening = threading.Event()
        self._stopping = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="generation watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def first_after(self, moment_ns: int) -> int | None:
        """Return when the generation first changed after a moment."""
        return next((change for change in self.changes_ns if change > moment_ns), None)

    def _run(self) -> None:
        try:
            with self._open() as netlink:
                self._listening.set()
                self._listen(netlink)
        except OSError as error:
            self._error = error
        finally:
            self._listening.set()

    def _open(self) -> socket.socket:
        """Enter the namespace for good: it is this thread's, and the thread is ours."""
        place = os.open(self._namespace, os.O_RDONLY | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        entered = libc.setns(place, CLONE_NEWNET)
        os.close(place)
        if entered != 0:
            raise OSError(ctypes.get_errno(), f"setns {self._namespace}")
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        netlink.bind((0, 0))
        netlink.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        netlink.settimeout(LOOK_EVERY_S)
        return netlink

    def _listen(self, netlink: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                told = netlink.recv(DATAGRAM_BYTES)
            except TimeoutError:
                continue
            if self._name in told:
                self.changes_ns.append(time.time_ns())
