"""Reading a text by what is known of the last one is the same as reading it afresh, whatever happens to its lines."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rules.bundle import Bundle
from rules.compile import compile_bundle
from rules.passages import Entry
from rules.problems import PolicyError
from rules.text_memory import TextMemory
from rules.tree import parse_tree
from rules.workshop import Workshop
from tests.support.compiling import outcome, shape

BASE: Final = """\
# a plant
version: 1
site: {name: works, ceiling: enforce}
include: [more.yaml]
zones:   # three of them
  a:
    kind: control
    ports: p0
    prefixes: 10.1.0.0/24

  # what watches
  b: {kind: supervisory, ports: p1, vlans: 10,
      prefixes: [10.2.0.0/24]}
  c: {kind: dmz, ports: p1, vlans: 20}
assets:
  a1: {zone: a, ips: 10.1.0.1, roles: plc}
  "a2":
    zone: a
    ips:
    - 10.1.0.2
    - 10.1.0.3
    roles: plc
  b1: {zone: b, ips: 10.2.0.1, roles: hmi, description: "two
    lines"}
conduits:
  poll:
    from: {role: hmi}
    to: {zone: a, role: plc}
    services: modbus
    reason: |
      every second

      # this is text
  watch: {from: {zone: b}, to: {asset: a1}, services: [ssh, http]}
  look:
    description: >+
      folded

    from: {asset: b1}
    to: {zone: a}
    services: https
    limit:
  time: {from: {zone: a}, to: {zone: c}, services: ntp}
denials:
- {from: a, to: "*", stage: alert}
"""
MORE: Final = """\
conduits:
    far: {from: {zone: c}, to: {zone: b}, services: dns}
    near:
        from: {zone: b}
        to: {zone: c}
        services: [https]
"""
LINES: Final = (
    *BASE.splitlines(),
    *MORE.splitlines(),
    "",
    "# comment",
    "   # deeper",
    " ",
    "\t",
    "  \tx: 1",
    "  poll:",
    "  poll: {from: {zone: b}, to: {asset: a1}, services: ssh}",
    "  other: {from: {zone: b}, to: {asset: a1}, services: ssh}",
    "  inside: {from: {zone: b}, to: {asset: a1}, services: modbus, constraints: {modbus: {address: [1, 3-4]}}}",
    "    operations: [read]",
    "  other: &mark {from: {zone: b}, to: {asset: a1}, services: ssh}",
    "  third: *mark",
    "  other: {from: {zone: b},",
    "  to: {asset: a1}, services: ssh}",
    "  'other': {from: {zone: nowhere}, to: {asset: a1}, services: ssh}",
    '  other: "',
    '"',
    "  other: 'it",
    "  other: |",
    "  other: |+",
    "  other: |1",
    "  ? other",
    "  ? {from: {zone: b}}",
    "    ? limit",
    "    owner: !!str us",
    "    owner: us",
    "    owner: us\r",
    "  - a",
    "- a",
    " x: 1",
    "      deeper: 1",
    "...",
    "---",
    "%YAML 1.1",
    "conduits:",
    "conduits: {",
    "}",
    "zones: {}",
    "\u2028",
)
EDITS = st.tuples(
    st.sampled_from(("insert", "insert", "delete", "replace", "swap", "append")),
    st.sampled_from(("main", "main", "main", "more")),
    st.integers(0, len(BASE.splitlines())),
    st.sampled_from(LINES),
)


def edited(lines: list[str], kind: str, at: int, line: str) -> list[str]:
    """Return the lines after one edit."""
    at = min(at, len(lines) - 1)
    if at < 0:
        return [line]
    if kind == "insert":
        return [*lines[:at], line, *lines[at:]]
    if kind == "delete":
        return [*lines[:at], *lines[at + 1 :]]
    if kind == "replace":
        return [*lines[:at], line, *lines[at + 1 :]]
    if kind == "append":
        return [*lines[:at], lines[at] + line.strip(), *lines[at + 1 :]]
    return [*lines[:at], *lines[at + 1 : at + 2], lines[at], *lines[at + 2 :]]


def read(memory: TextMemory | None, text: str) -> tuple[object, ...]:
    """Return what reading a text finds."""
    try:
        source, problems = parse_tree(text, "s.yaml") if memory is None else memory.read(text, "s.yaml", "")
    except PolicyError as error:
        return ("refused", error.problems)
    return (shape(source.root), source.root.plain(), problems)


@pytest.mark.parametrize("kind", ["insert", "replace", "append"])
def test_every_line_at_every_place(kind: str) -> None:
    """Each of the lines, put in everywhere, leads to the same tree or the same refusal."""
    text = BASE.replace("include: [more.yaml]\n", "")
    workshop = Workshop()
    compile_bundle(Bundle("s.yaml", text), workshop=workshop)
    lines = text.splitlines()
    shortened = 0
    for line in dict.fromkeys(LINES):
        for at in range(len(lines)):
            changed = "\n".join(edited(lines, kind, at, line)) + "\n"
            warm, cold = read(workshop.files.texts, changed), read(None, changed)
            assert warm[0] == cold[0], (line, at)
            assert warm[-1] == cold[-1], (line, at)
            shortened += warm != cold
    assert shortened > 500, "nothing was known"


@settings(max_examples=400, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_lines_are_read_as_they_would_be_afresh(edits: list[tuple[str, str, int, str]], heal: bool, ends: bool) -> None:
    """Trees with every place, problems, records and images are equal, whatever was refused in between."""
    workshop = Workshop()
    texts = {"main": BASE.splitlines(), "more": MORE.splitlines()}
    outcomes = []
    for edit in (None, *edits):
        before = dict(texts)
        if edit is not None:
            kind, file, at, line = edit
            texts[file] = edited(texts[file], kind, at, line)
        main, more = ("\n".join(lines) + ("\n" if ends else "") for lines in texts.values())
        bundle = Bundle("works/site.yaml", main, {"more.yaml": more.encode()})
        kept, fresh = outcome(bundle, {}, workshop), outcome(bundle, {}, None)
        assert kept == fresh
        outcomes.append(fresh[0])
        if heal and fresh[0] == "refused":
            texts = before  # so that what follows meets a policy that compiles
    event(f"{outcomes[1:].count('compiled')} of {len(edits)} edits compiled")
    assert outcomes[0] == "compiled"


def entries_of(workshop: Workshop, text: str) -> dict[str, int]:
    """Return the lines of the entries that were not read again."""
    policy = compile_bundle(Bundle("site.yaml", text), workshop=workshop).policy
    assert policy._text is not None
    found = [section.entries() for section in policy._text.root.entries().values()]
    return {name: node.line for entries in found for name, node in entries.items() if isinstance(node, Entry)}


def test_only_what_changed_is_read() -> None:
    """Lines above and a changed entry leave the others known, at their new places."""
    text = BASE.replace("include: [more.yaml]\n", "")
    workshop = Workshop()
    assert entries_of(workshop, text) == {}
    known = entries_of(workshop, text)
    assert list(known) == ["a", "b", "c", "a1", "a2", "b1", "poll", "watch", "look", "time"]
    changed = "# one more\n" + text.replace("services: [ssh, http]", "services: [ssh]")
    moved = entries_of(workshop, changed)
    assert moved == {name: line + 1 for name, line in known.items() if name != "watch"}
    assert list(entries_of(workshop, changed)) == list(known)


def test_nothing_is_known_of_a_policy_that_is_gone() -> None:
    """What is remembered is the last policy's only."""
    text = BASE.replace("include: [more.yaml]\n", "")
    workshop = Workshop()
    for _ in range(2):
        entries_of(workshop, text)
    small = "version: 1\nsite: {name: works}\nzones:\n  z: {kind: control}\n"
    assert entries_of(workshop, small) == {}
    assert list(entries_of(workshop, small)) == ["z"]
    assert entries_of(workshop, text) == {}


SMALL: Final = """\
version: 1
site: {name: works}
zones:
  a: {kind: control}
  b: {kind: supervisory}
conduits:
  one: {from: {zone: a}, to: {zone: b}, services: ssh}
  two: {from: {zone: b}, to: {zone: a}, services: ssh}
  three: {from: {zone: b}, to: {zone: a}, services: dns}
"""
LAST: Final = SMALL.splitlines()[-1]
EXPLICIT: Final = """\
  odd:
    from: {zone: a}
    to: {zone: b}
    services: dns
    ? limit
"""
# what was compiled, what is read then
CONFUSING: Final = {
    "entries inside of a quoted text": (
        SMALL,
        SMALL.replace("  two:", '  odd: {from: {zone: a}, to: {zone: b}, services: ssh, reason: "\n  two:') + '  "}\n',
    ),
    "a section's name inside of a quoted text": (
        SMALL,
        SMALL.replace("conduits:\n", '  c: {kind: dmz, description: "\nconduits:\n') + '"}\n"conduits":\n  one:\n',
    ),
    "an alias to another entry": (
        SMALL.replace("one: {", "one: &x {").replace(LAST, "  three: *x"),
        SMALL.replace("one: {", "one: &y {").replace(LAST, "  three: *x"),
    ),
    "an alias that was good": (
        SMALL.replace("one: {", "one: &x {").replace(LAST, "  three: *x"),
        "# moved\n" + SMALL.replace("one: {", "one: &x {").replace(LAST, "  three: *x"),
    ),
    "an alias among what was known": (
        SMALL,
        SMALL.replace("one: {", "one: &x {").replace(LAST, "  three: *x"),
        "# moved\n" + SMALL.replace("one: {", "one: &x {").replace(LAST, "  three: *x"),
    ),
    "a key that stands where the next entry begins": (
        SMALL.replace("  two:", EXPLICIT + "  two:"),
        "# moved\n" + SMALL.replace("  two:", EXPLICIT + "  two:"),
    ),
    "an entry that goes on at the margin": (
        SMALL.replace(" services: dns}", "\nservices: dns}"),
        SMALL.replace(" services: dns}", "\nservices: {}"),
    ),
    "a list below a name": (SMALL, SMALL + "  - a\n"),
    "an entry twice": (SMALL, SMALL + f"{LAST}\n"),
    "an entry again under another text": (SMALL, SMALL.replace(LAST, "  two: {services: dns}")),
    "a section twice": (SMALL, f"{SMALL}conduits:\n{LAST}\n"),
    "a section that is empty now": (SMALL, SMALL[: SMALL.index("  one:")]),
    "a line that only others count": (SMALL, SMALL.replace("{kind: control}", "{kind: control} # a\r# b")),
    "another indentation": (SMALL, SMALL.replace("\n  ", "\n    ")),
    "two indentations": (SMALL, SMALL.replace("\n  two", "\n    two")),
    "no end of the last line": (SMALL, f"{SMALL}    x: 1"),
    "a second document": (SMALL, f"{SMALL}---\n{SMALL}"),
}


@pytest.mark.parametrize("name", CONFUSING)
def test_confusing_texts(name: str) -> None:
    """What looks like known entries and is none is read as it stands."""
    *before, text = CONFUSING[name]
    workshop = Workshop()
    for known in before:
        compile_bundle(Bundle("s.yaml", known), workshop=workshop)
    warm, cold = read(workshop.files.texts, text), read(None, text)
    assert (warm[0], warm[-1]) == (cold[0], cold[-1])
