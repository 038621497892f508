"""Whether something was only ever seen while one of the policy's windows was open.

In: a policy whose windows are understood, quarters of an hour. Out: a window's name, or none. A quarter of an hour
counts as inside only when the window was open for all of it: nothing finer is kept, and a window proposed must not cut
off what it was learned from.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from rules.learning.evidence import DAY_S, SLOT_S
from rules.windows.reading import timetables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.learning.thresholds import Thresholds
    from rules.model import Policy
    from rules.windows.spans import Span


class Occasions:
    """The openings of a policy's windows around everything that was seen."""

    def __init__(self, policy: Policy, slots: Iterable[int], thresholds: Thresholds) -> None:
        """Raises PolicyError when a window is not understood."""
        seen = set(slots)
        self._least = thresholds.occasions
        self._openings: dict[str, list[Span]] = {}
        if policy.windows and seen:
            begin, end = min(seen) - DAY_S, max(seen) + DAY_S
            self._openings = {name: list(table.spans(begin, end)) for name, table in timetables(policy).items()}

    def window(self, slots: frozenset[int]) -> str | None:
        """Return the window that is open the shortest time, of those that everything was seen in."""
        fitting = [
            (sum(closes - opens for opens, closes in spans), name)
            for name, spans in self._openings.items()
            if self._within(slots, spans)
        ]
        return min(fitting)[1] if fitting else None

    def _within(self, slots: frozenset[int], spans: list[Span]) -> bool:
        used = set()
        for slot in slots:
            at = bisect_right(spans, slot, key=lambda span: span[0]) - 1
            if at < 0 or spans[at][1] < slot + SLOT_S:
                return False
            used.add(at)
        return len(used) >= self._least
