# cython: language_level=3
"""What inspected conversations carried, for as long as it can matter: streams, and the windows their bytes lie in.

In: flows whose conversations are inspected. Out: their streams, and room for bytes. The memory is fixed and belongs to
one queue's thread; it outlives the engine process, so that an engine which begins reads it with suspicion: `changing`
marks a stream that a crash left half written. A place is taken from a conversation only when that is over, never from
one that is alive: when nothing is left, the new one gets none.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from fastpath.abi cimport (
    PAGE_BYTES,
    STREAM_ENDED,
    STREAM_LARGE_BYTES,
    STREAM_SMALL_BYTES,
    WAY_EDITS,
    WAY_HOLE,
    WAY_LOST,
    flow_t,
    stream_t,
    stream_way_t,
)
from fastpath.cursor cimport prefetch
from fastpath.frame cimport PROTOCOL_UDP
from fastpath.inspect.interface cimport dialog_t

cdef extern from *:
    """
    /* RFC 5382 REQ-5: an established TCP connection may be silent for at least 2 hours 4 minutes. */
    #define CND_TCP_IDLE_NS (7440ULL * 1000000000ULL)
    /* A connection by which nothing has been asked yet; RFC 5382 REQ-5 asks for 4 minutes. */
    #define CND_TCP_UNUSED_NS (240ULL * 1000000000ULL)
    /* As in flow.pxd: a UDP conversation that was silent this long is over. */
    #define CND_DATAGRAM_IDLE_NS (180ULL * 1000000000ULL)
    /* A signal or SIGKILL sees what was stored in program order: only the compiler has to keep it. */
    #define CND_IN_ORDER() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    """
    const uint64_t TCP_IDLE_NS "CND_TCP_IDLE_NS"
    const uint64_t TCP_UNUSED_NS "CND_TCP_UNUSED_NS"
    const uint64_t UDP_IDLE_NS "CND_DATAGRAM_IDLE_NS"
    void in_order "CND_IN_ORDER"() noexcept nogil

cdef enum:
    STREAM_STEPS = 64  # places looked at before a conversation gets none: bounds what one frame can cost
    FETCH_BYTES = 64  # a cache line
    STREAM_FIRST_STEPS = 4  # places looked at before memory is touched that never was

cdef struct streams_t:
    # SAFETY: mapped from the streams segment for the worker's life; this thread is the only writer
    uint32_t *owners  # by stream: its flow's place + 1; 0 = unused
    uint32_t *holders  # by large window: stream * 2 + way + 1; 0 = unused
    stream_t *entries
    uint8_t *windows
    uint32_t count
    uint32_t window_count
    # Of this process
    uint32_t used  # streams from here on were never used: their memory was not touched
    uint32_t hand
    dialog_t saved  # what of a dialog can change, as it was before a segment that may yet be refused
    uint32_t saved_bytes


cdef inline uint64_t whole_pages(uint64_t size) noexcept nogil:
    return (size + PAGE_BYTES - 1) & ~<uint64_t>(PAGE_BYTES - 1)


cdef inline void attach_streams(
    streams_t *streams, uint8_t *table, uint32_t count, uint32_t window_count
) noexcept nogil:
    """Lay a table of streams over memory of `abi.streams_table_bytes`, as an earlier engine left it or all zeros."""
    cdef uint32_t i
    streams.owners = <uint32_t *>table
    table += whole_pages(<uint64_t>count * 4)
    streams.holders = <uint32_t *>table
    table += whole_pages(<uint64_t>window_count * 4)
    streams.entries = <stream_t *>table
    table += whole_pages(<uint64_t>count * sizeof(stream_t))
    streams.windows = table
    streams.count = count
    streams.window_count = window_count
    streams.hand = 0
    streams.used = 0
    for i in range(count):
        if streams.owners[i]:
            streams.used = i + 1


cdef inline void free_window(streams_t *streams, stream_way_t *way) noexcept nogil:
    if way.window:
        streams.holders[way.window - 1] = 0
        way.window = 0


cdef inline void free_stream(streams_t *streams, uint32_t place) noexcept nogil:
    """Give a stream's place and windows back; whose flow names it, names nothing from here on."""
    cdef stream_t *stream = &streams.entries[place]
    cdef uint32_t window
    cdef int i
    streams.owners[place] = 0
    for i in range(2):
        window = stream.ways[i].window
        if window and window <= streams.window_count and streams.holders[window - 1] == place * 2 + i + 1:
            streams.holders[window - 1] = 0


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


cdef inline stream_t *stream_of(streams_t *streams, const flow_t *flows, flow_t *flow) noexcept nogil:
    """Return the stream of a flow, NULL when it has none or a crash left it half written: then it is given up."""
    cdef uint32_t place = <uint32_t>flow.stream - 1
    if not flow.stream:
        return NULL
    if place >= streams.count:
        flow.stream = 0
        return NULL
    fetch_stream(&streams.entries[place])
    if streams.owners[place] != <uint32_t>(flow - flows) + 1:
        flow.stream = 0
        return NULL
    if not is_sound(streams, place):
        free_stream(streams, place)
        flow.stream = 0
        return NULL
    return &streams.entries[place]


cdef inline uint64_t longest_silence(const streams_t *streams, uint32_t place, uint8_t protocol) noexcept nogil:
    """Return how long a conversation keeps its stream in silence, nanoseconds.

    Openings cost their sender nothing: those that were never used count less once every place is somebody's, so that
    nobody locks the others out with them for hours.
    """
    cdef const stream_way_t *opener = &streams.entries[place].ways[0]
    if protocol == PROTOCOL_UDP:
        return UDP_IDLE_NS
    return TCP_UNUSED_NS if streams.used == streams.count and opener.next == opener.first else TCP_IDLE_NS


cdef inline int may_give_way(
    const streams_t *streams, const flow_t *flows, uint32_t flow_count, uint32_t place, uint64_t now_ns
) noexcept nogil:
    """Tell whether nobody can miss a stream: its flow is gone, has ended, or was silent for as long as any may be."""
    cdef uint32_t owner = streams.owners[place]
    cdef const flow_t *flow
    if not owner:
        return 1
    if owner > flow_count:
        return 1
    flow = flows + (owner - 1)
    if not flow.in_use or flow.stream != place + 1 or streams.entries[place].flags & STREAM_ENDED:
        return 1
    return now_ns > flow.last_seen_ns + longest_silence(streams, place, flow.protocol)


cdef inline uint32_t find_place(
    streams_t *streams, const flow_t *flows, uint32_t flow_count, uint64_t now_ns
) noexcept nogil:
    """Return a stream's place for a new conversation, or `count` when there is none."""
    cdef uint32_t steps = STREAM_FIRST_STEPS if streams.used < streams.count else STREAM_STEPS
    cdef uint32_t _step
    cdef uint32_t place
    for _step in range(steps if streams.used else 0):
        streams.hand = streams.hand + 1 if streams.hand + 1 < streams.used else 0
        if may_give_way(streams, flows, flow_count, streams.hand, now_ns):
            return streams.hand
    if streams.used == streams.count:
        return streams.count
    place = streams.used
    streams.used += 1
    return place


cdef inline stream_t *take_stream(
    streams_t *streams, flow_t *flows, uint32_t flow_count, flow_t *flow, uint64_t now_ns
) noexcept nogil:
    """Return a stream of zeros for a flow that has none; NULL when every one is somebody's."""
    cdef uint32_t place = find_place(streams, flows, flow_count, now_ns)
    cdef stream_t *stream
    if place == streams.count:
        return NULL
    if streams.owners[place]:
        free_stream(streams, place)
    stream = &streams.entries[place]
    # ORDER: nobody's while it is emptied, the flow's own word last.
    in_order()
    memset(stream, 0, sizeof(stream_t) - sizeof(stream.small))
    in_order()
    streams.owners[place] = <uint32_t>(flow - flows) + 1
    in_order()
    flow.stream = <uint16_t>(place + 1)
    return stream


# ---- windows --------------------------------------------------------------------------------------------------------


cdef inline uint8_t *window_of(const streams_t *streams, stream_t *stream, int direction) noexcept nogil:
    """Return where a direction's window begins; its first byte held lies `at` behind."""
    cdef uint16_t window = stream.ways[direction].window
    if window:
        return streams.windows + <uint64_t>(window - 1) * STREAM_LARGE_BYTES
    return &stream.small[direction * STREAM_SMALL_BYTES]


cdef inline uint32_t held_bytes(const stream_way_t *way) noexcept nogil:
    return (way.ahead_end if way.flags & WAY_HOLE else way.next) - way.base


cdef inline int enlarge_window(streams_t *streams, stream_t *stream, int direction) noexcept nogil:
    """Move a direction's bytes to a large window; False when there is none."""
    cdef stream_way_t *way = &stream.ways[direction]
    cdef uint32_t owner = <uint32_t>(stream - streams.entries) * 2 + direction + 1
    cdef uint32_t window
    for window in range(streams.window_count):
        if streams.holders[window] == 0:
            streams.holders[window] = owner
            memcpy(
                streams.windows + <uint64_t>window * STREAM_LARGE_BYTES,
                &stream.small[direction * STREAM_SMALL_BYTES] + way.at,
                held_bytes(way),
            )
            way.at = 0
            way.window = <uint16_t>(window + 1)
            return 1
    return 0


cdef inline int make_room(streams_t *streams, stream_t *stream, int direction, uint32_t count) noexcept nogil:
    """See to it that `count` bytes from `base` on fit into a direction's window; False when they can't."""
    cdef stream_way_t *way = &stream.ways[direction]
    cdef uint32_t capacity = STREAM_LARGE_BYTES if way.window else STREAM_SMALL_BYTES
    cdef uint8_t *window
    if way.at + count <= capacity:
        return 1
    if count <= capacity:
        window = window_of(streams, stream, direction)
        memmove(window, window + way.at, held_bytes(way))
        way.at = 0
        return 1
    return count <= STREAM_LARGE_BYTES and not way.window and enlarge_window(streams, stream, direction)


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


cdef inline void forget_holders(streams_t *streams) noexcept nogil:
    """Take large windows back that no stream holds any more: a crash may have come between the two stores."""
    cdef uint32_t window, place
    for window in range(streams.window_count):
        if not streams.holders[window]:
            continue
        place = (streams.holders[window] - 1) >> 1
        if place >= streams.count or not streams.owners[place]:
            streams.holders[window] = 0
        elif streams.entries[place].ways[(streams.holders[window] - 1) & 1].window != window + 1:
            streams.holders[window] = 0
