"""Judging a frame costs no more instructions than it did: callgrind's counts against tests/data/instructions.json.

Time says little on a busy machine, instructions say the same every time. The baseline belongs to a processor
architecture and a compiler; whoever changes a count on purpose writes the new one in the same commit.
"""

from __future__ import annotations

import pytest

from bench import instructions
from tests.support.capability import require, required_capabilities

GROWTH = 1.10
REBASE = "python -m bench.instructions --write"


@pytest.mark.timeout(300)
def test_a_frame_costs_no_more_instructions_than_the_baseline() -> None:
    """Frames of known flows, of new flows and denied ones stay within 10 % of the baseline."""
    require("valgrind")
    here = instructions.machine()
    baseline = instructions.baselines().get(here)
    if baseline is None:
        text = f"no baseline for {here}: {REBASE}"
        pytest.fail(text) if "valgrind" in required_capabilities() else pytest.skip(text)
    figures = instructions.measure()
    grown = [
        f"{kind}: {figures[kind]} instructions a frame, {before} in the baseline"
        for kind, before in baseline.items()
        if figures[kind] > GROWTH * before
    ]
    advice = (
        "Find out why (callgrind_annotate on what bench/instructions.py runs). If the cost is meant, say what it buys "
        f"in the commit that also carries the new baseline: {REBASE}"
    )
    assert not grown, "\n".join([*grown, advice])
