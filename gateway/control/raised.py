"""Which stage objects a change raises to enforce.

In: the stages in force and those to come. Out: `Raised`. An object is raised when its own stage becomes enforce, or, by
the ceiling, its effective one. Reads only; called by `promotion`, without and with the core's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastpath.abi import UNKNOWN_ZONE, Stage
from gateway.control.stages import UNKNOWN_ZONE_NAME, StageObject, StageTable, put_all, surviving
from gateway.control.state_map import StateMap
from rules.state import build_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.control.in_force import PolicyInForce
    from gateway.control.state_dir import StageOverride
    from rules.compile import Compiled
    from rules.pairs import PairStages
    from rules.records import LoweredPolicy

CEILING: Final = StageObject()


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy and its stages."""

    lowered: LoweredPolicy
    table: StageTable
    pairs: PairStages


def standing(policy: PolicyInForce) -> Standing:
    """Return the stages in force."""
    return Standing(policy.lowered, policy.stages, policy.state.pairs())


def standing_of(compiled: Compiled, overrides: Mapping[str, StageOverride]) -> Standing:
    """Return the stages with which a policy would come into force."""
    store = StateMap(memoryview(build_state(compiled.lowered, 1, {})))
    table = StageTable(compiled.lowered, store)
    put_all(surviving(overrides, table), table)
    return Standing(compiled.lowered, table, store.pairs())


@dataclass(frozen=True, slots=True)
class Raised:
    """Objects that a change raises to enforce; with the ceiling, every pair whose own stage is that."""

    objects: tuple[StageObject, ...] = ()
    table: StageTable | None = None  # of after the change

    def keys(self) -> frozenset[str]:
        """Return the names of the objects."""
        return frozenset(target.key for target in self.objects)


def raised_by_stage(table: StageTable, target: StageObject, wanted: Stage) -> Raised:
    """Return what setting a stage raises to enforce."""
    if wanted is not Stage.ENFORCE or table.current(target) is Stage.ENFORCE:
        return Raised()
    if target != CEILING:
        return Raised((target,), table)
    conduits = table.conduits()
    return Raised((CEILING, *(one for one in conduits if table.current(one) is Stage.ENFORCE)), table)


def raised_by_policy(old: Standing, new: Standing) -> Raised:
    """Return what a policy raises to enforce among the objects that both know: a new conduit is no promotion."""
    found = []
    ceiling = new.table.current(CEILING) is Stage.ENFORCE and old.table.current(CEILING) is not Stage.ENFORCE
    for target in new.table.conduits():
        if not old.table.knows(target) or new.table.current(target) is not Stage.ENFORCE:
            continue
        if ceiling or old.table.current(target) is not Stage.ENFORCE:
            found.append(target)
    if old.lowered.zones != new.lowered.zones or old.pairs != new.pairs:
        found += _pairs_raised(old, new)
    return Raised((CEILING, *found) if ceiling else tuple(found), new.table)


def _pairs_raised(old: Standing, new: Standing) -> Iterator[StageObject]:
    numbers = {UNKNOWN_ZONE_NAME: UNKNOWN_ZONE} | {zone.name: zone.number for zone in old.lowered.zones}
    names = {UNKNOWN_ZONE: UNKNOWN_ZONE_NAME} | {zone.number: zone.name for zone in new.lowered.zones}
    for source, destination in new.pairs.enforced(is_it=True):
        pair = names[source], names[destination]
        if source == destination or any(name not in numbers for name in pair):
            continue
        if old.pairs[numbers[pair[0]], numbers[pair[1]]] is not Stage.ENFORCE:
            yield StageObject(pair=pair)
