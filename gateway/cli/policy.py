"""`policy show|check|apply`: the operators' text, from a file to what is in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli import policy_check
from gateway.cli.failure import Failure
from gateway.cli.session import console, print_pairs, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.cli.session import Session
    from rules.bundle import Bundle
    from rules.compile import Compiled
    from rules.problems import PolicyError

app = typer.Typer(help="The policy: zones, assets, conduits, in YAML.", no_args_is_help=True)
NAME_MAX: Final = 128  # the control socket's limit

File = Annotated[Path, typer.Argument(help="a policy file (YAML); what it includes comes along")]
KINDS: Final = ("zones", "assets", "services", "conduits", "windows", "roles", "cycles", "pairs")


@app.command()
def show(
    context: typer.Context,
    text: Annotated[bool, typer.Option("--text", help="print the main text itself and nothing else")] = False,
) -> None:
    """Show which policy is in force, who applied it and when."""
    here = session(context)
    content = here.client.get("/v1/policy")
    if text:
        sys.stdout.write(content["text"])
        return
    names = ("site", "name", "generation", "digest", "who", "applied", "file_differs")
    pairs = [(name, content[name]) for name in names] + [("files", len(content["files"]) + 1)]
    here.show(content, lambda _: print_pairs(pairs))


policy_check.register(app)


def compiled(file: Path) -> Compiled:
    """Compile a file. Raises Failure with every problem."""
    from rules.compile import compile_file  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.problems import PolicyError  # noqa: PLC0415 (loads YAML and models; --help must not)

    try:
        return compile_file(file)
    except PolicyError as error:
        raise refused_policy(file, error) from error


def bundle_in_force(here: Session) -> Bundle:
    """Return the policy that is in force, with its files. Raises Failure when no daemon answers."""
    from rules.bundle import bundle_of_texts  # noqa: PLC0415 (loads YAML; --help must not)

    try:
        content = here.client.get("/v1/policy")
    except Failure as failure:
        if failure.exit_code is ExitCode.UNREACHABLE:
            failure.hint = "--policy FILE judges by a file, without the daemon"
        raise
    return bundle_of_texts(content["name"], content["text"], content["files"])


def in_force(here: Session) -> Compiled:
    """Compile the policy that is in force. Raises Failure when no daemon answers."""
    from rules.compile import compile_bundle  # noqa: PLC0415 (loads YAML and models; --help must not)

    return compile_bundle(bundle_in_force(here), accepted=True)


def _checked(file: Path, content: dict[str, Any]) -> None:
    policy_check.print_problems(content["warnings"])
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
    body = {**sent(file), "reason": reason}
    if not dry_run:
        here.show(here.client.request("POST", "/v1/policy", body=body), _applied)
        return
    content = here.client.request("POST", "/v1/policy/check", body={**body, "reason": ""})
    if not content["ok"]:
        detail = f"{file}: {len(content['problems'])} problems; it could not be applied"
        raise Failure(ExitCode.REFUSED, detail, "", content["problems"])
    here.show(content, lambda answer: _would_change(file, answer))


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


def _would_change(file: Path, content: dict[str, Any]) -> None:
    _checked(file, content)
    _changes(content["changes"], "would change")


def _applied(content: dict[str, Any]) -> None:
    policy_check.print_problems(content["warnings"])
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
