"""What people took on: traffic that enforcement will drop, by whom, why, and until when.

In: groups as `rules.readiness` names them. Out: durable rows, one for each group. Who did what stays in the journal: a
row that is withdrawn is gone from here. One connection, used by one thread at a time. Raises sqlite3.Error.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gateway.control.database import connect
from gateway.errors import ConfigError
from rules.readiness import Acknowledgement, Group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS acknowledgements (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  object TEXT NOT NULL,
  source TEXT NOT NULL,
  destination TEXT NOT NULL,
  service TEXT NOT NULL,
  code TEXT NOT NULL,
  who TEXT NOT NULL,
  since TEXT NOT NULL,
  reason TEXT NOT NULL,
  until TEXT
);
"""


class Acknowledgements:
    """The open file."""

    def __init__(self, path: Path | None) -> None:
        """Open or begin it; None keeps it in memory only. Raises sqlite3.Error or OSError."""
        self._lock = threading.Lock()
        self._db = connect(path, _SCHEMA)

    def add(
        self, groups: Sequence[Group], who: str, since: datetime, reason: str, until: datetime | None
    ) -> list[Acknowledgement]:
        """Write one row for each group, all or none; durable when it returns."""
        found = []
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for group in groups:
                ends = None if until is None else until.isoformat()
                row = (*group, who, since.isoformat(), reason, ends)
                added = self._db.execute("INSERT INTO acknowledgements VALUES (NULL,?,?,?,?,?,?,?,?,?)", row)
                found.append(Acknowledgement(int(added.lastrowid or 0), group, who, since, reason, until))
        return found

    def all(self) -> list[Acknowledgement]:
        """Return every row, those that ended included."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM acknowledgements ORDER BY number").fetchall()
        return [_read(row) for row in rows]

    def withdraw(self, number: int) -> Acknowledgement:
        """Remove one and return it. Raises ConfigError when there is none of this number."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute("SELECT * FROM acknowledgements WHERE number = ?", (number,)).fetchone()
            if row is None:
                hint = "`conduitctl readiness` shows their numbers"
                raise ConfigError("acknowledgement_unknown", f"there is no acknowledgement {number}", hint)
            self._db.execute("DELETE FROM acknowledgements WHERE number = ?", (number,))
        return _read(row)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _read(row: tuple[object, ...]) -> Acknowledgement:
    number, object_, source, destination, service, code, who, since, reason, until = row
    group = Group(str(object_), str(source), str(destination), str(service), str(code))
    ends = None if until is None else datetime.fromisoformat(str(until))
    return Acknowledgement(int(str(number)), group, str(who), datetime.fromisoformat(str(since)), str(reason), ends)
