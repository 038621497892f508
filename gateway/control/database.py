"""SQLite files of the state directory: opened the same way, and never a reason for the boundary to stay down.

In: a path and a class that opens it. Out: an open one, whatever the file is like, and what is wrong with it. A damaged
file is set aside and a new one begun; where the disk allows none at all, it is kept in memory until the next start.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_MEMORY: Final = ":memory:"
BUSY_S: Final = 2.0
PRIVATE_MODE: Final = 0o600
T = TypeVar("T")


def connect(path: Path | None, schema: str) -> sqlite3.Connection:
    """Open a database and make sure of its schema; None keeps it in memory only.

    What is committed is durable (WAL, synchronous FULL). Raises sqlite3.Error or OSError.
    """
    where = IN_MEMORY if path is None else path
    opened = sqlite3.connect(where, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    try:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("PRAGMA synchronous=FULL")
        opened.execute("PRAGMA foreign_keys=ON")
        opened.executescript(schema)
        if path is not None:
            path.chmod(PRIVATE_MODE)
    except BaseException:
        opened.close()
        raise
    return opened


def open_or_begin_anew(path: Path, kind: Callable[[Path | None], T], what: str) -> tuple[T, str]:
    """Return an open one whatever the file is like, and what is wrong with it ("" when nothing is)."""
    try:
        return kind(path), ""
    except (sqlite3.OperationalError, OSError) as error:
        return kind(None), f"the {what} cannot be opened and is kept in memory only: {error}"
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: a complaint that quotes what is no text
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        wrong = f"the {what} was damaged ({error}), set aside as {path.name}.broken-{stamp}; a new one is begun"
    try:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(path.with_name(f"{path.name}{suffix}.broken-{stamp}"))
        return kind(path), wrong
    except (sqlite3.Error, OSError) as error:
        return kind(None), f"{wrong}; that failed too ({error}): it is kept in memory only"
