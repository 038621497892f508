# cython: language_level=3
"""CIP: one message, request or answer, and the messages embedded in it.

In: the bytes that EtherNet/IP carries for CIP, perhaps not all of them here yet. Out: an access for the message, for
each thing more that it asks for, and for each embedded message, in their order; or a drop reason when it contradicts
itself.
SPEC: CIP Vol. 1, 2-4 (message router request and response), 3-5.5.4 (Unconnected Send), A-4.10 (Multiple Service
Packet).

Every length must agree: what is embedded fills its slice exactly as its own headers say, slices lie in order, side by
side.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport OPERATION_ADMIN, OPERATION_OTHER, REASON_MESSAGE_BUDGET, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.inspect.cip_access cimport (
    CIP_ATTRIBUTE,
    CIP_COUNT,
    CIP_STATUS,
    begin_cip,
    class_of,
    put_steps,
    reading_t,
    set_step,
)
from fastpath.inspect.cip_connection cimport (
    is_connection_service,
    is_far,
    put_points,
    put_route,
    read_connection_answer,
    read_forward_close,
    read_forward_open,
)
from fastpath.inspect.cip_data cimport put_attributes, read_attributes, read_pccc, read_plain, read_tag_data
from fastpath.inspect.cip_path cimport PATH_REQUEST, PATH_ROUTE, path_t, read_path
from fastpath.inspect.cip_services cimport (
    CLASS_CONNECTION_MANAGER,
    CLASS_NONE,
    CLASS_PCCC,
    CLASS_ROUTER,
    CLASS_SYMBOL,
    SERVICE_EXECUTE_PCCC,
    SERVICE_FORWARD_CLOSE,
    SERVICE_FORWARD_OPEN,
    SERVICE_GET_ATTRIBUTE_LIST,
    SERVICE_LARGE_FORWARD_OPEN,
    SERVICE_MULTIPLE,
    SERVICE_SET_ATTRIBUTE_LIST,
    SERVICE_UNCONNECTED_SEND,
    cip_operation,
)
from fastpath.inspect.interface cimport access_t, set_field
from fastpath.inspect.part cimport PART_HERE, PART_NEVER, after, have, inner, le16, part_t

cdef enum:
    MOST_DEPTH = 4
    MOST_EMBEDDED = 1024  # of one Multiple Service Packet
    STATUS_EMBEDDED_ERROR = 0x1E  # one of the embedded services failed: their answers follow all the same
    # Which data a request's access is filled from
    DATA_PLAIN = 0
    DATA_ATTRIBUTES = 1
    DATA_TAG = 2
    DATA_OPEN = 3
    DATA_CLOSE = 4
    DATA_PCCC = 5
    DATA_MULTIPLE = 6
    DATA_SEND = 7


cdef inline int _data_kind(uint8_t service, uint32_t klass, int named) noexcept nogil:
    """Say how the data of a request is to be read."""
    if service == SERVICE_GET_ATTRIBUTE_LIST or service == SERVICE_SET_ATTRIBUTE_LIST:
        return DATA_ATTRIBUTES
    if klass == CLASS_SYMBOL or (klass == CLASS_NONE and named):
        return DATA_TAG if service > 0x31 else DATA_PLAIN
    if klass == CLASS_ROUTER:
        return DATA_MULTIPLE if service == SERVICE_MULTIPLE else DATA_PLAIN
    if klass == CLASS_PCCC:
        return DATA_PCCC if service == SERVICE_EXECUTE_PCCC else DATA_PLAIN
    if klass != CLASS_CONNECTION_MANAGER:
        return DATA_PLAIN
    if service == SERVICE_UNCONNECTED_SEND:
        return DATA_SEND
    if service == SERVICE_FORWARD_CLOSE:
        return DATA_CLOSE
    return DATA_OPEN if service == SERVICE_FORWARD_OPEN or service == SERVICE_LARGE_FORWARD_OPEN else DATA_PLAIN


cdef inline uint8_t _read_whole(
    reading_t *reading, access_t *access, const path_t *path, uint8_t service, int kind, const part_t *data,
    path_t *other
) noexcept nogil:
    """Fill an access from data that is here completely; `other` takes a path that the data holds."""
    if kind == DATA_ATTRIBUTES:
        return read_attributes(access, service, data.at, data.whole)
    if kind == DATA_TAG:
        return read_tag_data(access, &path.steps[path.step_count - 1], service, data.at, data.whole)
    if kind == DATA_OPEN:
        return read_forward_open(reading, access, other, service, data.at, data.whole)
    if kind == DATA_CLOSE:
        return read_forward_close(data.at, data.whole, other)
    if kind == DATA_PCCC:
        return read_pccc(access, data.at, data.whole)
    read_plain(access, service, data.at, data.whole)
    return REASON_NONE


cdef inline uint8_t _read_embedded(reading_t *reading, const part_t *data, int response, uint8_t depth) noexcept nogil:
    """Take the messages of a Multiple Service Packet: A-4.10; offsets count from the number of services."""
    cdef uint32_t number, at, start, end
    cdef uint8_t reason = REASON_NONE
    cdef uint8_t found
    cdef part_t slice
    if have(data, 2) != PART_HERE:
        return REASON_MESSAGE_MALFORMED if have(data, 2) == PART_NEVER else REASON_NONE
    number = le16(data.at)
    if number > MOST_EMBEDDED:
        return REASON_MESSAGE_BUDGET
    if not number or have(data, 2 + 2 * number) == PART_NEVER:
        return REASON_MESSAGE_MALFORMED
    for at in range(number):
        if have(data, 6 + 2 * at if at + 1 < number else 4 + 2 * at) != PART_HERE:
            return reason
        start = le16(data.at + 2 + 2 * at)
        end = le16(data.at + 4 + 2 * at) if at + 1 < number else data.whole
        if (at == 0 and start != 2 + 2 * number) or start >= end or end > data.whole:
            return REASON_MESSAGE_MALFORMED
        slice = inner(data, start, end - start)
        if slice.here and (slice.at[0] >= 0x80) != (response != 0):
            return REASON_MESSAGE_MALFORMED
        found = read_cip(reading, &slice, depth + 1)
        if reason == REASON_NONE:
            reason = found  # the rest is told of all the same: each has its own length
    return reason


cdef inline uint8_t _read_send(reading_t *reading, access_t *access, const part_t *data, uint8_t depth) noexcept nogil:
    """Take an Unconnected Send, put it, and read the message in it: 3-5.5.4."""
    cdef uint32_t size, route
    cdef path_t path
    cdef part_t message
    cdef uint8_t reason = REASON_NONE
    cdef uint8_t found
    if have(data, 4) != PART_HERE:
        return REASON_MESSAGE_MALFORMED if have(data, 4) == PART_NEVER else REASON_NONE
    size = le16(data.at + 2)
    route = 4 + size + (size & 1)
    if not size or have(data, route + 2) == PART_NEVER:
        return REASON_MESSAGE_MALFORMED
    message = inner(data, 4, size)
    if have(data, route + 2) == PART_HERE:
        if data.whole != route + 2 + 2 * <uint32_t>data.at[route]:
            reason = REASON_MESSAGE_MALFORMED
        elif have(data, data.whole) == PART_HERE:
            reason = read_path(&path, data.at + route + 2, data.whole - route - 2, PATH_ROUTE)
            set_field(access, CIP_COUNT, path.hops)
        if reason != REASON_NONE or (have(data, data.whole) == PART_HERE and is_far(&path)):
            access.operation = OPERATION_ADMIN  # where to, a route that is none does not say
    reading.sink.put(reading.sink, access)
    if message.here and message.at[0] >= 0x80:
        return REASON_MESSAGE_MALFORMED
    if depth == 0:
        reading.routed = 1
    found = read_cip(reading, &message, depth + 1)
    return reason if reason != REASON_NONE else found


cdef inline void _note_asked(
    reading_t *reading, uint8_t service, uint8_t operation, uint32_t klass, uint8_t depth
) noexcept nogil:
    """Keep what an answer will name: the outermost service, or the one that an outermost Unconnected Send carries."""
    if depth == 0 or (depth == 1 and reading.routed):
        reading.asked = service
        reading.asked_operation = operation
        reading.asked_manager = klass == CLASS_CONNECTION_MANAGER


cdef inline uint8_t _read_request(reading_t *reading, const part_t *part, uint8_t depth) noexcept nogil:
    cdef uint8_t service, reason
    cdef uint32_t words, klass
    cdef int kind, named
    cdef part_t data
    cdef path_t path, other
    cdef access_t access
    if have(part, 2) != PART_HERE:
        return REASON_MESSAGE_MALFORMED if have(part, 2) == PART_NEVER else REASON_NONE
    service = part.at[0]
    words = part.at[1]
    if have(part, 2 + 2 * words) != PART_HERE:
        return REASON_MESSAGE_MALFORMED if have(part, 2 + 2 * words) == PART_NEVER else REASON_NONE
    reason = read_path(&path, part.at + 2, 2 * words, PATH_REQUEST)
    data = after(part, 2 + 2 * words)
    klass = class_of(&path.steps[path.step_count - 1])
    named = path.steps[path.step_count - 1].named != 0
    kind = _data_kind(service, klass, named)
    begin_cip(&access, reading, service, 0, depth)
    set_step(&access, &path.steps[path.step_count - 1])
    access.operation = cip_operation(service, klass, named)
    if path.step_count > 1 and kind >= DATA_OPEN and kind != DATA_PCCC:
        reason = REASON_MESSAGE_MALFORMED  # router and connection manager lie within nothing
    if reason != REASON_NONE:
        access.operation = OPERATION_OTHER  # of what, its path does not say
        reading.sink.put(reading.sink, &access)
        return reason
    _note_asked(reading, service, access.operation, klass, depth)
    if kind == DATA_SEND:
        return _read_send(reading, &access, &data, depth)
    if kind == DATA_MULTIPLE:
        reading.sink.put(reading.sink, &access)
        return _read_embedded(reading, &data, 0, depth)
    if data.here < data.whole:
        if kind != DATA_OPEN and kind != DATA_PCCC:  # what these ask stands in what has not arrived
            reading.sink.put(reading.sink, &access)
            put_steps(reading, &access, &path)
        return REASON_NONE
    reason = _read_whole(reading, &access, &path, service, kind, &data, &other)
    _note_asked(reading, service, access.operation, klass, depth)
    reading.sink.put(reading.sink, &access)
    if reason != REASON_NONE:
        return reason
    put_steps(reading, &access, &path)
    if kind == DATA_ATTRIBUTES:
        put_attributes(reading, &access, service, data.at)
    elif kind == DATA_OPEN:
        put_route(reading, &access, &other)
        put_points(reading, &access, &other)
    return REASON_NONE


cdef inline uint8_t _read_answer(reading_t *reading, const part_t *part, uint8_t depth) noexcept nogil:
    """Take an answer, complete or not at all."""
    cdef uint8_t service = reading.asked if reading.changed else part.at[0] & 0x7F
    cdef uint32_t head
    cdef access_t access
    cdef part_t data
    if reading.partial:
        return REASON_NONE
    if part.whole < 4 or part.whole < 4 + 2 * <uint32_t>part.at[3]:
        return REASON_MESSAGE_MALFORMED
    head = 4 + 2 * <uint32_t>part.at[3]
    data = after(part, head)
    begin_cip(&access, reading, service, 1, depth)
    set_field(&access, CIP_STATUS, part.at[2])
    if depth == 0:
        access.operation = reading.answered
    if reading.changed:  # nothing of what was asked for stands in it
        reading.sink.put(reading.sink, &access)
        return REASON_NONE
    if (service == SERVICE_GET_ATTRIBUTE_LIST or service == SERVICE_SET_ATTRIBUTE_LIST) and data.whole >= 4:
        set_field(&access, CIP_ATTRIBUTE, le16(data.at + 2))
    reading.sink.put(reading.sink, &access)
    if service == SERVICE_MULTIPLE and data.whole and (part.at[2] == 0 or part.at[2] == STATUS_EMBEDDED_ERROR):
        return _read_embedded(reading, &data, 1, depth)
    if depth == 0 and reading.asked_manager and part.at[2] == 0 and is_connection_service(service):
        return read_connection_answer(reading, service, data.at, data.whole)
    return REASON_NONE


cdef inline uint8_t read_cip(reading_t *reading, const part_t *part, uint8_t depth) noexcept nogil:
    """Take one CIP message of which at least the first byte is known to exist."""
    if depth > MOST_DEPTH:
        return REASON_MESSAGE_BUDGET
    if not part.whole:
        return REASON_MESSAGE_MALFORMED
    if not part.here:
        return REASON_NONE
    if part.at[0] >= 0x80:
        return _read_answer(reading, part, depth)
    return _read_request(reading, part, depth)
