"""The files of a bundle → one tree, in which every value still knows the file it is from.

In: a `Bundle`. Out: `Source` and the problems of joining: files that are missing, circles, names declared twice.
Included files come first, in the order of `include`, then what the including file says itself; spreadsheets come last.
Must never guess what a file that can't be read would have declared: then nothing behind the joining is looked at.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rules.bundle import Bundle, size_problems
from rules.file_memory import FileMemory
from rules.model import Inventory, Policy
from rules.naming import OUTSIDE, YAML, Named, matching, named_files
from rules.nodes import Node, Place, Source
from rules.problems import PolicyError, Problem, did_you_mean
from rules.text import decoded
from rules.tree import MAX_NODES

SECTIONS = ("zones", "assets", "roles", "services", "windows", "cycles", "conduits")
MAX_CHAIN = 32
LISTS = ("include", "inventory", "denials", "waivers")


def joined(bundle: Bundle, memory: FileMemory | None = None) -> tuple[Source, list[Problem]]:
    """Return the whole policy as one tree; `memory` has what was read before.

    Raises PolicyError when a part of it is not known.
    """
    too_large = list(size_problems(bundle))
    if too_large:
        raise PolicyError(too_large)
    known = memory or FileMemory()
    known.texts.begin()
    source, problems = known.texts.read(bundle.text, bundle.name, "")
    joining = _Joining(bundle, problems, known)
    joining.fragment("", source.root)
    joining.unnamed()
    root = Node(bundle.name, source.root.line, source.root.column, joining.entries, joining.keys)
    joining.inventories(root)
    if joining.incomplete:
        raise PolicyError(joining.problems)
    return Source(bundle.name, root), joining.problems


@dataclass(slots=True)
class _Joining:
    bundle: Bundle
    problems: list[Problem]
    memory: FileMemory
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)  # the files that include each other down to here
    done: set[str] = field(default_factory=set)
    renamed: dict[int, Node] = field(default_factory=dict)  # whose file name is relative to the main file by now
    own: set[str] = field(default_factory=set)  # sections that were copied and may be added to
    size: int = 0  # values in all of the texts
    incomplete: bool = False

    def fragment(self, base: str, root: Node) -> None:
        """Add what a file includes, then what it says. Recursion ends with the files: none is included twice."""
        self.size += root.size
        if self.size > MAX_NODES:
            text = f"more than {MAX_NODES} values in all files together"
            raise PolicyError([*self.problems, Problem(*root.place, text, "is this a policy?", "POL063")])
        self.chain.append(base)
        for named in list(named_files(root, base)):
            if named.path == OUTSIDE:
                hint = "below the main file's folder, wildcards in the last part only"
                self._missing(named.node, f"'{named.node.value}' leads out of the policy's folder", hint, "POL062")
            elif named.kind == YAML:
                self._include(named, base)
            else:
                self._file(named)
        for key, node in root.entries().items():
            self._add(key, node, root.keys[key])
        self.chain.pop()

    def _include(self, named: Named, base: str) -> None:
        known = [*self.bundle.files, *self.bundle.unread]
        paths = [path for path in matching(named.path, known) if path != base] if named.is_pattern else [named.path]
        if not paths:
            self._missing(named.node, f"no file matches '{named.node.value}'", "remove it, or add the file", "POL065")
        for path in paths:
            if path in self.chain or path == posixpath.basename(self.bundle.name):
                if not named.is_pattern:
                    shown = " → ".join([*(self._shown(file) for file in self.chain), self._shown(path)])
                    self._missing(named.node, f"files that include each other: {shown}", "", "POL061")
            elif len(self.chain) >= MAX_CHAIN:
                text = f"'{named.node.value}' is included by way of {MAX_CHAIN} files"
                self._missing(named.node, text, "include it from the main file", "POL061")
            elif path not in self.done and self._there(named.node, path):
                self.done.add(path)
                self._parse(path)

    def _shown(self, path: str) -> str:
        return path or posixpath.basename(self.bundle.name)

    def _parse(self, path: str) -> None:
        name = self.bundle.shown(path)
        try:
            source, problems = self.memory.texts.read(decoded(self.bundle.files[path], name), name, path)
        except PolicyError as error:
            self.problems += error.problems
            self.incomplete = True
            return
        self.problems += problems
        self.fragment(path, source.root)

    def _there(self, node: Node, path: str) -> bool:
        if path in self.bundle.files:
            return True
        why = self.bundle.unread.get(path, "it is not among the policy's files")
        self._missing(node, f"'{path}' can't be read: {why}", "check path and permissions", "POL060")
        return False

    def _missing(self, node: Node, text: str, hint: str, code: str) -> None:
        self.problems.append(Problem(*node.place, text, hint, code))
        self.incomplete = True

    def _file(self, named: Named) -> None:
        """Write down where a spreadsheet or calendar is as seen from the main file; an alias is one node seen twice."""
        if id(named.node) not in self.renamed and self._there(named.node, named.path):
            self.renamed[id(named.node)] = named.node
            named.node.value = named.path

    def _add(self, key: str, node: Node, place: tuple[int, int]) -> None:
        first = self.entries.get(key)
        if first is None:
            self.entries[key], self.keys[key] = node, place
        elif key in SECTIONS:
            self._join_section(key, first, node)
        elif key in LISTS:
            self._open(key, Node(*first.place, _listed(first))).value.extend(_listed(node))
        elif key not in Policy.model_fields:
            hint = did_you_mean(key, list(Policy.model_fields))
            self.problems.append(Problem(node.file, *place, f"unknown key '{key}'", hint, "POL010"))
        elif key != "version" or node.value != first.value:
            self._twice(key, (node.file, *place), (first.file, *self.keys[key]))

    def _join_section(self, key: str, first: Node, node: Node) -> None:
        if node.value is None:
            return
        if not isinstance(node.value, dict) or not isinstance(first.value or {}, dict):
            text = f"'{key}' must be a mapping"
            self.problems.append(Problem(*node.place, text, "entries of the form 'name: value', indented", "POL012"))
            return
        section = self._open(key, Node(*first.place, dict(first.entries()), dict(first.keys)))
        for name, entry in node.value.items():
            earlier = section.child(name)
            if earlier is not None:
                self._twice(name, (entry.file, *node.keys[name]), (earlier.file, *section.keys[name]))
            else:
                section.value[name], section.keys[name] = entry, node.keys[name]

    def _open(self, key: str, copy: Node) -> Node:
        """Return the section to add to: a copy, since an alias may hold the same one."""
        if key not in self.own:
            self.own.add(key)
            self.entries[key] = copy
        return self.entries[key]

    def _twice(self, name: str, place: Place, first: Place) -> None:
        text = f"'{name}' is declared in {first[0]}:{first[1]} already"
        self.problems.append(Problem(*place, text, "rename one of them, or remove it", "POL064"))

    def unnamed(self) -> None:
        """Refuse files that came along and that nothing names: somebody took them for a part of the policy."""
        named = self.done | {str(node.value) for node in self.renamed.values()}
        for path in self.bundle.files if not self.incomplete else ():
            if path not in named:
                place = (self.bundle.shown(path), 0, 0)
                self.problems.append(Problem(*place, "no file includes it", "leave it out, or include it", "POL065"))

    def inventories(self, root: Node) -> None:
        """Add the rows of every spreadsheet to the assets."""
        sheets = [(node, _inventory(node)) for node in _listed(root.child("inventory"))]
        for node, inventory in sheets:
            content = self.bundle.files.get(inventory.csv) if inventory is not None else None
            if inventory is None or content is None:
                continue
            sheet = self.memory.sheets.read(content, self.bundle.shown(inventory.csv), inventory, node)
            self.problems += sheet.problems
            self.incomplete |= not sheet.complete
            assets = root.child("assets") or Node(root.file, root.line, root.column, {}, {})
            if assets.value is not None and not isinstance(assets.value, dict):
                return  # the model says what is wrong with it
            assets = self._open("assets", Node(*assets.place, dict(assets.entries()), dict(assets.keys)))
            for name, row in sheet.rows.items():
                earlier = assets.value.setdefault(name, row)
                if earlier is not row:
                    text = f"asset '{name}' is declared in {earlier.file}:{earlier.line} already"
                    self.problems.append(Problem(*row.place, text, "one row or entry for each asset", "POL069"))


def _listed(node: Node | None) -> list[Node]:
    if node is None or node.value is None:
        return []
    return list(node.value) if isinstance(node.value, list) else [node]


def _inventory(node: Node) -> Inventory | None:
    """Return what an entry says, or None when it says it wrongly: then the policy's own model reports it."""
    plain: Any = node.plain()
    try:
        return Inventory.model_validate({"csv": plain} if isinstance(plain, str) else plain)
    except ValidationError:
        return None
