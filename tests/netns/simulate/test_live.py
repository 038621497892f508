"""The simulation against the gateway itself: ten captures put into the lab's zone ports, frame for frame in order.

    capture ─ frames of "left"  ─ AF_PACKET in historian-dmz ─ dmz0 ┐
                                                                    ├ bridge, queue, engine
    capture ─ frames of "right" ─ AF_PACKET in eng-laptop ──── eng0 ┘

Each capture becomes a policy whose assets are its own addresses. What the engine counted by reason and conduit has to
be what `simulate` says of the same file. Left out are frames that no gateway sees (both ends in one zone), that the
kernel drops by itself (broken IP headers) or hides from one form of interception (tags, no IP). Skips without captures.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from deploy.lab.gateway import LabGateway
from deploy.lab.processes import wait_for
from gateway.simulate.candidate import Candidate
from gateway.simulate.simulation import Simulation
from gateway.simulate.sources import CaptureFile
from rules.compile import compile_text
from tests.netns.gateway.conftest import closed_books, standing_lab
from tests.support import capture_file, captures
from tests.support.bridge_rig import entered
from tests.support.capture_file import Packet
from tests.support.capture_policy import ethernet_frame, policy_of
from tests.support.checksums import corrected
from tests.support.policies import policy_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.lab.topology import Lab
    from fastpath.replay import Outcome

pytestmark = pytest.mark.netns

CAPTURES: Final = 10
LEAST_FRAMES, MOST_FRAMES = 20, 2500
LONGEST: Final = 1514
ATTEMPTS: Final = 40  # files of a protocol that are looked at for a fitting one
PORTS: Final = {"left": ("dmz0", "historian-dmz"), "right": ("eng0", "eng-laptop")}
UNSEEN: Final = ("ZONE_INTERNAL", "IDENTITY_PORT_UNKNOWN")  # between no two zones: never forwarded, or to nowhere
BY_THE_KERNEL: Final = ("FRAME_TRUNCATED", "FRAME_MALFORMED", "FRAME_FRAGMENT", "FRAME_EXTENSION")
COUNTED_WITHIN_S: Final = 20.0

Tally = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """A capture that fits: its policy, the frames to send with the zone that each comes from, and the file of them."""

    name: str
    policy: str
    frames: list[tuple[str, bytes]]
    file: bytes


def judged(file: Path, policy: str) -> list[tuple[str, str, str | None, str]]:
    """Return (reason, verdict, conduit, source zone) of each frame, as `simulate` says."""
    candidate = Candidate(compile_text(policy), "capture")
    found: list[tuple[str, str, str | None, str]] = []

    def note(_file: CaptureFile, _first: int, some: list[Outcome], _other: object) -> None:
        for outcome in some:
            said = candidate.wording.said(outcome.judged)
            found.append((str(said.reason), str(said.verdict), said.conduit, str(said.source_zone)))

    Simulation(candidate).run([CaptureFile(file)], frames=note)
    return found


def untagged_ip(data: bytes) -> list[Packet] | None:
    """Return the frames that every form of interception sees; None for a capture that cannot be sent as it is."""
    read = capture_file.slow_read(data)
    if read is None or not 0 < len(read.packets) <= MOST_FRAMES:
        return None
    kept = [packet for packet in read.packets if packet.data[12:14] in (b"\x08\x00", b"\x86\xdd")]
    fits = all(packet.link == capture_file.ETHERNET and packet.length == len(packet.data) <= LONGEST for packet in kept)
    return [packet._replace(data=corrected(packet.data)) for packet in kept] if fits else None


def case_of(path: Path, folder: Path, seed: int) -> Case | None:
    """Make a case of a capture, None when it does not fit: all of one reason, or flows that fall silent."""
    packets = untagged_ip(path.read_bytes())
    if packets is None or len(packets) < LEAST_FRAMES:
        return None
    frames = [frame for packet in packets if (frame := ethernet_frame(packet.data)) is not None]
    plain = policy_of(frames, random.Random(f"{seed}{path.name}"), (PORTS["left"][0], PORTS["right"][0]))
    if not plain.conduits or not plain.assets:
        return None
    policy = policy_text(plain)
    file = folder / "kept.pcap"
    file.write_bytes(capture_file.pcap(packets))
    said = judged(file, policy)
    kept = [(packet, what) for packet, what in zip(packets, said, strict=True) if what[0] not in UNSEEN]
    if len(kept) < LEAST_FRAMES or any(what[0] in BY_THE_KERNEL for _, what in kept):
        return None
    if len({what[:2] for _, what in kept}) < 2:
        return None
    whole = capture_file.pcap([packet for packet, _ in kept])
    at_once = capture_file.pcap([packet._replace(time_ns=1000 * number) for number, (packet, _) in enumerate(kept)])
    file.write_bytes(at_once)
    hurried = judged(file, policy)
    file.write_bytes(whole)
    if judged(file, policy) != hurried:
        return None  # a flow falls silent for longer than the replay lasts
    return Case(f"{path.parent.name}/{path.name}", policy, [(what[3], packet.data) for packet, what in kept], whole)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, seed: int) -> list[Case]:
    """Ten captures that fit, of as many protocols."""
    folder = tmp_path_factory.mktemp("cases")
    by_protocol: dict[str, list[Path]] = {}
    for path in captures.require_captures():
        by_protocol.setdefault(path.parent.name, []).append(path)
    found = []
    for paths in by_protocol.values():
        fitting = (case for path in paths[:ATTEMPTS] if (case := case_of(path, folder, seed)) is not None)
        found += [case for case in [next(fitting, None)] if case is not None]
    assert len(found) >= CAPTURES, [case.name for case in found]
    return found[:CAPTURES]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab for all captures; each gets a gateway of its own, which knows no flow of another."""
    with standing_lab() as made:
        yield made


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Frames of two sockets keep their order only on one processor."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def into(lab: Lab, node: str) -> socket.socket:
    """Return a socket on a host's interface."""
    with entered(lab.namespace(node)):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        link.bind(("eth0", 0))
    return link


def counted(gateway: LabGateway) -> tuple[Tally, Tally]:
    """Return what the engine counted by reason and by conduit."""
    counts = gateway.api("GET", "/v1/counters")[1]
    reasons: Tally = Counter()
    for reason, sums in counts["by_reason"].items():
        reasons[reason, "accept"] += sums["passed"]
        reasons[reason, "drop"] += sums["dropped"]
    conduits: Tally = Counter()
    for conduit, sums in counts["by_conduit"].items():
        conduits[conduit, "accept"] += sums["accepted"]
        conduits[conduit, "drop"] += sums["dropped"]
    return +reasons, +conduits


@pytest.mark.parametrize("number", range(CAPTURES))
@pytest.mark.usefixtures("one_processor")
def test_the_gateway_says_what_simulate_says(lab: Lab, cases: list[Case], tmp_path: Path, number: int) -> None:
    """Counts by reason, verdict and conduit are equal after the capture went through the gateway."""
    case = cases[number]
    file = tmp_path / "capture.pcap"
    file.write_bytes(case.file)
    said = judged(file, case.policy)
    gateway = LabGateway(lab, case.policy)
    try:
        gateway.start()
        gateway.api("PUT", "/v1/stages", {"stage": "enforce", "force": True, "reason": "rehearsal"})
        before = counted(gateway)
        links = {zone: into(lab, node) for zone, (_, node) in PORTS.items()}
        for zone, frame in case.frames:
            links[zone].send(frame)
        for link in links.values():
            link.close()
        wait_for(
            "every frame to be counted", lambda: _total(gateway) >= len(case.frames) + _sum(before[0]), COUNTED_WITHIN_S
        )
        books = closed_books(gateway)
        after = counted(gateway)
    finally:
        gateway.stop()
        shutil.rmtree(gateway.base)  # the next one starts with its own policy, not with what was in force
    assert books["lost"] == books["static"] == 0
    print(f"{case.name}: {len(case.frames)} frames, {dict(after[0] - before[0])}")
    assert after[0] - before[0] == Counter((reason, verdict) for reason, verdict, _, _ in said)
    wanted = Counter((conduit, verdict) for _, verdict, conduit, _ in said if conduit is not None)
    assert after[1] - before[1] == wanted


def _sum(tally: Tally) -> int:
    return sum(tally.values())


def _total(gateway: LabGateway) -> int:
    return _sum(counted(gateway)[0])


def test_cases_say_something(cases: list[Case], tmp_path: Path) -> None:
    """The ten captures are of ten protocols, come from both sides, and are permitted, forbidden and dropped."""
    assert len({case.name.split("/")[0] for case in cases}) == CAPTURES
    assert {zone for case in cases for zone, _ in case.frames} == set(PORTS)
    said: Counter[tuple[str, str]] = Counter()
    for case in cases:
        (tmp_path / "capture.pcap").write_bytes(case.file)
        said.update((reason, verdict) for reason, verdict, _, _ in judged(tmp_path / "capture.pcap", case.policy))
    for what in (("POLICY_CONDUIT", "accept"), ("FLOW_ESTABLISHED", "accept"), ("POLICY_NO_CONDUIT", "drop")):
        assert said[what], said
