# cython: language_level=3
"""One clause of a profile beside one access: whether its fields match, and which values its `step` is about.

In: a clause of a validated image, whose ranges lie sorted by field, and an access. Out: a reason, or marks. Every range
is looked at once, whatever the access; keeps nothing. Used by `held` and `profile`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    PROTOCOL_MODBUS,
    REASON_MESSAGE_CONSTRAINT,
    REASON_NONE,
    REASON_PROCESS_VALUE,
    clause_t,
    range_t,
)
from fastpath.inspect.interface cimport access_t
from fastpath.inspect.place cimport MODBUS_ADDRESS, MODBUS_RECORD, place_fields, told_fields
from fastpath.table cimport table_t

cdef enum:
    MARK_WORDS = 4
    MARKED_VALUES = 64 * MARK_WORDS  # of an access: what lies behind them is not marked

cdef struct marks_t:
    uint64_t words[MARK_WORDS]  # bit i: the value with this index


cdef inline int names_access(const clause_t *clause, const access_t *access) noexcept nogil:
    """Tell whether a clause is about accesses of this kind at all."""
    return clause.protocol == access.protocol and clause.operations >> access.operation & 1


cdef inline uint8_t fields_reason(const table_t *table, const clause_t *clause, const access_t *access) noexcept nogil:
    """Compare every field that a clause names: NONE, PROCESS_VALUE when only the value is outside, or CONSTRAINT."""
    cdef const range_t *span = table.ranges + clause.first_range
    cdef const range_t *end = span + clause.range_count
    cdef uint8_t reason = REASON_NONE
    cdef uint8_t field
    cdef int there, inside
    while span != end:
        field = span.field
        there = access.present >> field & 1
        inside = 0
        while span != end and span.field == field:
            if there and span.low <= access.low[field] and access.high[field] <= span.high:
                inside = 1
            span += 1
        if inside or (not there and access.partial):  # it may come yet
            continue
        if not there or field != clause.value_field:
            return REASON_MESSAGE_CONSTRAINT
        reason = REASON_PROCESS_VALUE
    return reason


cdef inline uint64_t bits_between(uint64_t first, uint64_t last, uint32_t word) noexcept nogil:
    """Return the part of a run of bits, both ends in it, that lies in one word."""
    cdef uint64_t start = <uint64_t>word * 64
    cdef uint64_t bits = ~<uint64_t>0
    if last < start or first > start + 63:
        return 0
    if first > start:
        bits &= bits << (first - start)
    if last < start + 63:
        bits &= ~<uint64_t>0 >> (start + 63 - last)
    return bits


cdef inline void mark_range(const range_t *span, uint64_t base, uint32_t count, marks_t *marks) noexcept nogil:
    """Mark the values that lie in a range, of `count` that lie at `base` and behind it."""
    cdef uint64_t first = span.low - base if span.low > base else 0
    cdef uint64_t last = span.high - base
    cdef uint32_t word, end
    if span.high < base or first >= count:
        return
    if last >= count:
        last = count - 1
    end = (<uint32_t>last >> 6) + 1
    for word in range(<uint32_t>first >> 6, end):
        marks.words[word] |= bits_between(first, last, word)


cdef inline void mark_guarded(
    const table_t *table, const clause_t *clause, const access_t *access, uint32_t count, marks_t *marks
) noexcept nogil:
    """Mark the values whose places are places that a clause's step is about; `count` is at most MARKED_VALUES, not 0.

    Only Modbus counts its addresses by values; elsewhere all values of an access have one place.
    """
    cdef const range_t *span = table.ranges + clause.first_range
    cdef const range_t *end = span + clause.range_count
    cdef uint16_t fields = place_fields(access.protocol) & told_fields(access)
    cdef marks_t left, some
    cdef uint32_t word
    cdef uint8_t field
    cdef int counted, inside
    for word in range(MARK_WORDS):
        left.words[word] = bits_between(0, count - 1, word)
    while span != end:
        field = span.field
        if not fields >> field & 1:
            span += 1
            continue
        counted = access.protocol == PROTOCOL_MODBUS and (field == MODBUS_ADDRESS or field == MODBUS_RECORD)
        inside = counted
        for word in range(MARK_WORDS):
            some.words[word] = 0
        while span != end and span.field == field:
            if counted:
                mark_range(span, access.low[field], count, &some)
            elif span.low <= access.low[field] and access.high[field] <= span.high:
                inside = 1
            span += 1
        if not inside:
            return
        if counted:
            for word in range(MARK_WORDS):
                left.words[word] &= some.words[word]
    for word in range(MARK_WORDS):
        marks.words[word] |= left.words[word]
