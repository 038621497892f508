# cython: language_level=3
"""What was judged and why, for whoever reads along: a bounded ring per queue.

In: a frame and its decision. Out: one event_t in the ring, or one more on `lost` when the reader is too slow or a zone
has had its share: a storm must neither cost its victims' events nor more than it is worth. The engine is the only
writer of head and entries, control the only writer of tail. Never waits, never overwrites an unread event.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    EVENT_MESSAGE,
    EVENT_REWRITTEN,
    EVENT_TCP_OPENING,
    EVENTS_HEADER_BYTES,
    EVENTS_PER_RING,
    PAGE_BYTES,
    RING_BYTES,
    event_t,
    message_t,
    ring_header_t,
)
from fastpath.counters cimport load64, store64
from fastpath.cursor cimport put_be48
from fastpath.decision cimport decision_t
from fastpath.finding cimport finding_t
from fastpath.frame cimport PROTOCOL_TCP, frame_t, is_opening
from fastpath.pace cimport take_turn


cdef enum:
    EVENT_SHARES = 64  # zones beyond share a share

cdef extern from *:
    """
    /* Of each ingress zone: 10,000 events a second, and as many at once. Nobody reads more than that. */
    #define CND_EVENT_INTERVAL_NS 100000ULL
    #define CND_EVENT_BURST_NS 1000000000ULL
    """
    const uint64_t EVENT_INTERVAL_NS "CND_EVENT_INTERVAL_NS"
    const uint64_t EVENT_BURST_NS "CND_EVENT_BURST_NS"

cdef struct event_shares_t:
    uint64_t clocks[EVENT_SHARES]  # one writer: a queue's thread has shares of its own


cdef inline ring_header_t *ring_of(uint8_t *segment, uint32_t index) noexcept nogil:
    """Return the ring of a queue; the caller has checked that the segment holds it."""
    return <ring_header_t *>(segment + EVENTS_HEADER_BYTES + <uint64_t>index * RING_BYTES)


cdef inline void fill_event(
    event_t *event, const frame_t *frame, const decision_t *decision, uint64_t now_ns
) noexcept nogil:
    event.time_ns = now_ns
    event.source[0] = frame.source[0]
    event.source[1] = frame.source[1]
    event.destination[0] = frame.destination[0]
    event.destination[1] = frame.destination[1]
    put_be48(event.source_mac, frame.source_mac)
    put_be48(event.destination_mac, frame.destination_mac if frame.has_destination_mac else 0)
    event.source_asset = decision.source.asset
    event.destination_asset = decision.destination.asset
    event.conduit = decision.conduit
    event.in_ifindex = frame.in_ifindex
    event.out_ifindex = frame.out_ifindex
    event.length = frame.length
    event.source_zone = decision.source_zone
    event.destination_zone = decision.destination_zone
    event.ethertype = frame.ethertype
    event.vlan = frame.vlan
    event.source_port = frame.source_port
    event.destination_port = frame.destination_port
    if frame.protocol == (1 if frame.version == 4 else 58) and frame.version != 0:
        event.source_port = frame.icmp_type
        event.destination_port = frame.icmp_code
    event.service = decision.service
    event.protocol = frame.protocol
    event.reason = decision.reason
    event.verdict = decision.verdict
    event.policy_verdict = decision.policy_verdict
    event.stage = decision.stage
    event.flags = EVENT_TCP_OPENING if frame.protocol == PROTOCOL_TCP and is_opening(frame) else 0


cdef inline event_t *place(ring_header_t *ring, uint64_t sequence) noexcept nogil:
    return <event_t *>(<uint8_t *>ring + PAGE_BYTES) + (sequence & (EVENTS_PER_RING - 1))


cdef inline int has_room(
    ring_header_t *ring, event_shares_t *shares, uint32_t places, uint16_t zone, uint64_t now_ns
) noexcept nogil:
    if ring.head - load64(&ring.tail) + places > EVENTS_PER_RING:
        return 0
    return take_turn(&shares.clocks[zone & (EVENT_SHARES - 1)], EVENT_INTERVAL_NS, EVENT_BURST_NS, now_ns)


cdef inline void write_event(
    ring_header_t *ring, event_shares_t *shares, uint8_t queue, uint64_t generation, const frame_t *frame,
    const decision_t *decision, const message_t *message, uint64_t now_ns
) noexcept nogil:
    """Append one event and the message that it is about, if any; or count it as lost."""
    cdef uint64_t head = ring.head
    cdef event_t *event
    if not has_room(ring, shares, 2 if message != NULL else 1, decision.source_zone, now_ns):
        ring.lost += 1
        return
    event = place(ring, head)
    fill_event(event, frame, decision, now_ns)
    if message != NULL:
        event.flags |= EVENT_MESSAGE
        (<message_t *>place(ring, head + 1))[0] = message[0]
    if decision.rewriting:
        event.flags |= EVENT_REWRITTEN
    event.generation = generation
    event.queue = queue
    event.sequence = head
    event.reserved = 0
    memset(event.reserved2, 0, sizeof(event.reserved2))
    store64(&ring.head, head + (2 if message != NULL else 1))


cdef inline void write_messages(
    ring_header_t *ring, event_shares_t *shares, uint8_t queue, uint64_t generation, const frame_t *frame,
    const decision_t *decision, uint64_t now_ns
) noexcept nogil:
    """Append what inspection noted in a frame: each message an event, behind the one for the refused message."""
    cdef const finding_t *finding = decision.finding
    cdef uint8_t at
    if decision.write_event:
        write_event(
            ring, shares, queue, generation, frame, decision,
            &finding.messages[finding.refused] if finding.refused < finding.count else NULL, now_ns
        )
    for at in range(finding.count):
        if at != finding.refused or not decision.write_event:
            write_event(ring, shares, queue, generation, frame, decision, &finding.messages[at], now_ns)
    ring.lost += finding.unnoted
