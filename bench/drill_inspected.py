"""The drill `inspected`: swaps, kills, stages and quarantine in random order under polls and attacks that never end.

In: how long, and a seed. Out: what was done, how many polls were answered and missed, and what forbidden requests did
to the devices by their own account. The conduit fails closed, so nothing forbidden may ever arrive; attacks rest while
a stage lets everything pass. A poll that an engine's death tore in the middle of its change may be refused: a kill may
cost one conversation. Root; namespaces of its own.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from bench.upheaval import CONTROL, ENGINE, WITHIN_S, Upheaval
from bench.upheaval_policy import policy, varied
from deploy.lab.processes import wait_for
from tests.evasion.ground import ground

if TYPE_CHECKING:
    from collections.abc import Callable

BETWEEN_S: Final = 1.0
QUARANTINE_S: Final = 1.0
WEIGHTS: Final = {"swaps": 6, "engine killed": 2, "control killed": 1, "stages": 2, "quarantine": 1}
SWAPS: Final = 10
LOWER: Final = ("monitor", "alert")


class Drill:
    """One run."""

    def __init__(self, going: Upheaval, seed: int) -> None:
        self._going = going
        self._chance = random.Random(seed)
        self._turn = 0
        self.done: Counter[str] = Counter()
        self._does: dict[str, Callable[[], None]] = {
            "swaps": self._swap,
            "engine killed": lambda: going.kill(ENGINE),
            "control killed": lambda: going.kill(CONTROL),
            "stages": self._stages,
            "quarantine": self._quarantine,
        }

    def step(self) -> None:
        """Do one thing, and wait until every station has been answered again."""
        [what] = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        self._does[what]()
        self.done[what] += 1
        self._going.wait_for_polls()

    def _swap(self) -> None:
        for _ in range(SWAPS):
            self._turn += 1
            self._going.apply(varied(self._turn, refuse=self._chance.choice(("reset", "answer", "silent"))))

    def _stages(self) -> None:
        self._going.rest()
        for stage in self._chance.sample(LOWER, 2):
            self._going.stage(stage)
            self._going.wait_for_polls()
        self._going.stage("enforce")
        self._going.go_on()

    def _quarantine(self) -> None:
        self._going.quarantine()
        time.sleep(self._chance.uniform(0, QUARANTINE_S))
        self._going.release()


def drill_inspected(minutes: float, seed: int, say: Callable[[str], None]) -> bool:
    """Run the drill and print its figures; return whether nothing was missed and nothing forbidden arrived."""
    with ground(raw=False) as standing:
        standing.start_servers()
        going = Upheaval(standing)
        going.apply(policy())
        going.start_polls()
        going.start_intruders(seed)
        drill = Drill(going, seed)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            drill.step()
            say(f"{dict(drill.done)}, polls {len(going.rows())}, missed {len(going.failed())}")
            time.sleep(drill_pause(until))
        going.rest()
        going.wait_for_polls()
        rows, attacks, arrived = going.rows(), going.attacks(), going.done()
        going.end()
        wait_for("every frame to be accounted for", lambda: going.counters()["unaccounted"] == 0, WITHIN_S)
    missed = [row for row in rows if row.wrong]
    attempts = sum(bool(one.operation) for one in attacks)
    print(f"seed {seed}, done: " + ", ".join(f"{what} {times}" for what, times in sorted(drill.done.items())))
    for station in sorted({row.station for row in rows}):
        own = [row for row in rows if row.station == station]
        slowest = max(row.ended - row.asked for row in own)
        lost = sum(bool(row.wrong) for row in own)
        print(f"{station:10} polls answered {len(own) - lost}, missed {lost}, slowest {slowest:.2f} s")
    for row in missed:
        print(f"missed by {row.station} on connection {row.connection}: {row.wrong[:120]}")
    print(f"forbidden requests {attempts}, arrived {arrived or 0}; every frame accounted for")
    return len(missed) == 0 and not arrived and attempts > 0


def drill_pause(until: float) -> float:
    """Return how long to wait before the next step, so that polls are seen between steps too."""
    return max(0.0, min(BETWEEN_S, until - time.monotonic()))
