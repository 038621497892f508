# cython: language_level=3
"""THE decision: docs/reference/semantics.md, line by line, in its order.

In: a frame as the kernel handed it over, the table in force, the flows of this queue. Out: a `decision_t` for the
verdict, the counters and the event. Called once per frame, by the worker and by the offline judge alike.
Never allocates, raises or reads the clock.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    FIRST_DROP_REASON,
    LOG_ALL,
    LOG_FLOW,
    NO_ASSET,
    NO_CLASS,
    NO_CONDUIT,
    NO_NODE,
    REASON_FLOW_ESTABLISHED,
    REASON_FLOW_PICKUP,
    REASON_FLOW_RELATED,
    REASON_FRAME_MALFORMED,
    REASON_IDENTITY_DESTINATION_ZONE,
    REASON_IDENTITY_NEIGHBOUR,
    REASON_IDENTITY_PORT_UNKNOWN,
    REASON_NEIGHBOUR_NO_CONDUIT,
    REASON_NEIGHBOUR_RESOLUTION,
    REASON_NONE,
    REASON_POLICY_CONDUIT,
    REASON_POLICY_CONDUIT_CLOSED,
    REASON_POLICY_NO_CONDUIT,
    REASON_ZONE_INTERNAL,
    SERVICE_NEIGHBOUR,
    STAGE_ENFORCE,
    UNKNOWN_ZONE,
    VERDICT_ACCEPT,
    VERDICT_DROP,
    flow_t,
)
from fastpath.cursor cimport be16, be48, cursor_t, take
from fastpath.flow cimport (
    FLOW_BACKWARD,
    FLOW_FORWARD,
    can_flow,
    find_flow,
    find_key,
    flow_key_t,
    flows_t,
    is_echo_reply,
    is_icmp,
    key_of,
    open_flow,
    touch_flow,
)
from fastpath.frame cimport (
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    ICMPV6_ECHO_REPLY,
    ICMPV6_ECHO_REQUEST,
    KIND_ARP,
    KIND_IP,
    KIND_L2,
    KIND_ND,
    ND_ADVERTISEMENT,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    V4_MAPPED,
    address_v4,
    address_v6,
    frame_t,
    is_group_v6,
    is_mapped,
    is_opening,
    parse,
    unwrap_tag,
)
from fastpath.identity cimport (
    destination_by_address,
    destination_by_mac,
    nobody,
    party_t,
    source_by_address,
    source_by_mac,
)
from fastpath.table cimport (
    conduit_stage,
    find_rule,
    first_open,
    is_open,
    pair_stage,
    service_at,
    table_t,
    zone_of,
)

cdef struct decision_t:
    uint8_t verdict
    uint8_t policy_verdict
    uint8_t reason
    uint8_t stage  # effective
    uint8_t write_event
    uint32_t conduit
    uint16_t source_zone
    uint16_t destination_zone
    uint16_t service
    party_t source
    party_t destination


cdef inline uint8_t neighbour_options(const frame_t *frame) noexcept nogil:
    """Check the link-layer address options of a solicitation or advertisement (RFC 4861 section 4.6.1)."""
    cdef cursor_t cursor = frame.payload
    cdef const uint8_t *head
    cdef const uint8_t *body
    while cursor.left:
        head = take(&cursor, 2)
        if head == NULL or head[1] == 0:
            return REASON_FRAME_MALFORMED
        body = take(&cursor, head[1] * 8 - 2)
        if body == NULL:
            return REASON_FRAME_MALFORMED
        if (head[0] == 1 or head[0] == 2) and head[1] == 1 and be48(body) != frame.source_mac:
            return REASON_IDENTITY_NEIGHBOUR
    return REASON_NONE


cdef inline uint8_t decide_neighbour(const table_t *table, const frame_t *frame, decision_t *decision) noexcept nogil:
    """Line 4: address resolution follows the conduits."""
    cdef const uint64_t *sender = frame.source
    cdef const uint64_t *target = frame.destination
    cdef uint8_t reason
    cdef int announcement
    cdef int advertisement = frame.kind == KIND_ND and frame.icmp_type == ND_ADVERTISEMENT
    if frame.kind == KIND_ND and not advertisement:
        target = frame.nd_target
    if advertisement:
        sender = frame.nd_target
    if sender[0] == 0 and sender[1] == (V4_MAPPED if frame.kind == KIND_ARP else 0):
        return REASON_NEIGHBOUR_NO_CONDUIT
    if frame.kind == KIND_ARP:
        if frame.arp_sender_mac != frame.source_mac:
            return REASON_IDENTITY_NEIGHBOUR
    else:
        reason = neighbour_options(frame)
        if reason != REASON_NONE:
            return reason
        if advertisement and (frame.source[0] != sender[0] or frame.source[1] != sender[1]):
            return REASON_IDENTITY_NEIGHBOUR
    reason = source_by_address(table, frame, sender, decision.source_zone, &decision.source)
    if reason != REASON_NONE:
        return reason
    if frame.kind == KIND_ARP:
        announcement = sender[0] == target[0] and sender[1] == target[1]
    else:
        announcement = advertisement and is_group_v6(target)
    if announcement:
        return REASON_NEIGHBOUR_RESOLUTION if decision.source.mac_checked else REASON_NEIGHBOUR_NO_CONDUIT
    reason = destination_by_address(table, frame, target, decision.destination_zone, &decision.destination)
    if reason != REASON_NONE:
        return reason
    decision.service = SERVICE_NEIGHBOUR
    if find_rule(table, decision.source.klass, decision.destination.klass, SERVICE_NEIGHBOUR) == NO_NODE:
        return REASON_NEIGHBOUR_NO_CONDUIT
    return REASON_NEIGHBOUR_RESOLUTION


cdef inline int flow_permitted(
    const table_t *table, flow_t *flow, uint16_t opener_class, uint16_t responder_class, uint16_t service
) noexcept nogil:
    """Tell whether a conduit still permits a flow; judges it again when the policy changed or its conduit closed."""
    cdef uint32_t conduit
    if flow.generation == table.generation and is_open(table, flow.conduit):
        return 1
    conduit = first_open(table, find_rule(table, opener_class, responder_class, service))
    if conduit == NO_CONDUIT:
        flow.in_use = 0
        return 0
    flow.conduit = conduit
    flow.generation = table.generation
    flow.service = service
    return 1


cdef inline uint16_t flow_service(const table_t *table, const frame_t *frame, int direction) noexcept nogil:
    """Return the service class of a flow, seen from either end."""
    if is_icmp(frame):
        return table.services_icmp4[8] if frame.version == 4 else table.services_icmp6[128]
    return service_at(table, frame, frame.destination_port if direction == FLOW_FORWARD else frame.source_port)


cdef inline uint8_t decide_known_flow(
    const table_t *table, const frame_t *frame, const flow_key_t *key, flows_t *flows, uint64_t now_ns,
    decision_t *decision
) noexcept nogil:
    """Line 7."""
    cdef int direction
    cdef int permitted
    cdef uint16_t service
    cdef flow_t *flow = find_flow(flows, frame, key, now_ns, &direction)
    if flow == NULL:
        return REASON_NONE
    service = flow_service(table, frame, direction)
    if direction == FLOW_FORWARD:
        permitted = flow_permitted(table, flow, decision.source.klass, decision.destination.klass, service)
    else:
        permitted = flow_permitted(table, flow, decision.destination.klass, decision.source.klass, service)
    if not permitted:
        return REASON_NONE
    touch_flow(flow, frame, direction, now_ns)
    decision.conduit = flow.conduit
    decision.service = service
    return REASON_FLOW_ESTABLISHED


cdef inline void keep_flow(
    const table_t *table, const frame_t *frame, const flow_key_t *key, flows_t *flows, int direction, uint64_t now_ns,
    const decision_t *decision
) noexcept nogil:
    """Remember a conversation that a conduit has just permitted."""
    cdef flow_t *flow = open_flow(flows, key, direction == FLOW_BACKWARD, now_ns)
    flow.conduit = decision.conduit
    flow.generation = table.generation
    flow.service = decision.service
    flow.opener_asset = decision.source.asset if direction == FLOW_FORWARD else decision.destination.asset
    flow.responder_asset = decision.destination.asset if direction == FLOW_FORWARD else decision.source.asset
    touch_flow(flow, frame, direction, now_ns)


cdef inline uint8_t decide_related(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Line 10: an ICMP error quotes the frame it is about; that frame must belong to a permitted flow."""
    cdef cursor_t quoted = frame.payload
    cdef flow_key_t key
    cdef const uint8_t *p
    cdef flow_t *flow
    cdef int direction
    cdef int forward = 1
    cdef int backward = 1
    cdef uint32_t skip = 0
    if frame.version == 4:
        if frame.icmp_type != 3 and frame.icmp_type != 11 and frame.icmp_type != 12:
            return REASON_NONE
        p = take(&quoted, 20)
        if p == NULL or (p[0] >> 4) != 4 or (p[0] & 0x0F) < 5 or be16(p + 6) & 0x1FFF:
            return REASON_NONE
        skip = (p[0] & 0x0F) * 4 - 20
        key.protocol = p[9]
        address_v4(key.source, p + 12)
        address_v4(key.destination, p + 16)
    else:
        if frame.icmp_type < 1 or frame.icmp_type > 4:
            return REASON_NONE
        p = take(&quoted, 40)
        if p == NULL or (p[0] >> 4) != 6:
            return REASON_NONE
        key.protocol = p[6]
        address_v6(key.source, p + 8)
        address_v6(key.destination, p + 24)
    if frame.version == 6 and (is_mapped(key.source) or is_mapped(key.destination)):
        return REASON_NONE
    if key.source[0] != frame.destination[0] or key.source[1] != frame.destination[1]:
        return REASON_NONE
    if take(&quoted, skip) == NULL:
        return REASON_NONE
    p = take(&quoted, 8)
    if p == NULL:
        return REASON_NONE
    if key.protocol == PROTOCOL_TCP or key.protocol == PROTOCOL_UDP:
        key.source_port = be16(p)
        key.destination_port = be16(p + 2)
    elif key.protocol == (PROTOCOL_ICMP if frame.version == 4 else PROTOCOL_ICMPV6):
        # Only an echo request of the opener or a reply of the responder is a frame of a flow.
        forward = p[0] == (ICMP_ECHO_REQUEST if frame.version == 4 else ICMPV6_ECHO_REQUEST)
        backward = p[0] == (ICMP_ECHO_REPLY if frame.version == 4 else ICMPV6_ECHO_REPLY)
        key.source_port = be16(p + 4)
        key.destination_port = key.source_port
    else:
        return REASON_NONE
    key.source_zone = decision.destination_zone
    key.destination_zone = decision.source_zone
    flow = find_key(flows, &key, forward, backward, now_ns, &direction)
    # The classes of the flow's ends are not looked up again here: a flow of an older policy is not enough for an error.
    if flow == NULL or flow.generation != table.generation or not is_open(table, flow.conduit):
        return REASON_NONE
    decision.conduit = flow.conduit
    decision.service = flow.service
    return REASON_FLOW_RELATED


cdef inline uint8_t decide_conduit(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Lines 7 to 12 for a frame whose two parties are known."""
    cdef flow_key_t key
    cdef uint32_t node, conduit
    cdef uint16_t service
    cdef uint8_t reason
    cdef int flowing = frame.kind != KIND_L2 and can_flow(frame)
    if flowing:
        key_of(&key, frame, decision.source_zone, decision.destination_zone)
        reason = decide_known_flow(table, frame, &key, flows, now_ns, decision)
        if reason != REASON_NONE:
            return reason
    if frame.kind == KIND_L2:
        service = table.services_ethertype[frame.ethertype]
    else:
        service = service_at(table, frame, frame.destination_port)
    decision.service = service
    node = find_rule(table, decision.source.klass, decision.destination.klass, service)
    conduit = first_open(table, node)
    if conduit != NO_CONDUIT:
        decision.conduit = conduit
        if flowing and not (is_icmp(frame) and is_echo_reply(frame)):
            keep_flow(table, frame, &key, flows, FLOW_FORWARD, now_ns, decision)
        if frame.protocol == PROTOCOL_TCP and not is_opening(frame):
            return REASON_FLOW_PICKUP
        return REASON_POLICY_CONDUIT
    if frame.protocol == PROTOCOL_TCP and not is_opening(frame):
        service = table.services_tcp[frame.source_port]
        conduit = first_open(table, find_rule(table, decision.destination.klass, decision.source.klass, service))
        if conduit != NO_CONDUIT:
            decision.conduit = conduit
            decision.service = service
            keep_flow(table, frame, &key, flows, FLOW_BACKWARD, now_ns, decision)
            return REASON_FLOW_PICKUP
    if is_icmp(frame):
        reason = decide_related(table, frame, flows, now_ns, decision)
        if reason != REASON_NONE:
            return reason
    if node != NO_NODE:
        decision.conduit = table.nodes[node].conduit
        return REASON_POLICY_CONDUIT_CLOSED
    return REASON_POLICY_NO_CONDUIT


cdef inline uint8_t decide_reason(
    const table_t *table, frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Lines 1 to 12."""
    cdef uint8_t reason
    unwrap_tag(frame)
    decision.source_zone = zone_of(table, frame.in_ifindex, frame.vlan)
    decision.destination_zone = zone_of(table, frame.out_ifindex, frame.vlan)
    parse(frame)
    if decision.source_zone == UNKNOWN_ZONE or decision.destination_zone == UNKNOWN_ZONE:
        return REASON_IDENTITY_PORT_UNKNOWN
    if decision.source_zone == decision.destination_zone:
        return REASON_ZONE_INTERNAL
    if frame.error != REASON_NONE:
        return frame.error
    if frame.kind == KIND_ARP or frame.kind == KIND_ND:
        return decide_neighbour(table, frame, decision)
    if frame.kind == KIND_IP:
        reason = source_by_address(table, frame, frame.source, decision.source_zone, &decision.source)
        if reason == REASON_NONE:
            reason = destination_by_address(
                table, frame, frame.destination, decision.destination_zone, &decision.destination
            )
    else:
        reason = source_by_mac(table, frame, decision.source_zone, &decision.source)
        if reason == REASON_NONE:
            reason = destination_by_mac(table, frame, decision.destination_zone, &decision.destination)
    if reason != REASON_NONE:
        return reason
    return decide_conduit(table, frame, flows, now_ns, decision)


cdef inline void decide(
    const table_t *table, frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Judge one frame: the reason, then what the stage makes of it."""
    cdef uint8_t stage, ceiling, log
    decision.conduit = NO_CONDUIT
    decision.service = NO_CLASS
    nobody(&decision.source)
    nobody(&decision.destination)
    decision.reason = decide_reason(table, frame, flows, now_ns, decision)
    # One load each: control may store at any time, and one frame is judged under one stage.
    ceiling = table.state.ceiling
    if decision.conduit != NO_CONDUIT:
        stage = conduit_stage(table, decision.conduit)
    else:
        stage = pair_stage(table, decision.source_zone, decision.destination_zone)
    decision.stage = stage if stage < ceiling else ceiling
    decision.policy_verdict = VERDICT_ACCEPT if decision.reason < FIRST_DROP_REASON else VERDICT_DROP
    decision.verdict = VERDICT_ACCEPT
    if decision.policy_verdict == VERDICT_DROP:
        # FAIL-CLOSED: anything but a stage that is known to be lower counts as enforce.
        if decision.stage >= STAGE_ENFORCE or decision.stage == 0:
            decision.verdict = VERDICT_DROP
        decision.write_event = decision.reason != REASON_IDENTITY_DESTINATION_ZONE
        return
    decision.write_event = 0
    if decision.conduit != NO_CONDUIT:
        log = table.conduits[decision.conduit].log
        decision.write_event = log == LOG_ALL or (
            log == LOG_FLOW and (decision.reason == REASON_POLICY_CONDUIT or decision.reason == REASON_FLOW_PICKUP)
        )
