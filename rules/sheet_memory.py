"""Spreadsheets that were read before: the same bytes, read the same way, are not read again.

In: the files of a policy, one policy after the other. Out: the `Sheet` of the last time where content and settings are
the same and nothing was wrong with it; its rows know the assets that they became. Must never hand out a sheet that
reading again would make differently. Called by `fragments`; kept by `workshop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.inventory import Row, Sheet, read_sheet

if TYPE_CHECKING:
    from rules.model import Inventory, Policy
    from rules.nodes import Node, Source


class SheetMemory:
    """The sheets of the last policy, by file name."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, Inventory, Sheet]] = {}

    def read(self, content: bytes, name: str, inventory: Inventory, node: Node) -> Sheet:
        """Do as `read_sheet` does, or return what it did last time."""
        known = self._known.get(name)
        if known is not None and known[1] == inventory and known[0] == content:
            return known[2]
        sheet = read_sheet(content, name, inventory, node)
        self._known.pop(name, None)
        if sheet.complete and not sheet.problems:
            self._known[name] = (content, inventory, sheet)
        return sheet

    def became(self, source: Source, policy: Policy) -> None:
        """Remember which assets the rows became, and forget sheets that the policy no longer has."""
        used = set()
        section = source.root.child("assets")
        for name, row in section.entries().items() if section is not None else ():
            if isinstance(row, Row):
                row.asset = policy.assets[name]
                used.add(row.sheet.name)
        for name in self._known.keys() - used:
            del self._known[name]
