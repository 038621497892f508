"""The form of a check: code, severity, what it is called, why it matters, and the function that finds.

In: a function from `Context` to findings. Out: a `Check`, which its module lists and `catalogue` collects.
A check's function says where and what; code, severity and waivers are added by `rules.check`, once for all.
Must never let a code change its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rules.checks.context import Context
    from rules.problems import Severity

Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """A place in the policy, what is the matter there, and a way out."""

    path: Path
    message: str
    hint: str = ""

    @property
    def at(self) -> str:
        """The object that this is about, as a waiver names it: section and name, or a section alone."""
        named = len(self.path) > 1 and isinstance(self.path[1], str) and self.path[0] != "site"
        return f"{self.path[0]}/{self.path[1]}" if named else str(self.path[0]) if self.path else "site"


Find = Callable[["Context"], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `supports` names the requirement that it helps with, "" for none; it claims no compliance."""

    code: str
    severity: Severity
    title: str
    why: str
    find: Find
    supports: str = ""
    waivable: bool = True  # False: lowering would go wrong, so nobody may take it on
    dated: bool = False  # needs to know today's date
    lowered: bool = False  # needs the lowered policy
    population: bool = False  # asks about zones and assets alone: `Population` remembers that it found nothing


def check(
    code: str,
    severity: Severity,
    title: str,
    why: str,
    *,
    supports: str = "",
    waivable: bool = True,
    dated: bool = False,
    lowered: bool = False,
    population: bool = False,
) -> Callable[[Find], Check]:
    """Make a check of a function."""

    def made(find: Find) -> Check:
        return Check(code, severity, title, why, find, supports, waivable, dated, lowered, population)

    return made
