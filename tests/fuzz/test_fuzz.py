"""A seeded share of the fuzz runs: frames, messages and policies, mutated, each of which must get a sound answer."""

from __future__ import annotations

from typing import Final

import pytest

from fastpath.abi import Reason
from tests.fuzz import inspection, messages, recordings
from tests.fuzz.frames import fuzz
from tests.fuzz.grammar import try_grammar
from tests.fuzz.policies import fuzz as fuzz_policies
from tests.fuzz.subjects import SUBJECTS

SHARE_FRAMES: Final = 20_000
SHARE_POLICIES: Final = 300
SHARE_MESSAGES: Final = 20_000
SHARE_FILES: Final = 3_000
SHARE_INSPECTED: Final = 6_000
SHARE_MALFORMED: Final = 2_000


def test_every_mutant_gets_a_verdict(seed: int) -> None:
    """Each mutated frame of the seeded share gets a verdict that fits its reason."""
    result = fuzz(SHARE_FRAMES, seed)
    assert result.frames == SHARE_FRAMES
    assert result.unsound == []


def test_mutants_reach_the_parser(seed: int) -> None:
    """The mutations hit every reason that the parser can give: the share above is no empty exercise."""
    seen = set(fuzz(SHARE_FRAMES, seed + 1).by_reason)
    assert {reason.name for reason in Reason if reason.name.startswith("FRAME_")} - seen == set()


def test_broken_policies_end_in_problems(seed: int) -> None:
    """A share of the mutated bundles: compiled or refused with places, and a sure mistake is never taken."""
    outcome = fuzz_policies(SHARE_POLICIES, seed)
    assert outcome.mutants == SHARE_POLICIES
    assert outcome.tracebacks == []
    assert outcome.taken == []
    assert len(outcome.by_code) > 10  # the mutants reach the parsers, the models and the references


def test_a_message_is_read_alike_with_and_without_a_remembered_shape(seed: int) -> None:
    """The engine's reader gives what the plain twin gives, whatever messages came before."""
    result = messages.fuzz(SHARE_MESSAGES, seed)
    assert result.messages == SHARE_MESSAGES
    assert result.differences == []
    assert min(result.outcomes["read"], result.outcomes["no id"]) > SHARE_MESSAGES / 100


def test_every_frame_of_a_broken_capture_is_counted_once(seed: int) -> None:
    """Broken files neither crash the replay nor make its sums wrong; most of them still give frames."""
    result = recordings.fuzz(SHARE_FILES, seed)
    assert result.unsound == []
    assert result.files == SHARE_FILES
    assert result.damaged > SHARE_FILES // 10
    assert result.frames > SHARE_FILES


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_inspector_breaks_its_promises(name: str, seed: int) -> None:
    """Mutated messages get an answer that the beginnings of them bear out, and some of them are still taken."""
    result = inspection.fuzz(name, SHARE_INSPECTED, seed)
    assert result.broken == []
    assert result.outcomes["TAKEN"] > SHARE_INSPECTED // 100
    assert result.outcomes["MESSAGE_MALFORMED"] > SHARE_INSPECTED // 100


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_malformed_message_of_a_grammar_is_taken(name: str, seed: int) -> None:
    """What breaks one rule of its protocol is refused, and what breaks none is taken."""
    subject = SUBJECTS[name]
    result = try_grammar(subject.inspector, subject.right, subject.wrong, SHARE_MALFORMED, seed)
    assert result.taken == []
    assert result.refused == []
    assert len(result.by_rule) >= 5  # implicit I/O has no more rules to break
