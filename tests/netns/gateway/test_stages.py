"""Stages in front of a real controller: its own registers say what got through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.lab.plant import ATTACKER
from tests.netns.gateway.conftest import closed_books, gateway_of, machines_of, set_stage, standing_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.lab.actors import Actors
    from deploy.lab.gateway import LabGateway
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab for this file: nothing in it outlives a test but stages, which each test sets first."""
    with standing_lab() as made:
        yield made


@pytest.fixture(scope="module")
def actors(lab: Lab) -> Iterator[Actors]:
    """Its machines."""
    with machines_of(lab) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(lab: Lab) -> Iterator[LabGateway]:
    """Its gateway."""
    with gateway_of(lab) as made:
        yield made


def test_attacker_writes_in_monitor_and_alert_and_never_in_enforce(gateway: LabGateway, actors: Actors) -> None:
    """The same write reaches the register in monitor and alert, is told as would-drop, and dies in enforce."""
    set_stage(gateway, "monitor")
    assert actors.write(ATTACKER, "plc-1", 1111)
    assert actors.register("plc-1") == 1111
    assert gateway.api("GET", "/v1/counters")[1]["would_drop"] > 0

    set_stage(gateway, "alert")
    assert actors.write(ATTACKER, "plc-1", 1222)
    assert actors.register("plc-1") == 1222

    set_stage(gateway, "enforce")
    assert not actors.write(ATTACKER, "plc-1", 1333)
    assert actors.read("hmi-1", "plc-1") == 1222, "a step from here is known only when somebody has read it"
    assert actors.write("hmi-1", "plc-1", 1444), "the permitted station still writes"
    assert actors.register("plc-1") == 1444

    books = closed_books(gateway)
    assert books["by_reason"]["POLICY_NO_CONDUIT"]["dropped"] > 0
    assert books["dropped"] > 0


def test_a_borrowed_address_does_not_pass(gateway: LabGateway, actors: Actors) -> None:
    """A station's address used from the enterprise zone reaches no register, with or without its MAC."""
    set_stage(gateway, "enforce")
    for with_mac in (False, True):
        before = actors.writes("plc-1")
        assert actors.spoof(ATTACKER, "hmi-1", "plc-1", 666, with_mac=with_mac) > 0
        assert actors.writes("plc-1") == before
    assert closed_books(gateway)["by_reason"]["IDENTITY_SOURCE_ZONE"]["dropped"] > 0


def test_quarantine_ends_a_live_conversation_and_release_restores_it(gateway: LabGateway, actors: Actors) -> None:
    """A permitted station in quarantine loses its controller at once, also in monitor, and gets it back."""
    set_stage(gateway, "monitor")
    assert actors.write("hmi-2", "plc-2", 5)
    gateway.ctl("quarantine", "add", "hmi-2", "--reason", "test")
    assert not actors.write("hmi-2", "plc-2", 6)
    assert actors.register("plc-2") == 5
    assert actors.write("hmi-1", "plc-1", 7), "others are not touched"
    gateway.ctl("quarantine", "release", "hmi-2")
    assert actors.write("hmi-2", "plc-2", 8)
    assert actors.register("plc-2") == 8
