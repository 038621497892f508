"""`explain` says what the conduit that decides permits inside, in the policy's own words, and judges a message."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.control.explain_file import explain_policy
from gateway.errors import ConfigError
from rules.compile import compile_text

POLICY = """
version: 1
site: {name: works, ceiling: enforce, default_stage: enforce}
zones:
  hall: {kind: supervisory, ports: [p0], prefixes: [10.1.0.0/16]}
  plant: {kind: control, ports: [p1], prefixes: [10.2.0.0/16]}
services:
  enip-udp: {protocol: udp, ports: [44818], inspect: enip}
conduits:
  reads:
    stage: enforce
    from: {zone: hall}
    to: {zone: plant}
    services: [modbus]
    operations: [read, write]
    constraints: {modbus: [{operation: read, address: [0-9, 40]}, {unit: 1, function: 6, step: 5, rate: 1/s}, {}]}
    messages: full
    refuse: answer
  names:
    from: {zone: hall}
    to: {zone: plant}
    services: [enip-udp]
    operations: [diagnose]
    stage: enforce
  plain: {from: {zone: hall}, to: {zone: plant}, services: [https]}
"""


READ = "0001 0000 0006 01 03 0005 0001"
WRITE, STOP = "0001 0000 0006 01 06 0028 00c8", "0001 0000 0002 01 63"
IDENTITY = "6300" + 22 * "00"


def explained(service: str, message: str | None = None, text: str = POLICY) -> dict[str, Any]:
    """Return what is said of a service from the hall to the plant, and of a message."""
    question = {"source": "10.1.0.5", "destination": "10.2.0.5", "service": service}
    return explain_policy(compile_text(text), question | ({} if message is None else {"message": message}))


def asked(service: str) -> list[str]:
    """Return what is permitted inside."""
    inside = explained(service)["inside"]
    assert isinstance(inside, list)
    return inside


def test_what_an_inspected_conduit_permits() -> None:
    """Operations first, then one line for each clause, and how messages are logged and refused."""
    assert asked("modbus") == [
        "operations: read, write",
        "modbus: operation read, address 0-9|40",
        "modbus: rate 1/s, unit 1, function 6, step 5",
        "modbus: anything",
        "messages logged: full",
        "refused by: answer",
    ]


def test_what_is_not_inspected() -> None:
    """Nothing is said of a conduit whose messages nobody reads, nor where no conduit decides."""
    assert asked("https") == []
    assert asked("ssh") == []


@pytest.mark.parametrize("service", ["modbus", "enip-udp"])
def test_an_accept_says_that_messages_are_judged(service: str) -> None:
    """An opening that passes is not the whole answer where somebody looks inside; a datagram has no empty opening."""
    said = explained(service)
    assert (said["verdict"], said["reason"]) == ("accept", "POLICY_CONDUIT")
    assert said["inside"]
    assert "each message is judged" in said["note"]


@pytest.mark.parametrize(
    ("service", "message", "verdict", "reason", "asks"),
    [
        ("modbus", READ, "accept", "FLOW_ESTABLISHED", ["modbus: operation read, unit 1, function 3, address 5,"]),
        ("tcp/502", READ[:12], "accept", "FLOW_ESTABLISHED", []),
        ("modbus", READ + STOP, "drop", "MESSAGE_OPERATION", ["modbus: operation read,", "modbus: operation other,"]),
        ("modbus", "1603 0100", "drop", "MESSAGE_PROTOCOL", []),
        ("enip-udp", IDENTITY, "accept", "POLICY_CONDUIT", ["enip: operation diagnose, command 99"]),
        ("enip-udp", IDENTITY[:20], "drop", "MESSAGE_MALFORMED", []),
        ("http", READ, "drop", "POLICY_NO_CONDUIT", []),
    ],
)
def test_a_message_is_judged(service: str, message: str, verdict: str, reason: str, asks: list[str]) -> None:
    """The verdict is that of the conversation up to the message; what it asks for is told in the policy's words."""
    said = explained(service, message)
    assert (said["verdict"], said["reason"]) == (verdict, reason)
    assert len(said["asks"]) == len(asks)
    assert all(line.startswith(start) for line, start in zip(said["asks"], asks, strict=True))


def test_what_can_not_be_known_is_said() -> None:
    """A step needs the last value, a rate is asked with its whole allowance, half a message may go on otherwise."""
    stepped = POLICY.replace(", {}]", "]")
    said = explained("modbus", WRITE, stepped)
    assert (said["verdict"], said["reason"]) == ("drop", "PROCESS_STEP")
    assert "no last value is known" in said["note"]
    assert "whole allowance" in explained("modbus", WRITE, stepped.replace("step: 5, ", ""))["note"]
    assert "not complete" in explained("modbus", READ[:12])["note"]
    assert "nobody reads" in explained("https", READ)["note"]
    assert explained("http", READ)["note"] is None


@pytest.mark.parametrize(("service", "message"), [("modbus", "xyz"), ("modbus", ":"), ("icmp/8", READ)])
def test_what_is_no_message_is_no_question(service: str, message: str) -> None:
    with pytest.raises(ConfigError):
        explained(service, message)
