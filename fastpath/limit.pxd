# cython: language_level=3
"""How much a conduit carries: the limits of docs/reference/semantics.md, counted with one word of memory each.

In: a frame from a conduit's opening side. Out: NONE, or the LIMIT_ reason why it is too much.
Each limit is a clock of `pace`: one per conduit and kind, and for limited sources one per conduit, source and kind in a
table of fixed size. All of them are shared by every worker of an engine and survive policy swaps: a conduit keeps its
slot, and its slot the clocks. No lock, no allocation; a conduit without a limit costs one comparison.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    REASON_LIMIT_FLOWS,
    REASON_LIMIT_PACKETS,
    REASON_LIMIT_SOURCE,
    REASON_NONE,
    STAGE_ENFORCE,
    limit_t,
    mix64,
)
from fastpath.frame cimport KIND_L2, frame_t
from fastpath.pace cimport (
    SOURCE_BUCKETS,
    SOURCE_WAYS,
    clocks_t,
    exchange,
    limiter_t,
    peek,
    poke,
    source_t,
    take_turn,
)
from fastpath.table cimport conduit_stage, table_t

cdef inline uint64_t source_tag(
    const limiter_t *limiter, const frame_t *frame, uint32_t conduit, uint16_t space
) noexcept nogil:
    """Name a source of a conduit. Sources that share their first eight bytes never share a tag: mix64 is one to one."""
    cdef uint64_t address
    if frame.kind == KIND_L2:
        address = mix64(limiter.seed ^ ~<uint64_t>0, frame.source_mac)  # ~0: no IP address begins like that
    else:
        address = mix64(limiter.seed ^ frame.source[0], frame.source[1])
    address = mix64(address, <uint64_t>conduit << 16 | space)
    return address if address else 1


cdef inline clocks_t *source_clocks(limiter_t *limiter, uint64_t tag) noexcept nogil:
    """Return the clocks of a source; NULL when another worker just took its place: this one frame goes uncounted.

    The one whose clock lies furthest back gives way. A clock in the past is a whole allowance, the same as no entry:
    a flood of invented sources takes nothing from a source that keeps its limit, and is held by the conduit's own.
    """
    cdef source_t *bucket = &limiter.sources[(tag & (SOURCE_BUCKETS - 1)) * SOURCE_WAYS]
    cdef source_t *oldest = bucket
    cdef uint64_t oldest_ns = ~<uint64_t>0
    cdef uint64_t ahead_ns, flows_ns, was
    cdef uint32_t way
    for way in range(SOURCE_WAYS):
        was = peek(&bucket[way].tag)
        if was == tag:
            return &bucket[way].clocks
        ahead_ns = peek(&bucket[way].clocks.packets)
        flows_ns = peek(&bucket[way].clocks.flows)
        if flows_ns > ahead_ns:
            ahead_ns = flows_ns
        if ahead_ns < oldest_ns:
            oldest = bucket + way
            oldest_ns = ahead_ns
    was = peek(&oldest.tag)
    if not exchange(&oldest.tag, &was, tag):
        return NULL
    # A worker that still counts here for the source before moves a clock of the new one by one interval, once.
    poke(&oldest.clocks.packets, 0)
    poke(&oldest.clocks.flows, 0)
    return &oldest.clocks


cdef inline uint8_t over_limit(
    const table_t *table, const limit_t *limit, const frame_t *frame, uint32_t conduit, uint16_t source_zone, int opens,
    uint64_t now_ns
) noexcept nogil:
    """Count a frame against a limit.

    ORDER: the source's own limits first, new flows before packets: what one source or a flood of openings is refused
    must not use up what the others share.
    """
    cdef limiter_t *limiter = table.limiter
    cdef clocks_t *clocks
    if limit.source_packet_interval_ns | limit.source_flow_interval_ns:
        clocks = source_clocks(limiter, source_tag(limiter, frame, conduit, table.zones[source_zone].space))
        if clocks != NULL:
            if opens and not take_turn(
                &clocks.flows, limit.source_flow_interval_ns, limit.source_flow_burst_ns, now_ns
            ):
                return REASON_LIMIT_SOURCE
            if not take_turn(&clocks.packets, limit.source_packet_interval_ns, limit.source_packet_burst_ns, now_ns):
                return REASON_LIMIT_SOURCE
    clocks = &limiter.conduits[conduit]
    if opens and not take_turn(&clocks.flows, limit.flow_interval_ns, limit.flow_burst_ns, now_ns):
        return REASON_LIMIT_FLOWS
    if not take_turn(&clocks.packets, limit.packet_interval_ns, limit.packet_burst_ns, now_ns):
        return REASON_LIMIT_PACKETS
    return REASON_NONE


cdef inline uint8_t limit_reason(
    const table_t *table, const frame_t *frame, uint32_t conduit, uint16_t source_zone, int opens, uint64_t now_ns
) noexcept nogil:
    """Return NONE, or why a frame that a conduit permits is too much. Only for frames from the opener's side.

    `opens`: the frame begins a conversation (an opening TCP segment, the first UDP datagram or echo request).
    """
    cdef uint32_t index = table.conduits[conduit].limit
    if index == 0:
        return REASON_NONE
    return over_limit(table, &table.limits[index - 1], frame, conduit, source_zone, opens, now_ns)


cdef inline int is_dropped(const table_t *table, uint32_t conduit) noexcept nogil:
    """Tell whether a conduit's stage drops what violates it: only then a refused conversation is not remembered."""
    cdef uint8_t stage = conduit_stage(table, conduit)
    cdef uint8_t ceiling = table.state.ceiling
    if ceiling < stage:
        stage = ceiling
    return stage >= STAGE_ENFORCE or stage == 0
