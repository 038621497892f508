# cython: language_level=3
"""Who opened what: conversations that a conduit permitted, so that their replies pass.

In: a parsed frame whose zones are known. Out: the flow it belongs to and in which direction. The table is fixed in
memory and belongs to one queue's thread (the kernel hashes both directions of a conversation onto one queue); it
outlives the engine process, so entries are written key last and read with suspicion. `flow_index` knows the places.
Never grows, never denies: a frame whose flow could not be kept is judged like a first frame next time.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    FLOW_CLOSED,
    FLOW_FIN_OPENER,
    FLOW_FIN_RESPONDER,
    FLOW_WAYS,
    NO_ASSET,
    NO_CONDUIT,
    flow_t,
)
from fastpath.cursor cimport raw64
from fastpath.flow_index cimport flow_key_t, flow_slot_t, flows_t, hash_key, place_of, rank_of
from fastpath.frame cimport (
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    ICMPV6_ECHO_REPLY,
    ICMPV6_ECHO_REQUEST,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_FIN,
    TCP_RST,
    frame_t,
    is_opening,
)

cdef enum:
    FLOW_NONE = 0
    FLOW_FORWARD = 1  # the frame comes from the opener
    FLOW_BACKWARD = 2

cdef extern from *:
    """
    /* A UDP or echo conversation that was silent this long is over; RFC 4787 REQ-5 asks for at least two minutes. */
    #define CND_UDP_IDLE_NS (180ULL * 1000000000ULL)
    #define CND_ECHO_IDLE_NS (30ULL * 1000000000ULL)
    #define CND_LOWER_HALVES 0x0000FFFF0000FFFFULL
    """
    const uint64_t UDP_IDLE_NS "CND_UDP_IDLE_NS"
    const uint64_t ECHO_IDLE_NS "CND_ECHO_IDLE_NS"
    const uint64_t LOWER_HALVES "CND_LOWER_HALVES"

cdef inline int is_echo_request(const frame_t *frame) noexcept nogil:
    return frame.icmp_type == (ICMP_ECHO_REQUEST if frame.version == 4 else ICMPV6_ECHO_REQUEST)


cdef inline int is_echo_reply(const frame_t *frame) noexcept nogil:
    return frame.icmp_type == (ICMP_ECHO_REPLY if frame.version == 4 else ICMPV6_ECHO_REPLY)


cdef inline int is_icmp(const frame_t *frame) noexcept nogil:
    return (frame.version == 4 and frame.protocol == 1) or (frame.version == 6 and frame.protocol == 58)


cdef inline int can_flow(const frame_t *frame) noexcept nogil:
    """Tell whether frames of this kind form conversations."""
    if frame.protocol == PROTOCOL_TCP or frame.protocol == PROTOCOL_UDP:
        return 1
    return is_icmp(frame) and (is_echo_request(frame) or is_echo_reply(frame))


cdef inline void key_of(
    flow_key_t *key, const flows_t *flows, const frame_t *frame, uint16_t source_zone, uint16_t destination_zone
) noexcept nogil:
    """Make the key of a frame. An echo's identifier stands in for both ports."""
    key.source[0] = frame.source[0]
    key.source[1] = frame.source[1]
    key.destination[0] = frame.destination[0]
    key.destination[1] = frame.destination[1]
    key.source_port = frame.source_port
    key.destination_port = frame.source_port if is_icmp(frame) else frame.destination_port
    key.source_zone = source_zone
    key.destination_zone = destination_zone
    key.protocol = frame.protocol
    hash_key(key, flows)


cdef inline uint64_t ends_of(const uint16_t *source_port) noexcept nogil:
    """Return both ports and both zones in one word: in flow_key_t as in flow_t the four stand side by side."""
    return raw64(<const uint8_t *>source_port)


cdef inline uint64_t turned(uint64_t ends) noexcept nogil:
    """Exchange the ports with each other, and the zones."""
    return (ends & LOWER_HALVES) << 16 | (ends >> 16 & LOWER_HALVES)


cdef inline int is_forward(const flow_t *flow, const flow_key_t *key) noexcept nogil:
    return (
        flow.opener[0] == key.source[0] and flow.opener[1] == key.source[1]
        and flow.responder[0] == key.destination[0] and flow.responder[1] == key.destination[1]
        and ends_of(&flow.opener_port) == ends_of(&key.source_port)
    )


cdef inline int is_backward(const flow_t *flow, const flow_key_t *key) noexcept nogil:
    return (
        flow.responder[0] == key.source[0] and flow.responder[1] == key.source[1]
        and flow.opener[0] == key.destination[0] and flow.opener[1] == key.destination[1]
        and ends_of(&flow.opener_port) == turned(ends_of(&key.source_port))
    )


cdef inline void forget_flow(flows_t *flows, flow_t *flow) noexcept nogil:
    flow.in_use = 0
    flows.slots[flow - flows.entries].tag = 0


cdef inline int forget_idle(flows_t *flows, flow_t *flow, uint64_t now_ns) noexcept nogil:
    """Tell whether a flow was silent for too long; such a flow is given up."""
    if flow.protocol == PROTOCOL_TCP or now_ns < flow.last_seen_ns:
        return 0
    if now_ns - flow.last_seen_ns <= (UDP_IDLE_NS if flow.protocol == PROTOCOL_UDP else ECHO_IDLE_NS):
        return 0
    forget_flow(flows, flow)
    return 1


cdef inline flow_t *find_key(
    flows_t *flows, const flow_key_t *key, int forward, int backward, uint64_t now_ns, int *direction
) noexcept nogil:
    """Return the flow of a key in the directions asked for; sets `direction`.

    Both ends may have opened a flow with the same addresses and ports: then the sender's own counts.
    """
    cdef const flow_slot_t *slots = flows.slots + key.bucket
    cdef flow_t *other = NULL
    cdef flow_t *flow
    cdef uint32_t way
    for way in range(FLOW_WAYS):
        if slots[way].tag != key.tag:
            continue
        flow = flows.entries + key.bucket + way
        if not flow.in_use or flow.protocol != key.protocol:
            continue
        if forward and is_forward(flow, key) and not forget_idle(flows, flow, now_ns):
            direction[0] = FLOW_FORWARD
            return flow
        if backward and is_backward(flow, key) and not forget_idle(flows, flow, now_ns):
            other = flow
    direction[0] = FLOW_NONE if other == NULL else FLOW_BACKWARD
    return other


cdef inline flow_t *find_flow(
    flows_t *flows, const frame_t *frame, const flow_key_t *key, uint64_t now_ns, int *direction
) noexcept nogil:
    """Return the flow a frame belongs to.

    An opening segment or an echo request never belongs to a flow backward: it opens one of its own.
    """
    cdef int forward = 1
    cdef int backward = 1
    if frame.protocol == PROTOCOL_TCP:
        backward = not is_opening(frame)
    elif frame.protocol != PROTOCOL_UDP:
        forward = is_echo_request(frame)
        backward = is_echo_reply(frame)
    return find_key(flows, key, forward, backward, now_ns, direction)


cdef inline flow_t *open_flow(flows_t *flows, const flow_key_t *key, int reversed_, uint64_t now_ns) noexcept nogil:
    """Enter a new flow; `reversed_` when the key's source is the responder. The caller fills conduit and generation."""
    cdef uint32_t place = place_of(flows, key)
    cdef flow_t *flow = flows.entries + place
    flows.evicted += flows.slots[place].tag != 0
    # ORDER: unused first, key last, so that a reader never sees a half-written entry as somebody's flow.
    flow.in_use = 0
    flow.flags = 0
    flow.conduit = NO_CONDUIT
    flow.opener_asset = NO_ASSET
    flow.responder_asset = NO_ASSET
    flow.protocol = key.protocol
    flow.generation = 0
    memset(flow.opener_mac, 0, sizeof(flow.opener_mac))
    memset(flow.responder_mac, 0, sizeof(flow.responder_mac))
    flow.service = 0
    flow.stream = 0
    flow.first_seen_ns = now_ns
    flow.last_seen_ns = now_ns
    flow.opener_frames = 0
    flow.responder_frames = 0
    flow.opener_bytes = 0
    flow.responder_bytes = 0
    if reversed_:
        flow.opener[0] = key.destination[0]
        flow.opener[1] = key.destination[1]
        flow.responder[0] = key.source[0]
        flow.responder[1] = key.source[1]
        flow.opener_port = key.destination_port
        flow.responder_port = key.source_port
        flow.opener_zone = key.destination_zone
        flow.responder_zone = key.source_zone
    else:
        flow.opener[0] = key.source[0]
        flow.opener[1] = key.source[1]
        flow.responder[0] = key.destination[0]
        flow.responder[1] = key.destination[1]
        flow.opener_port = key.source_port
        flow.responder_port = key.destination_port
        flow.opener_zone = key.source_zone
        flow.responder_zone = key.destination_zone
    flow.in_use = 1
    flows.slots[place].tag = key.tag
    flows.created += 1
    return flow


cdef inline void follow_tcp(flow_t *flow, const frame_t *frame, int direction) noexcept nogil:
    """Follow the beginning and the end of a TCP connection."""
    if is_opening(frame):
        flow.flags &= ~<uint16_t>(FLOW_CLOSED | FLOW_FIN_OPENER | FLOW_FIN_RESPONDER)
    if frame.tcp_flags & TCP_FIN:
        flow.flags |= FLOW_FIN_OPENER if direction == FLOW_FORWARD else FLOW_FIN_RESPONDER
    if frame.tcp_flags & TCP_RST or (flow.flags & FLOW_FIN_OPENER and flow.flags & FLOW_FIN_RESPONDER):
        flow.flags |= FLOW_CLOSED


cdef inline void touch_flow(
    flows_t *flows, flow_t *flow, const frame_t *frame, int direction, uint64_t now_ns
) noexcept nogil:
    """Count a frame into its flow."""
    flow.last_seen_ns = now_ns
    if direction == FLOW_FORWARD:
        flow.opener_frames += 1
        flow.opener_bytes += frame.length
    else:
        flow.responder_frames += 1
        flow.responder_bytes += frame.length
    if frame.protocol == PROTOCOL_TCP:
        follow_tcp(flow, frame, direction)
    flows.slots[flow - flows.entries].rank = rank_of(flow)
