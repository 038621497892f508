"""`policy show|check|plan|apply`: the operators' text, from a file to what is in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.differences import show_plan, show_warnings
from gateway.cli.failure import Failure
from gateway.cli.session import console, print_pairs, session
from gateway.cli.terms import Hold, Replace, Within, keep_hold, say_pending, terms
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.cli.session import Session
    from rules.compile import Compiled

app = typer.Typer(help="The policy: zones, assets, conduits, as one YAML text.", no_args_is_help=True)
BODY_BYTES_MAX: Final = 16 << 20  # the control socket's limit

File = Annotated[Path, typer.Argument(help="a policy file (YAML)")]
KINDS: Final = ("zones", "assets", "services", "conduits", "windows", "roles", "cycles", "pairs")


@app.command()
def show(
    context: typer.Context,
    which: Annotated[
        str | None, typer.Argument(help="a number of the history or a digest's beginning; without: the one in force")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="print the text itself and nothing else")] = False,
) -> None:
    """Show which policy is in force, or one that was: who applied it and when, what became of it, its text."""
    here = session(context)
    content = here.client.get("/v1/policy" if which is None else f"/v1/policy/history/{which}")
    if text:
        sys.stdout.write(content["text"])
        return
    names = [name for name in content if name not in ("text", "files")]
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
    show_warnings(content["warnings"])
    console().print(f"{file}: can be applied, digest {content['digest'][:12]}", style="green", markup=False)


@app.command()
def plan(context: typer.Context, file: File) -> None:
    """Show what a policy would change, before it does: objects, paths, stages, live conversations cut."""
    _plan(session(context), file)


def _plan(here: Session, file: Path) -> None:
    content = here.client.request("POST", "/v1/policy/plan", body=request_of(file))
    if not content["ok"]:
        count = len(content["problems"])
        detail = f"{file}: {count} problem{'' if count == 1 else 's'}; it could not be applied"
        raise Failure(ExitCode.REFUSED, detail, "", content["problems"])
    here.show(content, show_plan)


@app.command()
def apply(
    context: typer.Context,
    file: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="the same as `policy plan`")] = False,
    reason: Annotated[str, typer.Option("--reason", help="why; goes into the journal")] = "",
    within: Within = None,
    hold: Hold = False,
    replace: Replace = False,
) -> None:
    """Put a policy in force, atomically: engine and kernel take it, or the old one stays.

    With --confirm-within the old one comes back by itself unless `conduitctl policy confirm` says that the new one may
    stay: also after a crash or a reboot. Stages that operators set at run time survive, unless the new text changes the
    stage of that very object.
    """
    here = session(context)
    if dry_run:
        _plan(here, file)
        return
    body = {**request_of(file), "reason": reason, **terms(within, hold=hold, replace=replace)}
    here.show(here.client.request("POST", "/v1/policy", body=body), _applied)
    if hold:
        keep_hold(here)


def request_of(file: Path) -> dict[str, Any]:
    """Return a policy file as the control socket takes it. Raises Failure."""
    return {"text": _read(file), "name": str(file)[:128]}


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > BODY_BYTES_MAX:
            raise Failure(ExitCode.REFUSED, f"{file} is larger than 16 MiB", "this is no policy file")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            ExitCode.REFUSED, f"{file} cannot be read: {error}", "check path, permissions and encoding"
        ) from error


def _applied(content: dict[str, Any]) -> None:
    show_warnings(content["warnings"])
    console().print(f"in force: generation {content['generation']}, digest {content['digest'][:12]}", style="green")
    _changes(content["changes"], "changed")
    for key in content["overrides_dropped"]:
        console().print(f"the stage set at run time for {key} gave way to the new text", style="yellow")
    say_pending(content["pending"])


def _changes(found: dict[str, Any], word: str) -> None:
    if found["same"]:
        console().print("means the same as the policy it was compared with")
    for kind in KINDS:
        for how, sign in (("added", "+"), ("removed", "-"), ("changed", "~")):
            for name in found[kind][how]:
                console().print(f"  {sign} {kind.removesuffix('s')} {name} {word if how == 'changed' else ''}".rstrip())
