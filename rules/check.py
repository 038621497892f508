"""Checks of the policy as a whole: what each part may say alone, but not together.

In: a `Policy` whose schema and references are right. Out: problems, errors and warnings, in file order.
Errors here refuse the policy like those of `load`; warnings (`advice`) travel with the change for whoever approves it.
Must never be slower than linear in the number of assets and conduits. Called by `compile`.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from fastpath.abi import MAX_CONDUITS, MAX_PORTS
from rules.addresses import Block, prefix_block
from rules.advice import advice
from rules.conflicts import conflicts, problem
from rules.problems import Problem, in_file_order
from rules.windows.reading import problems as window_problems
from rules.zoning import Zoning

if TYPE_CHECKING:
    from rules.conduit_model import Selector
    from rules.model import Policy

# Stages are kept per ordered pair: a million of them. The image itself has room for fastpath.abi.MAX_ZONES.
MAX_ZONES = 1000
LIMITED_BROADCAST = IPv4Address("255.255.255.255")


def check(policy: Policy) -> list[Problem]:
    """Return everything wrong or doubtful about a policy."""
    zoning = Zoning(policy)
    found = [
        *conflicts(policy),
        *_limits(policy),
        *_selector_prefixes(policy, zoning),
        *_any_to_any(policy),
        *_groups(policy),
        *_uninspected(policy),
        *_routers_elsewhere(policy),
        *window_problems(policy),
        *advice(policy, zoning),
    ]
    return list(in_file_order(found))


def _limits(policy: Policy) -> list[Problem]:
    ports = {port for zone in policy.zones.values() for port in zone.ports}
    counts = (
        ("zones", "zones", len(policy.zones), MAX_ZONES),
        ("conduits", "conduits", len(policy.conduits), MAX_CONDUITS),
        ("ports", "zones", len(ports), MAX_PORTS),
    )
    return [
        problem(policy, (section,), "POL113", f"{count} {what}; the gateway has room for {limit}")
        for what, section, count, limit in counts
        if count > limit
    ]


def _selector_prefixes(policy: Policy, zoning: Zoning) -> list[Problem]:
    found = []
    zones_of = {
        (zone.address_space, prefix_block(prefix)): name
        for name, zone in policy.zones.items()
        for prefix in zone.prefixes
    }
    for name, conduit in policy.conduits.items():
        for side, selector in (("from", conduit.source), ("to", conduit.destination)):
            for index, prefix in enumerate(selector.prefix):
                wrong = _prefix_mistake(prefix_block(prefix), selector, zoning, zones_of)
                if wrong is not None:
                    code, text, hint = wrong
                    path = ("conduits", name, side, "prefix", index)
                    found.append(problem(policy, path, code, f"prefix {prefix} {text}", hint))
    return found


def _prefix_mistake(
    block: Block, selector: Selector, zoning: Zoning, zones_of: dict[tuple[str, Block], str]
) -> tuple[str, str, str] | None:
    """Return code, text and hint when a selector's prefix has not exactly one zone; remember the zone when it has."""
    zone = zoning.prefix_zone(block, selector.zone)
    around = {other for _, other in zoning.prefixes.around(block)}
    if zone is None:
        where = "several zones" if around else "no zone"
        return "POL109", f"lies in {where}", "name one zone beside it, or extend a zone's prefixes"
    if around and zone not in around:
        return "POL109", f"lies in zone '{min(around)}', not in '{zone}'", "correct the zone beside it"
    first = zones_of.setdefault((zoning.spaces[zone], block), zone)
    if first != zone:
        return "POL108", f"stands for zone '{first}' elsewhere and for '{zone}' here", "an address has one zone"
    return None


def _any_to_any(policy: Policy) -> list[Problem]:
    def everyone(selector: Selector) -> bool:
        if selector.role or selector.asset or selector.group:
            return False
        if any(prefix.prefixlen == 0 for prefix in selector.prefix):
            return True
        return not selector.prefix and set(selector.zone) == set(policy.zones)

    hint = "one conduit per purpose: name the zones that need each other"
    return [
        problem(policy, ("conduits", name), "POL110", f"conduit '{name}' joins everyone with everyone", hint)
        for name, conduit in policy.conduits.items()
        if everyone(conduit.opener()) and everyone(conduit.destination)
    ]


def _uninspected(policy: Policy) -> list[Problem]:
    """Refuse what would be granted in words only: the engine permits a service whole or not at all."""
    found = []
    for name, conduit in policy.conduits.items():
        for key in ("operations", "constraints"):
            if getattr(conduit, key):
                what = ", ".join(conduit.constraints if key == "constraints" else conduit.services)
                text = f"this gateway does not inspect {what} yet, so it can't hold conduit '{name}' to '{key}'"
                path = ("conduits", name, key)
                found.append(problem(policy, path, "POL040", text, "leave it out: the services pass whole"))
    return found


def _groups(policy: Policy) -> list[Problem]:
    listed = [(n, c.destination.group) for n, c in policy.conduits.items() if c.destination.group]
    if not listed:
        return []
    directed = {
        p.broadcast_address for z in policy.zones.values() for p in z.prefixes if p.version == 4 and p.prefixlen < 31
    }
    owners = {ip: name for name, asset in policy.assets.items() for ip in asset.ips}
    found = []
    for name, groups in listed:
        for index, group in enumerate(groups):
            path = ("conduits", name, "to", "group", index)
            if isinstance(group, bytes):
                continue
            if not (group.is_multicast or group == LIMITED_BROADCAST or group in directed):
                hint = "multicast, 255.255.255.255, or the last address of a zone's prefix"
                found.append(problem(policy, path, "POL111", f"{group} is no group address", hint))
            elif group in owners:
                found.append(problem(policy, path, "POL112", f"{group} is the address of asset '{owners[group]}'", ""))
    return found


def _routers_elsewhere(policy: Policy) -> list[Problem]:
    found = []
    for name, asset in policy.assets.items():
        router = policy.assets.get(asset.behind) if asset.behind else None
        if router is None:
            continue
        here, there = policy.zones[asset.zone].address_space, policy.zones[router.zone].address_space
        if here != there:
            text = f"router '{asset.behind}' is in address space '{there}', asset '{name}' in '{here}'"
            found.append(
                problem(policy, ("assets", name, "behind"), "POL107", text, "its MACs can't be compared there")
            )
    return found
