"""The bridge's table of addresses over rtnetlink, many entries at once: who is bound to which port.

In: MAC addresses and ifindexes of ports. Out: the sticky entries that are there, and changes of them, each
acknowledged; KernelError names the first one that the kernel refused. A site may have 100,000 devices: a library's
message and object for each would take minutes. Layouts: linux/rtnetlink.h, linux/neighbour.h.
Must never touch an entry that is not sticky, except to make it so. Called by `bridge` only.
"""

from __future__ import annotations

import os
import socket
import struct
from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDA_LLADDR: Final = 2
NUD_NOARP, NTF_MASTER, NTF_STICKY = 0x40, 0x04, 0x40  # does not age; the bridge's own; does not move
HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, ifindex, state, flags, type
LLADDR: Final = struct.Struct("=HH6sxx")
BATCH: Final = 64  # messages per system call: their acknowledgements must fit into the socket's buffer together
RECEIVE_BYTES: Final = 1 << 16
TIMEOUT_SECONDS: Final = 5.0

Entry = tuple[bytes, int]  # MAC, ifindex


def sticky(ports: AbstractSet[int]) -> set[Entry]:
    """Return the sticky entries of these ports."""
    found: set[Entry] = set()
    with _socket() as netlink:
        netlink.send(_message(RTM_GETNEIGH, NLM_F_DUMP, 1, NEIGHBOUR.pack(socket.AF_BRIDGE, 0, 0, 0, 0)))
        for kind, _, body in _answers(netlink):
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                _raise_refusal("the bridge's addresses", body)
            _, ifindex, state, flags, _ = NEIGHBOUR.unpack_from(body)
            if flags & NTF_STICKY and state & NUD_NOARP and ifindex in ports:
                found.add((_address(body), ifindex))
    raise KernelError("LINK_UNREADABLE", "the list of the bridge's addresses has no end")


def stick(entries: Iterable[Entry]) -> None:
    """Bind addresses to ports; one that is bound elsewhere moves."""
    _change("pin", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entries, NTF_MASTER | NTF_STICKY)


def forget(entries: Iterable[Entry]) -> None:
    """Remove entries that are there."""
    _change("unpin", RTM_DELNEIGH, 0, entries, NTF_MASTER)


def _change(what: str, kind: int, how: int, entries: Iterable[Entry], flags: int) -> None:
    left = iter(entries)
    with _socket() as netlink:
        while batch := list(islice(left, BATCH)):
            messages = []
            for sequence, (mac, ifindex) in enumerate(batch):
                body = NEIGHBOUR.pack(socket.AF_BRIDGE, ifindex, NUD_NOARP, flags, 0)
                body += LLADDR.pack(LLADDR.size - 2, NDA_LLADDR, mac)
                messages.append(_message(kind, how | NLM_F_ACK, sequence, body))
            netlink.send(b"".join(messages))
            answers = _answers(netlink)
            for _ in batch:
                answer, sequence, body = next(answers)
                if answer == NLMSG_ERROR:
                    _raise_refusal(f"{what} {batch[sequence][0].hex(':')}", body)


def _socket() -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    netlink.settimeout(TIMEOUT_SECONDS)
    netlink.bind((0, 0))
    return netlink


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, sequence, 0) + body


def _answers(netlink: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, sequence, body) of messages for as long as there are any."""
    while True:
        try:
            data = netlink.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise KernelError("NETLINK_TIMEOUT", f"rtnetlink did not answer within {TIMEOUT_SECONDS} s") from error
        except OSError as error:
            raise KernelError("LINK_UNREADABLE", f"rtnetlink: {error.strerror}") from error
        at = 0
        while at + HEADER.size <= len(data):
            length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
            yield kind, sequence, data[at + HEADER.size : at + length]
            at += length + 3 & ~3


def _address(body: bytes) -> bytes:
    at = NEIGHBOUR.size
    while at + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        if kind == NDA_LLADDR:
            return body[at + 4 : at + length]
        if length < 4:
            break
        at += length + 3 & ~3
    return b""


def _raise_refusal(what: str, body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    if code:
        raise KernelError("LINK_REFUSED", f"{what}: {os.strerror(code)}")
