"""Tells at once when somebody deletes an nft table or chain, ours or another's, as `nft flush ruleset` does to all.

In: the kernel's nf_tables notifications. Out: a socket to wait on, and whether what came was a deletion. Hearing is not
knowing: the listener then looks whether the boundary still stands. Lost notifications are harmless for the same reason.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

NETLINK_NETFILTER: Final = 12  # linux/netlink.h
NFNLGRP_NFTABLES: Final = 7  # linux/netfilter/nfnetlink.h
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
# Subsystem 10 (nf_tables): table, chain. Not rules: our own stage changes replace those, and would ring each time.
DELETED: Final = frozenset({0x0A02, 0x0A05})
MESSAGE_BYTES: Final = 65536
DRAIN_LIMIT: Final = 1000  # messages per look: the rest rings again


def open_monitor() -> socket.socket:
    """Return a non-blocking socket that hears of every change to the rulesets of this network namespace."""
    monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        monitor.setblocking(False)
        monitor.bind((0, 0))
        monitor.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    except OSError:
        monitor.close()
        raise
    return monitor


def heard_deletion(monitor: socket.socket) -> bool:
    """Read what has come; say whether a deletion was among it, or may have been (notifications were lost)."""
    heard = False
    for _ in range(DRAIN_LIMIT):
        try:
            message = monitor.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return heard
        except OSError:  # ENOBUFS: the kernel could not keep up telling us
            heard = True
            continue
        heard = heard or any(kind in DELETED for kind in _kinds(message))
    return True


def _kinds(message: bytes) -> list[int]:
    """Return the types of the netlink messages in a datagram."""
    kinds, at = [], 0
    while at + 16 <= len(message):
        length, kind = struct.unpack_from("=IH", message, at)
        if length < 16:
            break
        kinds.append(kind)
        at += (length + 3) & ~3
    return kinds
