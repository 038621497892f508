"""Runs suites by name and prints their results: `python -m bench.alone --suite cpu --subjects conduitd,none`."""

from __future__ import annotations

import argparse
import importlib

from bench.plan import Plan


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="cpu")
    parser.add_argument("--subjects", default="")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    names = tuple(filter(None, given.subjects.split(",")))
    plan = Plan(say=lambda text: print(text, flush=True), runs=given.runs, seconds=given.seconds, subjects=names)
    for suite in given.suite.split(","):
        for result in importlib.import_module(f"bench.suites.{suite}").run(plan):
            runs = " ".join(f"{value:.4g}" for value in result.runs)
            name = f"{result.suite:10} {result.subject:24} {result.metric:28}"
            print(f"{name} {result.value:12.4g} {result.unit:5} [{runs}]", flush=True)


if __name__ == "__main__":
    main()
