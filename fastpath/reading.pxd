# cython: language_level=3
"""Messages out of bytes in a row, and whether they may pass: all that a segment completes, and what it shows of more.

In: the new bytes of a segment that lies where it must, the stream that they continue, and a sink that knows what is
permitted. Out: a reason, and in `finding_t` where the refused message stands. The first that is refused decides. Where
it is dropped for that, neither window nor dialog shows that it was there. Called by `inspecting`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from fastpath.abi cimport (
    REASON_MESSAGE_BUDGET,
    REASON_MESSAGE_CONSTRAINT,
    REASON_MESSAGE_OPERATION,
    REASON_NONE,
    REASON_PROCESS_RATE,
    REASON_PROCESS_STEP,
    REASON_PROCESS_VALUE,
    REASON_STREAM_BUDGET,
    REASON_STREAM_PICKUP,
    STREAM_ENDED,
    STREAM_LOOSE,
    STREAM_SMALL_BYTES,
    WAY_HOLE,
    WAY_LOST,
    stream_t,
    stream_way_t,
)
from fastpath.finding cimport REFUSAL_REWRITE, finding_t
from fastpath.inspect.inspectors cimport measure, note_changed, read, remembered_bytes
from fastpath.inspect.interface cimport EDIT_NEEDED, EDIT_NONE, EDIT_OFFERED, MESSAGE_BYTES, dialog_t, sink_t
from fastpath.stream cimport OPENER, distance, new_bytes, segment_t
from fastpath.stream_edits cimport remember_edit
from fastpath.stream_memory cimport streams_t
from fastpath.stream_windows cimport jump, make_room, trim_window, window_of

# How a conduit wants its conversations to be inspected. Lives on the stack of whoever asks.
cdef struct inspection_t:
    uint8_t inspector  # abi.Inspector of the service
    uint8_t enforced  # 1: what is refused is dropped, 0: everything passes and is followed
    uint8_t fail  # abi.FailMode
    uint8_t shuts  # 1: a refusal ends the conversation; 0: it is only silent
    uint8_t changeable  # 1: the frame in hand may go on with bytes changed
    uint8_t answers  # 1: what is refused goes on changed where its protocol offers that, so that the device refuses it
    sink_t *sink
    # The messages of a segment have all been put: returns the reason that it has now. What passes counts from here on.
    uint8_t (*settle)(sink_t *sink, uint8_t reason, int enforced) noexcept nogil
    void (*revoke)(sink_t *sink) noexcept nogil  # the message put last is never carried out

cdef struct scan_t:
    uint32_t whole  # bytes of complete messages
    uint32_t needed  # length of the incomplete one behind them, 0 = unknown
    uint8_t broken  # what is there begins no message
    uint8_t refused  # a message is refused that does not go on changed


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
    inspection.sink.edit_kind = EDIT_NONE
    inspection.sink.edit_at = 0
    reason = read(inspection.inspector, message, count, length, from_opener, dialog, inspection.sink)
    return reason if reason != REASON_NONE else inspection.sink.reason


cdef inline int is_of_policy(uint8_t reason) noexcept nogil:
    """Tell reasons of a message that is well formed and only not permitted."""
    return reason in (
        REASON_MESSAGE_OPERATION, REASON_MESSAGE_CONSTRAINT, REASON_PROCESS_VALUE, REASON_PROCESS_STEP,
        REASON_PROCESS_RATE,
    )


cdef inline int goes_on_changed(
    const inspection_t *inspection, stream_t *stream, uint8_t reason, uint32_t message, int way
) noexcept nogil:
    """Have a refused request go on as one that its device refuses; False where that can't be."""
    cdef const sink_t *sink = inspection.sink
    if not inspection.answers or sink.edit_kind != EDIT_OFFERED or not is_of_policy(reason):
        return 0
    if not remember_edit(&stream.ways[way], message + sink.edit_at, sink.edit_to):
        return 0
    note_changed(inspection.inspector, <dialog_t *>stream.dialog)
    inspection.revoke(inspection.sink)
    return 1


cdef inline uint8_t mend(
    const inspection_t *inspection, stream_t *stream, uint32_t message, int way
) noexcept nogil:
    """Have the answer to a changed request go on as its client expects it; refuse it only until that can be."""
    cdef const sink_t *sink = inspection.sink
    cdef uint32_t place = message + sink.edit_at
    if sink.edit_kind != EDIT_NEEDED or distance(place, stream.ways[way].next) < 0:
        return REASON_NONE  # it has passed, with the beginning of its message
    if inspection.changeable and remember_edit(&stream.ways[way], place, sink.edit_to):
        return REASON_NONE
    return REASON_STREAM_BUDGET if inspection.enforced else <uint8_t>REASON_NONE


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
    scan.refused = 0
    while scan.whole < count:
        length = 0
        found = measure(inspection.inspector, bytes + scan.whole, count - scan.whole, finding.way == OPENER, &length)
        if found == REASON_NONE and length > MESSAGE_BYTES:
            found = REASON_MESSAGE_BUDGET
        if found != REASON_NONE:
            scan.broken = 1
            scan.refused = 1
            note_refusal(finding, &reason, found, start + scan.whole, length)
            return reason
        scan.needed = length
        if length == 0 or length > count - scan.whole:
            return reason
        found = ask(inspection, dialog, bytes + scan.whole, length, length, finding.way == OPENER)
        if found == REASON_NONE:
            found = mend(inspection, stream, start + scan.whole, finding.way)
        if found != REASON_NONE:
            note_refusal(finding, &reason, found, start + scan.whole, length)
            if not goes_on_changed(inspection, stream, found, start + scan.whole, finding.way):
                scan.refused = 1
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


cdef inline void save_dialog(streams_t *streams, const stream_t *stream, uint8_t inspector) noexcept nogil:
    """Keep aside what reading changes, for a segment that may be dropped for what is read in it."""
    streams.saved_bytes = remembered_bytes(inspector, <const dialog_t *>stream.dialog)
    memcpy(&streams.saved, stream.dialog, streams.saved_bytes)


cdef inline void restore_dialog(const streams_t *streams, stream_t *stream) noexcept nogil:
    memcpy(stream.dialog, &streams.saved, streams.saved_bytes)


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
    cdef uint8_t edits = way.edit_count
    cdef int changed
    if not fresh:
        return REASON_NONE
    top = way.ahead_end if way.flags & WAY_HOLE and distance(way.ahead_end, end) > 0 else end
    reason = make_room(streams, stream, segment.way, top - way.base)
    if reason != REASON_NONE:
        return reason
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
        save_dialog(streams, stream, inspection.inspector)
    reason = read_messages(inspection, stream, bytes, there, way.message, finding, &scan)
    there -= scan.whole
    if scan.needed and not (scan.refused and inspection.enforced) and is_worth_reading(there, way.tried):
        found = ask(
            inspection, <dialog_t *>stream.dialog, bytes + scan.whole, there, scan.needed, segment.way == OPENER
        )
        if found == REASON_NONE:
            found = mend(inspection, stream, way.message + scan.whole, segment.way)
        if found != REASON_NONE:
            scan.refused = 1
            note_refusal(finding, &reason, found, way.message + scan.whole, scan.needed)
    changed = inspection.enforced and reason != REASON_NONE and not scan.refused
    found = inspection.settle(inspection.sink, <uint8_t>REASON_NONE if changed else reason, inspection.enforced)
    if not changed:
        reason = found
    elif found == REASON_NONE:
        finding.refusal = REFUSAL_REWRITE
    if inspection.enforced and reason != REASON_NONE and finding.refusal != REFUSAL_REWRITE:
        way.edit_count = edits
        restore_dialog(streams, stream)
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
