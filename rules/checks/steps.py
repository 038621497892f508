"""Steps that can be gone around: another clause of the same conduit writes the same place without one.

In: a `Context`. Out: findings. A place is what the engine keeps a last value of (`fastpath/inspect/place.pxd`), but for
the Modbus unit and the name of a data block's area: those are names, and a device may answer to several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.abi import FIELD_NAMES, Operation, Protocol
from rules.checks.inside import clauses_in_order
from rules.checks.registry import Finding, check
from rules.problems import Severity
from rules.protocols import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.checks.context import Context
    from rules.records import ClauseRecord

# Functions that write, by the table that they write to: registers, coils and files; variables.
TABLES: Final = {Protocol.MODBUS: ((6, 16, 22, 23), (5, 15), (21,)), Protocol.S7COMM: ((5,),)}
PLACES: Final = {Protocol.MODBUS: ("address", "file", "record"), Protocol.S7COMM: ("area", "db", "address")}
PROGRAMMER: Final = 1  # S7: of userdata, the one group with a write of variables, any of them
BLOCK_AREAS: Final = (0x84, 0x85)  # S7: `db` and `di`, two names of one memory


@check(
    "POL241",
    Severity.WARNING,
    "a step that another clause goes around",
    "Who may write there without a step as well reaches any value in one.",
)
def around_a_step(context: Context) -> Iterator[Finding]:
    """Find clauses that permit writing without a step where another one of their conduit has one."""
    for name, conduit in context.policy.conduits.items():
        clauses = list(clauses_in_order(conduit))
        stepped = [one for one in clauses if one[2].step]
        for protocol, index, clause in clauses if stepped else ():
            around = next((number for _, number, one in stepped if _meet(one, clause)), None)
            if around is None or clause.step:
                continue
            text = f"clause {index + 1} of conduit '{name}' writes without a step where clause {around + 1} has one"
            path = ("conduits", name, "constraints", key_of(protocol), index)
            yield Finding(path, text, "say operation: read, or give it other addresses or a step of its own")


def _meet(one: ClauseRecord, other: ClauseRecord) -> bool:
    """Tell whether two clauses may be about writing the same place."""
    if one.protocol is not other.protocol or Operation.WRITE not in one.operations & other.operations:
        return False
    if not _tables(one) & _tables(other):
        return False
    for field in PLACES[one.protocol]:
        mine, its = _spans(one, field), _spans(other, field)
        if mine and its and not any(a <= d and c <= b for a, b in mine for c, d in its):
            return False
    return True


def _tables(clause: ClauseRecord) -> frozenset[tuple[int, ...]]:
    """Return the tables that a clause's functions write to; all where it names none."""
    if clause.protocol is Protocol.S7COMM:
        groups = _spans(clause, "userdata_group")
        if groups and not any(first <= PROGRAMMER <= last for first, last in groups):
            return frozenset()
    named = _spans(clause, "function")
    return frozenset(
        table
        for table in TABLES[clause.protocol]
        if not named or any(first <= number <= last for first, last in named for number in table)
    )


def _spans(clause: ClauseRecord, field: str) -> list[tuple[int, int]]:
    """Return a clause's ranges of a field; what names one area of data blocks means both."""
    place = FIELD_NAMES[clause.protocol].index(field)
    found = [(span.low, span.high) for span in clause.ranges if span.field == place]
    if field == "area" and any(first <= area <= last for first, last in found for area in BLOCK_AREAS):
        found.append(BLOCK_AREAS)
    return found


CHECKS = (around_a_step,)
