# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The engine's loop over one queue: receive a batch, judge every frame, send the verdicts, count.

In: a queue socket, the shared segments, and the image and state that `install` hands over. Out: verdicts, counters,
events, flows. `run` holds no Python object and no GIL; it allocates at start only. A batch is gone through twice: first
every packet is read and the memory asked for that its lookups will touch, then each is judged, which by then finds it
in the cache. Used by gateway.engine, one per queue, and by nobody else.
"""

import mmap
import os

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    FLOWS_HEADER_BYTES,
    MARK_JUDGED,
    MAX_BATCH,
    VERDICT_ACCEPT,
    flow_t,
    flows_header_t,
    queue_counters_t,
    ring_header_t,
)
from fastpath.attach cimport attach_table
from fastpath.batch cimport (
    CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_REALTIME,
    clock_ns,
    datagram,
    datagram_bytes,
    inbox_close,
    inbox_look,
    inbox_open,
    inbox_receive,
    inbox_t,
    is_waiting,
    outbox_t,
    send_to_kernel,
)
from fastpath.counters cimport commit, load32, load64, queue_counters, store32, store64, tally
from fastpath.decide cimport decide, look_ahead
from fastpath.decision cimport decision_t
from fastpath.events cimport ring_of, write_event
from fastpath.flow cimport flow_slot_t, flows_t, index_flows
from fastpath.lane cimport may_take_lane
from fastpath.netlink cimport (
    is_answer,
    is_packet,
    packet_t,
    read_packet,
)
from fastpath.pace cimport limiter_t
from fastpath.polling cimport POLL_ADAPTIVE, POLL_ALWAYS, POLL_OFF, keep_spinning, learn_silence, polling_t
from fastpath.refuse cimport is_refused, refuse, refuser_t
from fastpath.table cimport table_t
from fastpath.verdicts cimport add_verdict, put_verdicts, verdicts_t

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

    fd: the queue socket. index: the queue's place in the segments. counters, events, flows: the writable segments.
    copy_bytes: the queue's copy range. limits: one `new_limits()` for all workers of an engine.
    answer_fd: a packet socket for answers to what is dropped, -1 for none.
    polling: a value of POLLING; polling_ns: the longest that `adaptive` spins.
    Lifetime: keeps references to every buffer it points into, and to the image and state of two generations: the one
    in force and the one before, which a batch in hand may still read.
    """

    cdef int fd
    cdef uint32_t index
    cdef uint32_t copy_bytes
    cdef uint16_t number
    cdef uint32_t stopping
    cdef queue_counters_t *counters
    cdef ring_header_t *ring
    cdef flows_t flows
    cdef limiter_t *limiter
    cdef refuser_t refuser
    cdef uint32_t refused[MAX_BATCH]  # places in the batch whose senders are to be answered
    cdef uint32_t refused_count
    cdef polling_t polling
    cdef packet_t packets[MAX_BATCH]  # of the batch in hand, with what was decided about each
    cdef decision_t decisions[MAX_BATCH]
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
        if not 64 <= copy_bytes <= 65531:
            raise ValueError("copy_bytes must be 64 to 65531")
        limits = new_limits() if limits is None else limits
        limits_view = limits
        if limits_view.shape[0] < <Py_ssize_t>sizeof(limiter_t):
            raise ValueError("limits must come from new_limits()")
        if polling not in (POLL_OFF, POLL_ADAPTIVE, POLL_ALWAYS):
            raise ValueError("no such way of polling")
        self.fd = fd
        self.index = index
        self.copy_bytes = copy_bytes
        self.stopping = 0
        self.counters = queue_counters(&counters_view[0], index)
        self.number = self.counters.queue_number
        self.ring = ring_of(&events_view[0], index)
        self.flows.entries = <flow_t *>(&flows_view[0] + FLOWS_HEADER_BYTES + index * table_bytes)
        self.flows.bucket_mask = flows_header.flows_per_table / 4 - 1
        self.flows.seed = flows_header.seed
        self.flows.created = self.counters.flows_created
        self.flows.evicted = self.counters.flows_evicted
        self.flows.slots = <flow_slot_t *>PyMem_Calloc(flows_header.flows_per_table, sizeof(flow_slot_t))
        if self.flows.slots == NULL:
            raise MemoryError
        index_flows(&self.flows)
        self.limiter = <limiter_t *>&limits_view[0]
        self.refuser.fd = answer_fd
        self.refuser.clock = 0
        self.refused_count = 0
        self.polling.mode = polling
        self.polling.limit_ns = polling_ns
        self.polling.window_ns = 0
        self.wanted = NULL
        self.buffers = (counters, events, flows, limits)
        self.next_slot = 0
        self.kept = [None, None]

    def __dealloc__(self):
        PyMem_Free(self.flows.slots)

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
        cdef const table_t *table
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
            table = self.adopt()
            self.judge_batch(table, inbox, count, &outbox)
            error = self.send(&outbox)
            if error:
                return error
            commit(self.counters)
            self.counters.flows_created = self.flows.created
            self.counters.flows_evicted = self.flows.evicted
            if self.refused_count:
                self.answer_refused(table)
        return 0

    cdef void answer_refused(self, const table_t *table) noexcept nogil:
        """Answer the senders of what was dropped; their frames lie in the inbox until the next batch is received."""
        cdef uint64_t now_ns = clock_ns(CLOCK_REALTIME)
        cdef uint32_t i
        cdef int sent
        for i in range(self.refused_count):
            sent = refuse(
                &self.refuser, table, &self.packets[self.refused[i]].frame, &self.decisions[self.refused[i]], now_ns
            )
            if sent > 0:
                self.counters.refused += 1
            elif sent < 0:
                self.counters.receive_errors += 1
        self.refused_count = 0

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

    cdef uint32_t read_batch(self, const table_t *table, inbox_t *inbox, int count) noexcept nogil:
        """Read every packet of a batch and ask for the memory that judging it will need; returns how many there are."""
        cdef const uint8_t *message
        cdef uint32_t length
        cdef uint32_t read = 0
        cdef int i
        for i in range(count):
            message = datagram(inbox, i)
            length = datagram_bytes(inbox, i)
            if not is_packet(message, length):
                self.counters.verdict_errors += is_answer(message, length)
                continue
            if not read_packet(&self.packets[read], message, length):
                self.counters.receive_errors += 1
                continue
            look_ahead(table, &self.packets[read].frame, &self.flows, &self.decisions[read])
            read += 1
        return read

    cdef void judge_batch(self, const table_t *table, inbox_t *inbox, int count, outbox_t *outbox) noexcept nogil:
        """Judge every packet of a batch and write its verdicts."""
        cdef verdicts_t verdicts
        cdef packet_t *packet
        cdef decision_t *decision
        cdef uint32_t i, read, mark
        # ORDER: the lane's mark before any other state, so that no frame judged by older state carries a newer mark.
        # From a full batch frames are still parked behind this one: in the lane, later ones would overtake them.
        cdef uint32_t lane_mark = load32(<uint32_t *>&table.state.lane_mark) if count < MAX_BATCH else 0
        cdef uint64_t now_ns = clock_ns(CLOCK_REALTIME)
        outbox.used = 0
        verdicts.count = 0
        verdicts.dropped = 0
        read = self.read_batch(table, inbox, count)
        for i in range(read):
            packet = &self.packets[i]
            decision = &self.decisions[i]
            decide(table, &packet.frame, &self.flows, now_ns, decision)
            tally(self.counters, i, decision)
            if decision.write_event:
                write_event(self.ring, <uint8_t>self.index, table.generation, &packet.frame, decision, now_ns)
            mark = 0
            if decision.verdict == VERDICT_ACCEPT:
                mark = MARK_JUDGED
                if lane_mark and may_take_lane(table, &packet.frame, decision):
                    mark = lane_mark
                    self.counters.laned += 1
            elif is_refused(table, &packet.frame, decision):
                self.refused[self.refused_count] = i
                self.refused_count += 1
            add_verdict(&verdicts, packet.id, mark)
        if not read:
            return
        put_verdicts(outbox, self.number, &verdicts)
        self.counters.received += read
        self.counters.batches += 1
        store32(&self.counters.last_id, self.packets[read - 1].id)
        store32(&self.counters.pending, read)

    cdef int send(self, outbox_t *outbox) noexcept nogil:
        """Hand the batch's verdicts to the kernel, in one system call. Returns an errno."""
        if outbox.used == 0:
            return 0
        if send_to_kernel(self.fd, outbox.data, outbox.used) == <Py_ssize_t>outbox.used:
            return 0
        self.counters.verdict_errors += 1
        return errno if errno else 5
