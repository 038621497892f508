"""Every policy that was in force, with its whole text: what `policy history`, `diff` and `rollback` work from.

In: records as they come into force, and how each of them ended. Out: entries, newest first, and texts to compile again.
Bounded: the oldest are forgotten, never the one in force or the one before it. One connection, used by one thread at a
time, through `asyncio.to_thread`; what is written is durable when a call returns. What keeps a provisional change
revocable is not here but in the state directory: the history may be lost without losing the way back.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from pydantic import ValidationError

from gateway.control.database import connect, open_or_begin_anew
from gateway.control.state_dir import OverridesRecord
from gateway.errors import ConfigError, InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.control.state_dir import InForceRecord, StageOverride

How = Literal["apply", "rollback", "boot"]
Outcome = Literal["provisional", "confirmed", "superseded", "rolled back"]
IN_FORCE: Final = "in-force"
DIGEST_CHARACTERS_MIN: Final = 4
LEVEL: Final = 6  # zlib: a policy text becomes a tenth
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS contents (hash BLOB PRIMARY KEY, packed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS policies (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  generation INTEGER NOT NULL,
  digest TEXT NOT NULL,
  name TEXT NOT NULL,
  content BLOB NOT NULL REFERENCES contents (hash),
  who TEXT NOT NULL,
  time TEXT NOT NULL,
  reason TEXT NOT NULL,
  how TEXT NOT NULL,
  outcome TEXT NOT NULL,
  predecessor INTEGER,
  ended TEXT,
  overrides TEXT
);
"""
_COLUMNS: Final = (
    "number", "generation", "digest", "name", "who", "time", "reason", "how", "outcome", "predecessor", "ended",
)  # fmt: skip
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM policies"  # noqa: S608 (our own column names)


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy that was in force; `ended` is None while it still is."""

    number: int
    generation: int
    digest: str
    name: str
    who: str
    time: str
    reason: str
    how: How
    outcome: Outcome
    predecessor: int | None
    ended: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """A policy's text and the files that it includes."""

    text: str
    files: dict[str, str]


class History:
    """The open history file."""

    def __init__(self, path: Path | None, keep: int) -> None:
        """Open or create it; None keeps it in memory only. Raises sqlite3.Error or OSError when it cannot be opened."""
        self._keep = keep
        self._lock = threading.Lock()
        self._db = connect(path, _SCHEMA)
        if not any(column[1] == "overrides" for column in self._db.execute("PRAGMA table_info(policies)")):
            self._db.execute("ALTER TABLE policies ADD COLUMN overrides TEXT")  # of a version before 0.2

    def add(
        self,
        record: InForceRecord,
        *,
        reason: str,
        how: How,
        provisional: bool = False,
        overrides: Mapping[str, StageOverride] | None = None,
    ) -> int:
        """Note what came into force, and the end of what was before it; return its number. Raises sqlite3.Error."""
        content = orjson.dumps({"text": record.text, "files": record.files}, option=orjson.OPT_SORT_KEYS)
        name, packed = hashlib.sha256(content).digest(), zlib.compress(content, LEVEL)
        outcome = "provisional" if provisional else "confirmed"
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            last = self._last()
            if last is not None:
                ending = "rolled back" if how == "rollback" else "superseded"
                self._db.execute(
                    "UPDATE policies SET outcome = ?, ended = ? WHERE number = ?", (ending, _now(), last.number)
                )
            self._db.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (name, packed))
            row = (record.generation, record.digest, record.name, name, record.who, record.applied.isoformat(), reason)
            number = self._db.execute(
                "INSERT INTO policies (generation, digest, name, content, who, time, reason, how, outcome, predecessor,"
                " overrides) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (*row, how, outcome, last.number if last else None, _packed(overrides or {})),
            ).lastrowid
            self._prune()
        return int(number or 0)

    def note_overrides(self, generation: int, overrides: Mapping[str, StageOverride]) -> None:
        """Say which stage overrides stand under the policy in force. Raises sqlite3.Error."""
        with self._lock:
            self._db.execute(
                "UPDATE policies SET overrides = ? WHERE generation = ? AND ended IS NULL",
                (_packed(overrides), generation),
            )

    def overrides(self, number: int) -> dict[str, StageOverride] | None:
        """Return those that stood under an entry when it ended, or stand now; None when nobody knows."""
        with self._lock:
            row = self._db.execute("SELECT overrides FROM policies WHERE number = ?", (number,)).fetchone()
        if row is None or row[0] is None:
            return None
        try:
            return OverridesRecord.model_validate_json(row[0]).overrides
        except ValidationError as error:
            hint = "`conduitctl policy history` lists others; the journal says who set which stage when"
            detail = f"the stages under policy {number} cannot be read: {str(error)[:200]}"
            raise InternalError("history_damaged", detail, hint) from error

    def settle(self, generation: int, outcome: Outcome) -> None:
        """Say how a provisional policy that is still in force ended up. Raises sqlite3.Error."""
        with self._lock:
            self._db.execute(
                "UPDATE policies SET outcome = ? WHERE generation = ? AND ended IS NULL", (outcome, generation)
            )

    def knows(self, record: InForceRecord) -> bool:
        """Say whether the newest entry is this very policy."""
        with self._lock:
            last = self._last()
        return last is not None and (last.generation, last.digest) == (record.generation, record.digest)

    def entries(self, limit: int) -> list[Entry]:
        """Return the newest entries, newest first."""
        with self._lock:
            rows = self._db.execute(f"{_SELECT} ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [Entry(*row) for row in rows]

    def find(self, which: str) -> Entry:
        """Return the entry of a number, `in-force` or the newest with a digest. Raises ConfigError."""
        for question, value in _questions(which):
            with self._lock:
                row = self._db.execute(f"{_SELECT} {question} ORDER BY number DESC LIMIT 1", value).fetchone()
            if row is not None:
                return Entry(*row)
        hint = "`conduitctl policy history` lists them; a digest needs at least 4 characters"
        raise ConfigError("policy_unknown", f"no policy {which!r} in the history", hint)

    def content(self, number: int) -> Content:
        """Return an entry's text and files. Raises ConfigError when there is no such entry."""
        with self._lock:
            row = self._db.execute(
                "SELECT packed FROM policies JOIN contents ON content = hash WHERE number = ?", (number,)
            ).fetchone()
        if row is None:
            raise ConfigError("policy_unknown", f"no policy {number} in the history", "it was forgotten meanwhile")
        try:
            return Content(**orjson.loads(zlib.decompress(row[0])))
        except (zlib.error, ValueError, TypeError) as error:
            hint = "another number may be whole; the journal says what was applied when"
            raise InternalError("history_damaged", f"policy {number} cannot be unpacked: {error}", hint) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _last(self) -> Entry | None:
        row = self._db.execute(f"{_SELECT} ORDER BY number DESC LIMIT 1").fetchone()
        return Entry(*row) if row is not None else None

    def _prune(self) -> None:
        """Forget the oldest; the newest two, which are in force and before it, always stay."""
        self._db.execute(
            "DELETE FROM policies WHERE number <= (SELECT max(number) FROM policies) - ?", (max(2, self._keep),)
        )
        self._db.execute("DELETE FROM contents WHERE hash NOT IN (SELECT content FROM policies)")


def _questions(which: str) -> list[tuple[str, tuple[Any, ...]]]:
    if which == IN_FORCE:
        return [("WHERE ended IS NULL", ())]
    found: list[tuple[str, tuple[Any, ...]]] = []
    if which.isascii() and which.isdigit() and len(which) < 16:
        found.append(("WHERE number = ?", (int(which),)))
    if len(which) >= DIGEST_CHARACTERS_MIN and all(character in "0123456789abcdef" for character in which):
        found.append(("WHERE substr(digest, 1, ?) = ?", (len(which), which)))
    return found


def _packed(overrides: Mapping[str, StageOverride]) -> str:
    return OverridesRecord(overrides=dict(overrides)).model_dump_json()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def open_history(path: Path, keep: int) -> tuple[History, str]:
    """Return a history whatever the file is like, and what is wrong with it."""
    return open_or_begin_anew(path, lambda place: History(place, keep), "policy history")
