"""One Modbus/TCP connection between two hosts of the plant, as frames: what both ends would send, number for number.

In: two host names and the opener's port. Out: Ethernet frames with who sends them to whom. Must never send anything:
the offline story hands them to the engine's code. Numbers follow RFC 9293; every frame is taken as delivered.
"""

from __future__ import annotations

from typing import NamedTuple

from deploy.lab import frames, plant
from deploy.lab.plc import MODBUS_PORT


class Sent(NamedTuple):
    """A frame and the two hosts that it passes between."""

    source: str
    target: str
    frame: bytes


class Conversation:
    """One connection, seen from the wire between its ends."""

    def __init__(self, opener: str, responder: str, port: int) -> None:
        self._ends = (opener, responder)
        self._ports = (port, MODBUS_PORT)
        self._next = [1, 1]  # what each end sends next

    def opening(self) -> list[Sent]:
        """Return the handshake."""
        first = [self._sent(0, frames.SYN), self._sent(1, frames.SYN | frames.ACK)]
        return [*first, self._sent(0, frames.ACK)]

    def asked(self, request: bytes) -> Sent:
        """Return the opener's next segment."""
        return self._sent(0, frames.PSH_ACK, request)

    def answered(self, answer: bytes) -> Sent:
        """Return the responder's next segment."""
        return self._sent(1, frames.PSH_ACK, answer)

    def _sent(self, end: int, flags: int, payload: bytes = b"") -> Sent:
        source, target = self._ends[end], self._ends[1 - end]
        one, other = plant.host(source), plant.host(target)
        ends = frames.Addresses(
            one.mac_bytes, other.mac_bytes, one.ip4_bytes, other.ip4_bytes, self._ports[end], self._ports[1 - end]
        )
        acknowledged = self._next[1 - end] if flags & frames.ACK else 0
        frame = frames.tcp(ends, flags, self._next[end], acknowledged, payload)
        self._next[end] += len(payload) + bool(flags & frames.SYN)
        return Sent(source, target, frame)
