"""Each line of the semantics page has its case (tests/vectors/decision.py); engine and twin both give what it says."""

from __future__ import annotations

import pytest

from fastpath.abi import FIRST_DROP_REASON, Stage, Verdict
from rules.compile import compile_text
from tests.support.judging import Engine, Toggle, show_answer
from tests.support.policies import DrawnPolicy, policy_text
from tests.support.twin import Twin
from tests.vectors.decision import CASES, Case
from tests.vectors.plant import OFFICE4 as OFFICE
from tests.vectors.plant import OPENING, POLICY, SYN, tcp, to_plant
from tests.vectors.plant import PLC4 as PLC


@pytest.fixture(scope="module")
def drawn() -> DrawnPolicy:
    """Compile the table's policy once."""
    text = policy_text(POLICY)
    return DrawnPolicy(POLICY, text, compile_text(text, "vectors.yaml", {}), 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_engine_gives_what_the_page_says(case: Case, drawn: DrawnPolicy) -> None:
    """The engine gives the last frame of the case its reason and conduit."""
    engine = Engine(drawn)
    answer = [engine.judge(frame) for frame in case.frames][-1]
    assert (answer.reason, answer.conduit) == (case.reason, case.conduit), show_answer(answer)
    accepts = case.reason < FIRST_DROP_REASON
    assert answer.policy_verdict == (Verdict.ACCEPT if accepts else Verdict.DROP)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_twin_gives_what_the_page_says(case: Case, drawn: DrawnPolicy) -> None:
    """The twin gives the last frame of the case its reason and conduit."""
    twin = Twin(drawn.plain)
    answer = [twin.judge(frame) for frame in case.frames][-1]
    assert (answer.reason, answer.conduit) == (case.reason, case.conduit), show_answer(answer)


def test_sentences_are_unique() -> None:
    """No two cases have the same sentence: a failure names one."""
    assert len({case.sentence for case in CASES}) == len(CASES)


def test_a_closed_conduit_follows_its_own_stage(drawn: DrawnPolicy) -> None:
    """What a closed conduit would carry passes in the conduit's stage alert, though the pair enforces."""
    answer = Engine(drawn).judge(to_plant(tcp(OFFICE, PLC, (4000, 102), SYN)))
    assert (answer.policy_verdict, answer.verdict) == (Verdict.DROP, Verdict.ACCEPT)


def test_a_closed_conduit_ends_its_flow(drawn: DrawnPolicy) -> None:
    """A flow goes on under the next conduit that permits it, and ends when none is left open."""
    engine = Engine(drawn)
    engine.judge(OPENING)
    engine.toggle(Toggle("open", ("laptop-modbus",), 0))
    assert engine.judge(OPENING).conduit == "office-modbus"
    engine.toggle(Toggle("open", ("office-modbus",), 0))
    assert engine.judge(OPENING).policy_verdict is Verdict.DROP


@pytest.mark.parametrize("stage", list(Stage))
def test_the_ceiling_calms_everything(stage: Stage, drawn: DrawnPolicy) -> None:
    """A violation is dropped only when both the pair's stage and the ceiling enforce."""
    engine = Engine(drawn)
    engine.toggle(Toggle("ceiling", (), stage))
    answer = engine.judge(to_plant(tcp(OFFICE, PLC, (4000, 503), SYN)))
    assert answer.policy_verdict is Verdict.DROP
    assert answer.verdict is (Verdict.DROP if stage is Stage.ENFORCE else Verdict.ACCEPT)
