"""A control plane behind a scripted keeper and a recording kernel; no privileges needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.control.plant import ROOT, ControlRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def water_works() -> str:
    """The example policy's text."""
    return (ROOT / "rules" / "examples" / "water-works.yaml").read_text()


@pytest.fixture
def other(water_works: str) -> str:
    """A policy that differs from the example: another ceiling, and one conduit less open."""
    return water_works.replace("ceiling: monitor", "ceiling: alert")


@pytest.fixture
def rig(tmp_path: Path, water_works: str) -> Iterator[ControlRig]:
    """A running control plane with the example policy in force."""
    made = ControlRig(tmp_path, water_works)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, water_works: str) -> Iterator[ControlRig]:
    """The same, shared by the tests of a module that leave everything as it is."""
    made = ControlRig(tmp_path_factory.mktemp("calm"), water_works)
    try:
        made.start()
        yield made
    finally:
        made.stop()
