# cython: language_level=3
"""One recorded frame, from the capture to what was said of it.

In: a captured frame, the table, the flows so far. Out: an `outcome_t`. Between reading and noting stand the engine's
own `look_at` and `decide`. Called by `replay`.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from fastpath.abi cimport NO_ASSET, NO_CLASS
from fastpath.capture cimport captured_t
from fastpath.decide cimport decide, look_at
from fastpath.decision cimport decision_t
from fastpath.flow cimport FLOW_BACKWARD, is_echo_reply, is_icmp
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport (
    KIND_IP,
    KIND_L2,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_ACK,
    TCP_SYN,
    frame_t,
    parse,
    unwrap_tag,
)
from fastpath.link cimport UNJUDGED_NOT, read_link
from fastpath.places cimport places_t
from fastpath.rollup cimport judged_t, nothing_said, outcome_t, talk_t
from fastpath.table cimport service_at, table_t
from fastpath.whereabouts cimport end_t, place


cdef inline int is_reply(const table_t *table, const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Tell whether the one who was asked sent it: by its flow, else its flags, the policy, the lower port."""
    if is_icmp(frame):
        return is_echo_reply(frame)
    if frame.protocol != PROTOCOL_TCP and frame.protocol != PROTOCOL_UDP:
        return 0
    if decision.flow != NULL:
        return decision.direction == FLOW_BACKWARD
    if frame.protocol == PROTOCOL_TCP and frame.tcp_flags & TCP_SYN:
        return frame.tcp_flags & TCP_ACK != 0
    if service_at(table, frame, frame.destination_port) != NO_CLASS:
        return 0
    return service_at(table, frame, frame.source_port) != NO_CLASS or frame.source_port < frame.destination_port


cdef inline void note_talk(
    const table_t *table, const frame_t *frame, const decision_t *decision, talk_t *talk
) noexcept nogil:
    memset(talk, 0, sizeof(talk_t))
    talk.ethertype = frame.ethertype
    talk.kind = frame.kind
    talk.protocol = frame.protocol
    if frame.kind == KIND_L2:
        talk.source[0] = frame.source_mac
        talk.destination[0] = frame.destination_mac
        return
    talk.source[0] = frame.source[0]
    talk.source[1] = frame.source[1]
    talk.destination[0] = frame.destination[0]
    talk.destination[1] = frame.destination[1]
    if is_icmp(frame):
        talk.number = frame.icmp_type
    talk.reply = is_reply(table, frame, decision)
    if frame.protocol == PROTOCOL_TCP or frame.protocol == PROTOCOL_UDP:
        talk.number = frame.source_port if talk.reply else frame.destination_port


cdef inline void note_judged(
    const table_t *table, const frame_t *frame, const decision_t *decision, const end_t *source,
    const end_t *destination, outcome_t *outcome
) noexcept nogil:
    cdef judged_t *judged = &outcome.judged
    memset(judged, 0, sizeof(judged_t))
    judged.verdict = decision.verdict
    judged.policy_verdict = decision.policy_verdict
    judged.reason = decision.reason
    judged.stage = decision.stage
    judged.conduit = decision.conduit
    judged.source_zone = decision.source_zone
    judged.destination_zone = decision.destination_zone
    judged.service = decision.service
    # The lines that decide early look nobody up; where the ends are placed, somebody was.
    judged.source_asset = decision.source.asset if decision.source.asset != NO_ASSET else source.asset
    judged.destination_asset = (
        decision.destination.asset if decision.destination.asset != NO_ASSET else destination.asset
    )
    if judged.service == NO_CLASS and frame.kind == KIND_IP and not frame.error:
        judged.service = service_at(table, frame, outcome.talk.number)


cdef inline void judge_captured(
    const table_t *table, const places_t *places, flows_t *flows, const captured_t *captured, outcome_t *outcome
) noexcept nogil:
    """Judge one captured frame as the engine would at its time."""
    cdef frame_t frame
    cdef decision_t decision
    cdef end_t source, destination
    cdef uint8_t unjudged = read_link(captured, &frame)
    if unjudged != UNJUDGED_NOT:
        memset(&outcome.talk, 0, sizeof(talk_t))
        nothing_said(&outcome.judged, unjudged)
        return
    unwrap_tag(&frame)  # placing needs the headers; look_at reads them once more and finds the tag taken off
    parse(&frame)
    place(places, table, &frame, &source, &destination)
    look_at(table, &frame, flows, &decision)
    flows.rewrites = 0
    decide(table, &frame, flows, captured.time_ns, &decision)
    note_talk(table, &frame, &decision, &outcome.talk)
    note_judged(table, &frame, &decision, &source, &destination, outcome)
