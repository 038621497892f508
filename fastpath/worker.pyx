# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The engine's loop over one queue: receive a batch, judge every frame, send the verdicts, count.

In: a queue socket, the shared segments, and the image and state that `install` hands over. Out: verdicts, counters,
events, flows, streams. `run` holds no Python object and no GIL; it allocates at start only. What happens between
receiving and sending stands in `judging`. Used by gateway.engine, one per queue, and by nobody else.
"""

import mmap
import os

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    FLOW_WAYS,
    FLOWS_HEADER_BYTES,
    STREAM_WINDOWS,
    STREAMS_HEADER_BYTES,
    STREAMS_PER_TABLE,
    flow_t,
    flows_header_t,
    queue_counters_t,
)
from fastpath.attach cimport attach_table
from fastpath.batch cimport (
    CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_REALTIME,
    clock_ns,
    inbox_close,
    inbox_look,
    inbox_open,
    inbox_receive,
    inbox_t,
    is_waiting,
    outbox_t,
    send_to_kernel,
)
from fastpath.counters cimport commit, load32, load64, queue_counters, store32, store64
from fastpath.events cimport ring_of
from fastpath.flow_index cimport flow_slot_t, flows_t, index_flows
from fastpath.judging cimport judge_batch, judging_t
from fastpath.pace cimport limiter_t
from fastpath.polling cimport POLL_ADAPTIVE, POLL_ALWAYS, POLL_OFF, keep_spinning, learn_silence, polling_t
from fastpath.refuse cimport send_answers
from fastpath.stream_memory cimport attach_streams, recover_streams
from fastpath.table cimport table_t

from fastpath import abi
from fastpath.judge import validate_image, validate_state

# How a worker waits for packets: `engine.polling`.
POLLING = {"off": POLL_OFF, "adaptive": POLL_ADAPTIVE, "always": POLL_ALWAYS}
POLLING_NS_DEFAULT = 1_000_000

cdef enum:
    ENOBUFS = 105
    SPIN_TURN_NS = 50_000_000  # a spinning loop comes round this often

cdef extern from *:
    """
    #define CND_TABLE_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
    #define CND_TABLE_LOAD(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
    """
    void store_table "CND_TABLE_STORE"(table_t **where, table_t *table) noexcept nogil
    table_t *load_table "CND_TABLE_LOAD"(table_t **where) noexcept nogil


def new_limits():
    """Return the memory in which all workers of an engine keep the clocks of the limits."""
    limits = mmap.mmap(-1, sizeof(limiter_t))
    limits[:8] = os.urandom(8)
    return limits


cdef class Worker:
    """Judges one queue.

    fd: the queue socket. index: the queue's place in the segments.
    counters, events, flows, streams: the writable segments.
    copy_bytes: the queue's copy range. limits: one `new_limits()` for all workers of an engine.
    answer_fd: a packet socket for answers to what is dropped, -1 for none.
    polling: a value of POLLING; polling_ns: the longest that `adaptive` spins.
    Lifetime: keeps references to every buffer it points into, and to the image and state of two generations: the one
    in force and the one before, which a batch in hand may still read.
    """

    cdef int fd
    cdef uint32_t copy_bytes
    cdef uint16_t number
    cdef uint32_t stopping
    cdef queue_counters_t *counters
    cdef limiter_t *limiter
    cdef polling_t polling
    cdef judging_t judging
    cdef table_t *wanted  # written by install, read by run
    cdef table_t tables[2]
    cdef object buffers
    cdef list kept
    cdef int next_slot

    def __init__(
        self,
        int fd,
        int index,
        counters,
        events,
        flows,
        streams,
        int copy_bytes,
        *,
        limits=None,
        int answer_fd=-1,
        int polling=POLL_OFF,
        uint64_t polling_ns=POLLING_NS_DEFAULT,
    ):
        cdef uint8_t[::1] counters_view = counters
        cdef uint8_t[::1] events_view = events
        cdef uint8_t[::1] flows_view = flows
        cdef uint8_t[::1] streams_view = streams
        cdef uint8_t[::1] limits_view
        cdef flows_header_t *flows_header = <flows_header_t *>&flows_view[0]
        cdef uint64_t table_bytes
        if index < 0 or counters_view.shape[0] < <Py_ssize_t>abi.counters_bytes(index + 1):
            raise ValueError(f"the counters segment holds no queue {index}")
        if events_view.shape[0] < <Py_ssize_t>abi.events_bytes(index + 1):
            raise ValueError(f"the events segment holds no queue {index}")
        table_bytes = flows_header.flows_per_table * sizeof(flow_t)
        if flows_header.flows_per_table < 4 or flows_header.flows_per_table & (flows_header.flows_per_table - 1):
            raise ValueError("flows per table must be a power of two, at least 4")
        if <uint64_t>flows_view.shape[0] < FLOWS_HEADER_BYTES + (index + 1) * table_bytes:
            raise ValueError(f"the flows segment holds no table {index}")
        if streams_view.shape[0] < <Py_ssize_t>abi.streams_bytes(index + 1):
            raise ValueError(f"the streams segment holds no table {index}")
        if not 64 <= copy_bytes <= 65531:
            raise ValueError("copy_bytes must be 64 to 65531")
        limits = new_limits() if limits is None else limits
        limits_view = limits
        if limits_view.shape[0] < <Py_ssize_t>sizeof(limiter_t):
            raise ValueError("limits must come from new_limits()")
        if polling not in (POLL_OFF, POLL_ADAPTIVE, POLL_ALWAYS):
            raise ValueError("no such way of polling")
        self.fd = fd
        self.copy_bytes = copy_bytes
        self.stopping = 0
        self.counters = queue_counters(&counters_view[0], index)
        self.number = self.counters.queue_number
        self.judging.counters = self.counters
        self.judging.ring = ring_of(&events_view[0], index)
        self.judging.index = index
        self.judging.number = self.number
        self.take_flows(<flow_t *>(&flows_view[0] + FLOWS_HEADER_BYTES + index * table_bytes), flows_header)
        table_bytes = <uint64_t>abi.streams_table_bytes(STREAMS_PER_TABLE, STREAM_WINDOWS)
        attach_streams(
            &self.judging.flows.streams, &streams_view[0] + STREAMS_HEADER_BYTES + index * table_bytes,
            STREAMS_PER_TABLE, STREAM_WINDOWS, self.judging.flows.entries, flows_header.flows_per_table,
        )
        recover_streams(&self.judging.flows.streams)
        self.limiter = <limiter_t *>&limits_view[0]
        self.judging.refuser.fd = answer_fd
        self.judging.refuser.clock = 0
        self.judging.refuser.count = 0
        self.polling.mode = polling
        self.polling.limit_ns = polling_ns
        self.polling.window_ns = 0
        self.wanted = NULL
        self.buffers = (counters, events, flows, streams, limits)
        self.next_slot = 0
        self.kept = [None, None]

    def __dealloc__(self):
        PyMem_Free(self.judging.flows.slots)

    cdef int take_flows(self, flow_t *entries, const flows_header_t *header) except -1:
        """Go on with the flows that an earlier engine left, or with none."""
        cdef flows_t *flows = &self.judging.flows
        flows.entries = entries
        flows.bucket_mask = header.flows_per_table / FLOW_WAYS - 1
        flows.seed = header.seed
        flows.created = self.counters.flows_created
        flows.evicted = self.counters.flows_evicted
        flows.slots = <flow_slot_t *>PyMem_Calloc(header.flows_per_table, sizeof(flow_slot_t))
        if flows.slots == NULL:
            raise MemoryError
        index_flows(flows)
        return 0

    def install(self, image, state):
        """Make a policy the one to judge by from the next batch on.

        Raises ValueError when image or state is not what it claims to be, or while the worker has not yet adopted the
        one before (`adopted`); what is in force stays.
        """
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        cdef table_t *table = &self.tables[self.next_slot]
        validate_image(image)
        validate_state(image, state)
        if self.wanted != NULL and not self.adopted(self.wanted.generation):
            raise ValueError("the generation before has not been adopted yet")
        attach_table(table, &image_view[0], &state_view[0], self.limiter)
        self.kept[self.next_slot] = (image, state)
        self.next_slot = 1 - self.next_slot
        store_table(&self.wanted, table)

    def adopted(self, uint64_t generation):
        """Tell whether the loop has begun to judge by a generation: then no older one is read any more."""
        return load64(&self.counters.generation) == generation

    def stop(self):
        """Let `run` return within the receive time-out; the batch in hand is finished."""
        store32(&self.stopping, 1)

    def run(self):
        """Judge until `stop`. Raises OSError when the socket fails, MemoryError, ValueError without a policy."""
        cdef inbox_t inbox
        cdef int error
        if load_table(&self.wanted) == NULL:
            raise ValueError("install a policy first")
        if not inbox_open(&inbox, self.copy_bytes):
            raise MemoryError
        try:
            with nogil:
                error = self.loop(&inbox)
        finally:
            inbox_close(&inbox)
        if error:
            raise OSError(error, f"queue {self.number}: {os.strerror(error)}")

    cdef int loop(self, inbox_t *inbox) noexcept nogil:
        cdef outbox_t outbox
        cdef int count, error
        while not load32(&self.stopping):
            self.adopt()
            store64(&self.counters.heartbeat_ns, clock_ns(CLOCK_MONOTONIC_COARSE))
            count = self.receive(inbox)
            if count < 0:
                error = errno
                if is_waiting(error):
                    continue
                self.counters.receive_errors += 1
                if error != ENOBUFS:
                    return error
                continue
            # A swap during the wait must hold for the packets that ended it.
            judge_batch(&self.judging, self.adopt(), inbox, count, clock_ns(CLOCK_REALTIME), &outbox)
            self.counters.flows_created = self.judging.flows.created
            self.counters.flows_evicted = self.judging.flows.evicted
            error = self.send(&outbox)
            if error:
                return error
            commit(self.counters)
            if self.judging.refuser.count:
                send_answers(&self.judging.refuser, self.counters)
        return 0

    cdef const table_t *adopt(self) noexcept nogil:
        """Take the wanted table and say so: from here on no older one is read."""
        cdef table_t *table = load_table(&self.wanted)
        store64(&self.counters.generation, table.generation)
        return table

    cdef int receive(self, inbox_t *inbox) noexcept nogil:
        """Take what is there, spinning or sleeping until something is; returns as recvmmsg does."""
        cdef int count
        cdef uint64_t now_ns
        if self.polling.mode == POLL_OFF:
            return inbox_receive(self.fd, inbox)
        now_ns = clock_ns(CLOCK_MONOTONIC)
        self.polling.since_ns = now_ns
        while keep_spinning(&self.polling, now_ns):
            count = inbox_look(self.fd, inbox)
            if count >= 0 or errno != EAGAIN:
                return count
            now_ns = clock_ns(CLOCK_MONOTONIC)
            if now_ns - self.polling.since_ns > SPIN_TURN_NS:
                return count  # time to show the heartbeat
        count = inbox_receive(self.fd, inbox)
        learn_silence(&self.polling, clock_ns(CLOCK_MONOTONIC))
        return count

    cdef int send(self, outbox_t *outbox) noexcept nogil:
        """Hand the batch's verdicts to the kernel, in one system call. Returns an errno."""
        if outbox.used == 0:
            return 0
        if send_to_kernel(self.fd, outbox.data, outbox.used) == <Py_ssize_t>outbox.used:
            return 0
        self.counters.verdict_errors += 1
        return errno if errno else 5
