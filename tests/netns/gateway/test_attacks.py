"""What an attacker on the wire sends: forged, malformed, fragmented, tagged, flooding; a witness counts what comes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import struct
import sys
from ipaddress import IPv6Address
from itertools import islice
from typing import TYPE_CHECKING, Final

import pytest

from deploy.lab import frames, plant
from deploy.lab.gateway import LabGateway
from deploy.lab.plant import ATTACKER
from deploy.lab.processes import wait_for
from deploy.lab.topology import GATEWAY, HOST_INTERFACE
from tests.netns.gateway.conftest import closed_books

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.lab.actors import Actors
    from deploy.lab.plant import LabHost
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns

VICTIM: Final = "plc-1"
MODBUS: Final = 502
HOST_ADDRESS, HOST_PORT = "192.0.2.1", 8000  # RFC 5737: stands for the gateway's management address
SEND: Final = """
import json, socket, sys
with open(sys.argv[1]) as file, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(("eth0", 0))
    for frame in json.load(file):
        link.send(bytes.fromhex(frame))
"""
FLAGS: Final = {"syn": 0x02, "syn-ack": 0x12, "ack": 0x10, "reset": 0x04, "fin": 0x01, "none": 0, "syn-fin": 0x03}
FRAGMENTS: Final = {"first": 0x2000, "middle": 0x2001, "last": 0x00B9, "far": 0x1FFF}
SERVER_PORTS: Final = (MODBUS, 22, 53, 443, 20000)
GROUPS: Final = ("ffffffffffff", "01005e000001", "333300000001")


def ip4(
    source: bytes, destination: bytes, protocol: int, body: bytes, *, fragment: int = 0, options: bytes = b""
) -> bytes:
    """Return an IPv4 packet with a true header checksum."""
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(body), 7, fragment, 64, protocol, 0)
    head += source + destination + options
    return head[:10] + struct.pack("!H", frames.checksum(head)) + head[12:] + body


def ip6(source: str, destination: str, following: int, body: bytes) -> bytes:
    """Return an IPv6 packet."""
    ends = IPv6Address(source).packed + IPv6Address(destination).packed
    return struct.pack("!IHBB", 6 << 28, len(body), following, 64) + ends + body


def tcp(flags: int, source_port: int = 31000) -> bytes:
    """Return a TCP header towards Modbus."""
    return struct.pack("!HHIIBBHHH", source_port, MODBUS, 1, 1, 0x50, flags, 1024, 0, 0)


def packets(claim: LabHost, aim: LabHost, probe: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (EtherType, packet) of everything that is tried in one host's name."""
    here, there = claim.ip4_bytes, aim.ip4_bytes
    for flags in FLAGS.values():
        yield 0x0800, ip4(here, there, 6, tcp(flags) + probe)
    for port in SERVER_PORTS:
        yield 0x0800, ip4(here, there, 6, tcp(0x10, port) + probe)
        yield 0x0800, ip4(here, there, 17, struct.pack("!HHHH", port, MODBUS, 8 + len(probe), 0) + probe)
    for fragment in FRAGMENTS.values():
        yield 0x0800, ip4(here, there, 6, probe, fragment=fragment)
    yield 0x0800, ip4(here, there, 6, tcp(0x02) + probe, options=b"\x83\x07\x04" + there + b"\0")  # loose source route
    quoted = ip4(there, here, 6, tcp(0x10))
    yield 0x0800, ip4(here, there, 1, struct.pack("!BBHI", 3, 1, 0, 0) + quoted + probe)
    yield 0x0800, ip4(here, there, 1, struct.pack("!BBHI", 8, 0, 0, 0) + probe)
    for protocol in (4, 41, 47, 50, 132):
        yield 0x0800, ip4(here, there, protocol, ip4(here, there, 6, tcp(0x02)) + probe)
    yield 0x86DD, ip6(claim.ip6, aim.ip6, 6, tcp(0x02) + probe)
    for following in (0, 43, 44, 60):  # hop-by-hop, routing, fragment, destination options
        yield 0x86DD, ip6(claim.ip6, aim.ip6, following, struct.pack("!BBHI", 6, 0, 0, 0) + tcp(0x02) + probe)
    yield 0x86DD, ip6("::ffff:10.20.40.10", "::ffff:10.20.50.10", 6, tcp(0x02) + probe)
    yield 0x86DD, ip6("fe80::1", "fe80::2", 6, tcp(0x02) + probe)
    for operation in (1, 2):
        for target in (there, here) if claim.name != ATTACKER else (there,):  # its own announcement may pass
            head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + claim.mac_bytes + here
            yield 0x0806, head + bytes(6) + target + probe
    for ethertype in (0x88B8, 0x8892, 0x88CC, 0x8847, 0x0806, 0x0800, 0x86DD):
        yield ethertype, probe


def forgeries(run: bytes) -> list[bytes]:
    """Return every attack of the office laptop, numbered: in its own and in others' names, plain, tagged, in LLC."""
    me, aim = plant.host(ATTACKER), plant.host(VICTIM)
    made: list[bytes] = []

    def add(source: bytes, destination: bytes, ethertype: int, packet: bytes, before: bytes = b"") -> None:
        made.append((destination + source + before + struct.pack("!H", ethertype) + packet).ljust(60, b"\0"))

    def numbered() -> bytes:
        return frames.probe(run, len(made))

    station, engineer = plant.host("hmi-1"), plant.host("eng-laptop")
    for claim, source in ((me, me), (station, me), (station, station), (engineer, engineer)):
        for number in range(sum(1 for _ in packets(claim, aim, numbered()))):
            ethertype, packet = next(islice(packets(claim, aim, numbered()), number, None))
            add(source.mac_bytes, aim.mac_bytes, ethertype, packet)
        opening = (claim.ip4_bytes, aim.ip4_bytes, 6)
        for tag in (0x8100, 0x88A8, 0x9100):
            for vlan in (0, 1, 4095):
                packet = ip4(*opening, tcp(0x02) + numbered())
                add(source.mac_bytes, aim.mac_bytes, 0x0800, packet, struct.pack("!HH", tag, 0xA000 | vlan))
        packet = ip4(*opening, tcp(0x02) + numbered())
        add(source.mac_bytes, aim.mac_bytes, 0x0800, packet, struct.pack("!HHHH", 0x88A8, 0, 0x8100, 0))
        snap = b"\xaa\xaa\x03\0\0\0\x08\0" + ip4(*opening, tcp(0x02) + numbered())
        add(source.mac_bytes, aim.mac_bytes, len(snap), snap)
        for group in GROUPS:
            datagram = struct.pack("!HHHH", 1, MODBUS, 8, 0)
            add(source.mac_bytes, bytes.fromhex(group), 0x0800, ip4(*opening[:2], 17, datagram + numbered()))
    return made


def reaches_host(lab: Lab) -> bool:
    """Return whether the attacker gets a TCP connection to the gateway's own address."""
    attempt = f"import socket; socket.create_connection(({HOST_ADDRESS!r}, {HOST_PORT}), 1.5).close()"
    return lab.run(ATTACKER, [sys.executable, "-c", attempt], check=False).returncode == 0


def send(lab: Lab, made: list[bytes]) -> None:
    """Send frames from the attacker's interface."""
    path = lab.directory / "forgeries.json"
    path.write_text(json.dumps([frame.hex() for frame in made]))
    lab.run(ATTACKER, [sys.executable, "-c", SEND, str(path)])


def test_control_case_every_forgery_crosses_a_plain_bridge(lab: Lab, actors: Actors) -> None:
    """The harness can see a leak: without a gateway the controller's port gets every one of these frames."""
    lab.plain_bridge()
    run = secrets.token_bytes(8)
    made = forgeries(run)
    witness = actors.start_witness(VICTIM, run, len(made), 20)
    send(lab, made)
    witness.process.wait(25)
    assert witness.said()["distinct"] == len(made)


@pytest.mark.parametrize("judge", ["engine", "static"])
def test_no_forgery_reaches_a_controller(lab: Lab, actors: Actors, gateway: LabGateway, judge: str) -> None:
    """None of the forgeries arrives in enforce, neither past the engine nor past the kernel's rules alone."""
    gateway.ctl("stage", "set", "enforce", "--force", "--reason", "rehearsal")
    if judge == "static":
        gateway.stop()
    run = secrets.token_bytes(8)
    made = forgeries(run)
    poller = actors.start_poller("hmi-1", VICTIM)
    witness = actors.start_witness(VICTIM, run, 1, 60)
    send(lab, made)
    seen = witness.end()
    assert (seen["seen"], seen["overrun"]) == (0, 0), f"frame {seen['first']}: {made[seen['first'] or 0].hex()}"
    assert poller.end()["missed"] == 0
    if judge == "engine":
        closed_books(gateway)


def test_a_flood_neither_leaks_nor_stops_a_poll(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """Two senders as fast as they can: nothing forbidden arrives, no poll is missed, the books close."""
    gateway.ctl("stage", "set", "enforce", "--force", "--reason", "rehearsal")
    run = secrets.token_bytes(8)
    poller = actors.start_poller("hmi-1", VICTIM)
    witness = actors.start_witness(VICTIM, run, 1, 60)
    flood = [
        actors.start_sender(node, VICTIM, run, rate=1_000_000, count=10_000_000, seconds=4)
        for node in (ATTACKER, "office-pc")
    ]
    for sender in flood:
        sender.wait(30)
    assert witness.end()["seen"] == 0
    assert poller.end()["missed"] == 0
    books = closed_books(gateway)
    assert books["dropped"] + books["static_dropped"] > 10_000


def test_a_damaged_state_file_opens_nothing(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """After kill -9, with the stage overrides turned to rubbish, the site still enforces and says what is wrong."""
    gateway.ctl("stage", "set", "enforce", "--force", "--reason", "rehearsal")
    assert gateway.process is not None
    gateway.process.kill()
    gateway.process.wait()
    (gateway.base / "state" / "stage-overrides.json").write_bytes(b"{rubbish")
    gateway.start()
    assert not actors.write(ATTACKER, VICTIM, 999)
    assert gateway.json("status")["trouble"]


def test_a_hung_engine_does_not_outlive_its_keeper(actors: Actors, gateway: LabGateway) -> None:
    """kill -9 of the keeper while its children hang: `static` carries the poll, and a new start takes over."""
    gateway.ctl("stage", "set", "enforce", "--force", "--reason", "rehearsal")
    poller = actors.start_poller("hmi-1", VICTIM)
    for module in ("gateway.engine", "gateway.control"):
        (pid,) = gateway.child_pids(module)
        os.kill(pid, signal.SIGSTOP)
    assert gateway.process is not None
    gateway.process.kill()
    gateway.process.wait()
    answered = poller.said()["answered"]
    wait_for("polls by the static rules", lambda: poller.said()["answered"] > answered + 5, 10.0)
    assert not actors.write(ATTACKER, VICTIM, 997)
    gateway.start()
    assert not actors.write(ATTACKER, VICTIM, 996)
    assert poller.end()["missed"] <= 2, "one poll and its repetition may be parked in the queue that died"


def test_the_gateway_itself_cannot_be_reached_from_the_wire(lab: Lab, actors: Actors) -> None:
    """An address of the host behind the bridge answers over a plain bridge, and not once the gateway stands."""
    lab.plain_bridge()
    back = f"{plant.host(ATTACKER).ip4}/32"
    for line in (f"addr add {HOST_ADDRESS}/32 dev lo", f"route add {back} dev br-conduit"):
        lab.run(GATEWAY, ["ip", *line.split()])
    lab.run(ATTACKER, ["ip", "route", "add", f"{HOST_ADDRESS}/32", "dev", HOST_INTERFACE])
    lab.start(GATEWAY, [sys.executable, "-m", "http.server", str(HOST_PORT), "--bind", HOST_ADDRESS])
    wait_for("the host's server to be reached", lambda: reaches_host(lab), 10.0)
    gateway = LabGateway(lab)
    gateway.start()
    assert not reaches_host(lab), "also in monitor: the gateway is no host of the plant"
    gateway.stop()
    assert not reaches_host(lab)
