"""What the engine remembers of a conversation: fair when memory is short, and worth nothing after a change."""

from __future__ import annotations

import os
import random
import struct
from dataclasses import replace

import pytest

from fastpath import abi
from fastpath.abi import Reason
from fastpath.worker import Worker
from gateway import segments
from gateway.segments import SegmentKind, attach
from rules.compile import compile_text
from tests.support.judging import Engine
from tests.support.plain import Address, PlainPolicy
from tests.support.policies import DrawnPolicy, policy_text
from tests.vectors.plant import (
    ACK,
    OFFICE4,
    PLC4,
    POLICY,
    ROGUE,
    SYN,
    SYN_ACK,
    UNLISTED4,
    tcp,
    to_office,
    to_plant,
    udp,
)

PORTS = (4000, 502)
HELLO = to_plant(udp(OFFICE4, PLC4, (47808, 47808)))
REPLY = to_office(udp(PLC4, OFFICE4, (47808, 47808)))
FLOOD_FACTOR = 40


def _drawn(policy: PlainPolicy) -> DrawnPolicy:
    text = policy_text(policy)
    return DrawnPolicy(policy, text, compile_text(text, "memory.yaml", {}), 0)


@pytest.fixture
def plant() -> DrawnPolicy:
    """Compile the cases' plant."""
    return _drawn(POLICY)


@pytest.fixture
def polled(plant: DrawnPolicy) -> Engine:
    """Return an engine that has seen a connection being opened and answered."""
    engine = Engine(plant)
    engine.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, SYN)))
    engine.judge(to_office(tcp(PLC4, OFFICE4, PORTS[::-1], SYN_ACK)))
    assert engine.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, ACK))).reason is Reason.FLOW_ESTABLISHED
    return engine


@pytest.mark.parametrize("flows", [4, 64, 1024])
def test_strangers_do_not_push_out_an_answered_flow(flows: int, plant: DrawnPolicy, seed: int) -> None:
    """Opening many more flows than fit evicts other one-sided flows, not one that both ends have used."""
    rng = random.Random(seed)
    engine = Engine(plant, flows=flows)
    assert engine.judge(HELLO).reason is Reason.POLICY_CONDUIT
    assert engine.judge(REPLY).reason is Reason.FLOW_ESTABLISHED
    for _ in range(flows * FLOOD_FACTOR):
        port = rng.randrange(1024, 65536)
        source = Address(4, UNLISTED4.value + rng.randrange(100))
        assert engine.judge(to_plant(tcp(source, PLC4, (port, 502), SYN), source_mac=ROGUE)).conduit == "office-modbus"
    assert engine.judge(REPLY).reason is Reason.FLOW_ESTABLISHED


def test_a_known_flow_still_needs_the_right_mac(polled: Engine) -> None:
    """A forger who copies addresses and ports of a connection is told from its owner, from either side."""
    assert polled.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, ACK), source_mac=ROGUE)).reason is Reason.IDENTITY_SOURCE_MAC
    assert polled.judge(to_office(tcp(PLC4, OFFICE4, PORTS[::-1], ACK), source_mac=ROGUE)).reason is (
        Reason.IDENTITY_SOURCE_MAC
    )
    assert polled.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, ACK))).reason is Reason.FLOW_ESTABLISHED


def test_a_known_flow_still_needs_the_right_ports(polled: Engine) -> None:
    """The same segment from the plant's own port, or to a port where its addressee is not, is no part of the flow."""
    segment = tcp(OFFICE4, PLC4, PORTS, ACK)
    assert polled.judge(to_office(segment)).reason is Reason.IDENTITY_SOURCE_ZONE
    assert polled.judge(replace(to_plant(segment), out_port="of0")).reason is Reason.ZONE_INTERNAL
    assert polled.judge(replace(to_plant(segment), vlan=100)).reason is not Reason.FLOW_ESTABLISHED


def test_a_new_policy_asks_again_who_is_who(polled: Engine) -> None:
    """After a swap that gives an asset another MAC, its flow's frames with the old one are a spoof."""
    assets = tuple(replace(asset, macs=(ROGUE,)) if asset.name == "laptop" else asset for asset in POLICY.assets)
    polled.swap(_drawn(replace(POLICY, assets=assets)))
    assert polled.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, ACK))).reason is Reason.IDENTITY_SOURCE_MAC
    assert polled.judge(to_office(tcp(PLC4, OFFICE4, PORTS[::-1], ACK))).reason is Reason.FLOW_ESTABLISHED
    assert polled.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, ACK), source_mac=ROGUE)).reason is Reason.FLOW_ESTABLISHED


def test_a_new_policy_ends_what_it_does_not_permit(polled: Engine) -> None:
    """After a swap that takes the service away, neither side's frames pass any more."""
    conduits = tuple(conduit for conduit in POLICY.conduits if "modbus" not in conduit.name)
    polled.swap(_drawn(replace(POLICY, conduits=conduits)))
    assert polled.judge(to_office(tcp(PLC4, OFFICE4, PORTS[::-1], ACK))).reason is Reason.POLICY_NO_CONDUIT
    assert polled.judge(to_plant(tcp(OFFICE4, PLC4, PORTS, ACK))).reason is Reason.POLICY_NO_CONDUIT


@pytest.mark.parametrize(("created", "touched"), [(0, False), (1, True)])
def test_a_table_that_never_held_a_flow_takes_no_memory(created: int, touched: bool) -> None:
    """A worker reads the table that an earlier engine left only where there is something to find."""
    made = segments.create_counters((0,)), segments.create_events(1), segments.create_flows(1, 65536)
    fds = (*made, segments.create_streams(1))
    kinds = SegmentKind.COUNTERS, SegmentKind.EVENTS, SegmentKind.FLOWS, SegmentKind.STREAMS
    views = [attach(kind, fd, writable=True).view for kind, fd in zip(kinds, fds, strict=True)]
    place = abi.COUNTERS_HEADER_BYTES + abi.QUEUE_COUNTERS.offsets["flows_created"]
    struct.pack_into("<Q", views[0], place, created)
    before = os.fstat(fds[2]).st_blocks
    Worker(-1, 0, *views, 512)
    assert (os.fstat(fds[2]).st_blocks - before > 1024) == touched
    for fd in fds:
        os.close(fd)
