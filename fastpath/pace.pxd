# cython: language_level=3
"""Rates without timers: a clock that each turn moves on by one interval, and that may run ahead of now by one burst.

In: a clock in shared memory, an interval and a burst. Out: may this one pass. The algorithm is GCRA (ITU-T I.371 annex
A). Also the memory in which an engine keeps the clocks of its limits, and what its process guards know. Words are moved
by compare-and-swap alone: any number of workers, no lock, no allocation. Used by `limit`, `refuse` and
`inspect.profile`.
"""

from libc.stdint cimport uint64_t

from fastpath.abi cimport MAX_CONDUITS

cdef enum:
    SOURCE_WAYS = 4
    SOURCE_BUCKETS = 4096  # 16,384 sources at once, 512 KiB
    TURN_WAYS = 16
    TURN_BUCKETS = 2048  # 32,768 clauses with a rate, 512 KiB: abi.MAX_TURNS of one policy never crowd a bucket
    PLACE_WAYS = 4
    PLACE_BUCKETS = 4096  # 16,384 values at once, 512 KiB

cdef extern from *:
    """
    #include <stdint.h>
    /* RELAXED: a clock stands for itself alone; nothing else is published by moving it. */
    #define CND_PEEK(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define CND_POKE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    static inline int cnd_exchange(uint64_t *p, uint64_t *was, uint64_t is) {
        return __atomic_compare_exchange_n(p, was, is, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    /* Workers read the time once a batch, so they differ by a batch at most; further ahead: set back. */
    #define CND_SET_BACK_NS 1000000000ULL
    """
    uint64_t peek "CND_PEEK"(uint64_t *p) noexcept nogil
    void poke "CND_POKE"(uint64_t *p, uint64_t value) noexcept nogil
    int exchange "cnd_exchange"(uint64_t *p, uint64_t *was, uint64_t value) noexcept nogil
    const uint64_t SET_BACK_NS "CND_SET_BACK_NS"

# Owner: the engine, or one offline judge; zeros at first. Native byte order, never leaves the process.
cdef struct clocks_t:
    uint64_t packets  # CLOCK_REALTIME at which the allowance is whole again
    uint64_t flows

cdef struct source_t:
    uint64_t tag  # of (conduit, address space, source address); 0 = unused
    uint64_t reserved
    clocks_t clocks

cdef struct turn_t:
    uint64_t tag  # of (conduit, clause); 0 = unused
    uint64_t clock

# The last value known of one place in one device. Words of two writers may mix: then the seal does not fit, and the
# value counts as unknown.
cdef struct place_t:
    uint64_t tag  # of (address space, device, place); 0 = unused
    uint64_t value
    uint64_t seal  # of tag and value
    uint64_t seen_ns  # CLOCK_REALTIME

cdef struct limiter_t:
    uint64_t seed  # random: nobody outside can aim at a bucket
    uint64_t reserved[7]
    source_t sources[SOURCE_BUCKETS * SOURCE_WAYS]
    clocks_t conduits[MAX_CONDUITS]  # by slot, which a conduit keeps through policy swaps
    turn_t turns[TURN_BUCKETS * TURN_WAYS]
    place_t places[PLACE_BUCKETS * PLACE_WAYS]


cdef inline int take_turn(uint64_t *clock, uint64_t interval_ns, uint64_t burst_ns, uint64_t now_ns) noexcept nogil:
    """Move a clock on by one interval; False, and leave it, when that is too far ahead of now. Interval 0: no limit.

    A clock further ahead than any frame can have moved it was read from a time that has been set back since: the
    allowance then counts as used up, and grows again from now on.
    """
    cdef uint64_t was, then
    cdef uint64_t latest = now_ns + burst_ns
    if interval_ns == 0:
        return 1
    was = peek(clock)
    while True:
        then = (was if was > now_ns else now_ns) + interval_ns
        if then > latest:
            if was > latest + SET_BACK_NS:
                exchange(clock, &was, latest)
            return 0
        if exchange(clock, &was, then):
            return 1
