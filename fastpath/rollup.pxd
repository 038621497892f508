# cython: language_level=3
"""What was said of many frames, added up: one row for each thing that was said about each conversation.

In: one outcome after another, or two for the same frame. Out: rows with frames, bytes, first and last time, in the
order of their first frame. Rows beyond a limit are not made (a stranger's capture may hold a conversation in every
frame): their frames are counted as left out, so that the sum is always that of the frames. Called by `replay`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from fastpath.abi cimport NO_ASSET, NO_CONDUIT, mix64

cdef enum:
    FIRST_ROOM = 256  # rows; a power of two, doubled when full
    OUTCOME_WORDS = 8
    JUDGED_WORDS = 3

# Who spoke to whom, and of what. 40 bytes without a gap: compared and hashed as words.
cdef struct talk_t:
    uint64_t source[2]  # as frame_t.source; without IP the MAC, in the first word
    uint64_t destination[2]
    uint16_t number  # the server's port, or the ICMP type
    uint16_t ethertype
    uint8_t protocol
    uint8_t kind  # KIND_
    uint8_t reply  # the source is the one who was asked
    uint8_t reserved

# What was said of it. 24 bytes without a gap.
cdef struct judged_t:
    uint32_t conduit
    uint32_t source_asset
    uint32_t destination_asset
    uint16_t source_zone
    uint16_t destination_zone
    uint16_t service
    uint8_t verdict  # 0: not judged
    uint8_t policy_verdict
    uint8_t reason
    uint8_t stage
    uint8_t unjudged  # UNJUDGED_
    uint8_t reserved

cdef struct outcome_t:
    talk_t talk
    judged_t judged

cdef struct row_t:
    outcome_t key
    judged_t other  # by the policy that it is compared with; zeros without one
    uint64_t hashed
    uint64_t frames
    uint64_t bytes
    uint64_t first_ns
    uint64_t last_ns

cdef struct rollup_t:
    row_t *rows  # owner: a Rollup, until it is freed
    uint32_t *index  # row + 1 by hash, twice as many as there is room for rows; 0 = free
    uint32_t used
    uint32_t room
    uint32_t most
    uint8_t by_conversation  # else only by zones, conduit and what was said
    uint64_t seed
    uint64_t frames  # all that were counted
    uint64_t bytes
    uint64_t left_out_frames
    uint64_t left_out_bytes


cdef inline int open_rollup(rollup_t *rollup) noexcept nogil:
    """Allocate the first rows; False when there is no memory."""
    rollup.rows = <row_t *>calloc(FIRST_ROOM, sizeof(row_t))
    rollup.index = <uint32_t *>calloc(2 * FIRST_ROOM, sizeof(uint32_t))
    rollup.room = FIRST_ROOM
    return rollup.rows != NULL and rollup.index != NULL


cdef inline void close_rollup(rollup_t *rollup) noexcept nogil:
    free(rollup.rows)
    free(rollup.index)
    rollup.rows = NULL
    rollup.index = NULL


cdef inline uint64_t hash_words(const void *key, int count, uint64_t hashed) noexcept nogil:
    cdef const uint64_t *words = <const uint64_t *>key
    cdef int i
    for i in range(count):
        hashed = mix64(hashed, words[i])
    return hashed


cdef inline int grow(rollup_t *rollup) noexcept nogil:
    """Make room for twice as many rows; False when there is no memory."""
    cdef uint32_t mask = 4 * rollup.room - 1
    cdef uint32_t *index = <uint32_t *>calloc(mask + 1, sizeof(uint32_t))
    cdef row_t *rows
    cdef uint32_t i, slot
    if index == NULL:
        return 0
    rows = <row_t *>realloc(rollup.rows, 2 * <size_t>rollup.room * sizeof(row_t))
    if rows == NULL:
        free(index)
        return 0
    free(rollup.index)
    rollup.rows = rows
    rollup.index = index
    rollup.room *= 2
    for i in range(rollup.used):
        slot = <uint32_t>rows[i].hashed & mask
        while index[slot]:
            slot = (slot + 1) & mask
        index[slot] = i + 1
    return 1


cdef inline row_t *row_of(rollup_t *rollup, const outcome_t *key, const judged_t *other) noexcept nogil:
    """Return the row of a key, a new one when it is new; NULL when it is left out or there is no memory."""
    cdef uint64_t hashed = hash_words(other, JUDGED_WORDS, hash_words(key, OUTCOME_WORDS, rollup.seed))
    cdef uint32_t mask = 2 * rollup.room - 1
    cdef uint32_t slot = <uint32_t>hashed & mask
    cdef row_t *row
    while rollup.index[slot]:
        row = &rollup.rows[rollup.index[slot] - 1]
        if row.hashed == hashed and memcmp(&row.key, key, sizeof(outcome_t)) == 0:
            if memcmp(&row.other, other, sizeof(judged_t)) == 0:
                return row
        slot = (slot + 1) & mask
    if rollup.used >= rollup.most:
        return NULL
    if rollup.used == rollup.room:
        if not grow(rollup):
            return NULL
        mask = 2 * rollup.room - 1
        slot = <uint32_t>hashed & mask
        while rollup.index[slot]:
            slot = (slot + 1) & mask
    row = &rollup.rows[rollup.used]
    memset(row, 0, sizeof(row_t))
    row.key = key[0]
    row.other = other[0]
    row.hashed = hashed
    row.first_ns = ~<uint64_t>0
    rollup.used += 1
    rollup.index[slot] = rollup.used
    return row


cdef inline void blur(outcome_t *key) noexcept nogil:
    """Forget who it was: zones, conduit and what was said remain."""
    memset(&key.talk, 0, sizeof(talk_t))
    key.judged.source_asset = NO_ASSET
    key.judged.destination_asset = NO_ASSET
    key.judged.service = 0


cdef inline void count_outcome(
    rollup_t *rollup, const outcome_t *outcome, const judged_t *other, uint32_t length, uint64_t time_ns
) noexcept nogil:
    """Count a frame; `other` is NULL or what another policy says of it."""
    cdef outcome_t key
    cdef judged_t second
    cdef row_t *row
    memcpy(&key, outcome, sizeof(outcome_t))
    memset(&second, 0, sizeof(judged_t))
    if other != NULL:
        second = other[0]
    if not rollup.by_conversation:
        blur(&key)
        second.source_asset = 0
        second.destination_asset = 0
        second.service = 0
    rollup.frames += 1
    rollup.bytes += length
    row = row_of(rollup, &key, &second)
    if row == NULL:
        rollup.left_out_frames += 1
        rollup.left_out_bytes += length
        return
    row.frames += 1
    row.bytes += length
    row.first_ns = min(row.first_ns, time_ns)
    row.last_ns = max(row.last_ns, time_ns)


cdef inline void nothing_said(judged_t *judged, uint8_t unjudged) noexcept nogil:
    """Fill in a frame that there was nothing to judge of."""
    memset(judged, 0, sizeof(judged_t))
    judged.conduit = NO_CONDUIT
    judged.source_asset = NO_ASSET
    judged.destination_asset = NO_ASSET
    judged.unjudged = unjudged
