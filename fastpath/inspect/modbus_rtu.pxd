# cython: language_level=3
"""RTU frames in a TCP stream: unit, PDU, CRC; MODBUS over Serial Line Specification V1.02 clause 2.5.1.

In and out: see `interface`. On a serial line silence ends a frame. A TCP stream has none: the length must follow from
function and direction, and the CRC must confirm it. FAIL-CLOSED: a function whose length no clause gives is opaque.
Frames have no transaction: answers come in the order of their requests.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport (
    PROTOCOL_MODBUS, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_OPAQUE, REASON_MESSAGE_PROTOCOL, REASON_NONE,
)
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport access_t, begin_access, dialog_t, sink_t
from fastpath.inspect.modbus cimport read_pdu
from fastpath.inspect.modbus_functions cimport *
from fastpath.inspect.modbus_pdu cimport *

cdef enum:
    LEAST_FRAME = 4  # unit, function, CRC
    MOST_FRAME = 256  # Serial Line V1.02 clause 2.5.1
    OPAQUE = 0xFFFFFFFF  # no length follows from this function


cdef inline uint16_t crc16(const uint8_t *bytes, uint32_t count) noexcept nogil:
    """Return the CRC of Serial Line V1.02 clause 6.2.2: 0 over a frame with its own CRC, low byte first."""
    cdef uint32_t crc = 0xFFFF
    cdef uint32_t index
    cdef int _bit
    for index in range(count):
        crc ^= bytes[index]
        for _bit in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return <uint16_t>crc


cdef inline uint32_t counted(const uint8_t *frame, uint32_t count, uint32_t at) noexcept nogil:
    """Return the length of a frame whose byte count stands at `at`; 0: not here yet."""
    return 0 if count <= at else at + 1 + frame[at] + 2


cdef inline uint32_t request_length(const uint8_t *frame, uint32_t count) noexcept nogil:
    """Return how long a request is: 0 too little to tell, OPAQUE where nothing says it."""
    cdef uint8_t function = frame[1]
    if READ_COILS <= function <= WRITE_SINGLE_REGISTER or function == DIAGNOSTICS:
        return 8  # SPEC: a diagnostic echo may be longer: then its CRC is wrong here, and it is refused
    if function in (READ_EXCEPTION_STATUS, GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        return 4
    if function == WRITE_MULTIPLE_COILS or function == WRITE_MULTIPLE_REGISTERS:
        return counted(frame, count, 6)
    if function == READ_FILE_RECORD or function == WRITE_FILE_RECORD:
        return counted(frame, count, 2)
    if function == MASK_WRITE_REGISTER:
        return 10
    if function == READ_WRITE_MULTIPLE_REGISTERS:
        return counted(frame, count, 10)
    if function == READ_FIFO_QUEUE:
        return 6
    if function == ENCAPSULATED_INTERFACE:
        if count < 3:
            return 0
        return 7 if frame[2] == MEI_DEVICE_IDENTIFICATION else OPAQUE
    return OPAQUE


cdef inline uint32_t identification_length(const uint8_t *frame, uint32_t count) noexcept nogil:
    """Return how long a device's identification is: header, objects, CRC."""
    cdef uint32_t at = 8
    cdef uint32_t _object
    if count < at:
        return 0
    for _object in range(<uint32_t>frame[7]):
        if count < at + 2:
            return 0
        at += 2 + frame[at + 1]
        if at > MOST_FRAME:
            return OPAQUE
    return at + 2


cdef inline uint32_t answer_length(const uint8_t *frame, uint32_t count) noexcept nogil:
    """Return how long an answer is, likewise."""
    cdef uint8_t function = frame[1]
    if function & EXCEPTION or function == READ_EXCEPTION_STATUS:
        return 5
    if READ_COILS <= function <= READ_INPUT_REGISTERS or function in (
        GET_COMM_EVENT_LOG, REPORT_SERVER_ID, READ_FILE_RECORD, WRITE_FILE_RECORD, READ_WRITE_MULTIPLE_REGISTERS
    ):
        return counted(frame, count, 2)
    if function in (
        WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS, DIAGNOSTICS,
        GET_COMM_EVENT_COUNTER
    ):
        return 8
    if function == MASK_WRITE_REGISTER:
        return 10
    if function == READ_FIFO_QUEUE:
        return 0 if count < 4 else 6 + be16(frame + 2)
    if function == ENCAPSULATED_INTERFACE:
        if count < 3:
            return 0
        return identification_length(frame, count) if frame[2] == MEI_DEVICE_IDENTIFICATION else OPAQUE
    return OPAQUE


cdef inline uint8_t measure_modbus_rtu(
    const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the frame at `bytes` is."""
    cdef uint32_t found
    length[0] = 0
    if count < 2:
        return REASON_NONE
    if bytes[1] & ~EXCEPTION == 0 or (from_opener and bytes[1] & EXCEPTION):
        return REASON_MESSAGE_PROTOCOL
    found = request_length(bytes, count) if from_opener else answer_length(bytes, count)
    if found == OPAQUE:
        return REASON_MESSAGE_OPAQUE
    if found > MOST_FRAME:
        return REASON_MESSAGE_MALFORMED
    length[0] = found
    return REASON_NONE


cdef inline uint8_t read_modbus_rtu(
    const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Say what a frame means."""
    cdef uint32_t measured = 0
    cdef uint8_t reason = measure_modbus_rtu(message, count, from_opener, &measured)
    cdef access_t access
    cdef pdu_t pdu
    if reason != REASON_NONE:
        return reason
    if measured != length or length < LEAST_FRAME:
        return REASON_NONE if measured == 0 and count < length else REASON_MESSAGE_MALFORMED
    if count == length and crc16(message, count) != 0:
        return REASON_MESSAGE_MALFORMED
    begin_access(&access, PROTOCOL_MODBUS, count < length)
    pdu.bytes = message + 1
    pdu.length = length - 3
    pdu.count = count - 1 if count - 1 < pdu.length else pdu.length
    if pdu.count == pdu.length and count < length:
        pdu.count -= 1  # ORDER: whole only with its CRC; until then nothing may be remembered of it
    return read_pdu(&pdu, &access, from_opener, 0, message[0], dialog, sink)
