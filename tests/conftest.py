"""What every ring of tests shares: the seed of the run, and markers that turn into capability checks.

CONDUIT_SEED chooses the seed (default fixed, so that two runs of one commit agree); each run prints it.
CONDUIT_REQUIRE lists capabilities whose absence is a failure instead of a skip (tests/support/capability.py).
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support.capability import REQUIRE_VARIABLE, Capability, require, required_capabilities

SEED_VARIABLE: Final = "CONDUIT_SEED"
DEFAULT_SEED: Final = 62443
MARKED: Final[dict[str, Capability]] = {"netns": "netns", "vm": "vm"}


def _seed() -> int:
    return int(os.environ.get(SEED_VARIABLE, DEFAULT_SEED))


def pytest_report_header() -> list[str]:
    """Print what a failing run needs to be repeated."""
    demanded = ", ".join(sorted(required_capabilities())) or "nothing"
    return [f"{SEED_VARIABLE}={_seed()}", f"{REQUIRE_VARIABLE}: {demanded} demanded"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check the capability behind each marker before any fixture builds something."""
    for marker, capability in MARKED.items():
        if item.get_closest_marker(marker) is not None:
            require(capability)


@pytest.fixture(scope="session")
def seed() -> int:
    """Return the seed of this run."""
    return _seed()
