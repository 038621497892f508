"""The slow, plainly correct twin of docs/reference/semantics.md: frames in, answers out, line after line.

In: a PlainPolicy and frames one by one; the memory of flows is a dict. Out: `Answer` values. Written only from that
page, so that an error in the compiler or the engine shows as a difference. Must never be made fast, and never take a
table, class or record from the product. Called by tests/property, tests/netns/test_static_twin.py, bench/differential.
"""

from __future__ import annotations

from typing import NamedTuple

from fastpath.abi import FIRST_DROP_REASON, Reason, Stage, Verdict

from .plain import Address, Answer, Conduit, Frame, PlainPolicy
from .twin_ends import DecidedError, Ends
from .twin_flow import End, Flow, FlowKey, end, flow_service, forward_key, reply_key, service_of
from .twin_frame import (
    ERROR_TYPES,
    TCP,
    Arp,
    Packet,
    UnreadableError,
    read,
    read_quoted,
    untag,
)
from .twin_identity import Endpoint, Identity
from .twin_limits import Limits
from .twin_neighbours import judge_arp, judge_discovery


class Finding(NamedTuple):
    """What the lines of the page give before stages apply."""

    reason: Reason
    conduit: Conduit | None = None


class Twin:
    """One policy in force, its stages and open conduits as they are now, and the flows seen so far."""

    def __init__(self, policy: PlainPolicy) -> None:
        self.flows: dict[FlowKey, Flow] = {}
        self.limits = Limits()
        self.now_ns = 0
        self.swap(policy)

    def swap(self, policy: PlainPolicy) -> None:
        """Let a policy be in force: with its own stages and openings; flows and limits go on."""
        self.policy = policy
        self.identity = Identity(policy)
        self.ends = Ends(self.identity)
        self.ceiling = policy.ceiling
        self.pair_stages = dict(policy.pair_stages)
        self.default_stage = policy.default_stage
        self.conduit_stages = {conduit.name: conduit.stage for conduit in policy.conduits}
        self.open = {conduit.name for conduit in policy.conduits if conduit.open_at_first}

    def judge(self, frame: Frame) -> Answer:
        """Return what the page says of a frame, and remember the flow it opens."""
        frame = untag(frame)
        ingress = self.identity.zone_of_port(frame.in_port, frame.vlan)
        egress = self.identity.zone_of_port(frame.out_port, frame.vlan)
        zones = (ingress.name if ingress else None, egress.name if egress else None)
        try:
            finding = self._judge_lines(frame, *zones)
        except (DecidedError, UnreadableError) as decided:
            finding = Finding(decided.reason)
        accepts = finding.reason < FIRST_DROP_REASON
        policy_verdict = Verdict.ACCEPT if accepts else Verdict.DROP
        stage = min(self._stage_of_object(finding.conduit, *zones), self.ceiling)
        verdict = Verdict.ACCEPT if accepts or stage < Stage.ENFORCE else Verdict.DROP
        name = finding.conduit.name if finding.conduit else None
        return Answer(policy_verdict, verdict, finding.reason, name, *zones)

    def _stage_of_object(self, conduit: Conduit | None, ingress: str | None, egress: str | None) -> Stage:
        if conduit is not None:
            return self.conduit_stages[conduit.name]
        if ingress is None or egress is None:
            return self.default_stage
        return self.pair_stages.get((ingress, egress), self.default_stage)

    def _judge_lines(self, frame: Frame, ingress: str | None, egress: str | None) -> Finding:
        if ingress is None or egress is None:  # 1
            return Finding(Reason.IDENTITY_PORT_UNKNOWN)
        if ingress == egress:  # 2
            return Finding(Reason.ZONE_INTERNAL)
        content = read(frame)  # 3
        if isinstance(content, Arp):  # 4
            return Finding(judge_arp(self.ends, frame, content, ingress, egress))
        if isinstance(content, Packet) and content.is_neighbour_discovery:
            return Finding(judge_discovery(self.ends, frame, content, ingress, egress))
        if content is None:
            source = self.ends.source_by_mac(frame, ingress)  # 5
            destination = self.ends.destination_by_mac(frame, egress)  # 6
            found = self._judge_service(source, destination, ("ethertype", frame.ethertype), Reason.POLICY_CONDUIT)
            return self._limited(found, source, frame.source_mac, opens=False)
        source = self.ends.source_by_ip(frame, content.source, ingress)  # 5
        destination = self.ends.destination_by_ip(content.destination, egress)  # 6
        return self._judge_packet(content, source, destination)

    def _judge_packet(self, packet: Packet, source: Endpoint, destination: Endpoint) -> Finding:
        transport = packet.transport
        key = _forward_key(packet, source, destination)
        established = self._judge_known_flow(packet, source, destination)  # 7
        if established is not None:
            return established
        midstream = transport.protocol == TCP and not transport.is_tcp_opening
        reason = Reason.FLOW_PICKUP if midstream else Reason.POLICY_CONDUIT
        forward = self._judge_service(source, destination, service_of(packet), reason)  # 8
        if forward.reason == reason and forward.conduit is not None:
            opens = key is not None and not midstream
            limited = self._limited(forward, source, packet.source, opens=opens)
            if key is not None and self._passes(limited):
                self.flows[key] = Flow(forward.conduit, self.policy)
            return limited
        if midstream:  # 9
            backward = self._first_open(destination, source, ("tcp", transport.source_port))
            if backward is not None:
                opened = FlowKey(end(destination), end(source), TCP, transport.destination_port, transport.source_port)
                self.flows[opened] = Flow(backward, self.policy)
                return Finding(Reason.FLOW_PICKUP, backward)
        if packet.icmp_type in ERROR_TYPES[packet.version]:  # 10
            related = self._related_flow(packet, source, destination)
            if related is not None:
                flow, from_opener = related
                found = Finding(Reason.FLOW_RELATED, self.flows[flow].conduit)
                return self._limited(found, source, packet.source, opens=False) if from_opener else found
        return forward  # 11, 12

    def _judge_service(
        self, source: Endpoint, destination: Endpoint, service: tuple[str, int] | None, reason: Reason
    ) -> Finding:
        """Lines 8, 11 and 12."""
        conduits = self.identity.conduits_joining(source, destination, service)
        for conduit in conduits:
            if conduit.name in self.open:
                return Finding(reason, conduit)
        if conduits:
            return Finding(Reason.POLICY_CONDUIT_CLOSED, conduits[0])
        return Finding(Reason.POLICY_NO_CONDUIT)

    def _first_open(self, source: Endpoint, destination: Endpoint, service: tuple[str, int]) -> Conduit | None:
        joining = self.identity.conduits_joining(source, destination, service)
        return next((conduit for conduit in joining if conduit.name in self.open), None)

    def _judge_known_flow(self, packet: Packet, source: Endpoint, destination: Endpoint) -> Finding | None:
        for key in (_forward_key(packet, source, destination), _reply_key(packet, source, destination)):
            if key is None or key not in self.flows:
                continue
            forward = key == _forward_key(packet, source, destination)
            still: Conduit | None = self.flows[key].conduit
            if not self._holds(self.flows[key]):
                ends = (source, destination) if forward else (destination, source)
                still = self._first_open(*ends, flow_service(key))
            if still is not None:
                self.flows[key] = Flow(still, self.policy)
                found = Finding(Reason.FLOW_ESTABLISHED, still)
                if not forward:
                    return found
                return self._limited(found, source, packet.source, opens=packet.transport.is_tcp_opening)
            del self.flows[key]
        return None

    def _holds(self, flow: Flow) -> bool:
        """Tell whether the conduit that permitted a flow does so under the policy in force, unasked."""
        return flow.policy is self.policy and flow.conduit.name in self.open

    def _limited(self, found: Finding, source: Endpoint, sender: Address | bytes, *, opens: bool) -> Finding:
        """Return what a conduit permits from its opening side, or why it is too much."""
        if found.conduit is None or found.reason >= FIRST_DROP_REASON:
            return found
        space = None if source.zone is None else self.ends.space(source.zone)
        reason = self.limits.reason(found.conduit, (space, sender), self.now_ns, opens=opens)
        return found if reason is Reason.NONE else Finding(reason, found.conduit)

    def _passes(self, found: Finding) -> bool:
        """Tell whether a frame goes on its way, by permission or by its conduit's stage."""
        assert found.conduit is not None
        stage = min(self.conduit_stages[found.conduit.name], self.ceiling)
        return found.reason < FIRST_DROP_REASON or stage < Stage.ENFORCE

    def _related_flow(self, packet: Packet, source: Endpoint, destination: Endpoint) -> tuple[FlowKey, bool] | None:
        """Line 10: the error's destination sent the quoted frame, to the zone the error comes from, in a known flow.

        Return the flow and whether the error comes from its opener's side.
        """
        quoted = read_quoted(packet.version, packet.transport.body)
        if quoted is None or quoted.source != packet.destination:
            return None
        here, far = End(end(destination).zone, quoted.source), End(source.zone, quoted.destination)
        sent, answered = forward_key(quoted, here, far), reply_key(quoted, here, far)
        for key in (sent, answered):
            if key is not None and key in self.flows and self._holds(self.flows[key]):
                return key, key is answered
        return None


def _forward_key(packet: Packet, source: Endpoint, destination: Endpoint) -> FlowKey | None:
    return forward_key(packet, end(source), end(destination))


def _reply_key(packet: Packet, source: Endpoint, destination: Endpoint) -> FlowKey | None:
    return reply_key(packet, end(source), end(destination))
