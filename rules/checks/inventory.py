"""Assets and zones that are doubtful by themselves: no address, twice the same device, nobody's, oddly nested.

In: a `Context`. Out: findings about `assets` and `zones`; those that every asset could have are told per zone.
Must never be slower than linear in the number of assets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.addresses import PrefixIndex, address_block, prefix_block
from rules.checks.context import EXTERNAL
from rules.checks.registry import Finding, check
from rules.problems import Severity
from rules.values import mac_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rules.checks.context import Context
    from rules.conduit_model import Selector

SHOWN = 5  # names that a message about many assets gives


@check(
    "POL208",
    Severity.WARNING,
    "address outside the zone's prefixes",
    "Either the prefixes are incomplete or the address is mistyped.",
    supports="3-3 SR 7.8",
    population=True,
)
def outside_its_prefixes(context: Context) -> Iterator[Finding]:
    """Find addresses that lie in no prefix of their asset's zone, where it has some."""
    zones = context.policy.zones
    own: dict[str, PrefixIndex[None]] = {}
    for name, zone in zones.items():
        index = own.setdefault(name, PrefixIndex())
        for prefix in zone.prefixes:
            index.add(prefix_block(prefix), None)
    for name, asset in context.policy.assets.items():
        if not zones[asset.zone].prefixes:
            continue
        for at, ip in enumerate(asset.ips):
            if not ip.is_link_local and next(own[asset.zone].around(address_block(ip)), None) is None:
                text = f"address {ip} of '{name}' lies in no prefix of its zone '{asset.zone}'"
                yield Finding(("assets", name, "ips", at), text, "extend the zone's prefixes")


@check(
    "POL209",
    Severity.WARNING,
    "router in another zone",
    "Frames of such an asset come in by the router's ports, and are judged as from there.",
    population=True,
)
def router_elsewhere(context: Context) -> Iterator[Finding]:
    """Find assets behind a router of another zone."""
    assets = context.policy.assets
    for name, asset in assets.items():
        if asset.behind and assets[asset.behind].zone != asset.zone:
            text = f"router '{asset.behind}' is in zone '{assets[asset.behind].zone}', '{name}' in '{asset.zone}'"
            yield Finding(("assets", name, "behind"), text, "frames come in by the router's ports")


@check(
    "POL210",
    Severity.WARNING,
    "asset without address and MAC",
    "No frame can be recognised as its own; conduits that name it carry nothing.",
    supports="3-3 SR 7.8",
    population=True,
)
def without_identity(context: Context) -> Iterator[Finding]:
    """Find assets that nothing identifies."""
    for name, asset in context.policy.assets.items():
        if not asset.ips and not asset.macs:
            yield Finding(("assets", name), f"asset '{name}' has neither address nor MAC", "give ips, macs or both")


@check(
    "POL225",
    Severity.WARNING,
    "the same device twice",
    "A serial number or MAC that two assets have is one device listed twice, a copy mistake, or a clone.",
    supports="3-3 SR 1.2, SR 7.8",
    population=True,
)
def same_device(context: Context) -> Iterator[Finding]:
    """Find assets with the same vendor, model and serial, or with one MAC in several address spaces."""
    policy = context.policy
    serials: dict[tuple[str, str, str], str] = {}
    macs: dict[bytes, tuple[str, str]] = {}
    for name, asset in policy.assets.items():
        if asset.serial:
            first = serials.setdefault((asset.vendor, asset.model, asset.serial), name)
            if first != name:
                text = f"asset '{name}' has the serial number of '{first}', '{asset.serial}'"
                yield Finding(
                    ("assets", name, "serial"), text, "the same device? then one asset with several addresses"
                )
        space = policy.zones[asset.zone].address_space
        for at, mac in enumerate(asset.macs):
            other, its_space = macs.setdefault(mac, (name, space))
            if its_space != space:  # within one space it is POL102
                text = f"MAC {mac_text(mac)} of '{name}' is also asset '{other}''s, in address space '{its_space}'"
                yield Finding(("assets", name, "macs", at), text, "a copied line, or one device in two places?")


@check(
    "POL226",
    Severity.INFO,
    "assets that no conduit reaches",
    "They can only talk within their zone. That may be right; often a conduit was forgotten.",
    supports="3-2 ZCR 6.4",
)
def unreachable(context: Context) -> Iterator[Finding]:
    """Find assets that are on no side of any conduit, told zone by zone."""
    policy = context.policy
    joined = _joined_assets(context)
    alone: dict[str, list[str]] = {}
    for name, asset in policy.assets.items():
        if name not in joined:
            alone.setdefault(asset.zone, []).append(name)
    for zone, names in alone.items():
        text = f"no conduit reaches or leaves {_counted(names)} of zone '{zone}': {_listed(names)}"
        yield Finding(("zones", zone), text, "right if they only talk within their zone")


def _joined_assets(context: Context) -> set[str]:
    """Return every asset that some conduit names, by whatever key; equal selectors are looked at once."""
    policy = context.policy
    joined: set[str] = set()
    seen = set()
    for conduit in policy.conduits.values():
        for selector in (conduit.source, conduit.opener(), conduit.destination):
            question = (selector.zone, selector.role, selector.asset, selector.prefix)
            if question in seen or selector.group:
                continue
            seen.add(question)
            candidates = _candidates(context, selector)
            if selector.asset or selector.prefix:
                new = (name for name in candidates if name not in joined)
                joined.update([name for name in new if context.zoning.selects(selector, policy.assets[name])])
            else:
                joined.update(candidates)
    return joined


def _candidates(context: Context, selector: Selector) -> Iterable[str]:
    """Return assets among which are all that a selector names: the fewest that its keys lead to."""
    if selector.asset:
        return selector.asset
    return context.zoning.inhabitants(context.zoning.reached_zones(selector), selector.role)


def _counted(names: list[str]) -> str:
    return "one asset" if len(names) == 1 else f"{len(names)} assets"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@check(
    "POL232",
    Severity.WARNING,
    "zone nested in a zone that it must be apart from",
    "A part shares the boundary of the whole: business, safety, wireless and outside access stand apart.",
    supports="3-2 ZCR 3.2, ZCR 3.3, ZCR 3.5",
    population=True,
)
def odd_parent(context: Context) -> Iterator[Finding]:
    """Find zones whose parent is of a kind that theirs is separated from."""
    zones = context.policy.zones
    outside = {"enterprise", "dmz", "wireless", *EXTERNAL}
    for name, zone in zones.items():
        parent = zones.get(zone.parent) if zone.parent else None
        if parent is None or parent.kind == zone.kind:
            continue
        if zone.kind == "safety" or zone.kind in outside or parent.kind in {"safety", *outside}:
            text = f"{zone.kind} zone '{name}' is part of {parent.kind} zone '{zone.parent}'"
            yield Finding(("zones", name, "parent"), text, "make it a zone of its own, joined by conduits")


CHECKS = (outside_its_prefixes, router_elsewhere, without_identity, same_device, unreachable, odd_parent)
