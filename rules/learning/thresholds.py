"""How much must have been seen before learning says so. Shares are percentages of what would be permitted.

In: an operator's options. Out: `Thresholds` and the questions asked of them. The reasons for the numbers:
docs/decisions/0021-what-learning-groups.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When ends become a role, and when many become too many."""

    members: int = 2  # of a role in a zone: at least so many were seen
    member_percent: int = 80  # and so much of the role
    pair_percent: int = 80  # and so much of the pairs that the conduit would permit
    ports: int = 16  # of one pair: more looks like a scan, or like ports drawn by lot
    unlisted: int = 16  # addresses that are no asset's, of one source by one service: more looks like a sweep
    occasions: int = 3  # openings of a window before it is proposed

    def enough_members(self, seen: int, members: int) -> bool:
        """Tell whether a role may stand for those of its members that were seen."""
        return seen >= self.members and seen * 100 >= self.member_percent * members

    def enough_pairs(self, seen: int, permitted: int) -> bool:
        """Tell whether a conduit may permit so many pairs."""
        return seen * 100 >= self.pair_percent * permitted
