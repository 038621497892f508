"""A rule's steps as the kernel spells them: what it counts, and where it sends a frame.

In: the list of expressions of a rule that was read over netlink. Out: each step with its name and its attributes.
Layouts: linux/netfilter/nf_tables.h. Must never touch the kernel. Called by `counters`, `guard` and `sync`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.kernel.nfnetlink import NFTA_EXPR_DATA, NFTA_EXPR_NAME, attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN = 2, 2, 1, 2
NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS = 1, 2
NF_DROP, NF_ACCEPT = 0, 1
VERDICTS: Final = {NF_DROP: "drop", NF_ACCEPT: "accept", -3: "jump", -4: "goto", -5: "return"}


@dataclass(frozen=True, slots=True)
class Expression:
    """One step of a rule."""

    name: str
    data: Mapping[int, bytes]

    def verdict(self) -> str:
        """Return `accept`, `goto CHAIN` and so on; nothing for what gives no verdict."""
        if self.name != "immediate":
            return ""
        value = dict(attributes(self.data.get(NFTA_IMMEDIATE_DATA, b"")))
        parts = dict(attributes(value.get(NFTA_DATA_VERDICT, b"")))
        if NFTA_VERDICT_CODE not in parts:
            return ""
        code = struct.unpack(">i", parts[NFTA_VERDICT_CODE])[0]
        chain = parts.get(NFTA_VERDICT_CHAIN, b"").rstrip(b"\0").decode()
        return f"{VERDICTS.get(code, code)} {chain}".strip()

    def counted(self) -> tuple[int, int]:
        """Return (packets, bytes) of a counter."""
        packets, volume = (int.from_bytes(self.data[at], "big") for at in (NFTA_COUNTER_PACKETS, NFTA_COUNTER_BYTES))
        return packets, volume


def expressions(listed: bytes) -> tuple[Expression, ...]:
    """Read a rule's list of expressions."""
    found = []
    for _, element in attributes(listed):
        parts = dict(attributes(element))
        name = parts[NFTA_EXPR_NAME].rstrip(b"\0").decode()
        found.append(Expression(name, dict(attributes(parts.get(NFTA_EXPR_DATA, b"")))))
    return tuple(found)
