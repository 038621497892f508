# cython: language_level=3
"""What Forward Open asks for, which connections carry messages afterwards, and when they end.

In: the data of Forward Open, Large Forward Open and Forward Close, and of their answers, complete. Out: the operation
of what is opened, a further access for each connection point, and what is remembered in the dialog; or a drop reason.
SPEC: CIP Vol. 1, 3-5.5.2 (Forward Open), 3-5.5.3 (Forward Close), 3-4.4.3 (transport class and trigger).

A connection that carries messages (transport class 2 or 3, to the message router) asks nothing itself: what comes by
it is judged. Any other asks at once for what it will carry: WRITE when the originator sends more than heartbeats or
configures the target, READ when only the target sends, OTHER when it carries messages that no inspector reads.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.abi cimport (
    OPERATION_ADMIN,
    OPERATION_DIAGNOSE,
    OPERATION_NONE,
    OPERATION_OTHER,
    OPERATION_READ,
    OPERATION_WRITE,
    REASON_MESSAGE_BUDGET,
    REASON_MESSAGE_MALFORMED,
    REASON_NONE,
)
from fastpath.cursor cimport raw64
from fastpath.inspect.cip_access cimport (
    CIP_ATTRIBUTE,
    CIP_CLASS,
    CIP_COUNT,
    CIP_INSTANCE,
    CIP_OFFSET,
    CIP_TAG,
    put_further,
    reading_t,
    set_step,
)
from fastpath.inspect.cip_path cimport PATH_CONNECTION, STEP_CLASS, STEP_INSTANCE, path_t, read_path
from fastpath.inspect.cip_services cimport (
    CLASS_ROUTER,
    SERVICE_FORWARD_CLOSE,
    SERVICE_FORWARD_OPEN,
    SERVICE_LARGE_FORWARD_OPEN,
)
from fastpath.inspect.enip_memory cimport ask_connection, forget_connection, forget_asked, memory_of, open_connection
from fastpath.inspect.interface cimport access_t, set_field
from fastpath.inspect.part cimport le16, le32

cdef enum:
    STEP_FIELDS = 1 << CIP_CLASS | 1 << CIP_INSTANCE | 1 << CIP_ATTRIBUTE | 1 << CIP_TAG | 1 << CIP_OFFSET
    SEQUENCE_BYTES = 2  # a class 1 connection's datum begins with them: so long is a heartbeat
    TRIAD_BYTES = 8
    MOST_HOPS = 1  # to a module of the same chassis

# Owner: the stack of its caller.
cdef struct opening_t:
    uint64_t triad
    uint32_t forward_bytes  # of each datum
    uint32_t back_bytes
    uint8_t forward  # 1: the originator sends
    uint8_t back
    uint8_t explicit  # 1: it carries messages
    uint8_t class_of_transport


cdef inline uint32_t _half(const uint8_t *at, int large, uint8_t *used) noexcept nogil:
    """Take one direction's parameters: 3-5.5.1.1; return the size of its data in bytes."""
    if large:
        used[0] = (at[3] >> 5 & 3) != 0
        return le16(at)
    used[0] = (at[1] >> 5 & 3) != 0
    return le16(at) & 0x1FF


cdef inline uint8_t _opened(const opening_t *opening, const path_t *path) noexcept nogil:
    """Say what a connection asks of the target; NONE for one that carries messages which are judged themselves."""
    cdef uint32_t heartbeat = SEQUENCE_BYTES if opening.class_of_transport == 1 else 0
    if opening.class_of_transport >= 2:
        return OPERATION_NONE if opening.explicit else OPERATION_OTHER
    if (opening.forward and opening.forward_bytes > heartbeat) or path.data_bytes:
        return OPERATION_WRITE
    return OPERATION_READ if opening.forward or opening.back else OPERATION_DIAGNOSE


cdef inline uint8_t read_forward_open(
    reading_t *reading, access_t *access, path_t *path, uint8_t service, const uint8_t *at, uint32_t count
) noexcept nogil:
    """Take a Forward Open: set its access, leave its connection path in `path`."""
    cdef int large = service == SERVICE_LARGE_FORWARD_OPEN
    cdef uint32_t wide = 4 if large else 2
    cdef uint32_t head = 32 + 2 * wide  # up to and with the size of the path
    cdef opening_t opening
    cdef uint8_t reason
    if count < head or count != head + 2 * <uint32_t>at[head - 1]:
        return REASON_MESSAGE_MALFORMED
    opening.triad = raw64(at + 10)
    opening.forward_bytes = _half(at + 26, large, &opening.forward)
    opening.back_bytes = _half(at + 30 + wide, large, &opening.back)
    opening.class_of_transport = at[head - 2] & 0x0F
    reason = read_path(path, at + head, count - head, PATH_CONNECTION)
    if reason != REASON_NONE:
        return reason
    if opening.class_of_transport > 3:
        return REASON_MESSAGE_MALFORMED
    opening.explicit = (
        opening.class_of_transport >= 2 and path.step_count == 1 and path.point_count == 1 and not path.steps[0].named
        and path.steps[0].present == STEP_CLASS | STEP_INSTANCE and path.steps[0].klass == CLASS_ROUTER
        and path.points[0] == 1
    )
    access.operation = _opened(&opening, path)
    set_field(access, CIP_COUNT, opening.forward_bytes if opening.forward else 0)
    if reading.partial:
        return REASON_NONE
    if not opening.explicit:
        forget_asked(memory_of(reading.dialog), opening.triad)
    elif not ask_connection(memory_of(reading.dialog), opening.triad):
        return REASON_MESSAGE_BUDGET
    return REASON_NONE


cdef inline int is_far(const path_t *path) noexcept nogil:
    """Say whether a way leads out of the chassis: through the device into another network."""
    return path.far or path.hops > MOST_HOPS


cdef inline void put_route(const reading_t *reading, const access_t *message, const path_t *path) noexcept nogil:
    """Put one access more where a connection leads out of the chassis; `count` is the number of hops."""
    cdef access_t access
    if not is_far(path):
        return
    memcpy(&access, message, sizeof(access_t))
    access.operation = OPERATION_ADMIN
    set_field(&access, CIP_COUNT, path.hops)
    put_further(reading, &access)


cdef inline void put_points(const reading_t *reading, access_t *access, const path_t *path) noexcept nogil:
    """Put one access for each thing that a connection path names; they share the operation of the Forward Open."""
    cdef int at
    if access.operation == OPERATION_NONE:
        return
    access.present &= <int>~(1 << CIP_COUNT)
    for at in range(path.step_count):
        access.present &= <int>~STEP_FIELDS
        if path.steps[at].named or (path.steps[at].present and not path.point_count):
            set_step(access, &path.steps[at])
            put_further(reading, access)
    access.present &= <int>~STEP_FIELDS
    for at in range(path.point_count):
        set_field(access, CIP_CLASS, path.point_class[at])
        set_field(access, CIP_INSTANCE, path.points[at])
        put_further(reading, access)


cdef inline uint8_t read_forward_close(const uint8_t *at, uint32_t count, path_t *path) noexcept nogil:
    """Check a Forward Close; it is its answer that ends the connection."""
    if count < 12 or count != 12 + 2 * <uint32_t>at[10]:
        return REASON_MESSAGE_MALFORMED
    return read_path(path, at + 12, count - 12, PATH_CONNECTION)


cdef inline int is_connection_service(uint8_t service) noexcept nogil:
    """Say whether a service of the connection manager opens or ends a connection."""
    return service in (SERVICE_FORWARD_OPEN, SERVICE_LARGE_FORWARD_OPEN, SERVICE_FORWARD_CLOSE)


cdef inline uint8_t read_connection_answer(
    reading_t *reading, uint8_t service, const uint8_t *at, uint32_t count
) noexcept nogil:
    """Take the answer of a successful Forward Open or Forward Close."""
    cdef uint32_t head = 10 if service == SERVICE_FORWARD_CLOSE else 26
    if count < head or count != head + 2 * <uint32_t>at[head - 2]:
        return REASON_MESSAGE_MALFORMED
    if service == SERVICE_FORWARD_CLOSE:
        forget_connection(memory_of(reading.dialog), raw64(at))
    else:
        open_connection(memory_of(reading.dialog), raw64(at + 8), le32(at), le32(at + 4))
    return REASON_NONE
