"""`policy show|check|apply`: the operators' text, from a file to what is in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.failure import Failure, problem_line
from gateway.cli.session import console, print_pairs, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from rules.compile import Compiled

app = typer.Typer(help="The policy: zones, assets, conduits, as one YAML text.", no_args_is_help=True)
BODY_BYTES_MAX: Final = 16 << 20  # the control socket's limit

File = Annotated[Path, typer.Argument(help="a policy file (YAML)")]
KINDS: Final = ("zones", "assets", "services", "conduits", "windows", "roles", "cycles", "pairs")


@app.command()
def show(
    context: typer.Context,
    text: Annotated[bool, typer.Option("--text", help="print the text itself and nothing else")] = False,
) -> None:
    """Show which policy is in force, who applied it and when."""
    here = session(context)
    content = here.client.get("/v1/policy")
    if text:
        sys.stdout.write(content["text"])
        return
    names = ("site", "name", "generation", "digest", "who", "applied", "file_differs")
    here.show(content, lambda found: print_pairs((name, found[name]) for name in names))


@app.command()
def check(context: typer.Context, file: File) -> None:
    """Check a policy file and show every mistake with file, line and column. Works without the daemon."""
    here = session(context)
    found = compiled(file)
    warnings = [problem.as_dict() for problem in found.warnings]
    content = {"ok": True, "digest": found.lowered.digest.hex(), "problems": [], "warnings": warnings}
    here.show(content, lambda answer: _checked(file, answer))


def compiled(file: Path) -> Compiled:
    """Compile a file. Raises Failure with every problem."""
    from rules.compile import compile_file  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.problems import PolicyError  # noqa: PLC0415 (loads YAML and models; --help must not)

    try:
        return compile_file(file)
    except PolicyError as error:
        count = len(error.problems)
        detail = f"{file}: {count} problem{'' if count == 1 else 's'}; nothing in force has changed"
        raise Failure(ExitCode.REFUSED, detail, "", [problem.as_dict() for problem in error.problems]) from error


def _checked(file: Path, content: dict[str, Any]) -> None:
    for warning in content["warnings"]:
        console().print(problem_line(warning), style="yellow", markup=False)
    console().print(f"{file}: can be applied, digest {content['digest'][:12]}", style="green", markup=False)


@app.command()
def apply(
    context: typer.Context,
    file: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only check it and show what would change")] = False,
    reason: Annotated[str, typer.Option("--reason", help="why; goes into the journal")] = "",
) -> None:
    """Put a policy in force, atomically: engine and kernel take it, or the old one stays.

    Stages that operators set at run time survive, unless the new text changes the stage of that very object.
    """
    here = session(context)
    body = {"text": _read(file), "name": str(file)[:128], "reason": reason}
    if not dry_run:
        here.show(here.client.request("POST", "/v1/policy", body=body), _applied)
        return
    content = here.client.request("POST", "/v1/policy/check", body={**body, "reason": ""})
    if not content["ok"]:
        detail = f"{file}: {len(content['problems'])} problems; it could not be applied"
        raise Failure(ExitCode.REFUSED, detail, "", content["problems"])
    here.show(content, lambda answer: _would_change(file, answer))


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > BODY_BYTES_MAX:
            raise Failure(ExitCode.REFUSED, f"{file} is larger than 16 MiB", "this is no policy file")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            ExitCode.REFUSED, f"{file} cannot be read: {error}", "check path, permissions and encoding"
        ) from error


def _would_change(file: Path, content: dict[str, Any]) -> None:
    _checked(file, content)
    _changes(content["changes"], "would change")


def _applied(content: dict[str, Any]) -> None:
    for warning in content["warnings"]:
        console().print(problem_line(warning), style="yellow", markup=False)
    console().print(f"in force: generation {content['generation']}, digest {content['digest'][:12]}", style="green")
    _changes(content["changes"], "changed")
    for key in content["overrides_dropped"]:
        console().print(f"the stage set at run time for {key} gave way to the new text", style="yellow")


def _changes(found: dict[str, Any], word: str) -> None:
    if found["same"]:
        console().print("means the same as the policy it was compared with")
    for kind in KINDS:
        for how, sign in (("added", "+"), ("removed", "-"), ("changed", "~")):
            for name in found[kind][how]:
                console().print(f"  {sign} {kind.removesuffix('s')} {name} {word if how == 'changed' else ''}".rstrip())
