# cython: language_level=3
"""A frame changed in place, byte for byte: a forbidden message made into one that its device refuses, an answer mended.

In: a frame in the receive buffer and the edits that inspection asks for. Out: the bytes to hand back with the verdict.
Lengths, sequence numbers and addresses stay as they are; the transport's checksum is made anew, for the kernel may have
left it for the network card to fill in. Never touches a frame that was cut, or that the kernel cuts into several.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.answer cimport checksum, pseudo_header, put_be16, sum_words
from fastpath.batch cimport BATCH_REWRITES, REWRITTEN_BYTES
from fastpath.cursor cimport be16
from fastpath.decision cimport decision_t
from fastpath.finding cimport finding_t
from fastpath.frame cimport PROTOCOL_TCP, TAG_BYTES, frame_t
from fastpath.verdicts cimport change_last, verdicts_t

cdef enum:
    TCP_CHECKSUM = 16  # where it stands in the header; SPEC: RFC 9293 section 3.1
    UDP_CHECKSUM = 6


cdef inline int can_rewrite(const frame_t *frame, uint32_t so_far) noexcept nogil:
    """Tell whether a frame may be changed; `so_far` of its batch were."""
    if so_far >= BATCH_REWRITES or frame.joined or frame.captured < frame.length:
        return 0
    return frame.captured + TAG_BYTES <= REWRITTEN_BYTES


cdef inline void seal(const frame_t *frame, uint8_t *transport, uint32_t count) noexcept nogil:
    """Write the transport's checksum anew."""
    cdef uint8_t *place = transport + (TCP_CHECKSUM if frame.protocol == PROTOCOL_TCP else UDP_CHECKSUM)
    cdef uint32_t words
    if frame.protocol != PROTOCOL_TCP and frame.version == 4 and be16(place) == 0:
        return  # SPEC: RFC 768: the sender made none
    put_be16(place, 0)
    words = checksum(sum_words(transport, count, pseudo_header(frame.data, frame.protocol, count)))
    if words == 0 and frame.protocol != PROTOCOL_TCP:
        words = 0xFFFF
    put_be16(place, words)


cdef inline void apply_edits(const frame_t *frame, const finding_t *finding) noexcept nogil:
    """Change the bytes. SAFETY: they lie in the worker's own receive buffer, const only to all who read it."""
    cdef uint8_t *payload = <uint8_t *>frame.payload.at
    cdef uint8_t at
    for at in range(finding.edit_count):
        if finding.edits[at].at < frame.payload.left:
            payload[finding.edits[at].at] = finding.edits[at].to
    seal(frame, <uint8_t *>frame.transport, <uint32_t>(frame.payload.at - frame.transport) + frame.payload.left)


cdef inline void rewrite(verdicts_t *verdicts, const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Let the frame whose verdict was added last go on with its edits."""
    cdef uint32_t in_front = TAG_BYTES if frame.unwrapped else 0
    apply_edits(frame, decision.finding)
    change_last(verdicts, frame.data - in_front, frame.captured + in_front)
