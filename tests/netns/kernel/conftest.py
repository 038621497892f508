"""The wire of these tests, with the hand-written plant loaded; one per module, removed also on failure."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from fastpath.abi import Form
from rules.static import render
from tests.netns.kernel.frames import MACS
from tests.netns.kernel.plant import plant
from tests.netns.kernel.wire import PORTS, Wire
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count()


@pytest.fixture(scope="module")
def bare_wire() -> Iterator[Wire]:
    """Cables and namespaces, no bridge and no ruleset."""
    require("netns")
    wire = Wire(f"kern{os.getpid()}x{next(_numbers)}")
    try:
        wire.build()
        yield wire
    finally:
        wire.remove()


@pytest.fixture(scope="module")
def standing_wire(bare_wire: Wire) -> Wire:
    """The bridge stands, `static` judges everything, and each host's MAC is bound to its port."""
    bare_wire.load(render(plant(PORTS, vlan=100), form=Form.BRNF))
    bare_wire.attach({mac: f"p{port}" for port, mac in MACS.items()})
    return bare_wire


@pytest.fixture
def wire(standing_wire: Wire) -> Wire:
    """The standing wire with the plant's ruleset as the policy's text has it."""
    standing_wire.load(render(plant(PORTS, vlan=100), form=Form.BRNF))
    return standing_wire
