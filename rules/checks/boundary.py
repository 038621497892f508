"""Paths that step over a boundary: everyone to everyone, offices into cells, outsiders without a jump host.

In: a `Context`. Out: findings about conduits by the kinds of the zones that they join.
A conduit with `via` counts from the jump host's zone: what passes comes from there (docs/reference/semantics.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.checks.context import EXTERNAL
from rules.checks.registry import Finding, check
from rules.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.checks.context import Context
    from rules.conduit_model import Selector


@check(
    "POL110",
    Severity.ERROR,
    "everyone to everyone",
    "A conduit that joins all zones with all zones takes the boundary away.",
    supports="3-3 SR 5.1, SR 5.2 RE 1",
)
def any_to_any(context: Context) -> Iterator[Finding]:
    """Find conduits whose both sides are everybody."""
    zones = set(context.policy.zones)

    def everyone(selector: Selector) -> bool:
        if selector.role or selector.asset or selector.group:
            return False
        if any(prefix.prefixlen == 0 for prefix in selector.prefix):
            return True
        return not selector.prefix and len(selector.zone) >= len(zones) and set(selector.zone) == zones

    for name, conduit in context.policy.conduits.items():
        if everyone(conduit.opener()) and everyone(conduit.destination):
            hint = "one conduit per purpose: name the zones that need each other"
            yield Finding(("conduits", name), f"conduit '{name}' joins everyone with everyone", hint)


@check(
    "POL202",
    Severity.ERROR,
    "business network straight into a cell",
    "Business and control networks exchange through a DMZ, so that neither can attack the other directly.",
    supports="3-2 ZCR 3.2",
)
def past_the_dmz(context: Context) -> Iterator[Finding]:
    """Find conduits from enterprise zones into control or safety zones."""
    offices = context.of_kinds("enterprise")
    for name, source, target in _joining(context, offices, context.cells):
        text = f"conduit '{name}' reaches cell '{target}' from enterprise zone '{source}' without passing the DMZ"
        yield Finding(("conduits", name), text, "end it in the DMZ, and let a second conduit begin there")


@check(
    "POL114",
    Severity.ERROR,
    "vendor or remote access straight into a cell",
    "A device that nobody here maintains must not speak to controllers itself: a jump host does, watched and recorded.",
    supports="3-2 ZCR 3.6, 3-3 SR 1.13",
)
def outsiders_without_jump_host(context: Context) -> Iterator[Finding]:
    """Find conduits from vendor and remote zones into control or safety zones that have no `via`."""
    outside = context.of_kinds(*EXTERNAL)
    for name, source, target in _joining(context, outside, context.cells):
        kind = context.policy.zones[source].kind
        text = f"conduit '{name}' reaches cell '{target}' from {kind} zone '{source}' directly"
        yield Finding(("conduits", name), text, "add via: and the jump host's name")


@check(
    "POL213",
    Severity.WARNING,
    "wireless straight into a cell",
    "Who stands near enough is on the same network: a cell that trusts a radio trusts the car park.",
    supports="3-2 ZCR 3.5",
)
def wireless_into_a_cell(context: Context) -> Iterator[Finding]:
    """Find conduits from wireless zones into control or safety zones that have no `via`."""
    for name, source, target in _joining(context, context.of_kinds("wireless"), context.cells):
        text = f"conduit '{name}' reaches cell '{target}' from wireless zone '{source}' directly"
        yield Finding(("conduits", name), text, "add via:, or let a server in between speak to the cell")


@check(
    "POL231",
    Severity.WARNING,
    "wireless, vendor or remote zone without a session",
    "Without a session the path is open to whoever is there, at any time, and nobody can end it by name.",
    supports="3-2 ZCR 3.5, ZCR 3.6, 3-3 SR 1.13, SR 2.6",
)
def no_session(context: Context) -> Iterator[Finding]:
    """Find conduits that begin in a wireless, vendor or remote zone and require no session."""
    doubtful = context.of_kinds("wireless", *EXTERNAL)
    for name, conduit in context.policy.conduits.items():
        begins = context.reaches[name].asked & doubtful
        if begins and "session" not in conduit.requires:
            zone = min(begins)
            text = f"conduit '{name}' begins in {context.policy.zones[zone].kind} zone '{zone}' and requires no session"
            yield Finding(("conduits", name), text, "add requires: session")


def _joining(context: Context, sources: frozenset[str], targets: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each conduit that leads from the sources to the targets, with one zone of each for the message."""
    if not sources or not targets:
        return
    for name, reach in context.reaches.items():
        here, there = reach.sources & sources, reach.targets & targets
        if here and there:
            yield name, min(here), min(there)


@check(
    "POL211",
    Severity.WARNING,
    "business network into a cell by way of a zone that is no DMZ",
    "Two permitted steps are one path for whoever takes over the host in between.",
    supports="3-2 ZCR 3.2",
)
def around_the_dmz(context: Context) -> Iterator[Finding]:
    """Find conduits from enterprise zones to zones from which other conduits lead on into a cell."""
    offices, cells = context.of_kinds("enterprise"), context.cells
    if not offices or not cells:
        return
    passable = frozenset(context.policy.zones) - context.of_kinds("dmz", "enterprise") - cells
    leading = _leading_to(context, cells, passable)
    for name, reach in context.reaches.items():
        between = reach.targets & leading.keys()
        if reach.sources & offices and between:
            zone = min(between)
            text = f"conduit '{name}' leads from enterprise zone '{min(reach.sources & offices)}' to '{zone}'"
            hint = "end it in the DMZ, or let nothing lead on from there"
            yield Finding(("conduits", name), f"{text}, from where conduit '{leading[zone]}' leads on", hint)


def _leading_to(context: Context, cells: frozenset[str], passable: frozenset[str]) -> dict[str, str]:
    """Return the passable zones from which conduits lead to a cell, in any number of steps, with the first conduit."""
    steps: dict[tuple[frozenset[str], frozenset[str]], str] = {}
    for name, reach in context.reaches.items():
        steps.setdefault((reach.sources & passable, reach.targets), name)
    found: dict[str, str] = {}
    arriving = set(cells)
    while True:
        leads = {pair: name for pair, name in steps.items() if not pair[1].isdisjoint(arriving)}
        if not leads:
            return found
        for (sources, _), name in leads.items():
            for zone in sources:
                found.setdefault(zone, name)
        arriving = {zone for sources, _ in leads for zone in sources}
        steps = {pair: name for pair, name in steps.items() if pair not in leads}


CHECKS = (any_to_any, past_the_dmz, outsiders_without_jump_host, wireless_into_a_cell, no_session, around_the_dmz)
