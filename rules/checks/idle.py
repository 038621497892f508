"""Conduits that do nothing, or not yet: nobody on a side, one zone with itself, closed, over, or waiting for something.

In: a `Context`. Out: findings about conduits that permit less than they say.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from rules.checks.registry import Finding, check
from rules.problems import Severity
from rules.windows.local_time import second_of
from rules.windows.reading import timetables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.checks.context import Context
    from rules.conduit_model import Selector


@check(
    "POL201",
    Severity.WARNING,
    "a side that matches nothing",
    "Such a conduit permits nothing: a name is mistyped, or the asset has moved.",
)
def matches_nothing(context: Context) -> Iterator[Finding]:
    """Find conduits with a side that no endpoint fits."""
    for name, conduit in context.policy.conduits.items():
        for side, selector in (("from", conduit.source), ("to", conduit.destination)):
            if not context.zoning.matches_something(selector):
                text = f"'{side}' of conduit '{name}' matches nothing"
                yield Finding(("conduits", name, side), text, "no asset fits all of its keys")


@check(
    "POL206",
    Severity.WARNING,
    "a zone joined with itself",
    "Traffic inside a zone does not cross the gateway's boundary and is never judged.",
)
def within_a_zone(context: Context) -> Iterator[Finding]:
    """Find conduits that have one zone on both sides."""
    for name, reach in context.reaches.items():
        shared = reach.sources & reach.targets
        if shared:
            text = f"conduit '{name}' joins zone '{min(shared)}' with itself"
            yield Finding(("conduits", name), text, "traffic inside a zone is not judged")


@check(
    "POL216",
    Severity.INFO,
    "conduit closed",
    "Nothing passes until it is enabled: right for a break-glass path, forgotten otherwise.",
)
def disabled(context: Context) -> Iterator[Finding]:
    """Find conduits that the text itself closes."""
    for name, conduit in context.policy.conduits.items():
        if not conduit.enabled:
            yield Finding(
                ("conduits", name, "enabled"), f"conduit '{name}' is closed", "remove it when nobody needs it"
            )


@check(
    "POL218",
    Severity.WARNING,
    "windows that never open again",
    "The conduit stays closed for ever, and the next maintenance finds it so.",
    dated=True,
)
def closed_windows(context: Context) -> Iterator[Finding]:
    """Find conduits none of whose windows opens within the ten years from today that a timetable looks ahead."""
    policy = context.policy
    if context.today is None or not context.windows_read or not any(c.windows for c in policy.conduits.values()):
        return
    somewhere = datetime.combine(context.today, time(0), UTC) - timedelta(hours=14)  # the day begins in Kiribati
    begin = second_of(somewhere)
    over = {
        name
        for name, table in timetables(policy).items()
        if not table.open_at(begin) and table.next_change(begin) is None
    }
    for name, conduit in policy.conduits.items():
        if conduit.windows and over.issuperset(conduit.windows):
            text = f"conduit '{name}' never opens again: {_quoted(conduit.windows)} lie in the past"
            yield Finding(("conduits", name, "windows"), text, "give the next opening, or remove the conduit")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


@check(
    "POL249",
    Severity.WARNING,
    "jump host that nobody can reach",
    "What must go by the jump host can't, if no conduit leads there: people will ask for the short way.",
    supports="3-2 ZCR 3.6",
)
def no_way_to_the_jump_host(context: Context) -> Iterator[Finding]:
    """Find conduits by way of a jump host that some of those named in `from` can't reach.

    Seen zone by zone, and asset by asset where `from` names assets.
    """
    conduits, assets = context.policy.conduits, context.policy.assets
    arriving = _arriving(context, {conduit.via for conduit in conduits.values() if conduit.via is not None})
    for name, conduit in conduits.items():
        via = conduit.via
        if via is None:
            continue
        own = assets[via].zone  # within one zone nothing is judged
        ways = [conduits[other].opener() for other in arriving[via]]
        zones = {own}.union(*(context.zoning.reached_zones(way) for way in ways))
        cut_off = [f"zone '{zone}'" for zone in sorted(context.reaches[name].asked - zones)]
        cut_off += [
            f"asset '{asset}'"
            for asset in conduit.source.asset
            if assets[asset].zone != own and not any(_names(context, way, asset) for way in ways)
        ]
        if cut_off:
            text = f"no conduit leads from {cut_off[0]} to jump host '{via}'"
            hint = "nobody there can use this conduit: add one that ends at the jump host"
            yield Finding(("conduits", name, "via"), text, hint)


def _arriving(context: Context, jumps: set[str]) -> dict[str, list[str]]:
    """Return for each jump host the conduits that end at it."""
    arriving: dict[str, list[str]] = {jump: [] for jump in jumps}
    by_zone: dict[str, list[str]] = {}
    for jump in jumps:
        by_zone.setdefault(context.policy.assets[jump].zone, []).append(jump)
    for name, conduit in context.policy.conduits.items():
        for zone in context.reaches[name].targets & by_zone.keys():
            for jump in by_zone[zone]:
                if _names(context, conduit.destination, jump):
                    arriving[jump].append(name)
    return arriving


def _names(context: Context, selector: Selector, asset: str) -> bool:
    """Tell whether a selector names an asset, by whatever key."""
    if selector.group or (selector.asset and asset not in selector.asset):
        return False
    return context.zoning.selects(selector, context.policy.assets[asset])


@check(
    "POL248",
    Severity.WARNING,
    "requirement that can't be met yet",
    "There are no sessions yet to prove it by: the conduit stays closed rather than open without proof.",
    supports="3-3 SR 1.13",
)
def waiting_for_sessions(context: Context) -> Iterator[Finding]:
    """Find conduits that require a session, a step-up or an attestation."""
    for name, conduit in context.policy.conduits.items():
        if conduit.requires:
            text = (
                f"conduit '{name}' requires {', '.join(conduit.requires)}, which nothing can prove yet: it stays closed"
            )
            yield Finding(("conduits", name, "requires"), text, "remove requires if it must work before sessions exist")


CHECKS = (
    matches_nothing,
    within_a_zone,
    disabled,
    closed_windows,
    no_way_to_the_jump_host,
    waiting_for_sessions,
)
