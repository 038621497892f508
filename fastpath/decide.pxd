# cython: language_level=3
"""THE decision: docs/reference/semantics.md, line by line, in its order.

In: a frame as the kernel handed it over, the table in force, the flows of this queue. Out: a `decision_t` for the
verdict, the counters and the event. `look_at` and then `decide` are called once per frame, by the offline judge and
by the worker, which does each step for a group of frames and has `fetch_ahead` hide the memory's latency in between.
Never allocates, raises or reads the clock.
"""

from libc.stdint cimport uint64_t, uint8_t

from fastpath.abi cimport (
    FIRST_DROP_REASON,
    FLOW_PLAIN,
    LOG_ALL,
    LOG_FLOW,
    NO_CLASS,
    NO_CONDUIT,
    REASON_FLOW_ESTABLISHED,
    REASON_FLOW_PICKUP,
    REASON_IDENTITY_DESTINATION_ZONE,
    REASON_IDENTITY_PORT_UNKNOWN,
    REASON_NONE,
    REASON_POLICY_CONDUIT,
    REASON_ZONE_INTERNAL,
    STAGE_ENFORCE,
    UNKNOWN_ZONE,
    VERDICT_ACCEPT,
    VERDICT_DROP,
)
from fastpath.decision cimport decision_t
from fastpath.flow cimport can_flow, key_of
from fastpath.flow_index cimport fetch_flow, fetch_slots, flows_t
from fastpath.frame cimport KIND_ARP, KIND_IP, KIND_L2, KIND_ND, frame_t, parse, unwrap_tag
from fastpath.identity cimport (
    destination_by_address,
    destination_by_mac,
    find_homes,
    homes_t,
    nobody,
    source_by_address,
    source_by_mac,
)
from fastpath.neighbour cimport decide_neighbour
from fastpath.permit cimport decide_conduit, decide_familiar
from fastpath.table cimport conduit_stage, pair_stage, table_t, zone_of

cdef inline int is_between_zones(const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Tell whether lines 1 to 3 leave a frame undecided."""
    if decision.source_zone == UNKNOWN_ZONE or decision.destination_zone == UNKNOWN_ZONE:
        return 0
    return decision.source_zone != decision.destination_zone and frame.error == REASON_NONE


cdef inline void look_at(
    const table_t *table, frame_t *frame, const flows_t *flows, decision_t *decision
) noexcept nogil:
    """Read a frame: its headers, its zones, which flow it can belong to."""
    unwrap_tag(frame)
    decision.source_zone = zone_of(table, frame.in_ifindex, frame.vlan)
    decision.destination_zone = zone_of(table, frame.out_ifindex, frame.vlan)
    parse(frame)
    decision.flow = NULL
    decision.flowing = 0
    decision.homes.known = 0
    decision.identified = (frame.kind == KIND_IP or frame.kind == KIND_L2) and is_between_zones(frame, decision)
    if decision.identified and can_flow(frame):
        decision.flowing = 1
        key_of(&decision.key, flows, frame, decision.source_zone, decision.destination_zone)
        fetch_slots(flows, &decision.key)


cdef inline void fetch_ahead(
    const table_t *table, const frame_t *frame, const flows_t *flows, decision_t *decision
) noexcept nogil:
    """Ask for the memory that `decide` will need for a frame, while others of its group are dealt with."""
    if decision.flowing and fetch_flow(flows, &decision.key):
        return
    if decision.identified:
        find_homes(table, frame, decision.source_zone, decision.destination_zone, &decision.homes)


cdef inline uint8_t identify(const table_t *table, const frame_t *frame, decision_t *decision) noexcept nogil:
    """Lines 5 and 6."""
    cdef const homes_t *homes = &decision.homes
    cdef uint8_t reason
    if not homes.known:
        find_homes(table, frame, decision.source_zone, decision.destination_zone, &decision.homes)
    if frame.kind == KIND_IP:
        reason = source_by_address(table, frame, frame.source, homes, decision.source_zone, &decision.source)
        if reason != REASON_NONE:
            return reason
        return destination_by_address(
            table, frame, frame.destination, homes.destination, decision.destination_zone, &decision.destination
        )
    reason = source_by_mac(table, frame, homes, decision.source_zone, &decision.source)
    if reason != REASON_NONE:
        return reason
    return destination_by_mac(table, frame, homes, decision.destination_zone, &decision.destination)


cdef inline uint8_t decide_reason(
    const table_t *table, frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Lines 1 to 12."""
    cdef uint8_t reason
    if decision.source_zone == UNKNOWN_ZONE or decision.destination_zone == UNKNOWN_ZONE:
        return REASON_IDENTITY_PORT_UNKNOWN
    if decision.source_zone == decision.destination_zone:
        return REASON_ZONE_INTERNAL
    if frame.error != REASON_NONE:
        return frame.error
    if frame.kind == KIND_ARP or frame.kind == KIND_ND:
        return decide_neighbour(table, frame, decision)
    if decision.flowing:
        reason = decide_familiar(table, frame, flows, now_ns, decision)
        if reason != REASON_NONE:
            return reason
    reason = identify(table, frame, decision)
    if reason != REASON_NONE:
        return reason
    return decide_conduit(table, frame, flows, now_ns, decision)


cdef inline void decide(
    const table_t *table, frame_t *frame, flows_t *flows, uint64_t now_ns, decision_t *decision
) noexcept nogil:
    """Judge one frame that `look_at` has read: the reason, then what the stage makes of it."""
    cdef uint8_t stage, ceiling, log
    decision.conduit = NO_CONDUIT
    decision.service = NO_CLASS
    decision.inspected = 0
    nobody(&decision.source)
    nobody(&decision.destination)
    decision.reason = decide_reason(table, frame, flows, now_ns, decision)
    # One load each: control may store at any time, and one frame is judged under one stage.
    ceiling = table.state.ceiling
    if decision.conduit != NO_CONDUIT:
        stage = conduit_stage(table, decision.conduit)
    else:
        stage = pair_stage(table, decision.source_zone, decision.destination_zone)
    decision.stage = stage if stage < ceiling else ceiling
    decision.policy_verdict = VERDICT_ACCEPT if decision.reason < FIRST_DROP_REASON else VERDICT_DROP
    decision.verdict = VERDICT_ACCEPT
    if decision.policy_verdict == VERDICT_DROP:
        # FAIL-CLOSED: anything but a stage that is known to be lower counts as enforce.
        if decision.stage >= STAGE_ENFORCE or decision.stage == 0:
            decision.verdict = VERDICT_DROP
        decision.write_event = decision.reason != REASON_IDENTITY_DESTINATION_ZONE
        return
    decision.write_event = 0
    if decision.reason == REASON_FLOW_ESTABLISHED and decision.flow.flags & FLOW_PLAIN:
        return  # the usual case, and its conduit's record needs not be read
    if decision.conduit != NO_CONDUIT:
        log = table.conduits[decision.conduit].log
        decision.write_event = log == LOG_ALL or (
            log == LOG_FLOW and (decision.reason == REASON_POLICY_CONDUIT or decision.reason == REASON_FLOW_PICKUP)
        )
