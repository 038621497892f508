# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Recorded frames as the messages that they complete, by the live path's own parsing, streams and inspectors.

In: captured frames, one after the other. Out: plain values for each message, in the order completed. Nothing is
enforced and nobody is asked: whatever passed is followed. Which inspector reads a conversation says its port; where
that is nobody's, or its first bytes are no message of that protocol, the first inspector that finds them to be whole
messages. The end with the known port is the one who is asked, whoever opened.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastpath.abi cimport (
    ACCESS_FIELDS,
    FLOW_WAYS,
    INSPECTOR_ENIP,
    INSPECTOR_MODBUS,
    INSPECTOR_MODBUS_RTU,
    INSPECTOR_NONE,
    INSPECTOR_S7COMM,
    REASON_FRAME_TCP_FLAGS,
    REASON_NONE,
    flow_t,
)
from fastpath.capture cimport captured_t
from fastpath.finding cimport begin_finding
from fastpath.flow cimport FLOW_BACKWARD, FLOW_FORWARD, can_flow, find_key, key_of, open_flow, touch_flow
from fastpath.flow_index cimport flow_key_t, flow_slot_t, flows_t
from fastpath.frame cimport (
    KIND_IP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_ACK,
    TCP_SYN,
    frame_t,
    is_opening,
    parse,
)
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport access_t, dialog_t, sink_t
from fastpath.inspecting cimport inspect_datagram
from fastpath.link cimport UNJUDGED_NOT, read_link
from fastpath.reading cimport inspection_t
from fastpath.recorded cimport inspect_recorded
from fastpath.recorded_frame cimport PACKET_BYTES, is_fragment, settle, unwrap
from fastpath.stream cimport OPENER, RESPONDER
from fastpath.stream_memory cimport attach_streams, forget_holders

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
    BY_PORT = 128  # its port names the inspector; nothing was read of it yet
    TRIES = 4  # segments looked at before a conversation on a port that is nobody's is given up
    UNDECIDED = 255 - TRIES  # from here on: how often none was found that reads it


cdef void keep_access(sink_t *sink, const access_t *access) noexcept nogil:
    if access.partial:
        return
    with gil:
        _keep(<list>sink.context, access)


cdef void keep_cut(sink_t *sink, const access_t *access) noexcept nogil:
    """As above, and what is there of a message whose end was on the wire but not captured."""
    with gil:
        _keep(<list>sink.context, access)


cdef void ignore_access(sink_t *sink, const access_t *access) noexcept nogil:
    pass


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
    cdef uint8_t tcp[65536]
    cdef uint8_t udp[65536]
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
            flow = find_key(&self.flows, &key, 1, self.may_answer(frame), time_ns, &direction)
            if flow == NULL:
                direction = FLOW_BACKWARD if self.was_asked(frame) else FLOW_FORWARD
                flow = open_flow(&self.flows, &key, direction == FLOW_BACKWARD, time_ns)
                self.chosen[flow - self.flows.entries] = self.by_port(frame)
            place = flow - self.flows.entries
            touch_flow(&self.flows, flow, frame, direction, time_ns)
            if frame.payload.left:
                self.choose(&self.chosen[place], frame, direction == FLOW_FORWARD)
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

    cdef const uint8_t *ports_of(self, const frame_t *frame) noexcept nogil:
        return &self.tcp[0] if frame.protocol == PROTOCOL_TCP else &self.udp[0]

    cdef int are_told_apart(self, const frame_t *frame) noexcept nogil:
        """Tell whether one of a frame's ports is known and the other is not."""
        cdef const uint8_t *ports = self.ports_of(frame)
        return (ports[frame.source_port] != 0) != (ports[frame.destination_port] != 0)

    cdef int may_answer(self, const frame_t *frame) noexcept nogil:
        """Tell whether a frame may belong to a conversation that the other end opened: a SYN says who did."""
        if frame.protocol != PROTOCOL_TCP or self.are_told_apart(frame):
            return 1
        return not is_opening(frame)

    cdef int was_asked(self, const frame_t *frame) noexcept nogil:
        """Tell whether the first frame seen of a conversation comes from the one who was asked."""
        cdef const uint8_t *ports = self.ports_of(frame)
        if self.are_told_apart(frame):
            return ports[frame.source_port] != 0
        if frame.protocol == PROTOCOL_TCP and frame.tcp_flags & TCP_SYN:
            return frame.tcp_flags & TCP_ACK != 0
        return not ports[frame.destination_port] and frame.source_port < frame.destination_port

    cdef uint8_t by_port(self, const frame_t *frame) noexcept nogil:
        cdef const uint8_t *ports = self.ports_of(frame)
        if ports[frame.destination_port]:
            return ports[frame.destination_port] | BY_PORT
        if ports[frame.source_port]:
            return ports[frame.source_port] | BY_PORT
        return UNDECIDED if frame.protocol == PROTOCOL_TCP else INSPECTOR_NONE

    cdef void choose(self, uint8_t *chosen, const frame_t *frame, int from_opener) noexcept nogil:
        """Settle who reads a conversation, by what a frame of it carries."""
        cdef uint8_t inspector = chosen[0] & ~<uint8_t>BY_PORT
        cdef uint8_t found
        cdef uint32_t length = 0
        if chosen[0] >= UNDECIDED:
            found = self.by_content(frame, from_opener)
            chosen[0] = found if found != INSPECTOR_NONE or chosen[0] == 255 else chosen[0] + 1
        elif chosen[0] & BY_PORT:
            chosen[0] = inspector
            if frame.protocol == PROTOCOL_TCP and (
                measure(inspector, frame.payload.at, frame.payload.left, from_opener, &length) != REASON_NONE
            ):
                found = self.by_content(frame, from_opener)
                if found != INSPECTOR_NONE:
                    chosen[0] = found

    cdef uint8_t by_content(self, const frame_t *frame, int from_opener) noexcept nogil:
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
