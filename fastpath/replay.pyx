# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Recorded frames through the engine's decision: frame in, verdict out, in batches and without an object per frame.

In: a capture in memory, a policy's image and state. Out: outcomes of the frames, and sums of them (`Rollup`). The clock
of flows and limits is the capture's. Places each frame (`whereabouts`), judges it by the very code of the live engine,
touches nothing live. Called by `gateway.simulate`.
"""

from enum import IntEnum
from typing import NamedTuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastpath.abi cimport FLOW_WAYS, NO_ASSET, NO_CONDUIT, STREAM_WINDOWS, STREAMS_PER_TABLE, flow_t
from fastpath.attach cimport attach_table
from fastpath.capture cimport (
    DAMAGE_BYTE_ORDER,
    DAMAGE_CUT,
    DAMAGE_INTERFACE,
    DAMAGE_LENGTH,
    DAMAGE_VERSION,
    FORMAT_NONE,
    MOST_INTERFACES,
    begin,
    capture_t,
    captured_t,
    interface_t,
    next_frame,
)
from fastpath.cursor cimport put_be48
from fastpath.flow_index cimport flow_slot_t, flows_t
from fastpath.frame cimport KIND_L2
from fastpath.link cimport UNJUDGED_LINK_CUT, UNJUDGED_LINK_TYPE
from fastpath.pace cimport limiter_t
from fastpath.places cimport close_places, open_places, places_t
from fastpath.replaying cimport judge_captured
from fastpath.rollup cimport (
    close_rollup,
    count_outcome,
    judged_t,
    open_rollup,
    outcome_t,
    rollup_t,
    row_t,
    talk_t,
)
from fastpath.stream_memory cimport attach_streams
from fastpath.table cimport table_t

from fastpath import abi
from fastpath.judge import validate_image, validate_state

cdef enum:
    BATCH = 1024  # frames read, then judged, then counted together
    REPLAY_FLOWS = 262144  # conversations remembered unless told otherwise, 32 MiB
    ROLLUP_ROWS = 1048576  # rows unless told otherwise, 128 MiB


class Unjudged(IntEnum):
    """Why a frame was counted without being judged."""

    LINK_TYPE = UNJUDGED_LINK_TYPE
    LINK_CUT = UNJUDGED_LINK_CUT


class Talk(NamedTuple):
    """Who spoke to whom and of what; addresses are 16 bytes (IPv4 mapped), or 6 of a MAC for frames without IP."""

    kind: int
    ethertype: int
    protocol: int
    number: int
    reply: bool
    source: bytes
    destination: bytes


class Judged(NamedTuple):
    """What one policy says; numbers as in its image. All zeros and None for a frame that was not judged."""

    verdict: int
    policy_verdict: int
    reason: int
    stage: int
    conduit: int | None
    source_zone: int
    destination_zone: int
    source_asset: int | None
    destination_asset: int | None
    service: int


class Outcome(NamedTuple):
    """One frame. `talk` says nothing when it was not judged."""

    time_ns: int
    length: int
    unjudged: int
    talk: Talk
    judged: Judged


class Row(NamedTuple):
    """Frames of which the same was said; `talk` is None where conversations are not told apart, `other` without one."""

    talk: Talk | None
    judged: Judged
    other: Judged | None
    unjudged: int
    frames: int
    bytes: int
    first_ns: int
    last_ns: int


cdef dict _DAMAGE_TEXT = {
    DAMAGE_CUT: "the file ends in the middle of it",
    DAMAGE_LENGTH: "its length contradicts what it lies in",
    DAMAGE_VERSION: "a version of the format that nobody has published",
    DAMAGE_BYTE_ORDER: "a section without its byte-order mark",
    DAMAGE_INTERFACE: "an interface that nothing has described",
}


# ---- reading ------------------------------------------------------------------------------------------------------


cdef class Capture:
    """A capture file's bytes, read batch after batch. Raises ValueError for what is neither pcap nor pcapng.

    The buffer is borrowed until `close`: whoever cuts a mapped file meanwhile ends this process.
    """

    cdef capture_t capture
    cdef captured_t batch[BATCH]
    cdef uint32_t count
    cdef readonly uint64_t frames
    cdef const uint8_t[::1] view

    def __cinit__(self, buffer):
        self.view = buffer
        self.capture.size = <uint64_t>self.view.shape[0]
        self.capture.interfaces = <interface_t *>calloc(MOST_INTERFACES, sizeof(interface_t))
        if self.capture.interfaces == NULL:
            raise MemoryError
        if self.capture.size:
            self.capture.start = &self.view[0]
            begin(&self.capture)
        if self.capture.format == FORMAT_NONE:
            raise ValueError("neither pcap nor pcapng")

    def __dealloc__(self):
        free(self.capture.interfaces)

    def read(self):
        """Read the next batch and return how many frames it holds; 0 at the end or at the damage."""
        cdef uint32_t count = 0
        with nogil:
            while count < BATCH and next_frame(&self.capture, &self.batch[count]):
                count += 1
        self.count = count
        self.frames += count
        return count

    def close(self):
        """Let the buffer go; nothing can be read any more."""
        self.count = 0
        self.capture.size = 0
        self.capture.at = 0
        self.capture.start = NULL
        self.view = None

    @property
    def at(self):
        """Bytes read; at a damage, where it begins."""
        return self.capture.at

    @property
    def damage(self):
        """What is wrong with the record or block at `at`, None while nothing is."""
        return _DAMAGE_TEXT.get(self.capture.damage)

    @property
    def is_cut(self):
        """Whether all that is wrong is the file's early end, as when its writer was stopped."""
        return self.capture.damage == DAMAGE_CUT

    def time_ns(self, uint32_t number):
        """Return the time of a frame of the batch in hand. Raises IndexError."""
        if number >= self.count:
            raise IndexError("the batch has no such frame")
        return self.batch[number].time_ns

    def frame(self, uint32_t number):
        """Return (time in ns, bytes captured, length on the wire, link type) of a frame of the batch in hand."""
        if number >= self.count:
            raise IndexError("the batch has no such frame")
        cdef const captured_t *one = &self.batch[number]
        return one.time_ns, one.bytes[:one.captured], one.length, one.link_type


# ---- judging ------------------------------------------------------------------------------------------------------


cdef class Replay:
    """One policy over captures. `state` is a copy with stages and openings as wanted, and port numbers as ifindexes.

    `flows` is how many conversations it remembers, a power of two. Raises ValueError for a bad image, state or number.
    """

    cdef table_t table
    cdef flows_t flows
    cdef places_t places
    cdef limiter_t *limiter
    cdef uint8_t *streams
    cdef outcome_t outcomes[BATCH]
    cdef object kept

    def __cinit__(self, image, state, *, uint32_t flows=REPLAY_FLOWS):
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        if not 4 <= flows <= 1 << 24 or flows & (flows - 1):
            raise ValueError("flows must be a power of two, at least 4")
        validate_image(image)
        validate_state(image, state)
        self.flows.bucket_mask = flows / FLOW_WAYS - 1
        self.flows.entries = <flow_t *>calloc(flows, sizeof(flow_t))
        self.flows.slots = <flow_slot_t *>calloc(flows, sizeof(flow_slot_t))
        self.streams = <uint8_t *>calloc(1, abi.streams_table_bytes(STREAMS_PER_TABLE, STREAM_WINDOWS))
        self.limiter = <limiter_t *>calloc(1, sizeof(limiter_t))
        if self.flows.entries == NULL or self.flows.slots == NULL or self.limiter == NULL or self.streams == NULL:
            raise MemoryError
        attach_streams(&self.flows.streams, self.streams, STREAMS_PER_TABLE, STREAM_WINDOWS, self.flows.entries, flows)
        attach_table(&self.table, &image_view[0], &state_view[0], self.limiter)
        self.flows.seed = self.table.seed
        self.kept = (image, state)
        if not open_places(&self.places, &self.table):
            raise MemoryError

    def __dealloc__(self):
        free(self.flows.entries)
        free(self.flows.slots)
        free(self.limiter)
        free(self.streams)
        close_places(&self.places)

    def came_in(self, *, uint16_t port=0, uint16_t zone=0):
        """Say by which port, or by a port of which zone, frames come in from now on; neither: where their source is."""
        if port >= self.table.port_count or zone >= self.table.zone_count or (port and zone):
            raise ValueError("no such port or zone")
        self.places.ingress_port = port
        self.places.ingress_zone = zone

    def judge(self, Capture capture not None, uint32_t first, uint64_t from_ns, uint64_t until_ns):
        """Judge the batch in hand from a frame on while time is in [from_ns, until_ns); return the first one left."""
        cdef uint32_t i = first
        with nogil:
            while i < capture.count:
                if not from_ns <= capture.batch[i].time_ns < until_ns:
                    break
                judge_captured(&self.table, &self.places, &self.flows, &capture.batch[i], &self.outcomes[i])
                i += 1
        return i

    def said(self, Capture capture not None):
        """Return the outcomes of the batch in hand, all of it judged."""
        return [_outcome(&capture.batch[i], &self.outcomes[i]) for i in range(capture.count)]

    @property
    def flows_evicted(self):
        """How many conversations were forgotten for want of room."""
        return self.flows.evicted


# ---- sums ---------------------------------------------------------------------------------------------------------


cdef class Rollup:
    """Outcomes added up. `by_conversation`: a row for each conversation, else for zones, conduit and what was said.

    most_rows: what is beyond is only counted, in `frames_left_out` and `bytes_left_out`. seed: any 64 bits that whoever
    made the capture can't know.
    """

    cdef rollup_t rollup

    def __cinit__(self, uint64_t seed, *, by_conversation=True, uint32_t most_rows=ROLLUP_ROWS):
        if not 1 <= most_rows <= 1 << 28:
            raise ValueError("most_rows out of range")
        self.rollup.seed = seed
        self.rollup.by_conversation = by_conversation
        self.rollup.most = most_rows
        if not open_rollup(&self.rollup):
            raise MemoryError

    def __dealloc__(self):
        close_rollup(&self.rollup)

    def add(self, Capture capture not None, Replay replay not None):
        """Count the batch in hand, all of it judged."""
        cdef uint32_t i
        with nogil:
            for i in range(capture.count):
                count_outcome(
                    &self.rollup, &replay.outcomes[i], NULL, capture.batch[i].length, capture.batch[i].time_ns
                )

    def add_differences(self, Capture capture not None, Replay replay not None, Replay other not None):
        """Count the frames of the batch in hand of which two policies, by verdict or policy verdict, say otherwise."""
        cdef uint32_t i
        cdef const judged_t *one
        cdef const judged_t *second
        with nogil:
            for i in range(capture.count):
                one = &replay.outcomes[i].judged
                second = &other.outcomes[i].judged
                if one.verdict != second.verdict or one.policy_verdict != second.policy_verdict:
                    count_outcome(
                        &self.rollup, &replay.outcomes[i], second, capture.batch[i].length, capture.batch[i].time_ns
                    )

    def rows(self):
        """Return the rows, in the order of their first frames."""
        return [_row(&self.rollup.rows[i], self.rollup.by_conversation) for i in range(self.rollup.used)]

    @property
    def frames(self):
        """Frames counted, those left out among them."""
        return self.rollup.frames

    @property
    def bytes(self):
        """Their bytes on the wire."""
        return self.rollup.bytes

    @property
    def frames_left_out(self):
        """Frames that found no row."""
        return self.rollup.left_out_frames

    @property
    def bytes_left_out(self):
        """Their bytes on the wire."""
        return self.rollup.left_out_bytes


cdef object _address(const uint64_t *address, uint8_t kind):
    cdef uint8_t mac[6]
    if kind != KIND_L2:
        return PyBytes_FromStringAndSize(<const char *>address, 16)
    put_be48(mac, address[0])
    return mac[:6]


cdef object _talk(const talk_t *talk):
    return Talk(
        talk.kind,
        talk.ethertype,
        talk.protocol,
        talk.number,
        bool(talk.reply),
        _address(talk.source, talk.kind),
        _address(talk.destination, talk.kind),
    )


cdef object _judged(const judged_t *judged):
    return Judged(
        judged.verdict,
        judged.policy_verdict,
        judged.reason,
        judged.stage,
        None if judged.conduit == NO_CONDUIT else judged.conduit,
        judged.source_zone,
        judged.destination_zone,
        None if judged.source_asset == NO_ASSET else judged.source_asset,
        None if judged.destination_asset == NO_ASSET else judged.destination_asset,
        judged.service,
    )


cdef object _outcome(const captured_t *captured, const outcome_t *outcome):
    cdef const judged_t *judged = &outcome.judged
    return Outcome(captured.time_ns, captured.length, judged.unjudged, _talk(&outcome.talk), _judged(judged))


cdef object _row(const row_t *row, int by_conversation):
    return Row(
        _talk(&row.key.talk) if by_conversation else None,
        _judged(&row.key.judged),
        _judged(&row.other) if row.other.verdict else None,
        row.key.judged.unjudged,
        row.frames,
        row.bytes,
        row.first_ns,
        row.last_ns,
    )
