"""A deadline that no clock step moves: in one boot the boot-time clock counts, across a reboot the wall clock.

In: seconds from now; later readings of the clocks. Out: how many seconds are left, 0 once it has passed. A wall clock
that runs before the start (a dead battery) never makes it longer than it was. Pure but for `now`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

NS_PER_S: Final = 1_000_000_000
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")  # random(4): another one for each boot


class Moment(BaseModel):
    """One reading of both clocks: CLOCK_REALTIME and CLOCK_BOOTTIME in ns, and which boot it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall_ns: int
    boot_ns: int
    boot_id: str


class Deadline(BaseModel):
    """So many seconds after a moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begun: Moment
    seconds: int

    def left_s(self, now: Moment) -> float:
        """Return the seconds left, 0.0 once it has passed."""
        if now.boot_id == self.begun.boot_id:
            gone_ns = now.boot_ns - self.begun.boot_ns
        else:
            gone_ns = max(0, now.wall_ns - self.begun.wall_ns)
        return max(0.0, self.seconds - gone_ns / NS_PER_S)


def now() -> Moment:
    """Read the clocks."""
    return Moment(
        wall_ns=time.time_ns(),
        boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        boot_id=BOOT_ID.read_text(encoding="ascii").strip(),
    )
