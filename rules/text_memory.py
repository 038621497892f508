"""Texts of a policy that were read before: entries that have not changed are not read again.

In: the YAML files of a policy, one policy after the other. Out: for each the tree that `parse_tree` makes, in which an
entry with the same text as last time is an `Entry` that knows what it became. Only clean texts are remembered, only the
last policy's; whatever is in doubt is read whole, so that mistakes are reported as ever. Called by `fragments`.

How: runs of known passages are replaced by the name of their first entry, and what is left is read. If those names turn
up as keys of their section in their own lines, the parser was between two entries there, as it was when the passages
were first read; from such a state a passage means what it meant then (`passages`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rules.nodes import Node, Source
from rules.passages import Division, Entry, Known, Passage, borne_out, divided
from rules.problems import PolicyError, Problem
from rules.tree import MAX_NODES, TreeBuilder, tree_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.model import Policy

Sections = dict[str, dict[str, Known]]  # by section and by the passage's text


class _Run(NamedTuple):
    """Known passages, one behind the other."""

    passages: list[Passage]
    known: list[Known]


class _Reading(NamedTuple):
    """A text that was just read without problems and without anchors."""

    text: str
    root: Node
    divisions: list[Division]


class TextMemory:
    """The passages of the last policy's texts, by the path of the file."""

    def __init__(self) -> None:
        self._known: dict[str, Sections] = {}
        self._readings: dict[str, _Reading] = {}

    def begin(self) -> None:
        """Begin with the files of another policy."""
        self._readings = {}

    def read(self, text: str, name: str, path: str) -> tuple[Source, list[Problem]]:
        """Do as `parse_tree` does; `path` is the file's own, whatever it is called in problems."""
        divisions = divided(text)
        root = _shortened(text, name, divisions, self._known.get(path, {}))
        if root is None:
            builder = TreeBuilder(name)
            source = tree_of(text, builder)
            if builder.problems or builder.anchored:
                return source, builder.problems
            root = source.root
        self._readings[path] = _Reading(text, root, divisions)
        return Source(name, root), []

    def became(self, policy: Policy) -> None:
        """Remember what the passages became, and forget those that the policy no longer has."""
        models: dict[str, Mapping[str, object]] = {
            "zones": policy.zones,
            "assets": policy.assets,
            "conduits": policy.conduits,
        }
        self._known = {path: _learned(reading, models) for path, reading in self._readings.items()}
        self._readings = {}


def _learned(reading: _Reading, models: Mapping[str, Mapping[str, object]]) -> Sections:
    found: Sections = {}
    for division, section in borne_out(reading.text, reading.root, reading.divisions):
        became = models[division.section]
        known = found[division.section] = {}
        for passage, (name, node) in zip(division.passages, section.value.items(), strict=True):
            down = node.line - passage.line
            text = reading.text[passage.begin : passage.end]
            known[text] = Known(name, down, node.column, node.size, node.depth, became[name])
    return found


def _shortened(text: str, name: str, divisions: list[Division], sections: Sections) -> Node | None:
    """Return the text's tree from what is known and what is left to read, or None when it must be read whole."""
    runs = [(division, _runs(text, division, sections.get(division.section, {}))) for division in divisions]
    builder = TreeBuilder(name)
    try:
        root = tree_of(_rest(text, runs), builder).root if any(found for _, found in runs) else None
    except PolicyError:
        return None
    if root is None or builder.problems or builder.anchored:
        return None
    for division, found in runs:
        if found and not _filled_in(text, root, division, found):
            return None
    return root if root.size - 1 <= MAX_NODES else None


def _runs(text: str, division: Division, known: dict[str, Known]) -> list[_Run]:
    found: list[_Run] = []
    follows = False
    for passage in division.passages if known else ():
        kept = known.get(text[passage.begin : passage.end])
        if kept is None:
            follows = False
            continue
        if not follows:
            found.append(_Run([], []))
        found[-1].passages.append(passage)
        found[-1].known.append(kept)
        follows = True
    return found


def _rest(text: str, runs: list[tuple[Division, list[_Run]]]) -> str:
    """Return the text with a name and empty lines in place of each run."""
    pieces, at = [], 0
    for division, found in runs:
        for run in found:
            begin, end = run.passages[0].begin, run.passages[-1].end
            lines = sum(passage.lines for passage in run.passages)
            pieces += [text[at:begin], " " * division.indent, run.known[0].name, ":", "\n" * lines]
            at = end
    return "".join([*pieces, text[at:]])


def _filled_in(text: str, root: Node, division: Division, runs: list[_Run]) -> bool:
    """Put the known entries into a section in place of their runs' names; False when the section is not what it was."""
    section = root.child(division.section)
    column = division.indent + 1
    if section is None or (section.line, section.column) != next(iter(section.keys.values()), None):
        return False
    waiting = {run.known[0].name: run for run in runs}
    values: dict[str, Node] = {}
    keys: dict[str, tuple[int, int]] = {}
    for key, node in section.value.items():
        run = waiting.get(key)
        if run is None or section.keys[key] != (run.passages[0].line, column):
            if key in values:
                return False
            values[key], keys[key] = node, section.keys[key]
            continue
        if node.value is not None:
            return False
        del waiting[key]
        for passage, known in zip(run.passages, run.known, strict=True):
            if known.name in values:
                return False
            values[known.name] = Entry(root.file, passage.line, text[passage.begin : passage.end], known)
            keys[known.name] = (passage.line, column)
    added = sum(node.size for node in values.values()) + 1 - section.size
    section.value, section.keys = values, keys
    section.size += added
    root.size += added
    section.depth = 1 + max(node.depth for node in values.values())
    root.depth = max(root.depth, section.depth + 1)
    return not waiting
