"""The boundary in time: start, stop, restart, crash and hang in enforce let nothing through and stop nobody."""

from __future__ import annotations

import os
import secrets
import signal
from typing import TYPE_CHECKING, Any

import pytest

from deploy.lab.plant import ATTACKER
from deploy.lab.processes import wait_for
from tests.netns.gateway.conftest import closed_books, set_stage

if TYPE_CHECKING:
    from deploy.lab.actors import Actors, Running
    from deploy.lab.gateway import LabGateway
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns

RATE = 1000  # forbidden frames per second
BACK_WITHIN_S = 15.0


def misses(poller: Running) -> Any:
    """Return how many polls of a station went unanswered."""
    return poller.said()["missed"]


def test_control_case_without_a_gateway_everything_passes(lab: Lab, actors: Actors) -> None:
    """The harness can see a leak: over a plain bridge every numbered frame arrives."""
    lab.plain_bridge()
    run = secrets.token_bytes(8)
    witness = actors.start_witness("plc-1", run, 200, 20)
    sender = actors.start_sender(ATTACKER, "plc-1", run, rate=RATE, count=200)
    sender.wait(20)
    witness.process.wait(20)
    assert witness.said()["distinct"] == 200


def test_forbidden_flow_leaks_nothing_across_start_stop_and_restart(
    lab: Lab, actors: Actors, gateway: LabGateway
) -> None:
    """1,000 forbidden frames a second from before a start until after a restart in enforce: none arrives."""
    set_stage(gateway, "enforce")
    gateway.stop()
    run = secrets.token_bytes(8)
    witness = actors.start_witness("plc-1", run, 1, 60)
    sender = actors.start_sender(ATTACKER, "plc-1", run, rate=RATE, count=60 * RATE)
    gateway.start()
    gateway.stop()
    gateway.start()
    assert gateway.json("stage", "get")["ceiling"]["effective"] == "enforce"
    sender.terminate()
    sender.wait(5)
    seen = witness.end()
    assert seen["seen"] == 0
    assert seen["overrun"] == 0
    assert closed_books(gateway)["dropped"] > 0


@pytest.mark.parametrize("victim", ["gateway.engine", "gateway.control"])
def test_killing_a_process_stops_no_poll_and_opens_nothing(
    lab: Lab, actors: Actors, gateway: LabGateway, victim: str
) -> None:
    """kill -9 of engine or control, three times over: no missed poll, no leaked frame, the books close."""
    set_stage(gateway, "enforce")
    run = secrets.token_bytes(8)
    poller = actors.start_poller("hmi-1", "plc-1")
    witness = actors.start_witness("plc-1", run, 1, 60)
    sender = actors.start_sender(ATTACKER, "plc-1", run, rate=RATE, count=60 * RATE)
    for _ in range(3):
        killed = gateway.kill_child(victim)
        assert killed is not None
        wait_for(f"a new {victim}", lambda dead=killed: set(gateway.child_pids(victim)) - {dead}, BACK_WITHIN_S)
        wait_for("a judging engine", gateway.is_judging, BACK_WITHIN_S)
    assert not actors.write(ATTACKER, "plc-1", 999)
    sender.terminate()
    sender.wait(5)
    assert witness.end()["seen"] == 0
    assert misses(poller) == 0
    poller.end()
    assert closed_books(gateway)["lost"] == 0


def test_a_hung_engine_is_replaced_while_the_plant_runs(actors: Actors, gateway: LabGateway) -> None:
    """A stopped engine process is killed and replaced; the poll goes on within its time-out and the attacker fails."""
    set_stage(gateway, "enforce")
    poller = actors.start_poller("hmi-1", "plc-1")
    (engine,) = gateway.child_pids("gateway.engine")
    os.kill(engine, signal.SIGSTOP)
    wait_for("another engine", lambda: set(gateway.child_pids("gateway.engine")) - {engine}, BACK_WITHIN_S)
    wait_for("a judging engine", gateway.is_judging, BACK_WITHIN_S)
    answered = poller.said()["answered"]
    wait_for("further answered polls", lambda: poller.said()["answered"] > answered + 5, BACK_WITHIN_S)
    assert not actors.write(ATTACKER, "plc-1", 998)
    poller.end()
    closed_books(gateway)


def test_a_policy_swap_under_traffic_loses_and_leaks_nothing(lab: Lab, actors: Actors, gateway: LabGateway) -> None:
    """Ten policy changes under a poll and a forbidden stream: no missed poll, no leaked frame."""
    set_stage(gateway, "enforce")
    run = secrets.token_bytes(8)
    poller = actors.start_poller("hmi-1", "plc-1")
    witness = actors.start_witness("plc-1", run, 1, 60)
    sender = actors.start_sender(ATTACKER, "plc-1", run, rate=RATE, count=60 * RATE)
    text = gateway.policy.read_text()
    for number in range(10):
        status, body = gateway.api("POST", "/v1/policy", {"text": text.replace("site:", f"# {number}\nsite:", 1)})
        assert status == 200, body
    sender.terminate()
    sender.wait(5)
    assert witness.end()["seen"] == 0
    assert misses(poller) == 0
    poller.end()
    assert closed_books(gateway)["lost"] == 0


def test_a_flushed_ruleset_is_put_back(actors: Actors, gateway: LabGateway) -> None:
    """Another program's `nft flush ruleset` is noticed by itself and the boundary stands again."""
    set_stage(gateway, "enforce")
    poller = actors.start_poller("hmi-1", "plc-1")
    gateway.lab.run("gw", ["nft", "flush", "ruleset"])
    wait_for("the ruleset to be back", lambda: "boundary.restored" in gateway.ctl("journal").stdout, BACK_WITHIN_S)
    assert not actors.write(ATTACKER, "plc-1", 997)
    assert actors.register("plc-1") != 997
    assert misses(poller) == 0
    poller.end()


def test_a_port_taken_out_of_the_bridge_comes_back(actors: Actors, gateway: LabGateway) -> None:
    """A port removed from the bridge, and the bridge deleted, are put back without a restart; MACs are pinned again."""
    set_stage(gateway, "enforce")
    for damage in (["ip", "link", "set", "ctl0", "nomaster"], ["ip", "link", "delete", "br-conduit"]):
        gateway.lab.run("gw", damage)
        wait_for("polls to go on", lambda: actors.read("hmi-1", "plc-1") is not None, BACK_WITHIN_S)
        assert not actors.write(ATTACKER, "plc-1", 996)
        pinned = gateway.lab.run("gw", ["bridge", "fdb", "show"]).stdout
        assert pinned.count("sticky") == 10, "every asset of the example stays behind its port"
