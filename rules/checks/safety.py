"""What reaches a safety system, and what a cell lets in when nobody judges.

In: a `Context`. Out: findings about conduits that can change what protects people and plant.
Every service but ping may carry a write, unless its messages are read and the conduit permits reading alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import FailMode, Stage
from rules.checks.registry import Finding, check
from rules.constraints_model import clauses_of, message_clauses_of
from rules.problems import Severity
from rules.records import ServiceKind
from rules.services import known_services, service_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.checks.context import Context
    from rules.conduit_model import Conduit, Selector

READ_ONLY = frozenset({"read", "diagnose"})
PING = frozenset({ServiceKind.ICMP4, ServiceKind.ICMP6})


@check(
    "POL115",
    Severity.ERROR,
    "safety zone writable by role, zone or prefix",
    "Whoever may change a safety system is named one by one: a role grows by every asset that is given it.",
    supports="3-2 ZCR 3.3",
)
def safety_by_role(context: Context) -> Iterator[Finding]:
    """Find conduits that can write into a safety zone and name a side otherwise than asset by asset."""
    for name, conduit in _writing(context):
        sides = [
            side for side, end in (("from", conduit.opener()), ("to", conduit.destination)) if not _one_by_one(end)
        ]
        if sides:
            which = " and ".join(f"'{side}'" for side in sides)
            text = f"conduit '{name}' can change a safety system, and {which} names no single assets"
            yield Finding(("conduits", name), text, "name each asset: asset: [...]")


@check(
    "POL203",
    Severity.WARNING,
    "safety system writable",
    "A safety system that the network can change protects as well as the network does.",
    supports="3-2 ZCR 3.3",
)
def safety_by_name(context: Context) -> Iterator[Finding]:
    """Find conduits by which named assets can write into a safety zone."""
    for name, conduit in _writing(context):
        if _one_by_one(conduit.opener()) and _one_by_one(conduit.destination):
            yield Finding(
                ("conduits", name), f"conduit '{name}' can change a safety system", "a read-only path is safer"
            )


def _one_by_one(selector: Selector) -> bool:
    return bool(selector.asset)


def _writing(context: Context) -> Iterator[tuple[str, Conduit]]:
    safety = context.of_kinds("safety")
    if not safety:
        return
    services = known_services(context.policy)
    writable = {name for name, service in services.items() if not service_ranges(service).keys() <= PING}
    for name, conduit in context.policy.conduits.items():
        if (
            context.reaches[name].targets & safety
            and not _reads_only(conduit)
            and writable.intersection(conduit.services)
        ):
            yield name, conduit


def _reads_only(conduit: Conduit) -> bool:
    """Tell whether a conduit, or each of its clauses, permits nothing but looking."""
    clauses = [clause for several in message_clauses_of(conduit.constraints).values() for clause in several]
    granted = [conduit.operations] if conduit.operations else [clause.operation for clause in clauses]
    return bool(granted) and all(words and READ_ONLY.issuperset(words) for words in granted)


@check(
    "POL235",
    Severity.WARNING,
    "cell open while nobody judges",
    "With fail: open every IP service passes between the two ends when the engine is absent: that is when it matters.",
    supports="3-3 SR 5.2 RE 3",
)
def fails_open(context: Context) -> Iterator[Finding]:
    """Find conduits into control and safety zones that fail open."""
    for name, conduit in context.policy.conduits.items():
        cells = context.reaches[name].targets & context.cells
        if conduit.fail is FailMode.OPEN and cells:
            text = f"conduit '{name}' lets every service into cell '{min(cells)}' while no engine judges"
            yield Finding(("conduits", name, "fail"), text, "fail: static keeps its addresses and ports")


@check(
    "POL240",
    Severity.WARNING,
    "not inspected while nobody judges",
    "The kernel's fallback reads no messages: without an engine, or with an overloaded one, what is forbidden passes.",
    supports="3-3 SR 5.2 RE 3",
    lowered=True,
)
def passes_uninspected(context: Context) -> Iterator[Finding]:
    """Find conduits that enforce operations or constraints between zones that enforce, and don't fail closed."""
    lowered = context.lowered
    if lowered is None or context.policy.site.ceiling is not Stage.ENFORCE:
        return
    numbers = {zone.name: zone.number for zone in lowered.zones}
    for name, conduit in context.policy.conduits.items():
        says = conduit.operations or clauses_of(conduit.constraints)
        if not says or conduit.stage is not Stage.ENFORCE or conduit.fail is FailMode.CLOSED:
            continue
        reach = context.reaches[name]
        pairs = ((numbers[source], numbers[target]) for source in reach.sources for target in reach.targets)
        if any(source != target and lowered.pair_stages[source, target] is Stage.ENFORCE for source, target in pairs):
            text = (
                f"what conduit '{name}' forbids inside passes while no engine judges, and who uses it can overload one"
            )
            hint = "fail: closed keeps it out, and stops the conduit for as long as that lasts"
            yield Finding(
                ("conduits", name, "fail") if "fail" in conduit.model_fields_set else ("conduits", name), text, hint
            )


CHECKS = (safety_by_role, safety_by_name, fails_open, passes_uninspected)
