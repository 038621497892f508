"""Line 4 of the decision, for the slow twin: ARP and neighbour discovery, step by step as the page letters them.

In: the ends of frames under a policy, and one frame. Out: a reason, returned or in a DecidedError. Written only from
docs/reference/semantics.md. Called by tests/support/twin.
"""

from __future__ import annotations

from fastpath.abi import Reason

from .plain import Address, Frame
from .twin_ends import DecidedError, Ends
from .twin_frame import ADVERTISEMENT, Arp, Packet
from .twin_identity import Endpoint

LINK_LAYER_OPTIONS = (1, 2)  # RFC 4861 clause 4.6.1: source and target link-layer address
UNSPECIFIED = (Address(4, 0), Address(6, 0))


def judge_arp(ends: Ends, frame: Frame, arp: Arp, ingress: str, egress: str) -> Reason:
    """Return what the page says of an ARP frame."""
    if arp.sender in UNSPECIFIED:  # b
        return Reason.NEIGHBOUR_NO_CONDUIT
    if arp.sender_mac != frame.source_mac:  # c
        return Reason.IDENTITY_NEIGHBOUR
    sender = ends.source_by_ip(frame, arp.sender, ingress)
    if arp.sender == arp.target:  # d
        return _announcement(ends, sender)
    return _resolution(ends, sender, ends.destination_by_ip(arp.target, egress))  # e, f


def judge_discovery(ends: Ends, frame: Frame, packet: Packet, ingress: str, egress: str) -> Reason:
    """Return what the page says of a neighbour solicitation or advertisement."""
    inside = Address(6, int.from_bytes(packet.transport.body[:16], "big"))
    is_advertisement = packet.icmp_type == ADVERTISEMENT
    sender_ip, target_ip = (inside, packet.destination) if is_advertisement else (packet.source, inside)
    if sender_ip in UNSPECIFIED:  # b
        return Reason.NEIGHBOUR_NO_CONDUIT
    _check_options(packet.transport.body[16:], frame.source_mac)  # c
    if is_advertisement and packet.source != sender_ip:
        return Reason.IDENTITY_NEIGHBOUR
    sender = ends.source_by_ip(frame, sender_ip, ingress)
    if is_advertisement and packet.destination.is_multicast:  # d
        return _announcement(ends, sender)
    return _resolution(ends, sender, ends.destination_by_ip(target_ip, egress))  # e, f


def _check_options(options: bytes, source_mac: bytes) -> None:
    while options:
        size = options[1] * 8 if len(options) > 1 else 0
        if size == 0 or size > len(options):
            raise DecidedError(Reason.FRAME_MALFORMED)
        if options[0] in LINK_LAYER_OPTIONS and size == 8 and options[2:8] != source_mac:
            raise DecidedError(Reason.IDENTITY_NEIGHBOUR)
        options = options[size:]


def _announcement(ends: Ends, sender: Endpoint) -> Reason:
    checked = bool(ends.identity.macs_to_check(sender))
    return Reason.NEIGHBOUR_RESOLUTION if checked else Reason.NEIGHBOUR_NO_CONDUIT


def _resolution(ends: Ends, sender: Endpoint, target: Endpoint) -> Reason:
    joined = ends.identity.joined_over_ip(sender, target) or ends.identity.joined_over_ip(target, sender)
    return Reason.NEIGHBOUR_RESOLUTION if joined else Reason.NEIGHBOUR_NO_CONDUIT
