"""The closed base lets nothing across the gateway's bridge, spares what it is told to, and gives way to a policy."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from deploy.lab import processes
from deploy.lab.plant import ATTACKER
from deploy.lab.topology import GATEWAY, Lab
from fastpath.abi import Form, Stage
from rules.compile import compile_text
from rules.static import effective_stages, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.lab.actors import Actors

pytestmark = pytest.mark.netns

BASE = processes.PROJECT_ROOT / "deploy" / "nftables" / "base.nft"
POLICY = processes.PROJECT_ROOT / "rules" / "examples" / "water-works.yaml"
FRAMES = 200
WITHIN_S = 20.0


@pytest.fixture
def guarded(plain_lab: Lab) -> Iterator[Lab]:
    """A lab whose gateway namespace has the closed base loaded, twice."""
    for _ in range(2):
        plain_lab.run(GATEWAY, ["nft", "-f", str(BASE)])
    yield plain_lab
    plain_lab.run(GATEWAY, ["nft", "delete", "table", "bridge", "conduit"])


def arrivals(actors: Actors, source: str, target: str) -> int:
    """Return how many of `FRAMES` frames arrive."""
    run = secrets.token_bytes(8)
    witness = actors.start_witness(target, run, FRAMES, seconds=WITHIN_S)
    sender = actors.start_sender(source, target, run, rate=2000, count=FRAMES)
    assert sender.wait(WITHIN_S) == 0
    return int(witness.end()["seen"])


def test_base_is_closed(guarded: Lab, actors: Actors) -> None:
    """With the base loaded no frame crosses between zones; without it every frame does."""
    assert guarded.is_up
    assert arrivals(actors, "hmi-1", "plc-1") == 0
    assert arrivals(actors, ATTACKER, "plc-1") == 0


def test_without_base_is_open(actors: Actors) -> None:
    """The control case: with no ruleset the same frames arrive."""
    assert arrivals(actors, ATTACKER, "plc-1") == FRAMES


def test_spared_ports_pass(guarded: Lab, actors: Actors) -> None:
    """Ports that the administrator spares go on forwarding among themselves, and only among themselves."""
    guarded.run(GATEWAY, ["nft", "add", "element", "bridge", "conduit", "spared_ports", "{ ent0, ctl0 }"])
    assert arrivals(actors, ATTACKER, "plc-1") == FRAMES
    assert arrivals(actors, "hmi-1", "plc-1") == 0


def test_policy_takes_over(guarded: Lab, actors: Actors) -> None:
    """A policy's ruleset loads over the base and decides: permitted traffic passes, the attacker's does not."""
    lowered = compile_text(POLICY.read_text(), POLICY.name, {}).lowered
    stages = effective_stages(lowered, Stage.ENFORCE)
    script = guarded.directory / "policy.nft"
    script.write_text(render(lowered, form=Form.BRNF, stages=stages))
    guarded.run(GATEWAY, ["nft", "-f", str(script)])
    controller = actors.start_controller("plc-1")
    assert controller.process.poll() is None
    assert actors.write("hmi-1", "plc-1", 1234)
    assert actors.register("plc-1") == 1234
    assert arrivals(actors, ATTACKER, "plc-1") == 0
    assert not actors.write(ATTACKER, "plc-1", 6666)
    assert actors.register("plc-1") == 1234
