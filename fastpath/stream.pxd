# cython: language_level=3
"""TCP as its receiver must see it: which bytes of a segment are new, and whether they may stand where they stand.

In: a segment and the stream of its conversation. Out: a STREAM_ reason, or where its new bytes begin. One rule carries
everything: **a byte that has passed is never followed by another one for the same place**, until the other end has said
that it has it. So it does not matter which of the segments that passed the receiver took, and checksums, TTLs and
timestamps need not be asked. Nothing is changed here but by the functions named `note_`, for segments that pass.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from fastpath.abi cimport (
    FAIL_CLOSED,
    REASON_NONE,
    REASON_STREAM_AHEAD,
    REASON_STREAM_CONFLICT,
    REASON_STREAM_OPENING_DATA,
    REASON_STREAM_PICKUP,
    REASON_STREAM_SEQUENCE,
    REASON_STREAM_URGENT,
    STREAM_ENDED,
    STREAM_LOOSE,
    WAY_FIN,
    WAY_HOLE,
    WAY_LOST,
    stream_t,
    stream_way_t,
)
from fastpath.cursor cimport be32
from fastpath.frame cimport TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, frame_t
from fastpath.inspect.interface cimport DIALOG_TAKEN_UP, dialog_t
from fastpath.stream_memory cimport streams_t
from fastpath.stream_windows cimport jump, make_room, trim_window, window_of

cdef enum:
    TCP_URG = 0x20
    OPENER = 0  # index into stream_t.ways
    RESPONDER = 1
    # How far from its place a number may be: eight times what may be unacknowledged. Far below 2^31, so that what is
    # old here is old for the receiver too.
    REACH_BYTES = 1 << 20

cdef struct segment_t:
    uint32_t sequence
    uint32_t end  # behind its last byte, a FIN not counted
    uint32_t acknowledged
    uint32_t count
    const uint8_t *bytes  # SAFETY: borrowed from the frame
    uint8_t flags
    uint8_t way  # OPENER or RESPONDER: who sent it

cdef inline int32_t distance(uint32_t sequence, uint32_t from_) noexcept nogil:
    """Return how far `sequence` lies ahead of another one, negative behind it (RFC 9293 section 3.4)."""
    return <int32_t>(sequence - from_)


cdef inline void read_segment(segment_t *segment, const frame_t *frame, int way) noexcept nogil:
    """Read a TCP frame that `frame.parse` found whole."""
    segment.sequence = be32(frame.transport + 4)
    segment.acknowledged = be32(frame.transport + 8)
    segment.count = frame.payload.left
    segment.bytes = frame.payload.at
    segment.end = segment.sequence + segment.count
    segment.flags = frame.tcp_flags
    segment.way = <uint8_t>way


cdef inline uint8_t check_form(const segment_t *segment) noexcept nogil:
    """Refuse what no conversation needs, whatever its numbers: it exists to be read differently by two readers."""
    if segment.flags & TCP_URG:
        return REASON_STREAM_URGENT
    if segment.flags & TCP_SYN:
        if segment.count:
            return REASON_STREAM_OPENING_DATA
        # Simultaneous open: the opener never accepts a connection.
        return REASON_STREAM_SEQUENCE if segment.flags & TCP_ACK and segment.way == OPENER else REASON_NONE
    if segment.flags & TCP_RST:
        return REASON_STREAM_SEQUENCE if segment.count else REASON_NONE
    return REASON_NONE if segment.flags & TCP_ACK else REASON_STREAM_SEQUENCE


cdef inline uint32_t end_of(const stream_way_t *way) noexcept nogil:
    """Return the highest number that the other end may acknowledge."""
    return way.next + (way.flags & WAY_FIN)


cdef inline int within_reach(int32_t away) noexcept nogil:
    return -REACH_BYTES <= away <= REACH_BYTES


cdef inline int is_of_other_handshake(
    const stream_t *stream, const stream_way_t *responder, const segment_t *segment
) noexcept nogil:
    """Tell whether the opener answers another SYN-ACK than the one that is known.

    Until the responder has sent something there is nothing else to acknowledge. A server that keeps no state before the
    third segment (SYN cookies, RFC 4987 section 3.6) takes the answer to any of its SYN-ACKs, and may so have begun at
    another place than the stream did.
    """
    if segment.way != OPENER or stream.flags & STREAM_LOOSE or responder.next != responder.first:
        return 0
    return segment.acknowledged != responder.first and segment.acknowledged != end_of(responder)


cdef inline uint8_t check_numbers(
    const stream_t *stream, const segment_t *segment, uint8_t fail, int enforced
) noexcept nogil:
    """Tell whether a segment's numbers belong to the conversation.

    An acknowledgement of bytes that never came by: whatever passed them, a conduit that fails closed does not go on
    behind them. Nothing that either end repeats can mend that, so both are told.
    """
    cdef const stream_way_t *way = &stream.ways[segment.way]
    cdef const stream_way_t *other = &stream.ways[1 - segment.way]
    cdef int32_t beyond
    if segment.flags & TCP_RST and segment.way == RESPONDER and segment.sequence == 0:
        return REASON_NONE  # RFC 9293 section 3.10.7.1: there is no such connection; nothing here is changed by it
    if not within_reach(distance(segment.sequence, way.next)):
        return REASON_STREAM_SEQUENCE
    if not segment.flags & TCP_ACK:
        return REASON_NONE
    beyond = distance(segment.acknowledged, end_of(other))
    if not within_reach(beyond) or is_of_other_handshake(stream, other, segment):
        return REASON_STREAM_SEQUENCE
    return REASON_STREAM_PICKUP if beyond > 0 and enforced and fail == FAIL_CLOSED else REASON_NONE


cdef inline int differs(
    const streams_t *streams, stream_t *stream, const segment_t *segment, uint32_t from_, uint32_t until
) noexcept nogil:
    """Tell whether a segment has other bytes between two places than those that are held of them."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    if distance(from_, segment.sequence) < 0:
        from_ = segment.sequence
    if distance(until, segment.end) > 0:
        until = segment.end
    if distance(until, from_) <= 0:
        return 0
    return memcmp(
        window_of(streams, stream, segment.way) + way.at + (from_ - way.base),
        segment.bytes + (from_ - segment.sequence),
        until - from_,
    ) != 0


cdef inline uint8_t check_overlap(
    const streams_t *streams, stream_t *stream, const segment_t *segment
) noexcept nogil:
    """Compare a segment with what has passed at its places. What the other end has acknowledged, it will not take."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    cdef uint32_t held = way.acked if distance(way.acked, way.base) > 0 else way.base
    if distance(way.base, way.acked) > 0 and distance(segment.end, way.acked) > 0 and (
        distance(segment.sequence, way.base) < 0
    ):
        return REASON_STREAM_SEQUENCE  # `static` passed something there, nobody knows what: see skip_ahead
    if differs(streams, stream, segment, held, way.next):
        return REASON_STREAM_CONFLICT
    if way.flags & WAY_HOLE and differs(streams, stream, segment, way.hole_end, way.ahead_end):
        return REASON_STREAM_CONFLICT
    if way.flags & WAY_FIN:
        return REASON_STREAM_CONFLICT if distance(segment.end, way.next) > 0 else REASON_NONE
    if segment.flags & TCP_FIN and distance(segment.end, way.next) < 0 and distance(segment.end, way.acked) >= 0:
        return REASON_STREAM_CONFLICT  # an end where bytes have passed
    return REASON_NONE


cdef inline uint8_t check_place(const stream_way_t *way, const segment_t *segment) noexcept nogil:
    """Refuse what lies ahead; an acknowledgement without data may."""
    if distance(segment.sequence, way.next) <= 0 or not (segment.count or segment.flags & TCP_FIN):
        return REASON_NONE
    return REASON_STREAM_AHEAD


cdef inline uint32_t new_bytes(const stream_way_t *way, const segment_t *segment) noexcept nogil:
    """Return how many of a segment's last bytes have not passed yet, of one that does not lie ahead."""
    cdef int32_t fresh = distance(segment.end, way.next)
    return <uint32_t>fresh if fresh > 0 else 0


# ---- what passes is noted -------------------------------------------------------------------------------------------


cdef inline int is_handshake_of(const stream_t *stream, const segment_t *segment) noexcept nogil:
    """Tell whether a SYN-ACK is that of the conversation that is known: a retransmission."""
    return (
        stream.ways[RESPONDER].first == segment.sequence + 1 and stream.ways[OPENER].first == segment.acknowledged
        and not stream.flags & STREAM_LOOSE
    )


cdef inline void note_taken_up(stream_t *stream) noexcept nogil:
    """Tell the protocol's module once more that answers may come whose requests nobody saw."""
    (<dialog_t *>stream.dialog).words[DIALOG_TAKEN_UP] += 1


cdef inline void unnote_taken_up(stream_t *stream) noexcept nogil:
    """Take that back: the segment that showed it is dropped."""
    (<dialog_t *>stream.dialog).words[DIALOG_TAKEN_UP] -= 1


cdef inline void note_place(streams_t *streams, stream_way_t *way, uint32_t sequence) noexcept nogil:
    """Begin a direction at a sequence number."""
    jump(streams, way, sequence)
    way.first = sequence
    way.flags = 0


cdef inline void note_acknowledgement(
    streams_t *streams, stream_t *stream, const segment_t *segment, uint8_t fail
) noexcept nogil:
    """Note what the sender of a segment has received of the other end."""
    cdef int other = 1 - segment.way
    cdef stream_way_t *way = &stream.ways[other]
    if not segment.flags & TCP_ACK or segment.flags & TCP_RST:
        return
    if distance(segment.acknowledged, end_of(way)) > 0:
        # It has bytes that never came by. In a row with what is held they may be the middle of a message.
        if fail == FAIL_CLOSED:
            stream.flags |= STREAM_LOOSE
        jump(streams, way, segment.acknowledged)
    elif distance(segment.acknowledged, way.acked) > 0:
        way.acked = segment.acknowledged
        if distance(way.acked, way.next) > 0:
            way.acked = way.next  # its FIN
        trim_window(streams, stream, other)


cdef inline void note_end(stream_t *stream, const segment_t *segment) noexcept nogil:
    """Note a FIN that stands in its place, or a reset that its receiver takes for sure."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    if segment.flags & TCP_FIN and segment.end == way.next:
        way.flags |= WAY_FIN
    if segment.flags & TCP_RST and distance(segment.sequence, way.acked) >= 0 and (
        distance(segment.sequence, end_of(way)) <= 0
    ):
        stream.flags |= STREAM_ENDED
    if stream.ways[OPENER].flags & stream.ways[RESPONDER].flags & WAY_FIN:
        stream.flags |= STREAM_ENDED


cdef inline void note_ahead(streams_t *streams, stream_t *stream, const segment_t *segment) noexcept nogil:
    """Keep bytes that passed before those in front of them, in monitor and alert: one hole is remembered, no second."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    cdef uint8_t *window
    cdef int follows = not way.flags & WAY_HOLE or segment.sequence == way.ahead_end
    if way.flags & WAY_HOLE and distance(segment.end, way.ahead_end) <= 0 and (
        distance(segment.sequence, way.hole_end) >= 0
    ):
        return  # once more
    if not segment.count:
        return
    if not follows or make_room(streams, stream, segment.way, segment.end - way.base) != REASON_NONE:
        stream.flags |= STREAM_LOOSE
        jump(streams, way, segment.end)
        note_taken_up(stream)
        return
    window = window_of(streams, stream, segment.way) + way.at
    memcpy(window + (segment.sequence - way.base), segment.bytes, segment.count)
    if not way.flags & WAY_HOLE:
        way.hole_end = segment.sequence
        way.flags |= WAY_HOLE
    way.ahead_end = segment.end
