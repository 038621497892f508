"""Databases of the state directory that a disk has damaged: set aside or loud, never the end of control."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from gateway.control.acknowledgements import Acknowledgements
from gateway.control.database import open_or_begin_anew
from gateway.control.journal import DAEMON, Journal

if TYPE_CHECKING:
    from pathlib import Path


def damage(path: Path, statement: str) -> None:
    """Write what no program of ours would."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA writable_schema=ON")
    database.execute(statement)
    database.close()


def test_a_schema_whose_names_are_no_text_is_set_aside(tmp_path: Path) -> None:
    """SQLite's own complaint quotes the name, which Python can't decode: an error that is no sqlite3.Error."""
    path = tmp_path / "acknowledgements.sqlite"
    Acknowledgements(path).close()
    damage(path, "UPDATE sqlite_master SET name = CAST(x'f7f7' AS TEXT), sql = 'CREATE nonsense'")
    opened, wrong = open_or_begin_anew(path, Acknowledgements, "file of acknowledgements")
    assert opened.all() == []
    assert "was damaged" in wrong
    assert list(tmp_path.glob("*.broken-*"))
    opened.close()


def test_a_damaged_last_entry_of_the_journal_is_a_failing_journal(tmp_path: Path) -> None:
    """What `Core.record` counts and says, instead of what ends control at each start."""
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    assert journal.append(DAEMON, "control.start", {}, "done") == 1
    damage(path, "DELETE FROM sqlite_master WHERE type = 'trigger'")
    damage(path, "UPDATE journal SET digest = 'no bytes'")
    with pytest.raises(sqlite3.DatabaseError, match="last entry"):
        journal.append(DAEMON, "control.start", {}, "done")
    journal.close()
