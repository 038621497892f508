"""Contradictions that no waiver can heal: lowering would not know which of two things to do.

In: a `Context`. Out: findings POL101 to POL113. What needs no zoning is in `rules.conflicts`, which `load` asks too.
Must never be slower than linear in the number of assets and conduits.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from fastpath.abi import MAX_CONDUITS, MAX_PORTS
from rules import conflicts
from rules.addresses import Block, prefix_block
from rules.checks.inspection import oversized
from rules.checks.registry import Check, Finding, check
from rules.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rules.checks.context import Context
    from rules.conduit_model import Selector
    from rules.model import Policy
    from rules.values import IPNetwork

# Stages are kept per ordered pair: a million of them. The image itself has room for fastpath.abi.MAX_ZONES.
MAX_ZONES = 1000
LIMITED_BROADCAST = IPv4Address("255.255.255.255")


def contradiction(
    code: str, title: str, why: str, *, population: bool = False
) -> Callable[[Callable[[Context], Iterable[Finding]]], Check]:
    """Make a check that nobody can waive."""
    return check(code, Severity.ERROR, title, why, supports="3-2 ZCR 3.1", waivable=False, population=population)


def _conflict(code: str, title: str, why: str, find: Callable[[Policy], Iterable[Finding]]) -> Check:
    return contradiction(code, title, why, population=True)(lambda context: find(context.policy))


address_twice = _conflict(
    "POL101",
    "one address, two assets",
    "A frame from that address would have two senders; no check of identity could hold.",
    conflicts.addresses_of_two_assets,
)
mac_twice = _conflict(
    "POL102",
    "one MAC, two assets",
    "The MAC proves which device a frame is from; shared, it proves nothing.",
    conflicts.macs_of_two_assets,
)
foreign_address = _conflict(
    "POL103",
    "an asset's address in another zone's prefix",
    "Asset and prefix say different zones: one of them is a mistake that would be enforced.",
    conflicts.addresses_in_a_foreign_zone,
)
prefix_twice = _conflict(
    "POL104",
    "one prefix, two zones",
    "Its unlisted addresses would be in both zones, and conduits of both would hold for them.",
    conflicts.prefixes_of_two_zones,
)
port_twice = _conflict(
    "POL105",
    "one port and VLAN, two zones",
    "The zone of a frame is the zone of the port that it comes in by.",
    conflicts.ports_in_two_zones,
)
router_circle = _conflict(
    "POL106",
    "routers in a circle",
    "Nobody can tell whose MAC the frames of such an asset carry.",
    conflicts.router_circles,
)


@contradiction(
    "POL107",
    "a router in another address space",
    "Its MACs can't be compared where the asset's frames arrive.",
    population=True,
)
def distant_router(context: Context) -> Iterator[Finding]:
    """Find assets whose router lives in another address space."""
    policy = context.policy
    for name, asset in policy.assets.items():
        router = policy.assets.get(asset.behind) if asset.behind else None
        if router is None:
            continue
        here, there = policy.zones[asset.zone].address_space, policy.zones[router.zone].address_space
        if here != there:
            text = f"router '{asset.behind}' is in address space '{there}', asset '{name}' in '{here}'"
            yield Finding(("assets", name, "behind"), text, "its MACs can't be compared there")


@contradiction(
    "POL108", "one prefix stands for two zones", "An address has one zone; conduits would see it in two at once."
)
def ambiguous_prefix(context: Context) -> Iterator[Finding]:
    """Find selectors that put one prefix into different zones."""
    policy = context.policy
    owners = {
        (zone.address_space, prefix_block(prefix)): name
        for name, zone in policy.zones.items()
        for prefix in zone.prefixes
    }
    for path, prefix, selector in _selector_prefixes(policy):
        block = prefix_block(prefix)
        zone, _ = _zone_of(context, block, selector)
        if zone is None:
            continue
        first = owners.setdefault((context.zoning.spaces[zone], block), zone)
        if first != zone:
            text = f"prefix {prefix} stands for zone '{first}' elsewhere and for '{zone}' here"
            yield Finding(path, text, "an address has one zone")


@contradiction(
    "POL109", "a selector's prefix has not exactly one zone", "Who is meant depends on the zone that the prefix is in."
)
def prefix_without_zone(context: Context) -> Iterator[Finding]:
    """Find selector prefixes that lie in no zone, in several, or in another than the one beside them."""
    for path, prefix, selector in _selector_prefixes(context.policy):
        zone, text = _zone_of(context, prefix_block(prefix), selector)
        if zone is None:
            hint = "name one zone beside it, or extend a zone's prefixes"
            yield Finding(path, f"prefix {prefix} {text}", "correct the zone beside it" if "not in" in text else hint)


def _selector_prefixes(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], IPNetwork, Selector]]:
    for name, conduit in policy.conduits.items():
        for side, selector in (("from", conduit.source), ("to", conduit.destination)):
            for index, prefix in enumerate(selector.prefix):
                yield ("conduits", name, side, "prefix", index), prefix, selector


def _zone_of(context: Context, block: Block, selector: Selector) -> tuple[str | None, str]:
    """Return the one zone that a selector's prefix is in, or None and what is wrong."""
    zone = context.zoning.prefix_zone(block, selector.zone)
    around = {other for _, other in context.zoning.prefixes.around(block)}
    if zone is None:
        return None, f"lies in {'several zones' if around else 'no zone'}"
    if around and zone not in around:
        return None, f"lies in zone '{min(around)}', not in '{zone}'"
    return zone, ""


@contradiction("POL111", "not a group address", "A conduit to a group names who listens; no single host does there.")
def no_group(context: Context) -> Iterator[Finding]:
    """Find group selectors that name ordinary addresses."""
    for path, group, is_group in _group_addresses(context.policy):
        if not is_group:
            hint = "multicast, 255.255.255.255, or the last address of a zone's prefix"
            yield Finding(path, f"{group} is no group address", hint)


@contradiction("POL112", "a group address that is an asset's", "Frames to it would be meant for one and for all.")
def owned_group(context: Context) -> Iterator[Finding]:
    """Find group selectors that name an asset's address."""
    groups = [(path, group) for path, group, is_group in _group_addresses(context.policy) if is_group]
    wanted = {group for _, group in groups}
    if not wanted:
        return
    owners = {ip: name for name, asset in context.policy.assets.items() for ip in asset.ips if ip in wanted}
    for path, group in groups:
        if group in owners:
            yield Finding(path, f"{group} is the address of asset '{owners[group]}'")


def _group_addresses(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], IPv4Address, bool]]:
    """Yield the addresses that conduits name as groups, and whether each may be one."""
    directed: set[IPv4Address] | None = None
    for name, conduit in policy.conduits.items():
        for index, group in enumerate(conduit.destination.group):
            if isinstance(group, bytes):
                continue
            if directed is None:
                prefixes = [prefix for zone in policy.zones.values() for prefix in zone.prefixes]
                directed = {p.broadcast_address for p in prefixes if p.version == 4 and p.prefixlen < 31}
            is_group = group.is_multicast or group == LIMITED_BROADCAST or group in directed
            yield ("conduits", name, "to", "group", index), group, is_group


@contradiction(
    "POL113", "more than the gateway has room for", "Tables have fixed sizes, so that cost per frame is flat."
)
def too_many(context: Context) -> Iterator[Finding]:
    """Find sections that exceed the image's limits."""
    policy = context.policy
    ports = {port for zone in policy.zones.values() for port in zone.ports}
    counts = (
        ("zones", "zones", len(policy.zones), MAX_ZONES),
        ("conduits", "conduits", len(policy.conduits), MAX_CONDUITS),
        ("ports", "zones", len(ports), MAX_PORTS),
    )
    for what, section, count, limit in counts:
        if count > limit:
            yield Finding((section,), f"{count} {what}; the gateway has room for {limit}")
    yield from oversized(context)


CHECKS = (
    address_twice,
    mac_twice,
    foreign_address,
    prefix_twice,
    port_twice,
    router_circle,
    distant_router,
    ambiguous_prefix,
    prefix_without_zone,
    no_group,
    owned_group,
    too_many,
)
