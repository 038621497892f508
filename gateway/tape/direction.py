"""Who asked and who answered, of frames that no flow record explains because the policy forbids them.

In: events of forbidden TCP and UDP frames. Out: whether a frame is a reply. In monitor whole conversations pass
although the policy forbids them; without this, every reply would be a conversation of its own with another port.
An opening segment tells for sure and is remembered; else a port with a service's number, else the lower one, was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import EVENT_TCP_OPENING
from rules.records import ServiceKind
from rules.services import known_services, service_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.model import Policy

TCP: Final = 6
UDP: Final = 17
ASKED_MAX: Final = 65_536  # conversations that are remembered; a flood of others falls back on the ports
WIDE: Final = 100  # a range of more numbers says nothing about who was asked
_KINDS: Final = {ServiceKind.TCP: TCP, ServiceKind.UDP: UDP}

Asked = tuple[bytes, bytes, int, int]  # who asked, who was asked, protocol, port that was asked


class Direction:
    """What is known of conversations so far."""

    def __init__(self) -> None:
        self._asked: set[Asked] = set()
        self._ports: set[tuple[int, int]] = set()

    def know_services(self, policy: Policy) -> None:
        """Take the numbers of a policy's services, the library's among them, for those that are asked."""
        self._ports = {
            (_KINDS[kind], port)
            for service in known_services(policy).values()
            for kind, ranges in service_ranges(service).items()
            if kind in _KINDS
            for span in ranges
            if span.last - span.first < WIDE
            for port in range(span.first, span.last + 1)
        }

    def is_reply(self, raw: Mapping[str, Any]) -> bool:
        """Tell whether the source of a frame is the one who was asked."""
        protocol = raw["protocol"]
        if protocol not in (TCP, UDP):
            return False
        forth = (raw["source"], raw["destination"], protocol, raw["destination_port"])
        back = (raw["destination"], raw["source"], protocol, raw["source_port"])
        if raw["flags"] & EVENT_TCP_OPENING:
            self._remember(forth)
            return False
        if forth in self._asked:
            return False
        reply = back in self._asked or self._guess(protocol, raw["source_port"], raw["destination_port"])
        self._remember(back if reply else forth)
        return reply

    def _remember(self, asked: Asked) -> None:
        if len(self._asked) >= ASKED_MAX:
            self._asked.clear()
        self._asked.add(asked)

    def _guess(self, protocol: int, source: int, destination: int) -> bool:
        if (protocol, destination) in self._ports:
            return False
        return (protocol, source) in self._ports or source < destination
