"""One window as a timetable: open or closed at any second, and when that changes next.

In: what opens it, what closes it all the same, and one-off openings above both (semantics.md, "Windows", 3). Out:
answers for any instant. Time is worked out in chunks that are remembered, so a question costs a search in a short
list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from rules.windows.local_time import CHUNK, FIRST, LAST, YEAR
from rules.windows.spans import clipped, merged, without

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rules.windows.spans import Span

KEPT_CHUNKS: Final = 32  # more than LOOK_AHEAD
LOOK_AHEAD: Final = 10 * YEAR  # a change further away than this is not looked for


class Source(Protocol):
    """Something that is open now and then."""

    def spans(self, begin: int, end: int) -> Iterable[Span]:
        """Return when, between two instants; may reach beyond them."""


class Fixed:
    """Openings that were written one by one."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = merged(spans)

    def spans(self, begin: int, end: int) -> list[Span]:
        """Return those between two instants."""
        return clipped(self._spans, begin, end)


class Timetable:
    """A window. Instants are whole seconds since 1970 UTC."""

    def __init__(self, openings: Sequence[Source], exceptions: Source, once: Source) -> None:
        self._openings = openings
        self._exceptions = exceptions
        self._once = once
        self._chunks: OrderedDict[int, list[Span]] = OrderedDict()

    def spans(self, begin: int, end: int) -> list[Span]:
        """Return when it is open between two instants, cut to them."""
        begin, end = max(begin, FIRST), min(end, LAST)
        if begin >= end:
            return []
        chunks = range(begin // CHUNK, (end - 1) // CHUNK + 1)
        return clipped(merged(span for chunk in chunks for span in self._chunk(chunk)), begin, end)

    def open_at(self, second: int) -> bool:
        """Say whether it is open during this second."""
        if not FIRST <= second < LAST:
            return False
        spans = self._chunk(second // CHUNK)
        at = bisect_right(spans, second, key=lambda span: span[0]) - 1
        return at >= 0 and second < spans[at][1]

    def next_change(self, second: int) -> int | None:
        """Return the first later second at which it opens or closes; None when there is none within ten years."""
        begin = max(second, FIRST)
        was_open = self.open_at(second)
        for chunk in range(begin // CHUNK, min(begin + LOOK_AHEAD, LAST - 1) // CHUNK + 1):
            edge, spans = chunk * CHUNK, self._chunk(chunk)
            at = bisect_right(spans, begin, key=lambda span: span[1])  # the first that ends later
            if was_open and (at == len(spans) or spans[at][0] > max(edge, begin)):
                return edge  # it was open up to the edge of the chunk before
            if at < len(spans):
                if not was_open:
                    return spans[at][0]
                if spans[at][1] < edge + CHUNK:
                    return spans[at][1]
        return None

    def _chunk(self, number: int) -> list[Span]:
        known = self._chunks.get(number)
        if known is None:
            known = self._chunks[number] = self._worked_out(number * CHUNK, (number + 1) * CHUNK)
            if len(self._chunks) > KEPT_CHUNKS:
                self._chunks.popitem(last=False)
        return known

    def _worked_out(self, begin: int, end: int) -> list[Span]:
        regular = merged(span for source in self._openings for span in source.spans(begin, end))
        kept = without(regular, merged(self._exceptions.spans(begin, end)))
        return clipped(merged([*kept, *self._once.spans(begin, end)]), max(begin, FIRST), min(end, LAST))
