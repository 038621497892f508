# cython: language_level=3
"""Conduits that look inside: how one of them wants what a frame carries to be judged.

In: a frame of a conversation that a conduit permits. Out: why the conduit refuses what it carries, and in
`flows.finding` what becomes of the conversation. The only place where profiles and streams meet. Called by `permit`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport REASON_MESSAGE_PROTOCOL, REASON_NONE, REFUSE_ANSWER, REFUSE_SILENT, flow_t
from fastpath.decision cimport decision_t
from fastpath.finding cimport REFUSAL_RESET, REFUSAL_REWRITE, begin_finding
from fastpath.flow cimport FLOW_FORWARD, forget_flow
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport frame_t
from fastpath.inspect.interface cimport sink_t
from fastpath.inspect.profile cimport (
    begin_judging,
    inspector_of,
    judge_access,
    judge_context_t,
    revoke_message,
    settle_messages,
)
from fastpath.inspecting cimport inspect, is_told
from fastpath.limit cimport is_dropped
from fastpath.reading cimport inspection_t
from fastpath.rewrite cimport can_rewrite
from fastpath.stream cimport OPENER, RESPONDER
from fastpath.table cimport table_t

cdef inline uint8_t settle(sink_t *sink, uint8_t reason, int enforced) noexcept nogil:
    return settle_messages(<judge_context_t *>sink.context, reason, enforced)


cdef inline void revoke(sink_t *sink) noexcept nogil:
    revoke_message(<judge_context_t *>sink.context)


cdef inline uint8_t inspect_frame(
    const table_t *table, flows_t *flows, const frame_t *frame, uint32_t conduit, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Return why what a frame carries is refused by the conduit that permits it; NONE where nobody looks inside."""
    cdef uint16_t profile = table.conduits[conduit].profile
    cdef flow_t *flow = decision.flow
    cdef inspection_t inspection
    cdef sink_t sink
    cdef uint8_t reason
    if not profile:
        return REASON_NONE
    if flow == NULL:
        return REASON_MESSAGE_PROTOCOL  # FAIL-CLOSED: no inspector reads what is no conversation
    sink.put = judge_access
    sink.context = &flows.judged
    inspection.sink = &sink
    inspection.settle = settle
    inspection.revoke = revoke
    inspection.inspector = inspector_of(table, conduit, decision.service)
    inspection.enforced = <uint8_t>is_dropped(table, conduit)
    inspection.fail = table.conduits[conduit].fail
    inspection.shuts = table.profiles[profile - 1].refuse != REFUSE_SILENT
    inspection.changeable = <uint8_t>can_rewrite(frame, flows.rewrites)
    inspection.answers = inspection.enforced and inspection.changeable and (
        table.profiles[profile - 1].refuse == REFUSE_ANSWER
    )
    begin_judging(
        &flows.judged, table, conduit, flow.responder, table.zones[flow.responder_zone].space, now_ns,
        inspection.enforced,
    )
    begin_finding(&flows.finding)
    flows.judged.finding = &flows.finding
    decision.inspected = 1
    decision.finding = &flows.finding
    reason = inspect(
        flows, flow, frame, OPENER if decision.direction == FLOW_FORWARD else RESPONDER, &inspection, now_ns,
        &flows.finding,
    )
    flows.rewrites += flows.finding.edit_count != 0
    if flows.finding.refusal == REFUSAL_REWRITE:
        decision.rewriting = 1
    elif inspection.shuts and inspection.enforced and is_told(reason):
        flows.finding.refusal = REFUSAL_RESET
    return reason


cdef inline uint8_t inspect_first(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Inspect the first frame of a conversation, which has just been kept; one that is dropped is forgotten again."""
    cdef uint8_t reason = inspect_frame(table, flows, frame, decision.conduit, now_ns, decision)
    if reason != REASON_NONE and decision.flow != NULL and is_dropped(table, decision.conduit):
        forget_flow(flows, decision.flow)
        decision.flow = NULL
    return reason
