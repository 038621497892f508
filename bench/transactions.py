"""Real clients at real servers through an enforcing gateway that inspects: how many transactions, how many failed.

`python -m bench.transactions [--count 10000] [--station NAME] [--uninspected]`: the stations of `bench.stations` in the
lab, one after the other, each with `count` permitted transactions. In: nothing but the kernel. Out: a table; exit
status 1 when one transaction failed. Root; namespaces of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.stations import STATIONS
from tests.evasion.ground import DEVICE, STATION, ground

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.evasion.ground import Ground

SLOWEST_S: Final = 0.5  # per transaction, with the machine busy: cpppo parses byte by byte in Python
START_S: Final = 30.0
HEADING: Final = f"{'station':16}{'transactions':>14}{'failed':>10}{'seconds':>10}{'a second':>10}"


@dataclass(frozen=True, slots=True)
class Row:
    """One station's account."""

    station: str
    done: int
    failed: int
    seconds: float
    first_failure: str


def transact(standing: Ground, station: str, count: int) -> Row:
    """Let one station do its transactions."""
    argv = [sys.executable, "-m", "bench.stations", station, "--host", DEVICE.ip4, "--count", str(count)]
    done = standing.lab.run(STATION.name, argv, timeout_s=START_S + SLOWEST_S * count, check=False)
    if not done.stdout:
        return Row(station, 0, count, 0.0, done.stderr.strip()[-300:])
    said = json.loads(done.stdout)
    # What a client that gave up did not do any more has failed too.
    missing = count - said["done"]
    return Row(station, said["done"], said["failed"] + missing, said["seconds"], said["first_failure"])


def run(names: Sequence[str], count: int, *, inspected: bool, say: Callable[[str], None]) -> list[Row]:
    """Build the lab, put the policy in force, and let every station named do its transactions; `say` gets each row."""
    with ground(raw=False) as standing:
        standing.apply(inspected=inspected)
        standing.start_servers(sorted({STATIONS[name][0] for name in names}))
        rows = []
        for name in names:
            rows.append(transact(standing, name, count))
            say(line(rows[-1]))
        return rows


def line(row: Row) -> str:
    """Return a row of the table."""
    rate = row.done / row.seconds if row.seconds else 0.0
    found = f"{row.station:16}{row.done:>14}{row.failed:>10}{row.seconds:>10.1f}{rate:>10.0f}"
    return found + (f"  {row.first_failure}" if row.first_failure else "")


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stations and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.transactions", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--station", action="append", choices=STATIONS, help="only this one; may be repeated")
    parser.add_argument("--uninspected", action="store_true", help="the same conduit without inspection, to compare")
    given = parser.parse_args(arguments)
    print(HEADING)
    rows = run(given.station or list(STATIONS), given.count, inspected=not given.uninspected, say=_say)
    failed = sum(row.failed for row in rows)
    print(f"\n{sum(row.done for row in rows)} transactions, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
