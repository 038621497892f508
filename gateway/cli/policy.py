"""`policy show|check|plan|apply`: the operators' text, from a file to what is in force."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli import policy_check
from gateway.cli.differences import show_plan
from gateway.cli.failure import Failure
from gateway.cli.session import console, print_pairs, session
from gateway.cli.terms import Force, Hold, Replace, Within, forced, keep_hold, say_pending, terms
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.cli.session import Session
    from rules.compile import Compiled
    from rules.problems import PolicyError

app = typer.Typer(help="The policy: zones, assets, conduits, in YAML.", no_args_is_help=True)
NAME_MAX: Final = 128  # the control socket's limit

File = Annotated[Path, typer.Argument(help="a policy file (YAML); what it includes comes along")]
KINDS: Final = ("zones", "assets", "services", "conduits", "windows", "roles", "cycles", "pairs")


@app.command()
def show(
    context: typer.Context,
    which: Annotated[
        str | None, typer.Argument(help="a number of the history or a digest's beginning; without: the one in force")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="print the main text itself and nothing else")] = False,
) -> None:
    """Show which policy is in force, or one that was: who applied it and when, what became of it, its text."""
    here = session(context)
    content = here.client.get("/v1/policy" if which is None else f"/v1/policy/history/{which}")
    if text:
        sys.stdout.write(content["text"])
        return
    pairs = [(name, content[name]) for name in content if name not in ("text", "files")]
    here.show(content, lambda _: print_pairs([*pairs, ("files", len(content["files"]) + 1)]))


policy_check.register(app)


def compiled(file: Path) -> Compiled:
    """Compile a file. Raises Failure with every problem."""
    from rules.compile import compile_file  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.problems import PolicyError  # noqa: PLC0415 (loads YAML and models; --help must not)

    try:
        return compile_file(file)
    except PolicyError as error:
        raise refused_policy(file, error) from error


@app.command()
def plan(context: typer.Context, file: File) -> None:
    """Show what a policy would change, before it does: objects, paths, stages, live conversations cut."""
    _plan(session(context), file)


def _plan(here: Session, file: Path) -> None:
    content = here.client.request("POST", "/v1/policy/plan", body=sent(file))
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
    force: Force = False,
) -> None:
    """Put a policy in force, atomically: engine and kernel take it, or the old one stays.

    With --confirm-within the old one comes back by itself unless `conduitctl policy confirm` says that the new one may
    stay: also after a crash or a reboot. Stages that operators set at run time survive, unless the new text changes the
    stage of that very object. What the text raises to enforce needs the proof that `conduitctl readiness` shows.
    """
    here = session(context)
    if dry_run:
        _plan(here, file)
        return
    body = {**sent(file), **forced(reason, force=force), **terms(within, hold=hold, replace=replace)}
    here.show(here.client.request("POST", "/v1/policy", body=body), _applied)
    if hold:
        keep_hold(here)


@app.command()
def schema(
    fragment: Annotated[bool, typer.Option("--fragment", help="of a file that another one includes")] = False,
) -> None:
    """Print the policy language as JSON Schema, for editors. Works without the daemon."""
    from rules.schema import policy_schema  # noqa: PLC0415 (loads models; --help must not)

    sys.stdout.write(json.dumps(policy_schema(fragment=fragment), indent=1, ensure_ascii=False) + "\n")


def sent(file: Path) -> dict[str, Any]:
    """Return a policy with all that it includes, as the control socket takes it. Raises Failure."""
    from rules.bundle import read_bundle  # noqa: PLC0415 (loads YAML; --help must not)
    from rules.load import load_bundle  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.problems import PolicyError  # noqa: PLC0415 (loads YAML; --help must not)

    try:
        bundle = read_bundle(file)
        if bundle.unread:
            load_bundle(bundle)  # only here is it known why a file could not be read
        files = bundle.texts()
    except PolicyError as error:
        raise refused_policy(file, error) from error
    name = str(file) if len(str(file)) <= NAME_MAX else file.name
    return {"text": bundle.text, "files": files, "name": name}


def refused_policy(file: Path, error: PolicyError) -> Failure:
    """Return a policy's problems as the failure of a command."""
    count = len(error.problems)
    detail = f"{file}: {count} problem{'' if count == 1 else 's'}; nothing in force has changed"
    return Failure(ExitCode.REFUSED, detail, "", [problem.as_dict() for problem in error.problems])


def _applied(content: dict[str, Any]) -> None:
    policy_check.print_problems(content["warnings"])
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
