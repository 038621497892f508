"""The segments that the bench times are judged as it says: dropped at the budget, permitted, or taken byte by byte."""

from __future__ import annotations

import pytest

from bench.heaviest import NAMES, cases


@pytest.mark.parametrize("name", NAMES)
def test_every_case_is_judged_as_meant(name: str) -> None:
    """A case raises RuntimeError when its segments are judged otherwise."""
    found = {case: measure() for case, measure in cases(name).items()}
    assert len(found) == 3
    assert min(found.values()) > 0
