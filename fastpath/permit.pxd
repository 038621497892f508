# cython: language_level=3
"""Flows and conduits: lines 7 to 12 of docs/reference/semantics.md.

In: a frame whose two parties are known. Out: the reason, and the conduit that permits it. A conversation is remembered
by who opened it, so that its replies pass; what the policy no longer permits is forgotten at its next frame.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t

from fastpath.abi cimport (
    NO_CONDUIT,
    NO_NODE,
    REASON_FLOW_ESTABLISHED,
    REASON_FLOW_PICKUP,
    REASON_NONE,
    REASON_POLICY_CONDUIT,
    REASON_POLICY_CONDUIT_CLOSED,
    REASON_POLICY_NO_CONDUIT,
    flow_t,
)
from fastpath.decision cimport decision_t
from fastpath.flow cimport (
    FLOW_BACKWARD,
    FLOW_FORWARD,
    can_flow,
    find_flow,
    flow_key_t,
    flows_t,
    is_echo_reply,
    is_icmp,
    key_of,
    open_flow,
    touch_flow,
)
from fastpath.frame cimport KIND_L2, PROTOCOL_TCP, frame_t, is_opening
from fastpath.limit cimport is_dropped, limit_reason
from fastpath.related cimport decide_related
from fastpath.table cimport find_rule, first_open, is_open, service_at, table_t

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
    cdef int permitted, opens
    cdef uint8_t limited
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
    decision.conduit = flow.conduit
    decision.service = service
    if direction == FLOW_FORWARD:
        opens = frame.protocol == PROTOCOL_TCP and is_opening(frame)
        limited = limit_reason(table, frame, flow.conduit, decision.source_zone, opens, now_ns)
        if limited != REASON_NONE:
            if not is_dropped(table, flow.conduit):
                touch_flow(flow, frame, direction, now_ns)
            return limited
    touch_flow(flow, frame, direction, now_ns)
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


cdef inline uint8_t decide_conduit(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Lines 7 to 12 for a frame whose two parties are known."""
    cdef flow_key_t key
    cdef uint32_t node, conduit
    cdef uint16_t service
    cdef uint8_t reason
    cdef int opens
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
        flowing = flowing and not (is_icmp(frame) and is_echo_reply(frame))
        opens = flowing and (frame.protocol != PROTOCOL_TCP or is_opening(frame))
        reason = limit_reason(table, frame, conduit, decision.source_zone, opens, now_ns)
        if flowing and (reason == REASON_NONE or not is_dropped(table, conduit)):
            keep_flow(table, frame, &key, flows, FLOW_FORWARD, now_ns, decision)
        if reason != REASON_NONE:
            return reason
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
