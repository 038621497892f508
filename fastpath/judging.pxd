# cython: language_level=3
"""One batch from messages to verdicts: everything between the two system calls.

In: what a queue's socket delivered, the table in force. Out: verdict messages to send, a pending tally, events, flows.
A batch is judged in groups: first the group's packets are read and the memory asked for that their lookups will touch,
then each is judged, which by then finds it in the cache. Called by the worker; bench/classify.pyx times it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport MARK_JUDGED, MAX_BATCH, VERDICT_ACCEPT, queue_counters_t, ring_header_t
from fastpath.batch cimport datagram, datagram_bytes, inbox_t, outbox_t
from fastpath.counters cimport load32, store32, tally, tally_rewritten
from fastpath.decide cimport decide, fetch_ahead, look_at
from fastpath.decision cimport decision_t
from fastpath.events cimport event_shares_t, write_event, write_messages
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport frame_t
from fastpath.lane cimport may_take_lane
from fastpath.message cimport packet_t, read_packet, shapes_t
from fastpath.netlink cimport is_answer, is_packet
from fastpath.refuse cimport is_refused, prepare_answer, refuser_t
from fastpath.rewrite cimport rewrite
from fastpath.table cimport table_t
from fastpath.verdicts cimport add_verdict, put_verdicts, verdicts_t

cdef enum:
    GROUP = 8  # frames whose lookups are under way together: enough for the memory's latency, few enough for the cache

cdef struct case_t:
    packet_t packet
    decision_t decision

cdef struct judging_t:
    # SAFETY: counters, ring and the flows' entries are mapped for the worker's life
    queue_counters_t *counters
    ring_header_t *ring
    event_shares_t event_shares
    flows_t flows
    uint16_t number  # of the queue
    uint8_t index  # of the queue in the segments
    shapes_t shapes  # of the messages of late
    case_t cases[GROUP]  # of the group in hand
    refuser_t refuser  # answers that wait for the verdicts to be sent


cdef inline case_t *read_group(
    judging_t *judging, const table_t *table, inbox_t *inbox, int first, int end
) noexcept nogil:
    """Read packets and ask for the memory that judging them will need; returns the end of the cases."""
    cdef const uint8_t *message
    cdef uint32_t length
    cdef case_t *case = judging.cases
    cdef case_t *behind
    cdef int at
    for at in range(first, end):
        message = datagram(inbox, at)
        length = datagram_bytes(inbox, at)
        if not is_packet(message, length):
            judging.counters.verdict_errors += is_answer(message, length)
            continue
        if not read_packet(&case.packet, &judging.shapes, message, length):
            judging.counters.receive_errors += 1
            continue
        look_at(table, &case.packet.frame, &judging.flows, &case.decision)
        case += 1
    behind = case
    case = judging.cases
    while case != behind:
        fetch_ahead(table, &case.packet.frame, &judging.flows, &case.decision)
        case += 1
    return behind


cdef inline uint32_t mark_of(
    judging_t *judging, const table_t *table, uint32_t lane_mark, const frame_t *frame, const decision_t *decision
) noexcept nogil:
    """Return the mark that a packet is accepted with, 0 for a drop."""
    if decision.verdict != VERDICT_ACCEPT:
        return 0
    if lane_mark and may_take_lane(table, frame, decision):
        judging.counters.laned += 1
        return lane_mark
    return MARK_JUDGED


cdef inline void follow_inspection(
    judging_t *judging, const table_t *table, const case_t *case, uint64_t now_ns, verdicts_t *verdicts
) noexcept nogil:
    """Do for an inspected frame what judge_group does for the others, and what inspection asks for besides."""
    cdef const frame_t *frame = &case.packet.frame
    cdef const decision_t *decision = &case.decision
    cdef int goes_on = decision.rewriting or decision.verdict == VERDICT_ACCEPT
    write_messages(judging.ring, &judging.event_shares, judging.index, table.generation, frame, decision, now_ns)
    if decision.rewriting and decision.verdict != VERDICT_ACCEPT:
        tally_rewritten(judging.counters, verdicts.count)
    elif is_refused(table, frame, decision):
        prepare_answer(&judging.refuser, table, frame, decision, now_ns)
    add_verdict(verdicts, case.packet.id, MARK_JUDGED if goes_on else 0)
    if goes_on and decision.finding.edit_count:
        rewrite(verdicts, frame, decision)


cdef inline void judge_group(
    judging_t *judging, const table_t *table, const case_t *behind, uint32_t lane_mark, uint64_t now_ns,
    verdicts_t *verdicts
) noexcept nogil:
    """Judge the packets of a group."""
    cdef case_t *case = judging.cases
    cdef frame_t *frame
    cdef decision_t *decision
    while case != behind:
        frame = &case.packet.frame
        decision = &case.decision
        decide(table, frame, &judging.flows, now_ns, decision)
        tally(judging.counters, verdicts.count, decision)
        if decision.inspected:
            follow_inspection(judging, table, case, now_ns, verdicts)
            case += 1
            continue
        if decision.write_event:
            write_event(
                judging.ring, &judging.event_shares, judging.index, table.generation, frame, decision, NULL, now_ns
            )
        if is_refused(table, frame, decision):
            prepare_answer(&judging.refuser, table, frame, decision, now_ns)
        add_verdict(verdicts, case.packet.id, mark_of(judging, table, lane_mark, frame, decision))
        case += 1


cdef inline void judge_batch(
    judging_t *judging, const table_t *table, inbox_t *inbox, int count, uint64_t now_ns, outbox_t *outbox
) noexcept nogil:
    """Judge every packet of a batch and write its verdicts; `now_ns` is CLOCK_REALTIME."""
    cdef verdicts_t verdicts
    cdef const case_t *behind
    cdef int first = 0
    # ORDER: the lane's mark before any other state, so that no frame judged by older state carries a newer mark.
    # From a full batch frames are still parked behind this one: in the lane, later ones would overtake them.
    cdef uint32_t lane_mark = load32(<uint32_t *>&table.state.lane_mark) if count < MAX_BATCH else 0
    outbox.used = 0
    verdicts.count = 0
    verdicts.dropped = 0
    verdicts.changed = 0
    judging.flows.rewrites = 0
    while first < count:
        behind = read_group(judging, table, inbox, first, min(first + GROUP, count))
        judge_group(judging, table, behind, lane_mark, now_ns, &verdicts)
        first += GROUP
    if not verdicts.count:
        return
    put_verdicts(outbox, judging.number, &verdicts)
    judging.counters.received += verdicts.count
    judging.counters.batches += 1
    store32(&judging.counters.last_id, verdicts.each[verdicts.count - 1].id)
    store32(&judging.counters.pending, verdicts.count)
