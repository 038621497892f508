# cython: language_level=3
"""The CIP message that SendRRData or SendUnitData carries: whose it is, what it answers, and how it is refused.

In: the data of an item. Out: what `cip` puts; in the dialog, the request or that it was answered; in the sink, which
byte makes the device refuse a request itself (its service becomes SERVICE_RESERVED) and which one makes the answer to
that the answer to what was asked. Never a change of what is embedded: the outermost service is what a device looks at.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from fastpath.abi cimport REASON_MESSAGE_ANSWER, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_OPAQUE, REASON_NONE
from fastpath.inspect.cip cimport read_cip
from fastpath.inspect.cip_access cimport reading_t
from fastpath.inspect.cip_services cimport SERVICE_RESERVED, SERVICE_WRITE_TAG
from fastpath.inspect.enip_memory cimport (
    ANSWER_UNKNOWN,
    REQUEST_CHANGED,
    REQUEST_MANAGER,
    REQUEST_ROUTED,
    find_connection,
    find_request,
    memory_of,
    oldest_request,
    remember_request,
    request_t,
    taken_up,
)
from fastpath.inspect.interface cimport EDIT_NEEDED, EDIT_OFFERED, offer_edit
from fastpath.inspect.part cimport after, le16, part_t

cdef enum:
    ANSWER_BIT = 0x80  # of a service
    # General statuses of what was carried out, in whole or in part
    STATUS_SUCCESS = 0x00
    STATUS_PARTIAL = 0x06
    STATUS_EMBEDDED_ERROR = 0x1E


cdef inline uint8_t _connection_key(
    reading_t *reading, int from_opener, uint32_t sequence, uint32_t *key
) noexcept nogil:
    """Find the connection that a message came by; what others carry, that were not opened here, nobody can say."""
    cdef int place = find_connection(reading.dialog, reading.connection, from_opener)
    if place < 0 and not from_opener:  # some targets (cpppo) answer under the number that they were asked by
        place = find_connection(reading.dialog, reading.connection, 1)
    key[0] = <uint32_t>(place + 1) << 16 | sequence
    if place < 0 and not taken_up(reading.dialog):
        return REASON_MESSAGE_OPAQUE
    return REASON_NONE


cdef inline uint8_t note_answer(reading_t *reading, uint8_t command, uint32_t key, int service) noexcept nogil:
    """Find what an answer answers; keep in `reading` what is known of it."""
    cdef request_t found
    if find_request(reading.dialog, key, command, service, &found) == ANSWER_UNKNOWN:
        return REASON_MESSAGE_ANSWER
    reading.answered = found.operation
    reading.asked_manager = (found.flags & REQUEST_MANAGER) != 0
    reading.changed = (found.flags & REQUEST_CHANGED) != 0
    reading.asked = found.service
    return REASON_NONE


cdef inline void _mend_answer(
    const reading_t *reading, uint8_t command, uint32_t key, uint32_t place
) noexcept nogil:
    """Ask for the service that the client expects, in an answer to a changed request, as soon as its own is here."""
    cdef const request_t *request = oldest_request(memory_of(reading.dialog), key, command, SERVICE_RESERVED)
    if request != NULL and request.flags & REQUEST_CHANGED:
        offer_edit(reading.sink, EDIT_NEEDED, place, request.service | ANSWER_BIT)


cdef inline void _take_once(part_t *data) noexcept nogil:
    """Leave one of a connected tag write that its sender put twice, its sequence count between the two.

    pycomm3 1.2.16 does for a single tag. A device counts elements and does not look behind them (Logix 5000 Data
    Access, Write Tag Service); there it would find the request that it has. Any other surplus is refused. A fragment
    put twice is more to write: how much it writes says nothing but where the message ends.
    """
    cdef uint32_t once = (data.whole - 2) // 2
    if data.here < data.whole or data.whole < 4 or data.whole & 1:
        return
    if data.at[0] != SERVICE_WRITE_TAG:
        return
    if memcmp(data.at - 2, data.at + once, 2 + once) == 0:
        data.whole = once
        data.here = once


cdef inline uint8_t read_carried(
    reading_t *reading, uint8_t command, uint32_t key, part_t *data, int from_opener, const uint8_t *message
) noexcept nogil:
    """Read the CIP message that an item carries, and note what it asks or answers; `message`: all around it."""
    cdef uint8_t reason = REASON_NONE
    cdef uint8_t found
    cdef uint32_t place
    cdef int response
    if reading.connected:
        if data.whole < 2:
            return REASON_MESSAGE_MALFORMED
        if data.here < 2:
            return REASON_NONE
        reason = _connection_key(reading, from_opener, le16(data.at), &key)
        data[0] = after(data, 2)
        _take_once(data)
    place = <uint32_t>(data.at - message)
    response = data.here and data.at[0] >= ANSWER_BIT
    if data.here and response == from_opener:  # requests come from the opener, answers from the responder
        reason = REASON_MESSAGE_ANSWER
    if response and reason == REASON_NONE:
        if data.at[0] == SERVICE_RESERVED | ANSWER_BIT:
            _mend_answer(reading, command, key, place)
        if not reading.partial:
            reason = note_answer(reading, command, key, data.at[0] & 0x7F)
    found = read_cip(reading, data, 0)
    if found != REASON_NONE:
        return found
    if reading.changed and data.at[2] in (STATUS_SUCCESS, STATUS_PARTIAL, STATUS_EMBEDDED_ERROR):
        return REASON_MESSAGE_ANSWER  # no device can carry out what it never got; its client must not believe it
    if not response and not reading.partial and reason == REASON_NONE:
        remember_request(
            memory_of(reading.dialog), key, command, reading.asked, reading.asked_operation,
            (REQUEST_ROUTED if reading.routed else 0) | (REQUEST_MANAGER if reading.asked_manager else 0),
        )
        if data.at[0] != SERVICE_RESERVED:
            offer_edit(reading.sink, EDIT_OFFERED, place, SERVICE_RESERVED)
    return reason
