"""Limits, sentence by sentence of docs/reference/semantics.md; the property ring compares with the twin."""

from __future__ import annotations

from typing import Any

import pytest

from fastpath.abi import Reason, Stage, Verdict
from fastpath.judge import validate_image
from rules import state
from rules.image import build_image
from rules.records import LimitRecord
from tests.support import wire
from tests.support.gate import CTL, HMI, PLC, SUP, Gate
from tests.support.plain import address
from tests.support.twin_frame import TCP, UDP
from tests.unit.rules.building import lowered_of

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
STATION, CONTROLLER = address("10.1.0.1"), address("10.2.0.1")
SERVICES = {"probe": {"any_of": [{"protocol": "tcp", "ports": [502]}, {"protocol": "udp", "ports": [502]}]}}
BACK = {
    "in_ifindex": CTL,
    "out_ifindex": SUP,
    "source_mac": bytes.fromhex(PLC.replace(":", "")),
    "destination_mac": bytes.fromhex(HMI.replace(":", "")),
}


def sections(limit: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the policy's sections with one conduit of that limit, open to the whole zone."""
    conduit = {"from": {"zone": "supervisory"}, "to": {"asset": "plc"}, "services": ["probe"], "limit": limit}
    return {"services": SERVICES, "conduits": {"polls": conduit | more}}


def udp(port: int = 1000, source: str = "10.1.0.1") -> bytes:
    """Return a request."""
    here = address(source)
    return wire.ip(here, CONTROLLER, UDP, wire.udp(here, CONTROLLER, (port, 502), b"x"))


def tcp(flags: int, port: int = 1000) -> bytes:
    """Return a segment from the station."""
    return wire.ip(STATION, CONTROLLER, TCP, wire.tcp(STATION, CONTROLLER, (port, 502), flags, b""))


def answer(protocol: int = UDP, port: int = 1000) -> bytes:
    """Return the controller's answer."""
    ports = (502, port)
    body = (
        wire.udp(CONTROLLER, STATION, ports, b"x")
        if protocol == UDP
        else wire.tcp(CONTROLLER, STATION, ports, wire.ACK, b"")
    )
    return wire.ip(CONTROLLER, STATION, protocol, body)


def reasons(gate: Gate, packets: list[bytes], at: int = BEGIN, **more: Any) -> list[Reason]:
    """Judge packets at one moment."""
    return [gate(packet, time_ns=at, **more).reason for packet in packets]


def test_a_burst_passes_and_then_the_rate() -> None:
    """Three at once, then one every 100 ms and not a nanosecond earlier."""
    gate = Gate(**sections({"packets": "10/s burst 3"}))
    assert reasons(gate, [udp()] * 5)[2:] == [Reason.FLOW_ESTABLISHED, Reason.LIMIT_PACKETS, Reason.LIMIT_PACKETS]
    tenth = SECOND // 10
    assert reasons(gate, [udp()], BEGIN + tenth - 1) == [Reason.LIMIT_PACKETS]
    assert reasons(gate, [udp()] * 2, BEGIN + tenth) == [Reason.FLOW_ESTABLISHED, Reason.LIMIT_PACKETS]
    full = reasons(gate, [udp()] * 4, BEGIN + 60 * SECOND)
    assert full == [Reason.FLOW_ESTABLISHED] * 3 + [Reason.LIMIT_PACKETS]


def test_answers_are_not_counted() -> None:
    """The responder may say whatever it likes, and uses up nothing."""
    gate = Gate(**sections({"packets": "1/min burst 2"}))
    assert reasons(gate, [udp()])[0] is Reason.POLICY_CONDUIT
    assert set(reasons(gate, [answer()] * 50, **BACK)) == {Reason.FLOW_ESTABLISHED}
    assert reasons(gate, [udp()] * 2) == [Reason.FLOW_ESTABLISHED, Reason.LIMIT_PACKETS]


def test_a_refused_flow_is_not_remembered_and_a_passing_one_is() -> None:
    """In enforce the answer to a dropped request finds no flow; in monitor both pass."""
    gate = Gate(**sections({"new_flows": "1/min"}))
    assert reasons(gate, [udp(1), udp(2)]) == [Reason.POLICY_CONDUIT, Reason.LIMIT_FLOWS]
    assert reasons(gate, [answer(port=2)], **BACK) == [Reason.POLICY_NO_CONDUIT]
    state.set_conduit(gate.state, 0, stage=Stage.MONITOR)
    over = gate(udp(3), time_ns=BEGIN)
    assert (over.reason, over.verdict, over.policy_verdict) == (Reason.LIMIT_FLOWS, Verdict.ACCEPT, Verdict.DROP)
    assert reasons(gate, [answer(port=3)], **BACK) == [Reason.FLOW_ESTABLISHED]


def test_what_counts_as_a_new_flow() -> None:
    """Every opening segment, also a repeated one; never mid-stream TCP, from either side."""
    gate = Gate(**sections({"new_flows": "1/min"}))
    assert reasons(gate, [tcp(wire.ACK, port) for port in range(1, 30)]) == [Reason.FLOW_PICKUP] * 29
    assert reasons(gate, [answer(TCP, 77)], **BACK) == [Reason.FLOW_PICKUP]
    again = [tcp(wire.SYN), tcp(wire.ACK), tcp(wire.SYN)]
    assert reasons(gate, again) == [Reason.POLICY_CONDUIT, Reason.FLOW_ESTABLISHED, Reason.LIMIT_FLOWS]


def test_each_source_has_its_own_and_a_storm_leaves_the_shared_alone() -> None:
    """One source over its limit takes nothing from the conduit's; a flood of openings takes no packets."""
    limit = {"packets": "1/min burst 6", "new_flows": "1/min burst 3", "per_source": {"packets": "1/min burst 2"}}
    gate = Gate(**sections(limit))
    storm = reasons(gate, [udp(1, "10.1.0.7")] * 40)
    assert storm == [Reason.POLICY_CONDUIT, Reason.FLOW_ESTABLISHED] + [Reason.LIMIT_SOURCE] * 38
    assert reasons(gate, [udp(1, "10.1.0.8")] * 3)[2] is Reason.LIMIT_SOURCE
    assert reasons(gate, [udp(1), udp(2), udp(1)]) == [
        Reason.POLICY_CONDUIT,
        Reason.LIMIT_FLOWS,
        Reason.LIMIT_SOURCE,
    ]


def test_a_spoof_uses_up_nothing() -> None:
    """What fails the identity checks is not counted against whom it claims to be."""
    gate = Gate(**sections({"packets": "1/min", "per_source": {"packets": "1/min"}}))
    assert set(reasons(gate, [udp()] * 20, source_mac=bytes(5) + b"\7")) == {Reason.IDENTITY_SOURCE_MAC}
    assert reasons(gate, [udp()]) == [Reason.POLICY_CONDUIT]


def test_invented_sources_bring_no_limit_on_anybody() -> None:
    """60,000 invented addresses: a listed source that keeps its limit is never refused by it."""
    gate = Gate(**sections({"per_source": {"packets": "10/s burst 2", "new_flows": "10/s burst 2"}}))
    for number in range(60_000):
        found = gate(udp(1, f"10.1.{1 + number // 250}.{number % 250}"), time_ns=BEGIN + number * 20_000)
        assert found.reason is not Reason.LIMIT_SOURCE
        if number % 5_000 == 0:
            assert gate(udp(), time_ns=BEGIN + number * 20_000).policy_verdict is Verdict.ACCEPT


def test_a_swap_fills_no_bucket() -> None:
    """Neither the same policy again nor one with another limit; a smaller burst counts from what was used."""
    gate = Gate(**sections({"packets": "1/min burst 3"}))
    assert reasons(gate, [udp()] * 4)[-1] is Reason.LIMIT_PACKETS
    gate.swap(**sections({"packets": "1/min burst 3"}))
    assert reasons(gate, [udp()]) == [Reason.LIMIT_PACKETS]
    gate.swap(**sections({"packets": "1/min burst 5"}))
    assert reasons(gate, [udp()] * 3)[1:] == [Reason.FLOW_ESTABLISHED, Reason.LIMIT_PACKETS]
    gate.swap(**sections({"packets": "1/s burst 1"}))
    assert reasons(gate, [udp()]) == [Reason.LIMIT_PACKETS]
    assert reasons(gate, [udp()], BEGIN + SECOND) == [Reason.FLOW_ESTABLISHED]


def test_buckets_belong_to_the_conduit_by_name() -> None:
    """Another conduit in the place of a removed one begins afresh; a removed one that comes back has its own again."""
    limit = {"packets": "1/min burst 3", "per_source": {"packets": "1/min burst 2"}}
    first = sections(limit)
    gate = Gate(**first)
    assert reasons(gate, [udp()] * 3)[-1] is Reason.LIMIT_SOURCE
    for name in ("second", "third"):
        gate.swap(**first | {"conduits": {name: first["conduits"]["polls"]}})
        assert reasons(gate, [udp()] * 3)[1:] == [Reason.FLOW_ESTABLISHED, Reason.LIMIT_SOURCE]
    gate.swap(**first)
    assert reasons(gate, [udp()]) == [Reason.LIMIT_SOURCE]


@pytest.mark.parametrize("back", [SECOND // 2, 3600 * SECOND, BEGIN - 1])
def test_a_clock_set_back_blocks_nobody_for_long(back: int) -> None:
    """By however much: after an interval and at most a second, the rate goes on."""
    gate = Gate(**sections({"packets": "10/s burst 10"}))
    assert reasons(gate, [udp()] * 11)[-1] is Reason.LIMIT_PACKETS
    now = BEGIN - back
    reasons(gate, [udp()], now)
    passed = [gate(udp(), time_ns=now + step * SECOND // 10).policy_verdict for step in range(1, 31)]
    assert passed.count(Verdict.ACCEPT) >= 19
    assert passed[11:] == [Verdict.ACCEPT] * 19


def test_a_limit_that_contradicts_itself_is_no_image() -> None:
    """A burst below one interval, a time beyond the clock, and an index out of range are refused before use."""
    lowered = lowered_of(**sections({"packets": "10/s"}))
    good = lowered.conduits[0]
    for wrong in (LimitRecord(packet_interval_ns=5, packet_burst_ns=4), LimitRecord(source_flow_burst_ns=1 << 63)):
        object.__setattr__(good, "limit", wrong)
        with pytest.raises(ValueError, match="limit 0"):
            validate_image(build_image(lowered, 1))
