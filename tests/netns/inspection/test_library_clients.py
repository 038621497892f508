"""What policies say of connects and of the message log, seen live: real libraries at real servers."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy.lab.processes import wait_for
from tests.evasion.ground import DEVICE, POLICY, STATION, Ground, ground
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

PG, OP, BASIC = 1, 2, 3
EVENTS_WITHIN_S: Final = 10.0
POLLS: Final = 100
EVERY: Final = 10
PATTERN: Final = "04050607"  # bytes 4 to 7 of the server's second data block
MESSAGES: Final = 2 * (POLLS + 1)  # questions and answers, the last of them an exception


@pytest.fixture(scope="module")
def standing() -> Iterator[Ground]:
    """The lab with a gateway, a pymodbus and a python-snap7 server; the station has its kernel's TCP."""
    require("netns")
    require("nfqueue")
    with ground(raw=False) as made:
        made.start_servers(["modbus", "s7comm"])
        yield made


def in_force(standing: Ground, inspection: str) -> None:
    """Put the conduit in force with these lines about its messages."""
    text = POLICY.format(ceiling="enforce", inspection=inspection, reason="libraries")
    body = {"text": text, "name": "libraries", "force": True, "reason": "rehearsal"}
    status, answer = standing.gateway.api("POST", "/v1/policy", body)
    assert status == 200, answer


def station(standing: Ground, what: str, *numbers: int) -> dict[str, Any]:
    """Run the station and return what it saw."""
    argv = [sys.executable, "-m", "tests.netns.inspection.station", what, DEVICE.ip4, *map(str, numbers)]
    said: dict[str, Any] = json.loads(standing.lab.run(STATION.name, argv).stdout)
    return said


def messages(standing: Ground, port: int) -> list[dict[str, Any]]:
    """Return the messages of a client's conversation that the control plane's log has."""
    _, body = standing.gateway.api("GET", "/v1/events?limit=1000")
    return [one for one in body["events"] if "message" in one and port in (one.get("src_port"), one.get("dest_port"))]


def logged(standing: Ground, port: int, count: int) -> list[dict[str, Any]]:
    """Return them once there are so many."""
    wait_for(f"{count} messages in the log", lambda: len(messages(standing, port)) >= count, EVENTS_WITHIN_S)
    return messages(standing, port)


CONNECTS: Final = """\
    operations: [read, diagnose]
    constraints:
      cotp: [{connection_type: [op, basic], rack: 0, slot: 1-2}]
    fail: closed
"""


@pytest.mark.parametrize(
    ("kind", "rack", "slot", "connects"),
    [(OP, 0, 2, True), (BASIC, 0, 1, True), (PG, 0, 2, False), (OP, 0, 3, False), (OP, 1, 2, False)],
)
def test_an_s7_client_connects_as_what_it_may(
    standing: Ground, kind: int, rack: int, slot: int, connects: bool
) -> None:
    """An HMI reads as an operator panel; as a programming device, or to another CPU of the rack, it never gets in."""
    in_force(standing, CONNECTS)
    said = station(standing, "snap7", kind, rack, slot)
    assert said["outcome"] == ("connected" if connects else "refused"), said
    assert said.get("read") == (PATTERN if connects else None)


def test_without_such_a_clause_any_connect_passes(standing: Ground) -> None:
    """Clauses about messages ask nothing of a connect."""
    in_force(standing, "    constraints: {s7comm: [{operation: [read]}]}\n    fail: closed\n")
    assert station(standing, "snap7", PG, 0, 2)["outcome"] == "connected"


def test_a_sample_of_the_messages_is_logged(standing: Ground) -> None:
    """One message in ten of those that pass, counted over questions and answers."""
    in_force(standing, f"    operations: [read]\n    messages: sampled\n    every: {EVERY}\n")
    said = station(standing, "polls", POLLS)
    assert (said["failed"], said["beyond"]) == (0, 2)
    sample = logged(standing, said["port"], MESSAGES // EVERY)
    assert len(sample) == MESSAGES // EVERY
    assert {one["event_type"] for one in sample} == {"message"}
    assert {one["message"]["operation"] for one in sample} == {"read"}
    assert all(one["verdict"] == "accept" for one in sample)


def test_every_message_and_every_exception_is_logged(standing: Ground) -> None:
    """Questions with what they ask for, answers with what they refuse, in their order."""
    in_force(standing, "    operations: [read]\n    messages: full\n")
    said = station(standing, "polls", 3)
    found = sorted(logged(standing, said["port"], 8), key=lambda one: one["timestamp"])
    assert len(found) == 8
    assert [one["message"]["answer"] for one in found] == [False, True] * 4
    asked = [one["message"]["fields"] for one in found if not one["message"]["answer"]]
    assert [fields["address"] for fields in asked] == [0, 1, 2, 60000]
    answered = [one["message"]["fields"] for one in found if one["message"]["answer"]]
    assert [fields.get("exception") for fields in answered] == [None, None, None, 2]
    assert answered[-1]["function"] == 3
