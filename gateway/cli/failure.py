"""How a command ends when it cannot do what was asked: one clear block on stderr and an exit code of its own.

In: refusals of the control plane, of a policy text, of the host. Out: `Failure`, printed by `main` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gateway.errors import ExitCode, GatewayError

_EXIT_BY_STATUS: Final = {
    400: ExitCode.USAGE,
    403: ExitCode.NOT_PERMITTED,
    404: ExitCode.REFUSED,
    413: ExitCode.REFUSED,
    422: ExitCode.REFUSED,
    503: ExitCode.KERNEL,
}


class Failure(Exception):  # noqa: N818 (the end of a command, not an error of the program)
    """What went wrong, what to do about it, and the exit code."""

    def __init__(
        self, exit_code: ExitCode, detail: str, hint: str = "", problems: Iterable[dict[str, Any]] = ()
    ) -> None:
        super().__init__(detail)
        self.exit_code = exit_code
        self.detail = detail
        self.hint = hint
        self.problems = tuple(problems)

    def lines(self) -> list[str]:
        """Return the block for stderr."""
        found = [problem_line(problem) for problem in self.problems]
        found.append(f"conduitctl: {self.detail}")
        if self.hint:
            found.append(f"  hint: {self.hint}")
        return found


def problem_line(problem: dict[str, Any]) -> str:
    """Return a policy problem as compilers write them: editors jump to it."""
    place = f"{problem['path']}:{problem['line']}:{problem['column']}"
    hint = f" ({problem['hint']})" if problem["hint"] else ""
    taken = problem.get("waived")
    waived = f" [waived by {taken['who']} until {taken['until']}: {taken['why']}]" if taken else ""
    return f"{place}: {problem['severity']} {problem['code']}: {problem['message']}{hint}{waived}"


def refused(status: int, answer: dict[str, Any]) -> Failure:
    """Return the failure of a request that the control plane answered with an ErrorAnswer."""
    exit_code = _EXIT_BY_STATUS.get(status, ExitCode.INTERNAL)
    return Failure(
        exit_code, str(answer.get("detail", f"HTTP {status}")), str(answer.get("hint", "")), answer.get("problems", ())
    )


def of_error(error: GatewayError) -> Failure:
    """Return the failure of an error of our own."""
    return Failure(error.exit_code, error.detail, error.hint)
