# cython: language_level=3
"""ICMP errors about permitted flows: line 10 of docs/reference/semantics.md.

In: an ICMP error whose two parties are known. Out: FLOW_RELATED with the flow's conduit, or NONE when it quotes no
frame of a flow that its addressee sent. The quoted bytes are untrusted like everything else.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastpath.abi cimport REASON_FLOW_RELATED, REASON_NONE, flow_t
from fastpath.cursor cimport be16, cursor_t, take
from fastpath.decision cimport decision_t
from fastpath.flow cimport FLOW_BACKWARD, find_key
from fastpath.flow_index cimport flow_key_t, flows_t, hash_key
from fastpath.frame cimport (
    ICMPV6_ECHO_REPLY,
    ICMPV6_ECHO_REQUEST,
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    address_v4,
    address_v6,
    frame_t,
    is_mapped,
)
from fastpath.limit cimport limit_reason
from fastpath.table cimport is_open, table_t

cdef inline uint8_t decide_related(
    const table_t *table, const frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Line 10: an ICMP error quotes the frame it is about; that frame must belong to a permitted flow."""
    cdef cursor_t quoted = frame.payload
    cdef flow_key_t key
    cdef const uint8_t *p
    cdef flow_t *flow
    cdef int direction
    cdef uint8_t reason = REASON_NONE
    cdef int forward = 1
    cdef int backward = 1
    cdef uint32_t skip = 0
    if frame.version == 4:
        if frame.icmp_type != 3 and frame.icmp_type != 11 and frame.icmp_type != 12:
            return REASON_NONE
        p = take(&quoted, 20)
        if p == NULL or (p[0] >> 4) != 4 or (p[0] & 0x0F) < 5 or be16(p + 6) & 0x1FFF:
            return REASON_NONE
        skip = (p[0] & 0x0F) * 4 - 20
        key.protocol = p[9]
        address_v4(key.source, p + 12)
        address_v4(key.destination, p + 16)
    else:
        if frame.icmp_type < 1 or frame.icmp_type > 4:
            return REASON_NONE
        p = take(&quoted, 40)
        if p == NULL or (p[0] >> 4) != 6:
            return REASON_NONE
        key.protocol = p[6]
        address_v6(key.source, p + 8)
        address_v6(key.destination, p + 24)
    if frame.version == 6 and (is_mapped(key.source) or is_mapped(key.destination)):
        return REASON_NONE
    if key.source[0] != frame.destination[0] or key.source[1] != frame.destination[1]:
        return REASON_NONE
    if take(&quoted, skip) == NULL:
        return REASON_NONE
    p = take(&quoted, 8)
    if p == NULL:
        return REASON_NONE
    if key.protocol == PROTOCOL_TCP or key.protocol == PROTOCOL_UDP:
        key.source_port = be16(p)
        key.destination_port = be16(p + 2)
    elif key.protocol == (PROTOCOL_ICMP if frame.version == 4 else PROTOCOL_ICMPV6):
        # Only an echo request of the opener or a reply of the responder is a frame of a flow.
        forward = p[0] == (ICMP_ECHO_REQUEST if frame.version == 4 else ICMPV6_ECHO_REQUEST)
        backward = p[0] == (ICMP_ECHO_REPLY if frame.version == 4 else ICMPV6_ECHO_REPLY)
        key.source_port = be16(p + 4)
        key.destination_port = key.source_port
    else:
        return REASON_NONE
    key.source_zone = decision.destination_zone
    key.destination_zone = decision.source_zone
    hash_key(&key, flows)
    flow = find_key(flows, &key, forward, backward, now_ns, &direction)
    # The classes of the flow's ends are not looked up again here: a flow of an older policy is not enough for an error.
    if flow == NULL or flow.generation != table.generation or not is_open(table, flow.conduit):
        return REASON_NONE
    decision.conduit = flow.conduit
    decision.service = flow.service
    if direction == FLOW_BACKWARD:  # the responder sent what is quoted: the error comes from the opener's side
        reason = limit_reason(table, frame, flow.conduit, decision.source_zone, 0, now_ns)
    return REASON_FLOW_RELATED if reason == REASON_NONE else reason
