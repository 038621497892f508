"""What a new policy would change, object by object: the answer of `--dry-run` and a line in the journal.

In: two compiled policies. Out: names added, removed and changed. Compares the operators' own objects by name, never by
number, since numbers follow the order of the text; `same` says whether both mean the same all the same. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.control.stages import zone_numbers
from rules.pairs import PairSet, PairStages, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastpath.abi import Stage
    from rules.compile import Compiled
    from rules.model import Policy
    from rules.records import LoweredPolicy


SECTIONS: Final = ("zones", "assets", "services", "conduits", "windows", "roles", "cycles")
KINDS: Final = (*SECTIONS, "pairs")


@dataclass(frozen=True, slots=True)
class ObjectChanges:
    """Names of one kind of object."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyChanges:
    """All kinds; `same` when both policies mean the same."""

    same: bool
    zones: ObjectChanges
    assets: ObjectChanges
    services: ObjectChanges
    conduits: ObjectChanges
    windows: ObjectChanges
    roles: ObjectChanges
    cycles: ObjectChanges
    pairs: ObjectChanges

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many of each, for the journal."""
        kinds = {name: getattr(self, name) for name in KINDS}
        return {
            kind: {"added": len(found.added), "removed": len(found.removed), "changed": len(found.changed)}
            for kind, found in kinds.items()
        }


def changes(old: Compiled | None, new: Compiled) -> PolicyChanges:
    """Compare two policies; without an old one everything is added."""
    before = old.policy if old else None
    return PolicyChanges(
        same=old is not None and old.lowered.digest == new.lowered.digest,
        **{name: _compare(_section(before, name), _section(new.policy, name)) for name in SECTIONS},
        pairs=_compare_pairs(old.lowered if old else None, new.lowered),
    )


def _section(policy: Policy | None, name: str) -> Mapping[str, Any]:
    return (getattr(policy, name) or {}) if policy is not None else {}


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> ObjectChanges:
    return ObjectChanges(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(
            sorted(name for name in old.keys() & new.keys() if old[name] is not new[name] and old[name] != new[name])
        ),
    )


def _pairs(policy: LoweredPolicy, among: Iterable[tuple[int, int]]) -> dict[str, tuple[Stage, bool]]:
    """Return what these pairs do with a violation: their stage, and whether the sender gets an answer."""
    zones = {number: name for name, number in zone_numbers(policy).items()}
    return {
        f"{zones[a]} -> {zones[b]}": (policy.pair_stages[a, b], (a, b) in policy.pair_refusals)
        for a, b in among
        if a != b
    }


def _compare_pairs(old: LoweredPolicy | None, new: LoweredPolicy) -> ObjectChanges:
    """Compare pair by pair; where the zones are the same ones, only the pairs that differ are named at all."""
    if old is not None and old.zones == new.zones:
        count = len(new.zones) + 1
        cells = [joined(PairStages.of(one.pair_stages), PairSet.of(one.pair_refusals, count)) for one in (old, new)]
        same_length = zip(*cells, strict=True) if cells[0] != cells[1] else ()
        among = [divmod(at, count) for at, (before, after) in enumerate(same_length) if before != after]
        return _compare(_pairs(old, among), _pairs(new, among))
    return _compare(_pairs(old, old.pair_stages) if old is not None else {}, _pairs(new, new.pair_stages))
