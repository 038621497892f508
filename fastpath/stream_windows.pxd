# cython: language_level=3
"""Where the bytes of a stream's two directions lie: in itself, or in one of few large windows.

In: streams, and how many bytes they have to hold. Out: room, or why there is none. Large windows are taken when they
are needed, as far as `shares` permits, and given back as soon as what is held fits into the stream again.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from fastpath.abi cimport (
    REASON_NONE,
    REASON_STREAM_BUDGET,
    REASON_STREAM_SHARE,
    STREAM_LARGE_BYTES,
    STREAM_SMALL_BYTES,
    WAY_HOLE,
    WAY_LOST,
    stream_t,
    stream_way_t,
)
from fastpath.shares cimport may_have_window
from fastpath.stream_memory cimport count_holder, free_stream, release_window, streams_t
from fastpath.stream_places cimport may_give_way

cdef enum:
    WINDOW_STEPS = 4  # large windows looked at, for conversations that are over, before one is refused


cdef inline void free_window(streams_t *streams, stream_way_t *way) noexcept nogil:
    if way.window:
        release_window(streams, way.window - 1)
        way.window = 0


cdef inline uint8_t *window_of(const streams_t *streams, stream_t *stream, int direction) noexcept nogil:
    """Return where a direction's window begins; its first byte held lies `at` behind."""
    cdef uint16_t window = stream.ways[direction].window
    if window:
        return streams.windows + <uint64_t>(window - 1) * STREAM_LARGE_BYTES
    return &stream.small[direction * STREAM_SMALL_BYTES]


cdef inline uint32_t held_bytes(const stream_way_t *way) noexcept nogil:
    return (way.ahead_end if way.flags & WAY_HOLE else way.next) - way.base


cdef inline void sweep_windows(streams_t *streams, uint32_t asking) noexcept nogil:
    """Give back what conversations hold that are over, among the next few windows; the one that asks is in use."""
    cdef uint32_t _step
    cdef uint32_t holder, place
    for _step in range(WINDOW_STEPS):
        streams.window_hand = streams.window_hand + 1 if streams.window_hand + 1 < streams.window_count else 0
        holder = streams.holders[streams.window_hand]
        place = (holder - 1) >> 1
        if holder and place != asking and may_give_way(streams, place):
            free_stream(streams, place)


cdef inline uint8_t why_no_window(const streams_t *streams, const stream_t *stream) noexcept nogil:
    """Return why a conversation gets no large window, NONE when it does."""
    cdef uint32_t left = streams.window_count - streams.windows_held
    if not left:
        return REASON_STREAM_BUDGET
    if may_have_window(streams.shares, stream.opener_share, stream.crowd_share, left):
        return REASON_NONE
    return REASON_STREAM_SHARE


cdef inline uint8_t enlarge_window(streams_t *streams, stream_t *stream, int direction) noexcept nogil:
    """Move a direction's bytes to a large window; returns why there is none for it."""
    cdef stream_way_t *way = &stream.ways[direction]
    cdef uint32_t place = <uint32_t>(stream - streams.entries)
    cdef uint32_t window = 0
    cdef uint8_t reason = why_no_window(streams, stream)
    if reason != REASON_NONE:
        sweep_windows(streams, place)
        reason = why_no_window(streams, stream)
        if reason != REASON_NONE:
            return reason
    while streams.holders[window]:
        window += 1  # BOUND: one is nobody's, of STREAM_WINDOWS
    streams.holders[window] = place * 2 + direction + 1
    count_holder(streams, window, 1)
    memcpy(
        streams.windows + <uint64_t>window * STREAM_LARGE_BYTES,
        &stream.small[direction * STREAM_SMALL_BYTES] + way.at,
        held_bytes(way),
    )
    way.at = 0
    way.window = <uint16_t>(window + 1)
    return REASON_NONE


cdef inline uint8_t make_room(streams_t *streams, stream_t *stream, int direction, uint32_t count) noexcept nogil:
    """See to it that `count` bytes from `base` on fit into a direction's window; returns why they can't."""
    cdef stream_way_t *way = &stream.ways[direction]
    cdef uint32_t capacity = STREAM_LARGE_BYTES if way.window else STREAM_SMALL_BYTES
    cdef uint8_t *window
    if way.at + count <= capacity:
        return REASON_NONE
    if count <= capacity:
        window = window_of(streams, stream, direction)
        memmove(window, window + way.at, held_bytes(way))
        way.at = 0
        return REASON_NONE
    if count > STREAM_LARGE_BYTES or way.window:
        return REASON_STREAM_BUDGET
    return enlarge_window(streams, stream, direction)


cdef inline void trim_window(streams_t *streams, stream_t *stream, int direction) noexcept nogil:
    """Let go of bytes that can't matter any more: acknowledged ones of messages that are complete."""
    cdef stream_way_t *way = &stream.ways[direction]
    cdef uint32_t base = way.acked if <int32_t>(way.acked - way.message) < 0 else way.message
    cdef uint32_t held
    cdef uint8_t *large
    if <int32_t>(base - way.base) > 0:
        way.at += base - way.base
        way.base = base
    held = held_bytes(way)
    if not way.window:
        if not held:
            way.at = 0
    elif held <= STREAM_SMALL_BYTES:
        large = window_of(streams, stream, direction)
        memcpy(&stream.small[direction * STREAM_SMALL_BYTES], large + way.at, held)
        way.at = 0
        free_window(streams, way)


cdef inline void jump(streams_t *streams, stream_way_t *way, uint32_t sequence) noexcept nogil:
    """Go on at another place of the wire, where a message may begin or not; nothing before it is held any more."""
    free_window(streams, way)
    way.next = sequence
    way.acked = sequence
    way.base = sequence
    way.message = sequence
    way.needed = 0
    way.tried = 0
    way.at = 0
    way.edit_count = 0
    way.flags = WAY_LOST


cdef inline void skip_ahead(streams_t *streams, stream_way_t *way, uint32_t sequence) noexcept nogil:
    """Go on at a later place, to which `static` has let bytes pass, until the other end says how many of them it has.

    Between `acked` and `base` nothing is known: `stream.check_overlap` lets no byte stand there.
    """
    cdef uint32_t acked = way.acked
    jump(streams, way, sequence)
    way.acked = acked
