"""The windows of a whole policy: which conduits are open at an instant, and when any of them changes next.

In: a policy whose windows are understood. Out: `Schedule`. Conduits that name the same windows are asked for once, so
10,000 conduits with 100 windows cost what 100 windows cost. Must never read a clock: every question names its instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.windows.local_time import instant_of, second_of
from rules.windows.reading import timetables
from rules.windows.timetable import Fixed, Timetable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from rules.conduit_model import Conduit
    from rules.model import Policy

Interval = tuple["datetime", "datetime"]
QUICK_STEPS = 20  # nearly always one or two; beyond it, uniting the windows costs less than walking on


class Schedule:
    """The windows of one policy. Instants have a time zone; what comes back is in UTC."""

    def __init__(self, policy: Policy, windows: Mapping[str, Timetable]) -> None:
        self.windows = windows
        self._conduits = policy.conduits
        self._groups: dict[tuple[str, ...], list[str]] = {}  # windows → the conduits that they govern
        for name, conduit in policy.conduits.items():
            if governed(conduit):
                self._groups.setdefault(conduit.windows, []).append(name)
        self._named = {name for windows in self._groups for name in windows}

    @property
    def governed(self) -> Iterator[str]:
        """The conduits that windows open and close; what is disabled or requires a session is not among them."""
        return (name for names in self._groups.values() for name in names)

    def open_at(self, conduit: str, instant: datetime) -> bool:
        """Say whether the policy has a conduit open at an instant. Raises KeyError for an unknown one."""
        model = self._conduits[conduit]
        if not governed(model):
            return model.enabled and not model.requires
        second = second_of(instant)
        return any(self.windows[name].open_at(second) for name in model.windows)

    def open_windows(self, instant: datetime) -> set[str]:
        """Return the names of the windows that are open, of those that govern a conduit."""
        second = second_of(instant)
        return {name for name in self._named if self.windows[name].open_at(second)}

    def open_conduits(self, instant: datetime) -> dict[str, bool]:
        """Return for every governed conduit whether it is open."""
        standing = self.open_windows(instant)
        return {name: not standing.isdisjoint(windows) for windows, names in self._groups.items() for name in names}

    def next_change(self, instant: datetime) -> datetime | None:
        """Return the first later instant at which any window of a conduit opens or closes; None: none in ten years."""
        second = second_of(instant)
        changes = [self.windows[name].next_change(second) for name in self._named]
        soonest = min((change for change in changes if change is not None), default=None)
        return None if soonest is None else instant_of(soonest)

    def next_change_of(self, conduit: str, instant: datetime) -> datetime | None:
        """Return when one conduit opens or closes next; None for one that no window governs. Raises KeyError."""
        model = self._conduits[conduit]
        change = self._next_of(model.windows, second_of(instant)) if governed(model) else None
        return None if change is None else instant_of(change)

    def intervals(self, window: str, begin: datetime, end: datetime) -> list[Interval]:
        """Return when a window is open between two instants, cut to them. Raises KeyError for an unknown window."""
        spans = self.windows[window].spans(second_of(begin), second_of(end))
        return [(instant_of(opens), instant_of(closes)) for opens, closes in spans]

    def _next_of(self, windows: tuple[str, ...], second: int) -> int | None:
        """Return when the conduits of these windows change: one window may close while another is open."""
        tables = [self.windows[name] for name in windows]
        was_open = any(table.open_at(second) for table in tables)
        here = second
        for _ in range(QUICK_STEPS):
            changes = [change for table in tables if (change := table.next_change(here)) is not None]
            if not changes:
                return None
            here = min(changes)
            if any(table.open_at(here) for table in tables) != was_open:
                return here
        return Timetable(tables, Fixed(()), Fixed(())).next_change(second)


def governed(conduit: Conduit) -> bool:
    """Say whether windows open and close a conduit."""
    return bool(conduit.windows) and conduit.enabled and not conduit.requires


def schedule(policy: Policy) -> Schedule:
    """Return the schedule of a policy. Raises PolicyError when a window is not understood."""
    return Schedule(policy, timetables(policy))
