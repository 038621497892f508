"""YAML text → a tree of nodes that know their line and column.

In: text from `load` (untrusted: an operator's editor or the control socket). Out: `Source`, or a `PolicyError`.
Built from libyaml's events rather than a composed document, so that nesting, aliases and duplicate keys are bounded
and reported by us (docs/decisions/0014). Must never recurse along the text, construct objects from tags, or guess: only
integers, true/false and null are not text, so `02:00:00:00:20:01` and `1.20` stay what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from yaml import YAMLError
from yaml._yaml import CParser  # libyaml itself: the pure parser takes 40 times as long and reads YAML 1.1 its own way
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from rules.nodes import Node, Source
from rules.problems import PolicyError, Problem
from rules.text import CONTROL, refuse_control_characters

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 32  # the language itself nests 6 deep
MAX_NODES = 2_000_000  # of one text: 100,000 assets have 1.3 million; each takes a good hundred bytes
MAX_ALIAS_NODES = 10_000  # nodes that aliases may stand for, all together: a "YAML bomb" expands to millions
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z|0x[0-9a-fA-F]+\Z|0o[0-7]+\Z")
MAX_INTEGER_DIGITS = 18
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
HINT = "check indentation, quotes, brackets and colons; between brackets, quote what begins or ends with ':'"


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int] | None = None


class TreeBuilder:
    """Consumes parser events; `problems` collects what can be skipped, `PolicyError` stops at what can't."""

    def __init__(self, name: str, above: int = 0) -> None:
        """Begin; `above` is how many lines of the file stand in front of what is read."""
        self.name = name
        self.above = above
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._alias_nodes = 0
        self._nodes = 0

    def feed(self, events: Iterator[Any]) -> None:
        """Build the tree from a stream of events."""
        steps = {
            ScalarEvent: self._scalar,
            AliasEvent: self._alias,
            MappingStartEvent: self._start,
            SequenceStartEvent: self._start,
            MappingEndEvent: self._end,
            SequenceEndEvent: self._end,
            DocumentStartEvent: self._document,
        }
        first = self.above + 1
        for event in events:
            step = steps.get(type(event))
            if step is not None:
                mark = event.start_mark
                step(event, mark.line + first, mark.column + 1)

    @property
    def anchored(self) -> bool:
        """Tell whether a value has a name that others may stand for."""
        return bool(self._anchors)

    def _document(self, _event: Any, line: int, column: int) -> None:
        if self.root is not None:
            self._fatal(line, column, "a second YAML document begins here", "a policy is one document", "POL005")

    def _start(self, event: Any, line: int, column: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._fatal(line, column, f"nested deeper than {MAX_DEPTH} levels", "a policy needs 6", "POL008")
        if event.tag is not None:
            self._refuse_tag(event.tag, line, column)
        mapping = type(event) is MappingStartEvent
        node = Node(self.name, line, column, {}, {}) if mapping else Node(self.name, line, column, [])
        self._stack.append(_Open(node, event.anchor))

    def _end(self, _event: Any, _line: int, _column: int) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = done.node
        self._place(done.node)

    def _scalar(self, event: Any, line: int, column: int) -> None:
        if event.tag is not None:
            self._refuse_tag(event.tag, line, column)
        if event.style == '"':
            self._refuse_control_character(event.value, line, column)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is None and isinstance(frame.node.value, dict):
            if not event.value:
                self._fatal(line, column, "an empty key", "quote what begins or ends with ':'", "POL005")
            frame.key = (event.value, line, column)
            return
        plain = not event.style
        node = Node(self.name, line, column, resolve_plain(event.value) if plain else event.value)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._place(node)

    def _alias(self, event: Any, line: int, column: int) -> None:
        target = self._anchors.get(event.anchor)
        if target is None:
            self._fatal(line, column, f"alias '*{event.anchor}' names nothing that is complete here", "", "POL005")
        if len(self._stack) + target.depth > MAX_DEPTH:
            self._fatal(line, column, f"nested deeper than {MAX_DEPTH} levels", "a policy needs 6", "POL008")
        self._alias_nodes += target.size
        if self._alias_nodes > MAX_ALIAS_NODES:
            text = f"aliases expand to more than {MAX_ALIAS_NODES} nodes"
            self._fatal(line, column, text, "write the entries out", "POL007")
        self._place(Node(self.name, line, column, target.value, target.keys, target.size, target.depth))

    def _place(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._fatal(node.line, node.column, f"more than {MAX_NODES} values", "is this a policy?", "POL002")
        frame.node.size += node.size
        if frame.node.depth <= node.depth:
            frame.node.depth = node.depth + 1
        if isinstance(frame.node.value, list):
            frame.node.value.append(node)
        elif frame.key is None:
            self._fatal(node.line, node.column, "a list or mapping can't be a key", "keys are names", "POL005")
        else:
            self._entry(frame, frame.key, node)

    def _entry(self, frame: _Open, key: tuple[str, int, int], node: Node) -> None:
        name, line, column = key
        frame.key = None
        first = frame.node.keys.get(name)
        if first is None:
            frame.node.keys[name] = (line, column)
            frame.node.value[name] = node
            return
        text = f"'{name}' appears twice in the same mapping"
        self.problems.append(
            Problem(self.name, line, column, text, f"first in line {first[0]}; rename or merge", "POL006")
        )

    def _refuse_tag(self, tag: str, line: int, column: int) -> None:
        if tag != "!":
            self.problems.append(
                Problem(self.name, line, column, f"tag '{tag}' means nothing here", "remove it", "POL005")
            )

    def _refuse_control_character(self, text: str, line: int, column: int) -> None:
        """Stop at one that an escape (\\e, \\x1b, \\u202e) writes: it would reach the terminals of those who read."""
        found = CONTROL.search(text)
        if found is not None:
            message = f"character U+{ord(found[0]):04X} can't stand in a policy"
            self._fatal(line, column, message, "remove it", "POL004")

    def _fatal(self, line: int, column: int, message: str, hint: str, code: str) -> NoReturn:
        raise PolicyError([*self.problems, Problem(self.name, line, column, message, hint, code)])


def resolve_plain(text: str) -> str | int | bool | None:
    """Return what an unquoted scalar means."""
    if text in WORDS:
        return WORDS[text]
    if len(text) <= MAX_INTEGER_DIGITS and INTEGER.match(text):
        return int(text, 0) if text.startswith("0") else int(text)
    return text


def parse_tree(text: str, name: str, above: int = 0) -> tuple[Source, list[Problem]]:
    """Return the tree and the problems that did not stop it; raise PolicyError for the one that did.

    `above` is how many lines of the file stand in front of the text.
    """
    builder = TreeBuilder(name, above)
    return tree_of(text, builder), builder.problems


def tree_of(text: str, builder: TreeBuilder) -> Source:
    """Return the tree that a new builder makes of a text; raise PolicyError for a problem that stops it."""
    name, first = builder.name, builder.above + 1
    refuse_control_characters(text, name)
    try:
        builder.feed(iter(CParser(text).get_event, None))
    except YAMLError as error:
        raise PolicyError([*builder.problems, _syntax_problem(error, name)]) from None
    if builder.root is None or builder.root.value is None:
        raise PolicyError([Problem(name, first, 1, "the policy is empty", "it begins with 'version: 1'", "POL005")])
    if not isinstance(builder.root.value, dict):
        hint = "it begins with 'version: 1'"
        raise PolicyError(
            [Problem(name, builder.root.line, builder.root.column, "a policy is a mapping", hint, "POL012")]
        )
    return Source(name, builder.root)


def _syntax_problem(error: YAMLError, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    message = f"not YAML: {context + ': ' if context else ''}{what}"
    return Problem(name, line, column, message, HINT, "POL005")
