"""The services a policy may name: its own, and the built-in library beneath them.

In: `services.yaml` beside this module, and a `Policy`. Out: name → `Service`, and the number ranges of one.
Must never let the library override what a policy declares. Called by `references`, `check` and `lower`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from rules.model import Policy
from rules.numbers import NumberRange
from rules.records import ServiceKind
from rules.service_model import Service, ServiceMember
from rules.tree import parse_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath.abi import Inspector

KINDS = {
    "tcp": ServiceKind.TCP,
    "udp": ServiceKind.UDP,
    "ip": ServiceKind.IP,
    "icmp": ServiceKind.ICMP4,
    "icmpv6": ServiceKind.ICMP6,
}


@cache
def library() -> dict[str, Service]:
    """Return the built-in services."""
    name = "services.yaml"
    source, _ = parse_tree(files("rules").joinpath(name).read_text(encoding="utf-8"), name)
    return {key: Service.model_validate(value) for key, value in source.root.plain().items()}


def known_services(policy: Policy) -> dict[str, Service]:
    """Return every service that the policy's conduits may name; a group as the members of all that it stands for."""
    declared = library() | policy.services
    groups = {
        name: Service(any_of=tuple(_ungrouped(name, declared)), description=service.description)
        for name, service in policy.services.items()
        if service.group
    }
    return declared | groups


def _ungrouped(name: str, known: dict[str, Service]) -> Iterator[ServiceMember]:
    """Yield the members below a group, each service once; `references` refuses circles, this only survives them."""
    seen, todo = {name}, [name]
    while todo:
        service = known[todo.pop()]
        if not service.group:
            yield from service.members()
        below = [other for other in dict.fromkeys(service.group) if other not in seen]
        seen.update(below)
        todo += reversed(below)


def member_ranges(member: ServiceMember) -> tuple[ServiceKind, tuple[NumberRange, ...]]:
    """Return the number space of a member and its ranges there."""
    if member.protocol is None:
        return ServiceKind.ETHERTYPE, member.ethertype
    return KINDS[member.protocol], member.ports or member.types or member.numbers


def inspected_ranges(service: Service) -> Iterator[tuple[ServiceKind, NumberRange, Inspector]]:
    """Yield the numbers of a service whose messages somebody reads, and who."""
    for member in service.members():
        kind, ranges = member_ranges(member)
        if member.inspect is not None:
            yield from ((kind, span, member.inspect) for span in ranges)


def inspectors(service: Service) -> frozenset[Inspector] | None:
    """Return what reads a service's messages; None when some of its numbers are read by nobody."""
    found = {member.inspect for member in service.members()}
    return None if None in found else frozenset(inspector for inspector in found if inspector is not None)


def service_ranges(service: Service) -> dict[ServiceKind, list[NumberRange]]:
    """Return the service's numbers per space as sorted ranges that neither overlap nor touch."""
    spaces: dict[ServiceKind, list[NumberRange]] = {}
    for member in service.members():
        kind, ranges = member_ranges(member)
        spaces.setdefault(kind, []).extend(ranges)
    return {kind: _merged(ranges) for kind, ranges in spaces.items()}


def service_size(service: Service) -> int:
    """Return how many numbers a service names: fewer is more specific (docs/reference/semantics.md, precedence)."""
    return sum(r.last - r.first + 1 for ranges in service_ranges(service).values() for r in ranges)


def _merged(ranges: list[NumberRange]) -> list[NumberRange]:
    merged: list[NumberRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1].last + 1:
            merged[-1] = NumberRange(merged[-1].first, max(last, merged[-1].last))
        else:
            merged.append(NumberRange(first, last))
    return merged
