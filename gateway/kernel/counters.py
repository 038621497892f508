"""The kernel's own counts: named nft counters and the queue statistics, as numbers.

In: nothing. Out: (packets, bytes) by counter name, and per queue what waits and what was lost. These two, with the
engine's counters, make the account that closes. Called by control, each call a few ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError
from gateway.kernel import nft
from rules.static import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

QUEUES: Final = Path("/proc/net/netfilter/nfnetlink_queue")
QUEUE_COLUMNS: Final = 9  # linux/net/netfilter/nfnetlink_queue.c, seq_show


@dataclass(frozen=True, slots=True)
class QueueStats:
    """One bound queue, as the kernel counts it."""

    number: int
    port_id: int  # netlink port of the reader
    waiting: int  # frames without a verdict
    copy_mode: int
    copy_range_bytes: int
    queue_dropped: int  # the queue was full
    user_dropped: int  # the reader's socket was full
    last_id: int  # packet id given last


def counters() -> dict[str, tuple[int, int]]:
    """Return (packets, bytes) by counter name; raise KernelError when one of ours is missing."""
    found = {
        listed["counter"]["name"]: (int(listed["counter"]["packets"]), int(listed["counter"]["bytes"]))
        for listed in nft.listing("counters", "table", "bridge", "conduit")
        if "counter" in listed
    }
    missing = [name for name in COUNTERS if name not in found]
    if missing:
        raise KernelError("COUNTERS_MISSING", f"table bridge conduit lacks {', '.join(missing)}")
    return found


def reset() -> None:
    """Set all our counters to zero: for a start at which the engine's counters could not be carried over.

    Without it the account would miss whatever the engine had judged before. The queues' own losses stay: they count
    from the moment a queue was bound. Before the first start there is no table, and nothing to set.
    """
    if not nft.table_exists("bridge", "conduit"):
        return
    nft.reset_counters("bridge", "conduit")
    counters()  # raises when one is missing


def queue_stats() -> list[QueueStats]:
    """Return the bound queues of this network namespace; none when nothing is bound."""
    try:
        # Through the thread's own entry: /proc/net is the main thread's namespace.
        text = Path(f"/proc/thread-self/net/{QUEUES.relative_to('/proc/net')}").read_text()
    except FileNotFoundError:
        return []
    return [parse_queue(line) for line in text.splitlines() if line.strip()]


def parse_queue(line: str) -> QueueStats:
    """Read one line of /proc/net/netfilter/nfnetlink_queue."""
    columns = line.split()
    if len(columns) != QUEUE_COLUMNS or not all(column.lstrip("-").isdigit() for column in columns):
        raise KernelError("QUEUE_STATS_FORMAT", f"{QUEUES}: cannot read {line!r}")
    return QueueStats(*(int(column) for column in columns[:8]))


def unjudged_and_lost(counted: Mapping[str, tuple[int, int]], queues: list[QueueStats]) -> tuple[int, int]:
    """Return the frames that fell to `static` and those that the queues lost: two terms of the account."""
    return counted["static"][0], sum(queue.queue_dropped + queue.user_dropped for queue in queues)
