# cython: language_level=3
"""How a conversation's stream begins: which one it gets, and at which places.

In: a flow, and the numbers that a handshake or a first segment names. Out: a stream for which whoever opened it is
counted, or why there is none. Called by `inspecting`, `following` and `recorded`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from fastpath.abi cimport NO_ASSET, STREAM_LOOSE, WAY_LOST, flow_t, stream_t
from fastpath.flow_index cimport ODD_BITS, flows_t, fold
from fastpath.reading cimport inspection_t
from fastpath.shares cimport NO_CROWD, crowd_share, opener_share
from fastpath.stream cimport OPENER, RESPONDER, note_place, note_taken_up, segment_t
from fastpath.stream_memory cimport streams_t
from fastpath.stream_places cimport take_stream


cdef inline uint8_t open_stream(flows_t *flows, flow_t *flow, stream_t **taken) noexcept nogil:
    """Set `taken` to a stream of zeros for a flow that has none; returns why it gets none: then `taken` stays."""
    cdef uint16_t opener = opener_share(fold(flows.seed ^ flow.opener[0], ODD_BITS ^ flow.opener[1]))
    cdef uint16_t crowd = crowd_share(flow.opener_zone) if flow.opener_asset == NO_ASSET else <uint16_t>NO_CROWD
    return take_stream(&flows.streams, flow, opener, crowd, taken)


cdef inline void begin_stream(
    streams_t *streams, stream_t *stream, const inspection_t *inspection, uint32_t opener, uint32_t responder,
    uint8_t flags
) noexcept nogil:
    """Begin a conversation at two sequence numbers; what was before is over."""
    note_place(streams, &stream.ways[OPENER], opener)
    note_place(streams, &stream.ways[RESPONDER], responder)
    memset(stream.dialog, 0, sizeof(stream.dialog))
    stream.inspector = inspection.inspector
    stream.flags = flags


cdef inline void pick_up(
    streams_t *streams, stream_t *stream, const inspection_t *inspection, const segment_t *segment
) noexcept nogil:
    """Begin in the middle, where nothing is enforced: each direction at its next whole message."""
    cdef uint32_t mine = segment.sequence
    cdef uint32_t other = segment.acknowledged
    begin_stream(
        streams, stream, inspection, mine if segment.way == OPENER else other,
        other if segment.way == OPENER else mine, STREAM_LOOSE,
    )
    note_taken_up(stream)
    stream.ways[OPENER].flags |= WAY_LOST
    stream.ways[RESPONDER].flags |= WAY_LOST
