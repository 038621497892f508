"""How long a large site takes from its files to an image, what that holds in memory, and what a small change takes.

Subject: conduitd. 1,000 zones, 100,000 assets (a spreadsheet) and 10,000 conduits (bench/site.py), each run in a
process of its own (bench/compile_process.py). Metrics: load_s, check_s, lower_s, check_lowered_s, image_s; compile_s,
their sum; rss_mib, the most that the process held by then, the generator's part included; image_mib; change_s, from the
files with one conduit changed until the engine has the new image in force, with change_compile_s, change_image_s and
change_install_s; change_rss_mib, the most that was held with both policies; static_text_s, static_load_s and
static_readback_s, the kernel's fallback, which comes after the engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from bench.plan import PROJECT
from bench.results import Result

if TYPE_CHECKING:
    from bench.plan import Plan

SUITE: Final = "compile"
SUBJECT: Final = "conduitd"
ZONES: Final = 1000
QUICK_ZONES: Final = 50
TIMEOUT_SECONDS: Final = 300
KIB_PER_MIB: Final = 1024
# what the process prints → metric, divisor
MEMORY: Final = {
    "peak_kib": ("rss_mib", KIB_PER_MIB),
    "change_peak_kib": ("change_rss_mib", KIB_PER_MIB),
    "image_bytes": ("image_mib", KIB_PER_MIB * KIB_PER_MIB),
}


def run(plan: Plan) -> list[Result]:
    """Measure; every run is a fresh process."""
    if not plan.chosen((SUBJECT,)):
        return []
    runs: dict[str, list[float]] = {}
    for number in range(plan.runs):
        for name, figure in compiled(QUICK_ZONES if plan.quick else ZONES).items():
            metric, divisor = MEMORY.get(name, (name, 1))
            runs.setdefault(metric, []).append(figure / divisor)
        plan.say(f"run {number + 1}: " + ", ".join(f"{metric} {found[-1]:.2f}" for metric, found in runs.items()))
    return [Result.of(SUITE, SUBJECT, metric, unit(metric), found) for metric, found in runs.items()]


def compiled(zones: int) -> dict[str, float]:
    """Return what one process measured; raises RuntimeError with its last words."""
    command = [sys.executable, "-m", "bench.compile_process", str(zones)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"compile_process: {done.stderr.decode(errors='replace')[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def unit(metric: str) -> str:
    """Return the unit that a metric's name ends in."""
    return "MiB" if metric.endswith("_mib") else "s"
