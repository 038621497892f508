"""Every recorded capture there is, through the simulation: no frame is left out, and the slow twin agrees.

Skips, saying so, where there are no captures.
"""

from __future__ import annotations

import csv
import itertools
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from fastpath.abi import Reason, Verdict
from gateway.control.stages import UNKNOWN_ZONE_NAME
from gateway.simulate.candidate import Candidate
from gateway.simulate.simulation import Simulation
from gateway.simulate.sources import CaptureFile, capture_files
from rules.compile import Compiled, compile_file, compile_text
from tests.support import captures
from tests.support.capture_policy import ethernet_frame, policy_of
from tests.support.plain import PlainPolicy
from tests.support.policies import policy_text
from tests.support.twin import Twin
from tests.support.twin_place import Placing

if TYPE_CHECKING:
    from pathlib import Path

    from fastpath.replay import Outcome

EXAMPLE: Final = captures.Path(__file__).resolve().parents[3] / "rules" / "examples" / "water-works.yaml"
CAPTURES_PER_PROTOCOL: Final = 3
FRAMES_PER_CAPTURE: Final = 250
TWIN_KEEPS_NS: Final = 25_000_000_000  # the twin never forgets a silent flow: no echo is silent for longer in this time


def manifest() -> dict[str, int]:
    """Return how many frames Wireshark counts in each capture."""
    place = captures.directory()
    assert place is not None
    with (place / "MANIFEST.csv").open(newline="") as rows:
        return {row["path"]: int(row["packets"]) for row in csv.DictReader(rows)}


def test_every_frame_of_every_capture_is_counted() -> None:
    """Each capture ends without an error, with as many frames as the manifest says, and the summary adds up."""
    paths = captures.require_captures()
    place = captures.directory()
    assert place is not None
    wanted = manifest()
    compiled = compile_file(EXAMPLE)
    for path in paths:
        summary = Simulation(Candidate(compiled, "example")).run([CaptureFile(path)])
        (reading,) = summary.readings
        assert reading.damage is None or reading.cut, f"{path}: {reading.damage} at {reading.at}"
        assert summary.frames == wanted[str(path.relative_to(place))], path
        assert sum(row.frames for row in summary.sums) == summary.frames
        assert sum(row.frames for row in summary.conversations) == summary.frames
        assert sum(row.bytes for row in summary.sums) == reading.bytes


def test_all_captures_in_one_run() -> None:
    """The folder as a whole: one stream in the order of time, the same sum."""
    captures.require_captures()
    files = capture_files([str(captures.directory())])
    summary = Simulation(Candidate(compile_file(EXAMPLE), "example"), limit_rows=3).run(files)
    assert summary.frames == sum(manifest().values()) == sum(row.frames for row in summary.sums)
    shown = summary.as_dict()
    assert sum(row["frames"] for row in shown["rows"]) == summary.frames
    listed = sum(row["frames"] for row in shown["conversations"])
    assert listed + shown["conversations_left_out"]["frames"] == summary.frames
    assert shown["judged"] + sum(shown["unjudged"].values()) == summary.frames


def share() -> list[Path]:
    """Return some captures of each protocol."""
    by_protocol: dict[str, list[Path]] = {}
    for path in captures.files():
        by_protocol.setdefault(path.parent.name, []).append(path)
    return [path for paths in by_protocol.values() for path in paths[:CAPTURES_PER_PROTOCOL]]


def outcomes(path: Path, compiled: Compiled) -> tuple[Candidate, list[Outcome]]:
    """Return what the simulation says of each frame."""
    candidate = Candidate(compiled, "made")
    found: list[Outcome] = []
    Simulation(candidate).run([CaptureFile(path)], frames=lambda _file, _first, some, _other: found.extend(some))
    return candidate, found


@pytest.mark.parametrize("path", share() or [None], ids=lambda path: f"{path.parent.name}-{path.stem}" if path else "-")
def test_verdicts_are_the_twins(path: Path | None, seed: int) -> None:
    """Verdict, reason, conduit and zones of each frame are those of the slow twin, which places it too."""
    if path is None:
        captures.require_captures()
        return
    taken = [ethernet_frame(data) for data in itertools.islice(captures.ethernet_frames(path), FRAMES_PER_CAPTURE)]
    frames = [frame for frame in taken if frame is not None]
    if not frames or len(frames) != len(taken):
        pytest.skip("no Ethernet capture")
    plain: PlainPolicy = policy_of(frames, random.Random(f"{seed}{path.name}"))
    if not plain.conduits or not plain.assets:
        pytest.skip("nobody speaks to anybody in this capture")
    candidate, said = outcomes(path, compile_text(policy_text(plain), "capture.yaml"))
    twin = Twin(plain)
    placing = Placing(plain, twin.identity)
    reasons: Counter[Reason] = Counter()
    for number, (frame, outcome) in enumerate(zip(frames, said, strict=False), start=1):
        if outcome.length != len(frame.payload) + 14 or outcome.time_ns - said[0].time_ns > TWIN_KEEPS_NS:
            break
        answer = twin.judge(placing.place(frame))
        mine = candidate.wording.said(outcome.judged)
        zones = tuple(None if zone == UNKNOWN_ZONE_NAME else zone for zone in (mine.source_zone, mine.destination_zone))
        assert (
            answer.reason.name, Verdict(answer.verdict).name.lower(), answer.conduit,
            answer.source_zone, answer.destination_zone,
        ) == (mine.reason, mine.verdict, mine.conduit, *zones), f"frame {number}: {frame}"  # fmt: skip
        reasons[answer.reason] += 1
    assert reasons
