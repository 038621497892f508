"""What every check may ask about one policy, computed once: zones that each conduit joins, and who is in them.

In: a `Policy` whose references are right; the day, and the lowered policy where they are known. Out: `Context`.
Must never be slower than linear in assets and conduits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rules.checks.waiving import Waivers
from rules.population import Population

if TYPE_CHECKING:
    from datetime import date

    from rules.conduit_model import Conduit
    from rules.model import Policy
    from rules.records import LoweredPolicy
    from rules.zoning import Zoning

CELLS = frozenset({"control", "safety"})
EXTERNAL = frozenset({"vendor", "remote"})


class Reach(NamedTuple):
    """The zones that a conduit joins; `sources` are those that frames come from: the jump host's where there is one."""

    asked: frozenset[str]
    sources: frozenset[str]
    targets: frozenset[str]


@dataclass
class Context:
    """One policy under examination."""

    policy: Policy
    today: date | None = None
    lowered: LoweredPolicy | None = None
    waivable: frozenset[str] = frozenset()  # codes that a waiver may name
    windows_read: bool = True  # False: some window is not understood, and no timetable can be had

    @cached_property
    def waivers(self) -> Waivers:
        """The waivers that hold today."""
        return Waivers(self.policy.waivers, self.today)

    @cached_property
    def zoning(self) -> Zoning:
        """The policy's zones, prefixes and roles, indexed."""
        return self.population.zoning

    @cached_property
    def population(self) -> Population:
        """The policy's zones and assets; handed in where somebody has it already."""
        return Population(self.policy)

    @cached_property
    def reaches(self) -> dict[str, Reach]:
        """Zones joined, by conduit."""
        return {name: self._reach(conduit) for name, conduit in self.policy.conduits.items()}

    def _reach(self, conduit: Conduit) -> Reach:
        zones = self.zoning.reached_zones
        return Reach(zones(conduit.source), zones(conduit.opener()), zones(conduit.destination))

    @cached_property
    def zones_of_kind(self) -> dict[str, frozenset[str]]:
        """Names of the zones of each kind."""
        found: dict[str, set[str]] = {}
        for name, zone in self.policy.zones.items():
            found.setdefault(zone.kind, set()).add(name)
        return {kind: frozenset(names) for kind, names in found.items()}

    def of_kinds(self, *kinds: str) -> frozenset[str]:
        """Return the names of all zones of these kinds."""
        return frozenset().union(*(self.zones_of_kind.get(kind, ()) for kind in kinds))

    @cached_property
    def cells(self) -> frozenset[str]:
        """Names of the control and safety zones."""
        return self.of_kinds(*CELLS)
