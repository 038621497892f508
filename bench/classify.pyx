# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The engine's work on a batch without its system calls: netlink messages in, verdict messages and counts out.

In: an image and state, segments of the engine's layouts, messages as the kernel writes them, and the order in which
they come. Out: nanoseconds and frames of `judge_batch`, which is the worker's own code path: read, decide, tally, event,
verdict, commit. Copying a batch into the inbox stands for the kernel's copy and is not timed. Compiled by
bench/extension.py into build/bench with the product's compiler flags; no part of the product.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.abi cimport (
    FLOWS_HEADER_BYTES,
    MARK_JUDGED,
    MAX_BATCH,
    REASON_COUNT,
    VERDICT_ACCEPT,
    flow_t,
    flows_header_t,
    queue_counters_t,
    ring_header_t,
)
from fastpath.attach cimport attach_table
from fastpath.batch cimport CLOCK_REALTIME, clock_ns, outbox_t
from fastpath.counters cimport commit, queue_counters, store32, store64, tally
from fastpath.decide cimport decide
from fastpath.decision cimport decision_t
from fastpath.events cimport ring_of, write_event
from fastpath.flow cimport flows_t
from fastpath.netlink cimport (
    NF_ACCEPT,
    NF_DROP,
    NFQNL_MSG_VERDICT,
    NFQNL_MSG_VERDICT_BATCH,
    packet_t,
    put_verdict,
    read_packet,
)
from fastpath.table cimport table_t

from fastpath.judge import validate_image, validate_state

cdef extern from *:
    """
    #include <time.h>
    #define CND_PRECISE CLOCK_MONOTONIC
    """
    int CLOCK_MONOTONIC "CND_PRECISE"

cdef enum:
    STRIDE_BYTES = 256  # room of one message, here and in the inbox
    FRESH = 0x80000000  # in an entry of the order: give the frame a source port of its own

cdef struct bench_t:
    table_t table
    flows_t flows
    queue_counters_t *counters
    ring_header_t *ring
    uint32_t lengths[MAX_BATCH]
    uint8_t inbox[MAX_BATCH * STRIDE_BYTES]
    outbox_t outbox


cdef void judge_batch(bench_t *bench, int count) noexcept nogil:
    """As Worker.judge_batch and commit, line by line."""
    cdef packet_t packet
    cdef decision_t decision
    cdef uint32_t accepted_id = 0, last_id = 0, judged = 0
    cdef int i, any_accepted = 0
    cdef uint64_t now_ns = clock_ns(CLOCK_REALTIME)
    bench.outbox.used = 0
    for i in range(count):
        if not read_packet(&packet, bench.inbox + i * STRIDE_BYTES, bench.lengths[i]):
            bench.counters.receive_errors += 1
            continue
        last_id = packet.id
        decide(&bench.table, &packet.frame, &bench.flows, now_ns, &decision)
        tally(bench.counters, judged, &decision)
        judged += 1
        if decision.write_event:
            write_event(bench.ring, 0, bench.table.generation, &packet.frame, &decision, now_ns)
        if decision.verdict == VERDICT_ACCEPT:
            accepted_id = packet.id
            any_accepted = 1
        else:
            bench.outbox.used += put_verdict(
                bench.outbox.data + bench.outbox.used, NFQNL_MSG_VERDICT, 0, 0, packet.id, NF_DROP, 0
            )
    if any_accepted:
        bench.outbox.used += put_verdict(
            bench.outbox.data + bench.outbox.used, NFQNL_MSG_VERDICT_BATCH, 0, 0, accepted_id, NF_ACCEPT, MARK_JUDGED
        )
    bench.counters.received += judged
    bench.counters.batches += 1
    store32(&bench.counters.last_id, last_id)
    store32(&bench.counters.pending, judged)
    commit(bench.counters)


# Called through a pointer, so that it stays one symbol: callgrind counts what runs between its entry and its return.
ctypedef void (*judge_batch_t)(bench_t *, int) noexcept nogil
cdef judge_batch_t the_judge_batch = judge_batch


cdef class Classifier:
    """One table, one flow memory, one set of counters, and messages to judge.

    flows: a flows segment with one table; counters, events: segments of one queue. messages: STRIDE_BYTES each, the
    netlink message first, its length in the header. payload_at: where the IP header stands in every message.
    """

    cdef bench_t bench
    cdef const uint8_t[::1] messages
    cdef uint32_t payload_at
    cdef uint32_t next_id
    cdef uint16_t next_port
    cdef object kept

    def __init__(self, image, state, flows, counters, events, const uint8_t[::1] messages, uint32_t payload_at):
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        cdef uint8_t[::1] flows_view = flows
        cdef uint8_t[::1] counters_view = counters
        cdef uint8_t[::1] events_view = events
        cdef flows_header_t *header = <flows_header_t *>&flows_view[0]
        validate_image(image)
        validate_state(image, state)
        if messages.shape[0] % STRIDE_BYTES or not messages.shape[0]:
            raise ValueError("messages of 256 bytes each")
        if payload_at + 24 > STRIDE_BYTES:
            raise ValueError("no room for an IP header")
        if <uint64_t>flows_view.shape[0] < FLOWS_HEADER_BYTES + header.flows_per_table * sizeof(flow_t):
            raise ValueError("the flows segment is shorter than it says")
        attach_table(&self.bench.table, &image_view[0], &state_view[0], NULL)  # its policies have no limits
        self.bench.flows.entries = <flow_t *>(&flows_view[0] + FLOWS_HEADER_BYTES)
        self.bench.flows.bucket_mask = header.flows_per_table / 4 - 1
        self.bench.flows.seed = header.seed
        self.bench.counters = queue_counters(&counters_view[0], 0)
        self.bench.ring = ring_of(&events_view[0], 0)
        self.messages = messages
        self.payload_at = payload_at
        self.kept = (image, state, flows, counters, events)

    def run(self, const uint32_t[::1] order):
        """Judge the messages in the order given, in batches; return (nanoseconds, frames) of the judging alone."""
        cdef Py_ssize_t at = 0
        cdef uint64_t started, spent = 0
        cdef int count
        cdef Py_ssize_t i
        for i in range(order.shape[0]):
            if <Py_ssize_t>(order[i] & ~<uint32_t>FRESH) * STRIDE_BYTES >= self.messages.shape[0]:
                raise ValueError("the order names a message that is not there")
        with nogil:
            while at < order.shape[0]:
                count = <int>min(MAX_BATCH, order.shape[0] - at)
                self.receive(&order[at], count)
                at += count
                started = clock_ns(CLOCK_MONOTONIC)
                the_judge_batch(&self.bench, count)
                spent += clock_ns(CLOCK_MONOTONIC) - started
                store64(&self.bench.ring.tail, self.bench.ring.head)  # somebody reads the events
        return spent, order.shape[0]

    cdef void receive(self, const uint32_t *order, int count) noexcept nogil:
        """Do what recvmmsg does: put the next messages into the inbox, each with a packet id of its own."""
        cdef const uint8_t *message
        cdef uint8_t *to
        cdef uint32_t length
        cdef int i
        for i in range(count):
            message = &self.messages[0] + <uint64_t>(order[i] & ~<uint32_t>FRESH) * STRIDE_BYTES
            to = self.bench.inbox + i * STRIDE_BYTES
            memcpy(&length, message, 4)
            self.bench.lengths[i] = length
            memcpy(to, message, length)
            self.next_id += 1
            to[24] = <uint8_t>(self.next_id >> 24)  # NFQA_PACKET_HDR comes first; the id is big-endian
            to[25] = <uint8_t>(self.next_id >> 16)
            to[26] = <uint8_t>(self.next_id >> 8)
            to[27] = <uint8_t>self.next_id
            if order[i] & FRESH:
                self.next_port += 1
                to[self.payload_at + 20] = <uint8_t>(self.next_port >> 8)
                to[self.payload_at + 21] = <uint8_t>self.next_port

    def forget_flows(self):
        """Empty the flow memory."""
        memset(self.bench.flows.entries, 0, (<uint64_t>self.bench.flows.bucket_mask + 1) * 4 * sizeof(flow_t))

    def counts(self):
        """Return {reason: (passed, dropped)} without zeros, and created and evicted flows."""
        cdef int reason
        by_reason = {}
        for reason in range(REASON_COUNT):
            passed = self.bench.counters.by_reason[2 * reason]
            dropped = self.bench.counters.by_reason[2 * reason + 1]
            if passed or dropped:
                by_reason[reason] = (passed, dropped)
        return by_reason, self.bench.flows.created, self.bench.flows.evicted
