"""Which stage objects a change raises to enforce.

In: the stages in force and those to come. Out: `Raised`. An object is raised when its own stage becomes enforce, or, by
the ceiling, its effective one; and, where the ceiling enforces, when it is new and takes over from something that did
not enforce: a name that nobody knew is no proof. Reads only; called by `promotion`, without and with the core's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastpath.abi import UNKNOWN_ZONE, Stage
from gateway.control.predecessors import Predecessors, Standing, may_drop
from gateway.control.stages import UNKNOWN_ZONE_NAME, StageObject, StageTable, put_all, surviving
from gateway.control.state_map import StateMap
from gateway.tape.coverage import ways_of
from rules.state import build_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.control.in_force import PolicyInForce
    from gateway.control.state_dir import StageOverride
    from rules.compile import Compiled

CEILING: Final = StageObject()


def standing(policy: PolicyInForce) -> Standing:
    """Return the stages in force."""
    return Standing(policy.compiled, policy.stages, policy.state.pairs())


def standing_of(compiled: Compiled, overrides: Mapping[str, StageOverride]) -> Standing:
    """Return the stages with which a policy would come into force."""
    store = StateMap(memoryview(build_state(compiled.lowered, 1, {})))
    table = StageTable(compiled.lowered, store)
    put_all(surviving(overrides, table), table)
    return Standing(compiled, table, store.pairs())


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
    """Return what a policy raises to enforce, by names that both know and by what new names take over."""
    enforces = new.table.current(CEILING) is Stage.ENFORCE
    ceiling = enforces and old.table.current(CEILING) is not Stage.ENFORCE
    before = Predecessors(old, new)
    known = [
        target
        for target in new.table.conduits()
        if new.table.current(target) is Stage.ENFORCE
        and old.table.knows(target)
        and (ceiling or old.table.current(target) is not Stage.ENFORCE)
    ]
    found = [CEILING, *known] if ceiling else known
    asked = frozenset(known)
    if enforces:
        found += [one for one in _taking_over(new, before, all_of_them=ceiling) if one not in asked]
    if _zones_differ(old, new):
        found += _pairs_raised(old, new, before, enforces=enforces)
    return Raised(tuple(found), new.table)


def _taking_over(new: Standing, before: Predecessors, *, all_of_them: bool) -> Iterator[StageObject]:
    """Yield the conduits at enforce that can drop something; by default those that take it over from what did not."""
    for name, conduit in new.compiled.policy.conduits.items():
        target = StageObject(conduit=name)
        if new.table.current(target) is not Stage.ENFORCE or not may_drop(conduit):
            continue
        if all_of_them or before.conduit_takes_over(name):
            yield target


def _zones_differ(old: Standing, new: Standing) -> bool:
    one, other = old.compiled.lowered, new.compiled.lowered
    return old.pairs != new.pairs or one.zones != other.zones or ways_of(one) != ways_of(other)


def _pairs_raised(old: Standing, new: Standing, before: Predecessors, *, enforces: bool) -> Iterator[StageObject]:
    numbers = {UNKNOWN_ZONE_NAME: UNKNOWN_ZONE} | {zone.name: zone.number for zone in old.compiled.lowered.zones}
    names = {UNKNOWN_ZONE: UNKNOWN_ZONE_NAME} | {zone.number: zone.name for zone in new.compiled.lowered.zones}
    for source, destination in new.pairs.enforced(is_it=True):
        pair = names[source], names[destination]
        if source == destination != UNKNOWN_ZONE:
            continue  # within a zone everything passes; but not from nobody's VLAN to nobody's
        known = [numbers[name] for name in pair if name in numbers]
        raised = len(known) == 2 and old.pairs[known[0], known[1]] is not Stage.ENFORCE
        if raised or (enforces and not before.moved.isdisjoint(pair) and before.pair_takes_over(*pair)):
            yield StageObject(pair=pair)
