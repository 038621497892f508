"""Waivers: a check's finding at one object that somebody has taken on, until a day.

In: the policy's waivers and today's date. Out: who waived a finding, and which waivers waived nothing.
A waiver speaks of one code at one object; an expired one speaks of nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.problems import Waived

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from rules.model import Waiver


class Waivers:
    """The waivers of one policy that hold on one day; remembers which were needed, and which codes were asked."""

    def __init__(self, waivers: tuple[Waiver, ...], today: date | None) -> None:
        self._holding = {
            (waiver.code, waiver.at): (index, waiver)
            for index, waiver in enumerate(waivers)
            if today is None or waiver.until >= today
        }
        self._needed: set[int] = set()
        self.asked: set[str] = set()

    def of(self, code: str, at: str) -> Waived | None:
        """Return the waiver of a finding."""
        index, waiver = self._holding.get((code, at), (0, None))
        if waiver is None:
            return None
        self._needed.add(index)
        return Waived(waiver.who, waiver.why, waiver.until)

    def idle(self) -> Iterator[tuple[int, Waiver]]:
        """Yield the waivers that hold and waived nothing, with their position."""
        for index, waiver in self._holding.values():
            if index not in self._needed:
                yield index, waiver
