"""What stood where a new policy enforces: so that another name is no way around the proof.

In: the standing of two policies. Out: whether frames that a pair of zones or a conduit of the new one decides were let
through before by something that did not enforce. A zone follows those of its name and those that had its ports and
VLANs; a conduit follows what decided between its zones. A port that was in no bridge has nothing before it. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Stage
from gateway.control.stages import UNKNOWN_ZONE_NAME, StageObject, StageTable, zone_numbers
from gateway.tape.coverage import ways_of
from rules.services import known_services, service_ranges
from rules.zoning import Zoning

if TYPE_CHECKING:
    from rules.compile import Compiled
    from rules.conduit_model import Conduit
    from rules.pairs import PairStages

    Pair = tuple[str, str]

SCOPE: Final = (
    "source", "destination", "services", "operations", "constraints", "via", "requires", "windows", "limit", "enabled",
)  # fmt: skip  # the fields of a conduit that say what it decides, and when


@dataclass(frozen=True)
class Standing:
    """A policy and its stages."""

    compiled: Compiled
    table: StageTable
    pairs: PairStages

    def reach(self, name: str) -> frozenset[Pair]:
        """Return between which zones a conduit decides; a group is behind every port."""
        conduit = self.compiled.policy.conduits[name]
        sources = self._zoning.reached_zones(conduit.opener())
        group = conduit.destination.group
        destinations = self.compiled.policy.zones if group else self._zoning.reached_zones(conduit.destination)
        return frozenset((source, other) for source in sources for other in destinations if source != other)

    @cached_property
    def _zoning(self) -> Zoning:
        return Zoning(self.compiled.policy)


def may_drop(conduit: Conduit) -> bool:
    """Tell whether a conduit can be the object of a drop: while it is open and without conditions it never is."""
    bounded = conduit.windows or conduit.requires or conduit.limit or conduit.operations or conduit.constraints
    return bool(bounded) or not conduit.enabled


class Predecessors:
    """What was before, by what comes."""

    def __init__(self, old: Standing, new: Standing) -> None:
        self._old, self._new = old, new
        self._numbers = zone_numbers(old.compiled.lowered)

    @cached_property
    def _zones(self) -> dict[str, frozenset[str]]:
        """Return which zones of before each zone follows."""
        then, now = ways_of(self._old.compiled.lowered), ways_of(self._new.compiled.lowered)
        owned_then = {(way.port, way.vlan): way.zone for way in then}
        owned_now = {(way.port, way.vlan) for way in now}
        ports_then, ports_now = ({way.port for way in ways} for ways in (then, now))
        found: dict[str, set[str]] = {name: {name} & self._numbers.keys() for name in self._new_names()}
        for way in now:
            if way.port in ports_then:
                found[way.zone].add(owned_then.get((way.port, way.vlan), UNKNOWN_ZONE_NAME))
        for place, zone in owned_then.items():
            if place not in owned_now and place[0] in ports_now:
                found[UNKNOWN_ZONE_NAME].add(zone)
        return {name: frozenset(zones) for name, zones in found.items()}

    def _new_names(self) -> list[str]:
        return list(zone_numbers(self._new.compiled.lowered))

    def pair_takes_over(self, source: str, destination: str) -> bool:
        """Tell whether anything between these zones of now was let through before: within a zone, or by its pair."""
        pairs = ((one, other) for one in self._zones[source] for other in self._zones[destination])
        return any((one == other != UNKNOWN_ZONE_NAME) or self._lets_through(one, other) for one, other in pairs)

    def _lets_through(self, source: str, destination: str) -> bool:
        return self._old.pairs[self._numbers[source], self._numbers[destination]] is not Stage.ENFORCE

    @cached_property
    def moved(self) -> frozenset[str]:
        """The zones that follow anything but themselves."""
        return frozenset(name for name, before in self._zones.items() if before != {name})

    def conduit_takes_over(self, name: str) -> bool:
        """Tell whether a conduit, new or of another text, decides what was decided without enforcing before."""
        if self._same(name):
            return False
        reach = self._new.reach(name)
        if any(self.pair_takes_over(*pair) for pair in reach):
            return True
        before = {(one, other) for pair in reach for one in self._zones[pair[0]] for other in self._zones[pair[1]]}
        return any(not before.isdisjoint(reach) for reach in self._lax)

    @cached_property
    def _lax(self) -> list[frozenset[Pair]]:
        """Between which zones a conduit could be the object of a drop and did not enforce."""
        table, conduits = self._old.table, self._old.compiled.policy.conduits
        able = [name for name, one in conduits.items() if may_drop(one)]
        lax = [name for name in able if table.current(StageObject(conduit=name)) is not Stage.ENFORCE]
        return [self._old.reach(name) for name in lax]

    def _same(self, name: str) -> bool:
        known = self._old.compiled.policy.conduits
        return name in known and self._scope(self._old, name) == self._scope(self._new, name)

    def _scope(self, standing: Standing, name: str) -> tuple[Any, ...]:
        policy = standing.compiled.policy
        conduit = policy.conduits[name]
        services = self._old_services if standing is self._old else self._new_services
        ranges = [service_ranges(services[service]) for service in conduit.services]
        windows = [policy.windows[window] for window in conduit.windows]
        return (*(getattr(conduit, field) for field in SCOPE), ranges, windows)

    @cached_property
    def _old_services(self) -> dict[str, Any]:
        return known_services(self._old.compiled.policy)

    @cached_property
    def _new_services(self) -> dict[str, Any]:
        return known_services(self._new.compiled.policy)
