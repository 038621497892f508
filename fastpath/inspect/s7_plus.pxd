# cython: language_level=3
"""S7comm-plus, as far as it is in clear: version, opcode, function, and from them the operation.

In: the user data of a COTP data unit that begins with 0x72. Out: one access of protocol S7COMM_PLUS. What is encrypted,
or of a version or opcode that is not known, is refused as opaque. A PDU without a trailer is continued by the next one
of its direction, which keeps its operation.

SPEC: there is no public standard; header, integrity part and functions are as in the published S7comm-plus dissector
and driver of Th. Wiens. Object and function numbers are big-endian.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport (
    OPERATION_CONTROL, OPERATION_NONE, OPERATION_OTHER, OPERATION_PROGRAM, OPERATION_READ, OPERATION_WRITE,
    PROTOCOL_S7COMM_PLUS, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_OPAQUE, REASON_NONE,
)
from fastpath.cursor cimport be16, be32
from fastpath.inspect.interface cimport access_t, begin_access, set_field, sink_t
from fastpath.inspect.s7_dialog cimport plus_part_t, s7_dialog_t

cdef enum:  # abi.FIELD_NAMES
    PLUS_VERSION = 0
    PLUS_OPCODE = 1
    PLUS_FUNCTION = 2
    PLUS_REFERENCE = 3

cdef enum:
    PLUS_REQUEST = 0x31
    PLUS_RESPONSE = 0x32
    PLUS_NOTIFICATION = 0x33
    PLUS_RESPONSE_2 = 0x02
    PLUS_LAST_VERSION = 3
    PLUS_SYSTEM_EVENT = 0xFE
    PLUS_KEEP_ALIVE = 0xFF
    PLUS_DIGEST = 0x20  # length of the integrity part before the opcode, version 3
    SESSION_CONTAINER = 0x011D  # the object in which a session is created
    CPU_UNIT = 0x34  # the object whose attributes are the CPU's operating state
    CREATE_OBJECT = 0x04CA
    DELETE_OBJECT = 0x04D4
    SET_VARIABLE = 0x04F2
    SET_MULTI_VARIABLES = 0x0542


cdef inline uint8_t object_operation(uint16_t function, const uint8_t *body, uint32_t left) noexcept nogil:
    """Return the operation of the functions that depend on their object; `body` is the session number and on.

    Opening and closing the own session asks nothing of the equipment.
    """
    cdef uint32_t session
    cdef uint32_t target
    if left < 9:
        return OPERATION_OTHER
    session = be32(body)
    target = be32(body + 5)
    if function == CREATE_OBJECT:
        return OPERATION_NONE if target == SESSION_CONTAINER else OPERATION_PROGRAM
    if function == DELETE_OBJECT:
        return OPERATION_NONE if target == session else OPERATION_PROGRAM
    # Variables stand under no object or under the session; the CPU's start and stop are attributes of an object.
    return OPERATION_WRITE if target == 0 or target == session else OPERATION_CONTROL


cdef inline uint8_t plus_operation(uint16_t function, const uint8_t *body, uint32_t left) noexcept nogil:
    if function == CREATE_OBJECT or function == DELETE_OBJECT or function == SET_VARIABLE \
            or function == SET_MULTI_VARIABLES:
        return object_operation(function, body, left)
    if function == 0x04BB or function == 0x04FC or function == 0x0524 or function == 0x054C or function == 0x0586 \
            or function == 0x0590:
        return OPERATION_READ  # explore, get variable, get link, get many, get streamed, get addresses
    if function == 0x0506 or function == 0x051A or function == 0x0556 or function == 0x0560:
        return OPERATION_PROGRAM  # add and remove links; begin and end a sequence: transactions of a download
    if function == 0x056B:
        return OPERATION_CONTROL  # invoke
    if function == 0x057C:
        return OPERATION_WRITE  # set streamed: among others the answer to a password challenge
    return OPERATION_NONE if function == 0x05B3 else OPERATION_OTHER  # what follows InitSSL is encrypted


cdef inline int begins_request(const uint8_t *data, uint32_t left) noexcept nogil:
    """Say whether a request header stands here: opcode, zeros, function, zeros."""
    return left >= 9 and data[0] == PLUS_REQUEST and be16(data + 1) == 0 and be16(data + 5) == 0


cdef inline void put_plus(const plus_part_t *part, uint8_t version, int from_opener, sink_t *sink) noexcept nogil:
    cdef access_t access
    begin_access(&access, PROTOCOL_S7COMM_PLUS, 0)
    access.answer = not from_opener
    access.operation = part.operation
    set_field(&access, PLUS_VERSION, version)
    if part.opcode:
        set_field(&access, PLUS_OPCODE, part.opcode)
        if part.opcode != PLUS_NOTIFICATION:
            set_field(&access, PLUS_FUNCTION, part.function)
            set_field(&access, PLUS_REFERENCE, part.reference)
    sink.put(sink, &access)


cdef inline uint8_t read_clear(
    plus_part_t *part, const uint8_t *data, uint32_t left, int from_opener
) noexcept nogil:
    """Read what stands behind the header of a PDU that begins a message; a reason when it is not in clear."""
    part.operation = OPERATION_OTHER
    part.opcode = 0
    if left and data[0] == PLUS_DIGEST:
        if left < 1 + PLUS_DIGEST:
            return REASON_MESSAGE_MALFORMED
        data += 1 + PLUS_DIGEST
        left -= 1 + PLUS_DIGEST
    if left < 1:
        return REASON_MESSAGE_MALFORMED
    if data[0] != PLUS_REQUEST and data[0] != PLUS_RESPONSE and data[0] != PLUS_RESPONSE_2 \
            and data[0] != PLUS_NOTIFICATION:
        return REASON_MESSAGE_OPAQUE
    part.opcode = data[0]
    if data[0] == PLUS_NOTIFICATION:
        if not from_opener:
            part.operation = OPERATION_NONE
        return REASON_NONE
    if left < 9:
        return REASON_MESSAGE_MALFORMED
    part.function = be16(data + 3)
    part.reference = be16(data + 7)
    if data[0] == PLUS_REQUEST:
        part.operation = plus_operation(part.function, data + 9, left - 9)
    elif not from_opener:
        part.operation = OPERATION_NONE
    return REASON_NONE


cdef inline uint8_t read_plus(
    const uint8_t *user, uint32_t here, uint32_t whole, int from_opener, s7_dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Read one S7comm-plus PDU; nothing is told of one that is not here whole."""
    cdef plus_part_t *kept = &dialog.plus[0 if from_opener else 1]
    cdef plus_part_t part
    cdef uint32_t length
    cdef uint8_t reason = REASON_NONE
    if here < whole:
        return REASON_NONE
    if whole < 4:
        return REASON_MESSAGE_MALFORMED
    length = be16(user + 2)
    part = kept[0]
    part.open = length + 4 == whole
    if user[1] == PLUS_KEEP_ALIVE or user[1] == PLUS_SYSTEM_EVENT:
        part.opcode = 0
        part.operation = OPERATION_NONE
        put_plus(&part, user[1], from_opener, sink)
        # Lengths of these count on from the opcode: neither has a trailer.
        return REASON_NONE if length + 4 == whole else REASON_MESSAGE_MALFORMED
    if user[1] == 0 or user[1] > PLUS_LAST_VERSION:
        reason = REASON_MESSAGE_OPAQUE
        part.opcode = 0
        part.operation = OPERATION_OTHER
    elif not part.open and (length + 8 != whole or user[length + 4] != 0x72 or user[length + 5] != user[1]
            or be16(user + length + 6) != 0):
        reason = REASON_MESSAGE_MALFORMED
    elif not kept.open or begins_request(user + 4, length):
        # A request inside what should continue another one: read as what a server may take it for.
        reason = read_clear(&part, user + 4, length, from_opener)
    put_plus(&part, user[1], from_opener, sink)
    if reason == REASON_NONE:
        kept[0] = part
    return reason
