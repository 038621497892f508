"""The history of policies: what became of each, how it is found, how much is kept."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from gateway.control.history import History, open_history
from gateway.control.state_dir import InForceRecord
from gateway.errors import ConfigError, InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def record(generation: int, digest: str = "", text: str = "") -> InForceRecord:
    """A policy under a generation."""
    return InForceRecord(
        text=text or f"text of {generation}",
        name="policy.yaml",
        digest=digest or f"{generation:04x}" + "0" * 60,
        generation=generation,
        slots={},
        who="ops(1000)",
        applied=datetime.now(UTC),
        files={"zones.yaml": f"zones of {generation}"},
    )


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """An empty one that keeps five."""
    made = History(tmp_path / "history.db", 5)
    yield made
    made.close()


def test_each_policy_ends_as_it_did(history: History) -> None:
    """Confirmed, then superseded; provisional, then rolled back; the newest is in force."""
    history.add(record(1), reason="first", how="boot")
    history.add(record(2), reason="try", how="apply", provisional=True)
    history.add(record(3), reason="not confirmed", how="rollback")
    history.add(record(4), reason="again", how="apply", provisional=True)
    history.settle(4, "confirmed")
    entries = history.entries(10)
    assert [(entry.number, entry.outcome, entry.predecessor) for entry in entries] == [
        (4, "confirmed", 3),
        (3, "superseded", 2),
        (2, "rolled back", 1),
        (1, "superseded", None),
    ]
    assert [entry.ended is None for entry in entries] == [True, False, False, False]
    assert history.find("in-force").number == 4


def test_texts_and_files_come_back_whole(history: History) -> None:
    """What was in force can be compiled again, files included; equal contents are kept once."""
    for generation in (1, 2):
        history.add(record(generation, text="é" * 100_000).model_copy(update={"files": {}}), reason="", how="apply")
    history.add(record(3), reason="", how="apply")
    assert history.content(1).text == "é" * 100_000
    assert history.content(3).files == {"zones.yaml": "zones of 3"}
    assert history._db.execute("SELECT count(*) FROM contents").fetchone() == (2,)


def test_found_by_number_or_digest(history: History) -> None:
    """A number first, then the beginning of a digest, the newest of several; nothing else."""
    history.add(record(1, "abcd1" + "0" * 59), reason="", how="apply")
    history.add(record(2, "abcd1" + "0" * 59), reason="", how="apply")
    history.add(record(3, "1234" + "0" * 60), reason="", how="apply")
    assert history.find("1").number == 1
    assert history.find("abcd").number == 2
    assert history.find("1234").number == 3
    for which in ("abc", "99", "%", "abcd2", "", "in_force"):
        with pytest.raises(ConfigError, match="no policy"):
            history.find(which)


def test_the_oldest_are_forgotten_and_the_newest_never(tmp_path: Path) -> None:
    """Five are kept, their texts with them; with the least setting the one in force and the one before stay."""
    for keep, left in ((5, [20, 19, 18, 17, 16]), (2, [20, 19])):
        history = History(tmp_path / f"{keep}.db", keep)
        for generation in range(1, 21):
            history.add(record(generation), reason="", how="apply")
        assert [entry.number for entry in history.entries(100)] == left
        assert history._db.execute("SELECT count(*) FROM contents").fetchone() == (keep,)
        history.close()
        again = History(tmp_path / f"{keep}.db", keep)
        assert again.add(record(21), reason="", how="apply") == 21, "a number is never given twice"
        assert again.knows(record(21))
        assert not again.knows(record(20))
        again.close()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """Garbage where the history should be: a new one is begun, and the text says so."""
    path = tmp_path / "history.db"
    path.write_bytes(b"no database " * 500)
    history, wrong = open_history(path, 5)
    assert "set aside" in wrong
    assert history.add(record(1), reason="", how="boot") == 1
    history.close()
    assert list(tmp_path.glob("history.db.broken-*"))


def test_a_damaged_text_is_said_and_not_used(history: History, tmp_path: Path) -> None:
    """One content that cannot be unpacked is an error of its own, not a wrong policy."""
    history.add(record(1), reason="", how="apply")
    with sqlite3.connect(tmp_path / "history.db") as other:
        other.execute("UPDATE contents SET packed = x'00'")
    other.close()
    with pytest.raises(InternalError, match="cannot be unpacked"):
        history.content(1)
