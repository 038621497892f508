"""A policy's text divided into passages: an entry of `zones`, `assets` or `conduits` each, from its name to the next.

In: a text, and its tree where it was read whole. Out: where each passage begins and ends, and whether the tree bears
that out: only then does a passage mean the same wherever it stands in its section. Dividing goes by indentation and
knows no YAML, so it may be wrong; nothing may be concluded from a division that no tree has borne out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rules.nodes import Node, Place
from rules.tree import parse_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTIONS: Final = ("zones", "assets", "conduits")
HEADER: Final = re.compile(rf"^({'|'.join(SECTIONS)}):[ \t]*(?:#[^\n]*)?\n", re.MULTILINE)
NOTHING: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")  # empty lines and comments
INDENTED: Final = re.compile(r"( +)[^\s#]")
# `? key` without a value has the place of whatever comes next, which may be another passage.
PLACED_BY_OTHERS: Final = re.compile(r"\?(?<!\S\?)\s")


class Passage(NamedTuple):
    """Where an entry stands in its text."""

    begin: int
    end: int
    line: int  # of its name, counted from 1
    lines: int


class Division(NamedTuple):
    """The passages of one section, one behind the other."""

    section: str
    indent: int  # spaces in front of every name
    passages: list[Passage]
    end_line: int  # the first one that is not of the section, counted from 1; 0 at the end of the text


class Known(NamedTuple):
    """What a passage was when it was read: its name, where its value begins, how much that holds, what it became."""

    name: str
    down: int  # lines from the name to the value
    column: int
    size: int
    depth: int
    model: Any


class Entry(Node):
    """An entry whose text was read before; its values are read again when somebody asks where they stand."""

    __slots__ = ("_name", "_read", "_text", "_top", "model")

    def __init__(self, file: str, line: int, text: str, known: Known) -> None:
        super().__init__(file, line + known.down, known.column, {}, size=known.size, depth=known.depth)
        self._top, self._text, self._name = line, text, known.name
        self._read: Node | None = None
        self.model = known.model

    def read(self) -> Node:
        """Return the entry's value as the whole text's tree would hold it."""
        if self._read is None:
            source, _ = parse_tree(self._text, self.file, above=self._top - 1)
            self._read = source.root.value[self._name]
        return self._read

    def child(self, key: str) -> Node | None:
        """Return the mapping's entry of that name, if there is one."""
        return self.read().child(key)

    def entries(self) -> dict[str, Node]:
        """Return the mapping's entries."""
        return self.read().entries()

    def key_place(self, key: str) -> Place | None:
        """Return where a key of the mapping stands."""
        return self.read().key_place(key)

    def plain(self) -> Any:
        """Return what it became."""
        return self.model

    def loaded(self) -> Any:
        """Return what it became."""
        return self.model


@lru_cache(maxsize=16)
def _passage(indent: int) -> re.Pattern[str]:
    """Return the form of a passage: a name, and the lines that are indented further, empty, or nothing but comments."""
    below = rf"(?: {{{indent + 1}}}[^\n]*|[ \t]*(?:#[^\n]*)?)\n"
    return re.compile(rf" {{{indent}}}(?![\s#])[^\n]*\n(?:{below})*")


def divided(text: str) -> list[Division]:
    """Return the sections of a text that can be divided; none of one with line ends that others count otherwise."""
    if not text.endswith("\n") or ("\r" in text and "\r" in text.replace("\r\n", "")):
        return []
    return [found for header in HEADER.finditer(text) if (found := _divided(text, header)) is not None]


def _divided(text: str, header: re.Match[str]) -> Division | None:
    skipped = NOTHING.match(text, header.end())
    at = skipped.end() if skipped is not None else header.end()
    indented = INDENTED.match(text, at)
    if indented is None:
        return None
    form = _passage(len(indented[1]))
    line = text.count("\n", 0, at) + 1
    passages = []
    while (found := form.match(text, at)) is not None:
        lines = text.count("\n", at, found.end())
        passages.append(Passage(at, found.end(), line, lines))
        at, line = found.end(), line + lines
    return Division(header[1], len(indented[1]), passages, 0 if at == len(text) else line)


def borne_out(text: str, root: Node, divisions: list[Division]) -> Iterator[tuple[Division, Node]]:
    """Yield the divisions that the tree of the same text bears out, each with its section.

    Every passage begins with a key of the section, and behind the last one comes a key of the whole: so the parser was
    between two entries at each of these places, whatever stands in the passages. Anchors must have been excluded.
    """
    if PLACED_BY_OTHERS.search(text) is not None:
        return
    tops = {line for line, column in root.keys.values() if column == 1}
    for division in divisions:
        section = root.child(division.section)
        if section is None or (division.end_line and division.end_line not in tops):
            continue
        column = division.indent + 1
        keys = list(section.keys.values())
        places = [(passage.line, column) for passage in division.passages]
        if keys and keys == places and (section.line, section.column) == keys[0]:
            yield division, section
