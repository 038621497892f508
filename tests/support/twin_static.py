"""The twin under the differences that docs/reference/semantics.md allows the kernel's fallback.

In: as the twin. Out: does the frame leave by this port, yes or no. No flow table; answers to UDP and echo requests pass
by pinholes; `fail: closed` conduits are shut, `fail: open` ones carry every IP service both ways; ICMP errors and
ND options are not looked into. Called by tests/support/static_duel.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import Reason, Stage, Verdict

from .twin import Finding, Twin
from .twin_flow import service_of
from .twin_frame import ECHO_REPLY, ECHO_REQUEST, TCP, UDP, Packet

if TYPE_CHECKING:
    from .plain import Address, Conduit, Frame, PlainPolicy
    from .twin_identity import Endpoint

Pinhole = tuple[object, ...]


class StaticTwin(Twin):
    """What `static` does with frames that no engine judged."""

    def __init__(self, policy: PlainPolicy) -> None:
        super().__init__(policy)
        closed = {conduit.name for conduit in policy.conduits if conduit.fail == "closed"}
        self.open -= closed
        self.fail_open = [
            conduit for conduit in policy.conduits if conduit.fail == "open" and conduit.name in self.open
        ]
        self._pinholes: set[Pinhole] = set()
        self._frame: Frame | None = None

    def passes(self, frame: Frame) -> bool:
        """Return whether the frame leaves by its egress port."""
        self._frame = frame
        answer = self.judge(frame)
        if answer.policy_verdict is Verdict.ACCEPT:
            return True
        return self._pair_is_lenient(answer.source_zone, answer.destination_zone)

    def _pair_is_lenient(self, ingress: str | None, egress: str | None) -> bool:
        """Violations follow the pair's stage, whatever conduit is named."""
        return min(self._stage_of_object(None, ingress, egress), self.ceiling) < Stage.ENFORCE

    def _judge_packet(self, packet: Packet, source: Endpoint, destination: Endpoint) -> Finding:
        transport = packet.transport
        forward = self._judge_service(source, destination, service_of(packet), Reason.POLICY_CONDUIT)  # 8
        if forward.reason is Reason.POLICY_CONDUIT:
            self._open_pinhole(packet)
            return forward
        if transport.protocol == TCP and not transport.is_tcp_opening:  # 9
            backward = self._first_open(destination, source, ("tcp", transport.source_port))
            if backward is not None:
                return Finding(Reason.FLOW_PICKUP, backward)
        answered = self._pinhole_conduit(packet, source, destination)
        if answered is not None:
            return Finding(Reason.FLOW_ESTABLISHED, answered)
        for conduit in self.fail_open:
            if self._joins_over_ip(conduit, source, destination) or self._joins_over_ip(conduit, destination, source):
                return Finding(Reason.POLICY_CONDUIT, conduit)
        return Finding(Reason.POLICY_NO_CONDUIT)

    def _limited(self, found: Finding, source: Endpoint, sender: Address | bytes, *, opens: bool) -> Finding:
        """`static` has no limits."""
        return found

    def _joins_over_ip(self, conduit: Conduit, source: Endpoint, destination: Endpoint) -> bool:
        over_ip = any(kind != "ethertype" for service in conduit.services for kind, _, _ in service.ranges)
        matches = self.identity.match(conduit.opener, source), self.identity.match(conduit.destination, destination)
        return over_ip and None not in matches

    def _open_pinhole(self, packet: Packet) -> None:
        """Remember where the answer of a permitted request may come in."""
        assert self._frame is not None
        transport, port = packet.transport, self._frame.out_port
        ends = (packet.destination, packet.source)
        if transport.protocol == UDP:
            self._pinholes.add((port, *ends, transport.destination_port, transport.source_port))
        elif packet.icmp_type == ECHO_REQUEST[packet.version]:
            self._pinholes.add((port, *ends, transport.echo_id))

    def _pinhole_conduit(self, packet: Packet, source: Endpoint, destination: Endpoint) -> Conduit | None:
        """Return the open conduit whose request this frame answers."""
        assert self._frame is not None
        transport, port = packet.transport, self._frame.in_port
        ends = (packet.source, packet.destination)
        if transport.protocol == UDP:
            if (port, *ends, transport.source_port, transport.destination_port) in self._pinholes:
                return self._first_open(destination, source, ("udp", transport.source_port))
        elif packet.icmp_type == ECHO_REPLY[packet.version] and (port, *ends, transport.echo_id) in self._pinholes:
            kind = "icmp4" if packet.version == 4 else "icmp6"
            return self._first_open(destination, source, (kind, ECHO_REQUEST[packet.version]))
        return None

    def _check_options(self, options: bytes, source_mac: bytes) -> None:
        """`static` cannot compare these: a difference on the lax side."""
