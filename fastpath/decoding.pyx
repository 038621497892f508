# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Recorded frames as the messages that they complete, by the live path's own parsing, streams and inspectors.

In: captured frames, one after the other. Out: plain values for each message, in the order completed. Nothing is
enforced and nobody is asked: whatever passed is followed. Which inspector reads a conversation says `choosing`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastpath.abi cimport (
    ACCESS_FIELDS,
    FLOW_WAYS,
    INSPECTOR_NONE,
    REASON_FRAME_TCP_FLAGS,
    REASON_NONE,
    flow_t,
)
from fastpath.capture cimport captured_t
from fastpath.choosing cimport BY_PORT, UNDECIDED, by_port, choose, may_answer, services_t, was_asked
from fastpath.finding cimport begin_finding
from fastpath.flow cimport FLOW_BACKWARD, FLOW_FORWARD, can_flow, find_key, key_of, open_flow, touch_flow
from fastpath.flow_index cimport flow_key_t, flow_slot_t, flows_t
from fastpath.frame cimport (
    KIND_IP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_SYN,
    frame_t,
    parse,
)
from fastpath.inspect.interface cimport access_t, sink_t
from fastpath.inspecting cimport inspect_datagram
from fastpath.link cimport UNJUDGED_NOT, read_link
from fastpath.reading cimport inspection_t
from fastpath.recorded cimport inspect_recorded
from fastpath.recorded_frame cimport PACKET_BYTES, is_fragment, settle, unwrap
from fastpath.stream cimport OPENER, RESPONDER
from fastpath.stream_memory cimport attach_streams

from fastpath import abi
from fastpath.fragments import Fragments

cdef extern from *:
    """
    /* Any but 0, with which all flows of IPv4 share one bucket; always the same, so that a file decodes alike. */
    #define CND_DECODING_SEED 0x9E3779B97F4A7C15ULL
    """
    const uint64_t HASH_SEED "CND_DECODING_SEED"

cdef enum:
    DECODED_FLOWS = 65536  # conversations remembered at a time
    DECODED_STREAMS = 32768
    DECODED_WINDOWS = 1024


cdef void keep_access(sink_t *sink, const access_t *access) noexcept nogil:
    if access.partial:
        return
    with gil:
        _keep(<list>sink.context, access)


cdef void keep_cut(sink_t *sink, const access_t *access) noexcept nogil:
    """As above, and what is there of a message whose end was on the wire but not captured."""
    with gil:
        _keep(<list>sink.context, access)


cdef void revoke(sink_t *sink) noexcept nogil:
    pass


cdef uint8_t let_pass(sink_t *sink, uint8_t reason, int enforced) noexcept nogil:
    return reason


cdef int _keep(list messages, const access_t *access) except -1:
    """Append a message; what it asks for besides goes to its fields."""
    if access.further:
        if messages:
            (<list>messages[len(messages) - 1][5]).append(_fields(access))
    else:
        messages.append(
            (access.protocol, access.operation, bool(access.answer), access.depth, _fields(access), [])
        )
    return 0


cdef dict _fields(const access_t *access):
    """Return {field: number or (low, high)}."""
    cdef int at
    names = abi.FIELD_NAMES[abi.Protocol(access.protocol)]
    fields = {}
    for at in range(ACCESS_FIELDS):
        if access.present >> at & 1:
            if access.low[at] == access.high[at]:
                fields[names[at]] = access.low[at]
            else:
                fields[names[at]] = (access.low[at], access.high[at])
    return fields


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
    cdef object fragments
    cdef uint8_t *memory
    cdef uint8_t *chosen  # by flow: its inspector
    cdef services_t services
    cdef uint8_t buffer[PACKET_BYTES]

    def __cinit__(self, tcp, udp):
        self.memory = <uint8_t *>calloc(1, abi.streams_table_bytes(DECODED_STREAMS, DECODED_WINDOWS))
        self.flows.entries = <flow_t *>calloc(DECODED_FLOWS, sizeof(flow_t))
        self.flows.slots = <flow_slot_t *>calloc(DECODED_FLOWS, sizeof(flow_slot_t))
        self.chosen = <uint8_t *>calloc(DECODED_FLOWS, 1)
        if self.memory == NULL or self.flows.entries == NULL or self.flows.slots == NULL or self.chosen == NULL:
            raise MemoryError
        self.fragments = Fragments()
        self.flows.seed = HASH_SEED
        self.flows.bucket_mask = DECODED_FLOWS // FLOW_WAYS - 1
        attach_streams(
            &self.flows.streams, self.memory, DECODED_STREAMS, DECODED_WINDOWS, self.flows.entries, DECODED_FLOWS
        )
        self.inspection.sink = &self.sink
        self.inspection.settle = let_pass
        self.inspection.revoke = revoke
        self.inspection.changeable = 0
        self.inspection.answers = 0
        self.inspection.enforced = 0
        self.inspection.fail = abi.FailMode.STATIC
        for port, inspector in tcp.items():
            self.services.tcp[<uint16_t>port] = inspector
        for port, inspector in udp.items():
            self.services.udp[<uint16_t>port] = inspector

    def __dealloc__(self):
        free(self.memory)
        free(self.flows.entries)
        free(self.flows.slots)
        free(self.chosen)

    def frame(self, uint64_t time_ns, const uint8_t[::1] content not None, uint32_t length, uint32_t link_type):
        """Return (ends, messages) of the messages that a frame completes; None where there is nothing to read.

        ends: source and destination as 16 address bytes and a port. messages: (protocol, operation, is answer, depth,
        fields, [fields of each thing that it asks for besides]) each.
        """
        cdef captured_t captured
        cdef frame_t frame
        cdef list found = []
        cdef int is_cut
        cdef bytes packet  # keeps what a frame's fragments were put together to
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
        unwrap(&frame)
        if is_fragment(&frame):
            packet = self.fragments.add(<bytes>frame.data[:frame.captured])
            if packet is None:
                return None
            frame.data = <const uint8_t *>packet
            frame.captured = <uint32_t>len(packet)
            frame.length = frame.captured
        is_cut = settle(&frame, self.buffer)
        parse(&frame)
        if frame.error == REASON_FRAME_TCP_FLAGS and not frame.tcp_flags & TCP_SYN:
            frame.error = REASON_NONE  # a segment without ACK: no stack takes it, but it was recorded
        if frame.error or frame.kind != KIND_IP or not can_flow(&frame):
            return None
        if frame.protocol != PROTOCOL_TCP and frame.protocol != PROTOCOL_UDP:
            return None
        frame.length = frame.captured
        self.sink.put = keep_cut if is_cut else keep_access
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
            flow = find_key(&self.flows, &key, 1, may_answer(&self.services, frame), time_ns, &direction)
            if flow == NULL:
                direction = FLOW_BACKWARD if was_asked(&self.services, frame) else FLOW_FORWARD
                flow = open_flow(&self.flows, &key, direction == FLOW_BACKWARD, time_ns)
                self.chosen[flow - self.flows.entries] = by_port(&self.services, frame)
            place = flow - self.flows.entries
            touch_flow(&self.flows, flow, frame, direction, time_ns)
            if frame.payload.left:
                choose(&self.chosen[place], frame, direction == FLOW_FORWARD)
            self.inspection.inspector = self.chosen[place] & ~<uint8_t>BY_PORT
            if self.chosen[place] >= UNDECIDED or self.inspection.inspector == INSPECTOR_NONE:
                return 0
            begin_finding(&self.flows.finding)
            if frame.protocol == PROTOCOL_TCP:
                inspect_recorded(
                    &self.flows, flow, frame, OPENER if direction == FLOW_FORWARD else RESPONDER, &self.inspection,
                    time_ns, &self.flows.finding,
                )
            else:
                inspect_datagram(
                    &self.flows, flow, frame, OPENER if direction == FLOW_FORWARD else RESPONDER, &self.inspection,
                    time_ns, &self.flows.finding,
                )
        return 0
