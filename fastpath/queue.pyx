# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Queue sockets: opened and configured through netfilterqueue, and kept flowing while no engine judges.

In: a queue number and its limits. Out: a socket fd that the keeper owns and lends to the engine. `Releaser` is what the
keeper runs between two engines: it settles the crashed engine's last batch and passes every frame on, unmarked, to the
`static` chain, which applies the same policy at L3/L4. Called by the keeper only.
"""

import os
import socket
import struct

from libc.errno cimport ENOENT, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from netfilterqueue import COPY_PACKET, NetfilterQueue

from fastpath.abi cimport queue_counters_t
from fastpath.batch cimport (
    CLOCK_MONOTONIC_COARSE,
    clock_ns,
    datagram,
    datagram_bytes,
    inbox_close,
    inbox_open,
    inbox_receive,
    inbox_t,
    is_waiting,
    send_to_kernel,
)
from fastpath.counters cimport commit, load32, queue_counters, store32, store64
from fastpath.cursor cimport native32
from fastpath.message cimport packet_t, read_packet, shapes_t
from fastpath.netlink cimport (
    NF_ACCEPT,
    NFNL_SUBSYS_QUEUE,
    NFQA_CFG_F_FAIL_OPEN,
    NFQA_CFG_F_GSO,
    NFQA_CFG_FLAGS,
    NFQA_CFG_MASK,
    NFQNL_MSG_CONFIG,
    NFQNL_MSG_VERDICT,
    NFQNL_MSG_VERDICT_BATCH,
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_ERROR_TYPE,
    VERDICT_BYTES,
    is_answer,
    is_packet,
    put_verdict,
)

from fastpath import abi

RECEIVE_TIMEOUT_MS = 100  # how long a loop waits for a first packet before it shows its heartbeat
_ACK_ATTEMPTS = 4096  # packets that may arrive before the acknowledgement of a configuration message

cdef enum:
    RELEASE_COPY_BYTES = 64  # a releaser reads packet ids, not packets
    ENOMEM = 12
    ENOBUFS = 105


class QueueSocket:
    """One bound NFQUEUE. Keeps the kernel's queue alive until `close`; packets parked in it are dropped then."""

    def __init__(self, int number, object queue):
        self.number = number
        self._queue = queue
        self.fd = queue.get_fd()

    def close(self):
        """Unbind: from now on the queue rule's `bypass` sends frames to `static`."""
        if self._queue is not None:
            self._queue.unbind()
            self._queue = None
            self.fd = -1


def open_queue(int number, int max_length, int copy_bytes, int receive_buffer_bytes):
    """Bind a queue and return its QueueSocket.

    max_length is in packets, copy_bytes from the network header on. GSO and FAIL_OPEN are set in one acknowledged
    message: with two, or two attributes, the last would win silently. A packet that arrives before that is
    accepted unmarked, so that `static` judges it.
    Raises OSError when the kernel refuses: the number is taken, or CAP_NET_ADMIN is missing.
    """
    queue = NetfilterQueue()
    queue.bind(number, lambda packet: packet.accept(), max_length, COPY_PACKET, copy_bytes, receive_buffer_bytes)
    sock = socket.socket(fileno=os.dup(queue.get_fd()))
    try:
        timeout = struct.pack("ll", RECEIVE_TIMEOUT_MS // 1000, RECEIVE_TIMEOUT_MS % 1000 * 1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        flags = NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO
        _configure(sock, number, _attribute(NFQA_CFG_FLAGS, flags) + _attribute(NFQA_CFG_MASK, flags))
    except BaseException:
        queue.unbind()
        raise
    finally:
        sock.close()
    return QueueSocket(number, queue)


def _attribute(kind, value):
    return struct.pack("=HH", 8, kind) + struct.pack(">I", value)


def _configure(sock, number, attributes):
    """Send one configuration message and wait for the kernel's acknowledgement; raises OSError with its refusal."""
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, number) + attributes
    kind = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG
    sock.sendto(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body, (0, 0))
    for _ in range(_ACK_ATTEMPTS):
        try:
            message = sock.recv(65536 + 4096)
        except BlockingIOError:
            raise OSError(f"queue {number}: the kernel does not acknowledge its configuration") from None
        if struct.unpack_from("=H", message, 4)[0] == NLMSG_ERROR_TYPE:
            code = -struct.unpack_from("=i", message, 16)[0]
            if code:
                raise OSError(code, f"queue {number}: {os.strerror(code)}")
            return
        _release_one(sock, number, message)
    raise OSError(f"queue {number}: no acknowledgement among {_ACK_ATTEMPTS} messages")


def _release_one(sock, number, bytes message):
    """Accept, unmarked, a packet that came before its queue was configured."""
    cdef packet_t packet
    cdef shapes_t shapes
    cdef uint8_t verdict[VERDICT_BYTES]
    cdef const uint8_t *start = message
    memset(&shapes, 0, sizeof(shapes))
    if read_packet(&packet, &shapes, start, <uint32_t>len(message)):
        put_verdict(verdict, NFQNL_MSG_VERDICT, 0, number, packet.id, NF_ACCEPT, 0)
        sock.sendto(verdict[:VERDICT_BYTES], (0, 0))


cdef class Releaser:
    """Passes a queue's frames to `static` while no engine judges; first settles what a dead engine left behind.

    `counters` is the writable counters segment, `index` the queue's place in it. `run` blocks without the GIL until
    `stop`; one Releaser or one Worker uses a socket at a time.
    """

    cdef int fd
    cdef uint16_t number
    cdef object counters_buffer
    cdef queue_counters_t *counters
    cdef shapes_t shapes
    cdef uint32_t stopping

    def __init__(self, int fd, counters, int index):
        cdef uint8_t[::1] view = counters
        if index < 0 or view.shape[0] < <Py_ssize_t>abi.counters_bytes(index + 1):
            raise ValueError(f"the counters segment holds no queue {index}")
        self.fd = fd
        self.counters_buffer = counters
        self.counters = queue_counters(&view[0], index)
        self.number = self.counters.queue_number
        self.stopping = 0

    def run(self):
        """Release until `stop`. Raises OSError when the socket fails, MemoryError."""
        cdef inbox_t inbox
        cdef int error
        if not inbox_open(&inbox, RELEASE_COPY_BYTES):
            raise MemoryError
        try:
            with nogil:
                error = self.settle()
                if not error:
                    error = self.release(&inbox)
        finally:
            inbox_close(&inbox)
        if error:
            raise OSError(error, f"queue {self.number}: {os.strerror(error)}")

    def stop(self):
        """Let `run` return within RECEIVE_TIMEOUT_MS."""
        store32(&self.stopping, 1)

    cdef int settle(self) noexcept nogil:
        """Decide what became of a dead engine's last batch, then release all that it had read. Returns an errno.

        A batch is sent by one system call, so either all of it was judged or none. Asking for the newest packet tells:
        gone means the tally counts; still there means it was not sent, and the question itself has released it.
        """
        cdef uint8_t message[VERDICT_BYTES]
        cdef int answer
        cdef uint32_t last_id = load32(&self.counters.last_id)
        if load32(&self.counters.pending):
            put_verdict(message, NFQNL_MSG_VERDICT, NLM_F_ACK, self.number, last_id, NF_ACCEPT, 0)
            if send_to_kernel(self.fd, message, VERDICT_BYTES) < 0:
                return errno
            answer = self.await_answer()
            if answer == ENOENT:
                commit(self.counters)
            elif answer == 0:
                store32(&self.counters.pending, 0)
            else:
                return answer
        return self.release_up_to(last_id) if last_id else 0

    cdef int await_answer(self) noexcept nogil:
        """Wait for the kernel's answer to a message with NLM_F_ACK; packets in between are released."""
        cdef inbox_t inbox
        cdef int count, i, error, answer
        cdef int answered = 0
        cdef const uint8_t *message
        if not inbox_open(&inbox, RELEASE_COPY_BYTES):
            return ENOMEM
        answer = 0
        while not answered:
            count = inbox_receive(self.fd, &inbox)
            if count < 0:
                error = errno
                if is_waiting(error) or error == ENOBUFS:
                    continue
                inbox_close(&inbox)
                return error
            for i in range(count):
                message = datagram(&inbox, i)
                if is_answer(message, datagram_bytes(&inbox, i)):
                    answer = -<int>native32(message + 16)
                    answered = 1
                else:
                    self.note(message, datagram_bytes(&inbox, i))
            self.release_up_to(self.counters.last_id)
        inbox_close(&inbox)
        return answer

    cdef void note(self, const uint8_t *message, uint32_t length) noexcept nogil:
        """Remember a packet as read."""
        cdef packet_t packet
        if read_packet(&packet, &self.shapes, message, length):
            store32(&self.counters.last_id, packet.id)
            self.counters.received += 1
            self.counters.released += 1

    cdef int release_up_to(self, uint32_t last_id) noexcept nogil:
        """Accept, unmarked, every parked packet up to an id. Returns an errno."""
        cdef uint8_t message[VERDICT_BYTES]
        put_verdict(message, NFQNL_MSG_VERDICT_BATCH, 0, self.number, last_id, NF_ACCEPT, 0)
        return errno if send_to_kernel(self.fd, message, VERDICT_BYTES) < 0 else 0

    cdef int release(self, inbox_t *inbox) noexcept nogil:
        cdef int count, i, error
        cdef uint64_t noted
        cdef const uint8_t *message
        while not load32(&self.stopping):
            store64(&self.counters.heartbeat_ns, clock_ns(CLOCK_MONOTONIC_COARSE))
            count = inbox_receive(self.fd, inbox)
            if count < 0:
                error = errno
                if is_waiting(error):
                    continue
                self.counters.receive_errors += 1
                if error != ENOBUFS:
                    return error
                continue
            noted = self.counters.received
            for i in range(count):
                message = datagram(inbox, i)
                if is_packet(message, datagram_bytes(inbox, i)):
                    self.note(message, datagram_bytes(inbox, i))
            if self.counters.received == noted:
                continue  # somebody woke us: a verdict about nothing would leave an error for the next reader
            error = self.release_up_to(self.counters.last_id)
            if error:
                return error
        return 0
