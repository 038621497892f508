"""Conduits that others stand before: never the one that permits, or only sometimes.

In: a `Context` with the lowered policy, whose rules list the conduits that permit each kind of frame, most specific
first. Out: findings, exact and linear in the rules: no conduit is compared with every other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import SERVICE_NEIGHBOUR, FailMode
from rules.checks.registry import Finding, check
from rules.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rules.checks.context import Context
    from rules.conduit_model import Conduit

SHOWN = 3


@check(
    "POL214",
    Severity.WARNING,
    "shadowed conduit",
    "A more specific conduit permits all of it first: this one's stage, limit, log and inspection never act.",
    supports="3-3 SR 7.7",
    lowered=True,
)
def shadowed(context: Context) -> Iterator[Finding]:
    """Find conduits that are never the first open one, whatever windows and operators do."""
    first, before = _standing(context)
    conduits = context.policy.conduits
    for name, others in before.items():
        if name not in first and not _acts_alone(conduits[name], [conduits[other] for other in others]):
            text = f"conduit '{name}' never decides: {_listed(others)} permits all of it first"
            text += _unseen(conduits, name, others)
            yield Finding(("conduits", name), text, "remove it, or make it more specific than the other")


@check(
    "POL215",
    Severity.INFO,
    "overlapping conduits",
    "For what both permit, only the more specific one's stage, limit, log and inspection act.",
    supports="3-3 SR 7.7",
    lowered=True,
)
def overlapping(context: Context) -> Iterator[Finding]:
    """Find conduits a part of which others permit first."""
    first, before = _standing(context)
    for name, others in before.items():
        if name in first and others:
            text = f"{_listed(others)} permits a part of conduit '{name}' first"
            text += _unseen(context.policy.conduits, name, others)
            yield Finding(("conduits", name), text, "right where the other is meant as an exception")


def _standing(context: Context) -> tuple[set[str], dict[str, dict[str, None]]]:
    """Return the conduits that can be the first open one somewhere, and for each those that are always before it."""
    lowered = context.lowered
    if lowered is None:
        return set(), {}
    names = {conduit.slot: conduit.name for conduit in lowered.conduits}
    always = {slot for slot, name in names.items() if _always_open(context.policy.conduits[name])}
    enabled = {slot for slot, name in names.items() if context.policy.conduits[name].enabled}
    first: set[int] = set()
    before: dict[int, dict[str, None]] = {}
    for rule in lowered.rules:
        if rule.service_class == SERVICE_NEIGHBOUR:
            continue
        cover: int | None = None
        for slot in rule.conduits:
            if slot not in enabled:
                continue
            others = before.setdefault(slot, {})
            if cover is None:
                first.add(slot)
                cover = slot if slot in always else None
            else:
                others[names[cover]] = None
    return {names[slot] for slot in first}, {names[slot]: others for slot, others in before.items()}


def _always_open(conduit: Conduit) -> bool:
    return conduit.enabled and not (conduit.windows or conduit.requires or conduit.expires)


def _acts_alone(conduit: Conduit, others: list[Conduit]) -> bool:
    """Without an engine every open conduit counts for itself: one that fails open does more than those before it."""
    return conduit.fail is FailMode.OPEN and any(other.fail is not FailMode.OPEN for other in others)


def _unseen(conduits: Mapping[str, Conduit], name: str, others: Iterable[str]) -> str:
    """Return what inspection loses, where what is in front of an inspected conduit is not inspected."""
    blind = dict.fromkeys(other for other in others if not conduits[other].inspected)
    return f", and {_listed(blind)} inspects nothing of it" if conduits[name].inspected and blind else ""


def _listed(names: dict[str, None]) -> str:
    shown = [f"'{name}'" for name in list(names)[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


CHECKS = (shadowed, overlapping)
