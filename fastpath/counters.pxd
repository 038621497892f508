# cython: language_level=3
"""Exact counts, also across a crash.

In: the decisions of a batch. Out: the counters segment. A batch's tally is written first, then its verdicts are sent,
then the tally is added up. Whoever finds a tally pending after a crash asks the kernel whether the batch was sent
(queue.settle) and either adds or forgets it. Adding shrinks the tally entry by entry, so that it can be resumed.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    COUNTERS_HEADER_BYTES,
    MAX_BATCH,
    MAX_CONDUITS,
    NO_CONDUIT,
    PAGE_BYTES,
    QUEUE_COUNTERS_STRIDE,
    REASON_COUNT,
    VERDICT_ACCEPT,
    VERDICT_DROP,
    conduit_counters_t,
    queue_counters_t,
    tally_entry_t,
)
from fastpath.cursor cimport prefetch
from fastpath.decision cimport decision_t

cdef enum:
    TALLY_WOULD_DROP = 1
    TALLY_REWRITTEN = 2

cdef extern from *:
    """
    #define CND_STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define CND_LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    void store32 "CND_STORE_RELEASE"(uint32_t *p, uint32_t value) noexcept nogil
    void store64 "CND_STORE_RELEASE"(uint64_t *p, uint64_t value) noexcept nogil
    uint32_t load32 "CND_LOAD_ACQUIRE"(uint32_t *p) noexcept nogil
    uint64_t load64 "CND_LOAD_ACQUIRE"(uint64_t *p) noexcept nogil


cdef inline queue_counters_t *queue_counters(uint8_t *segment, uint32_t index) noexcept nogil:
    """Return the block of a queue; the caller has checked that the segment holds it."""
    return <queue_counters_t *>(segment + COUNTERS_HEADER_BYTES + <uint64_t>index * QUEUE_COUNTERS_STRIDE)


cdef inline conduit_counters_t *conduit_counters(queue_counters_t *counters) noexcept nogil:
    return <conduit_counters_t *>(<uint8_t *>counters + PAGE_BYTES)


cdef inline void tally(queue_counters_t *counters, uint32_t index, const decision_t *decision) noexcept nogil:
    """Write the tally of one frame of the batch in hand; `index` < MAX_BATCH."""
    cdef tally_entry_t *entry = &counters.tally[index]
    entry.conduit = decision.conduit
    entry.reason = decision.reason
    entry.verdict = decision.verdict
    entry.flags = TALLY_WOULD_DROP if decision.verdict != decision.policy_verdict else 0
    if decision.conduit < MAX_CONDUITS:
        prefetch(&conduit_counters(counters)[decision.conduit])  # for commit


cdef inline void tally_rewritten(queue_counters_t *counters, uint32_t index) noexcept nogil:
    """Note that a frame that was tallied as a drop goes on, changed."""
    counters.tally[index].flags |= TALLY_REWRITTEN


cdef inline void commit(queue_counters_t *counters) noexcept nogil:
    """Add the pending tally to the counters, last entry first."""
    cdef conduit_counters_t *conduits = conduit_counters(counters)
    cdef uint32_t left = load32(&counters.pending)
    cdef tally_entry_t *entry
    cdef uint32_t dropped
    if left > MAX_BATCH:
        left = MAX_BATCH
    while left:
        entry = &counters.tally[left - 1]
        dropped = entry.verdict == VERDICT_DROP
        counters.by_reason[(entry.reason & (REASON_COUNT - 1)) * 2 + dropped] += 1
        if dropped:
            counters.dropped += 1
        else:
            counters.accepted += 1
        if entry.flags:
            counters.would_drop += entry.flags & TALLY_WOULD_DROP
            counters.rewritten += entry.flags >> 1 & 1  # TALLY_REWRITTEN
        if entry.conduit < MAX_CONDUITS:
            if dropped:
                conduits[entry.conduit].dropped += 1
            else:
                conduits[entry.conduit].accepted += 1
        left -= 1
        store32(&counters.pending, left)
