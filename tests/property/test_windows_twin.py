"""Windows are open in exactly the seconds that the slow twin says.

A seeded share, around the days on which something odd happens; `python -m bench.windows` asks whole years.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest

from tests.support.windows import ZONES, compare

ODD_DAYS: Final = {
    "Europe/Berlin": ("2027-03-20", "2027-10-24"),
    "America/New_York": ("2027-03-08", "2027-11-01"),
    "Asia/Kolkata": ("2027-12-25",),
    "Australia/Lord_Howe": ("2027-03-28", "2027-09-28"),
    "Pacific/Apia": ("2011-12-24", "2012-03-26"),
    "UTC": ("2027-12-25",),
}
LEAP_DAY: Final = "2028-02-24"
DAYS: Final = 14
WINDOWS: Final = 4
EVERY_S: Final = 600


@pytest.mark.parametrize("zone", ZONES)
def test_windows_equal_twin(zone: str, seed: int) -> None:
    """Both sides of every edge, and every ten minutes between, have the same answer."""
    for day in (*ODD_DAYS[zone], LEAP_DAY):
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
        for number in range(WINDOWS):
            found = compare(seed + number, zone, begin, DAYS, every=EVERY_S)
            assert found.differs is None, f"seed {seed + number}: differs at {found.differs}\n{found.window}"
            assert found.changes > 0
