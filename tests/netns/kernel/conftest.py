"""The wire of these tests, with the hand-written plant loaded; one per module, removed also on failure.

The ruleset is that of the form of interception which this kernel would be run with: native where it can queue frames
of a bridge, br_netfilter elsewhere. With no reader of the queue every frame is left to `static`.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from gateway.kernel import interception
from gateway.kernel.lane import Lane
from gateway.kernel.probe import probe
from rules.static import render
from tests.netns.kernel.frames import MACS
from tests.netns.kernel.lane_flows import FIRST, numbers
from tests.netns.kernel.plant import plant
from tests.netns.kernel.reader import Judge
from tests.netns.kernel.wire import BRIDGE, PORTS, QUEUE, Wire, inside
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath.abi import Form

_numbers = itertools.count()


@pytest.fixture(scope="session")
def form() -> Form:
    """The form of interception that this kernel would be run with."""
    require("netns")
    return probe().require_form("auto")


@pytest.fixture(scope="session")
def script(form: Form) -> str:
    """The plant's ruleset in that form."""
    return render(plant(PORTS, vlan=100), form=form, first_queue=QUEUE)


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
def standing_wire(bare_wire: Wire, script: str) -> Wire:
    """The bridge stands, `static` judges everything, and each host's MAC is bound to its port."""
    bare_wire.load(script)
    bare_wire.attach({mac: f"p{port}" for port, mac in MACS.items()})
    return bare_wire


@pytest.fixture
def wire(standing_wire: Wire, script: str) -> Wire:
    """The standing wire with the plant's ruleset as the policy's text has it."""
    standing_wire.load(script)
    return standing_wire


@pytest.fixture
def laned(wire: Wire, form: Form) -> Wire:
    """The wire with the queue rule and the lane standing."""
    require("nfqueue")
    wire.load(render(plant(PORTS, vlan=100), form=form, first_queue=QUEUE, lane=True))
    with inside(wire.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
    return wire


@pytest.fixture
def lane(laned: Wire) -> Iterator[Lane]:
    """The lane, open at the first generation, with no flow in it."""
    made = Lane()
    with inside(laned.gateway):
        made.open_at(FIRST, numbers(), afresh=True)
    yield made
    with inside(laned.gateway):
        made.close()
        made.forget_socket()


@pytest.fixture
def judge(laned: Wire) -> Iterator[Judge]:
    """The engine: each frame it sees may stay in the kernel."""
    reader = Judge(laned)
    reader.mark = FIRST
    yield reader
    reader.close()
