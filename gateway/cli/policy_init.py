"""`policy init`: begin a policy with one of the sites and patterns that ship with the product."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.failure import Failure
from gateway.cli.session import print_rows, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from rules.starting_points import StartingPoint


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="where to write it; made when it does not exist")] = None,
    source: Annotated[str | None, typer.Option("--from", help="which site or pattern; see the list")] = None,
) -> None:
    """Begin a policy with a shipped site or pattern; without --from, list them.

    Writes policy.yaml and what it includes; a file that exists is never overwritten.
    """
    from rules.starting_points import starting_points  # noqa: PLC0415 (reads the package; --help must not)

    here = session(context)
    known = starting_points()
    if source is None:
        rows = [{"name": p.name, "files": sorted(p.files), "about": p.about} for p in known.values()]
        columns = ("name", "about")
        here.show({"starting_points": rows}, lambda _: print_rows(columns, [[r[c] for c in columns] for r in rows]))
        return
    if source not in known:
        raise Failure(ExitCode.USAGE, f"no starting point is called '{source}'", "known: " + ", ".join(known))
    if folder is None:
        raise Failure(ExitCode.USAGE, "where to?", f"conduitctl policy init --from {source} DIRECTORY")
    written = _write(known[source], folder)
    here.show({"from": source, "files": [str(path) for path in written]}, lambda _: _next(folder, written))


def _write(point: StartingPoint, folder: Path) -> list[Path]:
    targets = {folder / name: content for name, content in point.files.items()}
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise Failure(ExitCode.REFUSED, f"{', '.join(there)} exists; nothing was written", "name an empty directory")
    try:
        for path, content in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
    except OSError as error:
        raise Failure(ExitCode.REFUSED, f"{error.filename}: {error.strerror}", "check path and permissions") from error
    return list(targets)


def _next(folder: Path, written: list[Path]) -> None:
    for path in written:
        print(path)
    print(f"next: replace ports, addresses and names, then  conduitctl policy check {folder / 'policy.yaml'}")
