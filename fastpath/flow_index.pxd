# cython: language_level=3
"""Where in the table of flows a conversation stands, and which one gives way to a new one.

In: keys, and the table in the flows segment. Out: places in it. Beside the table stands an index, private to the
process, that says without touching an entry whether it can be meant and how late it gives way; it is made anew for what
an earlier engine left. Four ways a bucket; nothing here allocates, and no entry is changed but by `index_flows`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport FLOW_CLOSED, FLOW_WAYS, flow_t
from fastpath.cursor cimport prefetch
from fastpath.finding cimport finding_t
from fastpath.inspect.profile cimport judge_context_t
from fastpath.stream_memory cimport streams_t

# How much a flow is worth keeping, in the upper two bits of its rank.
cdef enum:
    STANDING_CLOSED = 0
    STANDING_UNANSWERED = 1  # a stranger can make any number of these
    STANDING_ANSWERED = 2
    STANDING_SHIFT = 30
    RANK_TIME_SHIFT = 27  # ranks tell times apart by 0.13 s, and wrap after four years
    RANK_TIME_MASK = 0x3FFFFFFF

cdef extern from *:
    """
    #include <stdint.h>
    /* Both halves of the product in one word: one multiplication mixes two words. Without knowing the seed in one of
       them nobody can tell which others collide. */
    static inline uint64_t cnd_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    #define CND_ODD_BITS 0x9E3779B97F4A7C15ULL
    """
    uint64_t fold "cnd_fold"(uint64_t a, uint64_t b) noexcept nogil
    const uint64_t ODD_BITS "CND_ODD_BITS"

cdef struct flow_slot_t:
    uint32_t tag  # of the entry's key; 0 = unused
    uint32_t rank  # the lowest in a bucket gives way

cdef struct flows_t:
    flow_t *entries  # SAFETY: mapped from the flows segment for the worker's life; this thread is the only writer
    flow_slot_t *slots  # one per entry; see index_flows
    uint32_t bucket_mask  # buckets - 1; a bucket is FLOW_WAYS entries
    uint64_t seed
    uint64_t created
    uint64_t evicted
    streams_t streams  # of the flows whose conduits are inspected
    judge_context_t judged  # the segment in hand: see inside.inspect_frame
    finding_t finding  # the same segment's
    uint32_t rewrites  # frames of the batch in hand that are to be changed

cdef struct flow_key_t:
    uint64_t source[2]
    uint64_t destination[2]
    uint16_t source_port
    uint16_t destination_port
    uint16_t source_zone
    uint16_t destination_zone
    uint8_t protocol
    uint32_t bucket  # first of its FLOW_WAYS entries
    uint32_t tag


cdef inline void hash_key(flow_key_t *key, const flows_t *flows) noexcept nogil:
    """Set bucket and tag: the same ones for both directions."""
    cdef uint64_t one_end = <uint64_t>key.source_port << 16 ^ key.source_zone ^ ODD_BITS
    cdef uint64_t other_end = <uint64_t>key.destination_port << 16 ^ key.destination_zone ^ ODD_BITS
    cdef uint64_t one = fold(flows.seed ^ key.source[0], key.source[1] ^ one_end)
    cdef uint64_t other = fold(flows.seed ^ key.destination[0], key.destination[1] ^ other_end)
    cdef uint64_t hashed = fold((one + other) ^ flows.seed, ODD_BITS ^ key.protocol)
    key.bucket = (<uint32_t>hashed & flows.bucket_mask) * FLOW_WAYS
    key.tag = <uint32_t>(hashed >> 32) | 1


cdef inline uint32_t rank_of(const flow_t *flow) noexcept nogil:
    """Say how late a flow gives way: closed ones first, then unanswered ones, then the one longest silent."""
    cdef uint32_t standing = STANDING_UNANSWERED
    if flow.flags & FLOW_CLOSED:
        standing = STANDING_CLOSED
    elif flow.opener_frames and flow.responder_frames:
        standing = STANDING_ANSWERED
    return standing << STANDING_SHIFT | (<uint32_t>(flow.last_seen_ns >> RANK_TIME_SHIFT) & RANK_TIME_MASK)


cdef inline uint32_t place_of(const flows_t *flows, const flow_key_t *key) noexcept nogil:
    """Choose where a new flow goes: an unused entry, else the one of the lowest rank in the bucket."""
    cdef const flow_slot_t *slots = flows.slots + key.bucket
    cdef uint32_t lowest = 0
    cdef uint32_t way
    for way in range(FLOW_WAYS):
        if not slots[way].tag:
            return key.bucket + way
        if slots[way].rank < slots[lowest].rank:
            lowest = way
    return key.bucket + lowest


cdef inline void fetch_slots(const flows_t *flows, const flow_key_t *key) noexcept nogil:
    prefetch(flows.slots + key.bucket)


cdef inline void fetch_entry(const flows_t *flows, uint32_t place) noexcept nogil:
    cdef const uint8_t *entry = <const uint8_t *>(flows.entries + place)
    prefetch(entry)
    prefetch(entry + 64)


cdef inline int fetch_flow(const flows_t *flows, const flow_key_t *key) noexcept nogil:
    """Ask for the entries that a key can mean; where it can mean none, for the one that it would get, and say False."""
    cdef const flow_slot_t *slots = flows.slots + key.bucket
    cdef uint32_t way
    cdef int found = 0
    for way in range(FLOW_WAYS):
        if slots[way].tag == key.tag:
            fetch_entry(flows, key.bucket + way)
            found = 1
    if not found:
        fetch_entry(flows, place_of(flows, key))
    return found


cdef inline void index_flows(flows_t *flows) noexcept nogil:
    """Make the index of entries that an earlier engine left; one that stands where no lookup finds it is given up.

    The index is all zeros before. Where no flow was ever created no entry is looked at: reading it would cost its page.
    """
    cdef uint32_t i
    cdef flow_t *flow
    cdef flow_key_t key
    if not flows.created:
        return
    for i in range((flows.bucket_mask + 1) * FLOW_WAYS):
        flow = flows.entries + i
        if not flow.in_use:
            continue
        key.source[0] = flow.opener[0]
        key.source[1] = flow.opener[1]
        key.destination[0] = flow.responder[0]
        key.destination[1] = flow.responder[1]
        key.source_port = flow.opener_port
        key.destination_port = flow.responder_port
        key.source_zone = flow.opener_zone
        key.destination_zone = flow.responder_zone
        key.protocol = flow.protocol
        hash_key(&key, flows)
        if key.bucket != i // FLOW_WAYS * FLOW_WAYS:
            flow.in_use = 0
            continue
        flows.slots[i].tag = key.tag
        flows.slots[i].rank = rank_of(flow)
