# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Recorded frames as the messages that they complete, by the live path's own parsing, streams and inspectors.

In: captured frames, one after the other. Out: plain values for each message, in the order completed. Nothing is
enforced and nobody is asked: whatever passed is followed. Which inspector reads a conversation says its port; where
that is nobody's, the first inspector that finds its first bytes to be whole messages.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastpath.abi cimport (
    ACCESS_FIELDS,
    FLOW_WAYS,
    INSPECTOR_ENIP,
    INSPECTOR_MODBUS,
    INSPECTOR_NONE,
    INSPECTOR_S7COMM,
    REASON_NONE,
    flow_t,
)
from fastpath.capture cimport captured_t
from fastpath.finding cimport begin_finding
from fastpath.flow cimport FLOW_BACKWARD, can_flow, find_flow, key_of, open_flow, touch_flow
from fastpath.flow_index cimport flow_key_t, flow_slot_t, flows_t
from fastpath.frame cimport (
    KIND_IP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_ACK,
    TCP_SYN,
    frame_t,
    parse,
    unwrap_tag,
)
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport access_t, dialog_t, sink_t
from fastpath.inspecting cimport inspect
from fastpath.link cimport UNJUDGED_NOT, read_link
from fastpath.reading cimport inspection_t
from fastpath.stream cimport OPENER, RESPONDER
from fastpath.stream_memory cimport attach_streams, forget_holders

from fastpath import abi

cdef enum:
    DECODED_FLOWS = 65536  # conversations remembered at a time
    DECODED_STREAMS = 32768
    DECODED_WINDOWS = 1024
    UNDECIDED = 255  # no inspector has read it yet


cdef void keep_access(sink_t *sink, const access_t *access) noexcept nogil:
    if access.partial or access.further:
        return
    with gil:
        (<list>sink.context).append(_plain(access))


cdef void ignore_access(sink_t *sink, const access_t *access) noexcept nogil:
    pass


cdef void revoke(sink_t *sink) noexcept nogil:
    pass


cdef uint8_t let_pass(sink_t *sink, uint8_t reason, int enforced) noexcept nogil:
    return reason


cdef tuple _plain(const access_t *access):
    """Return (protocol, operation, is answer, depth, {field: number or (low, high)})."""
    cdef int at
    names = abi.FIELD_NAMES[abi.Protocol(access.protocol)]
    fields = {}
    for at in range(ACCESS_FIELDS):
        if access.present >> at & 1:
            if access.low[at] == access.high[at]:
                fields[names[at]] = access.low[at]
            else:
                fields[names[at]] = (access.low[at], access.high[at])
    return access.protocol, access.operation, bool(access.answer), access.depth, fields


cdef tuple _ends(const frame_t *frame):
    return (
        (<const uint8_t *>frame.source)[:16], frame.source_port,
        (<const uint8_t *>frame.destination)[:16], frame.destination_port,
    )


cdef class Decoder:
    """Follows all conversations of a capture. tcp, udp: {port: abi.Inspector}."""

    cdef flows_t flows
    cdef inspection_t inspection
    cdef sink_t sink
    cdef uint8_t *memory
    cdef uint8_t *chosen  # by flow: its inspector
    cdef uint8_t tcp[65536]
    cdef uint8_t udp[65536]

    def __cinit__(self, tcp, udp):
        self.memory = <uint8_t *>calloc(1, abi.streams_table_bytes(DECODED_STREAMS, DECODED_WINDOWS))
        self.flows.entries = <flow_t *>calloc(DECODED_FLOWS, sizeof(flow_t))
        self.flows.slots = <flow_slot_t *>calloc(DECODED_FLOWS, sizeof(flow_slot_t))
        self.chosen = <uint8_t *>calloc(DECODED_FLOWS, 1)
        if self.memory == NULL or self.flows.entries == NULL or self.flows.slots == NULL or self.chosen == NULL:
            raise MemoryError
        self.flows.bucket_mask = DECODED_FLOWS // FLOW_WAYS - 1
        attach_streams(&self.flows.streams, self.memory, DECODED_STREAMS, DECODED_WINDOWS)
        forget_holders(&self.flows.streams)
        self.inspection.sink = &self.sink
        self.inspection.settle = let_pass
        self.inspection.revoke = revoke
        self.inspection.changeable = 0
        self.inspection.answers = 0
        self.inspection.enforced = 0
        self.inspection.fail = abi.FailMode.STATIC
        for port, inspector in tcp.items():
            self.tcp[<uint16_t>port] = inspector
        for port, inspector in udp.items():
            self.udp[<uint16_t>port] = inspector

    def __dealloc__(self):
        free(self.memory)
        free(self.flows.entries)
        free(self.flows.slots)
        free(self.chosen)

    def frame(self, uint64_t time_ns, const uint8_t[::1] content not None, uint32_t length, uint32_t link_type):
        """Return (ends, messages) of the messages that a frame completes; None where there is nothing to read.

        ends: source and destination as 16 address bytes and a port. messages: (protocol, operation, is answer, depth,
        fields) each.
        """
        cdef captured_t captured
        cdef frame_t frame
        cdef list found = []
        if not content.shape[0]:
            return None
        captured.bytes = &content[0]
        captured.captured = <uint32_t>content.shape[0]
        captured.length = length
        captured.time_ns = time_ns
        captured.link_type = link_type
        memset(&frame, 0, sizeof(frame))
        if read_link(&captured, &frame) != UNJUDGED_NOT:
            return None
        unwrap_tag(&frame)
        parse(&frame)
        if frame.error or frame.kind != KIND_IP or not can_flow(&frame):
            return None
        if frame.protocol != PROTOCOL_TCP and frame.protocol != PROTOCOL_UDP:
            return None
        self.sink.put = keep_access
        self.sink.reason = REASON_NONE
        self.sink.context = <void *>found
        self.follow(&frame, time_ns)
        return (_ends(&frame), found) if found else None

    cdef int follow(self, frame_t *frame, uint64_t time_ns) except -1:
        cdef flow_key_t key
        cdef flow_t *flow
        cdef uint64_t place
        cdef int direction = 0
        with nogil:
            key_of(&key, &self.flows, frame, 0, 0)
            flow = find_flow(&self.flows, frame, &key, time_ns, &direction)
            if flow == NULL:
                direction = FLOW_BACKWARD if self.was_asked(frame) else 1
                flow = open_flow(&self.flows, &key, direction == FLOW_BACKWARD, time_ns)
                place = flow - self.flows.entries
                self.chosen[place] = self.by_port(frame)
            place = flow - self.flows.entries
            touch_flow(&self.flows, flow, frame, direction, time_ns)
            if self.chosen[place] == UNDECIDED and frame.payload.left:
                self.chosen[place] = self.by_content(frame, direction != FLOW_BACKWARD)
            if self.chosen[place] != INSPECTOR_NONE and self.chosen[place] != UNDECIDED:
                self.inspection.inspector = self.chosen[place]
                begin_finding(&self.flows.finding)
                inspect(
                    &self.flows, flow, frame, RESPONDER if direction == FLOW_BACKWARD else OPENER, &self.inspection,
                    time_ns, &self.flows.finding,
                )
        return 0

    cdef int was_asked(self, const frame_t *frame) noexcept nogil:
        """Tell whether the first frame seen of a conversation comes from the one who was asked."""
        cdef const uint8_t *ports = &self.tcp[0] if frame.protocol == PROTOCOL_TCP else &self.udp[0]
        if frame.protocol == PROTOCOL_TCP and frame.tcp_flags & TCP_SYN:
            return frame.tcp_flags & TCP_ACK != 0
        if ports[frame.destination_port]:
            return 0
        return ports[frame.source_port] != 0 or frame.source_port < frame.destination_port

    cdef uint8_t by_port(self, const frame_t *frame) noexcept nogil:
        cdef const uint8_t *ports = &self.tcp[0] if frame.protocol == PROTOCOL_TCP else &self.udp[0]
        if ports[frame.destination_port]:
            return ports[frame.destination_port]
        if ports[frame.source_port]:
            return ports[frame.source_port]
        return UNDECIDED if frame.protocol == PROTOCOL_TCP else INSPECTOR_NONE

    cdef uint8_t by_content(self, const frame_t *frame, int from_opener) noexcept nogil:
        """Return who finds nothing but whole and sound messages in the first bytes of a conversation."""
        cdef uint8_t candidates[3]
        cdef int i
        candidates[0] = INSPECTOR_ENIP
        candidates[1] = INSPECTOR_S7COMM
        candidates[2] = INSPECTOR_MODBUS
        for i in range(3):
            if self.are_sound(candidates[i], frame.payload.at, frame.payload.left, from_opener):
                return candidates[i]
        return INSPECTOR_NONE

    cdef int are_sound(self, uint8_t inspector, const uint8_t *bytes, uint32_t count, int from_opener) noexcept nogil:
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
