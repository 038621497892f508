# cython: language_level=3
"""What inspection says of a frame: the conversation that it belongs to, its place in it, and what it carries.

In: a frame of a flow whose conduit is inspected, how that conduit wants it, and a sink that knows what is permitted.
Out: a reason, and in `finding_t` what a refusal has to know. A segment is judged as a whole; what is dropped leaves no
trace but the mark that the conversation is refused. Called once per frame, by `permit`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.abi cimport (
    FAIL_CLOSED,
    FLOW_WAYS,
    REASON_MESSAGE_MALFORMED,
    REASON_MESSAGE_PROTOCOL,
    REASON_NONE,
    REASON_STREAM_AHEAD,
    REASON_STREAM_BUDGET,
    REASON_STREAM_CONFLICT,
    REASON_STREAM_OPENING_DATA,
    REASON_STREAM_PICKUP,
    REASON_STREAM_REFUSED,
    REASON_STREAM_SEQUENCE,
    REASON_STREAM_URGENT,
    STREAM_GREETED,
    STREAM_LOOSE,
    STREAM_SHUT,
    WAY_LOST,
    flow_t,
    stream_t,
)
from fastpath.finding cimport REFUSAL_REWRITE, finding_t
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport PROTOCOL_TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, frame_t
from fastpath.inspect.interface cimport dialog_t
from fastpath.reading cimport inspect_data, inspection_t, note_refusal, read_messages, scan_t
from fastpath.stream cimport (
    OPENER,
    RESPONDER,
    check_form,
    check_numbers,
    check_overlap,
    check_place,
    distance,
    end_of,
    is_handshake_of,
    note_acknowledgement,
    note_ahead,
    note_end,
    note_place,
    note_taken_up,
    read_segment,
    segment_t,
    unnote_taken_up,
)
from fastpath.stream_edits cimport forget_edits, needs_edits, note_edits
from fastpath.stream_memory cimport in_order, jump, skip_ahead, stream_of, streams_t, take_stream


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
    note_taken_up(stream)
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


cdef inline int is_told(uint8_t reason) noexcept nogil:
    """Tell reasons of which both ends hear: the conversation is over, and neither shall wait for the other."""
    return ends_conversation(reason) or reason == REASON_STREAM_REFUSED


cdef inline int is_behind(const stream_t *stream, const segment_t *segment) noexcept nogil:
    """Tell whether frames of both directions never came by: then what lies ahead waits for nothing."""
    if not segment.flags & TCP_ACK or segment.flags & TCP_RST:
        return 0
    return distance(segment.acknowledged, end_of(&stream.ways[1 - segment.way])) > 0


cdef inline int goes_on_ahead(
    const stream_t *stream, const segment_t *segment, const inspection_t *inspection
) noexcept nogil:
    """Tell whether an enforced conversation goes on behind what `static` let pass of it in both directions.

    Its sender may lie about that: then its receiver waits for bytes that `check_overlap` never lets through.
    """
    return inspection.enforced and inspection.fail != FAIL_CLOSED and is_behind(stream, segment)


cdef inline uint8_t follow_segment(
    streams_t *streams, stream_t *stream, const segment_t *segment, const inspection_t *inspection, finding_t *finding
) noexcept nogil:
    """Judge a segment of a known conversation (neither SYN nor malformed) and follow it if it passes."""
    cdef uint8_t reason = check_numbers(stream, segment, inspection.fail, inspection.enforced)
    cdef int behind
    if reason == REASON_STREAM_SEQUENCE and segment.count and not inspection.enforced:
        pick_up(streams, stream, inspection, segment)
        inspect_data(streams, stream, segment, inspection, finding)
        return reason
    if reason == REASON_NONE:
        reason = check_standing(stream, segment, inspection)
    behind = is_behind(stream, segment) and (reason == REASON_NONE or not inspection.enforced)
    if behind:
        note_taken_up(stream)  # before it is read: its own answer may be to a request that nobody saw
    if reason == REASON_NONE and inspection.enforced and not inspection.changeable:
        if needs_edits(&stream.ways[segment.way], segment):
            reason = REASON_STREAM_BUDGET  # what its receiver has of it was changed: it may not see it otherwise
    if reason == REASON_NONE and (segment.count or segment.flags & TCP_FIN):
        reason = check_overlap(streams, stream, segment)
        if reason == REASON_NONE:
            reason = check_place(&stream.ways[segment.way], segment)
        if reason == REASON_STREAM_AHEAD and goes_on_ahead(stream, segment, inspection):
            skip_ahead(streams, &stream.ways[segment.way], segment.sequence)
            reason = REASON_NONE
        if reason == REASON_NONE:
            reason = inspect_data(streams, stream, segment, inspection, finding)
    if reason != REASON_NONE and finding.refusal != REFUSAL_REWRITE:
        if inspection.enforced:
            if behind:
                unnote_taken_up(stream)
            if inspection.shuts and ends_conversation(reason):
                stream.flags |= STREAM_SHUT
            return reason
        if reason == REASON_STREAM_AHEAD and behind:
            jump(streams, &stream.ways[segment.way], segment.sequence)
            stream.flags |= STREAM_LOOSE
            stream.ways[segment.way].flags |= WAY_LOST
            inspect_data(streams, stream, segment, inspection, finding)
        elif reason == REASON_STREAM_AHEAD:
            note_ahead(streams, stream, segment)
        elif reason == REASON_STREAM_CONFLICT:
            stream.flags |= STREAM_LOOSE
        elif reason == REASON_STREAM_BUDGET:
            stream.flags |= STREAM_LOOSE
            jump(streams, &stream.ways[segment.way], segment.end)
            note_taken_up(stream)
    if inspection.changeable:
        note_edits(&stream.ways[segment.way], segment, finding)
    note_end(stream, segment)
    note_acknowledgement(streams, stream, segment, inspection.fail)
    forget_edits(&stream.ways[1 - segment.way])
    return reason


cdef inline uint8_t inspect_handshake(
    flows_t *flows, flow_t *flow, stream_t *stream, const segment_t *segment, const inspection_t *inspection,
    uint64_t now_ns, finding_t *finding
) noexcept nogil:
    """Follow a SYN or SYN-ACK of good form. Only the responder's answer says that there is a new conversation."""
    cdef uint8_t flags
    if segment.way == OPENER or not segment.flags & TCP_ACK:
        return REASON_NONE
    if stream == NULL:
        stream = take_stream(&flows.streams, flows.entries, (flows.bucket_mask + 1) * FLOW_WAYS, flow, now_ns)
    elif is_handshake_of(stream, segment):
        return REASON_NONE
    finding.stream = stream
    if stream == NULL:
        return REASON_STREAM_BUDGET
    flags = STREAM_LOOSE if stream.flags & STREAM_GREETED else 0
    stream.changing = 1
    in_order()
    begin_stream(&flows.streams, stream, inspection, segment.acknowledged, segment.sequence + 1, flags)
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
    cdef uint32_t flow_count = (flows.bucket_mask + 1) * FLOW_WAYS
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
        if form == REASON_STREAM_OPENING_DATA and not inspection.enforced:
            if stream == NULL:
                stream = take_stream(streams, flows.entries, flow_count, flow, now_ns)
            if stream != NULL:
                stream.flags |= STREAM_LOOSE | STREAM_GREETED
        return form
    if segment.flags & TCP_SYN:
        return inspect_handshake(flows, flow, stream, &segment, inspection, now_ns, finding)
    if stream == NULL:
        if not segment.count:
            return REASON_NONE
        if inspection.enforced:
            return REASON_STREAM_PICKUP
        stream = take_stream(streams, flows.entries, flow_count, flow, now_ns)
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
