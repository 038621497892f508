# cython: language_level=3
"""Who opened what: conversations that a conduit permitted, so that their replies pass.

In: a parsed frame whose zones are known. Out: the flow it belongs to and in which direction. The table is fixed in
memory, four ways a bucket; it belongs to one queue's thread (the kernel hashes both directions of a conversation onto
one queue) and outlives the engine process, so entries are written key last and read with suspicion.
Never grows, never denies: a frame whose flow could not be kept is judged like a first frame next time.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    FLOW_CLOSED,
    FLOW_FIN_OPENER,
    FLOW_FIN_RESPONDER,
    FLOW_WAYS,
    NO_CONDUIT,
    flow_t,
    mix64,
)
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
    """
    const uint64_t UDP_IDLE_NS "CND_UDP_IDLE_NS"
    const uint64_t ECHO_IDLE_NS "CND_ECHO_IDLE_NS"

cdef struct flows_t:
    flow_t *entries  # SAFETY: mapped from the flows segment for the worker's life; this thread is the only writer
    uint32_t bucket_mask  # buckets - 1; a bucket is FLOW_WAYS entries
    uint64_t seed
    uint64_t created
    uint64_t evicted

cdef struct flow_key_t:
    uint64_t source[2]
    uint64_t destination[2]
    uint16_t source_port
    uint16_t destination_port
    uint16_t source_zone
    uint16_t destination_zone
    uint8_t protocol


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
    flow_key_t *key, const frame_t *frame, uint16_t source_zone, uint16_t destination_zone
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


cdef inline flow_t *bucket_of(const flows_t *flows, const flow_key_t *key) noexcept nogil:
    """Return the bucket of a key: the same one for both directions."""
    cdef uint64_t one_end = <uint64_t>key.source_port << 16 ^ key.source_zone
    cdef uint64_t other_end = <uint64_t>key.destination_port << 16 ^ key.destination_zone
    cdef uint64_t one = mix64(flows.seed ^ key.source[0], key.source[1] ^ one_end)
    cdef uint64_t other = mix64(flows.seed ^ key.destination[0], key.destination[1] ^ other_end)
    cdef uint32_t bucket = <uint32_t>mix64(one + other, key.protocol) & flows.bucket_mask
    return flows.entries + <uint64_t>bucket * FLOW_WAYS


cdef inline int is_forward(const flow_t *flow, const flow_key_t *key) noexcept nogil:
    return (
        flow.opener[0] == key.source[0] and flow.opener[1] == key.source[1]
        and flow.responder[0] == key.destination[0] and flow.responder[1] == key.destination[1]
        and flow.opener_port == key.source_port and flow.responder_port == key.destination_port
        and flow.opener_zone == key.source_zone and flow.responder_zone == key.destination_zone
    )


cdef inline int is_backward(const flow_t *flow, const flow_key_t *key) noexcept nogil:
    return (
        flow.responder[0] == key.source[0] and flow.responder[1] == key.source[1]
        and flow.opener[0] == key.destination[0] and flow.opener[1] == key.destination[1]
        and flow.responder_port == key.source_port and flow.opener_port == key.destination_port
        and flow.responder_zone == key.source_zone and flow.opener_zone == key.destination_zone
    )


cdef inline int forget_idle(flow_t *flow, uint64_t now_ns) noexcept nogil:
    """Tell whether a flow was silent for too long; such a flow is given up."""
    if flow.protocol == PROTOCOL_TCP or now_ns < flow.last_seen_ns:
        return 0
    if now_ns - flow.last_seen_ns <= (UDP_IDLE_NS if flow.protocol == PROTOCOL_UDP else ECHO_IDLE_NS):
        return 0
    flow.in_use = 0
    return 1


cdef inline flow_t *find_key(
    flows_t *flows, const flow_key_t *key, int forward, int backward, uint64_t now_ns, int *direction
) noexcept nogil:
    """Return the flow of a key in the directions asked for; sets `direction`.

    Both ends may have opened a flow with the same addresses and ports: then the sender's own counts.
    """
    cdef flow_t *bucket = bucket_of(flows, key)
    cdef flow_t *other = NULL
    cdef flow_t *flow
    cdef uint32_t way
    for way in range(FLOW_WAYS):
        flow = bucket + way
        if not flow.in_use or flow.protocol != key.protocol:
            continue
        if forward and is_forward(flow, key) and not forget_idle(flow, now_ns):
            direction[0] = FLOW_FORWARD
            return flow
        if backward and is_backward(flow, key) and not forget_idle(flow, now_ns):
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


cdef inline flow_t *victim_of(flow_t *bucket, uint64_t *evicted) noexcept nogil:
    """Choose the entry that gives way: an unused one, else a closed one, else the one longest silent."""
    cdef flow_t *oldest = bucket
    cdef flow_t *flow
    cdef uint32_t way
    for way in range(FLOW_WAYS):
        flow = bucket + way
        if not flow.in_use:
            return flow
        if (flow.flags & FLOW_CLOSED) > (oldest.flags & FLOW_CLOSED):
            oldest = flow
        elif (flow.flags & FLOW_CLOSED) == (oldest.flags & FLOW_CLOSED) and flow.last_seen_ns < oldest.last_seen_ns:
            oldest = flow
    evicted[0] += 1
    return oldest


cdef inline flow_t *open_flow(flows_t *flows, const flow_key_t *key, int reversed_, uint64_t now_ns) noexcept nogil:
    """Enter a new flow; `reversed_` when the key's source is the responder. The caller fills conduit and generation."""
    cdef flow_t *flow = victim_of(bucket_of(flows, key), &flows.evicted)
    # ORDER: unused first, key last, so that a reader never sees a half-written entry as somebody's flow.
    flow.in_use = 0
    memset(flow, 0, sizeof(flow_t))
    flow.conduit = NO_CONDUIT
    flow.protocol = key.protocol
    flow.first_seen_ns = now_ns
    flow.last_seen_ns = now_ns
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
    flows.created += 1
    return flow


cdef inline void touch_flow(flow_t *flow, const frame_t *frame, int direction, uint64_t now_ns) noexcept nogil:
    """Count a frame into its flow and follow the end of a TCP connection."""
    flow.last_seen_ns = now_ns
    if direction == FLOW_FORWARD:
        flow.opener_frames += 1
        flow.opener_bytes += frame.length
    else:
        flow.responder_frames += 1
        flow.responder_bytes += frame.length
    if frame.protocol != PROTOCOL_TCP:
        return
    if is_opening(frame):
        flow.flags = 0
    if frame.tcp_flags & TCP_FIN:
        flow.flags |= FLOW_FIN_OPENER if direction == FLOW_FORWARD else FLOW_FIN_RESPONDER
    if frame.tcp_flags & TCP_RST or (flow.flags & FLOW_FIN_OPENER and flow.flags & FLOW_FIN_RESPONDER):
        flow.flags |= FLOW_CLOSED
