"""Profiles → the image's sections of profiles, clauses, ranges and inspectors by service class.

In: what conduits permit inside, each once. Out: bytes in the layouts of `fastpath.abi`, and how many entries each has.
Pure; all four are empty when no conduit is inspected. Called by `image`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fastpath import abi
from fastpath.abi import Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rules.records import ClauseRecord, LoweredPolicy, ProfileRecord

Content = tuple[bytes, int]


def profile_sections(profiles: Sequence[ProfileRecord]) -> dict[Section, Content]:
    """Return the sections of profiles, clauses and ranges."""
    clauses: list[bytes] = []
    ranges: list[bytes] = []
    rows = []
    for profile in profiles:
        rows.append(
            abi.PROFILE.pack(
                len(clauses),
                len(profile.clauses),
                _bits(profile.inspectors),
                profile.every,
                _bits(profile.operations),
                profile.constrained,
                profile.messages,
                profile.refuse,
                any(clause.step for clause in profile.clauses),
                bytes(10),
            )
        )
        for clause in profile.clauses:
            clauses.append(_clause(clause, len(ranges)))
            ranges += [abi.RANGE.pack(span.field, bytes(7), span.low, span.high) for span in clause.ranges]
    return {
        Section.PROFILES: (b"".join(rows), len(rows)),
        Section.CLAUSES: (b"".join(clauses), len(clauses)),
        Section.RANGES: (b"".join(ranges), len(ranges)),
    }


def service_inspectors(lowered: LoweredPolicy, profiles: Sequence[ProfileRecord]) -> Content:
    """Return which inspector reads each service class."""
    if not profiles:
        return b"", 0
    count = max((service.klass for service in lowered.services), default=abi.SERVICE_NEIGHBOUR) + 1
    return bytes(lowered.inspectors.get(klass, abi.Inspector.NONE) for klass in range(count)), count


def clause_identity(clause: ClauseRecord) -> int:
    """Return the number under which the engine counts for a clause: the same as long as the clause says the same."""
    plain = [int(clause.protocol), sorted(map(int, clause.operations)), *map(list, clause.ranges), clause[3:]]
    return int.from_bytes(hashlib.sha256(repr(plain).encode()).digest()[:8], "little")


def _clause(clause: ClauseRecord, first_range: int) -> bytes:
    names = abi.FIELD_NAMES[clause.protocol]
    return abi.CLAUSE.pack(
        clause_identity(clause),
        clause.step,
        clause.rate_interval_ns,
        clause.rate_burst_ns,
        first_range,
        len(clause.ranges),
        _bits(clause.operations),
        clause.protocol,
        names.index("value") if "value" in names else abi.NO_FIELD,
        bytes(6),
    )


def _bits(members: Iterable[int]) -> int:
    return sum(1 << member for member in members)
