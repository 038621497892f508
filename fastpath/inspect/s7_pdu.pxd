# cython: language_level=3
"""One S7comm PDU between its readers: header, parameters and data as far as they are here, and how to tell of it.

In: the user data of a COTP data unit. Out: `s7_pdu_t`, on the stack of `s7comm` while a message is read. Lengths are
checked here once: header, parameters and data are the message, to the byte.

SPEC: there is no public standard of S7comm; the header is as Wireshark's dissector (packet-s7comm.c) has it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport OPERATION_NONE, OPERATION_OTHER, PROTOCOL_S7COMM, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport access_t, begin_access, set_field, sink_t

cdef enum:  # abi.FIELD_NAMES
    S7_ROSCTR = 0
    S7_FUNCTION = 1
    S7_USERDATA_GROUP = 2
    S7_USERDATA_SUBFUNCTION = 3
    S7_AREA = 4
    S7_DB = 5
    S7_ADDRESS = 6
    S7_COUNT = 7
    S7_REFERENCE = 8
    S7_ERROR = 9
    S7_BLOCK = 10
    S7_VALUE = 11

cdef enum:
    S7_JOB = 1
    S7_ACK = 2
    S7_ACK_DATA = 3
    S7_USERDATA = 7
    GROUP_MODE = 0  # of userdata: a mode transition, which has no subfunction

# Owner: the stack frame that reads the message. Borrowed bytes, valid as long as it.
cdef struct s7_pdu_t:
    const uint8_t *parameters
    const uint8_t *data
    uint32_t parameter_here  # bytes of it that have arrived
    uint32_t parameter_bytes
    uint32_t data_here
    uint32_t data_bytes
    uint16_t reference
    uint16_t error  # of an acknowledgement: class and code; of userdata: code
    uint8_t rosctr
    uint8_t function  # of a job or its answer: first byte of the parameters
    uint8_t has_function
    uint8_t group  # of userdata
    uint8_t subfunction
    uint8_t has_group
    uint8_t has_error
    uint8_t operation  # NONE as long as what is missing may change it
    uint8_t partial
    int from_opener
    uint32_t told  # accesses put so far


cdef inline uint8_t read_header(
    s7_pdu_t *pdu, const uint8_t *user, uint32_t here, uint32_t whole, int from_opener
) noexcept nogil:
    """Fill a PDU; `parameters` stays NULL while its header is not complete."""
    cdef uint32_t header = 10
    pdu.parameters = NULL
    pdu.told = 0
    pdu.has_function = 0
    pdu.has_group = 0
    pdu.has_error = 0
    pdu.operation = OPERATION_NONE
    pdu.partial = here < whole
    pdu.from_opener = from_opener
    if whole < header:
        return REASON_MESSAGE_MALFORMED
    if here < 2:
        return REASON_NONE
    pdu.rosctr = user[1]
    if pdu.rosctr == S7_ACK or pdu.rosctr == S7_ACK_DATA:
        header = 12
    if whole < header:
        return REASON_MESSAGE_MALFORMED
    if here < header:
        return REASON_NONE
    pdu.reference = be16(user + 4)
    pdu.parameter_bytes = be16(user + 6)
    pdu.data_bytes = be16(user + 8)
    if header == 12:
        pdu.error = be16(user + 10)
        pdu.has_error = 1
    here -= header
    pdu.parameters = user + header
    pdu.parameter_here = pdu.parameter_bytes if here >= pdu.parameter_bytes else here
    pdu.data = pdu.parameters + pdu.parameter_here
    pdu.data_here = here - pdu.parameter_here
    if (pdu.rosctr == S7_JOB or header == 12) and pdu.parameter_here:
        pdu.function = pdu.parameters[0]
        pdu.has_function = 1
    if pdu.rosctr == S7_USERDATA and pdu.parameter_here >= 7:
        pdu.group = pdu.parameters[5] & 15
        pdu.subfunction = pdu.parameters[6]
        pdu.has_group = 1
    return REASON_NONE if header + pdu.parameter_bytes + pdu.data_bytes == whole else REASON_MESSAGE_MALFORMED


cdef inline uint8_t missing_parameters(const s7_pdu_t *pdu) noexcept nogil:
    """Return why parameters end too early: NONE where the rest has not arrived."""
    return REASON_NONE if pdu.parameter_here < pdu.parameter_bytes else REASON_MESSAGE_MALFORMED


cdef inline uint8_t missing_data(const s7_pdu_t *pdu) noexcept nogil:
    return REASON_NONE if pdu.data_here < pdu.data_bytes else REASON_MESSAGE_MALFORMED


cdef inline void begin_s7(access_t *access, const s7_pdu_t *pdu) noexcept nogil:
    """Begin an access with what every access of this message has."""
    begin_access(access, PROTOCOL_S7COMM, pdu.partial)
    # What the opener sends is judged whatever it calls itself: servers act on it whatever its kind.
    access.answer = not pdu.from_opener
    access.operation = pdu.operation
    set_field(access, S7_ROSCTR, pdu.rosctr)
    set_field(access, S7_REFERENCE, pdu.reference)
    if pdu.has_function:
        set_field(access, S7_FUNCTION, pdu.function)
    if pdu.has_group:
        set_field(access, S7_USERDATA_GROUP, pdu.group)
        if pdu.group != GROUP_MODE:  # its octet is the mode
            set_field(access, S7_USERDATA_SUBFUNCTION, pdu.subfunction)
    if pdu.has_error:
        set_field(access, S7_ERROR, pdu.error)


cdef inline void tell(s7_pdu_t *pdu, access_t *access, sink_t *sink) noexcept nogil:
    """Put an access: the message's first is the message itself, the others are further ones.

    When the first thing it asks for is not understood, the message itself comes before it: a read stays a read.
    """
    if pdu.told == 0 and access.operation == OPERATION_OTHER and pdu.operation != OPERATION_OTHER:
        access.operation = pdu.operation
        tell(pdu, access, sink)
        access.operation = OPERATION_OTHER
    access.further = pdu.told != 0
    pdu.told += 1
    sink.put(sink, access)
