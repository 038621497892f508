"""`simulate` against the judge of live frames: the same segments of inspected conversations, frame by frame.

Recorded Modbus, S7 and EtherNet/IP (where the machine has the captures), and generated Modbus that is split, repeated,
changed and put out of order. Both judge at the frame's time; one learns its ports from the test, the other places it.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import yaml

from fastpath.abi import Reason, Verdict
from fastpath.judge import Judge
from fastpath.replay import Capture
from gateway.simulate.candidate import Candidate
from rules.compile import compile_text
from rules.image import build_image
from rules.state import build_state
from tests.support import capture_file, captures
from tests.support.odd_modbus import CLIENT_MAC, SERVER_MAC, Seen, generated

if TYPE_CHECKING:
    from pathlib import Path

HALL, PLANT = 11, 12
SERVICES: Final = {"modbus": ["modbus"], "s7comm": ["s7"], "enip": ["enip", "enip-io"]}
PORTS: Final = {("tcp", 502), ("tcp", 102), ("tcp", 44818), ("udp", 44818), ("udp", 2222)}
NAMES: Final = {6: "tcp", 17: "udp"}
CONDUITS: Final[dict[str, dict[str, Any]]] = {
    "reads": {"operations": ["read", "diagnose"]},
    "reads, in silence": {"operations": ["read", "diagnose"], "refuse": "silent", "fail": "closed"},
    "reads, answered": {"operations": ["read", "diagnose"], "refuse": "answer"},
    "logged": {"messages": "full"},
    "monitored": {"operations": ["read"], "stage": "monitor"},
}
GUARDED: Final[dict[str, dict[str, Any]]] = CONDUITS | {
    "guarded": {
        "constraints": {
            "modbus": [
                {"operation": "read"},
                {"operation": "write", "unit": 1, "address": "0-9", "value": "0-1000", "step": 300, "rate": "50/s"},
            ]
        }
    },
}
LONGEST_CAPTURE: Final = 20_000  # frames: the rest is more of the same
FEWEST_JUDGED: Final = 2000


class Said(NamedTuple):
    """What one of the two says of a frame."""

    verdict: Verdict
    policy_verdict: Verdict
    reason: Reason
    conduit: int | None


def policy_of(
    conduit: dict[str, Any], services: list[str], hall: dict[str, list[str]], plant: dict[str, list[str]]
) -> str:
    """Return a policy of two zones; assets are MACs with their addresses."""
    assets = {
        f"{zone}-{number}": {"zone": zone, "macs": [mac], "ips": ips}
        for zone, found in (("hall", hall), ("plant", plant))
        for number, (mac, ips) in enumerate(found.items())
    }
    return str(
        yaml.safe_dump(
            {
                "version": 1,
                "site": {"name": "works", "ceiling": "enforce", "default_stage": "enforce"},
                "zones": {
                    "hall": {"kind": "supervisory", "ports": ["p0"]},
                    "plant": {"kind": "control", "ports": ["p1"]},
                },
                "assets": assets,
                "conduits": {
                    "talks": {
                        "from": {"zone": "hall"},
                        "to": {"zone": "plant"},
                        "services": services,
                        "stage": "enforce",
                        "owner": "tests",
                        "reason": "tests",
                    }
                    | conduit
                },
            }
        )
    )


def simulated(text: str, frames: list[Seen]) -> list[Said]:
    """Return what `simulate` says."""
    candidate = Candidate(compile_text(text), "candidate")
    capture = Capture(capture_file.pcap([seen.packet for seen in frames], magic=capture_file.NANOSECOND))
    found = []
    while count := capture.read():
        candidate.judge(capture, count)
        for outcome in candidate.replay.said(capture):
            one = outcome.judged
            found.append(Said(Verdict(one.verdict), Verdict(one.policy_verdict), Reason(one.reason), one.conduit))
    return found


def live(text: str, frames: list[Seen]) -> list[Said]:
    """Return what the judge of live frames says, told where each frame came in and would leave."""
    lowered = compile_text(text).lowered
    judge = Judge(build_image(lowered, 1), build_state(lowered, 1, {"p0": HALL, "p1": PLANT}))
    found = []
    for (time_ns, data, length, _), from_hall in frames:
        one = judge.judge(
            data[14:],
            length=length - 14,
            ethertype=int.from_bytes(data[12:14], "big"),
            in_ifindex=HALL if from_hall else PLANT,
            out_ifindex=PLANT if from_hall else HALL,
            source_mac=data[6:12],
            destination_mac=data[:6],
            time_ns=time_ns,
        )
        found.append(Said(one.verdict, one.policy_verdict, one.reason, one.conduit))
    return found


def compared(text: str, frames: list[Seen], case: str) -> Counter[Reason]:
    """Judge frames in both ways; return how often each reason was said."""
    for number, (one, other) in enumerate(zip(simulated(text, frames), live(text, frames), strict=True)):
        assert one == other, f"{case}, frame {number + 1}: {frames[number].packet.data.hex()}"
    return Counter(said.reason for said in live(text, frames))


# ---- recorded -----------------------------------------------------------------------------------------------------


def conversations(path: Path) -> tuple[list[Seen], dict[str, list[str]], dict[str, list[str]]]:
    """Return the frames of a capture to and from inspected ports, and who opens and who answers, by MAC."""
    read = capture_file.slow_read(path.read_bytes())
    zone: dict[str, bool] = {}
    macs: dict[str, str] = {}
    frames = []
    for packet in read.packets[:LONGEST_CAPTURE] if read is not None else []:
        data = packet.data
        if packet.link != capture_file.ETHERNET or data[12:14] != b"\x08\x00" or len(data) < 42 or data[14] != 0x45:
            continue
        kind = NAMES.get(data[23])
        source, target = (".".join(map(str, data[at : at + 4])) for at in (26, 30))
        ports = struct.unpack_from("!HH", data, 34)
        if not {(kind, ports[0]), (kind, ports[1])} & PORTS or data[0] & 1 or data[6] & 1:
            continue
        opening = (kind, ports[1]) in PORTS
        if zone.setdefault(source, opening) != opening or zone.setdefault(target, not opening) == opening:
            continue
        if macs.setdefault(source, data[6:12].hex(":")) != data[6:12].hex(":"):
            continue
        if macs.setdefault(target, data[:6].hex(":")) != data[:6].hex(":"):
            continue
        frames.append(Seen(packet, opening))
    hall, plant = dict[str, list[str]](), dict[str, list[str]]()
    for ip, mac in macs.items():
        (hall if zone[ip] else plant).setdefault(mac, []).append(ip)
    for mac in hall.keys() & plant.keys():  # it opens and answers: it can't be in two zones
        del hall[mac], plant[mac]
    known = {bytes.fromhex(mac.replace(":", "")) for mac in (*hall, *plant)}
    return [one for one in frames if {one.packet.data[6:12], one.packet.data[:6]} <= known], hall, plant


@pytest.mark.parametrize("protocol", SERVICES)
def test_recorded_conversations(protocol: str) -> None:
    """Verdict, reason and conduit of each frame are equal under every kind of conduit."""
    said: Counter[Reason] = Counter()
    for path in captures.require_captures():
        if path.parent.name != protocol:
            continue
        frames, hall, plant = conversations(path)
        if not frames:
            continue
        for name, conduit in CONDUITS.items():
            text = policy_of(conduit, SERVICES[protocol], hall, plant)
            said += compared(text, frames, f"{path.name}, {name}")
    print(protocol, dict(said))
    assert said.total() >= FEWEST_JUDGED
    assert said[Reason.FLOW_ESTABLISHED]
    assert said[Reason.MESSAGE_OPERATION]


# ---- generated ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GUARDED)
def test_generated_conversations(name: str, seed: int) -> None:
    """The same of segments that no good client would send."""
    rng = random.Random(f"{seed}-{name}")
    frames = list(generated(rng))
    text = policy_of(
        GUARDED[name], ["modbus"], {CLIENT_MAC.hex(":"): ["10.1.0.1"]}, {SERVER_MAC.hex(":"): ["10.2.0.1"]}
    )
    said = compared(text, frames, f"{name}, seed {seed}")
    print(name, dict(said))
    wanted = {Reason.FLOW_ESTABLISHED, Reason.STREAM_URGENT}
    wanted |= {Reason.PROCESS_VALUE, Reason.PROCESS_STEP} if name == "guarded" else set[Reason]()
    assert wanted <= said.keys()
