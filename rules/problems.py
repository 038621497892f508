"""What is wrong with a policy text: one record per mistake, always with a place, a reason and a way out.

In: file name, position and words from `tree`, `load`, `references` and `check`. Out: `Problem` and `PolicyError`, which
control turns into API answers and `conduitctl` prints. Must never be a traceback, nor leave out a mistake in silence.
Codes are stable: POL0xx the text itself, POL1xx and POL2xx the policy as a whole (`checks`, docs/reference/checks).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import date

# difflib costs about 10 µs a candidate: beyond this many names only those that begin alike are compared.
MANY_NAMES = 2000
MAX_WORD = 64  # longer than any name; difflib is quadratic in the length
MAX_MESSAGE = 400
MOST_PROBLEMS = 1000  # in one refusal: nobody mends more before the next try
MORE = "POL079"


class Severity(Enum):
    """Errors refuse the policy; warnings and information are shown and stored with the change."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Waived(NamedTuple):
    """Who took a problem on, why, and until which day (inclusive)."""

    who: str
    why: str
    until: date

    def __str__(self) -> str:
        return f"waived by {self.who} until {self.until}: {self.why}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake; line and column count from 1, 0 means "the file as a whole"."""

    path: str
    line: int
    column: int
    message: str
    hint: str
    code: str
    severity: Severity = Severity.ERROR
    at: str = ""  # the object it is about, as waivers name it: "conduits/NAME", "site"; "" for the text itself
    waived: Waived | None = None

    def __post_init__(self) -> None:
        """Keep messages readable when the text quoted in them is megabytes long."""
        if len(self.message) > MAX_MESSAGE:
            object.__setattr__(self, "message", self.message[:MAX_MESSAGE] + "…")

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        waived = f" [{self.waived}]" if self.waived else ""
        return f"{self.path}:{self.line}:{self.column}: {self.severity.value} {self.code}: {self.message}{hint}{waived}"

    def as_dict(self) -> dict[str, str | int | dict[str, str] | None]:
        """Return the JSON form that the control socket answers with."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "severity": self.severity.value,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "at": self.at,
            "waived": {**self.waived._asdict(), "until": self.waived.until.isoformat()} if self.waived else None,
        }


class PolicyError(Exception):
    """The text is refused and nothing in force has changed; `problems` holds the mistakes found, in file order.

    Of more than MOST_PROBLEMS the first, and one that says how many more there are: `unlisted`, and those left out
    here. `beside` holds what checks had found that would not have refused it.
    """

    def __init__(self, problems: Iterable[Problem], beside: Iterable[Problem] = (), *, unlisted: int = 0) -> None:
        found = in_file_order(problems)
        count = len(found) + unlisted
        self.problems = found[:MOST_PROBLEMS]
        if count > len(self.problems):
            last = self.problems[-1]
            text = f"{count - len(self.problems)} more mistakes are not listed"
            self.problems += (Problem(last.path, last.line, last.column, text, "mend those above first", MORE),)
        self.beside = tuple(beside)
        super().__init__(f"{count} problem{'' if count == 1 else 's'}\n" + "\n".join(map(str, self.problems)))


def in_file_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by place and drop repetitions."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda p: (p.path, p.line, p.column, p.code, p.message)))


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return "did you mean 'x'?" for the closest known word, or the known words when they are few."""
    candidates: Collection[str] = known
    if len(known) > MANY_NAMES:
        candidates = [name for name in known if name[:3] == word[:3]][:MANY_NAMES]
    if len(word) > MAX_WORD:
        return ""
    close = difflib.get_close_matches(word, candidates, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    if 0 < len(known) <= 12:
        return "known: " + ", ".join(sorted(known))
    return ""
