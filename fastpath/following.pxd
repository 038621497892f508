# cython: language_level=3
"""A segment of a known conversation: whether it may pass, and what is remembered of one that does.

In: a segment that is neither SYN nor malformed, the stream that it belongs to, and how its conduit wants it. Out: a
reason. What is dropped leaves no trace but the mark that the conversation is refused. Called by `inspecting`.
"""

from libc.stdint cimport uint8_t

from fastpath.abi cimport (
    FAIL_CLOSED,
    REASON_MESSAGE_PROTOCOL,
    REASON_NONE,
    REASON_STREAM_AHEAD,
    REASON_STREAM_BUDGET,
    REASON_STREAM_CONFLICT,
    REASON_STREAM_PICKUP,
    REASON_STREAM_REFUSED,
    REASON_STREAM_SEQUENCE,
    REASON_STREAM_SHARE,
    REASON_STREAM_URGENT,
    STREAM_LOOSE,
    STREAM_SHUT,
    WAY_LOST,
    stream_t,
)
from fastpath.finding cimport REFUSAL_REWRITE, finding_t
from fastpath.frame cimport TCP_ACK, TCP_FIN, TCP_RST
from fastpath.reading cimport inspect_data, inspection_t
from fastpath.stream cimport (
    check_numbers,
    check_overlap,
    check_place,
    distance,
    end_of,
    note_acknowledgement,
    note_ahead,
    note_end,
    note_taken_up,
    segment_t,
    unnote_taken_up,
    within_reach,
)
from fastpath.stream_begin cimport pick_up
from fastpath.stream_edits cimport forget_edits, needs_edits, note_edits
from fastpath.stream_memory cimport streams_t
from fastpath.stream_windows cimport jump, skip_ahead


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

    Its sender may lie about that: then its receiver waits for bytes that `check_overlap` never lets through. How far is
    counted from what the receiver has said: lie by lie the numbers would come round to the place where it waits.
    """
    if not inspection.enforced or inspection.fail == FAIL_CLOSED or not is_behind(stream, segment):
        return 0
    return within_reach(distance(segment.sequence, stream.ways[segment.way].acked))


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
        elif reason == REASON_STREAM_BUDGET or reason == REASON_STREAM_SHARE:
            stream.flags |= STREAM_LOOSE
            jump(streams, &stream.ways[segment.way], segment.end)
            note_taken_up(stream)
    if inspection.changeable:
        note_edits(&stream.ways[segment.way], segment, finding)
    note_end(stream, segment)
    note_acknowledgement(streams, stream, segment, inspection.fail)
    forget_edits(&stream.ways[1 - segment.way])
    return reason
