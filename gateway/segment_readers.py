"""What control reads from the segments: counter sums, events and a look at the flow tables, as plain Python values.

In: segments attached by `gateway.segments`. Out: dicts of the fields that `fastpath.abi` names, numbers as they are.
The engine goes on writing meanwhile: single counters are exact, a flow may be caught half-written. Must never write
anything but the tail of the event rings, of which control is the only owner. Called by control.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from fastpath import abi
from gateway.segments import Segment

MASK64: Final = (1 << 64) - 1
READ_LIMIT: Final = 4096  # events per call: bounds the time control is away from its socket
FILTERED: Final = ("generation", "conduit", "opener_asset", "responder_asset")  # of a flow, in a FlowFilter's order
FlowFilter = Callable[[int, int, int, int], bool]
_REASON_NAMES: Final = {reason.value: reason.name for reason in abi.Reason}
_TOTALS: Final = (
    "received", "accepted", "dropped", "would_drop", "released", "batches",
    "receive_errors", "verdict_errors", "flows_created", "flows_evicted", "refused", "laned", "rewritten",
)  # fmt: skip


def reason_name(number: int) -> str:
    """Return a reason's name, also of one that this version does not know."""
    return _REASON_NAMES.get(number, f"REASON_{number}")


class CountersReader:
    """Sums of the counters segment over all queues."""

    def __init__(self, segment: Segment) -> None:
        self._view = segment.view
        self._blocks = [
            abi.COUNTERS_HEADER_BYTES + index * abi.QUEUE_COUNTERS_STRIDE
            for index in range(segment.header["queue_count"])
        ]

    def queues(self) -> list[dict[str, int]]:
        """Return the scalar counters of each queue, heartbeat (CLOCK_MONOTONIC, ns) and generation included."""
        found = []
        for block in self._blocks:
            fields = abi.QUEUE_COUNTERS.unpack_from(self._view, block)
            found.append({name: value for name, value in fields.items() if isinstance(value, int)})
        return found

    def totals(self) -> dict[str, int]:
        """Return received, accepted, dropped, would_drop, released and so on, summed over the queues."""
        queues = self.queues()
        return {name: sum(queue[name] for queue in queues) for name in _TOTALS}

    def _pairs(self, start: int, count: int) -> list[tuple[int, int]]:
        """Return `count` pairs of u64, summed over the queues; `start` is relative to a queue's block."""
        sums = [0] * (2 * count)
        for block in self._blocks:
            words = self._view[block + start : block + start + 16 * count].cast("Q").tolist()
            sums = [total + word for total, word in zip(sums, words, strict=True)]
        return list(zip(sums[::2], sums[1::2], strict=True))

    def by_reason(self) -> dict[str, dict[str, int]]:
        """Return {reason: {"passed": n, "dropped": n}} for every reason that was ever given."""
        pairs = self._pairs(abi.QUEUE_COUNTERS.offsets["by_reason"], abi.REASON_COUNT)
        return {
            reason_name(number): {"passed": passed, "dropped": dropped}
            for number, (passed, dropped) in enumerate(pairs)
            if passed or dropped
        }

    def by_conduit(self, capacity: int) -> dict[int, dict[str, int]]:
        """Return {slot: {"accepted": n, "dropped": n}} for the slots below `capacity` that were ever used."""
        pairs = self._pairs(abi.PAGE_BYTES, min(capacity, abi.MAX_CONDUITS))
        return {
            slot: {"accepted": accepted, "dropped": dropped}
            for slot, (accepted, dropped) in enumerate(pairs)
            if accepted or dropped
        }


class EventReader:
    """Consumes the event rings; there must be one only, since it moves their tails."""

    def __init__(self, segment: Segment) -> None:
        self._view = segment.view
        self._rings = [
            abi.EVENTS_HEADER_BYTES + index * abi.RING_BYTES for index in range(segment.header["ring_count"])
        ]
        self._next: dict[int, int] = {}  # by ring: the sequence that should come next
        self.gaps = 0  # sequences that never came, seen by this reader

    def _ring(self, ring: int) -> dict[str, Any]:
        return abi.RING_HEADER.unpack_from(self._view, ring)

    def lost(self) -> int:
        """Return how many events found their ring full since the rings exist, by the engine's own count."""
        return int(sum(self._ring(ring)["lost"] for ring in self._rings))

    def waiting(self) -> int:
        """Return how many events are in the rings now."""
        headers = [self._ring(ring) for ring in self._rings]
        return int(sum((header["head"] - header["tail"]) & MASK64 for header in headers))

    def read(self, limit: int = READ_LIMIT) -> list[dict[str, Any]]:
        """Return up to `limit` events as `abi.EVENT` fields, in order per ring, and give their room back.

        An event about a message has `message`, the fields of `abi.MESSAGE`.
        """
        events: list[dict[str, Any]] = []
        for ring in self._rings:
            self._consume(ring, limit - len(events), events)
        self._rings.append(self._rings.pop(0))  # no ring may starve another of the limit
        return events

    def _consume(self, ring: int, limit: int, events: list[dict[str, Any]]) -> None:
        header = self._ring(ring)
        tail = header["tail"]
        end = tail + min((header["head"] - tail) & MASK64, abi.EVENTS_PER_RING)
        position = tail
        while position < end and limit > 0:
            event = abi.EVENT.unpack_from(self._view, _place(ring, position))
            places = 1
            if event["flags"] & abi.EVENT_MESSAGE and position + 1 < end:
                event["message"] = abi.MESSAGE.unpack_from(self._view, _place(ring, position + 1))
                places = 2
            expected = self._next.get(ring, event["sequence"])
            self.gaps += event["sequence"] - expected if event["sequence"] >= expected else 1
            if event["sequence"] >= expected:
                events.append(event)
                self._next[ring] = event["sequence"] + places
            position += places
            limit -= 1
        if position > tail:
            # ORDER: the room is given back only after the events were copied out of it.
            place = ring + abi.RING_HEADER.offsets["tail"]
            self._view[place : place + 8].cast("Q")[0] = position & MASK64


def _place(ring: int, position: int) -> int:
    return ring + abi.PAGE_BYTES + (position & (abi.EVENTS_PER_RING - 1)) * abi.EVENT.size


class FlowsReader:
    """A look at the flow tables; a flow that is being written may be caught halfway."""

    def __init__(self, segment: Segment) -> None:
        self._view = segment.view
        self._flows_per_table = segment.header["flows_per_table"]
        self._tables = [
            abi.FLOWS_HEADER_BYTES + index * self._flows_per_table * abi.FLOW.size
            for index in range(segment.header["table_count"])
        ]

    def flows(self, wanted: FlowFilter | None = None) -> Iterator[dict[str, Any]]:
        """Yield every flow in use that is wanted, as `abi.FLOW` fields and the index of its `queue`.

        `wanted` is asked with the entry's generation, conduit, opener's and responder's asset, as they stand there.
        """
        for queue, table in enumerate(self._tables):
            for index in self._used(table, wanted):
                flow = abi.FLOW.unpack_from(self._view, table + index * abi.FLOW.size)
                # The entry may be another flow's by now.
                if flow["in_use"] and (wanted is None or wanted(*(flow[name] for name in FILTERED))):
                    yield flow | {"queue": queue}

    def _used(self, table: int, wanted: FlowFilter | None) -> Iterator[int]:
        """Yield the numbers of used and wanted entries: only the columns that are asked for are read of the others."""
        used = self._column(table, "in_use")
        if wanted is None:
            return (index for index, in_use in enumerate(used) if in_use)
        columns = zip(used, *(self._column(table, name) for name in FILTERED), strict=True)
        return (index for index, (in_use, *values) in enumerate(columns) if in_use and wanted(*values))

    def _column(self, table: int, name: str) -> list[int]:
        """Return one field of all entries of a table."""
        code: Any = abi.FLOW.fields[name]
        width = struct.calcsize(f"<{code}")
        entries = self._view[table : table + self._flows_per_table * abi.FLOW.size].cast(code)
        found: list[int] = entries[abi.FLOW.offsets[name] // width :: abi.FLOW.size // width].tolist()
        return found
