# cython: language_level=3
"""What inspection says of a frame: the conversation that it belongs to, its place in it, and what it carries.

In: a frame of a flow whose conduit is inspected, how that conduit wants it, and a sink that knows what is permitted.
Out: a reason, and in `finding_t` what a refusal has to know. A segment is judged as a whole; what is dropped leaves no
trace but the mark that the conversation is refused. Called once per frame, by `permit`.
"""

from libc.stdint cimport uint8_t, uint64_t

from fastpath.abi cimport (
    REASON_MESSAGE_MALFORMED,
    REASON_NONE,
    REASON_STREAM_BUDGET,
    REASON_STREAM_OPENING_DATA,
    REASON_STREAM_PICKUP,
    REASON_STREAM_SEQUENCE,
    REASON_STREAM_URGENT,
    STREAM_ENDED,
    STREAM_GREETED,
    STREAM_LOOSE,
    STREAM_SHUT,
    flow_t,
    stream_t,
)
from fastpath.finding cimport finding_t
from fastpath.flow_index cimport flows_t
from fastpath.following cimport ends_conversation, follow_segment
from fastpath.frame cimport PROTOCOL_TCP, TCP_ACK, TCP_SYN, frame_t
from fastpath.reading cimport inspection_t, note_refusal, read_messages, restore_dialog, save_dialog, scan_t
from fastpath.stream cimport OPENER, check_form, is_handshake_of, read_segment, segment_t
from fastpath.stream_begin cimport begin_stream, open_stream, pick_up
from fastpath.stream_memory cimport in_order, stream_of, streams_t


cdef inline uint8_t inspect_handshake(
    flows_t *flows, flow_t *flow, stream_t *stream, const segment_t *segment, const inspection_t *inspection,
    finding_t *finding
) noexcept nogil:
    """Follow a SYN or SYN-ACK of good form. Only the responder's answer says that there is a new conversation."""
    cdef uint8_t flags, reason
    if segment.way == OPENER or not segment.flags & TCP_ACK:
        return REASON_NONE
    if stream == NULL:
        reason = open_stream(flows, flow, &stream)
        if reason != REASON_NONE:
            return reason
    elif is_handshake_of(stream, segment):
        return REASON_NONE
    finding.stream = stream
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
    cdef stream_t *stream = stream_of(streams, flow, now_ns)
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
    if form == REASON_STREAM_URGENT and stream != NULL and inspection.enforced:
        if segment.sequence != stream.ways[way].next:
            form = REASON_STREAM_SEQUENCE  # who guesses addresses and ports does not end a conversation
    if form != REASON_NONE and (inspection.enforced or form != REASON_STREAM_URGENT):
        if stream != NULL and inspection.enforced and inspection.shuts and ends_conversation(form):
            stream.flags |= STREAM_SHUT
        if form == REASON_STREAM_OPENING_DATA and not inspection.enforced:
            if stream != NULL or open_stream(flows, flow, &stream) == REASON_NONE:
                stream.flags &= ~(STREAM_ENDED | STREAM_SHUT)  # another conversation begins: it may not give way
                stream.flags |= STREAM_LOOSE | STREAM_GREETED
        return form
    if segment.flags & TCP_SYN:
        return inspect_handshake(flows, flow, stream, &segment, inspection, finding)
    if stream == NULL:
        if not segment.count:
            return REASON_NONE
        if inspection.enforced:
            return REASON_STREAM_PICKUP
        reason = open_stream(flows, flow, &stream)
        if reason != REASON_NONE:
            return reason
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
    cdef stream_t *stream = stream_of(streams, flow, now_ns)
    cdef scan_t scan
    cdef uint8_t reason
    cdef inspection_t unchanged = inspection[0]
    unchanged.answers = 0  # nothing would tell which datagrams are repetitions of one that went on changed
    inspection = &unchanged
    finding.stream = stream
    finding.way = <uint8_t>way
    finding.sequence = 0
    finding.message = 0
    finding.message_bytes = 0
    if frame.captured < frame.length:
        return REASON_STREAM_BUDGET
    if stream == NULL:
        reason = open_stream(flows, flow, &stream)
        if reason != REASON_NONE:
            return reason
        finding.stream = stream
    stream.changing = 1
    in_order()
    if stream.inspector != inspection.inspector:
        begin_stream(streams, stream, inspection, 0, 0, 0)
    save_dialog(streams, stream, inspection.inspector)
    reason = read_messages(inspection, stream, frame.payload.at, frame.payload.left, 0, finding, &scan)
    if scan.whole != frame.payload.left or not scan.whole:
        if not scan.broken:
            note_refusal(finding, &reason, REASON_MESSAGE_MALFORMED, scan.whole, scan.needed)
    reason = inspection.settle(inspection.sink, reason, inspection.enforced)
    if reason != REASON_NONE and inspection.enforced:
        restore_dialog(streams, stream)
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
