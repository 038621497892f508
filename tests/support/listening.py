"""A proxy on the loopback that hears a conversation: what a real client and a real server say, in order.

In: the server's port. Out: a port for the client, and each direction's bytes as they came. Forwards everything
unchanged. One client at a time; ends with its context.
"""

from __future__ import annotations

import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

READ_BYTES: Final = 65536
POLL_SECONDS: Final = 0.05


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Listening:
    """What was said: `heard` holds (from the client?, bytes) in the order of arrival."""

    def __init__(self, server_port: int) -> None:
        self.heard: list[tuple[bool, bytes]] = []
        self._server_port = server_port
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(POLL_SECONDS)
        self.port = int(self._door.getsockname()[1])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)
        self._door.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._door.accept()
            except TimeoutError:
                continue
            with client, socket.create_connection(("127.0.0.1", self._server_port), 5) as server:
                self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, (True, server))
            ready.register(server, selectors.EVENT_READ, (False, client))
            while not self._ended.is_set():
                for key, _ in ready.select(POLL_SECONDS):
                    from_client, other = key.data
                    try:
                        data = key.fileobj.recv(READ_BYTES)  # type: ignore[union-attr]
                        if not data:
                            return
                        self.heard.append((from_client, data))
                        other.sendall(data)
                    except OSError:
                        return
