"""The one rule that nft's text cannot say: `iifname BRIDGE`, then the x_tables target NFQUEUE with bypass.

In: family, table, chain, bridge and queue range. Out: that rule as the chain's only one, put there in one transaction,
and its read-back from the kernel. Message layouts: linux/netfilter/nf_tables.h and nf_tables_compat.h.
Must never touch a chain that is not named in the call. Called by `interception` and `probe` only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_NETFILTER: Final = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CREATE, NLM_F_APPEND = 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
BATCH_BEGIN, BATCH_END = 16, 17
NFNL_SUBSYS_NFTABLES: Final = 10
NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_DELRULE = 6, 7, 8
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 1, 2
NLA_F_NESTED: Final = 0x8000
NFT_META_IIFNAME, NFT_REG_1, NFT_CMP_EQ = 6, 1, 0
IFNAMSIZ: Final = 16
NFQUEUE_REVISION: Final = 3
NF_ACCEPT_BYPASS: Final = 1  # NFQ_FLAG_BYPASS
RECEIVE_BYTES: Final = 1 << 16
TIMEOUT_SECONDS: Final = 5.0
FAMILIES: Final = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}


def replace(family: str, table: str, chain: str, *, bridge: str, first_queue: int, queue_count: int) -> None:
    """Make the queue rule the only rule of the chain, in one transaction."""
    place = _attribute(NFTA_RULE_TABLE, _text(table)) + _attribute(NFTA_RULE_CHAIN, _text(chain))
    rule = place + _attribute(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED, expressions(bridge, first_queue, queue_count))
    number = FAMILIES[family]
    messages = (
        _message(BATCH_BEGIN, NLM_F_REQUEST, 1, socket.AF_UNSPEC),
        _message(_kind(NFT_MSG_DELRULE), NLM_F_REQUEST | NLM_F_ACK, 2, number, place),
        _message(_kind(NFT_MSG_NEWRULE), NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND, 3, number, rule),
        _message(BATCH_END, NLM_F_REQUEST, 4, socket.AF_UNSPEC),
    )
    with _socket() as netlink:
        netlink.send(b"".join(messages))
        awaited = {2, 3}
        while awaited:
            for kind, sequence, body in _receive(netlink):
                if kind != NLMSG_ERROR:
                    continue
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise KernelError(
                        "QUEUE_RULE_REFUSED",
                        f"{family} {table} {chain}: the kernel refused the NFQUEUE rule: {os.strerror(code)}",
                        "this kernel lacks the x_tables target NFQUEUE" if code == errno.ENOENT else "",
                    )
                awaited.discard(sequence)


def rules(family: str, table: str, chain: str) -> list[bytes]:
    """Return the expressions of each rule in the chain, as the kernel holds them."""
    place = _attribute(NFTA_RULE_TABLE, _text(table)) + _attribute(NFTA_RULE_CHAIN, _text(chain))
    request = _message(_kind(NFT_MSG_GETRULE), NLM_F_REQUEST | NLM_F_DUMP, 1, FAMILIES[family], place)
    found: list[bytes] = []
    with _socket() as netlink:
        netlink.send(request)
        while True:
            for kind, _, body in _receive(netlink):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise KernelError("QUEUE_RULE_UNREADABLE", f"{family} {table} {chain}: {os.strerror(code)}")
                attributes = dict(_attributes(body[4:]))
                # Kernels that do not filter a dump by chain send the rules of all of them.
                named = attributes.get(NFTA_RULE_TABLE), attributes.get(NFTA_RULE_CHAIN)
                if named == (_text(table), _text(chain)):
                    found.append(attributes.get(NFTA_RULE_EXPRESSIONS, b""))


def expressions(bridge: str, first_queue: int, queue_count: int) -> bytes:
    """Return `meta iifname == bridge; target NFQUEUE` as the kernel spells it."""
    meta = _attribute(1, _be32(NFT_REG_1)) + _attribute(2, _be32(NFT_META_IIFNAME))
    name = _attribute(1, bridge.encode().ljust(IFNAMSIZ, b"\0"))
    compare = _attribute(1, _be32(NFT_REG_1)) + _attribute(2, _be32(NFT_CMP_EQ)) + _attribute(3 | NLA_F_NESTED, name)
    # struct xt_NFQ_info_v3: first queue, number of queues, flags; padded to 8 bytes as x_tables sizes are.
    info = struct.pack("=HHHxx", first_queue, queue_count, NF_ACCEPT_BYPASS)
    target = _attribute(1, _text("NFQUEUE")) + _attribute(2, _be32(NFQUEUE_REVISION)) + _attribute(3, info)
    return b"".join(_expression(name, body) for name, body in (("meta", meta), ("cmp", compare), ("target", target)))


def same(kernel: bytes, wanted: bytes) -> bool:
    """Compare two expression lists by content: order and flags of attributes are the kernel's own affair."""
    return _content(kernel) == _content(wanted)


def _content(listed: bytes) -> list[tuple[bytes, dict[int, bytes]]]:
    result = []
    for _, element in _attributes(listed):
        parts = dict(_attributes(element))
        data = dict(_attributes(parts.get(NFTA_EXPR_DATA, b"")))
        if parts.get(NFTA_EXPR_NAME) == b"cmp\0" and 3 in data:
            data[3] = dict(_attributes(data[3])).get(1, b"").ljust(IFNAMSIZ, b"\0")
        result.append((parts.get(NFTA_EXPR_NAME, b""), data))
    return result


def _expression(name: str, body: bytes) -> bytes:
    inner = _attribute(NFTA_EXPR_NAME, _text(name)) + _attribute(NFTA_EXPR_DATA | NLA_F_NESTED, body)
    return _attribute(NFTA_LIST_ELEM | NLA_F_NESTED, inner)


def _kind(message: int) -> int:
    return NFNL_SUBSYS_NFTABLES << 8 | message


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _be32(value: int) -> bytes:
    return struct.pack(">I", value)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + (-length % 4)


def _message(kind: int, flags: int, sequence: int, family: int, body: bytes = b"") -> bytes:
    # nfgenmsg.res_id names the subsystem in the messages around a batch and is 0 in all others.
    resource = NFNL_SUBSYS_NFTABLES if kind in {BATCH_BEGIN, BATCH_END} else 0
    header = struct.pack("=IHHIIBBH", 20 + len(body), kind, flags, sequence, 0, family, 0, socket.htons(resource))
    return header + body


def _socket() -> socket.socket:
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
