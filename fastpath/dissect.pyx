# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Conversations read by the inspectors of the data path: for tests, fuzzing and experiments.

In: the number of an inspector, and either bytes in stream order (`Dissection`) or segments as they come by
(`Conversations`). Out: plain values, message by message. Holds no logic of its own: it asks the code of the live path.
"""

from typing import NamedTuple

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.abi cimport (
    ACCESS_FIELDS,
    FLOW_WAYS,
    NO_ASSET,
    OPERATION_NONE,
    REASON_MESSAGE_OPERATION,
    REASON_NONE,
    flow_t,
)
from fastpath.answer cimport put_be32
from fastpath.finding cimport REFUSAL_REWRITE, begin_finding, finding_t
from fastpath.flow_index cimport flows_t
from fastpath.frame cimport PROTOCOL_TCP, PROTOCOL_UDP, frame_t
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport DIALOG_TAKEN_UP, access_t, dialog_t, refuse_message, sink_t
from fastpath.inspect.s7_dialog cimport s7_dialog_t
from fastpath.inspecting cimport inspect
from fastpath.reading cimport inspection_t
from fastpath.stream cimport OPENER, RESPONDER
from fastpath.stream_memory cimport attach_streams, recover_streams, stream_of

from fastpath import abi


cdef extern from *:
    """
    /* Any but 0, with which all addresses would be one. */
    #define CND_DISSECT_SEED 0x9E3779B97F4A7C15ULL
    """
    const uint64_t HASH_SEED "CND_DISSECT_SEED"


cdef void keep_access(sink_t *sink, const access_t *access) noexcept nogil:
    with gil:
        (<list>sink.context).append(_plain(access))


cdef list _values(const access_t *access):
    """Return what is written, bits as 0 and 1, words as bytes; None when nothing is, or not all of it is here."""
    cdef uint32_t at
    if access.values == NULL:
        return None
    if access.value_bytes == 0:
        return [access.values[at >> 3] >> (at & 7) & 1 for at in range(access.value_count)]
    whole = access.values[: access.value_count * access.value_bytes]
    return [whole[at : at + access.value_bytes] for at in range(0, len(whole), access.value_bytes)]


cdef dict _plain(const access_t *access):
    """Return an access as a dict; fields that are not there are missing, ranges are pairs."""
    names = abi.FIELD_NAMES[abi.Protocol(access.protocol)]
    fields = {}
    recalled = {}
    cdef int at
    for at in range(ACCESS_FIELDS):
        if access.present >> at & 1:
            fields[names[at]] = access.low[at]
            if access.low[at] != access.high[at]:
                fields[names[at]] = (access.low[at], access.high[at])
        elif access.recalled >> at & 1:
            recalled[names[at]] = access.low[at]
    return {
        "protocol": abi.Protocol(access.protocol),
        "operation": abi.Operation(access.operation),
        "answer": bool(access.answer),
        "depth": access.depth,
        "further": bool(access.further),
        "partial": bool(access.partial),
        "fields": fields,
        "recalled": recalled,
        "values": _values(access),
    }


cdef class Dissection:
    """A conversation as one inspector sees it; the opener's bytes and the responder's are measured apart.

    `taken_up`: it begins in its middle, so that answers may come whose requests were not seen.
    """

    cdef uint8_t inspector
    cdef dialog_t dialog

    def __init__(self, inspector, taken_up=False):
        self.inspector = abi.Inspector(inspector)
        memset(&self.dialog, 0, sizeof(self.dialog))
        self.dialog.words[DIALOG_TAKEN_UP] = bool(taken_up)

    def measure(self, const uint8_t[::1] data not None, bint from_opener):
        """Return (reason, length) of the message that begins at `data`; length 0: too little to tell."""
        cdef uint32_t length = 0
        cdef const uint8_t *start = &data[0] if data.shape[0] else NULL
        cdef uint8_t reason
        with nogil:
            reason = measure(self.inspector, start, <uint32_t>data.shape[0], from_opener, &length)
        return abi.Reason(reason), length

    def read(self, const uint8_t[::1] data not None, bint from_opener, length=None):
        """Return (reason, accesses) of one message, or of its beginning when `length` says that it is longer."""
        cdef sink_t sink
        cdef list found = []
        cdef uint32_t whole = <uint32_t>data.shape[0] if length is None else length
        cdef const uint8_t *start = &data[0] if data.shape[0] else NULL
        cdef uint8_t reason
        sink.put = keep_access
        sink.reason = REASON_NONE
        sink.context = <void *>found
        with nogil:
            reason = read(
                self.inspector, start, <uint32_t>data.shape[0], whole, from_opener, &self.dialog, &sink
            )
        return abi.Reason(reason if reason != REASON_NONE else sink.reason), found

    def messages(self, data, bint from_opener):
        """Return (messages, left): for each whole message (start, length, reason, accesses); stops at what is none."""
        view = memoryview(data)
        found = []
        at = 0
        while at < len(view):
            reason, length = self.measure(view[at:], from_opener)
            if reason is not abi.Reason.NONE:
                found.append((at, 0, reason, []))
                return found, view[at:].tobytes()
            if not length or at + length > len(view):
                break
            reason, accesses = self.read(view[at : at + length], from_opener)
            found.append((at, length, reason, accesses))
            at += length
        return found, view[at:].tobytes()


cdef enum:
    SEGMENT_BYTES = 65535  # an IP packet, as the kernel hands it over with its segments still in one


class Judged(NamedTuple):
    """What became of a segment. `message` is the refused message's place in it, negative when it began before."""

    reason: abi.Reason
    accesses: list
    message: int
    message_bytes: int
    passes: bool  # although there may be a reason
    edits: list  # (place in it, byte) of what is to be changed where it passes


cdef struct permission_t:
    sink_t sink
    uint32_t operations  # bit per abi.Operation
    void *accesses


cdef void judge_access(sink_t *sink, const access_t *access) noexcept nogil:
    cdef const permission_t *permission = <const permission_t *>sink.context
    if not access.answer and access.operation != OPERATION_NONE and not permission.operations >> access.operation & 1:
        refuse_message(sink, REASON_MESSAGE_OPERATION)
    with gil:
        (<list>permission.accesses).append(_plain(access))


cdef void revoke(sink_t *sink) noexcept nogil:
    pass


cdef uint8_t settle(sink_t *sink, uint8_t reason, int enforced) noexcept nogil:
    return reason


cdef class Conversations:
    """A few inspected conversations, each known by a number, in the memory that a queue's thread has.

    operations: what is permitted. memory: bytes of `abi.streams_table_bytes(streams, windows)`, all zeros or what
    another one left, as after a crash; so is `flows`, of `streams * 2 * abi.FLOW.size`. Both are borrowed.
    """

    cdef flows_t flows
    cdef uint32_t operations
    cdef inspection_t inspection
    cdef uint8_t answers
    cdef uint8_t *packet
    cdef object kept

    def __cinit__(
        self, inspector, *, operations, memory, flows, uint32_t streams, uint32_t windows, shuts=True, fail=0,
        answers=False
    ):
        cdef uint8_t[::1] view = memory
        cdef uint8_t[::1] flows_view = flows
        if flows_view.shape[0] < <Py_ssize_t>(streams * 2 * sizeof(flow_t)):
            raise ValueError("too little memory")
        if view.shape[0] < <Py_ssize_t>abi.streams_table_bytes(streams, windows):
            raise ValueError("too little memory")
        self.kept = memory, flows
        self.flows.entries = <flow_t *>&flows_view[0]
        self.packet = <uint8_t *>PyMem_Calloc(1, SEGMENT_BYTES + 20)
        if self.packet == NULL:
            raise MemoryError
        self.flows.bucket_mask = streams * 2 / FLOW_WAYS - 1
        self.flows.seed = HASH_SEED
        attach_streams(&self.flows.streams, &view[0], streams, windows, self.flows.entries, streams * 2)
        recover_streams(&self.flows.streams)
        self.operations = sum(1 << operation for operation in operations)
        self.inspection.inspector = abi.Inspector(inspector)
        self.inspection.shuts = shuts
        self.answers = answers
        self.inspection.fail = abi.FailMode(fail)

    def __dealloc__(self):
        PyMem_Free(self.packet)

    def segment(
        self, uint32_t number, bint from_opener, uint32_t sequence, uint32_t acknowledgement, uint8_t flags, bytes data,
        *, enforced=True, uint64_t now_ns=0, uint32_t cut=0, changeable=True
    ):
        """Judge a TCP segment of a conversation; `cut` bytes of it were not copied; others `changeable` or not."""
        cdef frame_t frame
        memset(&frame, 0, sizeof(frame))
        self.inspection.changeable = bool(changeable)
        frame.protocol = PROTOCOL_TCP
        frame.tcp_flags = flags
        memset(self.packet, 0, 20)
        put_be32(self.packet + 4, sequence)
        put_be32(self.packet + 8, acknowledgement)
        return self.judge(number, from_opener, &frame, sequence, data, enforced, now_ns, cut)

    def datagram(self, uint32_t number, bint from_opener, bytes data, *, enforced=True, uint64_t now_ns=0):
        """Judge a UDP datagram of a conversation."""
        cdef frame_t frame
        memset(&frame, 0, sizeof(frame))
        self.inspection.changeable = 1
        frame.protocol = PROTOCOL_UDP
        return self.judge(number, from_opener, &frame, 0, data, enforced, now_ns, 0)

    cdef judge(
        self, uint32_t number, bint from_opener, frame_t *frame, uint32_t start, bytes data, enforced, uint64_t now_ns,
        uint32_t cut
    ):
        cdef permission_t permission
        cdef finding_t finding
        cdef flow_t *flow
        cdef uint8_t reason
        cdef int way = OPENER if from_opener else RESPONDER
        cdef list accesses = []
        if number >= (self.flows.bucket_mask + 1) * FLOW_WAYS or len(data) > SEGMENT_BYTES or cut > len(data):
            raise ValueError("no such conversation, or too much data")
        memcpy(self.packet + 20, <const uint8_t *>data, len(data))
        frame.transport = self.packet
        frame.payload.at = self.packet + 20
        frame.payload.left = <uint32_t>len(data) - cut
        frame.length = 20 + <uint32_t>len(data)
        frame.captured = frame.length - cut
        permission.sink.put = judge_access
        permission.sink.context = &permission
        permission.operations = self.operations
        permission.accesses = <void *>accesses
        self.inspection.sink = &permission.sink
        self.inspection.settle = settle
        self.inspection.revoke = revoke
        self.inspection.answers = self.answers and self.inspection.changeable and bool(enforced)
        self.inspection.enforced = bool(enforced)
        flow = self.flows.entries + number
        if not flow.in_use:
            flow.opener[1] = number + 1  # everybody is somebody: see `opened_by`
        flow.in_use = 1
        flow.protocol = frame.protocol
        flow.last_seen_ns = now_ns
        begin_finding(&finding)
        with nogil:
            reason = inspect(&self.flows, flow, frame, way, &self.inspection, now_ns, &finding)
        passes = reason == REASON_NONE or not enforced or finding.refusal == REFUSAL_REWRITE
        edits = [(finding.edits[at].at, finding.edits[at].to) for at in range(finding.edit_count)]
        message = <int>(finding.message - start)
        return Judged(abi.Reason(reason), accesses, message, finding.message_bytes, passes, edits)

    def opened_by(self, uint32_t number, uint64_t address, *, asset=True, uint16_t zone=0):
        """Say who opens a conversation that has not begun: an asset, or an address of a zone that is none.

        Otherwise each has an opener of its own.
        """
        cdef flow_t *flow = &self.flows.entries[number]
        flow.in_use = 1
        flow.opener[0] = 0
        flow.opener[1] = address
        flow.opener_zone = zone
        flow.opener_asset = 0 if asset else NO_ASSET

    def forget(self, uint32_t number):
        """Let a conversation's flow be evicted, as a full table does."""
        self.flows.entries[number].in_use = 0
        self.flows.entries[number].stream = 0

    def tear(self, uint32_t number):
        """Leave a conversation's stream as a crash in the middle of a change does."""
        self.flows.streams.entries[self.flows.entries[number].stream - 1].changing = 1

    def has_stream(self, uint32_t number):
        """Return whether a conversation has a stream."""
        return stream_of(
            &self.flows.streams, &self.flows.entries[number], self.flows.streams.now_ns
        ) != NULL

    @property
    def windows_in_use(self):
        """Return how many large windows are somebody's."""
        return sum(self.flows.streams.holders[i] != 0 for i in range(self.flows.streams.window_count))


def s7_memory():
    """Return (bytes that an S7 conversation remembers, bytes that a conversation has)."""
    return sizeof(s7_dialog_t), sizeof(dialog_t)
