"""The engine's parser against an independent one (scapy) on recorded OT traffic.

Each capture becomes a policy in which every address is an asset of its own and every port a service of its own, so that
the judgement tells which addresses and which port the engine read. Skips, saying so, where there are no captures.
"""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from fastpath.abi import Reason
from fastpath.judge import Judge
from rules.compile import compile_text
from rules.image import build_image
from rules.state import build_state
from tests.support import captures

if TYPE_CHECKING:
    from pathlib import Path

    from rules.compile import Compiled

FRAMES_PER_CAPTURE: Final = 300
CAPTURES_PER_PROTOCOL: Final = 2
MOST_NAMES: Final = 200  # addresses, and services, that one policy gets
LEFT, RIGHT = 11, 12  # interface indexes
UNREADABLE: Final = tuple(reason for reason in Reason if reason.name.startswith("FRAME_"))


class Parsed(NamedTuple):
    """What scapy reads of a frame."""

    ethertype: int
    payload: bytes
    vlan: int
    source: str
    destination: str
    service: tuple[str, int]


def _share() -> list[Path]:
    by_protocol: dict[str, list[Path]] = {}
    for path in captures.files():
        by_protocol.setdefault(path.parent.name, []).append(path)
    return [path for paths in by_protocol.values() for path in paths[:CAPTURES_PER_PROTOCOL]]


def _parse(data: bytes) -> Parsed | None:
    """Return scapy's reading of an unfragmented TCP or UDP frame with one tag at most, else None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers.inet import IP, TCP, UDP
        from scapy.layers.inet6 import IPv6
        from scapy.layers.l2 import Dot1Q, Ether

        outer = Ether(data)
        inner = outer.getlayer(Dot1Q) or outer
        packet = inner.payload
        transport = packet.payload
        readable = isinstance(packet, IP | IPv6) and isinstance(transport, TCP | UDP)
        if not readable or (isinstance(packet, IP) and (packet.frag or packet.flags.MF)):
            return None
        kind = "tcp" if isinstance(transport, TCP) else "udp"
        vlan = inner.vlan if inner is not outer else 0
        at = 18 if inner is not outer else 14
        return Parsed(inner.type, data[at:], vlan, packet.src, packet.dst, (kind, transport.dport))


def _policy(frames: list[Parsed]) -> tuple[Compiled, dict[str, str], set[tuple[str, int]]]:
    """Return a policy in which each address has a name of its own on either side, and each service its conduit."""
    hosts = dict.fromkeys(address for frame in frames for address in (frame.source, frame.destination))
    names = {address: f"h{number}" for number, address in enumerate(itertools.islice(hosts, MOST_NAMES))}
    services = sorted({frame.service for frame in frames if frame.service[1]})[:MOST_NAMES]
    text = ["version: 1", "site: {name: capture, ceiling: enforce, default_stage: enforce}", "zones:"]
    text += ["  left: {kind: control, ports: [l0], address_space: left}"]
    text += ["  right: {kind: control, ports: [r0], address_space: right}", "assets:"]
    for side in ("left", "right"):
        for address, name in names.items():
            text.append(f'  {side}-{name}: {{zone: {side}, ips: ["{address}"], roles: [host]}}')
    text.append("services:")
    text += [f"  {kind}-{port}: {{protocol: {kind}, ports: [{port}]}}" for kind, port in services]
    listed = ", ".join(f"{kind}-{port}" for kind, port in services)
    text += ["conduits:", "  all:", "    from: {zone: left}", "    to: {zone: right}", f"    services: [{listed}]"]
    text += ["    owner: tests", "    reason: tells what was read"]
    return compile_text("\n".join(text) + "\n", "capture.yaml", {}), names, set(services)


def _usable(frame: Parsed) -> bool:
    """Leave out what no asset can be: groups, unspecified and mapped addresses."""
    return not any(
        address in ("0.0.0.0", "::", "255.255.255.255")
        or address.lower().startswith(("ff", "::ffff"))
        or (("." in address) and int(address.split(".")[0]) >= 224)
        for address in (frame.source, frame.destination)
    )


@pytest.mark.parametrize(
    "path", _share() or [None], ids=lambda path: f"{path.parent.name}-{path.stem}" if path else "-"
)
def test_same_addresses_and_ports(path: Path | None) -> None:
    """Each readable frame of the capture has the addresses and the destination port that scapy reads."""
    if path is None:
        captures.require_captures()
        return
    taken = itertools.islice(captures.ethernet_frames(path), FRAMES_PER_CAPTURE)
    frames = [frame for data in taken if len(data) >= 14 and (frame := _parse(data)) is not None and _usable(frame)]
    if not any(frame.service[1] for frame in frames):
        pytest.skip("no TCP or UDP frame over Ethernet in this capture's share")
    compiled, names, services = _policy(frames)
    lowered = compiled.lowered
    state = build_state(lowered, 1, {"l0": LEFT, "r0": RIGHT})
    judge = Judge(build_image(lowered, 1), state)
    for frame in frames:
        if frame.source not in names or frame.destination not in names or frame.service not in services:
            continue
        judge.forget_flows()
        said = judge.judge(
            frame.payload,
            ethertype=frame.ethertype,
            in_ifindex=LEFT,
            out_ifindex=RIGHT,
            source_mac=b"\x02\x00\x00\x00\x00\x01",
        )
        if said.reason in UNREADABLE:
            continue  # cut by the capture's snap length, or a lie of a length: the fuzzer and the vectors judge those
        assert said.source_asset is not None
        assert said.destination_asset is not None
        read = (lowered.assets[said.source_asset].name, lowered.assets[said.destination_asset].name)
        assert read == (f"left-{names[frame.source]}", f"right-{names[frame.destination]}")
        assert lowered.service_names[said.service] == "{}-{}".format(*frame.service)
