# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""What the C compiler made of abi.pxd, for the test that compares it with abi.py.

In: nothing. Out: sizes, offsets and constants as the compiler sees them. Called by tests/contract/test_abi.py only.
One long file on purpose: a plain list, in which every struct and number of abi.pxd has its line.
"""

from fastpath cimport abi


cdef Py_ssize_t _at(void *start, void *field) noexcept:
    return <char *>field - <char *>start


def c_layouts():
    """Return {struct: {"size": bytes, "fields": {name: offset}}} for every shared struct."""
    layouts = {}
    cdef abi.clause_t clause
    cdef abi.conduit_counters_t conduit_counters
    cdef abi.conduit_t conduit
    cdef abi.counters_header_t counters_header
    cdef abi.endpoint_t endpoint
    cdef abi.event_t event
    cdef abi.events_header_t events_header
    cdef abi.flow_t flow
    cdef abi.flows_header_t flows_header
    cdef abi.image_header_t image_header
    cdef abi.limit_t limit
    cdef abi.mac_t mac
    cdef abi.message_t message
    cdef abi.node_t node
    cdef abi.profile_t profile
    cdef abi.queue_counters_t queue_counters
    cdef abi.range_t span
    cdef abi.ring_header_t ring_header
    cdef abi.rule_t rule
    cdef abi.section_t section
    cdef abi.state_header_t state_header
    cdef abi.state_port_t state_port
    cdef abi.stream_t stream
    cdef abi.stream_way_t stream_way
    cdef abi.streams_header_t streams_header
    cdef abi.tally_entry_t tally_entry
    cdef abi.zone_t zone
    layouts["clause_t"] = {
        "size": sizeof(clause),
        "fields": {
            "identity": _at(&clause, &clause.identity),
            "step": _at(&clause, &clause.step),
            "rate_interval_ns": _at(&clause, &clause.rate_interval_ns),
            "rate_burst_ns": _at(&clause, &clause.rate_burst_ns),
            "first_range": _at(&clause, &clause.first_range),
            "range_count": _at(&clause, &clause.range_count),
            "operations": _at(&clause, &clause.operations),
            "protocol": _at(&clause, &clause.protocol),
            "value_field": _at(&clause, &clause.value_field),
            "reserved": _at(&clause, &clause.reserved),
        },
    }
    layouts["conduit_counters_t"] = {
        "size": sizeof(conduit_counters),
        "fields": {
            "accepted": _at(&conduit_counters, &conduit_counters.accepted),
            "dropped": _at(&conduit_counters, &conduit_counters.dropped),
        },
    }
    layouts["conduit_t"] = {
        "size": sizeof(conduit),
        "fields": {
            "fail": _at(&conduit, &conduit.fail),
            "log": _at(&conduit, &conduit.log),
            "profile": _at(&conduit, &conduit.profile),
            "limit": _at(&conduit, &conduit.limit),
            "reserved2": _at(&conduit, &conduit.reserved2),
        },
    }
    layouts["counters_header_t"] = {
        "size": sizeof(counters_header),
        "fields": {
            "magic": _at(&counters_header, &counters_header.magic),
            "abi_version": _at(&counters_header, &counters_header.abi_version),
            "queue_count": _at(&counters_header, &counters_header.queue_count),
            "queue_bytes": _at(&counters_header, &counters_header.queue_bytes),
            "lost_before": _at(&counters_header, &counters_header.lost_before),
            "reserved": _at(&counters_header, &counters_header.reserved),
        },
    }
    layouts["endpoint_t"] = {
        "size": sizeof(endpoint),
        "fields": {
            "address": _at(&endpoint, &endpoint.address),
            "asset": _at(&endpoint, &endpoint.asset),
            "mac_asset": _at(&endpoint, &endpoint.mac_asset),
            "space": _at(&endpoint, &endpoint.space),
            "zone": _at(&endpoint, &endpoint.zone),
            "klass": _at(&endpoint, &endpoint.klass),
            "prefix_length": _at(&endpoint, &endpoint.prefix_length),
            "flags": _at(&endpoint, &endpoint.flags),
        },
    }
    layouts["event_t"] = {
        "size": sizeof(event),
        "fields": {
            "time_ns": _at(&event, &event.time_ns),
            "generation": _at(&event, &event.generation),
            "source": _at(&event, &event.source),
            "destination": _at(&event, &event.destination),
            "source_mac": _at(&event, &event.source_mac),
            "destination_mac": _at(&event, &event.destination_mac),
            "source_asset": _at(&event, &event.source_asset),
            "destination_asset": _at(&event, &event.destination_asset),
            "conduit": _at(&event, &event.conduit),
            "in_ifindex": _at(&event, &event.in_ifindex),
            "out_ifindex": _at(&event, &event.out_ifindex),
            "length": _at(&event, &event.length),
            "source_zone": _at(&event, &event.source_zone),
            "destination_zone": _at(&event, &event.destination_zone),
            "ethertype": _at(&event, &event.ethertype),
            "vlan": _at(&event, &event.vlan),
            "source_port": _at(&event, &event.source_port),
            "destination_port": _at(&event, &event.destination_port),
            "service": _at(&event, &event.service),
            "protocol": _at(&event, &event.protocol),
            "reason": _at(&event, &event.reason),
            "verdict": _at(&event, &event.verdict),
            "policy_verdict": _at(&event, &event.policy_verdict),
            "stage": _at(&event, &event.stage),
            "queue": _at(&event, &event.queue),
            "flags": _at(&event, &event.flags),
            "reserved": _at(&event, &event.reserved),
            "sequence": _at(&event, &event.sequence),
            "reserved2": _at(&event, &event.reserved2),
        },
    }
    layouts["events_header_t"] = {
        "size": sizeof(events_header),
        "fields": {
            "magic": _at(&events_header, &events_header.magic),
            "abi_version": _at(&events_header, &events_header.abi_version),
            "ring_count": _at(&events_header, &events_header.ring_count),
            "events_per_ring": _at(&events_header, &events_header.events_per_ring),
            "ring_bytes": _at(&events_header, &events_header.ring_bytes),
            "reserved": _at(&events_header, &events_header.reserved),
        },
    }
    layouts["flow_t"] = {
        "size": sizeof(flow),
        "fields": {
            "opener": _at(&flow, &flow.opener),
            "responder": _at(&flow, &flow.responder),
            "opener_port": _at(&flow, &flow.opener_port),
            "responder_port": _at(&flow, &flow.responder_port),
            "opener_zone": _at(&flow, &flow.opener_zone),
            "responder_zone": _at(&flow, &flow.responder_zone),
            "protocol": _at(&flow, &flow.protocol),
            "in_use": _at(&flow, &flow.in_use),
            "flags": _at(&flow, &flow.flags),
            "conduit": _at(&flow, &flow.conduit),
            "opener_asset": _at(&flow, &flow.opener_asset),
            "responder_asset": _at(&flow, &flow.responder_asset),
            "generation": _at(&flow, &flow.generation),
            "opener_mac": _at(&flow, &flow.opener_mac),
            "responder_mac": _at(&flow, &flow.responder_mac),
            "service": _at(&flow, &flow.service),
            "stream": _at(&flow, &flow.stream),
            "first_seen_ns": _at(&flow, &flow.first_seen_ns),
            "last_seen_ns": _at(&flow, &flow.last_seen_ns),
            "opener_frames": _at(&flow, &flow.opener_frames),
            "responder_frames": _at(&flow, &flow.responder_frames),
            "opener_bytes": _at(&flow, &flow.opener_bytes),
            "responder_bytes": _at(&flow, &flow.responder_bytes),
        },
    }
    layouts["flows_header_t"] = {
        "size": sizeof(flows_header),
        "fields": {
            "magic": _at(&flows_header, &flows_header.magic),
            "abi_version": _at(&flows_header, &flows_header.abi_version),
            "table_count": _at(&flows_header, &flows_header.table_count),
            "flows_per_table": _at(&flows_header, &flows_header.flows_per_table),
            "reserved": _at(&flows_header, &flows_header.reserved),
            "seed": _at(&flows_header, &flows_header.seed),
            "reserved2": _at(&flows_header, &flows_header.reserved2),
        },
    }
    layouts["image_header_t"] = {
        "size": sizeof(image_header),
        "fields": {
            "magic": _at(&image_header, &image_header.magic),
            "abi_version": _at(&image_header, &image_header.abi_version),
            "header_bytes": _at(&image_header, &image_header.header_bytes),
            "generation": _at(&image_header, &image_header.generation),
            "image_bytes": _at(&image_header, &image_header.image_bytes),
            "policy_digest": _at(&image_header, &image_header.policy_digest),
            "image_sha256": _at(&image_header, &image_header.image_sha256),
            "hash_seed": _at(&image_header, &image_header.hash_seed),
            "zone_count": _at(&image_header, &image_header.zone_count),
            "port_count": _at(&image_header, &image_header.port_count),
            "conduit_capacity": _at(&image_header, &image_header.conduit_capacity),
            "node_count": _at(&image_header, &image_header.node_count),
            "reserved": _at(&image_header, &image_header.reserved),
            "reserved2": _at(&image_header, &image_header.reserved2),
        },
    }
    layouts["limit_t"] = {
        "size": sizeof(limit),
        "fields": {
            "packet_interval_ns": _at(&limit, &limit.packet_interval_ns),
            "packet_burst_ns": _at(&limit, &limit.packet_burst_ns),
            "flow_interval_ns": _at(&limit, &limit.flow_interval_ns),
            "flow_burst_ns": _at(&limit, &limit.flow_burst_ns),
            "source_packet_interval_ns": _at(&limit, &limit.source_packet_interval_ns),
            "source_packet_burst_ns": _at(&limit, &limit.source_packet_burst_ns),
            "source_flow_interval_ns": _at(&limit, &limit.source_flow_interval_ns),
            "source_flow_burst_ns": _at(&limit, &limit.source_flow_burst_ns),
        },
    }
    layouts["mac_t"] = {
        "size": sizeof(mac),
        "fields": {
            "address_space": _at(&mac, &mac.address_space),
            "asset": _at(&mac, &mac.asset),
            "zone": _at(&mac, &mac.zone),
            "klass": _at(&mac, &mac.klass),
        },
    }
    layouts["message_t"] = {
        "size": sizeof(message),
        "fields": {
            "protocol": _at(&message, &message.protocol),
            "operation": _at(&message, &message.operation),
            "answer": _at(&message, &message.answer),
            "depth": _at(&message, &message.depth),
            "index": _at(&message, &message.index),
            "present": _at(&message, &message.present),
            "wide": _at(&message, &message.wide),
            "reserved": _at(&message, &message.reserved),
            "low": _at(&message, &message.low),
            "high": _at(&message, &message.high),
        },
    }
    layouts["node_t"] = {
        "size": sizeof(node),
        "fields": {
            "conduit": _at(&node, &node.conduit),
            "next": _at(&node, &node.next),
        },
    }
    layouts["profile_t"] = {
        "size": sizeof(profile),
        "fields": {
            "first_clause": _at(&profile, &profile.first_clause),
            "clause_count": _at(&profile, &profile.clause_count),
            "inspectors": _at(&profile, &profile.inspectors),
            "every": _at(&profile, &profile.every),
            "operations": _at(&profile, &profile.operations),
            "constrained": _at(&profile, &profile.constrained),
            "messages": _at(&profile, &profile.messages),
            "refuse": _at(&profile, &profile.refuse),
            "guarded": _at(&profile, &profile.guarded),
            "reserved": _at(&profile, &profile.reserved),
        },
    }
    layouts["queue_counters_t"] = {
        "size": sizeof(queue_counters),
        "fields": {
            "heartbeat_ns": _at(&queue_counters, &queue_counters.heartbeat_ns),
            "generation": _at(&queue_counters, &queue_counters.generation),
            "received": _at(&queue_counters, &queue_counters.received),
            "accepted": _at(&queue_counters, &queue_counters.accepted),
            "dropped": _at(&queue_counters, &queue_counters.dropped),
            "would_drop": _at(&queue_counters, &queue_counters.would_drop),
            "released": _at(&queue_counters, &queue_counters.released),
            "batches": _at(&queue_counters, &queue_counters.batches),
            "receive_errors": _at(&queue_counters, &queue_counters.receive_errors),
            "verdict_errors": _at(&queue_counters, &queue_counters.verdict_errors),
            "flows_created": _at(&queue_counters, &queue_counters.flows_created),
            "flows_evicted": _at(&queue_counters, &queue_counters.flows_evicted),
            "last_id": _at(&queue_counters, &queue_counters.last_id),
            "pending": _at(&queue_counters, &queue_counters.pending),
            "queue_number": _at(&queue_counters, &queue_counters.queue_number),
            "reserved": _at(&queue_counters, &queue_counters.reserved),
            "refused": _at(&queue_counters, &queue_counters.refused),
            "laned": _at(&queue_counters, &queue_counters.laned),
            "tally": _at(&queue_counters, &queue_counters.tally),
            "by_reason": _at(&queue_counters, &queue_counters.by_reason),
            "rewritten": _at(&queue_counters, &queue_counters.rewritten),
        },
    }
    layouts["range_t"] = {
        "size": sizeof(span),
        "fields": {
            "field": _at(&span, &span.field),
            "reserved": _at(&span, &span.reserved),
            "low": _at(&span, &span.low),
            "high": _at(&span, &span.high),
        },
    }
    layouts["ring_header_t"] = {
        "size": sizeof(ring_header),
        "fields": {
            "head": _at(&ring_header, &ring_header.head),
            "lost": _at(&ring_header, &ring_header.lost),
            "reserved": _at(&ring_header, &ring_header.reserved),
            "tail": _at(&ring_header, &ring_header.tail),
            "reserved2": _at(&ring_header, &ring_header.reserved2),
            "reserved3": _at(&ring_header, &ring_header.reserved3),
        },
    }
    layouts["rule_t"] = {
        "size": sizeof(rule),
        "fields": {
            "key": _at(&rule, &rule.key),
            "node": _at(&rule, &rule.node),
            "reserved": _at(&rule, &rule.reserved),
        },
    }
    layouts["section_t"] = {
        "size": sizeof(section),
        "fields": {
            "offset_bytes": _at(&section, &section.offset_bytes),
            "count": _at(&section, &section.count),
            "reserved": _at(&section, &section.reserved),
        },
    }
    layouts["state_header_t"] = {
        "size": sizeof(state_header),
        "fields": {
            "magic": _at(&state_header, &state_header.magic),
            "abi_version": _at(&state_header, &state_header.abi_version),
            "header_bytes": _at(&state_header, &state_header.header_bytes),
            "state_bytes": _at(&state_header, &state_header.state_bytes),
            "generation": _at(&state_header, &state_header.generation),
            "ceiling": _at(&state_header, &state_header.ceiling),
            "reserved": _at(&state_header, &state_header.reserved),
            "zone_count": _at(&state_header, &state_header.zone_count),
            "conduit_capacity": _at(&state_header, &state_header.conduit_capacity),
            "ports_offset": _at(&state_header, &state_header.ports_offset),
            "pairs_offset": _at(&state_header, &state_header.pairs_offset),
            "conduits_offset": _at(&state_header, &state_header.conduits_offset),
            "lane_mark": _at(&state_header, &state_header.lane_mark),
            "reserved2": _at(&state_header, &state_header.reserved2),
        },
    }
    layouts["state_port_t"] = {
        "size": sizeof(state_port),
        "fields": {
            "ifindex": _at(&state_port, &state_port.ifindex),
            "port": _at(&state_port, &state_port.port),
            "reserved": _at(&state_port, &state_port.reserved),
        },
    }
    layouts["stream_t"] = {
        "size": sizeof(stream),
        "fields": {
            "changing": _at(&stream, &stream.changing),
            "flags": _at(&stream, &stream.flags),
            "inspector": _at(&stream, &stream.inspector),
            "reserved": _at(&stream, &stream.reserved),
            "opener_share": _at(&stream, &stream.opener_share),
            "crowd_share": _at(&stream, &stream.crowd_share),
            "next_unused": _at(&stream, &stream.next_unused),
            "reserved2": _at(&stream, &stream.reserved2),
            "ways": _at(&stream, &stream.ways),
            "dialog": _at(&stream, &stream.dialog),
            "small": _at(&stream, &stream.small),
        },
    }
    layouts["stream_way_t"] = {
        "size": sizeof(stream_way),
        "fields": {
            "next": _at(&stream_way, &stream_way.next),
            "acked": _at(&stream_way, &stream_way.acked),
            "first": _at(&stream_way, &stream_way.first),
            "base": _at(&stream_way, &stream_way.base),
            "message": _at(&stream_way, &stream_way.message),
            "needed": _at(&stream_way, &stream_way.needed),
            "tried": _at(&stream_way, &stream_way.tried),
            "at": _at(&stream_way, &stream_way.at),
            "hole_end": _at(&stream_way, &stream_way.hole_end),
            "ahead_end": _at(&stream_way, &stream_way.ahead_end),
            "window": _at(&stream_way, &stream_way.window),
            "flags": _at(&stream_way, &stream_way.flags),
            "edit_at": _at(&stream_way, &stream_way.edit_at),
            "edit_to": _at(&stream_way, &stream_way.edit_to),
            "edit_count": _at(&stream_way, &stream_way.edit_count),
            "reserved": _at(&stream_way, &stream_way.reserved),
        },
    }
    layouts["streams_header_t"] = {
        "size": sizeof(streams_header),
        "fields": {
            "magic": _at(&streams_header, &streams_header.magic),
            "abi_version": _at(&streams_header, &streams_header.abi_version),
            "table_count": _at(&streams_header, &streams_header.table_count),
            "streams_per_table": _at(&streams_header, &streams_header.streams_per_table),
            "windows_per_table": _at(&streams_header, &streams_header.windows_per_table),
            "reserved": _at(&streams_header, &streams_header.reserved),
        },
    }
    layouts["tally_entry_t"] = {
        "size": sizeof(tally_entry),
        "fields": {
            "conduit": _at(&tally_entry, &tally_entry.conduit),
            "reason": _at(&tally_entry, &tally_entry.reason),
            "verdict": _at(&tally_entry, &tally_entry.verdict),
            "flags": _at(&tally_entry, &tally_entry.flags),
        },
    }
    layouts["zone_t"] = {
        "size": sizeof(zone),
        "fields": {
            "space": _at(&zone, &zone.space),
            "reserved": _at(&zone, &zone.reserved),
            "reserved2": _at(&zone, &zone.reserved2),
        },
    }
    return layouts


def c_mix64(a, b):
    """Return the C hash of two 64-bit words."""
    return abi.mix64(a, b)


def c_constants():
    """Return {name: number} of every constant that both sides state; enumeration members as CLASS_MEMBER."""
    return {
        "ABI_VERSION": abi.C_ABI_VERSION,
        "FIRST_DROP_REASON": abi.FIRST_DROP_REASON,
        "REASON_COUNT": abi.REASON_COUNT,
        "MAX_PROBE": abi.MAX_PROBE,
        "NO_CLASS": abi.NO_CLASS,
        "SERVICE_NEIGHBOUR": abi.SERVICE_NEIGHBOUR,
        "UNKNOWN_ZONE": abi.UNKNOWN_ZONE,
        "VLAN_COUNT": abi.VLAN_COUNT,
        "HOST_PREFIX_LENGTH": abi.HOST_PREFIX_LENGTH,
        "ENDPOINT_ANYWHERE": abi.ENDPOINT_ANYWHERE,
        "ENDPOINT_IN_USE": abi.ENDPOINT_IN_USE,
        "MAC_ANYWHERE_ZONE": abi.MAC_ANYWHERE_ZONE,
        "SECTION_COUNT": abi.SECTION_COUNT,
        "MAX_PROFILES": abi.MAX_PROFILES,
        "MAX_CLAUSES": abi.MAX_CLAUSES,
        "MAX_RANGES": abi.MAX_RANGES,
        "NO_FIELD": abi.NO_FIELD,
        "STATE_PORT_SLOTS": abi.STATE_PORT_SLOTS,
        "CONDUIT_STAGE_MASK": abi.CONDUIT_STAGE_MASK,
        "CONDUIT_OPEN": abi.CONDUIT_OPEN,
        "PAIR_STAGE_MASK": abi.PAIR_STAGE_MASK,
        "PAIR_REFUSE": abi.PAIR_REFUSE,
        "MAX_CONDUITS": abi.MAX_CONDUITS,
        "MAX_BATCH": abi.MAX_BATCH,
        "PAGE_BYTES": abi.PAGE_BYTES,
        "COUNTERS_HEADER_BYTES": abi.COUNTERS_HEADER_BYTES,
        "QUEUE_COUNTERS_STRIDE": abi.QUEUE_COUNTERS_STRIDE,
        "EVENTS_HEADER_BYTES": abi.EVENTS_HEADER_BYTES,
        "EVENTS_PER_RING": abi.EVENTS_PER_RING,
        "RING_BYTES": abi.RING_BYTES,
        "EVENT_TCP_OPENING": abi.EVENT_TCP_OPENING,
        "EVENT_MESSAGE": abi.EVENT_MESSAGE,
        "EVENT_REWRITTEN": abi.EVENT_REWRITTEN,
        "FLOW_WAYS": abi.FLOW_WAYS,
        "FLOWS_HEADER_BYTES": abi.FLOWS_HEADER_BYTES,
        "FLOW_CLOSED": abi.FLOW_CLOSED,
        "FLOW_FIN_OPENER": abi.FLOW_FIN_OPENER,
        "FLOW_FIN_RESPONDER": abi.FLOW_FIN_RESPONDER,
        "FLOW_KNOWN_OPENER": abi.FLOW_KNOWN_OPENER,
        "FLOW_KNOWN_RESPONDER": abi.FLOW_KNOWN_RESPONDER,
        "FLOW_PLAIN": abi.FLOW_PLAIN,
        "STREAMS_PER_TABLE": abi.STREAMS_PER_TABLE,
        "STREAM_WINDOWS": abi.STREAM_WINDOWS,
        "STREAM_SMALL_BYTES": abi.STREAM_SMALL_BYTES,
        "STREAM_LARGE_BYTES": abi.STREAM_LARGE_BYTES,
        "STREAM_LOOSE": abi.STREAM_LOOSE,
        "STREAM_SHUT": abi.STREAM_SHUT,
        "STREAM_ENDED": abi.STREAM_ENDED,
        "STREAM_GREETED": abi.STREAM_GREETED,
        "WAY_FIN": abi.WAY_FIN,
        "WAY_LOST": abi.WAY_LOST,
        "WAY_HOLE": abi.WAY_HOLE,
        "WAY_EDITS": abi.WAY_EDITS,
        "STREAMS_HEADER_BYTES": abi.STREAMS_HEADER_BYTES,
        "MARK_JUDGED": abi.MARK_JUDGED,
        "MARK_LANE": abi.MARK_LANE,
        "MARK_LANE_MASK": abi.MARK_LANE_MASK,
        "LANE_GENERATIONS": abi.LANE_GENERATIONS,
        "NO_ASSET": abi.NO_ASSET,
        "NO_CONDUIT": abi.NO_CONDUIT,
        "NO_NODE": abi.NO_NODE,
        "STAGE_MONITOR": abi.STAGE_MONITOR,
        "STAGE_ALERT": abi.STAGE_ALERT,
        "STAGE_ENFORCE": abi.STAGE_ENFORCE,
        "VERDICT_ACCEPT": abi.VERDICT_ACCEPT,
        "VERDICT_DROP": abi.VERDICT_DROP,
        "FAIL_STATIC": abi.FAIL_STATIC,
        "FAIL_CLOSED": abi.FAIL_CLOSED,
        "FAIL_OPEN": abi.FAIL_OPEN,
        "LOG_NONE": abi.LOG_NONE,
        "LOG_FLOW": abi.LOG_FLOW,
        "LOG_ALL": abi.LOG_ALL,
        "REASON_NONE": abi.REASON_NONE,
        "REASON_POLICY_CONDUIT": abi.REASON_POLICY_CONDUIT,
        "REASON_FLOW_ESTABLISHED": abi.REASON_FLOW_ESTABLISHED,
        "REASON_FLOW_PICKUP": abi.REASON_FLOW_PICKUP,
        "REASON_FLOW_RELATED": abi.REASON_FLOW_RELATED,
        "REASON_NEIGHBOUR_RESOLUTION": abi.REASON_NEIGHBOUR_RESOLUTION,
        "REASON_ZONE_INTERNAL": abi.REASON_ZONE_INTERNAL,
        "REASON_FRAME_TRUNCATED": abi.REASON_FRAME_TRUNCATED,
        "REASON_FRAME_MALFORMED": abi.REASON_FRAME_MALFORMED,
        "REASON_FRAME_FRAGMENT": abi.REASON_FRAME_FRAGMENT,
        "REASON_FRAME_TCP_FLAGS": abi.REASON_FRAME_TCP_FLAGS,
        "REASON_FRAME_EXTENSION": abi.REASON_FRAME_EXTENSION,
        "REASON_FRAME_VLAN_STACKED": abi.REASON_FRAME_VLAN_STACKED,
        "REASON_FRAME_LLC": abi.REASON_FRAME_LLC,
        "REASON_IDENTITY_PORT_UNKNOWN": abi.REASON_IDENTITY_PORT_UNKNOWN,
        "REASON_IDENTITY_SOURCE_UNKNOWN": abi.REASON_IDENTITY_SOURCE_UNKNOWN,
        "REASON_IDENTITY_SOURCE_ZONE": abi.REASON_IDENTITY_SOURCE_ZONE,
        "REASON_IDENTITY_SOURCE_MAC": abi.REASON_IDENTITY_SOURCE_MAC,
        "REASON_IDENTITY_DESTINATION_UNKNOWN": abi.REASON_IDENTITY_DESTINATION_UNKNOWN,
        "REASON_IDENTITY_DESTINATION_ZONE": abi.REASON_IDENTITY_DESTINATION_ZONE,
        "REASON_IDENTITY_NEIGHBOUR": abi.REASON_IDENTITY_NEIGHBOUR,
        "REASON_POLICY_NO_CONDUIT": abi.REASON_POLICY_NO_CONDUIT,
        "REASON_POLICY_CONDUIT_CLOSED": abi.REASON_POLICY_CONDUIT_CLOSED,
        "REASON_NEIGHBOUR_NO_CONDUIT": abi.REASON_NEIGHBOUR_NO_CONDUIT,
        "REASON_GUARD_QUARANTINE": abi.REASON_GUARD_QUARANTINE,
        "REASON_LIMIT_PACKETS": abi.REASON_LIMIT_PACKETS,
        "REASON_LIMIT_FLOWS": abi.REASON_LIMIT_FLOWS,
        "REASON_LIMIT_SOURCE": abi.REASON_LIMIT_SOURCE,
        "REASON_STREAM_SHARE": abi.REASON_STREAM_SHARE,
        "REASON_STREAM_AHEAD": abi.REASON_STREAM_AHEAD,
        "REASON_STREAM_CONFLICT": abi.REASON_STREAM_CONFLICT,
        "REASON_STREAM_SEQUENCE": abi.REASON_STREAM_SEQUENCE,
        "REASON_STREAM_URGENT": abi.REASON_STREAM_URGENT,
        "REASON_STREAM_OPENING_DATA": abi.REASON_STREAM_OPENING_DATA,
        "REASON_STREAM_PICKUP": abi.REASON_STREAM_PICKUP,
        "REASON_STREAM_BUDGET": abi.REASON_STREAM_BUDGET,
        "REASON_STREAM_REFUSED": abi.REASON_STREAM_REFUSED,
        "REASON_MESSAGE_PROTOCOL": abi.REASON_MESSAGE_PROTOCOL,
        "REASON_MESSAGE_MALFORMED": abi.REASON_MESSAGE_MALFORMED,
        "REASON_MESSAGE_OPAQUE": abi.REASON_MESSAGE_OPAQUE,
        "REASON_MESSAGE_ANSWER": abi.REASON_MESSAGE_ANSWER,
        "REASON_MESSAGE_OPERATION": abi.REASON_MESSAGE_OPERATION,
        "REASON_MESSAGE_CONSTRAINT": abi.REASON_MESSAGE_CONSTRAINT,
        "REASON_MESSAGE_BUDGET": abi.REASON_MESSAGE_BUDGET,
        "REASON_PROCESS_VALUE": abi.REASON_PROCESS_VALUE,
        "REASON_PROCESS_STEP": abi.REASON_PROCESS_STEP,
        "REASON_PROCESS_RATE": abi.REASON_PROCESS_RATE,
        "INSPECTOR_NONE": abi.INSPECTOR_NONE,
        "INSPECTOR_MODBUS": abi.INSPECTOR_MODBUS,
        "INSPECTOR_MODBUS_RTU": abi.INSPECTOR_MODBUS_RTU,
        "INSPECTOR_S7COMM": abi.INSPECTOR_S7COMM,
        "INSPECTOR_ENIP": abi.INSPECTOR_ENIP,
        "INSPECTOR_ENIP_IO": abi.INSPECTOR_ENIP_IO,
        "PROTOCOL_NONE": abi.PROTOCOL_NONE,
        "PROTOCOL_MODBUS": abi.PROTOCOL_MODBUS,
        "PROTOCOL_S7COMM": abi.PROTOCOL_S7COMM,
        "PROTOCOL_S7COMM_PLUS": abi.PROTOCOL_S7COMM_PLUS,
        "PROTOCOL_ENIP": abi.PROTOCOL_ENIP,
        "PROTOCOL_CIP": abi.PROTOCOL_CIP,
        "PROTOCOL_COTP": abi.PROTOCOL_COTP,
        "OPERATION_NONE": abi.OPERATION_NONE,
        "OPERATION_READ": abi.OPERATION_READ,
        "OPERATION_WRITE": abi.OPERATION_WRITE,
        "OPERATION_CONTROL": abi.OPERATION_CONTROL,
        "OPERATION_PROGRAM": abi.OPERATION_PROGRAM,
        "OPERATION_ADMIN": abi.OPERATION_ADMIN,
        "OPERATION_DIAGNOSE": abi.OPERATION_DIAGNOSE,
        "OPERATION_OTHER": abi.OPERATION_OTHER,
        "ACCESS_FIELDS": abi.ACCESS_FIELDS,
        "MESSAGES_NONE": abi.MESSAGES_NONE,
        "MESSAGES_SAMPLED": abi.MESSAGES_SAMPLED,
        "MESSAGES_FULL": abi.MESSAGES_FULL,
        "REFUSE_SILENT": abi.REFUSE_SILENT,
        "REFUSE_RESET": abi.REFUSE_RESET,
        "REFUSE_ANSWER": abi.REFUSE_ANSWER,
        "SECTION_ENDPOINTS": abi.SECTION_ENDPOINTS,
        "SECTION_MACS": abi.SECTION_MACS,
        "SECTION_RULES": abi.SECTION_RULES,
        "SECTION_NODES": abi.SECTION_NODES,
        "SECTION_CONDUITS": abi.SECTION_CONDUITS,
        "SECTION_ZONES": abi.SECTION_ZONES,
        "SECTION_PORT_ZONES": abi.SECTION_PORT_ZONES,
        "SECTION_PREFIX_LENGTHS": abi.SECTION_PREFIX_LENGTHS,
        "SECTION_SERVICES_TCP": abi.SECTION_SERVICES_TCP,
        "SECTION_SERVICES_UDP": abi.SECTION_SERVICES_UDP,
        "SECTION_SERVICES_IP": abi.SECTION_SERVICES_IP,
        "SECTION_SERVICES_ICMP4": abi.SECTION_SERVICES_ICMP4,
        "SECTION_SERVICES_ICMP6": abi.SECTION_SERVICES_ICMP6,
        "SECTION_SERVICES_ETHERTYPE": abi.SECTION_SERVICES_ETHERTYPE,
        "SECTION_LIMITS": abi.SECTION_LIMITS,
        "SECTION_PROFILES": abi.SECTION_PROFILES,
        "SECTION_CLAUSES": abi.SECTION_CLAUSES,
        "SECTION_RANGES": abi.SECTION_RANGES,
        "SECTION_SERVICE_INSPECTORS": abi.SECTION_SERVICE_INSPECTORS,
    }
