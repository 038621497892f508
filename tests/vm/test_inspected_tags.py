"""Tagged and wrapped frames at an inspected conduit: only the native form of interception shows them to the engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.evasion.cases import cases
from tests.evasion.ground import ground
from tests.evasion.matrix import carried_out, control, inspection
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.evasion.trial import Trial

pytestmark = pytest.mark.vm

OPERATIONS: Final = ("modbus 6 write register", "modbus 3 read")  # every server more takes a minute to start in here


@pytest.fixture(scope="module")
def trials(seed: int) -> Iterator[tuple[Trial, Trial]]:
    """The same cases without and with inspection."""
    if os.environ.get("CONDUIT_RING") != "vm":
        pytest.skip("runs in the virtual machine: make test-vm")
    require("netns")
    chosen = [one for one in cases(seed, ring="vm") if one.operation.name in OPERATIONS]
    with ground() as standing:
        yield control(standing, chosen), inspection(standing, chosen)


def test_some_tags_reach_the_device_without_inspection(trials: tuple[Trial, Trial]) -> None:
    """Linux takes priority tags off, one or several: without inspection the write is carried out."""
    assert carried_out(trials[0].findings)


def test_no_tag_hides_a_write(trials: tuple[Trial, Trial]) -> None:
    """Neither priority tags nor stacked ones nor SNAP bring a forbidden write to the device."""
    assert trials[1].deeds == {}
