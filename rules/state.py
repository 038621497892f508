"""The state segment: the bytes that control changes while the engine reads them.

In: a lowered policy, a generation and the live interfaces. Out: the first contents, and accessors that change one thing
in place (a mapped memfd) with one store that the processor does not tear. Layout: STATE_HEADER in `fastpath.abi`.
Must never leave a moment in which a reader sees a stage, port or flag that nobody set. Called by the control plane.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

from fastpath import abi
from fastpath.abi import Stage
from rules.pairs import ONLY_STAGES, PairSet, PairStages, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rules.records import LoweredPolicy

Buffer = bytearray | memoryview | mmap.mmap
PORTS_OFFSET = abi.STATE_HEADER.size
PAIRS_OFFSET = PORTS_OFFSET + abi.STATE_PORT_SLOTS * abi.STATE_PORT.size
SLOT_MASK = abi.STATE_PORT_SLOTS - 1


class ConduitState(NamedTuple):
    """A conduit's byte in the state segment."""

    stage: Stage
    open: bool


def port_numbers(lowered: LoweredPolicy, ports: Mapping[str, int]) -> dict[int, int]:
    """Return kernel ifindex → port number for the policy's ports that exist."""
    return {ports[port.name]: port.number for port in lowered.ports if port.name in ports}


def build_state(
    lowered: LoweredPolicy,
    generation: int,
    ports: Mapping[str, int],
    *,
    ceiling: Stage | None = None,
    pair_stages: Mapping[tuple[int, int], Stage] | None = None,
    conduit_flags: Mapping[int, tuple[Stage, bool]] | None = None,
) -> bytearray:
    """Return the state a policy starts with.

    `ports` maps interface names to ifindexes. The other three replace what the policy says: the ceiling, the stages of
    zone pairs, and (stage, open) of conduits by slot.
    """
    zone_count = len(lowered.zones) + 1
    capacity = max((conduit.slot for conduit in lowered.conduits), default=-1) + 1
    conduits_offset = _aligned(PAIRS_OFFSET + zone_count * zone_count)
    size = _aligned(conduits_offset + capacity)
    state = bytearray(size)
    chosen = lowered.ceiling if ceiling is None else ceiling
    head = (abi.STATE_MAGIC, abi.ABI_VERSION, abi.STATE_HEADER.size, size, generation, chosen, 0, zone_count, capacity)
    abi.STATE_HEADER.pack_into(state, 0, *head, PORTS_OFFSET, PAIRS_OFFSET, conduits_offset, 0, bytes(60))
    set_ports(state, port_numbers(lowered, ports))
    cells = joined(PairStages.of(lowered.pair_stages), PairSet.of(lowered.pair_refusals, zone_count))
    state[PAIRS_OFFSET : PAIRS_OFFSET + len(cells)] = cells
    for (source, target), stage in (pair_stages or {}).items():
        set_pair_stage(state, source, target, stage)
    flags = {conduit.slot: (conduit.stage, conduit.open) for conduit in lowered.conduits}
    for slot, (stage, is_open) in (flags | dict(conduit_flags or {})).items():
        state[conduits_offset + slot] = _conduit_byte(stage, is_open=is_open)
    return state


def _aligned(size: int) -> int:
    return -(-size // abi.CACHE_LINE_BYTES) * abi.CACHE_LINE_BYTES


def _conduit_byte(stage: Stage, *, is_open: bool) -> int:
    return stage | (abi.CONDUIT_OPEN if is_open else 0)


def header(buffer: Buffer) -> dict[str, Any]:
    """Return the header's fields."""
    return abi.STATE_HEADER.unpack_from(buffer)


def ceiling(buffer: Buffer) -> Stage:
    """Return the site's ceiling."""
    return Stage(buffer[abi.STATE_HEADER.offsets["ceiling"]])


def set_ceiling(buffer: Buffer, stage: Stage) -> None:
    """Set the site's ceiling: one byte, effective on the next frame."""
    buffer[abi.STATE_HEADER.offsets["ceiling"]] = Stage(stage)


def lane_mark(buffer: Buffer) -> int:
    """Return the mark with which the engine lets flows stay in the kernel; 0 while it lets none."""
    return int(header(buffer)["lane_mark"])


def set_lane_mark(buffer: Buffer, mark: int) -> None:
    """Set it: MARK_LANE with a generation of the lane, or 0. One aligned store, effective on the next batch.

    ORDER: after every other change, because the engine reads it before it reads any other state.
    """
    if mark and (mark & abi.MARK_LANE_MASK != abi.MARK_LANE or not mark & abi.LANE_GENERATIONS):
        raise ValueError(f"not a mark of the fast lane: {mark:#x}")
    at = abi.STATE_HEADER.offsets["lane_mark"]
    memoryview(buffer)[at : at + 4].cast("I")[0] = mark


def _pair_at(buffer: Buffer, source: int, target: int) -> int:
    head = header(buffer)
    if not (0 <= source < head["zone_count"] and 0 <= target < head["zone_count"]):
        raise IndexError(f"no zone pair {source}, {target}")
    return int(head["pairs_offset"]) + source * int(head["zone_count"]) + target


def pair_stage(buffer: Buffer, source: int, target: int) -> Stage:
    """Return the stage of the default deny from one zone number to another."""
    return Stage(buffer[_pair_at(buffer, source, target)] & abi.PAIR_STAGE_MASK)


def pair_stages(buffer: Buffer) -> PairStages:
    """Return the stages of every ordered pair of zone numbers as they are now."""
    head = header(buffer)
    at, count = int(head["pairs_offset"]), int(head["zone_count"])
    return PairStages(count, bytes(buffer[at : at + count * count]).translate(ONLY_STAGES))


def pair_refuses(buffer: Buffer, source: int, target: int) -> bool:
    """Tell whether what is dropped from one zone number to another is answered, as the policy says."""
    return bool(buffer[_pair_at(buffer, source, target)] & abi.PAIR_REFUSE)


def set_pair_stage(buffer: Buffer, source: int, target: int, stage: Stage) -> None:
    """Set the stage of the default deny from one zone number to another."""
    at = _pair_at(buffer, source, target)
    buffer[at] = Stage(stage) | (buffer[at] & abi.PAIR_REFUSE)


def _conduit_at(buffer: Buffer, slot: int) -> int:
    head = header(buffer)
    if not 0 <= slot < head["conduit_capacity"]:
        raise IndexError(f"no conduit slot {slot}")
    return int(head["conduits_offset"]) + slot


def conduit(buffer: Buffer, slot: int) -> ConduitState:
    """Return a conduit's stage and whether it is open."""
    byte = buffer[_conduit_at(buffer, slot)]
    return ConduitState(Stage(byte & abi.CONDUIT_STAGE_MASK), bool(byte & abi.CONDUIT_OPEN))


def conduits(buffer: Buffer, slots: Iterable[int]) -> dict[int, ConduitState]:
    """Return what `conduit` says of each of these slots."""
    head = header(buffer)
    at, capacity = int(head["conduits_offset"]), int(head["conduit_capacity"])
    held = bytes(buffer[at : at + capacity])
    known = {
        byte: ConduitState(Stage(byte & abi.CONDUIT_STAGE_MASK), bool(byte & abi.CONDUIT_OPEN))
        for byte in set(held) - {0}
    }
    return {slot: known[held[slot]] for slot in slots}


def set_conduit(buffer: Buffer, slot: int, *, stage: Stage | None = None, open: bool | None = None) -> None:  # noqa: A002 the ABI's word
    """Set a conduit's stage, whether it is open, or both: one byte."""
    now = conduit(buffer, slot)
    chosen = now.stage if stage is None else Stage(stage)
    buffer[_conduit_at(buffer, slot)] = _conduit_byte(chosen, is_open=now.open if open is None else open)


def ports(buffer: Buffer) -> dict[int, int]:
    """Return ifindex → port number; interfaces that left have none."""
    table = memoryview(buffer)[PORTS_OFFSET:PAIRS_OFFSET]
    entries = abi.STATE_PORT.iter_unpack(table)
    return {entry["ifindex"]: entry["port"] for entry in entries if entry["ifindex"] and entry["port"]}


def open_conduits(buffer: Buffer) -> list[bool]:
    """Return for every slot whether its conduit is open."""
    head = header(buffer)
    begin = int(head["conduits_offset"])
    return [bool(byte & abi.CONDUIT_OPEN) for byte in buffer[begin : begin + int(head["conduit_capacity"])]]


def set_open(buffer: Buffer, slots: Mapping[int, bool]) -> None:
    """Open and close many conduits, one store each."""
    head = header(buffer)
    begin, capacity = int(head["conduits_offset"]), int(head["conduit_capacity"])
    for slot, is_open in slots.items():
        if not 0 <= slot < capacity:
            raise IndexError(f"no conduit slot {slot}")
        stage = buffer[begin + slot] & ~abi.CONDUIT_OPEN
        buffer[begin + slot] = stage | (abi.CONDUIT_OPEN if is_open else 0)


def set_ports(buffer: Buffer, mapping: Mapping[int, int]) -> None:
    """Make the live interfaces (ifindex → port number) the ones known.

    ORDER: a new entry's port is written before its ifindex makes it visible. An interface that left keeps its slot with
    port 0, which is zone 0: removing it would break the probe chains of others under the reader's feet.
    """
    whole = memoryview(buffer)
    words = whole[PORTS_OFFSET:PAIRS_OFFSET].cast("I")
    halves = whole[PORTS_OFFSET:PAIRS_OFFSET].cast("H")
    for slot in range(abi.STATE_PORT_SLOTS):
        if words[2 * slot] and words[2 * slot] not in mapping:
            halves[4 * slot + 2] = 0
    for ifindex, port in mapping.items():
        if not 0 < ifindex < 2**32 or not 0 < port <= abi.MAX_PORTS:
            raise ValueError(f"no port: ifindex {ifindex}, number {port}")
        slot = _port_slot(words, ifindex)
        halves[4 * slot + 2] = port
        words[2 * slot] = ifindex


def _port_slot(words: memoryview, ifindex: int) -> int:
    """Return the slot that holds the ifindex, or the first free one on its probe path."""
    for distance in range(abi.STATE_PORT_SLOTS):
        slot = (ifindex + distance) & SLOT_MASK
        if words[2 * slot] in (0, ifindex):
            return slot
    raise ValueError("the port table is full: too many interfaces came and went; build a new state")
