"""A policy and everything that it includes, as bytes: what is checked, sent, recorded and compiled again.

In: the path of a policy file. Out: `Bundle`: the main text and every fragment, spreadsheet and calendar by its path
relative to the main file's folder. `read_bundle` is the only place in rules/ that reads an operator's files.
Must never follow a name out of that folder, nor wait for what is no file; what can't be read is said where it is named.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rules.naming import OUTSIDE, YAML, matching, named_files
from rules.problems import PolicyError, Problem
from rules.text import MAX_BYTES, decoded, too_large
from rules.tree import parse_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_BUNDLE_BYTES = 48 * 1024 * 1024  # of all files together; the control socket has a limit of its own
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Bundle:
    """The main text, and the files that it and its fragments name."""

    name: str
    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)  # files that could not be read, and why

    def shown(self, name: str) -> str:
        """Return what a file is called in problems: beside the main file, so that editors find it."""
        return posixpath.join(posixpath.dirname(self.name), name)

    def texts(self) -> dict[str, str]:
        """Return the files as text, as they are sent and recorded. Raises PolicyError for one that is none."""
        return {name: decoded(content, self.shown(name)) for name, content in self.files.items()}


def bundle_of_texts(name: str, text: str, files: Mapping[str, str]) -> Bundle:
    """Return a bundle as it was sent or recorded."""
    return Bundle(name, text, {path: content.encode() for path, content in files.items()})


def read_bundle(path: str | Path) -> Bundle:
    """Read a policy file and all that it includes. Raises PolicyError when the main file is no text."""
    main = Path(path)
    reading = _Reading(str(path), Path(os.path.realpath(main.parent)), main.name)
    text = decoded(_read_main(main), str(path))
    reading.todo.append(("", text))
    while reading.todo:
        reading.fragment(*reading.todo.pop())
    return Bundle(str(path), text, reading.files, reading.unread)


def _read_main(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(str(path), 0, 0, f"can't be read: {reason}", "check path and permissions", "POL001")
        raise PolicyError([problem]) from None


@dataclass(slots=True)
class _Reading:
    """One reading of one policy: fragments whose names are still to be looked up, and what was found."""

    name: str
    root: Path
    main: str
    files: dict[str, bytes] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    todo: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0

    def fragment(self, base: str, text: str) -> None:
        """Read what a fragment names. One that is no YAML names nothing; `load` will say what is wrong with it."""
        try:
            source, _ = parse_tree(text, base)
        except PolicyError:
            return
        for named in named_files(source.root, base):
            if named.path == OUTSIDE:
                continue
            found = self._on_disk(named.path) if named.is_pattern else [named.path]
            for path in found:
                if path not in self.files and path not in self.unread and path != self.main:
                    self._read(path, is_fragment=named.kind == YAML)

    def _on_disk(self, pattern: str) -> list[str]:
        folder = posixpath.dirname(pattern)
        try:
            self._inside(folder)
            names = [posixpath.join(folder, entry.name) for entry in (self.root / folder).iterdir()]
        except (OSError, ValueError):
            return []
        return matching(pattern, (name for name in names if (self.root / name).is_file()))

    def _read(self, path: str, *, is_fragment: bool) -> None:
        if len(self.files) >= MAX_FILES:
            self.unread[path] = f"a policy has at most {MAX_FILES} files"
            return
        try:
            content = self._content(path)
        except (OSError, ValueError) as error:
            self.unread[path] = getattr(error, "strerror", None) or str(error)
            return
        self.size += len(content)
        if self.size > MAX_BUNDLE_BYTES:
            self.unread[path] = f"all files together are larger than {MAX_BUNDLE_BYTES // 2**20} MiB"
            return
        self.files[path] = content
        if is_fragment:
            try:
                self.todo.append((path, decoded(content, path)))
            except PolicyError:
                return  # `load` says so, with its place

    def _inside(self, path: str) -> Path:
        """Return where a name leads. Raises ValueError when that is out of the folder, or nowhere."""
        try:
            place = (self.root / path).resolve()
        except RuntimeError:  # as Python before 3.13 says it
            raise ValueError("it is a link to itself") from None
        if not place.is_relative_to(self.root):
            raise ValueError("it is a link out of the policy's folder")
        return place

    def _content(self, path: str) -> bytes:
        descriptor = os.open(self._inside(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no file")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(too_large(path).message)
        return content


def size_problems(bundle: Bundle) -> Iterable[Problem]:
    """Yield what is too large about a bundle, wherever it came from."""
    if len(bundle.text) > MAX_BYTES:
        yield too_large(bundle.name)
    for name, content in bundle.files.items():
        if len(content) > MAX_BYTES:
            yield too_large(bundle.shown(name))
    total = sum(map(len, bundle.files.values()))
    if total > MAX_BUNDLE_BYTES or len(bundle.files) > MAX_FILES:
        text = f"{len(bundle.files)} files with {total // 2**20} MiB"
        hint = f"a policy has at most {MAX_FILES} files and {MAX_BUNDLE_BYTES // 2**20} MiB"
        yield Problem(bundle.name, 0, 0, text, hint, "POL063")
