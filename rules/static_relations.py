"""What may be said: turns the rules into numbered relations between endpoint classes and the services each permits.

In: the rule, service and conduit records and the set of closed slots. Out: a map from an ordered pair of classes to a
relation, and per service kind the (relation, service class) pairs that are permitted now.
Pairs with the same conduits share one relation, whose number does not depend on what is open: opening or closing a
conduit changes the small permitted sets and never the big map. Must never know nft syntax. Called by `static` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastpath.abi import SERVICE_NEIGHBOUR, FailMode
from rules.records import LoweredPolicy, ServiceKind

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Side = tuple[tuple[int, tuple[int, ...]], ...]  # (service class, conduit slots), sorted: what one direction may say


@dataclass(frozen=True, slots=True)
class Relation:
    """What two endpoint classes may say to each other: `forward` as source to destination, `reverse` the other way."""

    forward: Side
    reverse: Side


@dataclass(frozen=True, slots=True)
class Relations:
    """Relation numbers start at 1; `by_pair` is keyed (source class, destination class)."""

    by_pair: dict[tuple[int, int], int]
    numbered: tuple[Relation, ...]  # numbered[i] has number i + 1


@dataclass(frozen=True, slots=True)
class Permitted:
    """What is permitted now, by relation number."""

    forward: dict[ServiceKind, list[tuple[int, int]]]  # (relation, service class)
    reverse: dict[ServiceKind, list[tuple[int, int]]]
    every_ip_service: list[int]  # relations of an open conduit with `fail: open`
    neighbours: list[int]


def relations(policy: LoweredPolicy) -> Relations:
    """Number the relations of a policy, in an order that depends on the policy alone."""
    sides: dict[tuple[int, int], dict[int, tuple[int, ...]]] = {}
    for rule in policy.rules:
        sides.setdefault((rule.source_class, rule.destination_class), {})[rule.service_class] = rule.conduits
    by_pair: dict[tuple[int, int], int] = {}
    numbers: dict[Relation, int] = {}
    for source, destination in sorted({pair for a, b in sides for pair in ((a, b), (b, a))}):
        relation = Relation(
            tuple(sorted(sides.get((source, destination), {}).items())),
            tuple(sorted(sides.get((destination, source), {}).items())),
        )
        by_pair[source, destination] = numbers.setdefault(relation, len(numbers) + 1)
    return Relations(by_pair, tuple(numbers))


def permitted(policy: LoweredPolicy, numbered: Relations, closed: AbstractSet[int]) -> Permitted:
    """Return what `static` permits while the conduits in `closed` (and only they) are closed."""
    fail = {conduit.slot: conduit.fail for conduit in policy.conduits}
    usable = {slot for slot, mode in fail.items() if slot not in closed and mode is not FailMode.CLOSED}
    fail_open = {slot for slot in usable if fail[slot] is FailMode.OPEN}
    kinds: dict[int, set[ServiceKind]] = {}
    for ranged in policy.services:
        kinds.setdefault(ranged.klass, set()).add(ranged.kind)
    result = Permitted({kind: [] for kind in ServiceKind}, {kind: [] for kind in ServiceKind}, [], [])

    def over_ip(side: Side) -> bool:
        return any(
            not fail_open.isdisjoint(slots) and kinds.get(service, set()) - {ServiceKind.ETHERTYPE}
            for service, slots in side
        )

    for number, relation in enumerate(numbered.numbered, start=1):
        for side, into in ((relation.forward, result.forward), (relation.reverse, result.reverse)):
            for service, slots in side:
                for kind in kinds.get(service, ()):
                    if not usable.isdisjoint(slots):
                        into[kind].append((number, service))
        if over_ip(relation.forward) or over_ip(relation.reverse):
            result.every_ip_service.append(number)
        if any(service == SERVICE_NEIGHBOUR for service, _ in relation.forward):
            result.neighbours.append(number)
    return result
