"""How sure one may be that something seen belongs to the plant: high, medium or low, and why.

In: what was seen, whether it was answered, how much of it would be permitted unseen. Out: `Confidence`. Pure arithmetic
over days and quarters of an hour; every point it gives or takes has its reason in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from rules.learning.evidence import SLOT_S, together

if TYPE_CHECKING:
    from collections.abc import Collection

    from rules.learning.evidence import Seen
    from rules.learning.sifting import Traffic

DAYS: Final = 3
SLOTS: Final = 8  # two hours
REGULAR_SLOTS: Final = 4
REGULAR_PERCENT: Final = 80
BRIEF_NS: Final = 60 * 1_000_000_000
HIGH: Final = 3
MEDIUM: Final = 1


class Level(IntEnum):
    """How sure."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure, and why."""

    level: Level
    reasons: tuple[str, ...]


def confidence(traffic: Collection[Traffic], permitted: int) -> Confidence:
    """Return how sure one may be of a path: `traffic` of each pair seen, and how many pairs it would permit."""
    whole = together(part for one in traffic for part in one.parts)
    points, reasons = _points(whole, answered=_answered(traffic))
    level = _level(points, whole.days)
    unseen = permitted - len(traffic)
    if unseen:
        reasons.append(f"{unseen} of {permitted} pairs never seen")
    rare = sum(_points(one.seen, answered=one.answered)[0] < MEDIUM for one in traffic)
    if rare and len(traffic) > 1:
        reasons.append(f"{rare} of {len(traffic)} pairs seen too little by themselves")
    if level is Level.HIGH and (rare or unseen):
        level = Level.MEDIUM
    return Confidence(level, tuple(reasons))


def _answered(traffic: Collection[Traffic]) -> bool | None:
    """Return False when anybody kept silent, True when anybody answered, else None."""
    answers = {one.answered for one in traffic}
    return False if False in answers else True if True in answers else None


def _level(points: int, days: int) -> Level:
    if points < MEDIUM:
        return Level.LOW
    return Level.HIGH if points >= HIGH and days >= DAYS else Level.MEDIUM


def _points(seen: Seen, *, answered: bool | None) -> tuple[int, list[str]]:
    slots = len(seen.slots)
    points = 0
    reasons = [f"seen on {counted(seen.days, 'day')}, in {counted(slots, 'quarter-hour')}"]
    points += (seen.days >= DAYS) + (slots >= SLOTS)
    if slots == 1 and seen.last_ns - seen.first_ns < BRIEF_NS:
        points -= 1
        reasons.append("for less than a minute")
    stretch = (max(seen.slots) - min(seen.slots)) // SLOT_S + 1
    if slots >= REGULAR_SLOTS and slots * 100 >= REGULAR_PERCENT * stretch:
        points += 1
        reasons.append(f"regular: in {slots} of {stretch} quarter-hours from first to last")
    if answered is not None:
        points += 1 if answered else -2
        reasons.append("answered" if answered else "not always answered")
    else:
        reasons.append("nobody knows whether it was answered")
    return points, reasons


def counted(number: int, word: str) -> str:
    """Return a number of things in words: 1 day, 2,000 days."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
