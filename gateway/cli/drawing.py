"""`map`: the zones, their assets and the conduits between them as a picture."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.failure import Failure
from gateway.cli.policy import compiled
from gateway.cli.session import Session, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.drawing.scene import Scene

EVENTS_MAX: Final = 4096


class Form(StrEnum):
    """What is written."""

    SVG = "svg"
    PNG = "png"
    DOT = "dot"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("map")(draw)


def draw(
    context: typer.Context,
    out: Annotated[Path | None, typer.Argument(help="the file to write; standard output when left out")] = None,
    policy: Annotated[Path | None, typer.Option(help="draw this policy file; works without the daemon")] = None,
    form: Annotated[Form | None, typer.Option(help="what to write; by default what the file's name ends in")] = None,
    attempts: Annotated[bool, typer.Option(help="draw what the newest events say was tried and is forbidden")] = True,
) -> None:
    """Draw zones, assets and conduits, conduits by stage, with what was tried in vain.

    Without --policy it is the policy in force, with the stages in force. Needs Graphviz's `dot` (not for --form dot).
    """
    from gateway.drawing.dot import graph  # noqa: PLC0415 (loads a library; --help must not)
    from gateway.drawing.render import render  # noqa: PLC0415 (as above)

    here = session(context)
    chosen = form or _form_of(out)
    if out is None and chosen is Form.PNG and sys.stdout.isatty():
        raise Failure(ExitCode.USAGE, "a PNG is not for a terminal", "name a file: conduitctl map plant.png")
    found = _of_file(policy) if policy is not None else _in_force(here, attempts=attempts)
    picture = render(graph(found), chosen.value)
    if out is None:
        sys.stdout.buffer.write(picture)
        return
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise Failure(ExitCode.REFUSED, f"{out} cannot be written: {error.strerror}", "") from error
    about = {"file": str(out), "zones": len(found.boxes), "arrows": len(found.arrows), "bytes": len(picture)}
    here.show(about, lambda _: print(f"{out}: {about['zones']} zones, {about['arrows']} arrows"))


def _form_of(out: Path | None) -> Form:
    if out is None:
        return Form.SVG
    ending = out.suffix.removeprefix(".").lower()
    if ending not in {form.value for form in Form}:
        raise Failure(ExitCode.USAGE, f"{out}: not known what to write", "end it in .svg, .png or .dot, or give --form")
    return Form(ending)


def _of_file(file: Path) -> Scene:
    from gateway.drawing.scene import scene  # noqa: PLC0415 (loads YAML and models; --help must not)

    return scene(compiled(file).policy)


def _in_force(here: Session, *, attempts: bool) -> Scene:
    from gateway.drawing.scene import Attempt, scene  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.bundle import bundle_of_texts  # noqa: PLC0415 (as above)
    from rules.load import load_bundle  # noqa: PLC0415 (as above)

    client = here.client
    content = client.get("/v1/policy")
    states = {row["name"]: row for row in client.get("/v1/conduits")["conduits"]}
    tried: list[dict[str, Any]] = []
    if attempts:
        tried = client.get("/v1/events", limit=EVENTS_MAX, policy_verdict="drop")["events"]
    return scene(
        load_bundle(bundle_of_texts(content["name"], content["text"], content["files"])),
        {name: row["effective"] for name, row in states.items()},
        (Attempt(e.get("src_zone", ""), e.get("dest_zone", ""), 1) for e in tried),
        closed={name for name, row in states.items() if not row["open"]},
    )
