"""Lines 5 and 6 of the decision, for the slow twin: who sends a frame, and whom it is for.

In: a policy's identities; frames, addresses and the zones of their ports. Out: endpoints, or DecidedError with the
reason why the frame is dropped. Written only from docs/reference/semantics.md. Called by tests/support/twin.
"""

from __future__ import annotations

from fastpath.abi import Reason

from .plain import Address, Frame
from .twin_identity import Endpoint, Identity


class DecidedError(Exception):
    """A line before 7 decided."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Ends:
    """The endpoints of frames under one policy."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def space(self, zone: str) -> str:
        """Return the address space of a zone."""
        return self.identity.zones[zone].space

    def source_by_ip(self, frame: Frame, ip: Address, ingress: str) -> Endpoint:
        """Return who sends from an IP address."""
        source = self.identity.endpoint_of_ip(ip, self.space(ingress))
        if source is None or source.is_group:  # nobody sends from a group address
            raise DecidedError(Reason.IDENTITY_SOURCE_UNKNOWN)
        if source.zone != ingress:
            raise DecidedError(Reason.IDENTITY_SOURCE_ZONE)
        macs = self.identity.macs_to_check(source)
        if macs and frame.source_mac not in macs:
            raise DecidedError(Reason.IDENTITY_SOURCE_MAC)
        return source

    def source_by_mac(self, frame: Frame, ingress: str) -> Endpoint:
        """Return who sends a frame without IP."""
        source = self.identity.endpoint_of_mac(frame.source_mac, self.space(ingress))
        if source is None or source.is_group:  # nobody sends from a group address
            raise DecidedError(Reason.IDENTITY_SOURCE_UNKNOWN)
        if source.zone != ingress:
            raise DecidedError(Reason.IDENTITY_SOURCE_ZONE)
        return source

    def destination_by_ip(self, ip: Address, egress: str) -> Endpoint:
        """Return who has an IP address behind the egress port."""
        return self._in_egress(self.identity.endpoint_of_ip(ip, self.space(egress)), egress)

    def destination_by_mac(self, frame: Frame, egress: str) -> Endpoint:
        """Return whom a frame without IP is for."""
        mac = frame.destination_mac
        found = None if mac is None else self.identity.endpoint_of_mac(mac, self.space(egress))
        return self._in_egress(found, egress)

    def _in_egress(self, destination: Endpoint | None, egress: str) -> Endpoint:
        if destination is None:
            raise DecidedError(Reason.IDENTITY_DESTINATION_UNKNOWN)
        if destination.is_group:
            return destination._replace(copy_to=egress)
        if destination.zone != egress:
            raise DecidedError(Reason.IDENTITY_DESTINATION_ZONE)
        return destination
