"""The slow twin of semantics.md, "Inspection: streams": segments of one enforced conversation in, reasons out.

In: segments, and what the messages of a segment are said to be (their content is not this twin's business). Out: the
reason that the page gives. Places are unbounded numbers, bytes lie in dicts and are never thrown away. Written from
that page alone. Must never be made fast, and never take more from the product than the names of reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastpath.abi import FailMode, Reason

from .tcp_model import ACK, FIN, RST, SYN, URG, Segment, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable

REACH: Final = 1 << 20
START: Final = 1 << 40
ENDS_IT: Final = (Reason.STREAM_CONFLICT, Reason.STREAM_URGENT, Reason.STREAM_PICKUP)


@dataclass
class Way:
    """One direction."""

    next: int
    acknowledged: int
    first: int
    text: dict[int, int] = field(default_factory=dict)
    end: int | None = None  # where a FIN stands
    known: bool = True  # a message begins, or goes on, at `next`
    skip: int = 0  # from `acknowledged` up to here nobody knows what passed

    @property
    def limit(self) -> int:
        """Return the highest place that may be acknowledged."""
        return self.next + (self.end is not None)


class StreamTwin:
    """One conversation of an inspected conduit in enforce."""

    def __init__(self, fail: FailMode, *, shuts: bool) -> None:
        self.fail = fail
        self.shuts = shuts
        self.ways: dict[bool, Way] = {}  # by "from the opener"; empty: no stream
        self.refused = False

    def judge(self, segment: Segment, opener: bool, content: Callable[[], Reason]) -> Reason:
        """Return what the page says; `content` is asked where the messages decide."""
        reason = self._form(segment, opener)
        if reason is Reason.NONE and segment.flags & SYN:
            self._handshake(segment, opener)
            return Reason.NONE
        if reason is Reason.NONE:
            reason = self._place(segment, opener, content)
        if self.ways and self.shuts and (reason in ENDS_IT or reason >= Reason.MESSAGE_PROTOCOL):
            self.refused = True
        return reason

    def _form(self, segment: Segment, opener: bool) -> Reason:  # line 2
        if segment.flags & URG:
            way = self.ways.get(opener)
            elsewhere = way is not None and unwrapped(segment.sequence, way.next) != way.next
            return Reason.STREAM_SEQUENCE if elsewhere else Reason.STREAM_URGENT
        if segment.flags & SYN:
            if segment.data:
                return Reason.STREAM_OPENING_DATA
            return Reason.STREAM_SEQUENCE if segment.flags & ACK and opener else Reason.NONE
        if segment.flags & RST:
            return Reason.STREAM_SEQUENCE if segment.data else Reason.NONE
        return Reason.NONE if segment.flags & ACK else Reason.STREAM_SEQUENCE

    def _handshake(self, segment: Segment, opener: bool) -> None:  # line 3
        if opener:
            return
        mine, theirs = START + segment.sequence + 1, START + segment.acknowledged
        if self.ways and (self.ways[False].first, self.ways[True].first) == (mine, theirs):
            return
        self.ways = {False: Way(mine, mine, mine), True: Way(theirs, theirs, theirs)}
        self.refused = False

    def _place(self, segment: Segment, opener: bool, content: Callable[[], Reason]) -> Reason:
        if not self.ways:  # line 4
            return Reason.STREAM_PICKUP if segment.data else Reason.NONE
        way, other = self.ways[opener], self.ways[not opener]
        start = unwrapped(segment.sequence, way.next)
        reason = self._numbers(segment, opener, start)
        if reason is Reason.NONE and self.refused and segment.data:  # line 6
            reason = Reason.STREAM_REFUSED
        if reason is Reason.NONE:
            reason = self._gap(segment, way, start) or self._bytes(segment, way, other, start)
        end = start + len(segment.data)
        if reason is Reason.NONE and end > way.next and segment.data:
            reason = content()
            if not way.known and reason is Reason.NONE:
                way.known = True
        if reason is Reason.NONE:
            self._pass(segment, way, other, start)
        return reason

    def _numbers(self, segment: Segment, opener: bool, start: int) -> Reason:  # line 5
        if segment.flags & RST and not opener and segment.sequence == 0:
            return Reason.NONE
        way, other = self.ways[opener], self.ways[not opener]
        if abs(start - way.next) > REACH:
            return Reason.STREAM_SEQUENCE
        if not segment.flags & ACK:
            return Reason.NONE
        beyond = unwrapped(segment.acknowledged, other.limit) - other.limit
        closed = beyond > 0 and self.fail is FailMode.CLOSED
        silent = opener and other.next == other.first
        elsewhere = silent and other.limit + beyond not in (other.first, other.limit)
        if abs(beyond) > REACH or elsewhere:
            return Reason.STREAM_SEQUENCE
        return Reason.STREAM_PICKUP if closed else Reason.NONE

    def _gap(self, segment: Segment, way: Way, start: int) -> Reason:
        end = start + len(segment.data)
        if not segment.data and not segment.flags & FIN:
            return Reason.NONE
        within = way.skip > way.acknowledged and end > way.acknowledged and start < way.skip
        return Reason.STREAM_SEQUENCE if within else Reason.NONE

    def _bytes(self, segment: Segment, way: Way, other: Way, start: int) -> Reason:  # line 7
        end = start + len(segment.data)
        if not segment.data and not segment.flags & FIN:
            return Reason.NONE
        for place, byte in enumerate(segment.data, start=start):
            if place >= way.acknowledged and way.text.get(place, byte) != byte:
                return Reason.STREAM_CONFLICT
        if way.end is not None:
            if end > way.end:
                return Reason.STREAM_CONFLICT
        elif segment.flags & FIN and way.acknowledged <= end < way.next:
            return Reason.STREAM_CONFLICT
        return Reason.NONE if start <= way.next else self._ahead(segment, way, other, start)

    def _ahead(self, segment: Segment, way: Way, other: Way, start: int) -> Reason:
        behind = not segment.flags & RST and unwrapped(segment.acknowledged, other.limit) > other.limit
        if self.fail is FailMode.CLOSED or not behind or start - way.acknowledged > REACH:
            return Reason.STREAM_AHEAD
        way.skip = way.next = start
        way.known = False
        return Reason.NONE

    def _pass(self, segment: Segment, way: Way, other: Way, start: int) -> None:
        end = start + len(segment.data)
        for place, byte in enumerate(segment.data, start=start):
            if place >= way.next:
                way.text[place] = byte
        if segment.data:
            way.next = max(way.next, end)
        if segment.flags & FIN and end == way.next:
            way.end = end
        if segment.flags & ACK and not segment.flags & RST:
            place = unwrapped(segment.acknowledged, other.limit)
            if place > other.limit:
                other.next = other.acknowledged = place
                other.end, other.known = None, False
            else:
                other.acknowledged = max(other.acknowledged, min(place, other.next))
