"""Whether the policy file still says what is in force, its includes, spreadsheets and calendars included.

In: the path from the settings and the record in force. Out: yes, no, or None when it can't be read. Reading a large
policy takes a while: it is done in a thread, and only when a file or folder has changed since the last time.
Must never decide anything: what is in force is the record's, whatever the file says.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rules.bundle import read_bundle
from rules.problems import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.control.state_dir import InForceRecord

Signature = tuple[object, ...]


class PolicyFile:
    """Remembers the last comparison."""

    def __init__(self) -> None:
        self._seen: tuple[Path, int, Signature] | None = None
        self._differs: bool | None = None

    async def differs(self, path: Path, record: InForceRecord) -> bool | None:
        """Tell whether the file, with all that it includes, says something else than the record."""
        return await asyncio.to_thread(self._compare, path, record)

    def _compare(self, path: Path, record: InForceRecord) -> bool | None:
        seen = (path, record.generation, _signature(path, record.files))
        if seen != self._seen:
            try:
                found = read_bundle(path)
                self._differs = found.text != record.text or found.texts() != record.files
            except PolicyError:
                self._differs = None if not path.is_file() else True
            self._seen = seen
        return self._differs


def _signature(path: Path, names: Iterable[str]) -> Signature:
    """Return what changes when a file is written, or one comes or goes where a pattern may look."""
    files = [path, *(path.parent / name for name in names)]
    return tuple(_stamp(place) for place in dict.fromkeys([*files, *(file.parent for file in files)]))


def _stamp(place: Path) -> tuple[int, ...] | None:
    try:
        state = place.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns
