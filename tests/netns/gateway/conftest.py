"""The whole gateway in front of the lab's water works: real bridge, real queue, real Modbus, a far witness."""

from __future__ import annotations

import os
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from deploy.lab.actors import Actors
from deploy.lab.gateway import LabGateway
from deploy.lab.plant import ATTACKER
from deploy.lab.processes import wait_for
from deploy.lab.topology import Lab
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = count()
QUIET_WITHIN_S = 10.0


@contextmanager
def standing_lab() -> Iterator[Lab]:
    """A standing lab without a gateway."""
    require("netns")
    require("nfqueue")
    with Lab(f"g{os.getpid() % 10_000_000}{chr(ord('a') + next(_NUMBERS) % 26)}") as made:
        yield made


@contextmanager
def machines_of(lab: Lab) -> Iterator[Actors]:
    """The plant's machines: both controllers run, the attacker needs no ARP."""
    made = Actors(lab)
    for controller in ("plc-1", "plc-2"):
        made.start_controller(controller)
    made.knows(ATTACKER, "plc-1")
    yield made
    made.end_all()


@contextmanager
def gateway_of(lab: Lab) -> Iterator[LabGateway]:
    """A running conduitd with the example policy: everything may be enforced, the ceiling is monitor."""
    made = LabGateway(lab)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of the test's own."""
    with standing_lab() as made:
        yield made


@pytest.fixture
def actors(lab: Lab) -> Iterator[Actors]:
    """Its machines."""
    with machines_of(lab) as made:
        yield made


@pytest.fixture
def gateway(lab: Lab) -> Iterator[LabGateway]:
    """Its gateway."""
    with gateway_of(lab) as made:
        yield made


def set_stage(gateway: LabGateway, stage: str) -> None:
    """Set the site's ceiling over the socket: starting conduitctl takes seconds in an emulated machine."""
    status, body = gateway.api("PUT", "/v1/stages", {"stage": stage, "force": True, "reason": "rehearsal"})
    assert status == HTTPStatus.OK, body


def closed_books(gateway: LabGateway) -> dict[str, Any]:
    """Return the counters once traffic is quiet: every frame before the queue has found its place."""
    seen: dict[str, Any] = {}

    def settled() -> bool:
        before = gateway.api("GET", "/v1/counters")[1]
        seen.update(gateway.api("GET", "/v1/counters")[1])
        return bool(before["frames_before_queue"] == seen["frames_before_queue"] and seen["unaccounted"] == 0)

    wait_for("the counters to close", settled, QUIET_WITHIN_S)
    return seen
