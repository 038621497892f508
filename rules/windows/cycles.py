"""Plant cycles: which ones lie between two instants, evaluated as windows are.

In: a policy, the name of a cycle, two instants. Out: the occurrences that lie wholly between them: a shift of which
only the end was seen was not observed. `every: 8h` counts stretches of elapsed time from the first instant on. Shifts
that follow each other without a gap are shifts of their own: each entry and day of `weekly`, each rule by itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rules.problems import PolicyError
from rules.windows.local_time import DAY, instant_of, second_of
from rules.windows.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rules.model import Policy
    from rules.windows_model import Cycle

Interval = tuple["datetime", "datetime"]


def cycle_occurrences(policy: Policy, name: str, begin: datetime, end: datetime) -> list[Interval]:
    """Return the occurrences of a cycle between two instants, oldest first.

    Raises KeyError for an unknown cycle, PolicyError for one that is not understood.
    """
    cycle = policy.cycles[name]
    if cycle.every is not None:
        count = max(timedelta(0), end - begin) // cycle.every
        return [(begin + at * cycle.every, begin + (at + 1) * cycle.every) for at in range(count)]
    reader = Reader(policy)
    first, last = second_of(begin), second_of(end)
    found = set()
    for part in _parts(cycle):
        table = reader.cycle(name, part)
        if table is None or reader.problems:
            raise PolicyError(reader.problems)
        # A day more on both sides, so that what was cut at the edges shows itself by reaching over them.
        found.update(table.spans(first - DAY, last + DAY))
    return [
        (instant_of(opens), instant_of(closes)) for opens, closes in sorted(found) if first <= opens < closes <= last
    ]


def _parts(cycle: Cycle) -> Iterator[Cycle]:
    """Yield what must not run together: a timetable knows only open and closed."""
    for entry in cycle.weekly:
        for day in set(entry.days):
            yield cycle.model_copy(update={"weekly": (entry.model_copy(update={"days": (day,)}),)})
    for rule in cycle.rules:
        yield cycle.model_copy(update={"rules": (rule,)})
