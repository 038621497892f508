"""Simulation = slow placing twin + slow decision twin, over random policies and frames on every link type."""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from fastpath.abi import Reason, Verdict
from fastpath.replay import Capture
from gateway.control.stages import UNKNOWN_ZONE_NAME
from gateway.simulate.candidate import Candidate
from tests.support import capture_file
from tests.support.breakage import break_frame
from tests.support.capture_file import Packet
from tests.support.frames import Stream
from tests.support.plain import Answer, Frame
from tests.support.policies import compiled_policy
from tests.support.twin import Twin
from tests.support.twin_place import Placing

if TYPE_CHECKING:
    from fastpath.replay import Outcome
    from tests.support.policies import DrawnPolicy

POLICIES: Final = 20
FRAMES: Final = 200
BEGINNING_NS: Final = 1_700_000_000_000_000_000
GAP_NS: Final = 1000  # as the twin's other comparisons: no flow falls silent
BROKEN_SHARE: Final = 0.2
ETHERNET, RAW, NULL, LOOP, SLL, SLL2 = 1, 101, 0, 108, 113, 276
FAMILIES: Final = {0x0800: (2,), 0x86DD: (10, 23, 24, 28, 30)}
NO_MAC: Final = bytes(6)


def captured(frame: Frame, link: int, rng: random.Random) -> tuple[bytes, Frame] | None:
    """Return a frame's bytes on a link and what of it the link tells; None where the link cannot carry it."""
    tag = struct.pack("!HH", 0x8100, frame.vlan) if frame.tagged else b""
    inner = struct.pack("!H", frame.ethertype) + frame.payload
    if link == ETHERNET:
        destination = frame.destination_mac or b"\x02\x00\x00\x00\xee\x01"
        return destination + frame.source_mac + tag + inner, _told(frame, destination)
    kind = (tag + inner)[:2]
    body = (tag + inner)[2:]
    if link == SLL:
        head = struct.pack("!HHH", 0, 1, 6) + frame.source_mac + bytes(2) + kind
        return head + body, _told(frame, None)
    if link == SLL2:
        head = kind + struct.pack("!HIHBB", 0, 1, 1, 0, 6) + frame.source_mac + bytes(2)
        return head + body, _told(frame, None)
    if tag or frame.ethertype not in FAMILIES or not frame.payload:
        return None
    told = _told(frame, None, NO_MAC)
    if link == RAW:
        version = {0x0800: 4, 0x86DD: 6}[frame.ethertype]
        return (frame.payload, told) if frame.payload[0] >> 4 == version else None
    order = "!" if link == LOOP else rng.choice("<>")
    return struct.pack(order + "I", rng.choice(FAMILIES[frame.ethertype])) + frame.payload, told


def _told(frame: Frame, destination: bytes | None, source: bytes | None = None) -> Frame:
    return Frame(
        "", "", frame.vlan, frame.source_mac if source is None else source, destination, frame.ethertype, frame.payload,
        frame.about, frame.priority_tagged,
    )  # fmt: skip


def lose_tag(frame: Frame, rng: random.Random) -> Frame:
    """Return the frame as a mirror port would show it, sometimes."""
    if frame.vlan and rng.random() < 0.3:
        return Frame("", "", 0, frame.source_mac, frame.destination_mac, frame.ethertype, frame.payload, frame.about)
    return frame


def recorded(drawn: DrawnPolicy, rng: random.Random, link: int) -> tuple[bytes, list[Frame]]:
    """Return a capture file and the frames that it tells of."""
    packets, told = [], []
    for number, drawn_frame in enumerate(Stream(drawn.plain, rng).frames(FRAMES)):
        frame = lose_tag(drawn_frame, rng)
        if rng.random() < BROKEN_SHARE:
            frame = break_frame(frame, rng)
        found = captured(frame, link, rng)
        if found is not None:
            data, frame = found
            told.append(frame)
            packets.append(Packet(BEGINNING_NS + number * GAP_NS, data, len(data)))
    return capture_file.pcap(packets, link=link), told


@pytest.mark.parametrize("link", [ETHERNET, SLL, SLL2, RAW, NULL, LOOP])
def test_simulation_equals_the_twins(link: int, seed: int) -> None:
    """Zones, verdict, reason and conduit of every frame are those of the twins."""
    reasons: Counter[Reason] = Counter()
    for case in range(POLICIES):
        case_seed = f"{seed}-{link}-{case}"
        rng = random.Random(case_seed)
        drawn = compiled_policy(rng)
        data, frames = recorded(drawn, rng, link)
        candidate = Candidate(drawn.compiled, "drawn")
        twin = Twin(drawn.plain)
        placing = Placing(drawn.plain, twin.identity)
        capture = Capture(data)
        count = capture.read()
        assert count == len(frames)
        candidate.judge(capture, count)
        for number, (frame, outcome) in enumerate(zip(frames, candidate.replay.said(capture), strict=True)):
            twin.now_ns = outcome.time_ns
            placed = placing.place(frame)
            answer = twin.judge(placed)
            assert mine(candidate, outcome) == answer, f"case {case_seed}, frame {number}: {frame} placed {placed}"
            reasons[answer.reason] += 1
    assert len(reasons) > 10, reasons


def mine(candidate: Candidate, outcome: Outcome) -> Answer:
    """Return an outcome in the twin's form."""
    said = candidate.wording.said(outcome.judged)
    zones = [None if zone == UNKNOWN_ZONE_NAME else zone for zone in (said.source_zone, said.destination_zone)]
    assert said.policy_verdict is not None
    assert said.verdict is not None
    assert said.reason is not None
    return Answer(
        Verdict[said.policy_verdict.upper()], Verdict[said.verdict.upper()], Reason[said.reason], said.conduit, *zones
    )
