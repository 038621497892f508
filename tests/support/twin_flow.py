"""Conversations, for the slow twin: who they are between, which one a packet opens, and which one it answers.

In: packets and their ends. Out: keys that are equal when the conversation is the same. Written only from
docs/reference/semantics.md, lines 7 to 10. Called by tests/support/twin.
"""

from __future__ import annotations

from typing import NamedTuple

from .plain import Address, Conduit, PlainPolicy
from .twin_frame import ECHO_REPLY, ECHO_REQUEST, ICMP4, ICMP6, TCP, UDP, Packet
from .twin_identity import Endpoint


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


def flow_service(key: FlowKey) -> tuple[str, int]:
    """Return what its opener asked for: number space and number."""
    if key.protocol == TCP:
        return ("tcp", key.responder_port)
    if key.protocol == UDP:
        return ("udp", key.responder_port)
    return ("icmp4", ECHO_REQUEST[4]) if key.protocol == ICMP4 else ("icmp6", ECHO_REQUEST[6])


def end(endpoint: Endpoint) -> End:
    """Return where an endpoint stands in a flow."""
    return End(endpoint.copy_to if endpoint.is_group else endpoint.zone, endpoint.ip)


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
