"""A seeded share of the fuzz run: mutated frames, each of which must get a sound verdict."""

from __future__ import annotations

from typing import Final

from fastpath.abi import Reason
from tests.fuzz import recordings
from tests.fuzz.frames import fuzz

SHARE_FRAMES: Final = 20_000
SHARE_FILES: Final = 3_000


def test_every_mutant_gets_a_verdict(seed: int) -> None:
    """Each mutated frame of the seeded share gets a verdict that fits its reason."""
    result = fuzz(SHARE_FRAMES, seed)
    assert result.frames == SHARE_FRAMES
    assert result.unsound == []


def test_mutants_reach_the_parser(seed: int) -> None:
    """The mutations hit every reason that the parser can give: the share above is no empty exercise."""
    seen = set(fuzz(SHARE_FRAMES, seed + 1).by_reason)
    assert {reason.name for reason in Reason if reason.name.startswith("FRAME_")} - seen == set()


def test_every_frame_of_a_broken_capture_is_counted_once(seed: int) -> None:
    """Broken files neither crash the replay nor make its sums wrong; most of them still give frames."""
    result = recordings.fuzz(SHARE_FILES, seed)
    assert result.unsound == []
    assert result.files == SHARE_FILES
    assert result.damaged > SHARE_FILES // 10
    assert result.frames > SHARE_FILES
