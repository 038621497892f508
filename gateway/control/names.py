"""Numbers back into names: what zones, assets, conduits and services were called in a given generation.

In: lowered policies as they come into force. Out: names for the events that the engine stamped with a generation, also
for the few generations before the current one whose events are still in the rings.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from fastpath.abi import UNKNOWN_ZONE
from gateway.control.stages import UNKNOWN_ZONE_NAME

if TYPE_CHECKING:
    from rules.records import LoweredPolicy

GENERATIONS_KEPT: Final = 16


class Names:
    """The names of one generation."""

    def __init__(self, lowered: LoweredPolicy, generation: int) -> None:
        self.generation = generation
        self.digest = lowered.digest.hex()
        self._zones = {UNKNOWN_ZONE: UNKNOWN_ZONE_NAME} | {zone.number: zone.name for zone in lowered.zones}
        self._assets = {asset.number: asset.name for asset in lowered.assets}
        self._conduits = {conduit.slot: conduit.name for conduit in lowered.conduits}
        self._services = dict(lowered.service_names)

    def zone(self, number: int) -> str:
        """Return a zone's name, or its number when this generation has none."""
        return self._zones.get(number, f"#{number}")

    def asset(self, number: int | None) -> str | None:
        """Return an asset's name; None for an address that is no asset's."""
        return None if number is None else self._assets.get(number, f"#{number}")

    def conduit(self, slot: int | None) -> str | None:
        """Return a conduit's name; None when no conduit was involved."""
        return None if slot is None else self._conduits.get(slot, f"#{slot}")

    def service(self, klass: int) -> str | None:
        """Return a service class's name; None for a class that no conduit names."""
        return self._services.get(klass)


class NameBook:
    """Names by generation; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._by_generation: OrderedDict[int, Names] = OrderedDict()

    def add(self, names: Names) -> None:
        """Learn a generation's names."""
        self._by_generation[names.generation] = names
        while len(self._by_generation) > GENERATIONS_KEPT:
            self._by_generation.popitem(last=False)

    def of(self, generation: int) -> Names | None:
        """Return the names of a generation, or None when it is not known any more."""
        return self._by_generation.get(generation)
