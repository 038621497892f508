"""A gateway bridge with three ports, and the far ends of its cables as raw sockets.

    namespace G:  bridge br0 ── p1 p2 p3
                                │  │  │          (veth pairs)
    namespace H:                h1 h2 h3  ← AF_PACKET sockets of the test

In: frames. Out: what the fallback's counters and the far side say of each. The hosts have no IP stack of their own, so
every frame on the wire is one that the test sent. Names are unique per process; everything is removed at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.kernel import bridge, counters, nft

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLONE_NEWNET = 0x40000000
DEADLINE_SECONDS = 5.0 * float(os.environ.get("CONDUIT_SLOW", "1"))  # that something never came, not how fast
BRIDGE = "br0"
PORTS = ("p1", "p2", "p3")
QUEUE = 5
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
RECEIVE_BYTES = 64 << 20  # the witness must not lose what the gateway passed while the test is busy
ENDINGS = {
    "accepted": ("static_accepted", "l2_accepted"),
    "dropped": ("static_dropped", "l2_dropped"),
    "would_drop": ("static_would_drop", "l2_would_drop"),
    "judged": ("judged_accepted",),
    "quarantined": ("c_quarantined",),
}


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run the block in a named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(there)
        os.close(home)


class Wire:
    """The topology above, while it stands."""

    def __init__(self, name: str) -> None:
        self.gateway, self.hosts = f"{name}-g", f"{name}-h"
        self.ends: dict[int, socket.socket] = {}
        self.loaded = ""  # the last script that `load` brought in; other ways in don't show here

    def build(self) -> None:
        """Create namespaces and cables; the bridge has no ports yet."""
        for namespace in (self.gateway, self.hosts):
            _ip("netns", "add", namespace)
            with inside(namespace):
                for scope in ("all", "default"):
                    Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
        for number in (1, 2, 3):
            peer = ("peer", "name", f"h{number}", "netns", self.hosts)
            with inside(self.gateway):
                _ip("link", "add", f"p{number}", "type", "veth", *peer)
            with inside(self.hosts):
                _ip("link", "set", f"h{number}", "up")
        with inside(self.hosts):
            for number in (1, 2, 3):
                end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
                end.bind((f"h{number}", ETH_P_ALL))
                end.setblocking(False)
                end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
                self.ends[number] = end

    def remove(self) -> None:
        """Take everything down again."""
        for end in self.ends.values():
            end.close()
        for namespace in (self.gateway, self.hosts):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def load(self, script: str) -> None:
        """Load an nft script in the gateway."""
        self.loaded = ""  # unknown until the kernel has taken it
        with inside(self.gateway):
            nft.apply(script)
        self.loaded = script

    def attach(self, pins: Mapping[bytes, str]) -> None:
        """Create the bridge, enslave the ports and bind addresses to them; the ruleset must stand."""
        with inside(self.gateway):
            bridge.ensure(BRIDGE)
            bridge.attach(BRIDGE, PORTS)
            bridge.pin(BRIDGE, pins)
        for number in (1, 2, 3):
            wait_until(lambda number=number: self._forwarding(number), f"port p{number} forwards")

    def _forwarding(self, number: int) -> bool:
        words = ["bridge", "link", "show", "dev", f"p{number}"]
        with inside(self.gateway):
            shown = subprocess.run(words, capture_output=True, text=True, check=True)
        return "state forwarding" in shown.stdout

    def counts(self) -> dict[str, int]:
        """Return the packet counts of the named counters."""
        with inside(self.gateway):
            return {name: packets for name, (packets, _) in counters.counters().items()}

    def send(self, port: int, frame: bytes) -> None:
        """Put a frame on the cable of a port."""
        self.ends[port].send(frame)

    def received(self, port: int) -> list[bytes]:
        """Return what waits at the far end of a port, without what this end sent itself."""
        frames: list[bytes] = []
        while True:
            try:
                frame, address = self.ends[port].recvfrom(65536)
            except BlockingIOError:
                return frames
            if address[2] != socket.PACKET_OUTGOING:
                frames.append(frame)

    def judge(self, frame: bytes, source: int, destination: int) -> str:
        """Send one frame and return how it ended by the counters; the far side must agree."""
        for port in self.ends:
            self.received(port)
        before = self.counts()
        self.send(source, frame)
        ending: list[str] = []

        def ended() -> bool:
            after = self.counts()
            ending[:] = [name for name, names in ENDINGS.items() if any(after[n] > before[n] for n in names)]
            return bool(ending)

        wait_until(ended, "the frame is counted")
        assert len(ending) == 1, ending
        if ending[0] in {"dropped", "quarantined"}:
            assert frame not in self.received(destination)
        else:
            assert self.arrives(frame, destination), f"{ending[0]}, but the far side did not see it"
        return ending[0]

    def arrives(self, frame: bytes, port: int) -> bool:
        """Wait for a frame at the far end of a port; padding and an accelerated tag aside."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            select.select([self.ends[port]], [], [], 0.1)
            if any(frame[:12] == seen[:12] and frame[-20:] in seen for seen in self.received(port)):
                return True
        return False


def wait_until(condition: object, what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Poll a condition until it holds; fail by name after the deadline."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        select.select([], [], [], 0.005)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
