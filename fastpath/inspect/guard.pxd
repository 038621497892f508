# cython: language_level=3
"""What process guards remember: how often a clause was used, and the last value known of a place.

In: names as 64-bit tags, in the memory that the limits' clocks share (`pace.limiter_t`): all workers of an engine use
it, and it outlives policy swaps. Out: a clock, or a value. FAIL-CLOSED: what was pushed out, or was written by two at
once, is unknown, and an unknown value lets nothing be written. No lock, no allocation. Used by `profile`.
"""

from libc.stdint cimport uint32_t, uint64_t

from fastpath.abi cimport mix64
from fastpath.pace cimport (
    PLACE_BUCKETS,
    PLACE_WAYS,
    TURN_BUCKETS,
    TURN_WAYS,
    exchange,
    limiter_t,
    peek,
    place_t,
    poke,
    turn_t,
)


cdef inline uint64_t *clause_clock(limiter_t *limiter, uint32_t conduit, uint64_t identity) noexcept nogil:
    """Return the clock of a conduit's clause; NULL when another worker just took its place.

    The one whose clock lies furthest back gives way: in the past it is a whole allowance, the same as no entry. Only
    policies make entries, never traffic.
    """
    cdef uint64_t tag = mix64(limiter.seed ^ identity, conduit)
    cdef turn_t *bucket = &limiter.turns[(tag & (TURN_BUCKETS - 1)) * TURN_WAYS]
    cdef turn_t *oldest = bucket
    cdef uint64_t was
    cdef uint32_t way
    if tag == 0:
        tag = 1
    for way in range(TURN_WAYS):
        if peek(&bucket[way].tag) == tag:
            return &bucket[way].clock
        if peek(&bucket[way].clock) < peek(&oldest.clock):
            oldest = bucket + way
    was = peek(&oldest.tag)
    if not exchange(&oldest.tag, &was, tag):
        return NULL
    poke(&oldest.clock, 0)
    return &oldest.clock


cdef inline int has_turns(
    uint64_t *clock, uint64_t interval_ns, uint64_t burst_ns, uint64_t now_ns, uint32_t count
) noexcept nogil:
    """Tell whether a clock can be moved on `count` times, without moving it."""
    cdef uint64_t was = peek(clock)
    cdef uint64_t room_ns = burst_ns
    if was > now_ns:
        if was - now_ns >= burst_ns:
            return 0
        room_ns -= was - now_ns
    return room_ns / interval_ns >= count


cdef inline place_t *place_of(limiter_t *limiter, uint64_t tag) noexcept nogil:
    """Return where a place's value stands, or the entry of its bucket that was used longest ago."""
    cdef place_t *bucket = &limiter.places[(tag & (PLACE_BUCKETS - 1)) * PLACE_WAYS]
    cdef place_t *oldest = bucket
    cdef uint32_t way
    for way in range(PLACE_WAYS):
        if peek(&bucket[way].tag) == tag:
            return bucket + way
        if peek(&bucket[way].seen_ns) < peek(&oldest.seen_ns):
            oldest = bucket + way
    return oldest


cdef inline int last_value(limiter_t *limiter, uint64_t tag, uint64_t *value) noexcept nogil:
    """Set the last value known of a place; False when there is none."""
    cdef place_t *place = place_of(limiter, tag)
    if peek(&place.tag) != tag:
        return 0
    value[0] = peek(&place.value)
    return peek(&place.seal) == mix64(tag, value[0])


cdef inline void keep_value(limiter_t *limiter, uint64_t tag, uint64_t value, uint64_t now_ns) noexcept nogil:
    cdef place_t *place = place_of(limiter, tag)
    poke(&place.tag, tag)
    poke(&place.value, value)
    poke(&place.seal, mix64(tag, value))
    poke(&place.seen_ns, now_ns)
