"""What a policy's text is made of: values that know their file, line and column.

In: built by `tree` from YAML, by `inventory` from spreadsheets, joined by `fragments`; entries that were read before
come from `text_memory`. Out: plain values, and the place of each for problems. Must never resolve or check anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, int, int]  # file, line and column, both counted from 1
NO_KEYS: dict[str, tuple[int, int]] = {}  # shared by all that are no mapping, and never written to


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping; `keys` holds the position of each mapping key."""

    file: str
    line: int
    column: int
    value: Any  # scalar | list[Node] | dict[str, Node]
    keys: dict[str, tuple[int, int]] = field(default_factory=lambda: NO_KEYS)
    size: int = 1  # nodes below and including this one, for the alias budget
    depth: int = 1  # levels below and including this one: aliases nest without nesting in the text

    @property
    def place(self) -> Place:
        """Return file, line and column."""
        return self.file, self.line, self.column

    def child(self, key: str) -> Node | None:
        """Return the mapping's entry of that name, if there is one."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def entries(self) -> dict[str, Node]:
        """Return the mapping's entries, or nothing when it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list[Node]:
        """Return the list's items; a scalar counts as a list of one."""
        if isinstance(self.value, list):
            return self.value
        return [] if self.value is None or isinstance(self.value, dict) else [self]

    def key_place(self, key: str) -> Place | None:
        """Return where a key of the mapping stands, if it is there."""
        found = self.keys.get(key)
        return None if found is None else ((self.child(key) or self).file, *found)

    def loaded(self) -> Any:
        """Return the model that this became when it was read before, or None."""
        return None

    def plain(self) -> Any:
        """Return plain dicts, lists and scalars. Recursion is bounded by MAX_DEPTH."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed text and its name: where every problem takes its position from."""

    name: str
    root: Node

    def place(self, path: tuple[str | int, ...]) -> Place:
        """Return file, line and column of the value at a path, or of the nearest thing above it that the text has."""
        node = self.root
        for part in path:
            below = self._child(node, part)
            if below is None:
                break
            node = below
        return node.place

    @staticmethod
    def _child(node: Node, part: str | int) -> Node | None:
        if isinstance(part, str):
            return node.child(part)
        return node.value[part] if isinstance(node.value, list) and part < len(node.value) else None

    def key_place(self, path: tuple[str | int, ...]) -> Place:
        """Return file, line and column of the key that a path ends in."""
        node = self.root
        for part in path[:-1]:
            node = self._child(node, part) or node
        found = node.key_place(str(path[-1])) if path else None
        return self.place(path) if found is None else found
