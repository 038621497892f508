"""Whether a stage object may be raised to enforce: what must have been observed and acknowledged, and what is missing.

In: a policy's cycles, stretches of time in which everything was recorded, groups of traffic that enforcement would
drop, what people acknowledged, and the time. Out: a verdict in words. Pure: who recorded what, and by which policy it
is judged, is `gateway.control.readiness`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.windows.cycles import cycle_occurrences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rules.model import Policy

DEFAULT_OBSERVED: Final = timedelta(days=7)  # of objects that no cycle concerns
UNUSED: Final = "CONDUIT_UNUSED"  # the reason of the group that stands for "carried nothing"
QUARTER: Final = timedelta(minutes=15)  # the tape knows no finer time
Interval = tuple[datetime, datetime]


class Group(NamedTuple):
    """What one acknowledgement names: these frames of this stage object, dropped for this reason."""

    object: str  # key of the stage object
    source: str  # asset, or the address of what is no asset's
    destination: str
    service: str
    reason: str

    def text(self) -> str:
        """Return it as people say it."""
        if self.reason == UNUSED:
            return "never used while it was observed"
        return f"{self.source} → {self.destination} {self.service} ({self.reason})"


@dataclass(slots=True)
class WouldDrop:
    """How often something of a group was seen. Times are nanoseconds since the epoch."""

    group: Group
    first_ns: int
    last_ns: int
    flows: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who took a group's loss on, why, and until when (None: for good)."""

    number: int
    group: Group
    who: str
    since: datetime
    reason: str
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Tell whether it still covers its group."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one cycle was observed; `name` "" is the default of seven days."""

    name: str
    minimum: int
    whole: tuple[Interval, ...]  # occurrences of which everything was recorded
    observed: timedelta = timedelta(0)  # counts for the default only

    @property
    def is_done(self) -> bool:
        """Tell whether it was observed often enough."""
        return len(self.whole) >= self.minimum if self.name else self.observed >= DEFAULT_OBSERVED

    def text(self) -> str:
        """Return it in words."""
        if self.name:
            return f"{len(self.whole)} of {self.minimum} occurrences of cycle {self.name} observed"
        days = int(self.observed / timedelta(days=1) * 10) / 10  # never rounded up: 7 must mean 7
        return f"{days:g} of {DEFAULT_OBSERVED.days} days observed (no cycle is declared for it)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one stage object, and what is missing until it may enforce."""

    cycles: tuple[Progress, ...]
    would_drops: tuple[tuple[WouldDrop, Acknowledgement | None], ...]
    used: bool | None  # None: not a conduit
    missing: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """Tell whether nothing is missing."""
        return not self.missing


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Return intervals in order, those that touch or overlap as one."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif begin < end:
            found.append((begin, end))
    return found


def progress(policy: Policy, names: Sequence[str], recorded: Iterable[Interval]) -> tuple[Progress, ...]:
    """Return how far each of these cycles was observed; without any, how far the seven days were.

    An occurrence counts when one stretch of recording holds all of it. `every` begins anew with each stretch.
    """
    stretches = joined(recorded)
    if not names:
        return (Progress("", 1, tuple(stretches), sum((end - begin for begin, end in stretches), timedelta(0))),)
    return tuple(Progress(name, policy.cycles[name].minimum, _whole(policy, name, stretches)) for name in names)


def _whole(policy: Policy, name: str, stretches: list[Interval]) -> tuple[Interval, ...]:
    if not stretches:
        return ()
    if policy.cycles[name].every is not None:
        return tuple(one for begin, end in stretches for one in cycle_occurrences(policy, name, begin, end))
    begins = [begin for begin, _ in stretches]
    found = []
    for opens, closes in cycle_occurrences(policy, name, begins[0], stretches[-1][1]):
        at = bisect_right(begins, opens) - 1
        if at >= 0 and closes <= stretches[at][1]:
            found.append((opens, closes))
    return tuple(found)


def was_used(cycles: Iterable[Progress], quarters: Iterable[datetime]) -> bool:
    """Tell whether traffic of these quarters of an hour (their beginnings) lies in anything that was observed whole."""
    spans = joined(span for cycle in cycles for span in cycle.whole)
    begins = [begin for begin, _ in spans]
    for quarter in quarters:
        at = bisect_right(begins, quarter + QUARTER - timedelta(microseconds=1)) - 1
        if at >= 0 and quarter < spans[at][1]:
            return True
    return False


def verdict(
    key: str,
    cycles: tuple[Progress, ...],
    would_drops: Iterable[WouldDrop],
    acknowledged: Mapping[Group, Acknowledgement],
    *,
    used: bool | None,
) -> Verdict:
    """Return the verdict on a stage object. used: None for what is no conduit; acknowledged: those that hold now."""
    rows = tuple((one, acknowledged.get(one.group)) for one in would_drops)
    missing = [cycle.text() for cycle in cycles if not cycle.is_done]
    unused = Group(key, "", "", "", UNUSED)
    if used is False and unused not in acknowledged:
        missing.append(unused.text())
    for one, covering in rows:
        if covering is None:
            missing.append(f"{_amount(one)} of {one.group.text()} not acknowledged")
    return Verdict(cycles, rows, used, tuple(missing))


def _amount(one: WouldDrop) -> str:
    count, word = (one.frames, "frame") if one.frames else (one.flows, "conversation")
    return f"{count} {word}{'' if count == 1 else 's'}"


def covering(acknowledgements: Iterable[Acknowledgement], now: datetime) -> dict[Group, Acknowledgement]:
    """Return the acknowledgements that hold now, by what they cover; of several the newest."""
    return {one.group: one for one in sorted(acknowledgements, key=lambda one: one.number) if one.holds(now)}
