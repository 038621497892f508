# cython: language_level=3
"""Messages out of conversations, and whether they may pass.

In: a frame of a flow whose conduit is inspected, how that conduit wants it, and a sink that knows what is permitted.
Out: a reason, and in `finding_t` what a refusal has to know. A segment is judged as a whole: by every message that it
completes, and by what can be seen of the one that it leaves incomplete; the first that is refused decides. What is
dropped leaves no trace but the mark that the conversation is refused. Called once per frame, by `permit`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.abi cimport (
    FLOW_WAYS,
    REASON_MESSAGE_BUDGET,
    REASON_MESSAGE_MALFORMED,
    REASON_MESSAGE_PROTOCOL,
    REASON_NONE,
    REASON_STREAM_AHEAD,
    REASON_STREAM_BUDGET,
    REASON_STREAM_CONFLICT,
    REASON_STREAM_PICKUP,
    REASON_STREAM_REFUSED,
    REASON_STREAM_SEQUENCE,
    REASON_STREAM_URGENT,
    STREAM_ENDED,
    STREAM_LOOSE,
    STREAM_SHUT,
    STREAM_SMALL_BYTES,
    WAY_HOLE,
    WAY_LOST,
    flow_t,
    stream_t,
    stream_way_t,
)
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport PROTOCOL_TCP, TCP_ACK, TCP_FIN, TCP_SYN, frame_t
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport MESSAGE_BYTES, dialog_t, sink_t
from fastpath.stream cimport (
    OPENER,
    RESPONDER,
    check_form,
    check_numbers,
    check_overlap,
    check_place,
    distance,
    finding_t,
    is_handshake_of,
    new_bytes,
    note_acknowledgement,
    note_ahead,
    note_end,
    note_place,
    read_segment,
    segment_t,
)
from fastpath.stream_memory cimport in_order, jump, make_room, stream_of, streams_t, take_stream, trim_window, window_of

# How a conduit wants its conversations to be inspected. Lives on the stack of whoever asks.
cdef struct inspection_t:
    uint8_t inspector  # abi.Inspector of the service
    uint8_t enforced  # 1: what is refused is dropped, 0: everything passes and is followed
    uint8_t fail  # abi.FailMode
    uint8_t shuts  # 1: a refusal ends the conversation; 0: it is only silent
    sink_t *sink
    # The messages of a segment have all been put: returns the reason that it has now. What passes counts from here on.
    uint8_t (*settle)(sink_t *sink, uint8_t reason, int enforced) noexcept nogil

cdef struct scan_t:
    uint32_t whole  # bytes of complete messages
    uint32_t needed  # length of the incomplete one behind them, 0 = unknown
    uint8_t broken  # what is there begins no message


cdef inline void note_refusal(
    finding_t *finding, uint8_t *reason, uint8_t found, uint32_t at, uint32_t length
) noexcept nogil:
    """Note why a message is refused, and where it stands; the first of a segment counts."""
    if reason[0] == REASON_NONE:
        reason[0] = found
        finding.message = at
        finding.message_bytes = length


cdef inline uint8_t ask(
    const inspection_t *inspection, dialog_t *dialog, const uint8_t *message, uint32_t count, uint32_t length,
    int from_opener
) noexcept nogil:
    """Return why a message, or what is there of it, is refused."""
    cdef uint8_t reason
    inspection.sink.reason = REASON_NONE
    reason = read(inspection.inspector, message, count, length, from_opener, dialog, inspection.sink)
    return reason if reason != REASON_NONE else inspection.sink.reason


cdef inline uint8_t read_messages(
    const inspection_t *inspection, stream_t *stream, const uint8_t *bytes, uint32_t count, uint32_t start,
    finding_t *finding, scan_t *scan
) noexcept nogil:
    """Read what lies in a row; returns why it is refused. `start` is the place of the first byte, for the finding.

    Where nothing is enforced the rest is read too: the dialog follows what passes.
    """
    cdef dialog_t *dialog = <dialog_t *>stream.dialog
    cdef uint8_t reason = REASON_NONE
    cdef uint8_t found
    cdef uint32_t length
    scan.whole = 0
    scan.needed = 0
    scan.broken = 0
    while scan.whole < count:
        length = 0
        found = measure(inspection.inspector, bytes + scan.whole, count - scan.whole, finding.way == OPENER, &length)
        if found == REASON_NONE and length > MESSAGE_BYTES:
            found = REASON_MESSAGE_BUDGET
        if found != REASON_NONE:
            scan.broken = 1
            note_refusal(finding, &reason, found, start + scan.whole, length)
            return reason
        scan.needed = length
        if length == 0 or length > count - scan.whole:
            return reason
        found = ask(inspection, dialog, bytes + scan.whole, length, length, finding.way == OPENER)
        if found != REASON_NONE:
            note_refusal(finding, &reason, found, start + scan.whole, length)
            if inspection.enforced:
                return reason
        scan.whole += length
        scan.needed = 0
    return reason


cdef inline int is_worth_reading(uint32_t there, uint32_t tried) noexcept nogil:
    """Tell whether an incomplete message is read: a long one only when it has doubled, so that bytes are read twice."""
    return there <= STREAM_SMALL_BYTES or there >= 2 * tried


cdef inline int are_whole(const inspection_t *inspection, const uint8_t *bytes, uint32_t count, int way) noexcept nogil:
    """Tell whether bytes are messages from the first to the last."""
    cdef uint32_t at = 0
    cdef uint32_t length
    while at < count:
        length = 0
        if measure(inspection.inspector, bytes + at, count - at, way == OPENER, &length) != REASON_NONE:
            return 0
        if length == 0 or length > count - at:
            return 0
        at += length
    return 1


cdef inline void follow_messages(stream_t *stream, stream_way_t *way, const scan_t *scan, uint32_t end) noexcept nogil:
    """Note where the next message begins, in a segment that passes."""
    way.next = end
    if scan.broken:
        stream.flags |= STREAM_LOOSE
        way.flags |= WAY_LOST
        way.message = end
        way.needed = 0
        way.tried = 0
        return
    if scan.whole:
        way.message += scan.whole
        way.tried = 0
    way.needed = scan.needed


cdef inline uint8_t inspect_data(
    streams_t *streams, stream_t *stream, const segment_t *segment, const inspection_t *inspection, finding_t *finding
) noexcept nogil:
    """Judge the new bytes of a segment that lies where it must, and take them in if they pass."""
    cdef stream_way_t *way = &stream.ways[segment.way]
    cdef uint32_t fresh = new_bytes(way, segment)
    cdef uint32_t end = segment.end
    cdef int closes = way.flags & WAY_HOLE and distance(end, way.hole_end) >= 0
    cdef int in_frame = way.message == way.next and not way.flags & WAY_HOLE
    cdef uint32_t top, there
    cdef const uint8_t *bytes
    cdef uint8_t *room
    cdef scan_t scan
    cdef uint8_t reason, found
    if not fresh:
        return REASON_NONE
    top = way.ahead_end if way.flags & WAY_HOLE and distance(way.ahead_end, end) > 0 else end
    if not make_room(streams, stream, segment.way, top - way.base):
        return REASON_STREAM_BUDGET
    if closes:
        end = top
    bytes = segment.bytes + (segment.count - fresh)
    room = window_of(streams, stream, segment.way) + way.at
    if not in_frame:
        memcpy(room + (way.next - way.base), bytes, fresh)
        bytes = room + (way.message - way.base)
    there = end - way.message
    if way.flags & WAY_LOST:
        if not are_whole(inspection, bytes, there, segment.way):
            if not inspection.enforced:
                jump(streams, way, end)
            return REASON_STREAM_PICKUP
    if inspection.enforced:
        memcpy(&streams.saved, stream.dialog, sizeof(dialog_t))
    reason = read_messages(inspection, stream, bytes, there, way.message, finding, &scan)
    there -= scan.whole
    if scan.needed and (reason == REASON_NONE or not inspection.enforced) and is_worth_reading(there, way.tried):
        found = ask(
            inspection, <dialog_t *>stream.dialog, bytes + scan.whole, there, scan.needed, segment.way == OPENER
        )
        if found != REASON_NONE:
            note_refusal(finding, &reason, found, way.message + scan.whole, scan.needed)
    reason = inspection.settle(inspection.sink, reason, inspection.enforced)
    if inspection.enforced and reason != REASON_NONE:
        memcpy(stream.dialog, &streams.saved, sizeof(dialog_t))
        return reason
    if in_frame:
        memcpy(room + (way.next - way.base), segment.bytes + (segment.count - fresh), fresh)
    way.flags &= ~<uint16_t>(WAY_LOST | WAY_HOLE) if closes else ~<uint16_t>WAY_LOST
    follow_messages(stream, way, &scan, end)
    if scan.needed and is_worth_reading(there, way.tried):
        way.tried = there
    stream.flags &= ~STREAM_ENDED
    trim_window(streams, stream, segment.way)
    return reason


# ---- conversations --------------------------------------------------------------------------------------------------


cdef inline void begin_stream(
    streams_t *streams, stream_t *stream, const inspection_t *inspection, uint32_t opener, uint32_t responder,
    uint8_t flags
) noexcept nogil:
    """Begin a conversation at two sequence numbers; what was before is over."""
    note_place(streams, &stream.ways[OPENER], opener)
    note_place(streams, &stream.ways[RESPONDER], responder)
    memset(stream.dialog, 0, sizeof(stream.dialog))
    stream.inspector = inspection.inspector
    stream.flags = flags


cdef inline void pick_up(
    streams_t *streams, stream_t *stream, const inspection_t *inspection, const segment_t *segment
) noexcept nogil:
    """Begin in the middle, where nothing is enforced: each direction at its next whole message."""
    cdef uint32_t mine = segment.sequence
    cdef uint32_t other = segment.acknowledged
    begin_stream(
        streams, stream, inspection, mine if segment.way == OPENER else other,
        other if segment.way == OPENER else mine, STREAM_LOOSE,
    )
    stream.ways[OPENER].flags |= WAY_LOST
    stream.ways[RESPONDER].flags |= WAY_LOST


cdef inline uint8_t check_standing(
    const stream_t *stream, const segment_t *segment, const inspection_t *inspection
) noexcept nogil:
    """Tell whether a conversation may still carry data. What carries none passes, so that both ends can let it go."""
    if not segment.count or not inspection.enforced:
        return REASON_NONE
    if stream.flags & STREAM_SHUT:
        return REASON_STREAM_REFUSED
    return REASON_STREAM_PICKUP if stream.flags & STREAM_LOOSE else REASON_NONE


cdef inline int ends_conversation(uint8_t reason) noexcept nogil:
    """Tell reasons after which no byte is trusted from those of a segment that its sender will repeat."""
    if reason == REASON_STREAM_CONFLICT or reason == REASON_STREAM_URGENT or reason == REASON_STREAM_PICKUP:
        return 1
    return reason >= REASON_MESSAGE_PROTOCOL


cdef inline uint8_t follow_segment(
    streams_t *streams, stream_t *stream, const segment_t *segment, const inspection_t *inspection, finding_t *finding
) noexcept nogil:
    """Judge a segment of a known conversation (neither SYN nor malformed) and follow it if it passes."""
    cdef uint8_t reason = check_numbers(stream, segment, inspection.fail, inspection.enforced)
    if reason == REASON_STREAM_SEQUENCE and segment.count and not inspection.enforced:
        pick_up(streams, stream, inspection, segment)
        inspect_data(streams, stream, segment, inspection, finding)
        return reason
    if reason == REASON_NONE:
        reason = check_standing(stream, segment, inspection)
    if reason == REASON_NONE and (segment.count or segment.flags & TCP_FIN):
        reason = check_overlap(streams, stream, segment)
        if reason == REASON_NONE:
            reason = check_place(&stream.ways[segment.way], segment)
        if reason == REASON_NONE:
            reason = inspect_data(streams, stream, segment, inspection, finding)
    if reason != REASON_NONE:
        if inspection.enforced:
            if inspection.shuts and ends_conversation(reason):
                stream.flags |= STREAM_SHUT
            return reason
        if reason == REASON_STREAM_AHEAD:
            note_ahead(streams, stream, segment)
        elif reason == REASON_STREAM_CONFLICT:
            stream.flags |= STREAM_LOOSE
        elif reason == REASON_STREAM_BUDGET:
            stream.flags |= STREAM_LOOSE
            jump(streams, &stream.ways[segment.way], segment.end)
    note_end(stream, segment)
    note_acknowledgement(streams, stream, segment, inspection.fail)
    return reason


cdef inline uint8_t inspect_handshake(
    flows_t *flows, flow_t *flow, stream_t *stream, const segment_t *segment, const inspection_t *inspection,
    uint64_t now_ns, finding_t *finding
) noexcept nogil:
    """Follow a SYN or SYN-ACK of good form. Only the responder's answer says that there is a new conversation."""
    if segment.way == OPENER or not segment.flags & TCP_ACK:
        return REASON_NONE
    if stream == NULL:
        stream = take_stream(&flows.streams, flows.entries, (flows.bucket_mask + 1) * FLOW_WAYS, flow, now_ns)
    elif is_handshake_of(stream, segment):
        return REASON_NONE
    finding.stream = stream
    if stream == NULL:
        return REASON_STREAM_BUDGET
    stream.changing = 1
    in_order()
    begin_stream(&flows.streams, stream, inspection, segment.acknowledged, segment.sequence + 1, 0)
    in_order()
    stream.changing = 0
    return REASON_NONE


cdef inline uint8_t inspect_segment(
    flows_t *flows, flow_t *flow, const frame_t *frame, int way, const inspection_t *inspection, uint64_t now_ns,
    finding_t *finding
) noexcept nogil:
    """Judge a TCP segment of a flow."""
    cdef streams_t *streams = &flows.streams
    cdef stream_t *stream = stream_of(streams, flows.entries, flow)
    cdef segment_t segment
    cdef uint8_t form, reason
    read_segment(&segment, frame, way)
    finding.stream = stream
    finding.way = <uint8_t>way
    finding.sequence = segment.sequence if stream == NULL else stream.ways[way].next
    finding.message = segment.sequence
    finding.message_bytes = 0
    if frame.captured < frame.length:
        return REASON_STREAM_BUDGET  # its end was not copied: `queue.copy_bytes`
    form = check_form(&segment)
    if form != REASON_NONE and (inspection.enforced or form != REASON_STREAM_URGENT):
        if stream != NULL and inspection.enforced and inspection.shuts and ends_conversation(form):
            stream.flags |= STREAM_SHUT
        return form
    if segment.flags & TCP_SYN:
        return inspect_handshake(flows, flow, stream, &segment, inspection, now_ns, finding)
    if stream == NULL:
        if not segment.count:
            return REASON_NONE
        if inspection.enforced:
            return REASON_STREAM_PICKUP
        stream = take_stream(streams, flows.entries, (flows.bucket_mask + 1) * FLOW_WAYS, flow, now_ns)
        if stream == NULL:
            return REASON_STREAM_BUDGET
        finding.stream = stream
        stream.changing = 1
        in_order()
        pick_up(streams, stream, inspection, &segment)
    stream.changing = 1
    in_order()
    if stream.inspector != inspection.inspector:
        pick_up(streams, stream, inspection, &segment)  # another service's bytes from here on
    if form != REASON_NONE:
        stream.flags |= STREAM_LOOSE
    reason = follow_segment(streams, stream, &segment, inspection, finding)
    in_order()
    stream.changing = 0
    return form if form != REASON_NONE else reason


cdef inline uint8_t inspect_datagram(
    flows_t *flows, flow_t *flow, const frame_t *frame, int way, const inspection_t *inspection, uint64_t now_ns,
    finding_t *finding
) noexcept nogil:
    """Judge a UDP datagram of a flow: whole messages and nothing else."""
    cdef streams_t *streams = &flows.streams
    cdef stream_t *stream = stream_of(streams, flows.entries, flow)
    cdef scan_t scan
    cdef uint8_t reason
    finding.stream = stream
    finding.way = <uint8_t>way
    finding.sequence = 0
    finding.message = 0
    finding.message_bytes = 0
    if frame.captured < frame.length:
        return REASON_STREAM_BUDGET
    if stream == NULL:
        stream = take_stream(streams, flows.entries, (flows.bucket_mask + 1) * FLOW_WAYS, flow, now_ns)
        if stream == NULL:
            return REASON_STREAM_BUDGET
        finding.stream = stream
    stream.changing = 1
    in_order()
    if stream.inspector != inspection.inspector:
        begin_stream(streams, stream, inspection, 0, 0, 0)
    memcpy(&streams.saved, stream.dialog, sizeof(dialog_t))
    reason = read_messages(inspection, stream, frame.payload.at, frame.payload.left, 0, finding, &scan)
    if scan.whole != frame.payload.left or not scan.whole:
        if not scan.broken:
            note_refusal(finding, &reason, REASON_MESSAGE_MALFORMED, scan.whole, scan.needed)
    reason = inspection.settle(inspection.sink, reason, inspection.enforced)
    if reason != REASON_NONE and inspection.enforced:
        memcpy(stream.dialog, &streams.saved, sizeof(dialog_t))
    in_order()
    stream.changing = 0
    return reason


cdef inline uint8_t inspect(
    flows_t *flows, flow_t *flow, const frame_t *frame, int way, const inspection_t *inspection, uint64_t now_ns,
    finding_t *finding
) noexcept nogil:
    """Return why a frame of an inspected flow is refused, NONE when it is not."""
    if frame.protocol == PROTOCOL_TCP:
        return inspect_segment(flows, flow, frame, way, inspection, now_ns, finding)
    return inspect_datagram(flows, flow, frame, way, inspection, now_ns, finding)
