"""What an engine process holds: resident memory with the largest policy in force and every table full.

Subject: conduitd. Metrics: rss_mib, pss_mib, rss_swap_mib (the peak while a second policy of the same size replaces the
first, as the kernel's high-water mark). A real engine process (bench/engine_process.py) with 10,000 conduits and
100,000 assets judges 65,536 conversations and as many denied frames: flow memory and event ring are in use to the last
page. Shared segments count whole in RSS, although keeper and control map the same pages; PSS divides them.
"""

from __future__ import annotations

import asyncio
import random
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.engine_process import RunningEngine, engine
from bench.messages import SYN, message
from bench.policies import SEED, Plant, plant
from bench.results import Result
from gateway.settings import QueueSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Plan

SUITE: Final = "memory"
SUBJECT: Final = "conduitd"
CONDUITS: Final = 10_000
FLOWS: Final = 65_536
# A bucket holds four: this many draws leave hardly one entry of the table free, and touch every page.
CONVERSATIONS: Final = 2 * FLOWS
TALKS: Final = 2048  # each from many ports
KIB_PER_MIB: Final = 1024


def run(plan: Plan) -> list[Result]:
    """Measure; every run is a fresh process."""
    if not plan.chosen((SUBJECT,)):
        return []
    plan.say(f"{CONDUITS} conduits: building two generations of the plant")
    place = plant(CONDUITS)
    generations = [place.compiled(number) for number in (1, 2)]
    figures: dict[str, list[float]] = {"rss_mib": [], "pss_mib": [], "rss_swap_mib": []}
    for number in range(plan.runs):
        for metric, kib in asyncio.run(fill_and_swap(plan, place, generations)).items():
            figures[metric].append(kib / KIB_PER_MIB)
        plan.say(f"run {number + 1}: " + ", ".join(f"{name} {found[-1]:.1f}" for name, found in figures.items()))
    return [Result.of(SUITE, SUBJECT, metric, "MiB", found) for metric, found in figures.items()]


async def fill_and_swap(plan: Plan, place: Plant, generations: list[tuple[bytes, bytearray]]) -> dict[str, int]:
    """Return the metrics of one process in KiB."""
    async with engine(Settings(queue=QueueSettings(flows=FLOWS)), *generations[0]) as running:
        await running.judge(openings(place))
        used = running.flows_in_use()
        if used < 0.9 * FLOWS:
            raise RuntimeError(f"only {used} of {FLOWS} flows are in use")
        await running.judge(denials(place))
        plan.say(f"{used} flows in use, {running.received()} frames judged")
        found = {"rss_mib": memory_kib(running, "Rss"), "pss_mib": memory_kib(running, "Pss")}
        reset_peak(running)
        await running.install(2, *generations[1])
        await running.judge(islice(openings(place), 1000))
        found["rss_swap_mib"] = peak_kib(running)
        return found


def openings(place: Plant) -> Iterator[bytes]:
    """Yield first frames of conversations, each of its own."""
    chance = random.Random(SEED)
    talks = list(islice(place.talks(chance), TALKS))
    for number in range(CONVERSATIONS):
        yield message(talks[number % TALKS], 1024 + number // TALKS, flags=SYN)


def denials(place: Plant) -> Iterator[bytes]:
    """Yield frames that no conduit permits: each leaves an event."""
    chance = random.Random(SEED)
    talks = list(islice(place.foreign(chance), TALKS))
    for number in range(FLOWS):
        yield message(talks[number % TALKS], 40000, flags=SYN)


def memory_kib(running: RunningEngine, field: str) -> int:
    """Return a field of the process's memory as the kernel adds it up page by page."""
    return _field(Path(f"/proc/{running.pid}/smaps_rollup"), field)


def reset_peak(running: RunningEngine) -> None:
    """Let the high-water mark start at what is resident now (proc_pid_clear_refs(5): 5)."""
    Path(f"/proc/{running.pid}/clear_refs").write_text("5")


def peak_kib(running: RunningEngine) -> int:
    """Return the most that was resident since the last reset."""
    return _field(Path(f"/proc/{running.pid}/status"), "VmHWM")


def _field(path: Path, name: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
