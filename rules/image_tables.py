"""The image's three hash tables: endpoints, MACs and rules.

In: lowered records and what is known of the last image. Out: each table's bytes and capacity. Where an entry goes
follows from the seed and the keys of all entries, so a table whose keys are the same is changed only where a record is
another one. Every table is the same without a memory. Called by `image`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from fastpath import abi
from rules.hashing import PlacementMemory, place
from rules.records import EndpointRecord, LoweredPolicy, MacRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

R = TypeVar("R")


@dataclass(slots=True)
class Chains:
    """Lists of alternative conduits; equal tails are stored once."""

    nodes: list[tuple[int, int]] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)
    _begins: dict[tuple[int, ...], int] = field(default_factory=dict)

    def add(self, conduits: tuple[int, ...]) -> int:
        """Return the index of the chain's first node."""
        begin = self._begins.get(conduits)
        if begin is not None:
            return begin
        at = abi.NO_NODE
        for conduit in reversed(conduits):
            node = (conduit, at)
            known = self._known.get(node)
            if known is None:
                known = self._known[node] = len(self.nodes)
                self.nodes.append(node)
            at = known
        self._begins[conduits] = at
        return at


@dataclass(slots=True)
class TableMemory(Generic[R]):
    """The last table of one kind: its seed and records, where they are, and its bytes."""

    size: int  # of an entry, in bytes
    key: Callable[[R], Hashable]
    hashed: Callable[[int, R], int]
    write: Callable[[bytearray, int, R], None]  # table, byte offset, record
    _seed: int | None = None
    _records: Sequence[R] = ()
    _slots: list[int] = field(default_factory=list)
    _table: bytes = b""

    def table(self, seed: int, records: Sequence[R]) -> tuple[bytes, int]:
        """Return the table of some records, and how many entries it has room for."""
        changed = self._changed(seed, records)
        if changed is None:
            placed = place([self.hashed(seed, record) for record in records])
            table, slots = bytearray(placed.capacity * self.size), placed.slots
            changed = range(len(records))
        else:
            table, slots = bytearray(self._table), self._slots
        for index in changed:
            self.write(table, slots[index] * self.size, records[index])
        self._seed, self._records, self._slots, self._table = seed, records, slots, bytes(table)
        return self._table, len(table) // self.size

    def _changed(self, seed: int, records: Sequence[R]) -> Sequence[int] | None:
        """Return which records are others than last time, or None when entries would go elsewhere."""
        if seed != self._seed or len(records) != len(self._records):
            return None
        pairs = enumerate(zip(records, self._records, strict=True))
        changed = [(index, now, before) for index, (now, before) in pairs if now is not before]
        if any(self.key(now) != self.key(before) for _, now, before in changed):
            return None
        return [index for index, _, _ in changed]


class ImageMemory:
    """Remembers the last image's tables; one image needs none, a row of them is built faster."""

    def __init__(self) -> None:
        self.endpoints: TableMemory[EndpointRecord] = TableMemory(
            abi.ENDPOINT.size, _endpoint_key, _endpoint_hash, _write_endpoint
        )
        self.macs: TableMemory[MacRecord] = TableMemory(abi.MAC.size, _mac_key, _mac_hash, _write_mac)
        self.rules: PlacementMemory[int] = PlacementMemory()


def _endpoint_key(record: EndpointRecord) -> tuple[bytes, int, int]:
    return record.address, record.space, record.prefix_length


def _endpoint_hash(seed: int, record: EndpointRecord) -> int:
    return abi.endpoint_hash(seed, record.address, record.space, record.prefix_length)


def _write_endpoint(table: bytearray, at: int, record: EndpointRecord) -> None:
    abi.ENDPOINT.pack_into(
        table,
        at,
        record.address,
        abi.NO_ASSET if record.asset is None else record.asset,
        abi.NO_ASSET if record.mac_asset is None else record.mac_asset,
        record.space,
        record.zone,
        record.klass,
        record.prefix_length,
        abi.ENDPOINT_IN_USE | (abi.ENDPOINT_ANYWHERE if record.anywhere else 0),
    )


def _mac_key(record: MacRecord) -> int:
    return int.from_bytes(record.mac, "big") << 16 | record.space


def _mac_hash(seed: int, record: MacRecord) -> int:
    return abi.mac_hash(seed, _mac_key(record))


def _write_mac(table: bytearray, at: int, record: MacRecord) -> None:
    asset = abi.NO_ASSET if record.asset is None else record.asset
    zone = abi.MAC_ANYWHERE_ZONE if record.anywhere else record.zone
    abi.MAC.pack_into(table, at, _mac_key(record), asset, zone, record.klass)


def rule_table(lowered: LoweredPolicy, memory: PlacementMemory[int], chains: Chains) -> tuple[bytearray, int]:
    """Return the table of the rules; `chains` takes the conduits of each."""
    keys = [rule.source_class << 32 | rule.destination_class << 16 | rule.service_class for rule in lowered.rules]
    placed = memory.place(lowered.seed, keys, _rule_hashes)
    size, pack_into, add = abi.RULE.size, abi.RULE.pack_into, chains.add
    table = bytearray(placed.capacity * size)
    for slot, key, rule in zip(placed.slots, keys, lowered.rules, strict=True):
        pack_into(table, slot * size, key, add(rule.conduits), 0)
    return table, placed.capacity


def _rule_hashes(seed: int, keys: Sequence[int]) -> list[int]:
    return abi.mix64_each(seed, keys)  # `abi.rule_hash` of each
