"""The big differential run: engine against slow twin, and the kernel's `static` ruleset against the twin.

`python -m bench.differential --frames 1000000 --seed S [--swaps 200000] [--kernel 100000] [--jobs 2]` prints seeds,
progress and every mismatch with the smallest repro; exit 1 on any mismatch. `--swaps`: frames during which policies are
swapped and conversations go on. The kernel part needs root; it builds its own namespaces.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.support.judging import FRAMES_PER_POLICY, case_seeds, run_case
from tests.support.swaps import draw_swaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Case = Callable[[int], tuple[int, str | None]]

PROGRESS_SECONDS: Final = 10.0
SHOWN_MISMATCHES: Final = 5
CHUNK: Final = 8  # policies a worker takes at once


def engine_case(case_seed: int) -> tuple[int, str | None]:
    """Run one policy and its frames; return its seed and the mismatch, if any, as text."""
    found = run_case(case_seed)
    return case_seed, None if found is None else str(found)


def swap_case(case_seed: int) -> tuple[int, str | None]:
    """Do the same while policies are swapped."""
    found = run_case(case_seed, draw_swaps)
    return case_seed, None if found is None else str(found)


def run_engine(frames: int, seed: int, jobs: int, case: Case = engine_case, what: str = "engine = twin") -> int:
    """Run a part of the engine; return the number of mismatches."""
    seeds = case_seeds(seed, frames)
    total = len(seeds) * FRAMES_PER_POLICY
    print(f"{what}: {total} frames, {len(seeds)} random policies, seed {seed}", flush=True)
    started = shown_at = time.monotonic()
    mismatches = done = 0
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for case_seed, mismatch in pool.imap_unordered(case, seeds, chunksize=CHUNK):
            done += 1
            if mismatch is not None:
                mismatches += 1
                if mismatches <= SHOWN_MISMATCHES:
                    print(f"MISMATCH {mismatches}, case seed {case_seed}\n{mismatch}", flush=True)
            if time.monotonic() - shown_at > PROGRESS_SECONDS:
                shown_at = time.monotonic()
                rate = done * FRAMES_PER_POLICY / (shown_at - started)
                print(f"  {done * FRAMES_PER_POLICY} frames, {mismatches} mismatches, {rate:.0f}/s", flush=True)
    seconds = time.monotonic() - started
    print(f"{what}: {total} frames, {mismatches} mismatches, seed {seed}, {seconds:.0f} s", flush=True)
    return mismatches


def run_kernel(frames: int, seed: int) -> int:
    """Run the kernel part; return the number of mismatches."""
    from tests.support.static_duel import run_static  # noqa: PLC0415 raw sockets only when asked for

    print(f"static = twin: {frames} frames in the kernel, seed {seed}", flush=True)
    started = time.monotonic()
    result = run_static(frames, seed, say=lambda text: print(f"  {text}", flush=True))
    for number, mismatch in enumerate(result.mismatches[:SHOWN_MISMATCHES], 1):
        print(f"MISMATCH {number}\n{mismatch}", flush=True)
    seconds = time.monotonic() - started
    print(
        f"static = twin: {result.frames} frames, {result.policies} random policies, {result.passed} passed, "
        f"{result.resent} sent again, {len(result.mismatches)} mismatches, seed {seed}, {seconds:.0f} s",
        flush=True,
    )
    return len(result.mismatches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.differential", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="frames for engine = twin")
    parser.add_argument("--swaps", type=int, default=50_000, help="frames for engine = twin while policies are swapped")
    parser.add_argument("--kernel", type=int, default=0, help="frames for static = twin, in the kernel")
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock, printed")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args(arguments)
    seed = time.time_ns() % 1_000_000_007 if chosen.seed is None else chosen.seed
    mismatches = run_engine(chosen.frames, seed, chosen.jobs) if chosen.frames else 0
    if chosen.swaps:
        mismatches += run_engine(chosen.swaps, seed, chosen.jobs, swap_case, "engine = twin, policies swapped")
    if chosen.kernel:
        mismatches += run_kernel(chosen.kernel, seed)
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
