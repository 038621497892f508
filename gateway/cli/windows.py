"""`windows`: when conduits open and close in the days to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from gateway.cli.failure import Failure
from gateway.cli.session import console, print_rows, session
from gateway.errors import ExitCode


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(windows)


def windows(
    context: typer.Context,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="from then on instead of now, like 2027-01-31T06:00+01:00"),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="how far ahead")] = 7,
) -> None:
    """Windows: when conduits open and close in the days to come, in each window's own time zone."""
    here = session(context)
    asked: dict[str, Any] = {"days": days} | ({} if at is None else {"at": _instant(at)})
    here.show(here.client.get("/v1/windows", **asked), _table)


def _instant(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "like 2027-01-31T06:00+01:00; without an offset it is this machine's local time"
        raise Failure(ExitCode.USAGE, f"--at {text}: no time", hint) from None
    return moment.astimezone(UTC).isoformat()


def _table(content: dict[str, Any]) -> None:
    print_rows(
        ("window", "opens", "closes", "lasts", "conduits"),
        (
            (window["name"], _shown(opening["opens"]), _shown(opening["closes"]), _lasting(opening), window["conduits"])
            for window in content["windows"]
            for opening in window["openings"]
        ),
    )
    for window in content["windows"]:
        if not window["openings"]:
            console().print(f"{window['name']}: not open before {_shown(content['until'])}", style="yellow")
        if window["more"]:
            console().print(f"{window['name']}: there are more; fewer --days", style="yellow")


def _shown(text: str) -> str:
    """Return a time with its weekday: `Sat 2027-01-02 06:00:00 +01:00`."""
    moment = datetime.fromisoformat(text)
    return f"{moment:%a %Y-%m-%d %H:%M:%S} {moment.isoformat()[-6:]}" if moment.utcoffset() is not None else text


def _lasting(opening: dict[str, Any]) -> str:
    return str(timedelta(seconds=opening["seconds"]))
