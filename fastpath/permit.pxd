# cython: language_level=3
"""Flows and conduits: lines 7 to 12 of docs/reference/semantics.md.

In: a frame whose two parties are known. Out: the reason, and the conduit that permits it. A conversation is remembered
by who opened it, so that its replies pass; what the policy no longer permits is forgotten at its next frame. A frame
like one that has passed is accepted without looking its parties up again: nothing that they depend on has changed.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t

from fastpath.abi cimport (
    FLOW_KNOWN_OPENER,
    FLOW_KNOWN_RESPONDER,
    FLOW_PLAIN,
    LOG_ALL,
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
from fastpath.cursor cimport be48_of_8, put_be48
from fastpath.decision cimport decision_t
from fastpath.flow cimport (
    FLOW_BACKWARD,
    FLOW_FORWARD,
    find_flow,
    forget_flow,
    is_echo_reply,
    is_icmp,
    open_flow,
    touch_flow,
)
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport KIND_L2, PROTOCOL_TCP, frame_t, is_opening
from fastpath.inside cimport inspect_first, inspect_frame
from fastpath.limit cimport is_dropped, limit_reason
from fastpath.related cimport decide_related
from fastpath.table cimport answered_rule, find_rule, first_open, is_inspected, is_open, service_at, table_t

cdef inline int opens_flow(const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Tell whether a frame that a conduit permits begins a conversation: limits count these on their own.

    Every opening segment does, on a known flow too. Mid-stream TCP doesn't: after a restart all of it is taken up anew.
    """
    if frame.protocol == PROTOCOL_TCP:
        return decision.flowing and is_opening(frame)
    return decision.flowing and decision.flow == NULL and not (is_icmp(frame) and is_echo_reply(frame))


cdef inline uint8_t accept_flow(
    const table_t *table, flows_t *flows, const frame_t *frame, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Accept a frame of a known flow, unless it is too much for the conduit or carries what the conduit refuses."""
    cdef uint8_t limited = REASON_NONE
    cdef uint8_t found
    decision.conduit = decision.flow.conduit
    decision.service = decision.flow.service
    if decision.direction == FLOW_FORWARD and not decision.flow.flags & FLOW_PLAIN:
        limited = limit_reason(
            table, frame, decision.conduit, decision.source_zone, opens_flow(frame, decision), now_ns
        )
        if limited != REASON_NONE and is_dropped(table, decision.conduit):
            return limited
    found = inspect_frame(table, flows, frame, decision.conduit, now_ns, decision)
    if found != REASON_NONE:
        if is_dropped(table, decision.conduit):
            if decision.rewriting:
                touch_flow(flows, decision.flow, frame, decision.direction, now_ns)
            return found
        if limited == REASON_NONE:
            limited = found
    touch_flow(flows, decision.flow, frame, decision.direction, now_ns)
    return REASON_FLOW_ESTABLISHED if limited == REASON_NONE else limited


cdef inline int is_familiar(const table_t *table, const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Tell whether a frame like this one (ends, zones, MAC) passed every check under the policy in force."""
    cdef const flow_t *flow = decision.flow
    if flow.generation != table.generation or not is_open(table, flow.conduit):
        return 0
    if decision.direction == FLOW_FORWARD:
        return flow.flags & FLOW_KNOWN_OPENER and be48_of_8(flow.opener_mac) == frame.source_mac
    return flow.flags & FLOW_KNOWN_RESPONDER and be48_of_8(flow.responder_mac) == frame.source_mac


cdef inline uint8_t decide_familiar(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Lines 5 to 7 in one step where they would say the same as for an earlier frame of this flow; else NONE."""
    cdef flow_t *flow
    decision.flow = find_flow(flows, frame, &decision.key, now_ns, &decision.direction)
    flow = decision.flow
    if flow == NULL or not is_familiar(table, frame, decision):
        return REASON_NONE
    if decision.direction == FLOW_FORWARD:
        decision.source.asset = flow.opener_asset
        decision.destination.asset = flow.responder_asset
    else:
        decision.source.asset = flow.responder_asset
        decision.destination.asset = flow.opener_asset
    if flow.flags & FLOW_PLAIN:  # most are: accept_flow without its questions
        decision.conduit = flow.conduit
        decision.service = flow.service
        touch_flow(flows, flow, frame, decision.direction, now_ns)
        return REASON_FLOW_ESTABLISHED
    return accept_flow(table, flows, frame, now_ns, decision)


cdef inline void familiarize(
    const table_t *table, const frame_t *frame, uint32_t conduit, const decision_t *decision
) noexcept nogil:
    """Note in a flow who its ends are under the policy in force, and that this frame's sender passed lines 5 and 6."""
    cdef flow_t *flow = decision.flow
    if flow.generation != table.generation:
        flow.flags &= ~<uint16_t>(FLOW_KNOWN_OPENER | FLOW_KNOWN_RESPONDER)
    flow.flags &= ~<uint16_t>FLOW_PLAIN
    if not table.conduits[conduit].profile:
        flow.stream = 0  # what was known of it is not followed any more
        if not table.conduits[conduit].limit and table.conduits[conduit].log != LOG_ALL:
            flow.flags |= FLOW_PLAIN
    flow.generation = table.generation
    flow.conduit = conduit
    flow.service = decision.service
    if decision.direction == FLOW_FORWARD:
        flow.flags |= FLOW_KNOWN_OPENER
        put_be48(flow.opener_mac, frame.source_mac)
        flow.opener_asset = decision.source.asset
        flow.responder_asset = decision.destination.asset
    else:
        flow.flags |= FLOW_KNOWN_RESPONDER
        put_be48(flow.responder_mac, frame.source_mac)
        flow.opener_asset = decision.destination.asset
        flow.responder_asset = decision.source.asset


cdef inline uint32_t conduit_of_flow(const table_t *table, const decision_t *decision) noexcept nogil:
    """Return the conduit that permits a flow now: its own while policy and conduit hold, else the first open one."""
    cdef const flow_t *flow = decision.flow
    cdef uint16_t opener = decision.source.klass
    cdef uint16_t responder = decision.destination.klass
    if flow.generation == table.generation and is_open(table, flow.conduit):
        return flow.conduit
    if decision.direction == FLOW_BACKWARD:
        opener = decision.destination.klass
        responder = decision.source.klass
    return first_open(table, find_rule(table, opener, responder, decision.service))


cdef inline uint16_t flow_service(const table_t *table, const frame_t *frame, int direction) noexcept nogil:
    """Return the service class of a flow, seen from either end."""
    if is_icmp(frame):
        return table.services_icmp4[8] if frame.version == 4 else table.services_icmp6[128]
    return service_at(table, frame, frame.destination_port if direction == FLOW_FORWARD else frame.source_port)


cdef inline uint8_t decide_known_flow(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Line 7 for a frame whose parties have just been looked up."""
    cdef uint32_t conduit
    decision.service = flow_service(table, frame, decision.direction)
    conduit = conduit_of_flow(table, decision)
    if conduit == NO_CONDUIT:
        forget_flow(flows, decision.flow)
        decision.flow = NULL
        return REASON_NONE
    familiarize(table, frame, conduit, decision)
    return accept_flow(table, flows, frame, now_ns, decision)


cdef inline void keep_flow(
    const table_t *table, const frame_t *frame, flows_t *flows, int direction, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Remember a conversation that a conduit has just permitted."""
    decision.flow = open_flow(flows, &decision.key, direction == FLOW_BACKWARD, now_ns)
    decision.direction = direction
    familiarize(table, frame, decision.conduit, decision)
    touch_flow(flows, decision.flow, frame, direction, now_ns)


cdef inline uint8_t decide_conduit(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Lines 7 to 12 for a frame whose two parties are known."""
    cdef uint32_t node, conduit, answered
    cdef uint16_t service
    cdef uint8_t reason, found
    if decision.flow != NULL:
        reason = decide_known_flow(table, frame, flows, now_ns, decision)
        if reason != REASON_NONE:
            return reason
    if frame.kind == KIND_L2:
        service = table.services_ethertype[frame.ethertype]
    else:
        service = service_at(table, frame, frame.destination_port)
    decision.service = service
    node = find_rule(table, decision.source.klass, decision.destination.klass, service)
    conduit = first_open(table, node)
    answered = answered_rule(table, frame, decision.source.klass, decision.destination.klass)
    # Which end is the server, ports alone tell, and those an opener chooses: where one of two readings is inspected,
    # the other one takes nothing up. Else what was opened by the one would go on by the other, unseen.
    if conduit != NO_CONDUIT and not table.conduits[conduit].profile and is_inspected(table, answered):
        conduit = NO_CONDUIT
        node = answered
    if conduit != NO_CONDUIT:
        decision.conduit = conduit
        reason = limit_reason(table, frame, conduit, decision.source_zone, opens_flow(frame, decision), now_ns)
        if reason != REASON_NONE and is_dropped(table, conduit):
            return reason
        if decision.flowing and not (is_icmp(frame) and is_echo_reply(frame)):
            keep_flow(table, frame, flows, FLOW_FORWARD, now_ns, decision)
        found = inspect_first(table, frame, flows, now_ns, decision)
        if reason == REASON_NONE:
            reason = found
        if reason != REASON_NONE:
            return reason
        if frame.protocol == PROTOCOL_TCP and not is_opening(frame):
            return REASON_FLOW_PICKUP
        return REASON_POLICY_CONDUIT
    if answered != NO_NODE:
        conduit = first_open(table, answered)
        if conduit != NO_CONDUIT and (table.conduits[conduit].profile or not is_inspected(table, node)):
            decision.conduit = conduit
            decision.service = table.services_tcp[frame.source_port]
            keep_flow(table, frame, flows, FLOW_BACKWARD, now_ns, decision)
            reason = inspect_first(table, frame, flows, now_ns, decision)
            return REASON_FLOW_PICKUP if reason == REASON_NONE else reason
    if is_icmp(frame):
        reason = decide_related(table, frame, flows, now_ns, decision)
        if reason != REASON_NONE:
            return reason
    if node != NO_NODE:
        decision.conduit = table.nodes[node].conduit
        return REASON_POLICY_CONDUIT_CLOSED
    return REASON_POLICY_NO_CONDUIT
