"""The counters as one account that closes: every frame was judged, took the lane, fell to `static`, or was lost.

In: the kernel's named counters and queue statistics, the engine's counters segment. Out: one JSON object.
The identity: frames_before_queue = judged_accepted + engine.dropped - engine.rewritten + lane + static + lost + waiting
+ unaccounted: a frame whose forbidden message was rewritten is dropped for us, and went on for the kernel. The
frames of the fast lane are in the first number too: it is counted behind the lane, in front of the queue. What is
`unaccounted` is 0 when no frame is under way, and anything else is a defect that this page must show, not hide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.in_force import PolicyInForce
    from gateway.control.kernel_port import KernelView


class CountersSource(Protocol):
    """The counters segment, as `gateway.segment_readers.CountersReader` reads it."""

    def queues(self) -> list[dict[str, int]]:
        """Return the scalar counters of each queue."""

    def totals(self) -> dict[str, int]:
        """Return their sums."""

    def by_reason(self) -> dict[str, dict[str, int]]:
        """Return passed and dropped by reason."""

    def by_conduit(self, capacity: int) -> dict[int, dict[str, int]]:
        """Return accepted and dropped by conduit slot."""


def account(view: KernelView, source: CountersSource, policy: PolicyInForce | None) -> dict[str, Any]:
    """Return the whole account."""
    engine = source.totals()
    packets = {name: pair[0] for name, pair in view.counters.items()}
    before = packets.get("frames_before_queue", 0)
    judged_accepted = packets.get("judged_accepted", 0)
    lane = packets.get("lane", 0)
    static = packets.get("static", 0)
    lost = sum(queue.queue_dropped + queue.user_dropped for queue in view.queues)
    waiting = sum(queue.waiting for queue in view.queues)
    return {
        "frames_before_queue": before,
        "judged": engine["accepted"] + engine["dropped"],
        "judged_accepted": judged_accepted,
        "lane": lane,
        "static": static,
        "static_accepted": packets.get("static_accepted", 0),
        "static_dropped": packets.get("static_dropped", 0),
        "static_would_drop": packets.get("static_would_drop", 0),
        "lost": lost,
        "waiting": waiting,
        "unaccounted": before
        - judged_accepted
        - engine["dropped"]
        + engine["rewritten"]
        - lane
        - static
        - lost
        - waiting,
        "accepted": engine["accepted"],
        "dropped": engine["dropped"],
        "would_drop": engine["would_drop"],
        "released": engine["released"],
        "refused": engine["refused"],
        "rewritten": engine["rewritten"],
        "quarantined": packets.get("c_quarantined", 0),
        "l2": packets.get("l2_before", 0),
        "l2_accepted": packets.get("l2_accepted", 0),
        "l2_dropped": packets.get("l2_dropped", 0),
        "l2_would_drop": packets.get("l2_would_drop", 0),
        "by_reason": source.by_reason(),
        "by_conduit": _by_conduit(source, policy),
        "engine": engine,
        "per_queue": _per_queue(view, source),
        "kernel": {name: {"packets": pair[0], "bytes": pair[1]} for name, pair in sorted(view.counters.items())},
    }


def _by_conduit(source: CountersSource, policy: PolicyInForce | None) -> dict[str, dict[str, int]]:
    """Every conduit in force, also those nothing used, so that a silent one is seen; then slots of removed ones."""
    if policy is None:
        return {f"#{slot}": found for slot, found in source.by_conduit(0).items()}
    names = {conduit.slot: conduit.name for conduit in policy.lowered.conduits}
    found = source.by_conduit(max(names, default=-1) + 1)
    named = {name: found.get(slot, {"accepted": 0, "dropped": 0}) for slot, name in sorted(names.items())}
    return named | {f"#{slot}": sums for slot, sums in found.items() if slot not in names}


def _per_queue(view: KernelView, source: CountersSource) -> list[dict[str, Any]]:
    kernel: Mapping[int, Any] = {queue.number: queue for queue in view.queues}
    rows = []
    for queue in source.queues():
        row: dict[str, Any] = dict(queue)
        row.pop("reserved", None)
        stats = kernel.get(queue["queue_number"])
        if stats is not None:
            row |= {"waiting": stats.waiting, "queue_dropped": stats.queue_dropped, "user_dropped": stats.user_dropped}
        rows.append(row)
    return rows
