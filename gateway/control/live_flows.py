"""What live conversations would notice of a candidate: each is judged again by the engine's own code, on a copy.

In: flows as the segment holds them, the policy in force, a candidate. Out: those that pass now and would be cut, or
would pass by their stage only, in groups. A flow is judged by a frame that its opener could send next: from the port of
its zone, with the MAC that was seen. What it carries is not judged; but TCP that nobody has followed ends where a
conduit begins to be inspected and enforces. Engine and flow table notice nothing. CPU-bound: run it in a thread.
"""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import FLOW_CLOSED, FLOW_KNOWN_OPENER, NO_ASSET, Reason, Stage, Verdict
from gateway.control.api.change_models import FlowGroup, FlowsDifference
from gateway.control.explain_ends import STRANGER_MAC
from gateway.control.readable import address_text, present

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from fastpath.judge import Judgement
    from gateway.control.candidate import Candidate
    from gateway.control.names import Names
    from rules.records import LoweredPolicy

EXAMPLES: Final = 5
FLOWS_MAX: Final = 262_144  # judged at most: some seconds of one thread
MAPPED: Final = bytes(10) + b"\xff\xff"
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
ACK: Final = 0x10
ECHO_TYPES: Final = {ICMP: 8, ICMP6: 128}
IDLE_NS: Final = {UDP: 180_000_000_000, ICMP: 30_000_000_000, ICMP6: 30_000_000_000}  # as the engine forgets them
WORDS: Final = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmpv6"}
NextFrame = dict[str, Any]  # the arguments of `Judge.judge`


class Places:
    """Where a zone's frames come in: made-up interface numbers of both policies' ports, and one port per zone."""

    def __init__(self, now: LoweredPolicy, then: LoweredPolicy) -> None:
        names = dict.fromkeys(port.name for lowered in (now, then) for port in lowered.ports)
        self.ports = {name: number for number, name in enumerate(names, start=1)}
        by_number = {port.number: port.name for port in now.ports}
        zones = {zone.number: zone.name for zone in now.zones}
        self._ways: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for owned in now.port_zones:
            self._ways[zones[owned.zone]].append((self.ports[by_number[owned.port]], owned.vlan))

    def between(self, zone: str, other: str) -> tuple[int, int, int] | None:
        """Return (in, out, VLAN), a VLAN of both preferred: a bridge keeps the tag. None when a zone has no port."""
        ways_in, ways_out = self._ways.get(zone), self._ways.get(other)
        if not ways_in or not ways_out:
            return None
        both = [(way[0], out[0], way[1]) for way in ways_in for out in ways_out if way[1] == out[1]]
        return both[0] if both else (ways_in[0][0], ways_out[0][0], ways_in[0][1])


def next_frame(flow: Mapping[str, Any], places: tuple[int, int, int]) -> NextFrame:
    """Return the frame that the opener of a flow could send next."""
    protocol = flow["protocol"]
    if protocol == TCP:
        body = struct.pack(">HHIIBBHHH", flow["opener_port"], flow["responder_port"], 1, 1, 5 << 4, ACK, 64240, 0, 0)
    elif protocol == UDP:
        body = struct.pack(">HHHH", flow["opener_port"], flow["responder_port"], 8, 0)
    else:
        body = struct.pack(">BBHHH", ECHO_TYPES[protocol], 0, 0, flow["opener_port"], 1)
    source, destination = flow["opener"], flow["responder"]
    if source.startswith(MAPPED):
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0)
        ethertype, payload = 0x0800, head + source[12:] + destination[12:] + body
    else:
        ethertype, payload = (
            0x86DD,
            struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + source + destination + body,
        )
    known = flow["flags"] & FLOW_KNOWN_OPENER
    return {
        "payload": payload,
        "ethertype": ethertype,
        "in_ifindex": places[0],
        "out_ifindex": places[1],
        "vlan": places[2],
        "source_mac": flow["opener_mac"] if known else STRANGER_MAC,
    }


def is_live(flow: Mapping[str, Any], now_ns: int) -> bool:
    """Tell whether the engine would still know a flow at its next frame."""
    idle = IDLE_NS.get(flow["protocol"])
    return not flow["flags"] & FLOW_CLOSED and (idle is None or now_ns - flow["last_seen_ns"] <= idle)


def lacks_stream(flow: Mapping[str, Any], after: Judgement, inspected: Collection[int]) -> bool:
    """Tell whether its next data would be refused because nobody has followed it from its beginning."""
    permitted = after.policy_verdict is Verdict.ACCEPT and after.conduit in inspected
    return permitted and after.stage is Stage.ENFORCE and flow["protocol"] == TCP and not flow["stream"]


def live_flows(flows: Iterable[Mapping[str, Any]], names: Names, now: Candidate, then: Candidate) -> FlowsDifference:
    """Judge every live flow under both policies and tell those that fare worse."""
    places = Places(now.lowered, then.lowered)
    judges = (now.judge(places.ports), then.judge(places.ports))
    inspected = [{one.slot for one in side.lowered.conduits if one.profile is not None} for side in (now, then)]
    groups: dict[tuple[str, str, str, str | None, bool, str], list[str]] = defaultdict(list)
    counts: dict[tuple[str, str, str, str | None, bool, str], int] = defaultdict(int)
    judged, now_ns = 0, time.time_ns()
    for flow in flows:
        zones = (names.zone(flow["opener_zone"]), names.zone(flow["responder_zone"]))
        between = places.between(*zones)
        if between is None or flow["protocol"] not in WORDS or not is_live(flow, now_ns) or judged >= FLOWS_MAX:
            continue
        frame = next_frame(flow, between)
        before = judges[0].judge(**frame)
        if before.policy_verdict is not Verdict.ACCEPT or lacks_stream(flow, before, inspected[0]):
            continue  # it is cut at its next frame anyway
        judged += 1
        after = judges[1].judge(**frame)
        unseen = lacks_stream(flow, after, inspected[1])
        if after.policy_verdict is Verdict.ACCEPT and not unseen:
            continue
        cut = unseen or after.verdict is Verdict.DROP
        reason = Reason.STREAM_PICKUP if unseen else Reason(after.reason)
        key = (*zones, _service(flow), names.conduit(before.conduit), cut, reason.name)
        counts[key] += 1
        if len(groups[key]) < EXAMPLES:
            groups[key].append(_text(flow, names))
    found = [
        FlowGroup(
            source_zone=zone,
            destination_zone=other,
            service=service,
            conduit=conduit,
            verdict="cut" if cut else "would drop",
            reason=reason,
            count=counts[key],
            examples=groups[key],
        )
        for key in sorted(counts, key=lambda key: (not key[4], -counts[key]))
        for zone, other, service, conduit, cut, reason in [key]
    ]
    sums = {
        verdict: sum(group.count for group in found if group.verdict == verdict) for verdict in ("cut", "would drop")
    }
    return FlowsDifference(judged=judged, cut=sums["cut"], would_drop=sums["would drop"], groups=found)


def _service(flow: Mapping[str, Any]) -> str:
    number = flow["responder_port"] if flow["protocol"] in (TCP, UDP) else ECHO_TYPES[flow["protocol"]]
    return f"{WORDS[flow['protocol']]}/{number}"


def _text(flow: Mapping[str, Any], names: Names) -> str:
    ends = []
    numbered = flow["generation"] == names.generation  # asset numbers are those of the policy that permitted it last
    for end in ("opener", "responder"):
        asset = names.asset(present(flow[f"{end}_asset"], NO_ASSET)) if numbered else None
        address = address_text(flow[end])
        port = f" port {flow[f'{end}_port']}" if flow["protocol"] in (TCP, UDP) else ""
        ends.append(f"{asset} ({address}{port})" if asset else f"{address}{port}")
    return " → ".join(ends)
