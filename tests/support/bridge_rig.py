"""A bridge in a namespace of its own, every port with an AF_PACKET host behind it.

      host socket p0h ── veth ── p0 ┐
      host socket p1h ── veth ── p1 ┼─ br0 (no learning: each frame is flooded to all other ports)
      ...                           ┘

In: port names. Out: send a frame into a port, see by which ports it left. A frame is told from others by a number in
its Ethernet padding. Leaves nothing behind. Called by tests/support/static_duel.py.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNET: Final = 0x40000000
ETH_P_ALL: Final = 0x0003
SO_RCVBUFFORCE: Final = 33
PACKET_IGNORE_OUTGOING: Final = 23  # linux/if_packet.h
SOL_PACKET: Final = 263
RECEIVE_BUFFER_BYTES: Final = 64 << 20
MARK: Final = b"duel"  # before the number at the end of each frame
COMMAND_SECONDS: Final = 60
SNAP_BYTES: Final = 2048


class BridgeRig:
    """Namespace, bridge, hosts; a context manager."""

    _serial = 0

    def __init__(self, ports: Sequence[str]) -> None:
        type(self)._serial += 1
        self.name = f"cgduel{os.getpid()}x{type(self)._serial}"
        self.ports = tuple(ports)
        self._hosts: dict[str, socket.socket] = {}

    def __enter__(self) -> Self:
        self._run("ip", "netns", "add", self.name)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the hosts and delete the namespace with all that is in it."""
        for host in self._hosts.values():
            host.close()
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=COMMAND_SECONDS, check=False)

    def load(self, script: str) -> None:
        """Put a ruleset in force, as one transaction, in place of the one before."""
        fresh = "add table bridge conduit\ndelete table bridge conduit\n"
        self._run("nsenter", f"--net=/run/netns/{self.name}", "nft", "-f", "-", text=fresh + script)

    def send(self, port: str, frame: bytes, number: int) -> None:
        """Send a frame into a port; the number travels in its padding."""
        self._hosts[port].send(frame + MARK + struct.pack("!I", number))

    def seen(self, wait_seconds: float) -> Iterator[tuple[str, int]]:
        """Yield (port, number) of everything that arrived; ends when nothing came for this long."""
        by_socket = {host.fileno(): (port, host) for port, host in self._hosts.items()}
        while True:
            ready, _, _ = select.select(list(by_socket), [], [], wait_seconds)
            if not ready:
                return
            for descriptor in ready:
                port, host = by_socket[descriptor]
                yield from ((port, number) for number in _drain(host))

    # ---- building ----

    def _run(self, *words: str, text: str | None = None) -> None:
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")

    def _build(self) -> None:
        lines = ["link add br0 type bridge stp_state 0 mcast_snooping 0 forward_delay 0"]
        for order, port in enumerate(self.ports):
            lines.append(f"link add {port} address 06:00:00:00:aa:{order:02x} type veth peer name {port}h")
            lines.append(f"link set {port} master br0")
            lines.append(f"link set {port} type bridge_slave learning off flood on mcast_flood on bcast_flood on")
            lines += [f"link set {port} up", f"link set {port}h up"]
        with entered(self.name):
            # Nobody in here may speak by itself, and nothing but the bridge family may judge.
            for place in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{place}/disable_ipv6").write_text("1", encoding="ascii")
            for family in ("arptables", "iptables", "ip6tables"):
                switch = Path(f"/proc/sys/net/bridge/bridge-nf-call-{family}")
                if switch.exists():
                    switch.write_text("0", encoding="ascii")
            self._run("ip", "-batch", "-", text="\n".join([*lines, "link set br0 up"]) + "\n")
            self._hosts = {port: _host(f"{port}h") for port in self.ports}
        self._await_forwarding()

    def _await_forwarding(self) -> None:
        """Wait until every port carries frames: a broadcast from the first host reaches all others, and one back."""
        deadline = time.monotonic() + COMMAND_SECONDS
        first, others = self.ports[0], set(self.ports[1:])
        frame = b"\xff" * 6 + b"\x06\x00\x00\x00\xbb\x00" + b"\x88\xb5" + bytes(46)
        while time.monotonic() < deadline:
            self.send(first, frame, 0)
            if {port for port, _ in self.seen(0.05)} >= others:
                self.send(self.ports[-1], frame, 0)
                if any(port == first for port, _ in self.seen(0.05)):
                    return
        raise RuntimeError("the bridge does not forward")


def _host(interface: str) -> socket.socket:
    host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    host.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    host.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    host.bind((interface, ETH_P_ALL))
    host.setblocking(False)
    return host


def _drain(host: socket.socket) -> Iterator[int]:
    while True:
        try:
            frame = host.recv(SNAP_BYTES)
        except BlockingIOError:
            return
        if frame[-8:-4] == MARK:
            yield struct.unpack("!I", frame[-4:])[0]


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Let the calling thread be in a named network namespace for a while; children started inside stay in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(inside, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns({name})")
        yield
    finally:
        libc.setns(before, CLONE_NEWNET)
        os.close(before)
        os.close(inside)
