"""Security levels that don't fit together: ends and conduit, what is needed and what is there, zone and parent.

In: a `Context`. Out: findings by comparing SL-T and SL-C per foundational requirement (IEC 62443-3-3 annex A).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.checks.registry import Finding, check
from rules.levels import Levels, most
from rules.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.checks.context import Context

WIDE = 2  # levels between two ends beyond which a conduit should say what it is to meet itself


def _short(have: Levels, want: Levels) -> str:
    """Return which requirements fall short and by how much, like "UC 1 of 3"."""
    gaps = have.gap(want)
    every = len(set(have)) == len(set(want)) == 1
    return (
        f"{have.iac} of {want.iac}"
        if every
        else ", ".join(
            f"{field.upper()} {getattr(have, field)} of {getattr(want, field)}"
            for field in Levels._fields
            if getattr(gaps, field)
        )
    )


def _ends(context: Context, name: str) -> Levels:
    zones = context.policy.zones
    reach = context.reaches[name]
    return most({zones[zone].sl_t for zone in reach.sources | reach.targets})


@check(
    "POL219",
    Severity.WARNING,
    "conduit's SL-T below its higher end",
    "A conduit that is held to less than the zone it enters is where that zone is attacked.",
    supports="3-2 ZCR 5.6",
)
def conduit_below_its_ends(context: Context) -> Iterator[Finding]:
    """Find conduits whose SL-T does not cover that of the zones that they join."""
    for name, conduit in context.policy.conduits.items():
        if conduit.sl_t is None:
            continue
        wanted = _ends(context, name)
        if not conduit.sl_t.covers(wanted):
            text = f"SL-T of conduit '{name}' is below that of a zone it joins: {_short(conduit.sl_t, wanted)}"
            yield Finding(("conduits", name, "sl_t"), text, "raise it, or say in a waiver what makes up for it")


@check(
    "POL234",
    Severity.INFO,
    "wide SL-T gap without an SL-T for the conduit",
    "Between zones of very different need, the conduit itself must say what it is held to.",
    supports="3-2 ZCR 5.6",
)
def wide_gap(context: Context) -> Iterator[Finding]:
    """Find conduits without SL-T whose ends differ by two levels or more in some requirement."""
    zones = context.policy.zones
    known: dict[frozenset[str], Levels] = {}  # a site has few sets of zones, and many conduits between them

    def needed(names: frozenset[str]) -> Levels:
        levels = known.get(names)
        if levels is None:
            levels = known[names] = most({zones[zone].sl_t for zone in names})
        return levels

    for name, conduit in context.policy.conduits.items():
        reach = context.reaches[name]
        if conduit.sl_t is not None or not reach.sources or not reach.targets:
            continue
        low, high = needed(reach.sources), needed(reach.targets)
        if low != high and max(*low.gap(high), *high.gap(low)) >= WIDE:
            text = f"conduit '{name}' joins SL-T {low} with SL-T {high} and has none of its own"
            yield Finding(("conduits", name), text, "give sl_t")


@check(
    "POL220",
    Severity.WARNING,
    "zone can do less than it needs",
    "SL-C below SL-T: the difference must be made up for, or accepted by name.",
    supports="3-2 ZCR 5.6",
)
def zone_falls_short(context: Context) -> Iterator[Finding]:
    """Find zones whose SL-C does not cover their SL-T."""
    for name, zone in context.policy.zones.items():
        if zone.sl_c is not None and not zone.sl_c.covers(zone.sl_t):
            text = f"SL-C of zone '{name}' is below its SL-T: {_short(zone.sl_c, zone.sl_t)}"
            yield Finding(("zones", name, "sl_c"), text, "what makes up for it?")


@check(
    "POL221",
    Severity.WARNING,
    "asset can do less than its zone needs",
    "The weakest asset is where a zone is entered.",
    supports="3-2 ZCR 5.6",
)
def asset_falls_short(context: Context) -> Iterator[Finding]:
    """Find assets whose SL-C does not cover the SL-T of their zone."""
    zones = context.policy.zones
    for name, asset in context.policy.assets.items():
        if asset.sl_c is not None and not asset.sl_c.covers(zones[asset.zone].sl_t):
            text = f"SL-C of asset '{name}' is below the SL-T of zone '{asset.zone}'"
            short = _short(asset.sl_c, zones[asset.zone].sl_t)
            yield Finding(("assets", name, "sl_c"), f"{text}: {short}", "what makes up for it?")


@check(
    "POL233",
    Severity.WARNING,
    "zone's SL-T below its parent's",
    "A part inherits what the whole needs; where it needs less it is a zone beside, not inside.",
    supports="3-2 ZCR 5.6",
)
def below_its_parent(context: Context) -> Iterator[Finding]:
    """Find zones whose SL-T does not cover that of the zone that they are part of."""
    zones = context.policy.zones
    for name, zone in zones.items():
        parent = zones.get(zone.parent) if zone.parent else None
        if parent is not None and not zone.sl_t.covers(parent.sl_t):
            text = f"SL-T of zone '{name}' is below that of '{zone.parent}': {_short(zone.sl_t, parent.sl_t)}"
            yield Finding(("zones", name), text, "raise it, or take the zone out of its parent")


CHECKS = (conduit_below_its_ends, wide_gap, zone_falls_short, asset_falls_short, below_its_parent)
