"""`readiness`: what is missing until something may enforce, and taking on what enforcement will drop."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from gateway.cli.failure import Failure
from gateway.cli.session import console, print_rows, session
from gateway.cli.tape import Since, instant
from gateway.errors import ExitCode

app = typer.Typer(help="Proof before enforcing: observed plant cycles, would-drops, and who took them on.")

Conduit = Annotated[str | None, typer.Option("--conduit", help="this conduit only")]
Pair = Annotated[tuple[str, str] | None, typer.Option("--pair", metavar="FROM TO", help="this pair of zones only")]


@app.callback(invoke_without_command=True)
def readiness(context: typer.Context, conduit: Conduit = None, pair: Pair = None, since: Since = None) -> None:
    """Show for each stage object which cycles were observed, what enforcing would have dropped, and what is missing."""
    if context.invoked_subcommand is not None:
        return
    here = session(context)
    asked = {"conduit": conduit, "pair": ":".join(pair) if pair else None, "since": instant(since)}
    content = here.client.get("/v1/readiness", **{name: value for name, value in asked.items() if value is not None})
    here.show(content, _table)


@app.command()
def acknowledge(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="why it may be dropped; goes into the journal")],
    source: Annotated[str | None, typer.Argument(help="as `readiness` names it, or * for any")] = None,
    destination: Annotated[str | None, typer.Argument(help="the same")] = None,
    service: Annotated[str | None, typer.Argument(help="the same, like tcp/80")] = None,
    conduit: Annotated[
        str | None, typer.Option("--conduit", help="of this conduit only; alone: that it was never used")
    ] = None,
    pair: Pair = None,
    code: Annotated[str | None, typer.Option("--code", help="only drops for this reason")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DAY", help="covers nothing from then on")] = None,
) -> None:
    """Take on that enforcing will drop this: everything that was seen and matches, each group by itself.

    What is seen later and was not seen yet is not covered, whatever * stands for.
    """
    here = session(context)
    body = {
        "source": source, "destination": destination, "service": service, "conduit": conduit, "pair": pair,
        "code": code, "reason": reason, "until": _until(until),
    }  # fmt: skip
    here.show(here.client.request("POST", "/v1/readiness/acknowledge", body=body), _taken)


@app.command()
def withdraw(context: typer.Context, number: Annotated[int, typer.Argument(help="as `readiness` shows it")]) -> None:
    """Take an acknowledgement back."""
    here = session(context)
    here.show(here.client.request("DELETE", f"/v1/readiness/acknowledge/{number}"), _taken)


def _until(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = f"like {date.today().year + 1}-01-31"  # noqa: DTZ011 (an example for people)
        raise Failure(ExitCode.USAGE, f"--until {text}: no day", hint) from None
    return found.astimezone(UTC).isoformat()


def _table(content: dict[str, Any]) -> None:
    print_rows(
        ("object", "stage", "effective", "ready", "cycles", "missing"),
        (
            (row["name"], row["stage"], row["effective"], row["ready"], _cycles(row), _first(row["missing"]))
            for row in content["objects"]
        ),
    )
    drops = [(row["name"], one) for row in content["objects"] for one in row["would_drops"]]
    if drops:
        print_rows(
            ("would drop in", "source", "destination", "service", "why", "flows", "frames", "last", "acknowledged"),
            (
                (
                    name, one["source"], one["destination"], one["service"], one["code"], one["flows"], one["frames"],
                    one["last_seen"][:19], one["acknowledged"],
                )
                for name, one in drops
            ),
        )  # fmt: skip
    _taken(content)
    since = content["recorded_since"]
    recorded = f"recorded without a gap for {content['hours_recorded']:g} h in all, since {since[:19]}" if since else ""
    console().print(recorded or "nothing is recorded yet")
    if content["quiet_pairs"]:
        console().print(f"{content['quiet_pairs']} pairs of zones with nothing to drop are not listed")


def _cycles(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{one['name']} {one['observed']}/{one['minimum']}" if one["name"] else f"{one['hours'] / 24:.1f}/7 days"
        for one in row["cycles"]
    )


def _first(missing: list[str]) -> str:
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return missing[0] + more if missing else ""


def _taken(content: dict[str, Any]) -> None:
    if content["acknowledgements"]:
        print_rows(
            ("number", "what", "by", "since", "until", "reason"),
            ((one["number"], _what(one), one["who"], one["since"][:19], one["until"], one["reason"])
             for one in content["acknowledgements"]),
        )  # fmt: skip


def _what(one: dict[str, Any]) -> str:
    if not one["service"]:
        return f"{one['object']} is not used"
    return f"{one['source']} → {one['destination']} {one['service']} ({one['code']})"
