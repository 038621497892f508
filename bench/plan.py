"""How much one run of the bench does, handed to every suite.

In: the command line of `python -m bench`. Out: an immutable plan; every suite is `bench/suites/NAME.py` with
`run(plan) -> list[Result]`. Holds no result and touches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DEFAULT_RUNS: Final = 3
QUICK_SECONDS: Final = 0.25  # of every duration: figures of a quick run show that a suite works, and nothing else
PROJECT: Final = Path(__file__).resolve().parent.parent
RAW: Final = PROJECT / "build" / "bench"  # compiled subjects, raw samples: removed by `make clean`
LATENCY_SAMPLES: Final = RAW / "latency"  # SUBJECT-RATE.txt, one round trip in µs a line; the plots read them


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    runs: interleaved repetitions. seconds: scale of every duration (1.0 = as documented). subjects: names to include,
    empty = all. say: takes one progress line.
    """

    say: Callable[[str], None]
    runs: int = DEFAULT_RUNS
    seconds: float = 1.0
    quick: bool = False
    subjects: tuple[str, ...] = ()

    def chosen(self, subjects: Sequence[str]) -> list[str]:
        """Return the subjects of a suite that this run includes, in the suite's order."""
        return [name for name in subjects if not self.subjects or name in self.subjects]

    def rounds(self, subjects: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield (run, subject) interleaved, every second run backwards, so that a drift of the machine cancels out."""
        for number in range(self.runs):
            yield from ((number, name) for name in (subjects if number % 2 == 0 else reversed(subjects)))
