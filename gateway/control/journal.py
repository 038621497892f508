"""The journal: an append-only history of who did what with which result, in SQLite, chained by SHA-256.

In: an entry (uid, role, action, detail, result). Out: a durable row whose digest covers the row before it; `verify`
finds the first row that was altered or removed. Must never update or delete a row. One connection, used by one thread
at a time: the enforcement core calls it through `asyncio.to_thread` under its own lock.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.control.database import connect, open_or_begin_anew

if TYPE_CHECKING:
    from pathlib import Path

GENESIS: Final = bytes(32)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS journal (
  number INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  uid INTEGER,
  user TEXT NOT NULL,
  role TEXT NOT NULL,
  action TEXT NOT NULL,
  detail TEXT NOT NULL,
  result TEXT NOT NULL,
  digest BLOB NOT NULL
);
CREATE TRIGGER IF NOT EXISTS journal_no_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS journal_no_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
_COLUMNS: Final = ("number", "time", "uid", "user", "role", "action", "detail", "result")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a peer of the control socket, or the daemon itself (`uid` None)."""

    uid: int | None
    user: str
    role: str

    def __str__(self) -> str:
        return self.user if self.uid is None else f"{self.user}({self.uid})"


DAEMON: Final = Actor(None, "conduitd", "daemon")


def open_journal(path: Path) -> tuple[Journal, str]:
    """Return a journal whatever the file is like, and what is wrong with it: the boundary must come up without one."""
    return open_or_begin_anew(path, Journal, "journal")


def _row_digest(previous: bytes, row: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(previous + orjson.dumps(row)).digest()


class Journal:
    """The open journal file."""

    def __init__(self, path: Path | None) -> None:
        """Open or create it; None keeps it in memory only. Raises sqlite3.Error or OSError when it cannot be opened."""
        self._lock = threading.Lock()
        self._db = connect(path, _SCHEMA)

    def append(self, actor: Actor, action: str, detail: dict[str, Any], result: str) -> int:
        """Write one row and return its number; durable when it returns. Blocks on the disk. Raises sqlite3.Error."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                number = self._append_row(actor, action, detail, result)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return number

    def _append_row(self, actor: Actor, action: str, detail: dict[str, Any], result: str) -> int:
        last = self._db.execute("SELECT number, digest FROM journal ORDER BY number DESC LIMIT 1").fetchone()
        number, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
        if not isinstance(previous, bytes):
            raise sqlite3.DatabaseError("the last entry is damaged: nothing can be chained to it")
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        text = orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode()
        row = (number, time, actor.uid, actor.user, actor.role, action, text, result)
        digest = _row_digest(previous, row)
        self._db.execute("INSERT INTO journal VALUES (?,?,?,?,?,?,?,?,?)", (*row, digest))
        return int(number)

    def entries(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest rows, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number,time,uid,user,role,action,detail,result FROM journal ORDER BY number DESC LIMIT ?",
                (limit,),
            ).fetchall()
        entries = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        for entry in entries:
            entry["detail"] = orjson.loads(entry["detail"])
        return entries

    def verify(self) -> int | None:
        """Return the number of the first row that does not follow from the one before it; None when all do."""
        previous = GENESIS
        expected = 1
        with self._lock:
            rows = self._db.execute("SELECT * FROM journal ORDER BY number").fetchall()
        for row in rows:
            digest = _row_digest(previous, tuple(row[:-1]))
            if row[0] != expected or digest != bytes(row[-1]):
                return expected
            previous = digest
            expected += 1
        return None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
