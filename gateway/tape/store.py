"""The tape as a file: sights, and how often each was seen in each quarter of an hour; bounded in size and age.

In: sums by sight. Out: observations over a stretch of time. Two tables, because the same few thousand sights come again
and again: what was seen, and when. What is too old, or too much, goes first from the oldest end; what went is counted.
Blocks on the disk; one connection, used by one thread at a time. Raises sqlite3.Error.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.control.database import connect
from gateway.tape import coverage
from gateway.tape.sight import NUMBERS, Sight, Sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from gateway.tape.coverage import Stretch

SLOT_NS: Final = 900 * 1_000_000_000  # a quarter of an hour
DAY_NS: Final = 86_400 * 1_000_000_000
PRUNE_STEP: Final = 50_000  # rows removed at a time: bounds how long a writer is away
_COLUMNS: Final = ", ".join(Sight._fields)
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS sights (
  id INTEGER PRIMARY KEY,
  {", ".join(f"{name} {'INTEGER' if name in NUMBERS else 'TEXT'} NOT NULL" for name in Sight._fields)},
  UNIQUE ({_COLUMNS})
);
CREATE TABLE IF NOT EXISTS seen (
  slot INTEGER NOT NULL,
  sight INTEGER NOT NULL REFERENCES sights(id),
  first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL,
  flows INTEGER NOT NULL,
  frames INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (slot, sight)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_ADD: Final = """
INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (slot, sight) DO UPDATE SET
  first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns),
  flows = flows + excluded.flows, frames = frames + excluded.frames, bytes = bytes + excluded.bytes
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """A sight, what it adds up to, and the beginnings (ns) of the quarters of an hour in which it was seen."""

    sight: Sight
    sum: Sum
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is on the tape. Times are nanoseconds since the epoch, None when it is empty."""

    first_ns: int | None
    last_ns: int | None
    sights: int
    rows: int
    bytes: int
    forgotten_rows: int  # too old, or more than there is room for
    uncounted: int  # events that were lost before the tape, and sights that a flood left no room for


class Tape:
    """The open file."""

    def __init__(self, path: Path | None, *, only_look: bool = False) -> None:
        """Open or begin it; None keeps it in memory only. `only_look` reads a file that a daemon may be writing.

        Raises sqlite3.Error or OSError.
        """
        self._lock = threading.Lock()
        self._ids: dict[Sight, int] = {}
        if only_look:
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)
            return
        self._db = connect(path, _SCHEMA + coverage.SCHEMA)
        self._db.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes is seconds of counting, never the file

    def write(self, sums: Mapping[Sight, Sum], uncounted: int = 0, recorded: Iterable[Stretch] = ()) -> None:
        """Add sums, each to the quarter of an hour in which it was seen last, and when everything was recorded.

        In one transaction.
        """
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            rows = [(s.last_ns // SLOT_NS, self._id(sight), s.first_ns, s.last_ns, s.flows, s.frames, s.bytes)
                    for sight, s in sums.items()]  # fmt: skip
            self._db.executemany(_ADD, rows)
            if uncounted:
                self._note("uncounted", uncounted)
            for stretch in recorded:
                coverage.add(self._db, stretch)

    def recorded(self) -> list[Stretch]:
        """Return when everything was recorded, oldest first."""
        with self._lock:
            return coverage.read(self._db)

    def _note(self, name: str, more: int) -> None:
        self._db.execute(
            "INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )

    def _id(self, sight: Sight) -> int:
        found = self._ids.get(sight)
        if found is None:
            marks = ", ".join("?" * len(sight))
            self._db.execute(f"INSERT OR IGNORE INTO sights ({_COLUMNS}) VALUES ({marks})", sight)  # noqa: S608 (our own names)
            same = " AND ".join(f"{name} = ?" for name in Sight._fields)
            found = int(self._db.execute(f"SELECT id FROM sights WHERE {same}", sight).fetchone()[0])  # noqa: S608 (as above)
            self._ids[sight] = found
        return found

    def observations(self, since_ns: int = 0, until_ns: int = 1 << 62) -> Iterator[Observation]:
        """Yield what was seen between two instants, by sight, to the quarter of an hour."""
        with self._lock:
            rows = self._db.execute(
                f"""SELECT {_COLUMNS}, min(first_ns), max(last_ns), sum(flows), sum(frames), sum(bytes),
                    group_concat(slot) FROM seen JOIN sights ON seen.sight = sights.id
                    WHERE slot >= ? AND slot <= ? AND last_ns >= ? AND first_ns <= ? GROUP BY sight ORDER BY sight""",  # noqa: S608 (our own names)
                (since_ns // SLOT_NS, until_ns // SLOT_NS, since_ns, until_ns),
            ).fetchall()
        size = len(Sight._fields)
        for row in rows:
            slots = tuple(sorted(int(slot) * SLOT_NS for slot in row[size + 5].split(",")))
            yield Observation(Sight(*row[:size]), Sum(*row[size : size + 5]), slots)

    def extent(self) -> Extent:
        """Return how much there is."""
        with self._lock:
            first, last, rows = self._db.execute("SELECT min(first_ns), max(last_ns), count(*) FROM seen").fetchone()
            (sights,) = self._db.execute("SELECT count(*) FROM sights").fetchone()
            notes = dict(self._db.execute("SELECT name, value FROM notes").fetchall())
            used = self._used()
        return Extent(first, last, sights, rows, used, notes.get("forgotten", 0), notes.get("uncounted", 0))

    def _used(self) -> int:
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    def prune(self, now_ns: int, keep_days: int, max_bytes: int) -> int:
        """Forget what is older than `keep_days`, then the oldest while it is more than `max_bytes`; return the rows.

        The file keeps the pages that become free for what comes next: it never shrinks, and never outgrows its bound.
        """
        forgotten = self._forget_before((now_ns - keep_days * DAY_NS) // SLOT_NS)
        while self._larger_than(max_bytes):
            step = self._forget_oldest()
            forgotten += step
            if not step:
                break
        if forgotten:
            self._forget_sights(forgotten)
        return forgotten

    def _larger_than(self, most: int) -> bool:
        with self._lock:
            return self._used() > most

    def _forget_before(self, slot: int) -> int:
        with self._lock, self._db:
            coverage.forget_before(self._db, slot * SLOT_NS)
            return self._db.execute("DELETE FROM seen WHERE slot < ?", (slot,)).rowcount

    def _forget_oldest(self) -> int:
        """Forget the oldest quarters of an hour, about PRUNE_STEP rows; never the newest one."""
        with self._lock, self._db:
            found = self._db.execute("SELECT slot FROM seen ORDER BY slot LIMIT 1 OFFSET ?", (PRUNE_STEP,)).fetchone()
            (newest,) = self._db.execute("SELECT max(slot) FROM seen").fetchone()
            limit = newest if found is None else min(max(found[0], 1), newest)
            coverage.forget_before(self._db, limit * SLOT_NS)
            return self._db.execute("DELETE FROM seen WHERE slot < ?", (limit,)).rowcount

    def _forget_sights(self, forgotten: int) -> None:
        with self._lock:
            self._ids.clear()
            self._db.execute("DELETE FROM sights WHERE id NOT IN (SELECT sight FROM seen)")
            self._note("forgotten", forgotten)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
