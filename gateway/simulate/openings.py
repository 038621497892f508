"""Conduits with windows, opened and closed in a simulation's own state as the capture's clock goes by.

In: a schedule and the time of the next frame. Out: the state's open bits as they were then, and how long they hold.
Also called by `explain --at`. Pure but for the state that it is given.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from rules.state import set_conduit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.compile import Compiled

ALWAYS: Final = (0, 2**64 - 1)  # nanoseconds
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Schedule(Protocol):
    """When conduits with windows are open."""

    def open_at(self, conduit: str, instant: datetime, /) -> bool:
        """Tell whether a conduit is open at a moment."""

    def next_change(self, instant: datetime, /) -> datetime | None:
        """Return the first moment after this one at which any conduit opens or closes; None: never."""


class Openings:
    """The conduits of one state that windows open. `slots` names them; without any nothing ever changes."""

    def __init__(self, state: bytearray, slots: Mapping[str, int], schedule: Schedule) -> None:
        self._state = state
        self._slots = slots
        self._schedule = schedule

    def turn_to(self, time_ns: int) -> tuple[int, int]:
        """Make the state that of a moment; return from when until when (excluded) it holds, at least."""
        if not self._slots:
            return ALWAYS
        instant = _EPOCH + time_ns // 1000 * _MICROSECOND
        for conduit, slot in self._slots.items():
            set_conduit(self._state, slot, open=self._schedule.open_at(conduit, instant))
        change = self._schedule.next_change(instant)
        until = ALWAYS[1] if change is None else (change - _EPOCH) // _MICROSECOND * 1000
        return time_ns, max(until, time_ns + 1)


def timed_slots(compiled: Compiled) -> dict[str, int]:
    """Return name and slot of the conduits that their windows alone open and close."""
    conduits = compiled.policy.conduits
    return {
        record.name: record.slot
        for record in compiled.lowered.conduits
        if conduits[record.name].windows and conduits[record.name].enabled and not conduits[record.name].requires
    }
