"""What a conduit permits inside, in words: for `explain` and the listings.

In: a conduit. Out: a line for its operations and one for each clause, in the words of the policy; none when nothing of
it is inspected. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import MessageLog, RefuseMode
from rules.constraints_model import clauses_of
from rules.protocols import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.conduit_model import Conduit
    from rules.constraints_model import Clause


def inside(conduit: Conduit) -> list[str]:
    """Return what may be asked for by a conduit."""
    return list(_lines(conduit)) if conduit.inspected else []


def _lines(conduit: Conduit) -> Iterator[str]:
    yield f"operations: {', '.join(conduit.operations) or 'all'}"
    for protocol, clauses in clauses_of(conduit.constraints).items():
        for clause in clauses:
            yield f"{key_of(protocol)}: {_clause_text(clause)}"
    if conduit.messages is not MessageLog.NONE:
        yield f"messages logged: {conduit.messages.name.lower()}"
    refusal = RefuseMode.RESET if conduit.refuse is None else conduit.refuse
    yield f"refused by: {refusal.name.lower()}"


def _clause_text(clause: Clause) -> str:
    parts = [f"{name} {_numbers(value)}" for name, value in clause.model_dump(mode="json", by_alias=True).items()]
    return ", ".join(parts) or "anything"


def _numbers(value: object) -> str:
    return "|".join(str(one) for one in value) if isinstance(value, list) else str(value)
