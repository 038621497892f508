# cython: language_level=3
"""One batch from messages to verdicts: everything between the two system calls.

In: what a queue's socket delivered, the table in force. Out: verdict messages to send, a pending tally, events, flows.
A batch is gone through twice: first every packet is read and the memory asked for that its lookups will touch, then
each is judged, which by then finds it in the cache. Called by the worker; bench/classify.pyx times it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport MARK_JUDGED, MAX_BATCH, VERDICT_ACCEPT, queue_counters_t, ring_header_t
from fastpath.batch cimport datagram, datagram_bytes, inbox_t, outbox_t
from fastpath.counters cimport load32, store32, tally
from fastpath.decide cimport decide, look_ahead
from fastpath.decision cimport decision_t
from fastpath.events cimport write_event
from fastpath.flow cimport flows_t
from fastpath.lane cimport may_take_lane
from fastpath.netlink cimport is_answer, is_packet, packet_t, read_packet
from fastpath.refuse cimport is_refused, refuse, refuser_t
from fastpath.table cimport table_t
from fastpath.verdicts cimport add_verdict, put_verdicts, verdicts_t

cdef struct judging_t:
    # SAFETY: counters, ring and the flows' entries are mapped for the worker's life
    queue_counters_t *counters
    ring_header_t *ring
    flows_t flows
    uint16_t number  # of the queue
    uint8_t index  # of the queue in the segments
    packet_t packets[MAX_BATCH]  # of the batch in hand, with what was decided about each
    decision_t decisions[MAX_BATCH]
    uint8_t refused[MAX_BATCH]  # places of the frames whose senders are to be answered
    uint32_t refused_count


cdef inline uint32_t read_batch(judging_t *judging, const table_t *table, inbox_t *inbox, int count) noexcept nogil:
    """Read every packet and ask for the memory that judging it will need; returns how many there are."""
    cdef const uint8_t *message
    cdef uint32_t length
    cdef uint32_t read = 0
    cdef int i
    for i in range(count):
        message = datagram(inbox, i)
        length = datagram_bytes(inbox, i)
        if not is_packet(message, length):
            judging.counters.verdict_errors += is_answer(message, length)
            continue
        if not read_packet(&judging.packets[read], message, length):
            judging.counters.receive_errors += 1
            continue
        look_ahead(table, &judging.packets[read].frame, &judging.flows, &judging.decisions[read])
        read += 1
    return read


cdef inline uint32_t mark_of(
    judging_t *judging, const table_t *table, uint32_t lane_mark, const packet_t *packet, const decision_t *decision
) noexcept nogil:
    """Return the mark that a packet is accepted with, 0 for a drop."""
    if decision.verdict != VERDICT_ACCEPT:
        return 0
    if lane_mark and may_take_lane(table, &packet.frame, decision):
        judging.counters.laned += 1
        return lane_mark
    return MARK_JUDGED


cdef inline void judge_batch(
    judging_t *judging, const table_t *table, inbox_t *inbox, int count, uint64_t now_ns, outbox_t *outbox
) noexcept nogil:
    """Judge every packet of a batch and write its verdicts; `now_ns` is CLOCK_REALTIME."""
    cdef verdicts_t verdicts
    cdef packet_t *packet
    cdef decision_t *decision
    cdef uint32_t i, read
    # ORDER: the lane's mark before any other state, so that no frame judged by older state carries a newer mark.
    # From a full batch frames are still parked behind this one: in the lane, later ones would overtake them.
    cdef uint32_t lane_mark = load32(<uint32_t *>&table.state.lane_mark) if count < MAX_BATCH else 0
    outbox.used = 0
    verdicts.count = 0
    verdicts.dropped = 0
    judging.refused_count = 0
    read = read_batch(judging, table, inbox, count)
    for i in range(read):
        packet = &judging.packets[i]
        decision = &judging.decisions[i]
        decide(table, &packet.frame, &judging.flows, now_ns, decision)
        tally(judging.counters, i, decision)
        if decision.write_event:
            write_event(judging.ring, judging.index, table.generation, &packet.frame, decision, now_ns)
        if is_refused(table, &packet.frame, decision):
            judging.refused[judging.refused_count] = <uint8_t>i
            judging.refused_count += 1
        add_verdict(&verdicts, packet.id, mark_of(judging, table, lane_mark, packet, decision))
    if not read:
        return
    put_verdicts(outbox, judging.number, &verdicts)
    judging.counters.received += read
    judging.counters.batches += 1
    store32(&judging.counters.last_id, judging.packets[read - 1].id)
    store32(&judging.counters.pending, read)


cdef inline void answer_refused(
    judging_t *judging, refuser_t *refuser, const table_t *table, uint64_t now_ns
) noexcept nogil:
    """Answer the senders of what the batch dropped, after its verdicts: the frames are still in the inbox."""
    cdef packet_t *packet
    cdef uint32_t i
    cdef int sent
    for i in range(judging.refused_count):
        packet = &judging.packets[judging.refused[i]]
        sent = refuse(refuser, table, &packet.frame, &judging.decisions[judging.refused[i]], now_ns)
        if sent > 0:
            judging.counters.refused += 1
        elif sent < 0:
            judging.counters.receive_errors += 1
