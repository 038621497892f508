# cython: language_level=3
"""Whether a profile of an image can be followed without asking: every index in range, every number known.

In: an attached table whose sections lie within the image. Out: what is wrong, NULL when nothing is. Used by `judge`.
"""

from libc.stdint cimport uint32_t

from fastpath.abi cimport (
    ACCESS_FIELDS,
    INSPECTOR_ENIP_IO,
    MAX_CLAUSES,
    MAX_RANGES,
    MESSAGES_FULL,
    NO_FIELD,
    OPERATION_OTHER,
    PROTOCOL_COTP,
    PROTOCOL_NONE,
    REFUSE_ANSWER,
    clause_t,
    profile_t,
    range_t,
)
from fastpath.table cimport table_t

cdef inline const char *clause_fault(const table_t *table, const clause_t *clause, uint32_t range_count) noexcept nogil:
    cdef const range_t *span
    cdef uint32_t at
    if clause.protocol <= PROTOCOL_NONE or clause.protocol > PROTOCOL_COTP:
        return b"a clause of a protocol that this engine does not know"
    if clause.operations >> OPERATION_OTHER:
        return b"a clause permits an operation that this engine does not know"
    if clause.value_field >= ACCESS_FIELDS and clause.value_field != NO_FIELD:
        return b"a clause's value is a field out of range"
    if clause.first_range > range_count or clause.range_count > range_count - clause.first_range:
        return b"a clause's ranges are out of range"
    # A burst below one interval lets nothing pass; times are added to the clock, far from the end of 64 bits.
    if clause.rate_interval_ns > clause.rate_burst_ns or clause.rate_burst_ns >> 62:
        return b"a clause's interval and burst contradict each other"
    for at in range(clause.range_count):
        span = &table.ranges[clause.first_range + at]
        if span.field >= ACCESS_FIELDS or span.low > span.high:
            return b"a range runs backwards or is of a field out of range"
        if at and (span.field < span[-1].field or (span.field == span[-1].field and span.low <= span[-1].low)):
            return b"a clause's ranges are not sorted"
    return NULL


cdef inline const char *profile_fault(
    const table_t *table, const profile_t *profile, uint32_t clause_count, uint32_t range_count
) noexcept nogil:
    """Say what is wrong with a profile and its clauses; NULL: nothing."""
    cdef const char *fault
    cdef uint32_t at
    cdef uint32_t ranges = 0
    if profile.first_clause > clause_count or profile.clause_count > clause_count - profile.first_clause:
        return b"its clauses are out of range"
    if profile.clause_count > MAX_CLAUSES:
        return b"too many clauses"
    if not profile.inspectors or profile.inspectors & 1 or profile.inspectors >> (INSPECTOR_ENIP_IO + 1):
        return b"no inspector, or one that this engine does not have"
    if profile.operations >> OPERATION_OTHER:
        return b"it permits an operation that this engine does not know"
    if profile.messages > MESSAGES_FULL or profile.refuse > REFUSE_ANSWER or profile.every == 0:
        return b"a message log or a way of refusing that this engine does not know"
    if profile.constrained > 1 or profile.guarded > 1:
        return b"a flag that this engine does not know"
    for at in range(profile.clause_count):
        fault = clause_fault(table, &table.clauses[profile.first_clause + at], range_count)
        if fault != NULL:
            return fault
        ranges += table.clauses[profile.first_clause + at].range_count
    if ranges > MAX_RANGES:
        return b"too many ranges"
    return NULL
