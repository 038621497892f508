"""Which files a fragment of a policy names, and what those names mean.

In: the tree of one YAML file and its path relative to the main file's folder. Out: the names, each with its place.
Paths are relative to the file that names them, written with '/', and never leave the main file's folder; only the last
part of an `include` may have wildcards. Pure: which files there are, `bundle` looks up.
"""

from __future__ import annotations

import fnmatch
import posixpath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rules.nodes import Node

YAML, CSV, CALENDAR = "include", "csv", "ics"
WILDCARDS = "*?["
OUTSIDE = ""


class Named(NamedTuple):
    """A name where it is written."""

    node: Node
    kind: str
    path: str  # OUTSIDE when it leads out of the folder

    @property
    def is_pattern(self) -> bool:
        """Tell whether the name stands for any number of files."""
        return self.kind == YAML and any(sign in self.path for sign in WILDCARDS)


def named_files(root: Node, base: str) -> Iterator[Named]:
    """Yield what a fragment names, includes first. Mistakes of form are left to the models."""
    written = [(YAML, node) for node in _values(root.child("include"))]
    for node in _values(root.child("inventory")):
        file = node.child("csv") if isinstance(node.value, dict) else node
        written += [(CSV, file)] if file is not None else []
    windows = root.child("windows")
    for window in windows.entries().values() if windows is not None else ():
        file = window.child("ics")
        written += [(CALENDAR, file)] if file is not None else []
    for kind, node in written:
        if isinstance(node.value, str) and node.value:
            yield Named(node, kind, resolved(base, node.value))


def _values(node: Node | None) -> list[Node]:
    if node is None:
        return []
    return [node] if isinstance(node.value, dict) else node.items()


def resolved(base: str, written: str) -> str:
    """Return a name relative to the main file's folder, or OUTSIDE."""
    if written.startswith("/") or "\\" in written:
        return OUTSIDE
    path = posixpath.normpath(posixpath.join(posixpath.dirname(base), written))
    outside = path == ".." or path.startswith("../") or any(sign in posixpath.dirname(path) for sign in WILDCARDS)
    return OUTSIDE if outside or path == "." else path


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern stands for, sorted; a wildcard matches no '/' and no leading dot."""
    folder, last = posixpath.split(pattern)
    found = []
    for name in names:
        where, file = posixpath.split(name)
        hidden = file.startswith(".") and not last.startswith(".")
        if where == folder and not hidden and fnmatch.fnmatchcase(file, last):
            found.append(name)
    return sorted(found)
