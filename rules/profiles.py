"""What a conduit permits inside, as the engine will judge it: numbers and sets instead of words.

In: a conduit that `check` found no errors in, and the services it carries. Out: `ProfileRecord`, None when nothing of
it is inspected. Pure; conduits that permit the same get equal profiles, however they are written. Called by `lower` and
`digest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import MessageLog, Operation, Protocol, RefuseMode
from rules.constraints_model import clauses_of, message_clauses_of
from rules.protocols import field_place
from rules.records import ClauseRecord, ProfileRecord, RangeRecord
from rules.services import inspectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rules.conduit_model import Conduit
    from rules.constraints_model import Clause
    from rules.service_model import Service

SAMPLED = 100  # one message in so many, where nothing else is said
NAMED = frozenset(Operation) - {Operation.OTHER}  # what no table knows is never permitted
CONNECT = frozenset({Operation.NONE})  # what clauses about COTP are asked of has no operation


def lower_profile(conduit: Conduit, known: Mapping[str, Service]) -> ProfileRecord | None:
    """Return the profile of a conduit."""
    if not conduit.inspected:
        return None
    given = clauses_of(conduit.constraints)
    clauses = [lower_clause(protocol, clause) for protocol, several in given.items() for clause in several]
    return ProfileRecord(
        frozenset(reader for name in conduit.services for reader in inspectors(known[name]) or ()),
        _operations(conduit.operations) | {Operation.NONE},
        tuple(dict.fromkeys(clauses)),
        bool(message_clauses_of(conduit.constraints)),
        conduit.messages,
        (conduit.every or SAMPLED) if conduit.messages is MessageLog.SAMPLED else 1,
        RefuseMode.RESET if conduit.refuse is None else conduit.refuse,
    )


def lower_clause(protocol: Protocol, clause: Clause) -> ClauseRecord:
    """Return one alternative; the ranges of a field sorted, those within others left out."""
    ranges = [
        RangeRecord(field_place(protocol, name), first, last)
        for name, spans in clause.ranges().items()
        for first, last in _outermost(spans)
    ]
    rate = (clause.rate.interval_ns, clause.rate.burst_ns) if clause.rate is not None else (0, 0)
    operations = CONNECT if protocol is Protocol.COTP else _operations(clause.operation)
    return ClauseRecord(protocol, operations, tuple(sorted(ranges)), clause.largest_step, *rate)


def _operations(words: Iterable[str]) -> frozenset[Operation]:
    return frozenset(Operation[word.upper()] for word in words) or NAMED


def _outermost(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order. Ones that only touch stay apart: an access has to lie within one of them."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not found or last > found[-1][1]:
            found.append((first, last))
    return found
