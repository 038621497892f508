# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The engine's work on a batch without its system calls: netlink messages in, verdict messages and counts out.

In: an image and state, segments of the engine's layouts, messages as the kernel writes them, and the order in which
they come. Out: nanoseconds of every batch of fastpath.judging and the commit, the very code that the worker runs.
Copying a batch into the inbox stands for the kernel's copy and is not timed. Compiled by bench/extension.py into
build/bench with the product's compiler flags; no part of the product.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastpath.abi cimport (
    FLOW_WAYS,
    FLOWS_HEADER_BYTES,
    MAX_BATCH,
    REASON_COUNT,
    STREAM_WINDOWS,
    STREAMS_PER_TABLE,
    flow_t,
    flows_header_t,
)
from fastpath.attach cimport attach_table
from fastpath.batch cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_ns, inbox_close, inbox_open, inbox_t, outbox_t
from fastpath.counters cimport commit, queue_counters, store64
from fastpath.cursor cimport be16, be32
from fastpath.events cimport ring_of
from fastpath.flow_index cimport flow_slot_t, index_flows
from fastpath.judging cimport judge_batch, judging_t
from fastpath.pace cimport limiter_t
from fastpath.stream_memory cimport attach_streams
from fastpath.table cimport table_t

from fastpath import abi
from fastpath.judge import validate_image, validate_state
from fastpath.worker import new_limits

cdef extern from *:
    """
    #define CND_SET_DATAGRAM_BYTES(inbox, i, count) ((inbox)->messages[i].msg_len = (count))
    """
    void set_datagram_bytes "CND_SET_DATAGRAM_BYTES"(inbox_t *inbox, int index, uint32_t count) noexcept nogil

cdef enum:
    STRIDE_BYTES = 256  # of one message
    COPY_BYTES = 512  # the queue's copy range, as conduitd's default
    FRESH = 0x80000000  # in an entry of the order: give the frame a source port of its own
    # In an entry of the order: a TCP segment goes on where its sender's last one ended. Messages 2n and 2n + 1 are the
    # two sides of one conversation.
    GOES_ON = 0x40000000
    MARKS = 0xC0000000

cdef struct bench_t:
    table_t table
    judging_t judging
    inbox_t inbox
    outbox_t outbox

ctypedef void (*batch_t)(bench_t *, int) noexcept nogil


cdef void one_batch(bench_t *bench, int count) noexcept nogil:
    """As the worker's loop between receiving and sending, and its commit."""
    judge_batch(&bench.judging, &bench.table, &bench.inbox, count, clock_ns(CLOCK_REALTIME), &bench.outbox)
    commit(bench.judging.counters)


# Called through pointers, so that the compiler keeps both functions as symbols.
cdef batch_t the_batch = one_batch


cdef void counted_batch(bench_t *bench, int count) noexcept nogil:
    """The same under a name of its own: callgrind counts from its entry to its return (bench/instructions.py)."""
    the_batch(bench, count)


cdef batch_t the_counted_batch = counted_batch


cdef inline void put_number(uint8_t *p, uint32_t number) noexcept nogil:
    p[0] = <uint8_t>(number >> 24)
    p[1] = <uint8_t>(number >> 16)
    p[2] = <uint8_t>(number >> 8)
    p[3] = <uint8_t>number


cdef class Classifier:
    """One table, one flow memory, one set of counters, and messages to judge.

    flows: a flows segment with one table; counters, events: segments of one queue. messages: STRIDE_BYTES each, the
    netlink message first, its length in the header. payload_at: where the IP header stands in every message. limits:
    the clocks of `worker.new_limits`, which several of them may share. Streams are its own.
    """

    cdef bench_t bench
    cdef const uint8_t[::1] messages
    cdef uint32_t payload_at
    cdef uint32_t next_id
    cdef uint16_t next_port
    cdef uint32_t *spoken  # by message: bytes that were said by it so far
    cdef uint8_t *streams
    cdef object kept

    def __init__(
        self, image, state, flows, counters, events, const uint8_t[::1] messages, uint32_t payload_at, *, limits=None
    ):
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        cdef uint8_t[::1] flows_view = flows
        cdef uint8_t[::1] counters_view = counters
        cdef uint8_t[::1] events_view = events
        cdef uint8_t[::1] limits_view = new_limits() if limits is None else limits
        cdef flows_header_t *header = <flows_header_t *>&flows_view[0]
        cdef judging_t *judging = &self.bench.judging
        validate_image(image)
        validate_state(image, state)
        if messages.shape[0] % STRIDE_BYTES or not messages.shape[0]:
            raise ValueError("messages of 256 bytes each")
        if payload_at + 24 > STRIDE_BYTES:
            raise ValueError("no room for an IP header")
        if <uint64_t>flows_view.shape[0] < FLOWS_HEADER_BYTES + header.flows_per_table * sizeof(flow_t):
            raise ValueError("the flows segment is shorter than it says")
        attach_table(&self.bench.table, &image_view[0], &state_view[0], <limiter_t *>&limits_view[0])
        judging.counters = queue_counters(&counters_view[0], 0)
        judging.ring = ring_of(&events_view[0], 0)
        judging.flows.entries = <flow_t *>(&flows_view[0] + FLOWS_HEADER_BYTES)
        judging.flows.bucket_mask = header.flows_per_table / FLOW_WAYS - 1
        judging.flows.seed = header.seed
        judging.flows.slots = <flow_slot_t *>PyMem_Calloc(header.flows_per_table, sizeof(flow_slot_t))
        if judging.flows.slots == NULL or not inbox_open(&self.bench.inbox, COPY_BYTES):
            raise MemoryError
        index_flows(&judging.flows)
        self.spoken = <uint32_t *>PyMem_Calloc(messages.shape[0] / STRIDE_BYTES + 1, sizeof(uint32_t))
        self.streams = <uint8_t *>calloc(1, abi.streams_table_bytes(STREAMS_PER_TABLE, STREAM_WINDOWS))
        if self.spoken == NULL or self.streams == NULL:
            raise MemoryError
        attach_streams(
            &judging.flows.streams, self.streams, STREAMS_PER_TABLE, STREAM_WINDOWS,
            judging.flows.entries, header.flows_per_table,
        )
        self.messages = messages
        self.payload_at = payload_at
        self.kept = (image, state, flows, counters, events, limits_view)

    def __dealloc__(self):
        PyMem_Free(self.bench.judging.flows.slots)
        PyMem_Free(self.spoken)
        free(self.streams)
        inbox_close(&self.bench.inbox)

    def prepare(self, const uint32_t[::1] order):
        """Judge messages before anything is measured, so that their conversations are known."""
        self._run(order, NULL, the_batch)

    def run(self, const uint32_t[::1] order, uint64_t[::1] spent_ns):
        """Judge the messages in the order given, in batches of MAX_BATCH; `spent_ns` takes the time of each batch."""
        if spent_ns.shape[0] * MAX_BATCH < order.shape[0] or not order.shape[0]:
            raise ValueError("one time for every batch")
        self._run(order, &spent_ns[0], the_counted_batch)

    cdef int _run(self, const uint32_t[::1] order, uint64_t *spent_ns, batch_t judge) except -1:
        cdef Py_ssize_t at = 0
        cdef uint64_t started
        cdef int count
        cdef Py_ssize_t i
        for i in range(order.shape[0]):
            if <Py_ssize_t>(order[i] & ~<uint32_t>MARKS) * STRIDE_BYTES >= self.messages.shape[0]:
                raise ValueError("the order names a message that is not there")
        with nogil:
            while at < order.shape[0]:
                count = <int>min(MAX_BATCH, order.shape[0] - at)
                self.receive(&order[at], count)
                started = clock_ns(CLOCK_MONOTONIC)
                judge(&self.bench, count)
                if spent_ns != NULL:
                    spent_ns[at / MAX_BATCH] = clock_ns(CLOCK_MONOTONIC) - started
                at += count
                store64(&self.bench.judging.ring.tail, self.bench.judging.ring.head)  # somebody reads the events
        return 0

    cdef void receive(self, const uint32_t *order, int count) noexcept nogil:
        """Do what recvmmsg does: put the next messages into the inbox, each with a packet id of its own."""
        cdef const uint8_t *message
        cdef uint8_t *to
        cdef uint32_t length
        cdef int i
        for i in range(count):
            message = &self.messages[0] + <uint64_t>(order[i] & ~<uint32_t>MARKS) * STRIDE_BYTES
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
            if order[i] & GOES_ON:
                self.go_on(order[i] & ~<uint32_t>MARKS, to + self.payload_at)

    cdef void go_on(self, uint32_t message, uint8_t *ip) noexcept nogil:
        """Give a segment the numbers of its place in the conversation."""
        cdef uint8_t *tcp = ip + 20
        put_number(tcp + 4, be32(tcp + 4) + self.spoken[message])
        put_number(tcp + 8, be32(tcp + 8) + self.spoken[message ^ 1])
        self.spoken[message] += be16(ip + 2) - 40

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
