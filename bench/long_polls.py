"""Stations that hold their connections and poll on a beat: what each poll of each connection became.

`python -m bench.long_polls --host ADDRESS --out FILE [--every MS] [--within S] NAME...`: the client libraries of
`bench.stations`, each in a thread with one connection, which is made anew only when a poll has failed. Out: for every
poll one JSON line in FILE, a `Row`; times are CLOCK_MONOTONIC seconds, the same in every process of the machine.
Must never repeat a poll: what was not answered within --within has failed.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from bench import stations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY_MS: Final = 25
WITHIN_S: Final = 20.0  # far beyond the outages that are made: TCP repeats itself 12.6 s after a loss at the latest
WITHOUT_END: Final = 1 << 40
CLIENTS: Final[dict[str, Callable[[str, int, float], Iterator[str]]]] = {
    "pymodbus": stations.pymodbus,
    "snap7": stations.snap7,
    "pycomm3": stations.pycomm3,
    "cpppo": stations.cpppo,
}


class Row(NamedTuple):
    """One poll."""

    station: str
    connection: int  # which one of this station's, from 0
    asked: float
    ended: float
    wrong: str


class Rows:
    """The file that all stations write to."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def add(self, row: Row) -> None:
        """Append a row, at once for whoever reads along."""
        with self._lock:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()


def read_rows(path: Path) -> list[Row]:
    """Return the rows written so far."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [Row(*json.loads(line)) for line in whole.splitlines()]


def poll(name: str, host: str, within_s: float, every_s: float, rows: Rows) -> None:
    """Poll for ever, connection after connection."""
    connection = 0
    while True:
        polls = CLIENTS[name](host, WITHOUT_END, within_s)
        wrong = ""
        while not wrong:
            asked = time.monotonic()
            try:
                wrong = next(polls)
            except Exception as error:  # noqa: BLE001 - whatever a client library raises is a failed poll
                wrong = f"{type(error).__name__}: {error}"
            rows.add(Row(name, connection, asked, time.monotonic(), wrong))
            time.sleep(every_s)
        polls.close()
        connection += 1


def main() -> None:
    """Poll until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.long_polls", description=__doc__)
    parser.add_argument("names", nargs="+", choices=CLIENTS, metavar="NAME")
    parser.add_argument("--host", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--every", type=int, default=EVERY_MS)
    parser.add_argument("--within", type=float, default=WITHIN_S)
    given = parser.parse_args()
    with given.out.open("a") as file:
        rows = Rows(file)
        threads = [
            threading.Thread(target=poll, args=(name, given.host, given.within, given.every / 1000, rows))
            for name in given.names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
