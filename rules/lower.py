"""Policy → flat, numbered, ordered records.

In: a `Policy` that `check` found no errors in. Out: `LoweredPolicy`, which both compilations start from.
Pure: the same text and slots give the same records. Must never look at a clock, and never be quadratic in the assets.
The meaning is docs/reference/semantics.md ("Selectors", "Precedence among conduits"); this module only executes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import MAX_CONDUITS, PAIR_REFUSE
from rules.digest import ConduitTexts, policy_digest
from rules.endpoints import lower_endpoints
from rules.pairs import PairSet, PairStages
from rules.population import Population
from rules.problems import PolicyError
from rules.profiles import lower_profile
from rules.ranking import Ranking, too_big
from rules.records import (
    ConduitRecord,
    LimitRecord,
    LoweredPolicy,
    PortRecord,
    PortZone,
    ZoneRecord,
)
from rules.service_classes import lower_services
from rules.services import known_services
from rules.slots import assign_slots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.conduit_model import Conduit, Limit
    from rules.model import Denial, Policy
    from rules.rates import Rate


def lower(
    policy: Policy,
    slots: Mapping[str, int] | None = None,
    population: Population | None = None,
    texts: ConduitTexts | None = None,
) -> LoweredPolicy:
    """Return the lowered policy; conduits named in `slots` keep their slot, new ones get others (`rules.slots`).

    `population` is the policy's own, where somebody has it already; `texts` are those of conduits seen before. Raises
    PolicyError when the policy needs more classes, rules or slots than the image has room for.
    """
    known = population or Population(policy)
    services = lower_services(policy)
    endpoints = lower_endpoints(policy, known)
    ranking = Ranking(policy, endpoints, services)
    if len(policy.conduits) > MAX_CONDUITS:
        raise PolicyError([too_big(policy, f"{len(policy.conduits)} conduits", MAX_CONDUITS)])
    numbers = assign_slots(policy.conduits, slots or {})
    ports, port_zones = _ports(policy, known.zone_numbers)
    stages, refusals = _pairs(policy, known.zone_numbers)
    return LoweredPolicy(
        site=policy.site.name,
        digest=policy_digest(policy, ranking.ties(), known.digest, texts),
        seed=known.seed,
        ceiling=policy.site.ceiling,
        zones=tuple(
            ZoneRecord(known.zone_numbers[name], name, zone.kind, known.spaces[zone.address_space])
            for name, zone in policy.zones.items()
        ),
        ports=ports,
        port_zones=port_zones,
        assets=known.records,
        endpoints=tuple(endpoints.addresses),
        macs=tuple(endpoints.macs),
        services=tuple(services.ranges),
        rules=tuple(ranking.records([numbers[name] for name in policy.conduits])),
        conduits=_conduits(policy, numbers),
        pair_stages=stages,
        pair_refusals=refusals,
        service_names=services.names,
        inspectors=services.inspectors,
    )


def _ports(policy: Policy, zone_numbers: dict[str, int]) -> tuple[tuple[PortRecord, ...], tuple[PortZone, ...]]:
    numbers: dict[str, int] = {}
    owned = []
    for name, zone in policy.zones.items():
        for port in dict.fromkeys(zone.ports):
            number = numbers.setdefault(port, len(numbers) + 1)
            owned += [PortZone(number, vlan, zone_numbers[name]) for vlan in dict.fromkeys(zone.vlans or (0,))]
    return tuple(PortRecord(number, port) for port, number in numbers.items()), tuple(owned)


def _conduits(policy: Policy, numbers: dict[str, int]) -> tuple[ConduitRecord, ...]:
    known = known_services(policy)
    records = (
        ConduitRecord(
            numbers[name],
            name,
            conduit.stage,
            _open_from_the_start(conduit),
            conduit.fail,
            conduit.log,
            _limit(conduit.limit),
            lower_profile(conduit, known),
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


def _pairs(policy: Policy, zone_numbers: dict[str, int]) -> tuple[PairStages, PairSet]:
    """Return each pair's stage, and the pairs of known zones whose drops are answered: nothing from nowhere ever is."""
    count = len(zone_numbers) + 1
    stages = bytearray(bytes((policy.site.default_stage,)) * (count * count))
    refusals = bytearray(count * count)
    if policy.site.refuse:
        for row in range(count, count * count, count):
            refusals[row + 1 : row + count] = bytes((PAIR_REFUSE,)) * (count - 1)
    for denial in policy.denials:
        if denial.stage is not None:
            _fill(stages, zone_numbers, denial, denial.stage)
        if denial.refuse is not None:
            _fill(refusals, zone_numbers, denial, PAIR_REFUSE if denial.refuse else 0)
    return PairStages(count, bytes(stages)), PairSet(count, bytes(refusals))


def _fill(cells: bytearray, zone_numbers: dict[str, int], denial: Denial, value: int) -> None:
    """Set the cells of every pair that a denial names."""
    count = len(zone_numbers) + 1
    sources = zone_numbers.values() if "*" in denial.source else [zone_numbers[name] for name in denial.source]
    for source in sources:
        row = source * count
        if "*" in denial.destination:
            cells[row + 1 : row + count] = bytes((value,)) * (count - 1)
            continue
        for name in denial.destination:
            cells[row + zone_numbers[name]] = value
