# cython: language_level=3
"""Requests of a Modbus conversation that wait for their answer, oldest first.

In: whole requests, and the identity of an answer. Out: the request that it answers. A request that is never answered
(a serial device behind a gateway that is switched off) stays until it is the oldest of too many. Must fit dialog_t.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memmove

from fastpath.inspect.interface cimport DIALOG_TAKEN_UP, dialog_t

cdef enum:
    # SPEC: Messaging on TCP/IP V1.0b, NumberMaxOfServerTransaction: a server takes 1 to 16 at a time. Twice that, since
    # a client that gives up on some does not take their identifiers back.
    MOST_ASKED = 32
    LOST_WORDS = 8
    FUNCTION_PLACE = 7  # in a Modbus/TCP message; nothing is changed in RTU frames, whose CRC covers it

# Owner: the conversation's dialog_t. Native byte order, 12 bytes.
cdef struct asked_t:
    uint16_t transaction  # 0 in RTU, which has none: answers come in the order of their requests
    uint8_t unit
    uint8_t function
    uint16_t subfunction
    uint16_t address
    uint16_t count  # of what is read or written; functions 5, 6 and 22: the first word after the address
    # Bytes of the request's PDU, 255 for more; 0: it contradicts itself, and nothing is known of its answer.
    uint8_t length
    uint8_t changed  # 1: its device got it with function 0, which no device carries out

# Owner: see above; zero at a conversation's beginning. 456 of 504 bytes.
cdef struct waiting_t:
    uint32_t count
    uint32_t strays  # answers let through because their requests may be among those that we did not see
    uint64_t lost[LOST_WORDS]  # bit by what an answer names: a request that waited was forgotten, it may come yet
    asked_t asked[MOST_ASKED]


cdef inline waiting_t *waiting_of(dialog_t *dialog) noexcept nogil:
    """Return the requests that wait."""
    cdef waiting_t *waiting = <waiting_t *>dialog
    if waiting.count > MOST_ASKED:  # SAFETY: whatever another inspector left there is no index
        waiting.count = 0
    return waiting


cdef inline uint32_t waiting_bytes(const dialog_t *dialog) noexcept nogil:
    """Return how much of the memory says something: that many bytes put back undo whatever was read since."""
    cdef const waiting_t *waiting = <const waiting_t *>dialog
    if waiting.count > MOST_ASKED:
        return sizeof(waiting_t)
    return <uint32_t>(sizeof(waiting_t) - (MOST_ASKED - waiting.count) * sizeof(asked_t))


cdef inline int may_stray(const dialog_t *dialog, const waiting_t *waiting) noexcept nogil:
    """Tell whether an answer may belong to a request that we did not see: so many each time, and no more."""
    return waiting.strays < MOST_ASKED * dialog.words[DIALOG_TAKEN_UP]


cdef inline void forget(waiting_t *waiting, uint32_t index) noexcept nogil:
    """Take a request out; those behind it move up."""
    waiting.count -= 1
    memmove(&waiting.asked[index], &waiting.asked[index + 1], (waiting.count - index) * sizeof(asked_t))


cdef inline uint32_t lost_place(uint16_t transaction, uint8_t unit, uint8_t function) noexcept nogil:
    """Return which bit stands for what an answer names: transactions in a row have bits in a row."""
    return (transaction + 67u * unit + 5u * function) % (64u * LOST_WORDS)


cdef inline int is_told_apart(const waiting_t *waiting, const asked_t *asked) noexcept nogil:
    """Tell whether no answer to a request that was forgotten can pass for one to this request."""
    cdef uint32_t place = lost_place(asked.transaction, asked.unit, asked.function)
    return not waiting.lost[place >> 6] >> (place & 63) & 1


cdef inline void remember(waiting_t *waiting, const asked_t *asked) noexcept nogil:
    """Append a request; the oldest is forgotten when there are too many."""
    cdef uint32_t place
    if waiting.count == MOST_ASKED:
        place = lost_place(waiting.asked[0].transaction, waiting.asked[0].unit, waiting.asked[0].function)
        waiting.lost[place >> 6] |= <uint64_t>1 << (place & 63)
        forget(waiting, 0)
    waiting.asked[waiting.count] = asked[0]
    waiting.count += 1


cdef inline int is_asked(const asked_t *asked, uint16_t transaction, uint8_t unit, uint8_t function) noexcept nogil:
    """Tell whether an answer names a request. Function 0: an exception, by a device that could not read it."""
    if asked.transaction != transaction or asked.unit != unit:
        return 0
    return function == 0 or (asked.function == function and not asked.changed)
