"""What people write with `netfilterqueue`: a queue, a callback, a dictionary. Run in the gateway namespace.

`nfq_judge.py trivial|python|scapy POLICY.json`. trivial accepts. python judges as conduitd's lookup does: endpoints by
address and MAC, then (class, class, protocol, port), forth or back, and a mark on what passes; written for speed. scapy
is the same judgement on packets that scapy has taken apart. Queue settings as conduitd's, but GSO and FAIL_OPEN, which
the library cannot set.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, Final

from netfilterqueue import COPY_PACKET, NetfilterQueue

QUEUE_LENGTH: Final = 1024
COPY_BYTES: Final = 512
RECEIVE_BUFFER_BYTES: Final = 8 << 20
MARK: Final = 1


def trivial(packet: Any) -> None:
    """Accept."""
    packet.accept()


class Lookup:
    """The judgement on parsed headers."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.endpoints = {
            socket.inet_aton(ip): (number, bytes.fromhex(mac.replace(":", "")))
            for ip, (number, mac) in policy["endpoints"].items()
        }
        self.permits = {tuple(permit) for permit in policy["permits"]}
        self._unpack = struct.Struct("!BxHxxHxB2x4s4s").unpack_from
        self._unpack_ports = struct.Struct("!HH").unpack_from

    def permitted(self, source: bytes, destination: bytes, mac: bytes, protocol: int, sport: int, dport: int) -> bool:
        """Judge one packet."""
        sender, target = self.endpoints.get(source), self.endpoints.get(destination)
        if sender is None or target is None or sender[1] != mac:
            return False
        permits = self.permits
        return (sender[0], target[0], protocol, dport) in permits or (target[0], sender[0], protocol, sport) in permits

    def python(self, packet: Any) -> None:
        """Judge a packet by its bytes."""
        payload = packet.get_payload()
        first, _, fragment, protocol, source, destination = self._unpack(payload)
        sport, dport = self._unpack_ports(payload, (first & 15) * 4)
        mac = packet.get_hw()[:6]
        if not fragment & 0x3FFF and self.permitted(source, destination, mac, protocol, sport, dport):
            packet.set_mark(MARK)
            packet.accept()
        else:
            packet.drop()

    def scapy(self, packet: Any) -> None:
        """Judge a packet as scapy shows it."""
        from scapy.layers.inet import IP  # noqa: PLC0415 - a second to import, and only this callback needs it

        ip = IP(packet.get_payload())
        ends = socket.inet_aton(ip.src), socket.inet_aton(ip.dst)
        if not ip.frag and self.permitted(*ends, packet.get_hw()[:6], ip.proto, ip.sport, ip.dport):
            packet.set_mark(MARK)
            packet.accept()
        else:
            packet.drop()


def main() -> None:
    """Judge until SIGTERM."""
    kind, path = sys.argv[1:]
    lookup = Lookup(json.loads(Path(path).read_text()))
    if kind == "scapy":
        import scapy.layers.inet  # noqa: F401, PLC0415 - before the first packet
    callback = {"trivial": trivial, "python": lookup.python, "scapy": lookup.scapy}[kind]
    queue = NetfilterQueue()
    queue.bind(0, callback, QUEUE_LENGTH, COPY_PACKET, COPY_BYTES, RECEIVE_BUFFER_BYTES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    try:
        queue.run()
    finally:
        queue.unbind()


if __name__ == "__main__":
    main()
