"""What a compiler may keep from one policy to the next, so that a small change of a large policy is quick.

In: policies, one after the other. Out: what of the last one still fits, found by comparing and never by trusting.
Every result is the same with a workshop and without one; it only saves work. Whoever compiles often owns one (the
control plane) and uses it for one compilation at a time. Must never be global.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rules.digest import ConduitTexts
from rules.file_memory import FileMemory
from rules.image import ImageMemory
from rules.population import Population

if TYPE_CHECKING:
    from rules.model import Policy


@dataclass(slots=True)
class Workshop:
    """The last policy's files and population, and the places of the last image's entries."""

    files: FileMemory = field(default_factory=FileMemory)
    texts: ConduitTexts = field(default_factory=ConduitTexts)
    image: ImageMemory = field(default_factory=ImageMemory)
    _population: Population | None = None

    def population(self, policy: Policy) -> Population:
        """Return the population of a policy: the last one when zones and assets are the same."""
        if self._population is None or not self._population.fits(policy):
            self._population = Population(policy)
        return self._population
