# cython: language_level=3
"""What a Modbus request asks for, function by function.

In: a PDU of the opener, and an access that already has unit, function and transaction. Out: puts, and the reason why
the request contradicts its clause of MODBUS Application Protocol Specification V1.1b3. Functions that no clause
describes are put as OTHER with nothing else.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport OPERATION_NONE, OPERATION_READ, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport access_t, set_field, sink_t
from fastpath.inspect.modbus_functions cimport *
from fastpath.inspect.modbus_pdu cimport *


cdef inline uint8_t request_span(const pdu_t *pdu, access_t *access, uint32_t most) noexcept nogil:
    """6.1 to 6.4: what is read."""
    cdef uint8_t reason = fill_span(pdu, access, 1, most)
    return reason if pdu.length == 5 else REASON_MESSAGE_MALFORMED


cdef inline uint8_t request_values(
    const pdu_t *pdu, access_t *access, uint32_t at, uint32_t most, int bits
) noexcept nogil:
    """6.11, 6.12 and the writing half of 6.17: address and count at `at`, the byte count, the values."""
    cdef uint8_t reason = fill_span(pdu, access, at, most)
    cdef uint32_t count
    cdef uint32_t size
    if reason != REASON_NONE or pdu.length < at + 6:
        return REASON_MESSAGE_MALFORMED
    if pdu.count < at + 4:
        return REASON_NONE
    count = be16(pdu.bytes + at + 2)
    size = value_bytes_of(count, bits)
    if pdu.length != at + 5 + size:
        return REASON_MESSAGE_MALFORMED
    if pdu.count > at + 4 and pdu.bytes[at + 4] != size:
        return REASON_MESSAGE_MALFORMED
    if pdu.count == pdu.length:
        if bits:
            fill_bits(pdu, access, at + 5, count)
        else:
            fill_words(pdu, access, at + 5, count)
    return REASON_NONE


cdef inline uint8_t request_diagnostic(const pdu_t *pdu, access_t *access) noexcept nogil:
    """6.8.1: a sub-function and its data, which the clause fixes for all but the echo and the reserved ones."""
    cdef uint8_t reason = fill_subfunction(pdu, access, 2)
    cdef uint32_t subfunction
    cdef uint32_t word
    if reason != REASON_NONE or pdu.count < 3:
        return reason
    subfunction = be16(pdu.bytes + 1)
    access.operation = operation_of(DIAGNOSTICS, subfunction)
    if subfunction == RETURN_QUERY_DATA:
        return unless(pdu.length >= 5 and pdu.length & 1)
    if diagnostic_operation(subfunction) == OPERATION_OTHER:
        return REASON_NONE
    if pdu.length != 5:
        return REASON_MESSAGE_MALFORMED
    if pdu.count < 5:
        return REASON_NONE
    word = be16(pdu.bytes + 3)
    if subfunction == RESTART_COMMUNICATIONS:
        return unless(word == 0 or word == COIL_ON)  # the same two words: clear the log, or not
    if subfunction == CHANGE_ASCII_DELIMITER:
        return unless(word & 0xFF == 0)
    return unless(word == 0)


cdef inline uint8_t request_tunnel(const pdu_t *pdu, access_t *access) noexcept nogil:
    """6.19 to 6.21: what an encapsulated interface carries."""
    cdef uint8_t reason = fill_subfunction(pdu, access, 1)
    if reason != REASON_NONE or pdu.count < 2:
        return reason
    access.operation = operation_of(ENCAPSULATED_INTERFACE, pdu.bytes[1])
    if pdu.bytes[1] != MEI_DEVICE_IDENTIFICATION:
        return REASON_NONE
    if pdu.length != 4:
        return REASON_MESSAGE_MALFORMED
    return unless(pdu.count < 3 or 1 <= pdu.bytes[2] <= 4)  # basic, regular, extended, individual


cdef inline uint8_t request_files(const pdu_t *pdu, access_t *access, sink_t *sink, int writing) noexcept nogil:
    """6.14, 6.15: groups of records, each put on its own. What is read must fit one answer."""
    cdef uint32_t at = 2
    cdef uint32_t bytes = 0
    cdef uint32_t answered = 0
    cdef uint32_t most = 0xFB if writing else 0xF5
    cdef uint8_t reason = unless(<uint32_t>(2 + FILE_GROUP_BYTES + 2 * writing) <= pdu.length <= 2 + most)
    if pdu.count >= 2 and 2 + <uint32_t>pdu.bytes[1] != pdu.length:
        reason = REASON_MESSAGE_MALFORMED
    if reason == REASON_NONE:
        reason = fill_group(pdu, access, at, writing, &bytes)
    sink.put(sink, access)
    access.further = 1
    while reason == REASON_NONE and bytes:
        answered += 2 + 2 * <uint32_t>access.low[COUNT]
        if not writing and answered > most:
            return REASON_MESSAGE_MALFORMED
        at += bytes
        bytes = 0
        if at < pdu.length:
            reason = fill_group(pdu, access, at, writing, &bytes)
        if bytes:
            sink.put(sink, access)
    return reason


cdef inline uint8_t request_exchange(const pdu_t *pdu, access_t *access, sink_t *sink) noexcept nogil:
    """6.17: the message is the write, what it reads besides is put after it."""
    cdef access_t reading = access[0]
    cdef uint8_t written = request_values(pdu, access, 5, MOST_WORDS_EXCHANGED, 0)
    cdef uint8_t asked = fill_span(pdu, &reading, 1, MOST_WORDS_READ)
    reading.operation = OPERATION_READ
    reading.further = 1
    sink.put(sink, access)
    sink.put(sink, &reading)
    return written if written != REASON_NONE else asked


cdef inline uint8_t fill_request(const pdu_t *pdu, access_t *access, uint8_t function) noexcept nogil:
    """Set what a request says that asks for one thing only."""
    if function == READ_COILS or function == READ_DISCRETE_INPUTS:
        return request_span(pdu, access, MOST_BITS_READ)
    if function == READ_HOLDING_REGISTERS or function == READ_INPUT_REGISTERS:
        return request_span(pdu, access, MOST_WORDS_READ)
    if function == WRITE_SINGLE_COIL or function == WRITE_SINGLE_REGISTER:
        return fill_single(pdu, access, function == WRITE_SINGLE_COIL)
    if function == WRITE_MULTIPLE_COILS:
        return request_values(pdu, access, 1, MOST_BITS_WRITTEN, 1)
    if function == WRITE_MULTIPLE_REGISTERS:
        return request_values(pdu, access, 1, MOST_WORDS_WRITTEN, 0)
    if function == MASK_WRITE_REGISTER:
        return fill_mask(pdu, access)
    if function == DIAGNOSTICS:
        return request_diagnostic(pdu, access)
    if function == ENCAPSULATED_INTERFACE:
        return request_tunnel(pdu, access)
    if function == READ_FIFO_QUEUE:  # 6.18
        if pdu.count >= 3:
            set_field(access, ADDRESS, be16(pdu.bytes + 1))
        return unless(pdu.length == 3)
    if function in (READ_EXCEPTION_STATUS, GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        return unless(pdu.length == 1)
    # SPEC: clause 4.1: function 0 is not valid, and 128 to 255 are exception responses.
    return unless(0 < pdu.bytes[0] < EXCEPTION)


cdef inline uint8_t put_request(const pdu_t *pdu, access_t *access, sink_t *sink) noexcept nogil:
    """Put a request whose function is here; return why it is malformed."""
    cdef uint8_t function = pdu.bytes[0]
    cdef uint8_t reason
    if has_subfunction(function) and access.partial:
        access.operation = OPERATION_NONE  # not known before the sub-function is here
    else:
        access.operation = operation_of(function, NO_SUBFUNCTION)
    if function == READ_FILE_RECORD or function == WRITE_FILE_RECORD:
        return request_files(pdu, access, sink, function == WRITE_FILE_RECORD)
    if function == READ_WRITE_MULTIPLE_REGISTERS:
        return request_exchange(pdu, access, sink)
    reason = fill_request(pdu, access, function)
    sink.put(sink, access)
    return reason
