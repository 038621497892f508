"""Assets' addresses and MACs as records, in cells: what is in one, only a conduit that names an asset can tell apart.

In: places and kinds of a population's assets, and the prefixes around their addresses. Out: `Hosts`, which the next
policy uses again while zones, assets and the selectors' prefixes stay: a class is then looked up for each cell, not for
each asset, and a record whose class is what it was stays the same object. Called by `population`, used by `endpoints`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from rules.records import EndpointRecord, MacRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rules.addresses import Block
    from rules.model import Asset, Policy
    from rules.population import Population

R = TypeVar("R", EndpointRecord, MacRecord)
Blocks = tuple["Block", ...]
Classify = Callable[[str | None, "Asset", Blocks], int]  # an asset's name, None: one like it that no conduit names
Example = tuple["Asset", Blocks]  # an asset and the prefixes around one address of it


@dataclass(slots=True)
class Cells(Generic[R]):
    """Records in the order of the assets, and the cell that each of them is in."""

    records: list[R] = field(default_factory=list)  # with the classes that they had last
    of: list[int] = field(default_factory=list)  # cell by record
    examples: list[Example] = field(default_factory=list)  # by cell: as good as any other in it, but for its name
    sizes: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=lambda: [0])  # record by asset number, and the end
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, record: R, kind: object, example: Example) -> None:
        """Add a record of the asset at hand; kinds and prefixes are told apart by what they are, not what they say."""
        cell = self._known.setdefault((id(kind), id(example[1])), len(self._known))
        if cell == len(self.examples):
            self.examples.append(example)
            self.sizes.append(0)
        self.sizes[cell] += 1
        self.of.append(cell)
        self.records.append(record)

    def end(self) -> None:
        """Note that the next record is the next asset's."""
        self.begins.append(len(self.records))

    def shared(self, named: Mapping[str, int], classify: Classify) -> list[int]:
        """Return each cell's class, for all that is in it but the assets that `named` has the numbers of.

        A cell of which nothing is left has none: no endpoint would be of that class.
        """
        left = self.sizes.copy()
        for number in named.values():
            for index in self._records_of(number):
                left[self.of[index]] -= 1
        return [classify(None, *example) if count else 0 for example, count in zip(self.examples, left, strict=True)]

    def classified(
        self, shared: list[int], named: Mapping[str, int], assets: Mapping[str, Asset], classify: Classify
    ) -> list[R]:
        """Return the records with their classes; `shared` are those of the cells."""
        classes = [shared[cell] for cell in self.of]
        for name, number in named.items():
            for index in self._records_of(number):
                classes[index] = classify(name, assets[name], self.examples[self.of[index]][1])
        self.records = [
            record if record.klass == klass else record._replace(klass=klass)
            for record, klass in zip(self.records, classes, strict=True)
        ]
        return self.records

    def _records_of(self, number: int) -> Iterable[int]:
        return range(self.begins[number], self.begins[number + 1])


@dataclass(slots=True)
class Hosts:
    """Everything that assets are found by."""

    addresses: Cells[EndpointRecord] = field(default_factory=Cells)
    macs: Cells[MacRecord] = field(default_factory=Cells)


def hosts(policy: Policy, population: Population, near: Mapping[int, list[Blocks]]) -> Hosts:
    """Return the hosts of a policy; `near` has the prefixes around the addresses of assets that are in any."""
    found = Hosts()
    rows = zip(policy.assets.values(), population.places, population.kinds, strict=True)
    for asset, (number, space, zone, mac_asset, _, packed), kind in rows:
        around = near.get(number)
        for index, address in enumerate(packed):
            here = around[index] if around is not None else ()
            record = EndpointRecord(address, 128, space, zone, number, mac_asset, 0)
            found.addresses.add(record, kind, (asset, here))
        for mac in asset.macs:
            found.macs.add(MacRecord(mac, space, zone, number, 0), kind, (asset, ()))
        found.addresses.end()
        found.macs.end()
    return found
