"""Service numbers that every conduit treats alike become one service class.

In: the services that conduits name. Out: sorted disjoint ranges with classes, and the classes of each service.
EtherTypes and IP services never share a class: the first are judged between MACs, the others between addresses.
Called by `lower`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastpath.abi import FIRST_SERVICE_CLASS, SERVICE_NEIGHBOUR
from rules.records import ServiceKind, ServiceRange
from rules.services import known_services, service_ranges, service_size

if TYPE_CHECKING:
    from rules.model import Policy


@dataclass(slots=True)
class ServiceClasses:
    """`of_ip` and `of_ethertype` give the classes of a service by name."""

    ranges: list[ServiceRange] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=lambda: {SERVICE_NEIGHBOUR: "neighbour"})
    sizes: dict[str, int] = field(default_factory=dict)
    of_ip: dict[str, set[int]] = field(default_factory=dict)
    of_ethertype: dict[str, set[int]] = field(default_factory=dict)


def lower_services(policy: Policy) -> ServiceClasses:
    """Return the service classes of everything that the policy's conduits carry."""
    known = known_services(policy)
    used = {name: known[name] for conduit in policy.conduits.values() for name in conduit.services}
    result = ServiceClasses(sizes={name: service_size(service) for name, service in used.items()})
    numbers: dict[tuple[bool, frozenset[str]], int] = {}
    for kind in ServiceKind:
        changes: list[tuple[int, str]] = []  # where a service begins or ends; naming it again toggles it
        for name, service in used.items():
            for first, last in service_ranges(service).get(kind, ()):
                changes += [(first, name), (last + 1, name)]
        _sweep(kind, sorted(changes), numbers, result)
    return result


def _sweep(
    kind: ServiceKind,
    changes: list[tuple[int, str]],
    numbers: dict[tuple[bool, frozenset[str]], int],
    result: ServiceClasses,
) -> None:
    active: set[str] = set()
    for index, (at, name) in enumerate(changes):
        active ^= {name}
        end = changes[index + 1][0] if index + 1 < len(changes) else at
        if not active or end == at:
            continue
        members = frozenset(active)
        klass = numbers.setdefault((kind is ServiceKind.ETHERTYPE, members), FIRST_SERVICE_CLASS + len(numbers))
        result.ranges.append(ServiceRange(kind, at, end - 1, klass))
        result.names.setdefault(klass, min(members, key=lambda member: (result.sizes[member], member)))
        classes = result.of_ethertype if kind is ServiceKind.ETHERTYPE else result.of_ip
        for member in members:
            classes.setdefault(member, set()).add(klass)
