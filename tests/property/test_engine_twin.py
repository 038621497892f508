"""The engine and the slow twin agree on random policies and random frames.

A seeded share of the differential run; `python -m bench.differential` runs as many as asked for.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from fastpath.abi import Reason
from tests.support.frames import Stream
from tests.support.judging import Swap, case_seeds, run_case
from tests.support.plain import Frame
from tests.support.policies import compiled_policy
from tests.support.swaps import draw_swaps
from tests.support.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE_FRAMES: Final = 20_000
SWAP_FRAMES: Final = 10_000
SWAP_PARTS: Final = 5
PARTS: Final = 10  # so that a mismatch in one part does not hide those of the others
# Not given by the decision itself, or by inspected conduits only: test_streams and test_profiles have their twins.
INSPECTED: Final = {reason for reason in Reason if reason.name.startswith(("STREAM_", "MESSAGE_", "PROCESS_"))}
RARE: Final = {Reason.NONE, Reason.GUARD_QUARANTINE} | INSPECTED


@pytest.mark.parametrize("part", range(PARTS))
def test_engine_equals_twin(part: int, seed: int, record_property: Callable[[str, object], None]) -> None:
    """Every frame of the seeded share gets the same answer from both."""
    seeds = case_seeds(seed, SHARE_FRAMES)[part::PARTS]
    record_property("case_seeds", f"{seeds[0]}..{seeds[-1]}")
    for case_seed in seeds:
        mismatch = run_case(case_seed)
        assert mismatch is None, f"case seed {case_seed}\n{mismatch}"


@pytest.mark.parametrize("part", range(SWAP_PARTS))
def test_engine_equals_twin_while_policies_are_swapped(part: int, seed: int) -> None:
    """Conversations that outlive a policy get the same answers from both."""
    for case_seed in case_seeds(seed, SWAP_FRAMES)[part::SWAP_PARTS]:
        mismatch = run_case(case_seed, draw_swaps)
        assert mismatch is None, f"case seed {case_seed}\n{mismatch}"


def test_swaps_find_flows_of_before(seed: int) -> None:
    """After a swap, flows of the policy before are met again, and go on or end."""
    met: Counter[Reason] = Counter()
    for case in range(30):
        rng = random.Random(seed + case)
        drawn = compiled_policy(rng)
        twin = Twin(drawn.plain)
        for operation in draw_swaps(drawn, rng, 300):
            if isinstance(operation, Swap):
                twin.swap(operation.drawn.plain)
            if isinstance(operation, Frame):
                old = {key for key, flow in twin.flows.items() if flow.policy is not twin.policy}
                reason = twin.judge(operation).reason
                now = {key for key, flow in twin.flows.items() if flow.policy is not twin.policy}
                if old != now:
                    met[reason] += 1
    assert met[Reason.FLOW_ESTABLISHED] > 10
    assert met[Reason.POLICY_NO_CONDUIT] + met[Reason.POLICY_CONDUIT_CLOSED] > 10


def test_streams_reach_every_line(seed: int) -> None:
    """The generated frames are judged for every reason that the semantics page knows: no line goes untested."""
    seen: set[Reason] = set()
    for case in range(60):
        rng = random.Random(seed + case)
        plain = compiled_policy(rng).plain
        twin = Twin(plain)
        seen |= {twin.judge(frame).reason for frame in Stream(plain, rng).frames(200)}
    assert seen == set(Reason) - RARE
