"""Plant cycles: which ones lie between two instants, evaluated as windows are.

In: a policy, the name of a cycle, two instants. Out: the occurrences that lie wholly between them: a shift of which
only the end was seen was not observed. `every: 8h` counts stretches of elapsed time from the first instant on.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rules.problems import PolicyError
from rules.windows.local_time import DAY, instant_of, second_of
from rules.windows.reading import Reader

if TYPE_CHECKING:
    from datetime import datetime

    from rules.model import Policy

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
    table = reader.cycle(name, cycle)
    if table is None or reader.problems:
        raise PolicyError(reader.problems)
    first, last = second_of(begin), second_of(end)
    # A day more on both sides, so that what was cut at the edges shows itself by reaching over them.
    spans = table.spans(first - DAY, last + DAY)
    return [(instant_of(opens), instant_of(closes)) for opens, closes in spans if opens >= first and closes <= last]
