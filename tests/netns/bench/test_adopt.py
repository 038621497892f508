"""The whole way of a plant in short: learned, applied, proved, enforced; then the attacker is stopped."""

from __future__ import annotations

import pytest

from bench.adopt import adopt
from tests.support.capability import require

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def capable() -> None:
    """It needs the whole gateway."""
    require("netns")
    require("nfqueue")


@pytest.mark.timeout(240)
def test_a_plant_is_learned_proved_and_enforced() -> None:
    """No poll is missed on the way, and nothing of the attack arrives."""
    told: list[str] = []
    summary = adopt(0.3, told.append, cycle_s=10)
    assert summary["held"], (summary, told)
    assert summary["answered"] > 1000
    assert summary["proposed"] >= 3
