"""How much the slow twin lets a conduit carry: the "Limits" of docs/reference/semantics.md as buckets that fill up.

In: a conduit, who sends and when. Out: NONE, or the LIMIT_ reason. A bucket holds time, a burst of it when full,
filling as time goes by, emptied by one interval for each that passes. Written from that page, not from the engine's
clocks; both must agree to the nanosecond. Remembers every source it ever saw. Called by tests/support/twin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import Reason

if TYPE_CHECKING:
    from collections.abc import Hashable

    from .plain import Conduit, Rate

SECOND_NS = 1_000_000_000


class Bucket:
    """One limit's allowance."""

    def __init__(self, rate: Rate, now_ns: int) -> None:
        self.set_rate(rate)
        self.filled_ns = self.room_ns
        self.looked_at_ns = now_ns

    def set_rate(self, rate: Rate) -> None:
        """Take another limit's rate and room."""
        self.interval_ns = rate.unit_ns // rate.number
        self.room_ns = self.interval_ns * rate.burst

    def change(self, rate: Rate) -> None:
        """Go on with another limit: what is missing is still missing."""
        missing_ns = self.room_ns - self.filled_ns
        self.set_rate(rate)
        self.filled_ns = self.room_ns - missing_ns

    def gives(self, now_ns: int) -> bool:
        """Take out one interval, if there is one. A clock set back by more than a second finds the bucket empty."""
        self.filled_ns = min(self.room_ns, self.filled_ns + now_ns - self.looked_at_ns)
        self.looked_at_ns = now_ns
        if self.filled_ns < -SECOND_NS:
            self.filled_ns = 0
        if self.filled_ns < self.interval_ns:
            return False
        self.filled_ns -= self.interval_ns
        return True


class Limits:
    """The buckets of all conduits and of everyone who sent by a limited one."""

    def __init__(self) -> None:
        self._buckets: dict[Hashable, Bucket] = {}

    def reason(self, conduit: Conduit, sender: Hashable, now_ns: int, *, opens: bool) -> Reason:
        """Return why the frame is too much, or NONE; in the order of the page, the first that refuses decides."""
        limit = conduit.limit
        if limit is None:
            return Reason.NONE
        asked = [
            (limit.source_flows if opens else None, Reason.LIMIT_SOURCE, (conduit.name, sender, "flows")),
            (limit.source_packets, Reason.LIMIT_SOURCE, (conduit.name, sender, "packets")),
            (limit.flows if opens else None, Reason.LIMIT_FLOWS, (conduit.name, "flows")),
            (limit.packets, Reason.LIMIT_PACKETS, (conduit.name, "packets")),
        ]
        for rate, reason, name in asked:
            if rate is None:
                continue
            bucket = self._buckets.setdefault(name, Bucket(rate, now_ns))
            bucket.change(rate)
            if not bucket.gives(now_ns):
                return reason
        return Reason.NONE
