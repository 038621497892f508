# cython: language_level=3
"""Which conversations get a stream, and which give theirs way.

In: a flow that has none, and who opened it. Out: a stream of zeros, or why there is none. A place is taken from a
conversation only when that is over, or when few are left and it was silent for long; never from one that is alive.
Who may have how many says `shares`. What a frame can cost is bounded: so many places are looked at, and no more.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    REASON_NONE,
    REASON_STREAM_BUDGET,
    REASON_STREAM_SHARE,
    STREAM_ENDED,
    STREAM_SHUT,
    flow_t,
    stream_t,
)
from fastpath.frame cimport PROTOCOL_UDP
from fastpath.shares cimport may_have_stream
from fastpath.stream_memory cimport count_owner, free_stream, in_order, streams_t

cdef extern from *:
    """
    /* RFC 5382 REQ-5: an established TCP connection may be silent for at least 2 hours 4 minutes. */
    #define CND_TCP_IDLE_NS (7440ULL * 1000000000ULL)
    /* A connection by which nothing has been asked yet; RFC 5382 REQ-5 asks for 4 minutes. */
    #define CND_TCP_UNUSED_NS (240ULL * 1000000000ULL)
    /* As in flow.pxd: a UDP conversation that was silent this long is over. */
    #define CND_DATAGRAM_IDLE_NS (180ULL * 1000000000ULL)
    """
    const uint64_t TCP_IDLE_NS "CND_TCP_IDLE_NS"
    const uint64_t TCP_UNUSED_NS "CND_TCP_UNUSED_NS"
    const uint64_t UDP_IDLE_NS "CND_DATAGRAM_IDLE_NS"

cdef enum:
    SWEEP_STEPS = 4  # places looked at, for conversations that are over, at each new one
    SHORT_STEPS = 64  # and before one gets none
    SHORT_PART = 4  # few are left: no more than a quarter


cdef inline int is_short(const streams_t *streams) noexcept nogil:
    """Tell whether few streams are left: then what was silent for long counts less than what is new."""
    return (streams.count - streams.owned) * SHORT_PART <= streams.count


cdef inline int may_give_way(const streams_t *streams, uint32_t place) noexcept nogil:
    """Tell whether nobody can miss a stream: its flow is gone or has ended, or few are left and it was silent for long.

    One that was refused has ended too: of the resets that both ends got nothing comes by here, and without a stream its
    data are refused all the same. Openings cost their sender nothing: by which nothing was asked, those count less.
    """
    cdef uint32_t owner = streams.owners[place]
    cdef const stream_t *stream = &streams.entries[place]
    cdef const flow_t *flow
    cdef uint64_t silence
    if owner > streams.flow_count:
        return 1
    flow = streams.flows + (owner - 1)
    if not flow.in_use or flow.stream != place + 1 or stream.flags & (STREAM_ENDED | STREAM_SHUT):
        return 1
    silence = streams.now_ns - flow.last_seen_ns if streams.now_ns > flow.last_seen_ns else 0
    if flow.protocol == PROTOCOL_UDP:
        return silence > UDP_IDLE_NS
    if not is_short(streams):
        return 0
    return silence > (TCP_UNUSED_NS if stream.ways[0].next == stream.ways[0].first else TCP_IDLE_NS)


cdef inline void sweep(streams_t *streams, uint32_t steps) noexcept nogil:
    """Give back what may give way among the next so many streams."""
    cdef uint32_t _step
    for _step in range(steps if streams.used else 0):
        streams.hand = streams.hand + 1 if streams.hand + 1 < streams.used else 0
        if streams.owners[streams.hand] and may_give_way(streams, streams.hand):
            free_stream(streams, streams.hand)


cdef inline uint8_t why_none(const streams_t *streams, uint16_t opener, uint16_t crowd) noexcept nogil:
    """Return why a new conversation gets no stream, NONE when it does."""
    if streams.owned == streams.count:
        return REASON_STREAM_BUDGET
    if may_have_stream(streams.shares, opener, crowd, streams.count - streams.owned):
        return REASON_NONE
    return REASON_STREAM_SHARE


cdef inline uint8_t take_stream(
    streams_t *streams, flow_t *flow, uint16_t opener, uint16_t crowd, stream_t **taken
) noexcept nogil:
    """Set `taken` to a stream of zeros for a flow that has none; returns why it gets none."""
    cdef uint32_t place
    cdef uint8_t reason
    cdef stream_t *stream
    sweep(streams, SWEEP_STEPS)
    reason = why_none(streams, opener, crowd)
    if reason != REASON_NONE:
        sweep(streams, SHORT_STEPS - SWEEP_STEPS)
        reason = why_none(streams, opener, crowd)
        if reason != REASON_NONE:
            return reason
    if streams.unused:
        place = streams.unused - 1
        streams.unused = streams.entries[place].next_unused
    else:
        place = streams.used
        streams.used += 1
    stream = &streams.entries[place]
    # ORDER: nobody's while it is emptied, the flow's own word last.
    memset(stream, 0, sizeof(stream_t) - sizeof(stream.small))
    stream.opener_share = opener
    stream.crowd_share = crowd
    in_order()
    streams.owners[place] = <uint32_t>(flow - streams.flows) + 1
    in_order()
    flow.stream = <uint16_t>(place + 1)
    count_owner(streams, stream, 1)
    taken[0] = stream
    return REASON_NONE
