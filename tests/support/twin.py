"""The slow, plainly correct twin of docs/reference/semantics.md: frames in, answers out, line after line.

In: a PlainPolicy and frames one by one; the memory of flows is a dict. Out: `Answer` values. Written only from that
page, so that an error in the compiler or the engine shows as a difference. Must never be made fast, and never take a
table, class or record from the product. Called by tests/property, tests/netns/test_static_twin.py, bench/differential.
"""

from __future__ import annotations

from typing import NamedTuple

from fastpath.abi import FIRST_DROP_REASON, Reason, Stage, Verdict

from .plain import Address, Answer, Conduit, Frame, PlainPolicy
from .twin_frame import (
    ADVERTISEMENT,
    ECHO_REPLY,
    ECHO_REQUEST,
    ERROR_TYPES,
    ICMP4,
    ICMP6,
    TCP,
    UDP,
    Arp,
    Packet,
    UnreadableError,
    read,
    read_quoted,
    untag,
)
from .twin_identity import Endpoint, Identity
from .twin_limits import Limits

LINK_LAYER_OPTIONS = (1, 2)  # RFC 4861 clause 4.6.1: source and target link-layer address
UNSPECIFIED = (Address(4, 0), Address(6, 0))


class End(NamedTuple):
    """One end of a flow, whoever the policy in force says it is: an address in a zone. Of groups, the copy's zone."""

    zone: str | None
    ip: Address | None


class FlowKey(NamedTuple):
    """A flow as its opener sees it, between two zones. ICMP echo: the identifier stands for the opener's port."""

    opener: End
    responder: End
    protocol: int
    opener_port: int
    responder_port: int


class Flow(NamedTuple):
    """Which conduit permits a flow, and the policy under which it was found to."""

    conduit: Conduit
    policy: PlainPolicy


class Finding(NamedTuple):
    """What the lines of the page give before stages apply."""

    reason: Reason
    conduit: Conduit | None = None


class _DecidedError(Exception):
    """A line before 7 decided."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


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
        except (_DecidedError, UnreadableError) as decided:
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
            return self._judge_arp(frame, content, ingress, egress)
        if isinstance(content, Packet) and content.is_neighbour_discovery:
            return self._judge_discovery(frame, content, ingress, egress)
        if content is None:
            source = self._source_by_mac(frame, ingress)  # 5
            destination = self._destination_by_mac(frame, egress)  # 6
            found = self._judge_service(source, destination, ("ethertype", frame.ethertype), Reason.POLICY_CONDUIT)
            return self._limited(found, source, frame.source_mac, opens=False)
        source = self._source_by_ip(frame, content.source, ingress)  # 5
        destination = self._destination_by_ip(content.destination, egress)  # 6
        return self._judge_packet(content, source, destination)

    # ---- lines 5 and 6 ----

    def _space(self, zone: str) -> str:
        return self.identity.zones[zone].space

    def _source_by_ip(self, frame: Frame, ip: Address, ingress: str) -> Endpoint:
        source = self.identity.endpoint_of_ip(ip, self._space(ingress))
        if source is None or source.is_group:  # nobody sends from a group address
            raise _DecidedError(Reason.IDENTITY_SOURCE_UNKNOWN)
        if source.zone != ingress:
            raise _DecidedError(Reason.IDENTITY_SOURCE_ZONE)
        macs = self.identity.macs_to_check(source)
        if macs and frame.source_mac not in macs:
            raise _DecidedError(Reason.IDENTITY_SOURCE_MAC)
        return source

    def _source_by_mac(self, frame: Frame, ingress: str) -> Endpoint:
        source = self.identity.endpoint_of_mac(frame.source_mac, self._space(ingress))
        if source is None or source.is_group:  # nobody sends from a group address
            raise _DecidedError(Reason.IDENTITY_SOURCE_UNKNOWN)
        if source.zone != ingress:
            raise _DecidedError(Reason.IDENTITY_SOURCE_ZONE)
        return source

    def _destination_by_ip(self, ip: Address, egress: str) -> Endpoint:
        return self._in_egress(self.identity.endpoint_of_ip(ip, self._space(egress)), egress)

    def _destination_by_mac(self, frame: Frame, egress: str) -> Endpoint:
        mac = frame.destination_mac
        found = None if mac is None else self.identity.endpoint_of_mac(mac, self._space(egress))
        return self._in_egress(found, egress)

    def _in_egress(self, destination: Endpoint | None, egress: str) -> Endpoint:
        if destination is None:
            raise _DecidedError(Reason.IDENTITY_DESTINATION_UNKNOWN)
        if destination.is_group:
            return destination._replace(copy_to=egress)
        if destination.zone != egress:
            raise _DecidedError(Reason.IDENTITY_DESTINATION_ZONE)
        return destination

    # ---- lines 7 to 12 ----

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
                still = self._first_open(*ends, _flow_service(key))
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
        space = None if source.zone is None else self._space(source.zone)
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

    # ---- line 4 ----

    def _judge_arp(self, frame: Frame, arp: Arp, ingress: str, egress: str) -> Finding:
        if arp.sender in UNSPECIFIED:  # b
            return Finding(Reason.NEIGHBOUR_NO_CONDUIT)
        if arp.sender_mac != frame.source_mac:  # c
            return Finding(Reason.IDENTITY_NEIGHBOUR)
        sender = self._source_by_ip(frame, arp.sender, ingress)
        if arp.sender == arp.target:  # d
            return self._announcement(sender)
        return self._resolution(sender, self._destination_by_ip(arp.target, egress))  # e, f

    def _judge_discovery(self, frame: Frame, packet: Packet, ingress: str, egress: str) -> Finding:
        inside = Address(6, int.from_bytes(packet.transport.body[:16], "big"))
        is_advertisement = packet.icmp_type == ADVERTISEMENT
        sender_ip, target_ip = (inside, packet.destination) if is_advertisement else (packet.source, inside)
        if sender_ip in UNSPECIFIED:  # b
            return Finding(Reason.NEIGHBOUR_NO_CONDUIT)
        self._check_options(packet.transport.body[16:], frame.source_mac)  # c
        if is_advertisement and packet.source != sender_ip:
            return Finding(Reason.IDENTITY_NEIGHBOUR)
        sender = self._source_by_ip(frame, sender_ip, ingress)
        if is_advertisement and packet.destination.is_multicast:  # d
            return self._announcement(sender)
        return self._resolution(sender, self._destination_by_ip(target_ip, egress))  # e, f

    def _check_options(self, options: bytes, source_mac: bytes) -> None:
        while options:
            size = options[1] * 8 if len(options) > 1 else 0
            if size == 0 or size > len(options):
                raise _DecidedError(Reason.FRAME_MALFORMED)
            if options[0] in LINK_LAYER_OPTIONS and size == 8 and options[2:8] != source_mac:
                raise _DecidedError(Reason.IDENTITY_NEIGHBOUR)
            options = options[size:]

    def _announcement(self, sender: Endpoint) -> Finding:
        checked = bool(self.identity.macs_to_check(sender))
        return Finding(Reason.NEIGHBOUR_RESOLUTION if checked else Reason.NEIGHBOUR_NO_CONDUIT)

    def _resolution(self, sender: Endpoint, target: Endpoint) -> Finding:
        joined = self.identity.joined_over_ip(sender, target) or self.identity.joined_over_ip(target, sender)
        return Finding(Reason.NEIGHBOUR_RESOLUTION if joined else Reason.NEIGHBOUR_NO_CONDUIT)


def service_of(packet: Packet) -> tuple[str, int] | None:
    """Return (number space, number) that services name; None: no service can name it."""
    transport = packet.transport
    if transport.protocol == TCP:
        return ("tcp", transport.destination_port)
    if transport.protocol == UDP:
        return ("udp", transport.destination_port)
    if packet.icmp_type is not None:
        return ("icmp4" if packet.version == 4 else "icmp6", packet.icmp_type)
    if transport.protocol in (ICMP4, ICMP6):
        return None
    return ("ip", transport.protocol)


def _flow_service(key: FlowKey) -> tuple[str, int]:
    if key.protocol == TCP:
        return ("tcp", key.responder_port)
    if key.protocol == UDP:
        return ("udp", key.responder_port)
    return ("icmp4", ECHO_REQUEST[4]) if key.protocol == ICMP4 else ("icmp6", ECHO_REQUEST[6])


def end(endpoint: Endpoint) -> End:
    """Return where an endpoint stands in a flow."""
    return End(endpoint.copy_to if endpoint.is_group else endpoint.zone, endpoint.ip)


def _forward_key(packet: Packet, source: Endpoint, destination: Endpoint) -> FlowKey | None:
    return forward_key(packet, end(source), end(destination))


def _reply_key(packet: Packet, source: Endpoint, destination: Endpoint) -> FlowKey | None:
    return reply_key(packet, end(source), end(destination))


def forward_key(packet: Packet, source: End, destination: End) -> FlowKey | None:
    """Return the flow that the packet's sender would have opened; None if such a packet opens none."""
    transport = packet.transport
    if transport.protocol in (TCP, UDP):
        ports = (transport.source_port, transport.destination_port)
        return FlowKey(source, destination, transport.protocol, *ports)
    if transport.echo_id is not None and packet.icmp_type == ECHO_REQUEST[packet.version]:
        return FlowKey(source, destination, transport.protocol, transport.echo_id, 0)
    return None


def reply_key(packet: Packet, source: End, destination: End) -> FlowKey | None:
    """Return the flow that the packet would be a reply of."""
    transport = packet.transport
    if transport.protocol in (TCP, UDP) and not transport.is_tcp_opening:
        ports = (transport.destination_port, transport.source_port)
        return FlowKey(destination, source, transport.protocol, *ports)
    if transport.echo_id is not None and packet.icmp_type == ECHO_REPLY[packet.version]:
        return FlowKey(destination, source, transport.protocol, transport.echo_id, 0)
    return None
