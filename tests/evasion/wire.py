"""A packet socket that any number of conversations share, told apart by their port.

In: a namespace and an interface whose kernel owns none of the addresses used. Out: frames on the wire, and the TCP
segments that come back, handed to whoever listens on their port.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

from tests.evasion.packets import Heard, heard
from tests.support.bridge_rig import entered

if TYPE_CHECKING:
    from collections.abc import Callable

ETH_P_ALL: Final = 3
RECEIVE_BUFFER_BYTES: Final = 8 << 20
SO_RCVBUFFORCE: Final = 33


class Wire:
    """A packet socket in a namespace, shared by the conversations."""

    def __init__(self, namespace: str, interface: str) -> None:
        with entered(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)
        self.listeners: dict[int, Callable[[Heard], None]] = {}

    def attach(self) -> None:
        """Hand what comes in to the conversations, from now on, in this event loop."""
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire."""
        self._socket.send(frame)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, address = self._socket.recvfrom(4096)
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                segment = heard(frame)
                listener = self.listeners.get(segment.port) if segment else None
                if segment and listener:
                    listener(segment)
