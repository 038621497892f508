"""How bridged frames reach a subject on this kernel, without conduitd: one chain, the form that `gateway.kernel` finds.

In: nothing, or a subject's own nft rules. Out: a chain in the forward hook of the bridge family (form `bridge`) or of
the ip family behind br_netfilter (form `brnf`); the kernel's counts of its queues. Acts on the calling thread's network
namespace: only `bench.rig` calls it, in the gateway's.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastpath.abi import Form
from gateway.kernel import interception as calls
from gateway.kernel import netlink_rule, nft
from gateway.kernel.probe import probe

BRIDGE: Final = "br-conduit"
TABLE: Final = "bench"
CHAIN: Final = "judge"


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Sums over the queues of the gateway namespace."""

    queued: int  # packets that were given an id: offered to a reader
    waiting: int
    dropped: int  # by the queue or by the reader's socket


@functools.cache
def form() -> Form:
    """Return how this kernel can be made to queue bridged frames. Raises KernelError when it cannot."""
    return probe().require_form("auto")


def install(rules: str = "") -> None:
    """Show bridged frames to one chain, which holds the queue rule alone, or a subject's rules under a drop policy.

    In the rules TABLE and CHAIN stand for the names of both.
    """
    family = "ip" if form() is Form.BRNF else "bridge"
    hook = "type filter hook forward priority 0; policy drop;" if rules else "type filter hook forward priority 0;"
    chain = f"add table {family} {TABLE}\nadd chain {family} {TABLE} {CHAIN} {{ {hook} }}\n"
    if rules:
        nft.apply(chain + rules.replace("CHAIN", f"{family} {TABLE} {CHAIN}").replace("TABLE", f"{family} {TABLE}"))
    elif form() is Form.BRNF:
        nft.apply(chain)
        netlink_rule.replace(family, TABLE, CHAIN, bridge=BRIDGE, first_queue=0, queue_count=1)
    else:
        nft.apply(f"{chain}add rule {family} {TABLE} {CHAIN} meta protocol ip queue num 0 bypass\n")
    if form() is Form.BRNF:
        for name in calls.CALLS:
            (calls.SYSCTL / name).write_text("1")


def queue_counts() -> QueueCounts:
    """Return the sums of /proc/net/netfilter/nfnetlink_queue."""
    rows = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text().splitlines()
    columns = [[int(word) for word in row.split()] for row in rows]
    return QueueCounts(
        queued=sum(row[7] for row in columns),
        waiting=sum(row[2] for row in columns),
        dropped=sum(row[5] + row[6] for row in columns),
    )
