"""Recurrences: which local moments a rule names, and the openings that begin there.

In: a local start, a `Rule`, a length. Out: local moments in order, and spans. The work for a question about some
weeks is bounded by those weeks and not by how long ago the rule began. Must never let a rule run on to the end of the
calendar: each walk has a last moment.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from rules.windows.local_time import DAY, EPOCH, LAST, second_of
from rules.windows.rrule_text import MAX_OCCURRENCES, RuleError
from rules.windows.spans import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from rules.windows.local_time import LocalTime
    from rules.windows.rrule_text import Rule
    from rules.windows.spans import Span

END: Final = EPOCH + timedelta(seconds=LAST)
YEAR: Final = timedelta(days=366)
HORIZON: Final = 10 * YEAR  # a rule that names nothing for so long is a mistake
STEPS: Final = {"HOURLY": timedelta(hours=1), "DAILY": timedelta(days=1), "WEEKLY": timedelta(weeks=1)}
MONTHS: Final = {"MONTHLY": 1, "YEARLY": 12}


class Moments:
    """The local moments that a rule names, from a start on; without a rule the start alone."""

    def __init__(self, start: datetime, rule: Rule | None) -> None:
        self._start = start
        self._rule = rule
        self._counted: list[datetime] = []  # of a rule with COUNT, as far as it was asked for
        self._more: Iterator[datetime] = iter(())
        if rule is not None and rule.count is not None:
            self._more = islice(rule.between(start, END), rule.count)

    def check(self) -> None:
        """Raise RuleError for a rule that names nothing in reach or too much."""
        first = next(iter(self._walk(self._start, self._start + HORIZON)), None)
        if first is None:
            raise RuleError("this names no moment within ten years of its start", "check the days and UNTIL", "POL073")
        crowded = self._rule is not None and self._rule.most_in_a_year > MAX_OCCURRENCES
        if crowded and len(list(islice(self._walk(first, first + YEAR), MAX_OCCURRENCES + 1))) > MAX_OCCURRENCES:
            detail = f"this begins more than {MAX_OCCURRENCES} times a year"
            raise RuleError(detail, "one longer opening instead of many", "POL072")

    def between(self, first: datetime, last: datetime) -> Iterable[datetime]:
        """Return the moments from first to last, both included, in order."""
        if self._rule is None:
            return [self._start] if first <= self._start <= last else []
        if self._rule.count is None:
            return self._walk(first, last)
        while not self._counted or self._counted[-1] <= last:
            moment = next(self._more, None)
            if moment is None:
                break
            self._counted.append(moment)
        return [moment for moment in self._counted if first <= moment <= last]

    def _walk(self, first: datetime, last: datetime) -> Iterable[datetime]:
        rule = self._rule
        if rule is None:
            return self.between(first, last)
        until = last if rule.until_local is None else min(last, rule.until_local)
        moments = rule.between(self._start_near(rule, first), until)
        return (moment for moment in moments if moment >= first)

    def _start_near(self, rule: Rule, first: datetime) -> datetime:
        """Return a start from which the rule names the same moments, at least one period before `first` if it can."""
        start = self._start
        if first <= start:
            return start
        step = STEPS.get(rule.frequency)
        if step is not None:
            periods = (first - start) // (step * rule.interval) - 1
            return start + max(0, periods) * step * rule.interval
        if start.day > 28:  # not every month has it
            return start
        months = MONTHS[rule.frequency] * rule.interval
        apart = (first.year - start.year) * 12 + first.month - start.month
        year, month = divmod(start.month - 1 + max(0, apart // months - 1) * months, 12)
        return start.replace(year=start.year + year, month=month + 1)


class Recurring:
    """Openings that begin at moments of a rule and last so many seconds, or for events of dates so many days."""

    def __init__(
        self,
        local: LocalTime,
        moments: Moments,
        *,
        seconds: int = 0,
        days: int = 0,
        until: datetime | None = None,
        removed: AbstractSet[int] = frozenset(),
    ) -> None:
        self._local = local
        self._moments = moments
        self._seconds = seconds
        self._days = timedelta(days=days)
        self._until = None if until is None else second_of(until)
        self._removed = removed

    def spans(self, begin: int, end: int) -> list[Span]:
        """Return when it is open between two instants; what began before or goes on behind is not cut."""
        reach = timedelta(seconds=self._seconds) + self._days
        first = EPOCH + timedelta(seconds=begin - DAY) - reach
        moments = self._moments.between(first, EPOCH + timedelta(seconds=end + DAY))
        found = (self._opening(moment) for moment in moments)
        return merged(span for span in found if span[1] > begin and span[0] < end)

    def _opening(self, moment: datetime) -> Span:
        begin = self._local.instant(moment)
        if begin in self._removed or (self._until is not None and begin > self._until):
            return begin, begin
        return begin, self._local.instant(moment + self._days) if self._days else begin + self._seconds
