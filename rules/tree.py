"""YAML text → a tree of nodes that know their line and column.

In: text from `load` (untrusted: an operator's editor or the control socket). Out: `Source`, or a `PolicyError`.
Built from parser events rather than a composed document, so that nesting, aliases and duplicate keys are bounded and
reported by us. Must never recurse along the text, construct objects from tags, or guess: only integers, true/false
and null are not text, so `02:00:00:00:20:01` and `1.20` stay what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rules.problems import PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 32  # the language itself nests 6 deep
MAX_ALIAS_NODES = 10_000  # nodes that aliases may stand for, all together: a "YAML bomb" expands to millions
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z|0x[0-9a-fA-F]+\Z|0o[0-7]+\Z")
MAX_INTEGER_DIGITS = 18
# C0 but for tab and line feed, C1, and what turns the direction of text around.
CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping; `keys` holds the position of each mapping key."""

    file: str
    line: int
    column: int
    value: Any  # scalar | list[Node] | dict[str, Node]
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1  # nodes below and including this one, for the alias budget
    depth: int = 1  # levels below and including this one: aliases nest without nesting in the text

    @property
    def place(self) -> tuple[str, int, int]:
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

    def place(self, path: tuple[str | int, ...]) -> tuple[str, int, int]:
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

    def key_place(self, path: tuple[str | int, ...]) -> tuple[str, int, int]:
        """Return file, line and column of the key that a path ends in."""
        node = self.root
        for part in path[:-1]:
            node = self._child(node, part) or node
        found = node.keys.get(str(path[-1])) if path else None
        value = node.child(str(path[-1])) if found is not None else None
        return self.place(path) if found is None else ((value or node).file, *found)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int] | None = None


class TreeBuilder:
    """Consumes parser events; `problems` collects what can be skipped, `PolicyError` stops at what can't."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._alias_nodes = 0

    def feed(self, events: Iterator[Any]) -> None:
        """Build the tree from a stream of ruamel events."""
        steps = {
            "ScalarEvent": self._scalar,
            "AliasEvent": self._alias,
            "MappingStartEvent": self._start,
            "SequenceStartEvent": self._start,
            "MappingEndEvent": self._end,
            "SequenceEndEvent": self._end,
            "DocumentStartEvent": self._document,
        }
        for event in events:
            step = steps.get(type(event).__name__)
            if step is not None:
                step(event, event.start_mark.line + 1, event.start_mark.column + 1)

    def _document(self, _event: Any, line: int, column: int) -> None:
        if self.root is not None:
            self._fatal(line, column, "a second YAML document begins here", "a policy is one document", "POL005")

    def _start(self, event: Any, line: int, column: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._fatal(line, column, f"nested deeper than {MAX_DEPTH} levels", "a policy needs 6", "POL008")
        self._refuse_tag(event, line, column)
        node = Node(self.name, line, column, {} if type(event).__name__ == "MappingStartEvent" else [])
        self._stack.append(_Open(node, event.anchor))

    def _end(self, _event: Any, _line: int, _column: int) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = done.node
        self._place(done.node)

    def _scalar(self, event: Any, line: int, column: int) -> None:
        self._refuse_tag(event, line, column)
        self._refuse_control_character(event.value, line, column)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.node.value, dict) and frame.key is None:
            frame.key = (event.value, line, column)
            return
        plain = event.style in (None, "")
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
        frame.node.size += node.size
        frame.node.depth = max(frame.node.depth, node.depth + 1)
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

    def _refuse_tag(self, event: Any, line: int, column: int) -> None:
        tag = getattr(event, "tag", None)
        if tag and str(tag) != "!":
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


def parse_tree(text: str, name: str) -> tuple[Source, list[Problem]]:
    """Return the tree and the problems that did not stop it; raise PolicyError for the one that did."""
    builder = TreeBuilder(name)
    try:
        # Pure: the optional C parser reads YAML 1.1 and refuses unquoted MACs; a policy must mean the same everywhere.
        builder.feed(YAML(typ="safe", pure=True).parse(text))
    except YAMLError as error:
        raise PolicyError([*builder.problems, _syntax_problem(error, name)]) from None
    if builder.root is None or builder.root.value is None:
        raise PolicyError([Problem(name, 1, 1, "the policy is empty", "it begins with 'version: 1'", "POL005")])
    if not isinstance(builder.root.value, dict):
        hint = "it begins with 'version: 1'"
        raise PolicyError(
            [Problem(name, builder.root.line, builder.root.column, "a policy is a mapping", hint, "POL012")]
        )
    return Source(name, builder.root), builder.problems


def _syntax_problem(error: YAMLError, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    message = f"not YAML: {context + ': ' if context else ''}{what}"
    return Problem(name, line, column, message, "check indentation, quotes, brackets and colons", "POL005")
