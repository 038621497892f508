"""`explain` says what the conduit that decides permits inside, in the policy's own words."""

from __future__ import annotations

from gateway.control.explain_file import explain_policy
from rules.compile import compile_text

POLICY = """
version: 1
site: {name: works}
zones:
  hall: {kind: supervisory, ports: [p0], prefixes: [10.1.0.0/16]}
  plant: {kind: control, ports: [p1], prefixes: [10.2.0.0/16]}
conduits:
  reads:
    from: {zone: hall}
    to: {zone: plant}
    services: [modbus]
    operations: [read, write]
    constraints: {modbus: [{operation: read, address: [0-9, 40]}, {function: 6, step: 5, rate: 1/s}, {}]}
    messages: full
    refuse: answer
  plain: {from: {zone: hall}, to: {zone: plant}, services: [https]}
"""


def asked(service: str) -> list[str]:
    """Return what is said of a service from the hall to the plant."""
    question = {"source": "10.1.0.5", "destination": "10.2.0.5", "service": service}
    inside = explain_policy(compile_text(POLICY), question)["inside"]
    assert isinstance(inside, list)
    return inside


def test_what_an_inspected_conduit_permits() -> None:
    """Operations first, then one line for each clause, and how messages are logged and refused."""
    assert asked("modbus") == [
        "operations: read, write",
        "modbus: operation read, address 0-9|40",
        "modbus: rate 1/s, function 6, step 5",
        "modbus: anything",
        "messages logged: full",
        "refused by: answer",
    ]


def test_what_is_not_inspected() -> None:
    """Nothing is said of a conduit whose messages nobody reads, nor where no conduit decides."""
    assert asked("https") == []
    assert asked("ssh") == []
