# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The engine's work on a batch without its system calls: netlink messages in, verdict messages and counts out.

In: an image and state, segments of the engine's layouts, messages as the kernel writes them, and the order in which
they come. Out: nanoseconds and frames of the worker's own `judge_batch` and `commit`: read, decide, tally, event,
verdict. Copying a batch into the inbox stands for the kernel's copy and is not timed. Compiled by
bench/extension.py into build/bench with the product's compiler flags; no part of the product.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastpath.abi cimport FLOW_WAYS, FLOWS_HEADER_BYTES, MAX_BATCH, REASON_COUNT, flow_t, flows_header_t
from fastpath.attach cimport attach_table
from fastpath.batch cimport (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    clock_ns,
    inbox_close,
    inbox_open,
    inbox_t,
    outbox_t,
)
from fastpath.counters cimport commit, queue_counters, store64
from fastpath.events cimport ring_of
from fastpath.flow cimport flow_slot_t
from fastpath.judging cimport judge_batch, judging_t
from fastpath.table cimport table_t

from fastpath.judge import validate_image, validate_state

cdef extern from *:
    """
    #define CND_SET_BYTES(inbox, i, n) ((inbox)->messages[i].msg_len = (n))
    """
    void set_datagram_bytes "CND_SET_BYTES"(inbox_t *inbox, int index, uint32_t count) noexcept nogil

cdef enum:
    STRIDE_BYTES = 256  # room of one message
    FRESH = 0x80000000  # in an entry of the order: give the frame a source port of its own

cdef struct bench_t:
    table_t table
    judging_t judging
    inbox_t inbox
    outbox_t outbox


cdef void judge_one_batch(bench_t *bench, int count) noexcept nogil:
    """Do what Worker.loop does between receiving and sending, and after."""
    judge_batch(&bench.judging, &bench.table, &bench.inbox, count, clock_ns(CLOCK_REALTIME), &bench.outbox)
    commit(bench.judging.counters)


# Called through a pointer, so that it stays one symbol: callgrind counts what runs between its entry and its return.
ctypedef void (*judge_batch_t)(bench_t *, int) noexcept nogil
cdef judge_batch_t the_judge_batch = judge_one_batch


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
        self.bench.judging.flows.slots = <flow_slot_t *>calloc(header.flows_per_table, sizeof(flow_slot_t))
        if self.bench.judging.flows.slots == NULL or not inbox_open(&self.bench.inbox, STRIDE_BYTES):
            raise MemoryError
        self.bench.judging.flows.entries = <flow_t *>(&flows_view[0] + FLOWS_HEADER_BYTES)
        self.bench.judging.flows.bucket_mask = header.flows_per_table / FLOW_WAYS - 1
        self.bench.judging.flows.seed = header.seed
        self.bench.judging.counters = queue_counters(&counters_view[0], 0)
        self.bench.judging.ring = ring_of(&events_view[0], 0)
        self.messages = messages
        self.payload_at = payload_at
        self.kept = (image, state, flows, counters, events)

    def __dealloc__(self):
        free(self.bench.judging.flows.slots)
        inbox_close(&self.bench.inbox)

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
                store64(&self.bench.judging.ring.tail, self.bench.judging.ring.head)  # somebody reads the events
        return spent, order.shape[0]

    cdef void receive(self, const uint32_t *order, int count) noexcept nogil:
        """Do what recvmmsg does: put the next messages into the inbox, each with a packet id of its own."""
        cdef const uint8_t *message
        cdef uint8_t *to
        cdef uint32_t length
        cdef int i
        for i in range(count):
            message = &self.messages[0] + <uint64_t>(order[i] & ~<uint32_t>FRESH) * STRIDE_BYTES
            to = self.bench.inbox.buffers + <uint64_t>i * self.bench.inbox.stride
            memcpy(&length, message, 4)
            set_datagram_bytes(&self.bench.inbox, i, length)
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
        cdef uint64_t count = (<uint64_t>self.bench.judging.flows.bucket_mask + 1) * FLOW_WAYS
        memset(self.bench.judging.flows.entries, 0, count * sizeof(flow_t))
        memset(self.bench.judging.flows.slots, 0, count * sizeof(flow_slot_t))

    def counts(self):
        """Return {reason: (passed, dropped)} without zeros, and created and evicted flows."""
        cdef int reason
        by_reason = {}
        for reason in range(REASON_COUNT):
            passed = self.bench.judging.counters.by_reason[2 * reason]
            dropped = self.bench.judging.counters.by_reason[2 * reason + 1]
            if passed or dropped:
                by_reason[reason] = (passed, dropped)
        return by_reason, self.bench.judging.flows.created, self.bench.judging.flows.evicted
