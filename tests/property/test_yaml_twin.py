"""libyaml, which reads policies, against ruamel's pure YAML 1.2 parser: the same values at the same places.

The differences that are known are stated here, each in a test of its own; see docs/decisions/0014.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rules.nodes import Node
from rules.problems import PolicyError
from rules.tree import parse_tree, resolve_plain

MISTAKEN = Path("tests/unit/rules/data/twenty_mistakes.yaml")  # one of them is a key that appears twice
POLICIES = sorted(
    path for top in ("rules", "tests", "deploy") for path in Path(top).rglob("*.yaml") if path != MISTAKEN
)
Tree = tuple[int, int, Any]  # line, column, and a scalar, a list of trees, or (key, its place, tree) of each entry


NOTHING: Tree = (0, 0, None)  # where something is that is not there, each sees in its own way


def ours(text: str) -> Tree | None:
    """Return what the product reads, or None when it refuses the text."""
    try:
        source, problems = parse_tree(text, "twin.yaml")
    except PolicyError:
        return None
    return None if problems else _tree(source.root)


def _tree(node: Node) -> Tree:
    if isinstance(node.value, dict):
        return node.line, node.column, [(key, node.keys[key], _tree(below)) for key, below in node.value.items()]
    if node.value is None:
        return NOTHING
    return node.line, node.column, [_tree(item) for item in node.value] if isinstance(node.value, list) else node.value


def theirs(text: str) -> Tree | None:
    """Compose the same from ruamel's events, slowly; None when it refuses the text or we would."""
    try:
        events = list(YAML(typ="safe", pure=True).parse(text))
    except (YAMLError, ValueError):
        return None
    names = [type(event).__name__ for event in events]
    if names.count("DocumentStartEvent") != 1 or "AliasEvent" in names or "MappingStartEvent" not in names[:3]:
        return None
    return _composed(events[2:])[0]


def _composed(events: list[Any]) -> tuple[Tree | None, list[Any]]:
    """Return the tree that the first events are, and the events behind it."""
    first, rest = events[0], events[1:]
    line, column = first.start_mark.line + 1, first.start_mark.column + 1
    kind = type(first).__name__
    if getattr(first, "tag", None) not in (None, "!") and str(first.tag) != "!":
        return None, []
    if kind == "ScalarEvent":
        value = first.value if first.style else resolve_plain(first.value)
        return (NOTHING if value is None else (line, column, value)), rest
    found: list[Any] = []
    while type(rest[0]).__name__ not in ("MappingEndEvent", "SequenceEndEvent"):
        below, behind = _composed(rest)
        if below is None:
            return None, []
        if kind == "SequenceStartEvent":
            found.append(below)
            rest = behind
            continue
        key = rest[0]
        value, rest = _composed(behind)
        if value is None or type(key).__name__ != "ScalarEvent" or key.value in [name for name, _, _ in found]:
            return None, []
        found.append((key.value, (key.start_mark.line + 1, key.start_mark.column + 1), value))
    return (line, column, found), rest[1:]


@pytest.mark.parametrize("path", POLICIES, ids=str)
def test_every_policy_of_ours(path: Path) -> None:
    """All examples and test data read alike, to the column."""
    text = path.read_text(encoding="utf-8")
    assert theirs(text) is not None
    assert ours(text) == theirs(text)


WORDS = (
    "a",
    "b1",
    "10.1.0.0/16",
    "fd00:1::1",
    "02:00:00:00:00:01",
    "22:00",
    "0x88b8",
    "-7",
    "~",
    "true",
    "x y",
    "é",
    "b#c",
    "a:b",
    "2026-12-24T06:00",
    "*",
    "FREQ=DAILY;BYDAY=1SA",
    "",
    "007",
    "1.5",
    "null",
    "?q",
    "-x",
)
SCALARS = st.one_of(st.sampled_from(WORDS), st.text(alphabet="ab01 :#-[]{},'\"\\é%@&*!|>?/.\t", max_size=6))
KEYS = st.sampled_from(("k", "from", "a.b", "0", "k2", "x-y"))
TREES = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS, t, max_size=3), max_leaves=8),
    min_size=1,
    max_size=4,
)


def written(value: Any, rng: random.Random, depth: int = 0, *, flow: bool = False) -> str:
    """Write a tree as somebody might: in flow or block, quoted or not, with comments and blank lines."""
    if isinstance(value, str):
        return _scalar(value, rng, flow=flow)
    if flow or not value or (depth and rng.random() < 0.4):
        gap = rng.choice((" ", "", "  ", "\n" + "  " * (depth + 4)))
        parts = [
            f"{key}: {written(below, rng, depth + 1, flow=True)}"
            if isinstance(value, dict)
            else written(key, rng, depth + 1, flow=True)
            for key, below in (value.items() if isinstance(value, dict) else [(item, None) for item in value])
        ]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        last = " " if parts and parts[-1].endswith(":") else ""
        return opening + gap + ("," + (gap or " ")).join(parts) + last + closing
    lines = []
    for key, below in value.items() if isinstance(value, dict) else [("", item) for item in value]:
        if rng.random() < 0.2:
            lines.append(rng.choice(("", "# words: [", "   # é")))
        head = f"{key}:" if isinstance(value, dict) else "-"
        text = written(below, rng, depth + 1)
        block = not isinstance(below, str) and not text.startswith(("{", "["))
        lines.append("  " * depth + head + ("\n" + text if block else f" {text}" + rng.choice(("", "  # why", " "))))
    return "\n".join(lines)


def _scalar(text: str, rng: random.Random, *, flow: bool) -> str:
    way = rng.choice(("plain", "plain", "single", "double"))
    if way == "single":
        return "'" + text.replace("'", "''") + "'"
    if way == "double":
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'
    return text


# Unquoted, these are what the two parsers (and YAML 1.1 and 1.2) take differently: see the tests at the end.
ODD = re.compile(r"[:&*!?]|.*(:\Z|:[\s,\[\]{}]|[,\[\]{}]\s*\?|\t|[&*!?])")


def scalars(tree: Any) -> list[str]:
    """Return every scalar of a tree."""
    if isinstance(tree, str):
        return [tree]
    return [word for below in (tree.values() if isinstance(tree, dict) else tree) for word in scalars(below)]


@settings(max_examples=800, deadline=None)
@given(TREES, st.randoms(use_true_random=False))
def test_whatever_somebody_writes(tree: dict[str, Any], rng: random.Random) -> None:
    """Both read the same at the same places, or both refuse; with odd scalars one of them may refuse alone."""
    text = written(tree, rng) + rng.choice(("", "\n", "\n# end\n"))
    mine, other = ours(text), theirs(text)
    if not any(ODD.match(word) for word in scalars(tree)):
        assert mine == other, text
    else:
        assert None in (mine, other) or mine == other, text


@pytest.mark.parametrize("text", ["a: [::1]", "a: [fd00::]", "a: {b: fd00::, c: 1}", "a: [fd00::, x]", "a: {b: [c:]}"])
def test_colons_at_the_ends_want_quotes_between_brackets(text: str) -> None:
    """libyaml refuses what ruamel reads as an address; nothing is taken for something else."""
    assert theirs(text) is not None
    with pytest.raises(PolicyError) as caught:
        parse_tree(text, "twin.yaml")
    assert "quote" in caught.value.problems[0].hint
    assert caught.value.problems[0].line == 1


def test_colons_elsewhere_need_no_quotes() -> None:
    """In block form, and inside of an address, colons are text."""
    text = "a: fd00::1\nb: [fd00::1, 'fd00::', fd00::/16]\nc: ::1\n"
    assert ours(text) == theirs(text) is not None


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
def test_line_ends_of_yaml_1_1_are_refused(character: str) -> None:
    """They end a line for libyaml and not for YAML 1.2: neither reading is safe."""
    with pytest.raises(PolicyError) as caught:
        parse_tree(f"a: b{character}c\n", "twin.yaml")
    assert caught.value.problems[0].code == "POL004"


def test_tabs_inside_of_text_are_text() -> None:
    """YAML 1.2 (production nb-ns-plain-in-line) allows what ruamel refuses."""
    assert ours("a: b\tc\n") == (1, 1, [("a", (1, 1), (1, 4, "b\tc"))])
    assert ours("a:\n\tb: 1\n") is None


def test_empty_keys_are_refused() -> None:
    """`[&a: b]` is one anchored thing to YAML 1.2 and a mapping with an empty key to libyaml."""
    assert ours("k: [&1: ]\n") is None
    assert ours("k: {: b}\n") is None


def test_a_version_directive_changes_nothing() -> None:
    """What words and numbers mean is ours to say."""
    text = "---\na: [022, yes, on, 1_0, 12:30:45, 0o17, 0x1F]\n"
    one, two = ours("%YAML 1.1\n" + text), ours("%YAML 1.2\n" + text)
    assert one == two
    assert one is not None
    assert [item[2] for item in one[2][0][2][2]] == ["022", "yes", "on", "1_0", "12:30:45", 15, 31]
