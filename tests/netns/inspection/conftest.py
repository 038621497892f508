"""Real stations that poll real devices through a gateway to which things happen."""

from __future__ import annotations

import os
import sys
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest

from bench.upheaval import WITHIN_S, Upheaval
from deploy.lab.processes import read_json, wait_for
from tests.evasion.ground import DEVICE, STATION, ground
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTCOME_WITHIN_S: Final = 60.0
# What becomes of a half message that is not to be completed; devices that waited for it too long end it themselves.
REFUSED: Final = {"reset", "end"}
_NUMBERS = count()


@pytest.fixture(scope="module")
def plant() -> Iterator[Upheaval]:
    """The lab with an enforcing gateway and the three servers."""
    require("netns")
    require("nfqueue")
    with ground(raw=False) as standing:
        standing.start_servers()
        yield Upheaval(standing)


@pytest.fixture
def going(plant: Upheaval) -> Iterator[Upheaval]:
    """The plant, whose servers have not been written to; stations end with the test."""
    if plant.done():
        plant.standing.start_servers()
    yield plant
    plant.end()
    plant.release()
    plant.stage("enforce")


class Standing:
    """Conversations that stand still until they are told to go on."""

    def __init__(self, going: Upheaval, what: str, *words: str) -> None:
        self._out = going.lab.directory / f"{what}-{next(_NUMBERS)}"
        self._go = self._out.with_suffix(".go")
        argv = [sys.executable, "-m", "tests.netns.inspection.conversations", what, DEVICE.ip4]
        with self._out.with_suffix(".log").open("wb") as log:
            self._process = going.lab.start(
                STATION.name, [*argv, *map(os.fspath, (self._out, self._go)), *words], log=log
            )
        wait_for(f"the {what} to stand still: {self._log}", self._out.with_suffix(".ready").exists, WITHIN_S)

    def _log(self) -> str:
        return self._out.with_suffix(".log").read_text(errors="replace")

    def tell(self) -> None:
        """Let them go on."""
        self._go.touch()

    def outcomes(self) -> dict[str, list[str]]:
        """Return what became of them, by what they were."""
        wait_for("the outcomes", self._out.exists, OUTCOME_WITHIN_S)
        self._process.wait(WITHIN_S)
        found: dict[str, list[str]] = {}
        for name, outcome in read_json(self._out):
            found.setdefault(name, []).append(outcome)
        return found


def outcomes(standing: Standing) -> set[str]:
    """Return all that became of any of them."""
    return {outcome for some in standing.outcomes().values() for outcome in some}
