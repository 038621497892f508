"""Service numbers that every conduit treats alike become one service class.

In: the services that conduits name. Out: sorted disjoint ranges with classes, and the classes of each service.
EtherTypes and IP services never share a class: the first are judged between MACs, the others between addresses.
Called by `lower`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastpath.abi import FIRST_SERVICE_CLASS, SERVICE_NEIGHBOUR, Inspector
from rules.records import ServiceKind, ServiceRange
from rules.services import inspected_ranges, known_services, service_ranges, service_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rules.model import Policy
    from rules.numbers import NumberRange
    from rules.service_model import Service

    Reading = tuple[NumberRange, Inspector]
    Numbered = tuple[bool, frozenset[str], Inspector]

CUT = ""  # no service's name


@dataclass(slots=True)
class ServiceClasses:
    """`of_ip` and `of_ethertype` give the classes of a service by name, `inspectors` what reads a class."""

    ranges: list[ServiceRange] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=lambda: {SERVICE_NEIGHBOUR: "neighbour"})
    sizes: dict[str, int] = field(default_factory=dict)
    of_ip: dict[str, set[int]] = field(default_factory=dict)
    of_ethertype: dict[str, set[int]] = field(default_factory=dict)
    inspectors: dict[int, Inspector] = field(default_factory=dict)


def lower_services(policy: Policy) -> ServiceClasses:
    """Return the service classes of everything that the policy's conduits carry."""
    known = known_services(policy)
    used = {name: known[name] for conduit in policy.conduits.values() for name in conduit.services}
    result = ServiceClasses(sizes={name: service_size(service) for name, service in used.items()})
    readers = _readers(policy, known)
    numbers: dict[Numbered, int] = {}
    for kind in ServiceKind:
        # Where a service begins or ends, naming it again toggles it; and where another inspector begins to read.
        changes: list[tuple[int, str]] = []
        for name, service in used.items():
            for first, last in service_ranges(service).get(kind, ()):
                changes += [(first, name), (last + 1, name)]
        for (first, last), _inspector in readers.get(kind, ()):
            changes += [(first, CUT), (last + 1, CUT)]
        _sweep(kind, sorted(changes), numbers, readers.get(kind, ()), result)
    return result


def _readers(policy: Policy, known: Mapping[str, Service]) -> dict[ServiceKind, list[Reading]]:
    """Return which numbers are read by whom, of the services that inspected conduits carry; `check` found no two."""
    carried = {name for conduit in policy.conduits.values() if conduit.inspected for name in conduit.services}
    found: dict[ServiceKind, list[Reading]] = {}
    for name in sorted(carried):
        for kind, span, inspector in inspected_ranges(known[name]):
            found.setdefault(kind, []).append((span, inspector))
    return found


def _sweep(
    kind: ServiceKind,
    changes: list[tuple[int, str]],
    numbers: dict[Numbered, int],
    readers: Iterable[Reading],
    result: ServiceClasses,
) -> None:
    active: set[str] = set()
    for index, (at, name) in enumerate(changes):
        active ^= {name} - {CUT}
        end = changes[index + 1][0] if index + 1 < len(changes) else at
        if not active or end == at:
            continue
        members = frozenset(active)
        inspector = next((reader for (first, last), reader in readers if first <= at <= last), Inspector.NONE)
        known = (kind is ServiceKind.ETHERTYPE, members, inspector)
        klass = numbers.setdefault(known, FIRST_SERVICE_CLASS + len(numbers))
        if inspector:
            result.inspectors[klass] = inspector
        result.ranges.append(ServiceRange(kind, at, end - 1, klass))
        result.names.setdefault(klass, min(members, key=lambda member: (result.sizes[member], member)))
        classes = result.of_ethertype if kind is ServiceKind.ETHERTYPE else result.of_ip
        for member in members:
            classes.setdefault(member, set()).add(klass)
