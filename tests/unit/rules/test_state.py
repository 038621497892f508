"""The state segment: what it starts with, and that each accessor changes its own thing and nothing else."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest

from fastpath import abi
from fastpath.abi import Stage
from rules import state
from tests.unit.rules.building import lowered_of

if TYPE_CHECKING:
    from collections.abc import Callable

PORTS = {"sup0": 11, "ctl0": 11 + abi.STATE_PORT_SLOTS, "unrelated": 5}


def test_header_and_contents() -> None:
    """Sizes, offsets, ceiling, stages, flags and ports are where STATE_HEADER says."""
    lowered = lowered_of(denials=[{"from": "supervisory", "to": "control", "stage": "alert"}])
    buffer = state.build_state(lowered, 9, PORTS)
    head = state.header(buffer)
    assert head["magic"] == abi.STATE_MAGIC
    assert (head["abi_version"], head["header_bytes"]) == (abi.ABI_VERSION, abi.STATE_HEADER.size)
    assert head["state_bytes"] == len(buffer)
    assert (head["generation"], head["zone_count"], head["conduit_capacity"]) == (9, 3, 1)
    assert head["ceiling"] == Stage.ENFORCE
    assert buffer[head["pairs_offset"] + 1 * 3 + 2] == Stage.ALERT
    assert buffer[head["conduits_offset"]] == Stage.ENFORCE | abi.CONDUIT_OPEN
    assert state.ports(buffer) == {11: 1, 11 + abi.STATE_PORT_SLOTS: 2}


def test_overrides_replace_the_policy() -> None:
    """Ceiling, pair stages and conduit flags of an operator come before those of the text."""
    buffer = state.build_state(
        lowered_of(),
        1,
        {},
        ceiling=Stage.ALERT,
        pair_stages={(1, 2): Stage.ENFORCE},
        conduit_flags={0: (Stage.MONITOR, False)},
    )
    assert state.ceiling(buffer) is Stage.ALERT
    assert state.pair_stage(buffer, 1, 2) is Stage.ENFORCE
    assert state.pair_stage(buffer, 2, 1) is Stage.MONITOR
    assert state.conduit(buffer, 0) == (Stage.MONITOR, False)


def test_each_toggle_changes_one_byte_of_a_mapping() -> None:
    """In a mapped segment a toggle is a store of one byte."""
    initial = bytes(state.build_state(lowered_of(), 1, PORTS))
    changes: list[Callable[[mmap.mmap], None]] = [
        lambda segment: state.set_ceiling(segment, Stage.MONITOR),
        lambda segment: state.set_pair_stage(segment, 2, 1, Stage.ENFORCE),
        lambda segment: state.set_conduit(segment, 0, stage=Stage.ALERT),
        lambda segment: state.set_conduit(segment, 0, open=False),
    ]
    with mmap.mmap(-1, len(initial)) as segment:
        for change in changes:
            segment[:] = initial
            change(segment)
            assert sum(a != b for a, b in zip(initial, segment[:], strict=True)) == 1
        assert state.conduit(segment, 0) == (Stage.ENFORCE, False)
        state.set_conduit(segment, 0, stage=Stage.ALERT)
        assert state.conduit(segment, 0) == (Stage.ALERT, False)


def test_ports_come_and_go_without_breaking_probe_chains() -> None:
    """A port that left is unknown, one further along its chain is still found, and it may come back."""
    buffer = state.build_state(lowered_of(), 1, PORTS)
    state.set_ports(buffer, {11 + abi.STATE_PORT_SLOTS: 2, 40: 1})
    assert state.ports(buffer) == {11 + abi.STATE_PORT_SLOTS: 2, 40: 1}
    state.set_ports(buffer, {11: 2, 40: 1})
    assert state.ports(buffer) == {11: 2, 40: 1}


def test_what_does_not_exist_is_refused() -> None:
    """Unknown slots, zones, ports and a full table raise instead of writing elsewhere."""
    buffer = state.build_state(lowered_of(), 1, {})
    with pytest.raises(IndexError):
        state.set_conduit(buffer, 1, open=True)
    with pytest.raises(IndexError):
        state.set_pair_stage(buffer, 3, 0, Stage.ALERT)
    with pytest.raises(ValueError, match="no port"):
        state.set_ports(buffer, {7: 256})
    with pytest.raises(ValueError, match="full"):
        state.set_ports(buffer, dict.fromkeys(range(1, abi.STATE_PORT_SLOTS + 2), 1))


def test_many_conduits_open_and_close_and_keep_their_stages() -> None:
    """One byte each; a slot that is not there is refused."""
    conduit = {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, "services": ["modbus"], "stage": "alert"}
    buffer = state.build_state(lowered_of(conduits={f"c{number}": conduit for number in range(3)}), 1, PORTS)
    state.set_open(buffer, {0: False, 2: False})
    assert state.open_conduits(buffer) == [False, True, False]
    state.set_open(buffer, {0: True})
    assert [state.conduit(buffer, slot) for slot in range(3)] == [
        (Stage.ALERT, True),
        (Stage.ALERT, True),
        (Stage.ALERT, False),
    ]
    with pytest.raises(IndexError):
        state.set_open(buffer, {3: True})
