# cython: language_level=3
"""ARP and neighbour discovery: line 4 of docs/reference/semantics.md.

In: a parsed ARP or ND frame whose zones are known. Out: NEIGHBOUR_RESOLUTION or the reason why not. Nobody writes
conduits for address resolution: it follows them. A forged answer would draw traffic, so every address in it must agree.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from fastpath.abi cimport (
    NO_NODE,
    REASON_FRAME_MALFORMED,
    REASON_IDENTITY_NEIGHBOUR,
    REASON_NEIGHBOUR_NO_CONDUIT,
    REASON_NEIGHBOUR_RESOLUTION,
    REASON_NONE,
    SERVICE_NEIGHBOUR,
)
from fastpath.cursor cimport be48, cursor_t, take
from fastpath.decision cimport decision_t
from fastpath.frame cimport KIND_ARP, KIND_ND, ND_ADVERTISEMENT, V4_MAPPED, frame_t, is_group_v6
from fastpath.identity cimport destination_by_address, homes_t, source_by_address
from fastpath.table cimport find_rule, host_home, mac_home, table_t

cdef inline uint8_t neighbour_options(const frame_t *frame) noexcept nogil:
    """Check the link-layer address options of a solicitation or advertisement (RFC 4861 section 4.6.1)."""
    cdef cursor_t cursor = frame.payload
    cdef const uint8_t *head
    cdef const uint8_t *body
    while cursor.left:
        head = take(&cursor, 2)
        if head == NULL or head[1] == 0:
            return REASON_FRAME_MALFORMED
        body = take(&cursor, head[1] * 8 - 2)
        if body == NULL:
            return REASON_FRAME_MALFORMED
        if (head[0] == 1 or head[0] == 2) and head[1] == 1 and be48(body) != frame.source_mac:
            return REASON_IDENTITY_NEIGHBOUR
    return REASON_NONE


cdef inline uint8_t decide_neighbour(const table_t *table, const frame_t *frame, decision_t *decision) noexcept nogil:
    """Line 4: address resolution follows the conduits."""
    cdef const uint64_t *sender = frame.source
    cdef const uint64_t *target = frame.destination
    cdef uint16_t space = table.zones[decision.source_zone].space
    cdef homes_t homes
    cdef uint8_t reason
    cdef int announcement
    cdef int advertisement = frame.kind == KIND_ND and frame.icmp_type == ND_ADVERTISEMENT
    if frame.kind == KIND_ND and not advertisement:
        target = frame.nd_target
    if advertisement:
        sender = frame.nd_target
    if sender[0] == 0 and sender[1] == (V4_MAPPED if frame.kind == KIND_ARP else 0):
        return REASON_NEIGHBOUR_NO_CONDUIT
    if frame.kind == KIND_ARP:
        if frame.arp_sender_mac != frame.source_mac:
            return REASON_IDENTITY_NEIGHBOUR
    else:
        reason = neighbour_options(frame)
        if reason != REASON_NONE:
            return reason
        if advertisement and (frame.source[0] != sender[0] or frame.source[1] != sender[1]):
            return REASON_IDENTITY_NEIGHBOUR
    homes.source = host_home(table, sender, space)
    homes.source_mac = mac_home(table, frame.source_mac, space)
    reason = source_by_address(table, frame, sender, &homes, decision.source_zone, &decision.source)
    if reason != REASON_NONE:
        return reason
    if frame.kind == KIND_ARP:
        announcement = sender[0] == target[0] and sender[1] == target[1]
    else:
        announcement = advertisement and is_group_v6(target)
    if announcement:
        return REASON_NEIGHBOUR_RESOLUTION if decision.source.mac_checked else REASON_NEIGHBOUR_NO_CONDUIT
    homes.destination = host_home(table, target, table.zones[decision.destination_zone].space)
    reason = destination_by_address(
        table, frame, target, homes.destination, decision.destination_zone, &decision.destination
    )
    if reason != REASON_NONE:
        return reason
    decision.service = SERVICE_NEIGHBOUR
    if find_rule(table, decision.source.klass, decision.destination.klass, SERVICE_NEIGHBOUR) == NO_NODE:
        return REASON_NEIGHBOUR_NO_CONDUIT
    return REASON_NEIGHBOUR_RESOLUTION
