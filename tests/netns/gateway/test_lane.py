"""The fast lane with the whole gateway: a permitted stream leaves the engine alone, and any change calls it back."""

from __future__ import annotations

import os
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from deploy.lab.gateway import DEFAULT_POLICY, LabGateway
from deploy.lab.processes import wait_for
from tests.netns.gateway.conftest import closed_books, set_stage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from deploy.lab.actors import Actors
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns

RATE = 500  # frames per second of the permitted stream
SLOW = float(os.environ.get("CONDUIT_SLOW", "1"))
SOON_S = 10.0 * SLOW
STREAM = """
  hmi-streams:
    from: {asset: hmi-1}
    to: {asset: plc-1}
    services: [stream]
    %s
"""
SERVICE = "\nservices:\n  stream: {protocol: udp, ports: [40000]}\n"


def policy(more: str = "log: flow", *, stream: bool = True) -> str:
    """Return the water works' policy in which an HMI may, or may not, stream to a controller."""
    text = DEFAULT_POLICY.read_text()
    head, mark, tail = text.partition("\ndenials:")
    return head + (STREAM % more if stream else "") + SERVICE + mark + tail


@pytest.fixture
def gateway(lab: Lab) -> Iterator[LabGateway]:
    """A gateway that enforces, with the lane on."""
    made = LabGateway(lab, policy(), lane="auto")
    made.start()
    set_stage(made, "enforce")
    yield made
    made.stop()


@pytest.fixture
def stream(actors: Actors, gateway: LabGateway) -> Iterator[subprocess.Popen[bytes]]:
    """A permitted stream that is in the lane."""
    sender = actors.start_sender("hmi-1", "plc-1", secrets.token_bytes(8), rate=RATE, count=10**7, seconds=120 * SLOW)
    wait_for("the stream to take the lane", lambda: counters(gateway)["lane"] > 0, SOON_S)
    yield sender
    sender.terminate()
    sender.wait(10 * SLOW)


def counters(gateway: LabGateway) -> dict[str, Any]:
    """Return the account over the socket."""
    status, body = gateway.api("GET", "/v1/counters")
    assert status == HTTPStatus.OK, body
    return dict(body)


def lane(gateway: LabGateway) -> dict[str, Any]:
    """Return the lane over the socket."""
    status, body = gateway.api("GET", "/v1/lane")
    assert status == HTTPStatus.OK, body
    return dict(body)


def apply(gateway: LabGateway, text: str) -> None:
    """Put a policy in force."""
    status, body = gateway.api("POST", "/v1/policy", {"text": text})
    assert status == HTTPStatus.OK, body


def test_a_permitted_stream_stays_in_the_kernel(actors: Actors, gateway: LabGateway) -> None:
    """Every frame arrives, the engine sees next to none of them, and the books close with the lane in them."""
    run = secrets.token_bytes(8)
    witness = actors.start_witness("plc-1", run, 2000, 60 * SLOW)
    sender = actors.start_sender("hmi-1", "plc-1", run, rate=RATE, count=2000)
    wait_for("the stream to take the lane", lambda: counters(gateway)["lane"] > 0, SOON_S)
    before = counters(gateway)
    (flow,) = lane(gateway)["flows"]
    assert (flow["protocol"], flow["source_port"], flow["destination_port"]) == ("udp", 40000, 40000)
    wait_for("another 500 frames", lambda: counters(gateway)["lane"] > before["lane"] + 500, SOON_S)
    assert counters(gateway)["engine"]["received"] - before["engine"]["received"] < 50
    assert sender.wait(30 * SLOW) == 0
    witness.process.wait(10 * SLOW)
    assert witness.said()["distinct"] == 2000
    books = closed_books(gateway)
    assert books["lane"] > 500
    assert books["frames_before_queue"] == books["judged_accepted"] + books["dropped"] + books["lane"] + books["static"]


def test_a_stage_change_has_the_stream_judged_again(gateway: LabGateway, stream: object) -> None:
    """Each change of a stage, whatever its object, is a new generation, and the engine sees the flow again."""
    objects: tuple[dict[str, Any], ...] = ({}, {"conduit": "hmi-streams"}, {"pair": ["enterprise", "dmz"]})
    for place in objects:
        before, generation = counters(gateway), lane(gateway)["generation"]
        status, body = gateway.api("PUT", "/v1/stages", {"stage": "alert", **place})
        assert status == HTTPStatus.OK, body
        assert lane(gateway)["generation"] > generation
        laned = before["engine"]["laned"]
        wait_for("the engine to judge it", lambda laned=laned: counters(gateway)["engine"]["laned"] > laned, SOON_S)
        taken = counters(gateway)["lane"]
        wait_for("the lane to have it again", lambda taken=taken: counters(gateway)["lane"] > taken, SOON_S)


def test_a_policy_without_the_conduit_ends_the_stream(gateway: LabGateway, stream: object) -> None:
    """Once the answer is there no frame takes the lane; the engine drops them all."""
    apply(gateway, policy(stream=False))
    before = counters(gateway)
    wait_for("a hundred dropped", lambda: counters(gateway)["dropped"] > before["dropped"] + 100, SOON_S)
    assert counters(gateway)["lane"] == before["lane"]
    assert lane(gateway)["flows"] == []


@pytest.mark.parametrize("more", ["log: all", "fail: closed"])
def test_some_conduits_never_use_the_lane(gateway: LabGateway, stream: object, more: str) -> None:
    """Every frame is judged where each is to be logged, or where nothing may pass unjudged; counts are exact again."""
    apply(gateway, policy(more))
    before = counters(gateway)
    name = "hmi-streams"
    at_start = before["by_conduit"][name]["accepted"]
    wait_for("judged frames", lambda: counters(gateway)["by_conduit"][name]["accepted"] > at_start + 100, SOON_S)
    assert counters(gateway)["lane"] == before["lane"]


def test_quarantine_ends_the_stream(gateway: LabGateway, stream: object) -> None:
    """The guard drops frames that would take the lane; released, the stream finds its way back into it."""
    status, body = gateway.api("POST", "/v1/quarantine", {"target": "hmi-1", "reason": "test"})
    assert status == HTTPStatus.OK, body
    before = counters(gateway)
    wait_for("quarantined frames", lambda: counters(gateway)["quarantined"] > before["quarantined"] + 100, SOON_S)
    assert counters(gateway)["lane"] == before["lane"]
    assert gateway.api("DELETE", "/v1/quarantine/hmi-1")[0] == HTTPStatus.OK
    wait_for("the lane to have it again", lambda: counters(gateway)["lane"] > before["lane"], SOON_S)


def test_a_new_control_begins_a_new_generation(gateway: LabGateway, stream: object) -> None:
    """After kill -9 of control the lane goes on; its successor, which cannot know the past, has all judged again."""
    generation = lane(gateway)["generation"]
    killed = gateway.kill_child("gateway.control")
    wait_for("another control", lambda: set(gateway.child_pids("gateway.control")) - {killed}, SOON_S)
    wait_for("a judging engine", gateway.is_judging, SOON_S)
    assert lane(gateway)["generation"] > generation
    taken = counters(gateway)["lane"]
    wait_for("the lane to have it again", lambda: counters(gateway)["lane"] > taken, SOON_S)


def test_a_flushed_ruleset_opens_a_new_lane(gateway: LabGateway, stream: object) -> None:
    """When another program flushes nftables, the lane comes back with the boundary, at a new generation."""
    generation = lane(gateway)["generation"]
    gateway.lab.run("gw", ["nft", "flush", "ruleset"])
    wait_for("a new generation", lambda: lane(gateway)["generation"] > generation, SOON_S)
    wait_for("the lane to have it again", lambda: lane(gateway)["flows"], SOON_S)


def test_a_planned_stop_closes_the_lane(gateway: LabGateway, stream: object) -> None:
    """A stopped gateway leaves the stream to the kernel's static rules, not to a lane that nobody can close."""
    gateway.stop()
    listed = gateway.lab.run("gw", ["nft", "list", "map", "bridge", "conduit", "lane_generation"]).stdout
    assert "elements" not in listed
    gateway.start()
    wait_for("the lane to have it again", lambda: lane(gateway)["flows"], SOON_S)
