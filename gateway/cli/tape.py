"""`tape`: what was seen and how it was judged, as the daemon keeps it; and where others get a tape from."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from gateway.cli.failure import Failure
from gateway.cli.session import Session, print_pairs, print_rows, session
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.tape.store import Observation

app = typer.Typer(help="The decision tape: what was seen, by whom, how often, and how it was judged.")
_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SQLITE: Final = b"SQLite format 3\0"

Since = Annotated[str | None, typer.Option(help="from when on: 30d, 12h, or a time like 2026-11-01T06:00")]
Until = Annotated[str | None, typer.Option(help="until when, written the same way")]


@app.callback(invoke_without_command=True)
def extent(context: typer.Context) -> None:
    """Show how much is on the tape."""
    if context.invoked_subcommand is None:
        here = session(context)
        here.show(here.client.get("/v1/tape"), lambda content: print_pairs(content.items()))


@app.command()
def show(
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    forbidden: Annotated[bool, typer.Option("--forbidden", help="only what the policy of the time forbade")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="the most frequent ones")] = 50,
) -> None:
    """Show who was seen speaking to whom, by which service, and what the policy said."""
    here = session(context)
    found = _asked(here, since, until)
    rows = [row for row in found if not forbidden or row["policy_verdict"] == "drop"]
    rows.sort(key=lambda row: (row["policy_verdict"] != "drop", -row["frames"]))
    here.show({"observations": rows[:limit], "more": max(0, len(rows) - limit)}, _table)


@app.command()
def export(context: typer.Context, since: Since = None, until: Until = None) -> None:
    """Write the tape as JSON lines, for `simulate --tape` and `learn --tape` on another machine."""
    here = session(context)
    for row in here.client.follow("/v1/tape/observations", since=instant(since), until=instant(until)):
        sys.stdout.buffer.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def observations(
    here: Session, file: Path | None, since: str | None, until: str | None = None
) -> Iterable[Observation]:
    """Return what is on a tape: the daemon's own (file None), its SQLite file, or an export. Raises Failure."""
    from gateway.tape.lines import observations as parsed  # noqa: PLC0415 (--help must not load the engine's layouts)
    from gateway.tape.store import Tape  # noqa: PLC0415 (as above)

    begin, end = instant(since), instant(until)
    if file is None:
        rows = here.client.follow("/v1/tape/observations", since=begin, until=end)
        return parsed((orjson.dumps(row) for row in rows), str(here.socket))
    low = int(datetime.fromisoformat(begin).timestamp()) * 1_000_000_000 if begin else 0
    high = int(datetime.fromisoformat(end).timestamp()) * 1_000_000_000 if end else 1 << 62
    try:
        with file.open("rb") as handle:
            is_database = handle.read(len(_SQLITE)) == _SQLITE
        if is_database:
            return list(Tape(file, only_look=True).observations(low, high))
        with file.open("rb") as handle:
            found = list(parsed(handle, str(file)))
    except (OSError, sqlite3.Error) as error:
        raise Failure(ExitCode.REFUSED, f"{file} cannot be read: {error}", "a tape, or an export of one") from error
    return [one for one in found if one.sum.last_ns >= low and one.sum.first_ns <= high]


def _asked(here: Session, since: str | None, until: str | None) -> list[dict[str, Any]]:
    return list(here.client.follow("/v1/tape/observations", since=instant(since), until=instant(until)))


def instant(text: str | None) -> str | None:
    """Return a point in time as ISO 8601 with its zone: a span counts back from now. Raises Failure."""
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span:
        return (datetime.now(UTC) - timedelta(seconds=int(span[1]) * _SECONDS[span[2]])).isoformat()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "like 30d, 12h, 2026-11-01 or 2026-11-01T06:00"
        raise Failure(ExitCode.USAGE, f"{text!r} is neither a span nor a time", hint) from None
    return found.astimezone(UTC).isoformat()


def _table(content: dict[str, Any]) -> None:
    columns = ("source", "destination", "service", "policy", "happened", "reason", "conduit", "flows", "frames", "last")
    print_rows(columns, (_row(row) for row in content["observations"]))
    if content["more"]:
        print(f"and {content['more']} more (--limit)")


def _row(row: dict[str, Any]) -> list[Any]:
    service = row["service"] or f"{row['protocol']}/{row['number']}" if row["protocol"] else f"{row['ethertype']:#06x}"
    ends = [f"{row[f'{end}_asset'] or row[end]} ({row[f'{end}_zone']})" for end in ("source", "destination")]
    said = [row["policy_verdict"], row["verdict"], row["reason"], row["conduit"]]
    return [*ends, service, *said, row["flows"], row["frames"], row["last_seen"][:19]]
