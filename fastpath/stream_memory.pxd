# cython: language_level=3
"""The memory of inspected conversations: streams and large windows, and whose they are.

In: memory that outlives the engine process, and flows. Out: the streams of flows, and counts of what each opener has.
The memory is fixed and belongs to one queue's thread. An engine that begins reads it with suspicion: `changing` marks a
stream that a crash left half written. Who gets one says `stream_places`, what lies in them `stream_windows`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    PAGE_BYTES,
    STREAM_LARGE_BYTES,
    STREAM_SMALL_BYTES,
    WAY_EDITS,
    WAY_HOLE,
    flow_t,
    stream_t,
    stream_way_t,
)
from fastpath.cursor cimport prefetch
from fastpath.inspect.interface cimport dialog_t
from fastpath.shares cimport SHARES, count_stream, count_window, share_t

cdef extern from *:
    """
    /* A signal or SIGKILL sees what was stored in program order: only the compiler has to keep it. */
    #define CND_IN_ORDER() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    """
    void in_order "CND_IN_ORDER"() noexcept nogil

cdef enum:
    FETCH_BYTES = 64  # a cache line

cdef struct streams_t:
    # SAFETY: mapped from the streams segment for the worker's life; this thread is the only writer
    uint32_t *owners  # by stream: its flow's place + 1; 0 = unused
    uint32_t *holders  # by large window: stream * 2 + way + 1; 0 = unused
    stream_t *entries
    uint8_t *windows
    uint32_t count
    uint32_t window_count
    # Of this process
    const flow_t *flows  # SAFETY: mapped from the flows segment for as long
    uint32_t flow_count
    uint64_t now_ns  # of the frame in hand
    uint32_t used  # streams from here on were never used: their memory was not touched
    uint32_t unused  # the first below that is nobody's, + 1; see stream_t.next_unused
    uint32_t owned
    uint32_t windows_held
    uint32_t hand
    uint32_t window_hand
    dialog_t saved  # what of a dialog can change, as it was before a segment that may yet be refused
    uint32_t saved_bytes
    share_t shares[SHARES]


cdef inline uint64_t whole_pages(uint64_t size) noexcept nogil:
    return (size + PAGE_BYTES - 1) & ~<uint64_t>(PAGE_BYTES - 1)


cdef inline void attach_streams(
    streams_t *streams, uint8_t *table, uint32_t count, uint32_t window_count, const flow_t *flows, uint32_t flow_count
) noexcept nogil:
    """Lay a table of streams over memory of `abi.streams_table_bytes` that is all zeros; else `recover_streams` too."""
    streams.owners = <uint32_t *>table
    table += whole_pages(<uint64_t>count * 4)
    streams.holders = <uint32_t *>table
    table += whole_pages(<uint64_t>window_count * 4)
    streams.entries = <stream_t *>table
    table += whole_pages(<uint64_t>count * sizeof(stream_t))
    streams.windows = table
    streams.count = count
    streams.window_count = window_count
    streams.flows = flows
    streams.flow_count = flow_count
    streams.now_ns = 0
    streams.used = 0
    streams.unused = 0
    streams.owned = 0
    streams.windows_held = 0
    streams.hand = 0
    streams.window_hand = 0
    memset(streams.shares, 0, sizeof(streams.shares))


# ---- whose they are -------------------------------------------------------------------------------------------------


cdef inline void count_owner(streams_t *streams, const stream_t *stream, int change) noexcept nogil:
    """Count a stream that is taken (1) or given back (-1)."""
    streams.owned += <uint32_t>change
    count_stream(streams.shares, stream.opener_share, stream.crowd_share, change)


cdef inline void count_holder(streams_t *streams, uint32_t window, int change) noexcept nogil:
    """Count a large window that is taken or given back."""
    cdef const stream_t *stream = &streams.entries[(streams.holders[window] - 1) >> 1]
    streams.windows_held += <uint32_t>change
    count_window(streams.shares, stream.opener_share, stream.crowd_share, change)


cdef inline void release_window(streams_t *streams, uint32_t window) noexcept nogil:
    """Make a large window nobody's."""
    count_holder(streams, window, -1)
    streams.holders[window] = 0


cdef inline void keep_unused(streams_t *streams, uint32_t place) noexcept nogil:
    streams.entries[place].next_unused = streams.unused
    streams.unused = place + 1


cdef inline void free_stream(streams_t *streams, uint32_t place) noexcept nogil:
    """Give a stream's place and windows back; whose flow names it, names nothing from here on."""
    cdef stream_t *stream = &streams.entries[place]
    cdef uint32_t window
    cdef int i
    for i in range(2):
        window = stream.ways[i].window
        if window and window <= streams.window_count and streams.holders[window - 1] == place * 2 + i + 1:
            release_window(streams, window - 1)
    count_owner(streams, stream, -1)
    streams.owners[place] = 0
    keep_unused(streams, place)


cdef inline void recover_streams(streams_t *streams) noexcept nogil:
    """Go on with what an earlier engine left: count what is whose, and take back what a crash left nobody's.

    It may have come between any two stores: a window may name a stream that does not name it.
    """
    cdef uint32_t place, window, holder
    for place in range(streams.count):
        if streams.owners[place]:
            streams.used = place + 1
    for place in range(streams.used):
        if streams.owners[place]:
            count_owner(streams, &streams.entries[place], 1)
        else:
            keep_unused(streams, place)
    for window in range(streams.window_count):
        holder = streams.holders[window]
        if not holder:
            continue
        place = (holder - 1) >> 1
        if place >= streams.count or not streams.owners[place] or (
            streams.entries[place].ways[(holder - 1) & 1].window != window + 1
        ):
            streams.holders[window] = 0
        else:
            count_holder(streams, window, 1)


cdef inline int is_sound(const streams_t *streams, uint32_t place) noexcept nogil:
    """Tell whether a stream is whole: an engine that died while it changed one may have left anything."""
    cdef const stream_t *stream = &streams.entries[place]
    cdef const stream_way_t *way
    cdef uint32_t capacity, held
    cdef int i
    if stream.changing:
        return 0
    for i in range(2):
        way = &stream.ways[i]
        capacity = STREAM_SMALL_BYTES
        if way.window:
            if way.window > streams.window_count or streams.holders[way.window - 1] != place * 2 + i + 1:
                return 0
            capacity = STREAM_LARGE_BYTES
        held = (way.ahead_end if way.flags & WAY_HOLE else way.next) - way.base
        if way.at > capacity or held > capacity - way.at or way.edit_count > WAY_EDITS:
            return 0
    return 1


cdef inline void fetch_stream(const stream_t *stream) noexcept nogil:
    """Ask for what judging a segment touches, all at once instead of one after the other."""
    cdef const uint8_t *at = <const uint8_t *>stream
    cdef const uint8_t *end = stream.small
    while at < end:
        prefetch(at)
        at += FETCH_BYTES
    prefetch(stream.small)
    prefetch(&stream.small[STREAM_SMALL_BYTES])


cdef inline stream_t *stream_of(streams_t *streams, flow_t *flow, uint64_t now_ns) noexcept nogil:
    """Return the stream of a flow, NULL when it has none or a crash left it half written: then it is given up."""
    cdef uint32_t place = <uint32_t>flow.stream - 1
    streams.now_ns = now_ns
    if not flow.stream:
        return NULL
    if place >= streams.count:
        flow.stream = 0
        return NULL
    fetch_stream(&streams.entries[place])
    if streams.owners[place] != <uint32_t>(flow - streams.flows) + 1:
        flow.stream = 0
        return NULL
    if not is_sound(streams, place):
        free_stream(streams, place)
        flow.stream = 0
        return NULL
    return &streams.entries[place]
