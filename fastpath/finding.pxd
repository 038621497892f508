# cython: language_level=3
"""What inspection found in one frame, for the event, the message log, and those who tell its ends.

Filled by inspection, read by events, refuse and rewrite before the next frame is decided.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport ACCESS_FIELDS, message_t, stream_t
from fastpath.inspect.interface cimport access_t

cdef enum:
    FRAME_MESSAGES = 16  # messages of one frame that are noted; a frame with more of them has the rest counted
    FRAME_EDITS = 4  # bytes of one frame that are changed

# How the ends learn that a conversation was refused, where it was.
cdef enum:
    REFUSAL_NONE = 0
    REFUSAL_RESET = 1  # both get a reset
    REFUSAL_REWRITE = 2  # the frame goes on, changed: its device refuses what is left of the message

cdef struct edit_t:
    uint32_t at  # in the transport's payload
    uint8_t to

# Owner: the judging thread, one for all its frames. Only read where `decision.inspected` is set.
cdef struct finding_t:
    uint8_t refusal
    uint8_t edit_count  # also of frames that pass: an answer is mended
    uint8_t refused  # index of the message that is refused
    uint8_t count  # of messages noted
    uint32_t unnoted  # messages beyond
    # of a refusal
    stream_t *stream  # SAFETY: into the streams segment; NULL when there is none
    uint32_t sequence  # what the receiver expects next of the segment's sender, as far as it is known
    uint32_t message  # TCP: sequence number of the refused message's first byte; UDP: its place in the datagram
    uint32_t message_bytes  # its length, 0 when it is not known
    uint8_t way  # OPENER or RESPONDER: who sent it
    edit_t edits[FRAME_EDITS]
    message_t messages[FRAME_MESSAGES]


cdef inline void begin_finding(finding_t *finding) noexcept nogil:
    """Empty a finding before its frame is inspected."""
    finding.refusal = REFUSAL_NONE
    finding.stream = NULL
    finding.edit_count = 0
    finding.refused = FRAME_MESSAGES
    finding.count = 0
    finding.unnoted = 0


cdef inline int note_edit(finding_t *finding, uint32_t at, uint8_t to) noexcept nogil:
    """Have one byte of the frame changed; False when there is no room for another."""
    if finding.edit_count == FRAME_EDITS:
        return 0
    finding.edits[finding.edit_count].at = at
    finding.edits[finding.edit_count].to = to
    finding.edit_count += 1
    return 1


cdef inline void note_message(finding_t *finding, const access_t *access, uint16_t index) noexcept nogil:
    """Note a message, or count it where there is no room; `index` is its place in the frame."""
    cdef message_t *message = &finding.messages[finding.count]
    cdef uint32_t wide = 0
    cdef int field
    if finding.count == FRAME_MESSAGES:
        finding.unnoted += 1
        return
    message.protocol = access.protocol
    message.operation = access.operation
    message.answer = access.answer
    message.depth = access.depth
    message.index = index
    message.present = access.present
    message.wide[0] = ACCESS_FIELDS
    message.wide[1] = ACCESS_FIELDS
    for field in range(ACCESS_FIELDS):
        message.low[field] = 0
        if not access.present >> field & 1:
            continue
        message.low[field] = access.low[field]
        if access.low[field] != access.high[field] and wide < 2:
            message.wide[wide] = <uint8_t>field
            message.high[wide] = access.high[field]
            wide += 1
    finding.count += 1
