# cython: language_level=3
"""Who reads a recorded conversation, and which of its ends was asked.

In: frames of a capture, and the ports at which inspectors are usually found. Out: an inspector, by port, or where that
is nobody's or its first bytes are no message of that protocol, by content; and whether a frame may answer. Must never
be asked where anything is enforced: there the policy says who reads.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from fastpath.abi cimport (
    INSPECTOR_ENIP,
    INSPECTOR_MODBUS,
    INSPECTOR_MODBUS_RTU,
    INSPECTOR_NONE,
    INSPECTOR_S7COMM,
    REASON_NONE,
)
from fastpath.frame cimport PROTOCOL_TCP, TCP_ACK, TCP_SYN, frame_t, is_opening
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport access_t, dialog_t, sink_t

cdef enum:
    BY_PORT = 128  # its port names the inspector; nothing was read of it yet
    TRIES = 4  # segments looked at before a conversation on a port that is nobody's is given up
    UNDECIDED = 255 - TRIES  # from here on: how often none was found that reads it

cdef struct services_t:
    uint8_t tcp[65536]  # inspector by port
    uint8_t udp[65536]


cdef inline void ignore_access(sink_t *sink, const access_t *access) noexcept nogil:
    pass


cdef inline const uint8_t *ports_of(const services_t *services, const frame_t *frame) noexcept nogil:
    return &services.tcp[0] if frame.protocol == PROTOCOL_TCP else &services.udp[0]


cdef inline int are_told_apart(const services_t *services, const frame_t *frame) noexcept nogil:
    """Tell whether one of a frame's ports is known and the other is not."""
    cdef const uint8_t *ports = ports_of(services, frame)
    return (ports[frame.source_port] != 0) != (ports[frame.destination_port] != 0)


cdef inline int may_answer(const services_t *services, const frame_t *frame) noexcept nogil:
    """Tell whether a frame may belong to a conversation that the other end opened: a SYN says who did."""
    if frame.protocol != PROTOCOL_TCP or are_told_apart(services, frame):
        return 1
    return not is_opening(frame)


cdef inline int was_asked(const services_t *services, const frame_t *frame) noexcept nogil:
    """Tell whether the first frame seen of a conversation comes from the one who was asked."""
    cdef const uint8_t *ports = ports_of(services, frame)
    if are_told_apart(services, frame):
        return ports[frame.source_port] != 0
    if frame.protocol == PROTOCOL_TCP and frame.tcp_flags & TCP_SYN:
        return frame.tcp_flags & TCP_ACK != 0
    return not ports[frame.destination_port] and frame.source_port < frame.destination_port


cdef inline int are_sound(uint8_t inspector, const uint8_t *bytes, uint32_t count, int from_opener) noexcept nogil:
    cdef dialog_t dialog
    cdef sink_t sink
    cdef uint32_t at = 0
    cdef uint32_t length
    memset(&dialog, 0, sizeof(dialog))
    sink.put = ignore_access
    sink.reason = REASON_NONE
    while at < count:
        length = 0
        if measure(inspector, bytes + at, count - at, from_opener, &length) != REASON_NONE:
            return 0
        if not length or length > count - at:
            return 0
        if read(inspector, bytes + at, length, length, from_opener, &dialog, &sink) != REASON_NONE:
            return 0
        at += length
    return 1


cdef inline uint8_t by_content(const frame_t *frame, int from_opener) noexcept nogil:
    """Return who finds nothing but whole and sound messages in the bytes of a frame."""
    cdef uint8_t candidates[4]
    cdef uint8_t any_bit = 0
    cdef uint32_t at
    cdef int i
    for at in range(frame.payload.left):
        any_bit |= frame.payload.at[at]
    if not any_bit:
        return INSPECTOR_NONE  # zeros are what files are padded with, and also EtherNet/IP that says nothing
    candidates[0] = INSPECTOR_ENIP
    candidates[1] = INSPECTOR_S7COMM
    candidates[2] = INSPECTOR_MODBUS
    candidates[3] = INSPECTOR_MODBUS_RTU
    for i in range(4):
        if are_sound(candidates[i], frame.payload.at, frame.payload.left, from_opener):
            return candidates[i]
    return INSPECTOR_NONE


cdef inline uint8_t by_port(const services_t *services, const frame_t *frame) noexcept nogil:
    cdef const uint8_t *ports = ports_of(services, frame)
    if ports[frame.destination_port]:
        return ports[frame.destination_port] | BY_PORT
    if ports[frame.source_port]:
        return ports[frame.source_port] | BY_PORT
    return UNDECIDED if frame.protocol == PROTOCOL_TCP else INSPECTOR_NONE


cdef inline void choose(uint8_t *chosen, const frame_t *frame, int from_opener) noexcept nogil:
    """Settle who reads a conversation, by what a frame of it carries."""
    cdef uint8_t inspector = chosen[0] & ~<uint8_t>BY_PORT
    cdef uint8_t found
    cdef uint32_t length = 0
    if chosen[0] >= UNDECIDED:
        found = by_content(frame, from_opener)
        chosen[0] = found if found != INSPECTOR_NONE or chosen[0] == 255 else chosen[0] + 1
    elif chosen[0] & BY_PORT:
        chosen[0] = inspector
        if frame.protocol == PROTOCOL_TCP and (
            measure(inspector, frame.payload.at, frame.payload.left, from_opener, &length) != REASON_NONE
        ):
            found = by_content(frame, from_opener)
            if found != INSPECTOR_NONE:
                chosen[0] = found
