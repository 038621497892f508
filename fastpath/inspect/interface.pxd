# cython: language_level=3
"""What every protocol module beside this file has in common: two functions and what they say of a message.

A protocol module has, both `noexcept nogil`, called by `inspectors` and by nobody else:

    uint8_t measure_NAME(const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length)
    uint8_t read_NAME(const uint8_t *message, uint32_t count, uint32_t length, int from_opener,
                      dialog_t *dialog, sink_t *sink)

`measure` says how long the message is that begins at `bytes`. It sets `length` to 0 while too little is there to tell,
and returns a drop reason as soon as what is there cannot begin a message of its protocol; NONE otherwise.
`read` says what the message means: one `put` for the message itself and one for each thing it asks for beyond the
first, or for each message embedded in it, in their order; it returns NONE, or the drop reason when the message
contradicts itself. Usually `count` equals `length`. When it is less, the rest has not arrived: then `read` puts what
is certain already, with `partial` set, so that what is forbidden whatever follows is refused at once, and must change
nothing in `dialog`.
A module whose devices can be made to refuse a request themselves says in `sink.edit_kind` which byte of it would have
to be changed, of a whole message and only as long as nothing is said about another one: what is read next may be the
answer to the changed request, whose byte it then asks to be mended. See `inspectors.note_changed`.
A module never allocates, raises, trusts a length or reads beyond `count`. It may keep in `dialog` what it must remember
of the conversation: zero at its beginning, the same for both directions, for as long as the conversation lasts. The
last word of it belongs to the stream layer, which counts in it how often it took the conversation up behind something
that it did not see: each time answers may come to requests that the module never saw.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport ACCESS_FIELDS, OPERATION_NONE, REASON_NONE

cdef enum:
    MESSAGE_BYTES = 65536  # the longest message that is followed: every protocol here has 16-bit lengths
    DIALOG_WORDS = 64
    DIALOG_TAKEN_UP = DIALOG_WORDS - 1  # the stream layer's word: how often a part of the conversation was not seen

# Owner: a conversation's memory in the streams segment. Every module casts it to a struct of its own, no larger.
cdef struct dialog_t:
    uint64_t words[DIALOG_WORDS]

# One thing that a message asks for, or answers. Borrowed: valid during `put` only.
cdef struct access_t:
    uint8_t protocol  # abi.Protocol
    uint8_t operation  # abi.Operation; of an answer: what it answers, NONE where that is unknown
    uint8_t answer  # 1: it answers
    uint8_t depth  # 0: the message itself; embedded ones count up
    uint8_t further  # 1: one more thing that the message put last asks for, no message of its own
    uint8_t partial  # 1: the message is not complete; fields that are not `present` may come yet
    uint16_t present  # bit i: low[i] and high[i] are set, from the message's own bytes
    uint16_t recalled  # bit i: they are set from the request that this answers; never also `present`
    uint64_t low[ACCESS_FIELDS]  # by abi.FIELD_NAMES; a single number has low == high
    uint64_t high[ACCESS_FIELDS]
    const uint8_t *values  # written, or read by an answer, in wire order; NULL when nothing is, or not all is here
    uint32_t value_count
    uint8_t value_bytes  # of each value; 0: bits, first one lowest in its byte

# What a module says of one byte of the message that it reads.
cdef enum:
    EDIT_NONE = 0
    EDIT_OFFERED = 1  # a request: changed so, no device carries it out, and every device answers it with an exception
    EDIT_NEEDED = 2  # an answer to a request that was changed: so its client understands it

# Who is told. `put` returns nothing: the worst of what it found stands in `reason` afterwards.
cdef struct sink_t:
    void (*put)(sink_t *sink, const access_t *access) noexcept nogil
    uint8_t reason  # abi.Reason: NONE, or why the message is refused
    uint8_t edit_kind  # emptied before every `read`
    uint8_t edit_to
    uint32_t edit_at  # in the message
    void *context


cdef inline void offer_edit(sink_t *sink, uint8_t kind, uint32_t at, uint8_t to) noexcept nogil:
    sink.edit_kind = kind
    sink.edit_at = at
    sink.edit_to = to


cdef inline void begin_access(access_t *access, uint8_t protocol, int partial) noexcept nogil:
    """Empty an access before its fields are set."""
    access.protocol = protocol
    access.operation = OPERATION_NONE
    access.answer = 0
    access.depth = 0
    access.further = 0
    access.partial = partial
    access.present = 0
    access.recalled = 0
    access.values = NULL
    access.value_count = 0
    access.value_bytes = 0


cdef inline void set_field(access_t *access, int field, uint64_t value) noexcept nogil:
    access.present |= <uint16_t>(1 << field)
    access.low[field] = value
    access.high[field] = value


cdef inline void set_range(access_t *access, int field, uint64_t low, uint64_t high) noexcept nogil:
    access.present |= <uint16_t>(1 << field)
    access.low[field] = low
    access.high[field] = high


cdef inline void recall_field(access_t *access, int field, uint64_t value) noexcept nogil:
    """Set what an answer does not say itself: for the message log, neither for `decode` nor for a judgement."""
    if not access.present >> field & 1:
        access.recalled |= <uint16_t>(1 << field)
        access.low[field] = value
        access.high[field] = value


cdef inline void refuse_message(sink_t *sink, uint8_t reason) noexcept nogil:
    """Note why a message is refused; the first reason found stands."""
    if sink.reason == REASON_NONE:
        sink.reason = reason
