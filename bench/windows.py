"""The big run of windows against their slow twin, and what a schedule costs.

`python -m bench.windows --windows 20 --days 365 [--every 60] [--seed S] [--jobs 2]`: random windows in each of six time
zones are asked at every step and on both sides of everything that either takes for a change; exit 1 at the first
difference, with its seed. `--scale` prints what 10,000 conduits that share 100 windows cost instead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rules.model import Policy
from rules.windows import schedule
from tests.support.windows import ZONES, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BEGIN: Final = datetime(2027, 6, 1, tzinfo=UTC)  # a year with the leap day of 2028, and a winter and a summer time
APIA: Final = datetime(2011, 6, 1, tzinfo=UTC)  # a year that lost a day
SCALE_CONDUITS: Final = 10_000
SCALE_WINDOWS: Final = 100

Case = tuple[int, str, datetime, int, int]


def run_case(case: Case) -> tuple[Case, int, int, str | None]:
    """Compare one window over the whole time."""
    seed, zone, begin, days, every = case
    found = compare(seed, zone, begin, days, every=every)
    return case, found.seconds_asked, found.changes, f"{found.differs}: {found.window}" if found.differs else None


def against_twin(windows: int, days: int, every: int, seed: int, jobs: int) -> int:
    """Run them all; return the number of differences."""
    cases: list[Case] = [(seed + number, zone, BEGIN, days, every) for number in range(windows) for zone in ZONES]
    cases += [(seed + number, "Pacific/Apia", APIA, days, every) for number in range(windows)]
    started = time.monotonic()
    asked = changes = differences = 0
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for case, here, edges, difference in pool.imap_unordered(run_case, cases):
            asked, changes = asked + here, changes + edges
            if difference is not None:
                differences += 1
                print(f"DIFFERENT seed {case[0]} zone {case[1]} at {difference}", flush=True)
    print(
        f"windows = twin: {len(cases)} windows, {days} days, {len(ZONES)} zones, {asked} seconds asked, "
        f"{changes} edges, {differences} differences, seed {seed}, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return differences


def scale(seed: int) -> None:
    """Print what a large schedule costs."""
    rng = random.Random(seed)
    names = [f"w{number}" for number in range(SCALE_WINDOWS)]
    ends = {"from": {"zone": "a"}, "to": {"zone": "b"}, "services": ["modbus"]}
    text: dict[str, Any] = {
        "version": 1,
        "site": {"name": "s", "timezone": "Europe/Berlin"},
        "windows": {name: _plant_window(rng) for name in names},
        "conduits": {
            f"c{at}": ends | {"windows": rng.sample(names, rng.randint(1, 2))} for at in range(SCALE_CONDUITS)
        },
    }
    policy = Policy.model_validate(text)
    planned = _timed("schedule", lambda: schedule(policy))
    _timed("next change, first question", lambda: planned.next_change(BEGIN))
    _timed("next change, again", lambda: planned.next_change(BEGIN + timedelta(seconds=1)))
    later = BEGIN + timedelta(seconds=2)
    _timed("next change of each conduit", lambda: [planned.next_change_of(name, later) for name in policy.conduits])
    _timed("which conduits are open", lambda: planned.open_conduits(BEGIN))
    _timed("which windows are open", lambda: planned.open_windows(BEGIN))


def _plant_window(rng: random.Random) -> dict[str, Any]:
    """Return a window like those of a plant: some nights, a day a month, closed on holidays."""
    night = f"{rng.randint(18, 23)}:00"
    nights = {"days": rng.sample(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), 3), "from": night, "to": "06:00"}
    monthly = {"start": "2027-01-01T06:00", "duration": "8h", "rrule": f"FREQ=MONTHLY;BYDAY={rng.randint(1, 4)}SA"}
    return {"weekly": [nights], "rules": [monthly], "except": ["2027-12-24", "2027-12-25", "2028-01-01"]}


def _timed(what: str, do: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = do()
    print(f"{what}: {(time.perf_counter() - started) * 1000:.1f} ms")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.windows", description=__doc__)
    parser.add_argument("--windows", type=int, default=10, help="random windows per zone")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument(
        "--every", type=int, default=60, help="seconds from one question to the next, besides all edges"
    )
    parser.add_argument("--seed", type=int, default=62443)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scale", action="store_true", help="print what 10,000 conduits cost")
    chosen = parser.parse_args(arguments)
    if chosen.scale:
        scale(chosen.seed)
        return 0
    return 1 if against_twin(chosen.windows, chosen.days, chosen.every, chosen.seed, chosen.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
