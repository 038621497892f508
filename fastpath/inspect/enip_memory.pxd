# cython: language_level=3
"""What is remembered of an EtherNet/IP conversation: requests not yet answered, and connections that carry messages.

In: a `dialog_t`, zero at its beginning. Out: for an answer, what was asked; for a connection, what it carries. Of a
request that goes on changed only its refusal is an answer, and what it asked to be opened was never asked for.
Bounded: the oldest request is forgotten for the newest, and as many answers as were forgotten may then come unasked;
connections are refused when there is no room. The dialog's last word is the stream layer's
(interface.DIALOG_TAKEN_UP).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport OPERATION_NONE
from fastpath.inspect.cip_services cimport SERVICE_RESERVED, SERVICE_UNCONNECTED_SEND
from fastpath.inspect.interface cimport DIALOG_TAKEN_UP, dialog_t

cdef enum:
    MEMORY_REQUESTS = 26
    MEMORY_CONNECTIONS = 12
    REQUEST_WAITS = 1
    REQUEST_ROUTED = 2  # in an Unconnected Send: the answer may be its own or that of the service in it
    REQUEST_MANAGER = 4  # of the connection manager
    REQUEST_CHANGED = 8  # its device got it with SERVICE_RESERVED, which no device carries out
    CONNECTION_FREE = 0
    CONNECTION_ASKED = 1
    CONNECTION_OPEN = 2
    ANSWER_UNKNOWN = 0  # nobody asked
    ANSWER_KNOWN = 1
    ANSWER_LENIENT = 2  # perhaps somebody did: before this memory began, or it was forgotten

cdef struct request_t:
    uint32_t key  # of its sender context, or of connection and sequence count
    uint8_t command  # of the encapsulation
    uint8_t service
    uint8_t operation
    uint8_t flags

cdef struct connection_t:
    uint64_t triad  # serial number, vendor and serial number of the originator, as they lie in the message
    uint32_t forward  # id of what the originator sends; the target chooses it
    uint32_t back
    uint8_t state
    uint8_t reserved[7]

# Owner: the dialog. 208 + 288 + 8 bytes = its first 63 words.
cdef struct memory_t:
    request_t requests[MEMORY_REQUESTS]
    connection_t connections[MEMORY_CONNECTIONS]
    uint16_t forgotten
    uint16_t next
    uint32_t opening  # bit i: connections[i] was free until the request read last asked for it


cdef inline memory_t *memory_of(dialog_t *dialog) noexcept nogil:
    return <memory_t *>&dialog.words[0]


cdef inline int taken_up(const dialog_t *dialog) noexcept nogil:
    return dialog.words[DIALOG_TAKEN_UP] != 0


cdef inline void remember_request(
    memory_t *memory, uint32_t key, uint8_t command, uint8_t service, uint8_t operation, uint8_t flags
) noexcept nogil:
    """Keep a request until it is answered; flags: REQUEST_ROUTED, REQUEST_MANAGER."""
    cdef request_t *request = &memory.requests[memory.next % MEMORY_REQUESTS]
    if request.flags and memory.forgotten < 0xFFFF:
        memory.forgotten += 1
    request.key = key
    request.command = command
    request.service = service
    request.operation = operation
    request.flags = REQUEST_WAITS | flags
    memory.next = (memory.next + 1) % MEMORY_REQUESTS


cdef inline void begin_request(memory_t *memory) noexcept nogil:
    """Begin to read a whole request: what it asks to be opened may have to be taken back."""
    memory.opening = 0


cdef inline void change_request(memory_t *memory) noexcept nogil:
    """Note that the request remembered last goes on changed, and take back what it asked to be opened."""
    cdef int at
    memory.requests[(memory.next + MEMORY_REQUESTS - 1) % MEMORY_REQUESTS].flags |= REQUEST_CHANGED
    for at in range(MEMORY_CONNECTIONS):
        if memory.opening >> at & 1 and memory.connections[at].state == CONNECTION_ASKED:
            memory.connections[at].state = CONNECTION_FREE


cdef inline int _names(const request_t *request, int service) noexcept nogil:
    """Tell whether an answer that names a service can answer a request; -1: it names none."""
    if service < 0:
        return 1
    if request.flags & REQUEST_CHANGED:
        return service == SERVICE_RESERVED
    return service == request.service or (service == SERVICE_UNCONNECTED_SEND and request.flags & REQUEST_ROUTED)


cdef inline request_t *oldest_request(memory_t *memory, uint32_t key, uint8_t command, int service) noexcept nogil:
    """Return the oldest request that this answers, NULL when there is none."""
    cdef request_t *request
    cdef int at
    for at in range(MEMORY_REQUESTS):
        request = &memory.requests[(memory.next + at) % MEMORY_REQUESTS]
        if request.flags and request.key == key and request.command == command and _names(request, service):
            return request
    return NULL


cdef inline int find_request(
    dialog_t *dialog, uint32_t key, uint8_t command, int service, request_t *found
) noexcept nogil:
    """Take the oldest request that this answers; service -1: any, for an answer that names none."""
    cdef memory_t *memory = memory_of(dialog)
    cdef request_t *request = oldest_request(memory, key, command, service)
    if request != NULL:
        found[0] = request[0]
        request.flags = 0
        return ANSWER_KNOWN
    found.service = 0
    found.operation = OPERATION_NONE
    found.flags = 0
    if taken_up(dialog):
        return ANSWER_LENIENT
    if memory.forgotten:
        memory.forgotten -= 1
        return ANSWER_LENIENT
    return ANSWER_UNKNOWN


cdef inline int find_connection(dialog_t *dialog, uint32_t number, int forward) noexcept nogil:
    """Return the place of an open connection by its number in one direction, or -1."""
    cdef memory_t *memory = memory_of(dialog)
    cdef int at
    for at in range(MEMORY_CONNECTIONS):
        if memory.connections[at].state == CONNECTION_OPEN and number == (
            memory.connections[at].forward if forward else memory.connections[at].back
        ):
            return at
    return -1


cdef inline int ask_connection(memory_t *memory, uint64_t triad) noexcept nogil:
    """Note that a connection for messages is asked for; 0 when there is no room."""
    cdef int at
    cdef int place = -1
    for at in range(MEMORY_CONNECTIONS):
        if memory.connections[at].state != CONNECTION_FREE and memory.connections[at].triad == triad:
            return 1
        if memory.connections[at].state != CONNECTION_OPEN and (
            place < 0 or memory.connections[at].state < memory.connections[place].state
        ):
            place = at
    if place < 0:
        return 0
    memory.connections[place].triad = triad
    memory.connections[place].state = CONNECTION_ASKED
    memory.opening |= <uint32_t>1 << place
    return 1


cdef inline void open_connection(memory_t *memory, uint64_t triad, uint32_t forward, uint32_t back) noexcept nogil:
    """Note that the target opened a connection that was asked for."""
    cdef int at
    for at in range(MEMORY_CONNECTIONS):
        if memory.connections[at].state != CONNECTION_FREE and memory.connections[at].triad == triad:
            memory.connections[at].forward = forward
            memory.connections[at].back = back
            memory.connections[at].state = CONNECTION_OPEN


cdef inline void forget_asked(memory_t *memory, uint64_t triad) noexcept nogil:
    """Forget that a connection for messages was asked for: the same triad now asks for something else."""
    cdef int at
    for at in range(MEMORY_CONNECTIONS):
        if memory.connections[at].state == CONNECTION_ASKED and memory.connections[at].triad == triad:
            memory.connections[at].state = CONNECTION_FREE


cdef inline void forget_connection(memory_t *memory, uint64_t triad) noexcept nogil:
    cdef int at
    for at in range(MEMORY_CONNECTIONS):
        if memory.connections[at].triad == triad:
            memory.connections[at].state = CONNECTION_FREE
