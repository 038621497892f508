"""The one rule that nft's text cannot say: not the lane's mark, `iifname BRIDGE`, then the target NFQUEUE with bypass.

In: family, table, chain, bridge and queue range. Out: that rule as the chain's only one, put there in one transaction,
its read-back from the kernel, and what the native form's own queue rules are read back as. Message layouts:
linux/netfilter/nf_tables.h and nf_tables_compat.h.
Must never touch a chain that is not named in the call. Called by `interception` and `probe` only.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from gateway.errors import KernelError
from gateway.kernel import readback
from gateway.kernel.nfnetlink import (
    NFTA_EXPR_DATA,
    NFTA_EXPR_NAME,
    NLM_F_APPEND,
    NLM_F_CREATE,
    Request,
    attribute,
    attributes,
    be32,
    expression,
    nested,
    open_socket,
    text,
    transaction,
)
from rules.static_lane import MARK_LANED

NFT_MSG_NEWRULE, NFT_MSG_DELRULE = 6, 8
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_META_DREG, NFTA_META_KEY = 1, 2
NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA = 1, 2, 3
NFTA_DATA_VALUE: Final = 1
NFT_META_PROTOCOL, NFT_META_MARK, NFT_META_IIFNAME = 1, 3, 6
NFT_REG_1, NFT_CMP_EQ, NFT_CMP_NEQ = 1, 0, 1
NFTA_QUEUE_NUM, NFTA_QUEUE_TOTAL, NFTA_QUEUE_FLAGS = 1, 2, 3
NFT_QUEUE_FLAG_BYPASS: Final = 1
IFNAMSIZ: Final = 16
NFQUEUE_REVISION: Final = 3
NF_ACCEPT_BYPASS: Final = 1  # NFQ_FLAG_BYPASS
FAMILIES: Final = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
NOT_LAYER2: Final = (0x0800, 0x86DD)  # ETH_P_IP, ETH_P_IPV6


def replace(family: str, table: str, chain: str, *, bridge: str, first_queue: int, queue_count: int) -> None:
    """Make the queue rule the only rule of the chain, in one transaction."""
    place = _place(table, chain)
    rule = place + nested(NFTA_RULE_EXPRESSIONS, expressions(bridge, first_queue, queue_count))
    number = FAMILIES[family]
    try:
        with open_socket() as netlink:
            added = Request(NFT_MSG_NEWRULE, number, rule, NLM_F_CREATE | NLM_F_APPEND)
            transaction(netlink, (Request(NFT_MSG_DELRULE, number, place), added))
    except OSError as error:
        raise KernelError(
            "QUEUE_RULE_REFUSED",
            f"{family} {table} {chain}: the kernel refused the NFQUEUE rule: {error.strerror}",
            "this kernel lacks the x_tables target NFQUEUE" if error.errno == errno.ENOENT else "",
        ) from error


def rules(family: str, table: str, chain: str) -> list[bytes]:
    """Return the expressions of each rule in the chain, as the kernel holds them."""
    held = readback.chain(family, table, chain)
    return list(held.rules) if held is not None else []


def expressions(bridge: str, first_queue: int, queue_count: int) -> bytes:
    """Return `meta mark != LANED; meta iifname == bridge; target NFQUEUE` as the kernel spells it.

    The mark first: a frame of the lane's is let by without a look at a name.
    """
    name = bridge.encode().ljust(IFNAMSIZ, b"\0")
    # struct xt_NFQ_info_v3: first queue, number of queues, flags; padded to 8 bytes as x_tables sizes are.
    info = struct.pack("=HHHxx", first_queue, queue_count, NF_ACCEPT_BYPASS)
    target = attribute(1, text("NFQUEUE")) + attribute(2, be32(NFQUEUE_REVISION)) + attribute(3, info)
    return (
        comparison(NFT_META_MARK, NFT_CMP_NEQ, struct.pack("=I", MARK_LANED))
        + comparison(NFT_META_IIFNAME, NFT_CMP_EQ, name)
        + expression("target", target)
    )


def native(first_queue: int, queue_count: int, layer2_queue: int | None) -> list[bytes]:
    """Return the rules of `rules.static.queue_statements` as a kernel with a queue of its own spells them."""
    shared = _queue(first_queue, queue_count)
    if layer2_queue is None:
        return [shared]
    not_ip = (comparison(NFT_META_PROTOCOL, NFT_CMP_NEQ, struct.pack(">H", number)) for number in NOT_LAYER2)
    return [b"".join(not_ip) + _queue(layer2_queue, 1), shared]


def _queue(first: int, count: int) -> bytes:
    numbers = {NFTA_QUEUE_NUM: first, NFTA_QUEUE_TOTAL: count, NFTA_QUEUE_FLAGS: NFT_QUEUE_FLAG_BYPASS}
    return expression("queue", b"".join(attribute(kind, struct.pack(">H", value)) for kind, value in numbers.items()))


def comparison(key: int, operator: int, value: bytes) -> bytes:
    """Spell the comparison of a NFT_META_* key with a value."""
    meta = attribute(NFTA_META_DREG, be32(NFT_REG_1)) + attribute(NFTA_META_KEY, be32(key))
    data = nested(NFTA_CMP_DATA, attribute(NFTA_DATA_VALUE, value))
    compare = attribute(NFTA_CMP_SREG, be32(NFT_REG_1)) + attribute(NFTA_CMP_OP, be32(operator)) + data
    return expression("meta", meta) + expression("cmp", compare)


def same(kernel: bytes, wanted: bytes) -> bool:
    """Compare two expression lists by content: order and flags of attributes are the kernel's own affair."""
    return _content(kernel) == _content(wanted)


def _content(listed: bytes) -> list[tuple[bytes, dict[int, bytes]]]:
    result = []
    for _, element in attributes(listed):
        parts = dict(attributes(element))
        data = dict(attributes(parts.get(NFTA_EXPR_DATA, b"")))
        if parts.get(NFTA_EXPR_NAME) == b"cmp\0" and NFTA_CMP_DATA in data:
            value = dict(attributes(data[NFTA_CMP_DATA])).get(NFTA_DATA_VALUE, b"")
            data[NFTA_CMP_DATA] = value.ljust(IFNAMSIZ, b"\0")
        result.append((parts.get(NFTA_EXPR_NAME, b""), data))
    return result


def _place(table: str, chain: str) -> bytes:
    return attribute(NFTA_RULE_TABLE, text(table)) + attribute(NFTA_RULE_CHAIN, text(chain))
