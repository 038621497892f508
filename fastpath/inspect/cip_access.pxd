# cython: language_level=3
"""One CIP message as accesses: which field of `access_t` is what, and how a path fills them.

In: what was read of a message. Out: accesses, filled and put. Keeps nothing.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastpath.abi cimport PROTOCOL_CIP
from fastpath.inspect.cip_path cimport STEP_ATTRIBUTE, STEP_CLASS, STEP_INSTANCE, path_t, step_t, tag_of
from fastpath.inspect.cip_services cimport CLASS_NONE
from fastpath.inspect.interface cimport access_t, begin_access, dialog_t, set_field, sink_t

# abi.FIELD_NAMES[Protocol.CIP], in its order
cdef enum:
    CIP_SERVICE = 0
    CIP_RESPONSE = 1
    CIP_CLASS = 2
    CIP_INSTANCE = 3
    CIP_ATTRIBUTE = 4
    CIP_STATUS = 5
    CIP_CONNECTION = 6
    CIP_TAG = 7
    CIP_VALUE = 8
    CIP_OFFSET = 9
    CIP_COUNT = 10
    CIP_TYPE = 11

# Owner: `read_enip`, on its stack, for one encapsulated message.
cdef struct reading_t:
    sink_t *sink
    dialog_t *dialog
    int partial  # 1: the message is not complete, and the dialog is not to be changed
    int connected  # 1: `connection` is the number of the connection it came by
    uint32_t connection
    uint8_t asked  # of a request: the service that its answer will name; of an answer: the one that was asked for
    uint8_t asked_operation
    uint8_t asked_manager  # 1: of the connection manager; of an answer: what it answers was asked of it
    uint8_t routed  # 1: within an Unconnected Send
    uint8_t answered  # of an answer: the operation that it answers
    uint8_t changed  # 1: of an answer: its device got SERVICE_RESERVED in the place of what was asked for


cdef inline void begin_cip(
    access_t *access, const reading_t *reading, uint8_t service, int response, uint8_t depth
) noexcept nogil:
    begin_access(access, PROTOCOL_CIP, reading.partial)
    access.answer = response
    access.depth = depth
    set_field(access, CIP_SERVICE, service & 0x7F)
    set_field(access, CIP_RESPONSE, response)
    if reading.connected:
        set_field(access, CIP_CONNECTION, reading.connection)


cdef inline uint32_t class_of(const step_t *step) noexcept nogil:
    return step.klass if step.present & STEP_CLASS else CLASS_NONE


cdef inline void set_step(access_t *access, const step_t *step) noexcept nogil:
    """Set what one step of a path names."""
    if step.present & STEP_CLASS:
        set_field(access, CIP_CLASS, step.klass)
    if step.present & STEP_INSTANCE:
        set_field(access, CIP_INSTANCE, step.instance)
    if step.present & STEP_ATTRIBUTE:
        set_field(access, CIP_ATTRIBUTE, step.attribute)
    if step.named:
        set_field(access, CIP_TAG, tag_of(step))
    if step.subscripts == 1:
        set_field(access, CIP_OFFSET, step.subscript[0])


cdef inline void put_further(const reading_t *reading, access_t *access) noexcept nogil:
    access.further = 1
    access.values = NULL
    access.value_count = 0
    reading.sink.put(reading.sink, access)


cdef inline void put_steps(const reading_t *reading, const access_t *message, const path_t *path) noexcept nogil:
    """Put one access for each earlier step of a path: a part of the project is asked for within another one."""
    cdef access_t access
    cdef int at
    for at in range(path.step_count - 1):
        memcpy(&access, message, sizeof(access_t))
        access.present = message.present & <int>(1 << CIP_SERVICE | 1 << CIP_RESPONSE | 1 << CIP_CONNECTION)
        set_step(&access, &path.steps[at])
        put_further(reading, &access)
