"""The kernel's own counts: nft counters, by name or by the chain that counts, and the queue statistics, as numbers.

In: nothing. Out: (packets, bytes) by counter name, and per queue what waits and what was lost. These two, with the
engine's counters, make the account that closes. Read without nft, which would read every set of the machine first.
Called by control.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError
from gateway.kernel import nft, readback
from gateway.kernel.expressions import expressions
from gateway.kernel.nfnetlink import attribute, attributes, be32, dump, open_socket, text
from rules.static_counting import COUNTED, counting_chain, counting_script
from rules.static_declarations import COUNTERS
from rules.static_lane import LANE

if TYPE_CHECKING:
    from collections.abc import Mapping

NFT_MSG_GETOBJ: Final = 19  # linux/netfilter/nf_tables.h, as all of these
NFTA_OBJ_TABLE, NFTA_OBJ_NAME, NFTA_OBJ_TYPE, NFTA_OBJ_DATA = 1, 2, 3, 4
NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS = 1, 2
NFT_OBJECT_COUNTER: Final = 1
NFPROTO_BRIDGE: Final = 7
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
    """Return (packets, bytes) by counter name; raise KernelError when one of ours is missing.

    `frames_before_queue` counts the lane's frames too.
    """
    place = attribute(NFTA_OBJ_TABLE, text("conduit")) + attribute(NFTA_OBJ_TYPE, be32(NFT_OBJECT_COUNTER))
    try:
        with open_socket() as netlink:
            found = dict(_counter(answer) for answer in dump(netlink, NFT_MSG_GETOBJ, NFPROTO_BRIDGE, place))
    except OSError as error:
        raise KernelError("COUNTERS_UNREADABLE", f"table bridge conduit: {error.strerror}") from error
    counted = {name: _in_rules(counting_chain(name)) for name in COUNTED}
    missing = [name for name in COUNTERS if name not in found] + [name for name in COUNTED if not counted[name]]
    if missing:
        raise KernelError("COUNTERS_MISSING", f"table bridge conduit lacks {', '.join(missing)}")
    before = [*counted["frames_before_queue"], *counted[LANE]]
    return found | {name: _sum(rules) for name, rules in (counted | {"frames_before_queue": before}).items()}


def _in_rules(chain: str) -> list[tuple[int, int]]:
    """Return what the counters in a chain's rules say."""
    held = readback.chain("bridge", "conduit", chain)
    steps = (step for rule in (held.rules if held else ()) for step in expressions(rule))
    return [step.counted() for step in steps if step.name == "counter"]


def _sum(counts: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(packets for packets, _ in counts), sum(volume for _, volume in counts)


def _counter(answer: dict[int, bytes]) -> tuple[str, tuple[int, int]]:
    data = dict(attributes(answer[NFTA_OBJ_DATA]))
    packets, volume = (int.from_bytes(data[kind], "big") for kind in (NFTA_COUNTER_PACKETS, NFTA_COUNTER_BYTES))
    return answer[NFTA_OBJ_NAME].rstrip(b"\0").decode(), (packets, volume)


def reset() -> None:
    """Set all our counters to zero: for a start at which the engine's counters could not be carried over.

    Without it the account would miss whatever the engine had judged before. The queues' own losses stay: they count
    from the moment a queue was bound. Before the first start there is no table, and nothing to set.
    """
    if not nft.table_exists("bridge", "conduit"):
        return
    nft.reset_counters("bridge", "conduit")
    nft.apply(counting_script())
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
