"""Policy → flat, numbered, ordered records: the only place where precedence is decided.

In: a `Policy` that `check` found no errors in. Out: `LoweredPolicy`, which both compilations start from.
Pure: the same text and slots give the same records. Must never look at a clock, and never be quadratic in the assets.
The meaning is docs/reference/semantics.md ("Selectors", "Precedence among conduits"); this module only executes it.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING

from fastpath.abi import MAX_CLASSES, MAX_CONDUITS, SERVICE_NEIGHBOUR, Stage
from rules.digest import policy_digest
from rules.endpoints import Endpoints, lower_endpoints
from rules.membership import DESTINATION, SOURCE, Membership
from rules.problems import PolicyError, Problem
from rules.records import (
    AssetRecord,
    ConduitRecord,
    LimitRecord,
    LoweredPolicy,
    PortRecord,
    PortZone,
    RuleRecord,
    ZoneRecord,
)
from rules.service_classes import ServiceClasses, lower_services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.conduit_model import Conduit, Limit
    from rules.model import Denial, Policy
    from rules.rates import Rate

# (classes, service, conduit) combinations. Measured: 2 million take 1.2 GB and 50 s to compile, and 80 MB of image.
MAX_RULES = 2_000_000

Key = tuple[int, int, int]  # source class, destination class, service class
Sides = dict[tuple[int, int], list[tuple[int, Membership]]]  # (conduit, side) → classes
Rank = tuple[int, int, int, int, int, int]  # precedence, smallest first; the last item is the conduit's order


def lower(policy: Policy, slots: Mapping[str, int] | None = None) -> LoweredPolicy:
    """Return the lowered policy; conduits named in `slots` keep their slot, new ones get slots above those in use.

    Raises PolicyError when the policy needs more classes, rules or slots than the image has room for.
    """
    zone_numbers = {name: number for number, name in enumerate(policy.zones, start=1)}
    spaces = _address_spaces(policy)
    endpoints = lower_endpoints(policy, zone_numbers, spaces)
    services = lower_services(policy)
    ranks = _ranked_rules(policy, endpoints, services)
    numbers = assign_slots(policy, slots or {})
    by_order = [numbers[name] for name in policy.conduits]
    ports, port_zones = _ports(policy, zone_numbers)
    return LoweredPolicy(
        site=policy.site.name,
        digest=policy_digest(policy, _ties(policy, ranks)),
        ceiling=policy.site.ceiling,
        zones=tuple(
            ZoneRecord(zone_numbers[name], name, zone.kind, spaces[zone.address_space])
            for name, zone in policy.zones.items()
        ),
        ports=ports,
        port_zones=port_zones,
        assets=tuple(
            AssetRecord(number, name, zone_numbers[asset.zone])
            for number, (name, asset) in enumerate(policy.assets.items())
        ),
        endpoints=tuple(endpoints.addresses),
        macs=tuple(endpoints.macs),
        services=tuple(services.ranges),
        rules=tuple(RuleRecord(*key, tuple(by_order[rank[-1]] for rank in found)) for key, found in ranks.items()),
        conduits=_conduits(policy, numbers),
        pair_stages=_pair_stages(policy, zone_numbers),
        pair_refusals=_pair_refusals(policy, zone_numbers),
        service_names=services.names,
    )


def assign_slots(policy: Policy, slots: Mapping[str, int]) -> dict[str, int]:
    """Return a slot for every conduit: kept where it had one, else above all used ones, gaps last."""
    if len(policy.conduits) > MAX_CONDUITS:
        raise PolicyError([_too_big(policy, f"{len(policy.conduits)} conduits", MAX_CONDUITS)])
    kept = {name: slots[name] for name in policy.conduits if name in slots}
    taken = set(kept.values())
    above = max(slots.values(), default=-1) + 1
    free = [slot for slot in range(above, MAX_CONDUITS) if slot not in taken][: len(policy.conduits)]
    free += [slot for slot in range(min(above, MAX_CONDUITS)) if slot not in taken]
    fresh = iter(free)
    return {name: kept[name] if name in kept else next(fresh) for name in policy.conduits}


def _address_spaces(policy: Policy) -> dict[str, int]:
    spaces = {"default": 0}
    for zone in policy.zones.values():
        spaces.setdefault(zone.address_space, len(spaces))
    return spaces


def _ports(policy: Policy, zone_numbers: dict[str, int]) -> tuple[tuple[PortRecord, ...], tuple[PortZone, ...]]:
    numbers: dict[str, int] = {}
    owned = []
    for name, zone in policy.zones.items():
        for port in dict.fromkeys(zone.ports):
            number = numbers.setdefault(port, len(numbers) + 1)
            owned += [PortZone(number, vlan, zone_numbers[name]) for vlan in dict.fromkeys(zone.vlans or (0,))]
    return tuple(PortRecord(number, port) for port, number in numbers.items()), tuple(owned)


def _conduits(policy: Policy, numbers: dict[str, int]) -> tuple[ConduitRecord, ...]:
    records = (
        ConduitRecord(
            numbers[name],
            name,
            conduit.stage,
            _open_from_the_start(conduit),
            conduit.fail,
            conduit.log,
            _limit(conduit.limit),
        )
        for name, conduit in policy.conduits.items()
    )
    return tuple(sorted(records, key=lambda record: record.slot))


def _open_from_the_start(conduit: Conduit) -> bool:
    """Windows and proofs open later, by a store of control's; until then nothing passes."""
    return conduit.enabled and not conduit.windows and not conduit.requires


def _limit(limit: Limit | None) -> LimitRecord | None:
    if limit is None:
        return None
    source = limit.per_source
    each = (source.packets, source.new_flows) if source is not None else (None, None)
    return LimitRecord(*_times(limit.packets), *_times(limit.new_flows), *_times(each[0]), *_times(each[1]))


def _times(rate: Rate | None) -> tuple[int, int]:
    return (rate.interval_ns, rate.burst_ns) if rate is not None else (0, 0)


def _pair_stages(policy: Policy, zone_numbers: dict[str, int]) -> dict[tuple[int, int], Stage]:
    count = len(zone_numbers) + 1
    default = policy.site.default_stage
    stages = {(source, target): default for source in range(count) for target in range(count)}
    for denial in policy.denials:
        if denial.stage is not None:
            stages |= dict.fromkeys(_denied_pairs(denial, zone_numbers), denial.stage)
    return stages


def _pair_refusals(policy: Policy, zone_numbers: dict[str, int]) -> frozenset[tuple[int, int]]:
    """Return the pairs of known zones whose drops are answered: nothing from or to nowhere ever is."""
    answering: set[tuple[int, int]] = set()
    if policy.site.refuse:
        answering = set(product(zone_numbers.values(), zone_numbers.values()))
    for denial in policy.denials:
        if denial.refuse is not None:
            pairs = _denied_pairs(denial, zone_numbers)
            answering = answering | pairs if denial.refuse else answering - pairs
    return frozenset(answering)


def _denied_pairs(denial: Denial, zone_numbers: dict[str, int]) -> set[tuple[int, int]]:
    sources = zone_numbers.values() if "*" in denial.source else [zone_numbers[n] for n in denial.source]
    targets = zone_numbers.values() if "*" in denial.destination else [zone_numbers[n] for n in denial.destination]
    return set(product(sources, targets))


def _ranked_rules(policy: Policy, endpoints: Endpoints, services: ServiceClasses) -> dict[Key, list[Rank]]:
    """Return every (classes, service) that a conduit permits with its conduits, most specific first."""
    if len(endpoints.classes) > MAX_CLASSES:
        raise PolicyError([_too_big(policy, f"{len(endpoints.classes)} kinds of endpoints", MAX_CLASSES)])
    rules: dict[Key, list[Rank]] = {}
    room = MAX_RULES
    ip_sides = endpoints.sides(endpoints.ip_classes)
    mac_sides = endpoints.sides(endpoints.mac_classes)
    for order, conduit in enumerate(policy.conduits.values()):
        ip_services = _narrowest(conduit.services, services.of_ip, services.sizes)
        frame_services = _narrowest(conduit.services, services.of_ethertype, services.sizes)
        room -= _combinations(order, ip_sides, len(ip_services) + 2) + _combinations(
            order, mac_sides, len(frame_services)
        )
        if room < 0:
            raise PolicyError([_too_big(policy, "more combinations of endpoints and services", MAX_RULES)])
        if ip_services:
            _join(rules, order, ip_sides, ip_services)
            _join_neighbours(rules, order, ip_sides)
        if frame_services:
            _join(rules, order, mac_sides, frame_services)
    for found in rules.values():
        found.sort()
    return rules


def _narrowest(names: tuple[str, ...], classes: dict[str, set[int]], sizes: dict[str, int]) -> dict[int, int]:
    """Return, per service class, the size of the narrowest of a conduit's services that contains it."""
    found: dict[int, int] = {}
    for name in names:
        for klass in classes.get(name, ()):
            found[klass] = min(sizes[name], found.get(klass, sizes[name]))
    return found


def _combinations(order: int, sides: Sides, services: int) -> int:
    return len(sides.get((order, SOURCE), ())) * len(sides.get((order, DESTINATION), ())) * services


def _join(rules: dict[Key, list[Rank]], order: int, sides: Sides, services: dict[int, int]) -> None:
    for source, here in sides.get((order, SOURCE), ()):
        for target, there in sides.get((order, DESTINATION), ()):
            for service, size in services.items():
                rank = (here.named_by, here.breadth, there.named_by, there.breadth, size, order)
                rules.setdefault((source, target, service), []).append(rank)


def _join_neighbours(rules: dict[Key, list[Rank]], order: int, sides: Sides) -> None:
    """Whoever may talk may resolve the other's address, both ways; ranks are those of the conduit's direction."""
    for source, here in sides.get((order, SOURCE), ()):
        for target, there in sides.get((order, DESTINATION), ()):
            rank = (here.named_by, here.breadth, there.named_by, there.breadth, 0, order)
            for key in {(source, target, SERVICE_NEIGHBOUR), (target, source, SERVICE_NEIGHBOUR)}:
                found = rules.setdefault(key, [])
                if not found or found[-1][-1] != order:
                    found.append(rank)


def _ties(policy: Policy, rules: dict[Key, list[Rank]]) -> set[tuple[str, str]]:
    """Return the pairs of conduits between which only the order in the text decides."""
    names = list(policy.conduits)
    return {
        (names[first[-1]], names[second[-1]])
        for found in rules.values()
        for first, second in pairwise(found)
        if first[:-1] == second[:-1]
    }


def _too_big(policy: Policy, what: str, limit: int) -> Problem:
    hint = "name zones and roles rather than single assets"
    return Problem(*policy.place("conduits"), f"{what} than the gateway's limit of {limit}", hint, "POL113")
