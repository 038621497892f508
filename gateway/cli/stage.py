"""`stage get|set|reset`: how far violations are acted upon."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from gateway.cli.session import console, print_rows, session
from gateway.cli.state import Watch
from gateway.cli.terms import Force, Hold, Replace, Within, forced, keep_hold, say_pending, terms

app = typer.Typer(
    help="Stages: monitor (pass and count), alert (pass and raise an alert), enforce (drop).", no_args_is_help=True
)

Conduit = Annotated[str | None, typer.Option("--conduit", help="this conduit only")]
Pair = Annotated[
    tuple[str, str] | None,
    typer.Option("--pair", metavar="FROM TO", help="what nothing permits from one zone to another"),
]
Reason = Annotated[str, typer.Option("--reason", help="why; goes into the journal")]


class Stage(StrEnum):
    """The stages."""

    MONITOR = "monitor"
    ALERT = "alert"
    ENFORCE = "enforce"


@app.command("get")
def get(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="also pairs that are as the policy says")] = False,
    watch: Watch = None,
) -> None:
    """Show the site's ceiling and the stage of every conduit and zone pair.

    Effective is the lower of the object's own stage and the ceiling.
    """
    here = session(context)
    here.watch(watch, lambda: here.client.get("/v1/stages"), lambda content: _table(content, every=every))


def _table(content: dict[str, Any], *, every: bool) -> None:
    known = [pair for pair in content["pairs"] if "(unknown)" not in pair["pair"]]
    pairs = content["pairs"] if every else [pair for pair in known if pair["overridden"]] or known
    rows = [content["ceiling"], *content["conduits"], *pairs]
    print_rows(
        ("object", "own", "effective", "policy says", "set by", "reason"),
        ((_label(row), row["stage"], row["effective"], row["policy_stage"], row["who"], row["reason"]) for row in rows),
    )


def _label(row: dict[str, Any]) -> str:
    if row["conduit"]:
        return f"conduit {row['conduit']}"
    return f"{row['pair'][0]} → {row['pair'][1]}" if row["pair"] else "site ceiling"


@app.command("set")
def set_(
    context: typer.Context,
    stage: Annotated[Stage, typer.Argument(help="monitor, alert or enforce")],
    conduit: Conduit = None,
    pair: Pair = None,
    reason: Reason = "",
    within: Within = None,
    hold: Hold = False,
    replace: Replace = False,
    force: Force = False,
) -> None:
    """Set the site's ceiling, or with --conduit or --pair one object's stage; effective when this returns.

    Raising to enforce needs proof: see `conduitctl readiness`. `conduitctl stage set monitor` calms the whole site at
    once. Raising the ceiling again promotes nothing that was staged lower. With --confirm-within it goes back by itself
    unless `conduitctl policy confirm` lets it stay.
    """
    on_terms = terms(within, hold=hold, replace=replace)
    _put(context, {"stage": stage.value, "conduit": conduit, "pair": pair, **forced(reason, force=force), **on_terms})
    if hold:
        keep_hold(session(context))


@app.command("reset")
def reset(
    context: typer.Context, conduit: Conduit = None, pair: Pair = None, reason: Reason = "", force: Force = False
) -> None:
    """Go back to what the policy says: the ceiling, or with --conduit or --pair one object."""
    _put(context, {"stage": None, "conduit": conduit, "pair": pair, **forced(reason, force=force)})


def _put(context: typer.Context, body: dict[str, Any]) -> None:
    here = session(context)
    here.show(here.client.request("PUT", "/v1/stages", body=body), _changed)


def _changed(content: dict[str, Any]) -> None:
    effective = f"effective {content['previous_effective']} → {content['effective']}"
    console().print(f"{content['object']}: {content['previous']} → {content['stage']}, {effective}")
    if not content["persisted"]:
        console().print("in force, but not saved: the state directory cannot be written", style="red")
    say_pending(content["pending"])
