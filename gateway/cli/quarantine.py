"""`quarantine add|list|release`: nothing passes from or to a device any more."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer

from gateway.cli.session import console, print_rows, session
from gateway.cli.state import Watch

app = typer.Typer(help="Quarantine: block everything from and to a device, live flows included.", no_args_is_help=True)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """Return a duration like 90s, 30m, 2h or 7d in seconds."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd]?)", text)
    if match is None:
        raise typer.BadParameter("like 90s, 30m, 2h or 7d")
    return int(match[1]) * _UNITS[match[2] or "s"]


@app.command()
def add(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="an asset's name (all its addresses), a MAC or an IP address")],
    reason: Annotated[str, typer.Option("--reason", help="why; shown in the list and in the journal")],
    duration: Annotated[
        str | None, typer.Option("--for", help="released by itself after this time: 90s, 30m, 2h, 7d")
    ] = None,
) -> None:
    """Block a device; when this returns, nothing passes from or to it."""
    here = session(context)
    body = {"target": target, "reason": reason, "seconds": None if duration is None else seconds(duration)}
    here.show(here.client.request("POST", "/v1/quarantine", body=body), lambda entry: _table({"entries": [entry]}))


@app.command("list")
def list_(context: typer.Context, watch: Watch = None) -> None:
    """Show what is in quarantine, why, and until when."""
    here = session(context)
    here.watch(watch, lambda: here.client.get("/v1/quarantine"), _table)


@app.command()
def release(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="the entry's number or its target")],
    reason: Annotated[str, typer.Option("--reason", help="why; goes into the journal")] = "",
) -> None:
    """Release a device."""
    here = session(context)
    content = here.client.request("DELETE", f"/v1/quarantine/{which}", query={"reason": reason})
    here.show(content, lambda found: console().print(f"released: {', '.join(e['target'] for e in found['entries'])}"))


def _table(content: dict[str, Any]) -> None:
    print_rows(
        ("number", "target", "addresses", "reason", "by", "since", "until"),
        (
            (
                entry["number"],
                entry["target"],
                [*entry["macs"], *entry["addresses"]],
                entry["reason"],
                entry["who"],
                entry["since"],
                entry["until"] or "released by hand",
            )
            for entry in content["entries"]
        ),
    )
