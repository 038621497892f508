"""The service manager's ear: READY, STATUS, WATCHDOG and STOPPING over its datagram socket (systemd's sd_notify).

In: the address and interval that the service manager gave. Out: one datagram each. SPEC: sd_notify(3). A manager that
is not there or does not listen is never a reason to fail.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Self

import structlog

_log = structlog.get_logger(__name__)


class ServiceNotifier:
    """Tells the service manager how the keeper is; does nothing when started by hand."""

    def __init__(self, address: str, watchdog_seconds: float | None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.interval = watchdog_seconds / 2 if watchdog_seconds else None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> Self:
        """Return the notifier that the variables NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID ask for."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        watchdog = int(microseconds) / 1e6 if ours and microseconds.isdecimal() and int(microseconds) > 0 else None
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog)

    def tell(self, *assignments: str) -> None:
        """Send assignments such as `READY=1` in one datagram."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            _log.debug("notify_failed", error=error.strerror)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
