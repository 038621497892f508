"""`lab up|down|exec|status`: the water works in network namespaces, to try everything on (needs root)."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.failure import Failure
from gateway.cli.session import console, print_rows, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from types import ModuleType

app = typer.Typer(help="The lab: a small water works in network namespaces, behind one gateway.", no_args_is_help=True)
Name = Annotated[str, typer.Option("--name", help="which lab, when there are several")]
DEFAULT_NAME = "cg"


def _lab() -> ModuleType:
    try:
        from deploy.lab import cli  # noqa: PLC0415 (the lab is not part of every installation)
    except ImportError as error:
        hint = "install the extra: pip install conduit-gateway[lab]"
        raise Failure(ExitCode.REFUSED, f"the lab is not installed ({error.name})", hint) from error
    return cli


def _call(name: str, *arguments: Any, **options: Any) -> Any:
    lab = _lab()
    try:
        return getattr(lab, name)(*arguments, **options)
    except lab.namespaces.LabError as error:
        raise Failure(ExitCode.REFUSED, str(error)) from error
    except PermissionError as error:
        raise Failure(ExitCode.NOT_PERMITTED, f"the lab needs root: {error}", "sudo conduitctl lab ...") from error


@app.command()
def up(
    context: typer.Context,
    name: Name = DEFAULT_NAME,
    gateway: Annotated[bool, typer.Option(help="start conduitd in it")] = True,
    plain: Annotated[bool, typer.Option("--plain", help="a plain bridge instead of the gateway")] = False,
) -> None:
    """Build the lab, start its controllers, operator stations and the gateway."""
    _show_nodes(context, _call("up", name, gateway=gateway, plain=plain))


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Take the lab down completely."""
    console().print("down" if _call("down", name) else "there was no lab")


@app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def exec_(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="a node, like plc-1; `lab status` lists them")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run a command on a node: conduitctl lab exec hmi-1 -- ping -c1 10.20.50.10"""
    if not context.args:
        raise typer.BadParameter("which command?")
    raise typer.Exit(_call("exec_", node, context.args, name))


@app.command()
def status(context: typer.Context, name: Name = DEFAULT_NAME) -> None:
    """Show the lab's nodes."""
    _show_nodes(context, _call("status", name))


def _show_nodes(context: typer.Context, nodes: list[Any]) -> None:
    def table(_content: Any) -> None:
        columns = [field.name for field in fields(nodes[0])] if nodes else []
        print_rows(columns, ([getattr(node, column) for column in columns] for node in nodes))

    session(context).show([asdict(node) for node in nodes], table)
