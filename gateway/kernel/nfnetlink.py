"""Speaks to nf_tables without nft: one transaction, or one dump, over a socket of its own.

In: messages as bytes, made with the spellers below. Out: nothing (the transaction is in force) or the answers' bodies;
OSError with the kernel's reason, KernelError when it is silent. Layouts: linux/netfilter/nfnetlink.h, nf_tables.h.
For what nft's text cannot say, and for what must not wait for a process to start. Called by `netlink_rule` and `lane`.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NETLINK_NETFILTER: Final = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CREATE, NLM_F_APPEND = 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
BATCH_BEGIN, BATCH_END = 16, 17
NFNL_SUBSYS_NFTABLES: Final = 10
NLA_F_NESTED: Final = 0x8000
NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 1, 2
RECEIVE_BYTES: Final = 1 << 16
TIMEOUT_SECONDS: Final = 5.0


class Request(NamedTuple):
    """One message of a transaction: NFT_MSG_*, the family that owns the table, attributes, further flags."""

    message: int
    family: int
    body: bytes
    flags: int = 0


def transaction(netlink: socket.socket, requests: Sequence[Request]) -> None:
    """Put all of it in force at one instant, or none; return after the kernel has said that it is.

    After an error the socket is of no more use: answers may still lie in it.
    """
    batch = [_message(BATCH_BEGIN, NLM_F_REQUEST, 1, socket.AF_UNSPEC)]
    awaited = set()
    for sequence, request in enumerate(requests, start=2):
        flags = NLM_F_REQUEST | NLM_F_ACK | request.flags
        batch.append(_message(_kind(request.message), flags, sequence, request.family, request.body))
        awaited.add(sequence)
    batch.append(_message(BATCH_END, NLM_F_REQUEST, len(requests) + 2, socket.AF_UNSPEC))
    netlink.send(b"".join(batch))
    while awaited:
        for kind, sequence, body in _receive(netlink):
            if kind == NLMSG_ERROR:
                _raise_refusal(body)
                awaited.discard(sequence)


def dump(netlink: socket.socket, message: int, family: int, body: bytes) -> list[dict[int, bytes]]:
    """Return the attributes of each answer to a question about everything of a kind; errors as in `transaction`."""
    found: list[dict[int, bytes]] = []
    netlink.send(_message(_kind(message), NLM_F_REQUEST | NLM_F_DUMP, 1, family, body))
    while True:
        for kind, _, answer in _receive(netlink):
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                _raise_refusal(answer)
                continue
            found.append(dict(attributes(answer[4:])))


def ask(netlink: socket.socket, message: int, family: int, body: bytes) -> dict[int, bytes]:
    """Return the attributes of the one answer to a question about one thing; errors as in `transaction`."""
    netlink.send(_message(_kind(message), NLM_F_REQUEST, 1, family, body))
    for kind, _, answer in _receive(netlink):
        if kind == NLMSG_ERROR:
            _raise_refusal(answer)
            continue
        return dict(attributes(answer[4:]))
    raise KernelError("NETLINK_SILENT", "nfnetlink gave no answer")


def text(value: str) -> bytes:
    """Spell a name."""
    return value.encode() + b"\0"


def be32(value: int) -> bytes:
    """Spell a number as nf_tables wants its own."""
    return struct.pack(">I", value)


def attribute(kind: int, value: bytes) -> bytes:
    """Spell an attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """Spell an attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def expression(name: str, body: bytes) -> bytes:
    """Spell an expression as an element of a list."""
    return nested(NFTA_LIST_ELEM, attribute(NFTA_EXPR_NAME, text(name)), nested(NFTA_EXPR_DATA, body))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, value) of consecutive attributes; ends where they make no sense any more."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + (-length % 4)


def _raise_refusal(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    if code:
        raise OSError(code, os.strerror(code))


def _kind(message: int) -> int:
    return NFNL_SUBSYS_NFTABLES << 8 | message


def _message(kind: int, flags: int, sequence: int, family: int, body: bytes = b"") -> bytes:
    # nfgenmsg.res_id names the subsystem in the messages around a batch and is 0 in all others.
    resource = NFNL_SUBSYS_NFTABLES if kind in {BATCH_BEGIN, BATCH_END} else 0
    header = struct.pack("=IHHIIBBH", 20 + len(body), kind, flags, sequence, 0, family, 0, socket.htons(resource))
    return header + body


def open_socket() -> socket.socket:
    """Return a socket to nf_tables of the network namespace that this thread is in.

    Closing it soon after a transaction waits until no processor looks at what was replaced any more, some 15 ms.
    """
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    netlink.settimeout(TIMEOUT_SECONDS)
    netlink.bind((0, 0))
    return netlink


def _receive(netlink: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, sequence, body) of the messages in one datagram."""
    try:
        data = netlink.recv(RECEIVE_BYTES)
    except TimeoutError as error:
        raise KernelError("NETLINK_TIMEOUT", f"nfnetlink did not answer within {TIMEOUT_SECONDS} s") from error
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, at)
        yield kind, sequence, data[at + 16 : at + length]
        at += (length + 3) & ~3
