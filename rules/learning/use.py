"""What became of the conduits that a policy has: which nobody used, and which permit exactly what was seen.

In: the policy, evidence, what was learned from all of it. Out: names of conduits. Only `learn --all` asks.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rules.learning.evidence import ASSET
from rules.services import known_services, service_ranges
from rules.zoning import Zoning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.conduit_model import Selector
    from rules.learning.evidence import Evidence
    from rules.learning.grouping import Block
    from rules.model import Policy


def unused(policy: Policy, evidence: Iterable[Evidence]) -> list[str]:
    """Return the conduits that are enabled and carried nothing."""
    used = {one.conduit for one in evidence}
    return [name for name, conduit in policy.conduits.items() if conduit.enabled and name not in used]


def already(policy: Policy, found: Iterable[tuple[Block, tuple[str, ...], tuple[str, ...]]]) -> set[str]:
    """Return the conduits that permit what was learned from their traffic and nothing else: one proposal says the same.

    Windows are not compared: a conduit without them is not broader for having been used at certain hours only.
    """
    by_conduit: dict[str, list[tuple[Block, tuple[str, ...], tuple[str, ...]]]] = defaultdict(list)
    for one in found:
        for name in one[2]:
            by_conduit[name].append(one)
    zoning = Zoning(policy)
    services = known_services(policy)
    same = set()
    for name, learned in by_conduit.items():
        (block, names, replaces), *others = learned
        conduit = policy.conduits[name]
        ends = (_assets(zoning, conduit.opener()), _assets(zoning, conduit.destination))
        if others or len(replaces) > 1 or None in ends or any(service not in services for service in names):
            continue
        carried = {str(service_ranges(services[service])) for service in conduit.services}
        wanted = {str(service_ranges(services[service])) for service in names}
        sides = tuple({end.name for end in side.ends if end.kind == ASSET} for side in block)
        if sides == ends and all(sides) and carried == wanted:
            same.add(name)
    return same


def _assets(zoning: Zoning, selector: Selector) -> set[str] | None:
    """Return the assets that a selector means; None when it means addresses or groups too."""
    if selector.group or selector.prefix:
        return None
    if selector.asset:
        return {name for name in selector.asset if zoning.selects(selector, zoning.policy.assets[name])}
    if not selector.role:
        return None
    zones = selector.zone or tuple(zoning.policy.zones)
    return set(zoning.inhabitants(zones, selector.role))
