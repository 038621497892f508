"""`policy check` and `policy explain-code`: what is wrong or doubtful about a policy file. Needs no daemon."""

from __future__ import annotations

import sys
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.failure import Failure, problem_line
from gateway.cli.session import Output, console, print_json, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.compile import Compiled
    from rules.problems import Problem

STYLES: Final = {"error": "red", "warning": "yellow", "info": "cyan"}


class Format(StrEnum):
    """The forms of a check's findings."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(check)
    app.command("explain-code")(explain_code)


def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a policy file (YAML)")],
    form: Annotated[
        Format | None, typer.Option("--format", help="table, json, or sarif for CI systems; otherwise as --output says")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="warnings that nobody waived fail it too")] = False,
    day: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="check as on this day instead of today")
    ] = None,
) -> None:
    """Check a policy file and show every finding with file, line and column. Works without the daemon.

    Ends with 3 when the policy would be refused, and with --strict also when it has warnings.
    """
    today = day.date() if day is not None else datetime.now().astimezone().date()
    compiled, found = examined(file, today)
    if form is None:
        form = Format.JSON if session(context).output is Output.JSON else Format.TABLE
    if form is not Format.TABLE:
        print_json(_sarif(found) if form is Format.SARIF else _content(compiled, found))
    elif compiled is not None:
        print_problems(problem.as_dict() for problem in found)
    _end(file, compiled, found, strict=strict, told=form is Format.TABLE)


def examined(file: Path, today: date | None) -> tuple[Compiled | None, tuple[Problem, ...]]:
    """Return everything found about a file, and the compiled policy unless it is refused."""
    from rules.compile import compile_file  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.problems import PolicyError, in_file_order  # noqa: PLC0415

    try:
        compiled = compile_file(file, today=today)
    except PolicyError as error:
        return None, in_file_order([*error.problems, *error.beside])
    return compiled, compiled.warnings


def _content(compiled: Compiled | None, found: Iterable[Problem]) -> dict[str, Any]:
    """Return the JSON form; what does not refuse the policy stands under `warnings`, waived or not."""
    listed = [problem.as_dict() for problem in found]
    return {
        "ok": compiled is not None,
        "digest": compiled.lowered.digest.hex() if compiled is not None else None,
        "problems": [problem for problem in listed if problem["severity"] == "error"],
        "warnings": [problem for problem in listed if problem["severity"] != "error"],
    }


def _sarif(found: Iterable[Problem]) -> dict[str, Any]:
    from gateway.cli.sarif import sarif_log  # noqa: PLC0415 (as above)

    return sarif_log(found)


def _end(file: Path, compiled: Compiled | None, found: Iterable[Problem], *, strict: bool, told: bool) -> None:
    """Say how it ended, and raise Failure when that is badly."""
    counts = {"error": 0, "warning": 0, "info": 0, "waived": 0}
    for problem in found:
        counts["waived" if problem.waived else problem.severity.value] += 1
    words = ", ".join(
        f"{count} {word}"
        for count, word in (
            (counts["warning"], "warnings" if counts["warning"] != 1 else "warning"),
            (counts["waived"], "waived"),
            (counts["info"], "for information"),
        )
        if count
    )
    if compiled is None:
        count = counts["error"]
        detail = f"{file}: {count} problem{'' if count == 1 else 's'}; nothing in force has changed"
        listed = [problem.as_dict() for problem in found] if told else ()
        raise Failure(ExitCode.REFUSED, detail, "conduitctl policy explain-code CODE says more", listed)
    if strict and counts["warning"]:
        raise Failure(ExitCode.REFUSED, f"{file}: {words}", "--strict takes warnings as errors")
    if told:
        line = f"{file}: can be applied, digest {compiled.lowered.digest.hex()[:12]}" + (f"; {words}" if words else "")
        console().print(line, style="green", markup=False)


def print_problems(problems: Iterable[dict[str, Any]]) -> None:
    """Print findings as compilers write them, what is waived last."""
    for problem in sorted(problems, key=lambda problem: problem["waived"] is not None):
        style = "dim" if problem["waived"] else STYLES[problem["severity"]]
        console().print(problem_line(problem), style=style, markup=False, soft_wrap=True)


def explain_code(code: Annotated[str, typer.Argument(help="like POL202")]) -> None:
    """Print what a problem's code means, why it matters, an example, and how to fix it. Works without the daemon."""
    from rules.checks.explain import known_codes, page  # noqa: PLC0415 (loads YAML and models; --help must not)

    word = code.upper()
    if word not in known_codes():
        raise Failure(ExitCode.USAGE, f"there is no code '{code}'", "docs/reference/checks lists them all")
    if sys.stdout.isatty():
        from rich.markdown import Markdown  # noqa: PLC0415

        console().print(Markdown(page(word)))
    else:
        sys.stdout.write(page(word))
