# cython: language_level=3
"""Modbus/TCP: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, clause 3.1.3 (MBAP header).

In and out: see `interface`. Seven bytes before the PDU: transaction, protocol (0), length of what follows, unit.
A protocol identifier that is not 0 is something else on Modbus's port: TLS, HTTP and DCE/RPC all have one.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport (
    PROTOCOL_MODBUS, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_PROTOCOL, REASON_NONE,
)
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport (
    EDIT_OFFERED, access_t, begin_access, dialog_t, offer_edit, set_field, sink_t,
)
from fastpath.inspect.modbus_answer cimport put_answer
from fastpath.inspect.modbus_dialog cimport FUNCTION_PLACE, asked_t, remember, waiting_of, waiting_t
from fastpath.inspect.modbus_functions cimport *
from fastpath.inspect.modbus_pdu cimport *
from fastpath.inspect.modbus_request cimport put_request

cdef enum:
    MBAP_BYTES = 7
    LEAST_LENGTH = 2  # unit and function
    MOST_LENGTH = 1 + LONGEST_PDU
    # UMAS alone is longer: controllers offer 1021 bytes of PDU when a connection is made (observed, published nowhere).
    MOST_UMAS_LENGTH = 1024
    NO_FUNCTION = 0  # SPEC: application protocol clause 4.1: not valid; clause 7: answered with exception 01


cdef inline uint8_t measure_modbus(
    const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the message at `bytes` is."""
    cdef uint32_t following
    length[0] = 0
    if (count > 2 and bytes[2]) or (count > 3 and bytes[3]):
        return REASON_MESSAGE_PROTOCOL
    if count > 4 and bytes[4] > MOST_UMAS_LENGTH >> 8:
        return REASON_MESSAGE_MALFORMED
    if count < 6:
        return REASON_NONE
    following = be16(bytes + 4)
    if not LEAST_LENGTH <= following <= MOST_UMAS_LENGTH:
        return REASON_MESSAGE_MALFORMED
    if following > MOST_LENGTH:  # clause 4.1 of the application protocol allows 254
        if count <= FUNCTION_PLACE:
            return REASON_NONE
        if bytes[FUNCTION_PLACE] != UMAS:
            return REASON_MESSAGE_MALFORMED
    length[0] = 6 + following
    return REASON_NONE


cdef inline void note_request(
    const pdu_t *pdu, uint16_t transaction, uint8_t unit, uint8_t reason, dialog_t *dialog
) noexcept nogil:
    """Remember a whole request for its answer."""
    cdef asked_t asked
    asked.transaction = transaction
    asked.unit = unit
    asked.function = pdu.bytes[0]
    asked.subfunction = 0
    asked.address = 0
    asked.count = 0
    asked.changed = 0
    asked.length = <uint8_t>(pdu.length if pdu.length < 255 else 255) if reason == REASON_NONE else 0
    if has_subfunction(asked.function):
        if pdu.count >= 3:
            asked.subfunction = be16(pdu.bytes + 1) if asked.function == DIAGNOSTICS else pdu.bytes[1]
    elif pdu.count >= 5:
        asked.address = be16(pdu.bytes + 1)
        asked.count = be16(pdu.bytes + 3)
    elif pdu.count >= 3:
        asked.address = be16(pdu.bytes + 1)
    remember(waiting_of(dialog), &asked)


cdef inline uint8_t read_pdu(
    const pdu_t *pdu, access_t *access, int from_opener, uint16_t transaction, uint8_t unit, dialog_t *dialog,
    sink_t *sink
) noexcept nogil:
    """Read what lies within Modbus/TCP or an RTU frame; at least the function is here."""
    cdef uint8_t reason
    set_field(access, UNIT, unit)
    set_field(access, FUNCTION, pdu.bytes[0] & ~EXCEPTION)
    if not from_opener:
        return put_answer(pdu, access, sink, dialog, transaction, unit)
    reason = put_request(pdu, access, sink)
    if pdu.count == pdu.length:
        note_request(pdu, transaction, unit, reason, dialog)
    return reason


cdef inline uint8_t read_modbus(
    const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Say what a message means."""
    cdef uint32_t measured = 0
    cdef uint8_t reason = measure_modbus(message, count, from_opener, &measured)
    cdef access_t access
    cdef pdu_t pdu
    if reason != REASON_NONE:
        return reason
    if measured != length:  # never after `measure`: a message shorter than its own header
        return REASON_NONE if measured == 0 and count < length else REASON_MESSAGE_MALFORMED
    if count <= MBAP_BYTES:
        return REASON_NONE if count < length else REASON_MESSAGE_MALFORMED
    begin_access(&access, PROTOCOL_MODBUS, count < length)
    set_field(&access, TRANSACTION, be16(message))
    pdu.bytes = message + MBAP_BYTES
    pdu.count = count - MBAP_BYTES
    pdu.length = length - MBAP_BYTES
    reason = read_pdu(&pdu, &access, from_opener, be16(message), message[6], dialog, sink)
    # A device that knows no longer messages than the specification's might look for the next one within.
    if from_opener and count == length and reason == REASON_NONE and length <= 6 + MOST_LENGTH:
        offer_edit(sink, EDIT_OFFERED, FUNCTION_PLACE, NO_FUNCTION)
    return reason


cdef inline void note_changed_modbus(dialog_t *dialog) noexcept nogil:
    """Remember that the device got the request read last without its function."""
    cdef waiting_t *waiting = waiting_of(dialog)
    if waiting.count:
        waiting.asked[waiting.count - 1].changed = 1
