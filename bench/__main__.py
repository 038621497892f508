"""All suites, one after the other, into one list of results: `python -m bench`, or `make bench`.

In: the command line. Out: latest.json, machine.json and the plots in the chosen folder, progress on standard error, the
table of targets on standard output. A run of everything goes to bench/results, one of the endurance suites to
bench/results/endurance, any other to build/bench/results. "Everything" is without those: they take minutes each.
Results are written after every suite: one that fails loses its own figures only. Exit code 1 when a suite failed.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from bench import machine, plots, results, suites, targets
from bench.plan import DEFAULT_RUNS, PROJECT, QUICK_SECONDS, RAW, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.results import Result

RESULTS: Final = PROJECT / "bench" / "results"
PARTIAL: Final = RAW / "results"
ENDURANCE: Final = ("steady", "storm")  # run apart, once: their figures are counts over minutes, not medians


def suite_names() -> list[str]:
    """Return every suite there is."""
    return sorted(module.name for module in pkgutil.iter_modules(suites.__path__))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--suite", action="append", choices=suite_names(), help="only this one; may be repeated")
    parser.add_argument("--endurance", action="store_true", help=f"the suites {' and '.join(ENDURANCE)}, once")
    parser.add_argument("--subjects", default="", help="only these subjects, separated by commas")
    parser.add_argument("--runs", type=int, help=f"interleaved repetitions (default {DEFAULT_RUNS}, quick: 1)")
    parser.add_argument("--quick", action="store_true", help="does it work? figures of a quick run show nothing else")
    parser.add_argument("--out", type=Path, help="folder for results and plots")
    chosen = parser.parse_args(arguments)
    if chosen.endurance and chosen.suite:
        parser.error("--endurance names its suites itself")
    if chosen.runs is not None and chosen.runs < 1:
        parser.error("--runs: at least 1")
    return chosen


def run_suite(name: str, plan: Plan) -> list[Result] | None:
    """Run one suite; return None when it failed, with its last words printed."""
    plan.say("begins")
    began = time.monotonic()
    try:
        found: list[Result] = importlib.import_module(f"bench.suites.{name}").run(plan)
    except Exception:  # noqa: BLE001 whatever a suite dies of must not cost the others' results
        traceback.print_exc()
        plan.say(f"FAILED after {time.monotonic() - began:.0f} s")
        return None
    plan.say(f"{len(found)} figures in {time.monotonic() - began:.0f} s")
    return found


def sayer(suite: str, began: float) -> Callable[[str], None]:
    """Return what prints a suite's progress lines."""
    return lambda text: print(f"[{time.monotonic() - began:4.0f} s] {suite}: {text}", file=sys.stderr, flush=True)


def _end(*_: object) -> NoReturn:
    """Unwind on SIGTERM: suites leave no namespace and no process behind."""
    raise SystemExit(128 + signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    chosen = parse(arguments)
    subjects = tuple(name for name in chosen.subjects.split(",") if name)
    whole = not (chosen.suite or subjects or chosen.quick)
    out = chosen.out or (PARTIAL if not whole else RESULTS / "endurance" if chosen.endurance else RESULTS)
    runs = chosen.runs or (1 if chosen.quick or chosen.endurance else DEFAULT_RUNS)
    ordinary = [name for name in suite_names() if name not in ENDURANCE]
    signal.signal(signal.SIGTERM, _end)
    described = machine.describe()
    began = time.monotonic()
    found: list[Result] = []
    failed = []
    for name in chosen.suite or (ENDURANCE if chosen.endurance else ordinary):
        seconds = QUICK_SECONDS if chosen.quick else 1.0
        result = run_suite(name, Plan(sayer(name, began), runs, seconds, chosen.quick, subjects))
        if result is None:
            failed.append(name)
        else:
            found += result
        results.write(out, found, described | {"suites_failed": failed})
    plots.draw(out, found)
    outcomes = targets.outcomes(found)
    print(targets.table(outcomes if whole and not chosen.endurance else [one for one in outcomes if one.runs]))
    print(f"{len(found)} figures in {out}, {time.monotonic() - began:.0f} s", end="")
    print(f"; FAILED: {', '.join(failed)}" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
