"""Files of a policy that were read before: spreadsheets as a whole, texts entry by entry.

In: the files of a policy, one policy after the other. Out: what of the last one's is the same. Kept by `workshop`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rules.sheet_memory import SheetMemory
from rules.text_memory import TextMemory

if TYPE_CHECKING:
    from rules.model import Policy
    from rules.nodes import Source


@dataclass(slots=True)
class FileMemory:
    """What the files of the last policy held."""

    sheets: SheetMemory = field(default_factory=SheetMemory)
    texts: TextMemory = field(default_factory=TextMemory)

    def became(self, source: Source, policy: Policy) -> None:
        """Remember what rows and entries became, and forget what the policy no longer has."""
        self.sheets.became(source, policy)
        self.texts.became(policy)
