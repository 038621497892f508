"""What a bench found, and where it is written.

In: results of the suites and a description of the machine. Out: DIR/latest.json, a plain list of results, and
DIR/machine.json, what they are true of: kernel, processor, commit, interception, date, load. machine.json names the
SHA-256 of its list, so that neither is read with another's twin. Called by `python -m bench` and the plots.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

RESULTS_FILE: Final = "latest.json"
MACHINE_FILE: Final = "machine.json"
DIGITS: Final = 6  # significant: more than any clock here deserves, few enough to read


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: the median of its runs, and every run."""

    suite: str
    subject: str
    metric: str
    value: float
    unit: str
    runs: list[float]

    @classmethod
    def of(cls, suite: str, subject: str, metric: str, unit: str, runs: Sequence[float]) -> Result:
        """Make the result of some runs, at least one."""
        kept = [significant(run) for run in runs]
        return cls(suite, subject, metric, significant(statistics.median(kept)), unit, kept)


def significant(value: float) -> float:
    """Round to the digits that are worth writing."""
    return float(f"{value:.{DIGITS}g}")


def percentile(values: Iterable[float], percent: float) -> float:
    """Return a percentile by nearest rank; raises ValueError without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values, no percentile")
    rank = -int(-len(ordered) * percent // 100)  # rounded up
    return ordered[min(len(ordered), max(rank, 1)) - 1]


def write(folder: Path, results: Sequence[Result], machine: dict[str, Any]) -> None:
    """Write both files, each at once: a reader sees the old ones or the new ones."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps(asdict(result)) for result in results]
    text = "[\n" + ",\n".join(rows) + "\n]\n"  # one figure a line: two runs compare with diff
    digest = hashlib.sha256(text.encode()).hexdigest()
    replace(folder / RESULTS_FILE, text)
    replace(folder / MACHINE_FILE, json.dumps({**machine, "results_sha256": digest}, indent=2) + "\n")


def replace(path: Path, text: str) -> None:
    """Put a text in a file's place."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    os.replace(beside, path)


def read(folder: Path) -> list[Result]:
    """Read the list back."""
    return [Result(**row) for row in json.loads((folder / RESULTS_FILE).read_text())]
