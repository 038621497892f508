# cython: language_level=3
"""TCP out of a capture, where nobody enforces and frames may be missing: what `decode` follows instead of `inspecting`.

In: segments as they stand in a file. Out: the messages that they complete, at the frame that completes them. Windows,
reading and inspectors are the live path's; what differs is what a gap means. On the wire a missing segment comes again,
or its acknowledgement says that it passed elsewhere. In a file it may be missing for good, or stand behind those that
followed it. So what begins a message is read where it stands, unless it lies within a message that is not complete;
what begins none waits for what is in front of it; and the last gap is remembered, so that what fills it late is read
too. Acknowledgements end no wait. Must never be called where anything is enforced.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.abi cimport (
    REASON_NONE,
    REASON_STREAM_BUDGET,
    REASON_STREAM_SHARE,
    STREAM_LOOSE,
    WAY_HOLE,
    WAY_LOST,
    flow_t,
    stream_t,
    stream_way_t,
)
from fastpath.finding cimport finding_t
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport TCP_ACK, TCP_RST, TCP_SYN, frame_t
from fastpath.inspect.inspectors cimport measure
from fastpath.reading cimport inspect_data, inspection_t, read_messages, scan_t
from fastpath.stream cimport (
    OPENER,
    RESPONDER,
    distance,
    new_bytes,
    note_ahead,
    note_end,
    note_place,
    note_taken_up,
    read_segment,
    segment_t,
    within_reach,
)
from fastpath.stream_begin cimport begin_stream, open_stream, pick_up
from fastpath.stream_memory cimport stream_of, streams_t
from fastpath.stream_windows cimport jump, trim_window, window_of

cdef enum:
    LEAST_HEADER_BYTES = 8  # a message whose length is not known yet is at least this long
    LEAST_SIGN_BYTES = 7  # with fewer, and no length yet, too much looks like a message: a TPKT's head, most of an MBAP
    HEAD_BYTES = 16  # enough for every inspector to contradict what is no message
    # Beside abi's WAY_ flags, in memory that only a decoder has: [hole_end, ahead_end) never came by.
    WAY_MISSED = 0x8000


cdef inline int begins_message(const inspection_t *inspection, const segment_t *segment) noexcept nogil:
    """Tell whether a message may begin where a segment does. A few bytes tell nothing: keep-alives carry one."""
    cdef uint32_t length = 0
    if measure(inspection.inspector, segment.bytes, segment.count, segment.way == OPENER, &length) != REASON_NONE:
        return 0
    return length != 0 or segment.count >= LEAST_SIGN_BYTES


cdef inline int contradicts(
    const streams_t *streams, stream_t *stream, const segment_t *segment, const inspection_t *inspection
) noexcept nogil:
    """Tell whether a few bytes that wait for the rest of their head are none together with what follows them."""
    cdef const stream_way_t *way = &stream.ways[segment.way]
    cdef uint32_t waiting = way.next - way.message
    cdef uint32_t count = segment.count
    cdef uint32_t length = 0
    cdef uint8_t head[HEAD_BYTES]
    if not waiting or waiting >= LEAST_HEADER_BYTES or way.needed or way.flags & (WAY_HOLE | WAY_LOST):
        return 0
    if count > HEAD_BYTES - waiting:
        count = HEAD_BYTES - waiting
    memcpy(head, window_of(streams, stream, segment.way) + way.at + (way.message - way.base), waiting)
    memcpy(head + waiting, segment.bytes, count)
    return measure(inspection.inspector, head, waiting + count, segment.way == OPENER, &length) != REASON_NONE


cdef inline int is_within_message(const stream_way_t *way, uint32_t sequence) noexcept nogil:
    """Tell whether a place ahead belongs to the message that is not complete."""
    if way.flags & WAY_LOST or way.message == way.next:
        return 0
    return sequence - way.message < (way.needed if way.needed else LEAST_HEADER_BYTES)


cdef inline void pass_over(
    streams_t *streams, stream_t *stream, stream_way_t *way, uint32_t sequence
) noexcept nogil:
    """Go on behind a gap, and remember it."""
    cdef uint32_t missed = way.next
    jump(streams, way, sequence)
    way.hole_end = missed
    way.ahead_end = sequence
    way.flags |= WAY_MISSED
    stream.flags |= STREAM_LOOSE
    note_taken_up(stream)


cdef inline void read_missed(
    stream_t *stream, const segment_t *segment, const inspection_t *inspection, finding_t *finding
) noexcept nogil:
    """Read a segment that lies in the remembered gap, if a message begins with it; it is remembered as read."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    cdef scan_t scan
    if distance(segment.sequence, way.hole_end) < 0 or distance(segment.end, way.ahead_end) > 0:
        return
    if not begins_message(inspection, segment):
        return
    read_messages(inspection, stream, segment.bytes, segment.count, segment.sequence, finding, &scan)
    if segment.end == way.ahead_end:
        way.ahead_end = segment.sequence
    else:
        way.hole_end = segment.end
    if way.hole_end == way.ahead_end:
        way.flags &= <uint16_t>~WAY_MISSED


cdef inline void follow_data(
    streams_t *streams, stream_t *stream, const segment_t *segment, const inspection_t *inspection, finding_t *finding
) noexcept nogil:
    """Read what a segment of a known conversation brings."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    if distance(segment.sequence, way.next) > 0:
        if is_within_message(way, segment.sequence) or not begins_message(inspection, segment):
            if not way.flags & WAY_HOLE or segment.sequence == way.ahead_end:
                way.flags &= <uint16_t>~WAY_MISSED
                note_ahead(streams, stream, segment)
                return
            if distance(segment.sequence, way.hole_end) >= 0 and distance(segment.end, way.ahead_end) <= 0:
                return  # once more
        pass_over(streams, stream, way, segment.sequence)
    elif not new_bytes(way, segment):
        if way.flags & WAY_MISSED:
            read_missed(stream, segment, inspection, finding)
        return
    if way.flags & WAY_LOST and segment.sequence == way.next:
        if not begins_message(inspection, segment):
            jump(streams, way, segment.end)
            return
        way.flags &= <uint16_t>~WAY_LOST
    if segment.sequence == way.next and contradicts(streams, stream, segment, inspection) and (
        begins_message(inspection, segment)
    ):
        jump(streams, way, segment.sequence)
    if inspect_data(streams, stream, segment, inspection, finding) in (REASON_STREAM_BUDGET, REASON_STREAM_SHARE):
        jump(streams, way, segment.end)
        stream.flags |= STREAM_LOOSE
        note_taken_up(stream)


cdef inline void note_received(streams_t *streams, stream_t *stream, const segment_t *segment) noexcept nogil:
    """Note what its sender has of the other end, as far as that came by: those bytes need not be held."""
    cdef stream_way_t *way = &stream.ways[1 - segment.way]
    if not segment.flags & TCP_ACK or segment.flags & TCP_RST or distance(segment.acknowledged, way.acked) <= 0:
        return
    way.acked = segment.acknowledged if distance(segment.acknowledged, way.next) <= 0 else way.next
    trim_window(streams, stream, 1 - segment.way)


cdef inline void note_opening(
    streams_t *streams, stream_t *stream, int known, const segment_t *segment, const inspection_t *inspection
) noexcept nogil:
    """Begin a conversation at a SYN from either end, or its other direction; the same SYN again begins nothing."""
    cdef uint32_t first = segment.sequence + 1
    cdef uint32_t other = segment.acknowledged if segment.flags & TCP_ACK else 0
    if known and stream.inspector == inspection.inspector:
        if stream.ways[segment.way].first == first:
            return
        if segment.flags & TCP_ACK and stream.ways[1 - segment.way].first == other:
            note_place(streams, &stream.ways[segment.way], first)
            return
    if segment.way == OPENER:
        begin_stream(streams, stream, inspection, first, other, 0)
    else:
        begin_stream(streams, stream, inspection, other, first, 0)


cdef inline void inspect_recorded(
    flows_t *flows, flow_t *flow, const frame_t *frame, int way, const inspection_t *inspection, uint64_t now_ns,
    finding_t *finding
) noexcept nogil:
    """Follow a recorded TCP segment of a flow. What of it was not captured counts as missing."""
    cdef streams_t *streams = &flows.streams
    cdef stream_t *stream = stream_of(streams, flow, now_ns)
    cdef segment_t segment
    cdef int known = stream != NULL
    read_segment(&segment, frame, way)
    finding.way = <uint8_t>way
    if segment.flags & TCP_RST and segment.count:
        return  # RFC 9293 section 3.5.3: why it was reset, in words
    if not known:
        if not segment.count and not segment.flags & TCP_SYN:
            return
        if open_stream(flows, flow, &stream) != REASON_NONE:
            return
    if segment.flags & TCP_SYN:
        note_opening(streams, stream, known, &segment, inspection)
        segment.sequence += 1
        segment.end += 1
    elif not known or stream.inspector != inspection.inspector or (
        segment.count and not within_reach(distance(segment.sequence, stream.ways[way].next))
    ):
        pick_up(streams, stream, inspection, &segment)
    if segment.count:
        follow_data(streams, stream, &segment, inspection, finding)
    note_end(stream, &segment)
    note_received(streams, stream, &segment)
