# cython: language_level=3
"""EtherNet/IP: the encapsulation of one message, and the CIP message in it.

In: bytes of a TCP stream or a datagram on port 44818. Out: one access for the encapsulation, then those of CIP; or a
drop reason.
SPEC: CIP Vol. 2 (EtherNet/IP), 2-3 (encapsulation header), 2-4 (commands), 2-6 (common packet format).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.abi cimport (
    OPERATION_DIAGNOSE,
    OPERATION_NONE,
    OPERATION_OTHER,
    PROTOCOL_ENIP,
    REASON_MESSAGE_ANSWER,
    REASON_MESSAGE_MALFORMED,
    REASON_MESSAGE_OPAQUE,
    REASON_MESSAGE_PROTOCOL,
    REASON_NONE,
    mix64,
)
from fastpath.cursor cimport raw64
from fastpath.inspect.cip_access cimport reading_t
from fastpath.inspect.enip_carried cimport note_answer, read_carried
from fastpath.inspect.enip_items cimport find_data, is_list
from fastpath.inspect.enip_memory cimport (
    ANSWER_UNKNOWN,
    begin_request,
    change_request,
    find_request,
    memory_of,
    remember_request,
    request_t,
)
from fastpath.inspect.interface cimport access_t, begin_access, dialog_t, set_field, sink_t
from fastpath.inspect.part cimport PART_HERE, have, le16, le32, part_of, part_t

cdef enum:
    HEADER_BYTES = 24
    MOST_DATA_BYTES = 65511  # 2-3.2
    COMMAND_NOP = 0x0000
    COMMAND_LIST_SERVICES = 0x0004
    COMMAND_LIST_IDENTITY = 0x0063
    COMMAND_LIST_INTERFACES = 0x0064
    COMMAND_REGISTER = 0x0065
    COMMAND_UNREGISTER = 0x0066
    COMMAND_SEND_REQUEST = 0x006F  # SendRRData
    COMMAND_SEND_UNIT = 0x0070  # SendUnitData
    COMMAND_INDICATE_STATUS = 0x0072
    COMMAND_CANCEL = 0x0073
    COMMAND_START_DTLS = 0x00C8
    # abi.FIELD_NAMES[Protocol.ENIP], in its order
    ENIP_COMMAND = 0
    ENIP_SESSION = 1
    ENIP_STATUS = 2
    ENIP_CONNECTION = 3


cdef inline int _is_known(uint32_t command) noexcept nogil:
    """Table 2-3.2, and the numbers below 6 that it reserves for older equipment: they are read, and refused."""
    return command <= 5 or command in (0x63, 0x64, 0x65, 0x66, 0x6F, 0x70, 0x72, 0x73, 0xC8)


cdef inline uint8_t measure_enip(
    const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the message at `bytes` is: see `interface`."""
    length[0] = 0
    if count and not _is_known(bytes[0]):
        return REASON_MESSAGE_PROTOCOL
    if count >= 2 and bytes[1]:
        return REASON_MESSAGE_PROTOCOL
    if count < 4:
        return REASON_NONE
    if le16(bytes + 2) > MOST_DATA_BYTES or (count >= HEADER_BYTES and le32(bytes + 20)):  # options: reserved, 0
        return REASON_MESSAGE_MALFORMED
    length[0] = HEADER_BYTES + le16(bytes + 2)
    return REASON_NONE


cdef inline uint8_t _read_plain(
    uint32_t command, const part_t *body, uint32_t status, int from_opener, access_t *access
) noexcept nogil:
    """Check a message that carries no CIP, and say what it asks."""
    if command == COMMAND_NOP:
        return REASON_NONE
    if command in (COMMAND_LIST_SERVICES, COMMAND_LIST_IDENTITY, COMMAND_LIST_INTERFACES):
        access.operation = OPERATION_DIAGNOSE
        if from_opener:
            return REASON_MESSAGE_MALFORMED if body.whole else REASON_NONE
        return is_list(body, status)
    if command == COMMAND_REGISTER:  # version 1, no options: 2-4.4
        if body.whole == 0 and not from_opener and status:
            return REASON_NONE
        if body.whole != 4 or (have(body, 4) == PART_HERE and from_opener and le32(body.at) != 1):
            return REASON_MESSAGE_MALFORMED
        return REASON_NONE
    if command == COMMAND_UNREGISTER:
        return REASON_MESSAGE_MALFORMED if body.whole else REASON_NONE
    access.operation = OPERATION_OTHER
    if command == COMMAND_START_DTLS:
        return REASON_MESSAGE_OPAQUE
    return REASON_NONE if command == COMMAND_INDICATE_STATUS or command == COMMAND_CANCEL else REASON_MESSAGE_PROTOCOL


cdef inline uint32_t _key_of(uint64_t context) noexcept nogil:
    return <uint32_t>mix64(context, 0)


cdef inline uint8_t _note_plain(
    uint32_t command, uint32_t key, int from_opener, access_t *access, dialog_t *dialog
) noexcept nogil:
    """Remember a request that carries no CIP, or find the one that is answered."""
    cdef request_t found
    if command not in (COMMAND_LIST_SERVICES, COMMAND_LIST_IDENTITY, COMMAND_LIST_INTERFACES, COMMAND_REGISTER):
        return REASON_NONE
    if from_opener:
        remember_request(memory_of(dialog), key, <uint8_t>command, 0, access.operation, 0)
    elif find_request(dialog, key, <uint8_t>command, -1, &found) == ANSWER_UNKNOWN:
        return REASON_MESSAGE_ANSWER
    return REASON_NONE


cdef inline uint8_t _read_send(
    access_t *access, uint8_t command, const part_t *body, uint32_t key, int from_opener, dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Take SendRRData or SendUnitData: put the encapsulation, then what it carries."""
    cdef reading_t reading
    cdef part_t data
    cdef uint8_t reason
    reading.sink = sink
    reading.dialog = dialog
    reading.partial = access.partial
    reading.connected = 0
    reading.asked_manager = 0
    reading.routed = 0
    reading.answered = OPERATION_NONE
    reading.changed = 0
    if from_opener and not access.partial:
        begin_request(memory_of(dialog))
    if not from_opener and not body.whole and command == COMMAND_SEND_REQUEST:  # refused by the encapsulation itself
        sink.put(sink, access)
        return note_answer(&reading, command, key, -1)
    reason = find_data(body, command == COMMAND_SEND_UNIT, &reading.connected, &reading.connection, &data)
    if reading.connected:
        set_field(access, ENIP_CONNECTION, reading.connection)
    sink.put(sink, access)
    if reason != REASON_NONE or not data.here:
        return reason
    return read_carried(&reading, command, key, &data, from_opener, body.at - HEADER_BYTES)


cdef inline uint8_t read_enip(
    const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Say what a message means: see `interface`."""
    cdef part_t body
    cdef access_t access
    cdef uint32_t command, key
    cdef uint8_t reason
    if count < HEADER_BYTES:
        return REASON_NONE if count < length else REASON_MESSAGE_MALFORMED
    command = le16(message)
    body = part_of(message + HEADER_BYTES, count - HEADER_BYTES, length - HEADER_BYTES)
    key = _key_of(raw64(message + 12))
    begin_access(&access, PROTOCOL_ENIP, count < length)
    access.answer = not from_opener
    set_field(&access, ENIP_COMMAND, command)
    set_field(&access, ENIP_SESSION, le32(message + 4))
    set_field(&access, ENIP_STATUS, le32(message + 8))
    if le32(message + 20) or (from_opener and le32(message + 8) and command != COMMAND_NOP):  # a request's status is 0
        sink.put(sink, &access)
        return REASON_MESSAGE_MALFORMED
    if command == COMMAND_SEND_REQUEST or command == COMMAND_SEND_UNIT:
        return _read_send(&access, <uint8_t>command, &body, key, from_opener, dialog, sink)
    reason = _read_plain(command, &body, le32(message + 8), from_opener, &access)
    sink.put(sink, &access)
    if reason != REASON_NONE or count < length:
        return reason
    return _note_plain(command, key, from_opener, &access, dialog)


cdef inline void note_changed_enip(dialog_t *dialog) noexcept nogil:
    """Remember that the device got the request read last without the service that it asked for."""
    change_request(memory_of(dialog))
