"""Checks of the policy as a whole: what each part may say alone, but not together, and what it had better not say.

In: a `Policy` whose schema and references are right, today's date where it is known. Out: problems in file order.
Errors refuse the policy like those of `load`; the rest travels with the change for whoever approves it. A waiver turns
an error into a warning and is named with it. The checks themselves are in `rules.checks`; some need the lowered policy
and come second. Must never be slower than linear in assets and conduits, nor look at a clock. Called by `compile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.checks.catalogue import CHECKS
from rules.checks.context import Context
from rules.problems import Problem, Severity, in_file_order
from rules.windows.reading import problems as window_problems

if TYPE_CHECKING:
    from datetime import date

    from rules.checks.registry import Check
    from rules.model import Policy
    from rules.population import Population
    from rules.records import LoweredPolicy

WAIVABLE = frozenset(check.code for check in CHECKS if check.waivable)
SHOWN = 100  # problems of one code; the rest are counted


class Examination:
    """One policy, examined before and after it is lowered."""

    def __init__(self, policy: Policy, today: date | None = None, population: Population | None = None) -> None:
        """Begin; without `today` nothing is overdue or expired, and every waiver counts."""
        self._context = Context(policy, today, waivable=WAIVABLE)
        if population is not None:
            self._context.population = population

    def before_lowering(self) -> list[Problem]:
        """Return everything wrong or doubtful that shows in the text."""
        misread = window_problems(self._context.policy)
        self._context.windows_read = not misread
        return list(in_file_order([*misread, *self._run([check for check in CHECKS if not check.lowered])]))

    def after_lowering(self, lowered: LoweredPolicy) -> list[Problem]:
        """Return what shows only when precedence is settled, and the waivers that waived nothing."""
        self._context.lowered = lowered
        return self._run([check for check in CHECKS if check.lowered])

    def _run(self, checks: list[Check]) -> list[Problem]:
        dated = self._context.today is not None
        found: list[Problem] = []
        for check in checks:
            if not dated and check.dated:
                continue
            clean = self._context.population.clean if check.population else set()
            if check.code not in clean:
                problems = self._found(check)
                found += problems
                if not problems:
                    clean.add(check.code)
            self._context.waivers.asked.add(check.code)
        return list(in_file_order(found))

    def _found(self, check: Check) -> list[Problem]:
        place, waivers = self._context.policy.place, self._context.waivers
        problems: list[Problem] = []
        shown = more = 0
        rest = None
        for finding in check.find(self._context):
            waived = waivers.of(check.code, finding.at) if check.waivable else None
            severity = check.severity
            if waived is not None:
                severity = Severity.WARNING if severity is Severity.ERROR else severity
            elif shown < SHOWN:
                shown += 1
            else:
                rest, more = rest or finding, more + 1
                continue
            where = place(*finding.path)
            problems.append(
                Problem(*where, finding.message, finding.hint, check.code, severity, at=finding.at, waived=waived)
            )
        if rest is not None:
            text = f"and {more:,} more like these: {check.title}"
            problems.append(Problem(*place(*rest.path), text, "", check.code, check.severity, at=str(rest.path[0])))
        return problems


def check(policy: Policy, today: date | None = None) -> list[Problem]:
    """Return everything wrong or doubtful about a policy that is not lowered yet."""
    return Examination(policy, today).before_lowering()
