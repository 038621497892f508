"""What conduits permit inside, and had better not: everything into a cell, programming at any hour, clauses in vain.

In: a `Context`. Out: findings. Only conduits that could be inspected are asked about: others have no way to say more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import Operation
from rules.checks.registry import Finding, check
from rules.constraints_model import clauses_of, message_clauses_of
from rules.problems import Severity
from rules.profiles import CONNECT, NAMED, lower_clause
from rules.protocols import SPOKEN, key_of
from rules.services import inspectors, known_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath.abi import Protocol
    from rules.checks.context import Context
    from rules.conduit_model import Conduit
    from rules.records import ClauseRecord
    from rules.service_model import Service

CHANGING = ("program", "control", "admin")


@check(
    "POL236",
    Severity.WARNING,
    "any operation into a cell",
    "Whoever may read may stop the controller too: the services say who talks, operations say what about.",
    supports="3-3 SR 5.2",
)
def any_operation(context: Context) -> Iterator[Finding]:
    """Find conduits into cells that permit whatever their services can ask, where others of the policy say what."""
    if not any(conduit.inspected for conduit in context.policy.conduits.values()):
        return
    known = known_services(context.policy)
    for name, conduit in context.policy.conduits.items():
        cells = context.reaches[name].targets & context.cells
        if not cells or conduit.operations or message_clauses_of(conduit.constraints):
            continue
        if all(inspectors(known[service]) for service in conduit.services):
            text = f"conduit '{name}' permits every operation on what is in cell '{min(cells)}'"
            yield Finding(("conduits", name), text, "say what it needs: operations: [read]")


@check(
    "POL237",
    Severity.WARNING,
    "controllers changed at any hour",
    "Programs are changed when somebody has planned to: at any other time it is somebody else.",
    supports="3-3 SR 2.1",
)
def changed_at_any_hour(context: Context) -> Iterator[Finding]:
    """Find conduits that grant programming or control by name, without window or proof."""
    for name, conduit in context.policy.conduits.items():
        granted = [operation for operation in CHANGING if operation in conduit.operations]
        if granted and not (conduit.windows or conduit.requires) and context.reaches[name].targets & context.cells:
            text = f"conduit '{name}' grants {', '.join(granted)} at any hour"
            yield Finding(("conduits", name, "operations"), text, "give it windows, or requires: [session]")


@check(
    "POL238",
    Severity.WARNING,
    "a clause that never matches",
    "What it was meant to permit is refused.",
)
def never_matching(context: Context) -> Iterator[Finding]:
    """Find clauses whose operations the conduit does not permit, and services that no clause is about."""
    known = known_services(context.policy)
    for name, conduit in context.policy.conduits.items():
        asking = message_clauses_of(conduit.constraints)
        permitted = (frozenset(Operation[word.upper()] for word in conduit.operations) or NAMED) | CONNECT
        for protocol, index, clause in clauses_in_order(conduit):
            if not clause.operations & permitted:
                words = ", ".join(sorted(operation.name.lower() for operation in clause.operations))
                text = f"clause {index + 1} is about {words}, which conduit '{name}' does not permit"
                path = ("conduits", name, "constraints", key_of(protocol), index)
                yield Finding(path, text, "add it to 'operations', or remove the clause")
        spoken = {service: _spoken(known[service]) & asking.keys() for service in conduit.services}
        for service, meant in spoken.items() if any(spoken.values()) else ():
            if not meant:
                text = f"no clause of conduit '{name}' is about service '{service}': nothing of it passes"
                yield Finding(("conduits", name, "constraints"), text, "give it a clause, or a conduit of its own")


@check(
    "POL239",
    Severity.WARNING,
    "a clause behind one that permits as much",
    "What matches it matches the other first: its rate and band never act.",
)
def behind_another(context: Context) -> Iterator[Finding]:
    """Find clauses everything of which an unguarded one before or behind them permits."""
    for name, conduit in context.policy.conduits.items():
        clauses = list(clauses_in_order(conduit))
        for protocol, index, clause in clauses:
            for other_protocol, other_index, other in clauses:
                if other_protocol is not protocol or other_index == index or not _covers(other, clause):
                    continue
                if _covers(clause, other) and other_index > index:
                    continue  # the same twice: the second one is behind
                text = f"clause {index + 1} of conduit '{name}' permits nothing that clause {other_index + 1} does not"
                path = ("conduits", name, "constraints", key_of(protocol), index)
                yield Finding(path, text, "narrow the other one, or remove this one")
                break


def _spoken(service: Service) -> set[Protocol]:
    return {protocol for reader in inspectors(service) or () for protocol in SPOKEN[reader]}


def clauses_in_order(conduit: Conduit) -> Iterator[tuple[Protocol, int, ClauseRecord]]:
    """Yield a conduit's clauses, each with its protocol and its place in the protocol's list."""
    for protocol, clauses in clauses_of(conduit.constraints).items():
        for index, clause in enumerate(clauses):
            yield protocol, index, lower_clause(protocol, clause)


def _covers(one: ClauseRecord, other: ClauseRecord) -> bool:
    """Tell whether an unguarded clause permits all that another one does."""
    if one.step or one.rate_interval_ns or not one.operations >= other.operations:
        return False
    for field in {span.field for span in one.ranges}:
        wide = [span for span in one.ranges if span.field == field]
        narrow = [span for span in other.ranges if span.field == field]
        if not narrow or not all(any(w.low <= n.low and n.high <= w.high for w in wide) for n in narrow):
            return False
    return True


CHECKS = (any_operation, changed_at_any_hour, never_matching, behind_another)
