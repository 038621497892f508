"""Conduits with windows, opened and closed in a state of one's own: a simulation's as its capture's clock goes by.

In: a policy's schedule and a moment. Out: the state's open bits as the policy wants them then, and how long they hold.
Also called by `explain --at`. Never touches the live state: that is done by whoever watches the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from gateway.errors import ConfigError
from rules.state import set_conduit
from rules.windows import schedule

if TYPE_CHECKING:
    from rules.compile import Compiled

ALWAYS: Final = (0, 2**64 - 1)  # nanoseconds
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Openings:
    """The conduits of one state that windows open. Without any, nothing ever changes."""

    def __init__(self, compiled: Compiled, state: bytearray) -> None:
        self._state = state
        self._schedule = schedule(compiled.policy)
        self._slots = {record.name: record.slot for record in compiled.lowered.conduits}
        self._governed = any(True for _ in self._schedule.governed)

    def turn_to(self, instant: datetime) -> None:
        """Make the state that of a moment."""
        for conduit, is_open in self._schedule.open_conduits(instant).items():
            set_conduit(self._state, self._slots[conduit], open=is_open)

    def turn_to_ns(self, time_ns: int) -> tuple[int, int]:
        """The same for nanoseconds since 1970; return from when until when (excluded) it holds, at least."""
        if not self._governed:
            return ALWAYS
        instant = _EPOCH + time_ns // 1000 * _MICROSECOND
        self.turn_to(instant)
        change = self._schedule.next_change(instant)
        until = ALWAYS[1] if change is None else (change - _EPOCH) // _MICROSECOND * 1000
        return time_ns, max(until, time_ns + 1)


def moment(compiled: Compiled, text: str) -> datetime:
    """Return the moment that an operator names; without an offset it is the site's local time. Raises ConfigError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        hint = "like 2026-11-28T06:00 (the site's local time) or 2026-11-28T06:00+01:00"
        raise ConfigError("time_unreadable", f"{text!r} is no moment: {error}", hint) from error
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(compiled.policy.site.timezone))
