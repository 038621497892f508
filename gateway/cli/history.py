"""`policy history|diff|confirm|rollback`: what was in force, what differs, and the way back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.differences import show_differences
from gateway.cli.policy import compiled, sent
from gateway.cli.session import console, print_rows, session
from gateway.cli.terms import Hold, Replace, Within, keep_hold, say_pending, terms

WHICH: Final = re.compile(r"in-force|[0-9]{1,15}|[0-9a-f]{4,64}")
Ref = Annotated[str, typer.Argument(help="in-force, a number of the history, a digest's beginning, or a file")]
Reason = Annotated[str, typer.Option("--reason", help="why; goes into the journal")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of `policy`."""
    app.command()(history)
    app.command()(diff)
    app.command()(confirm)
    app.command()(rollback)


def history(
    context: typer.Context, limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="how many")] = 20
) -> None:
    """Show the policies that were in force, newest first: who, when, why, and what became of each."""
    here = session(context)
    here.show(here.client.get("/v1/policy/history", limit=limit), _history)


def _history(content: dict[str, Any]) -> None:
    print_rows(
        ("number", "digest", "name", "applied", "by", "how", "outcome", "reason"),
        (
            (
                f"{row['number']}{' *' if row['in_force'] else ''}",
                row["digest"][:12],
                row["name"],
                row["time"][:19],
                row["who"],
                row["how"],
                row["outcome"],
                row["reason"],
            )
            for row in content["policies"]
        ),
    )


def diff(context: typer.Context, old: Ref, new: Ref) -> None:
    """Show what one policy changes against another: objects, paths, stages. Two files need no daemon."""
    here = session(context)
    if _is_which(old) or _is_which(new):
        content = here.client.request("POST", "/v1/policy/diff", body={"old": _ref(old), "new": _ref(new)})
    else:
        from gateway.control.plan import differences  # noqa: PLC0415 (needs the compiled engine; --help must not)

        content = differences(compiled(Path(old)), compiled(Path(new))).model_dump(mode="json")
    here.show(content, show_differences)


def _is_which(text: str) -> bool:
    return WHICH.fullmatch(text) is not None


def _ref(text: str) -> dict[str, Any]:
    return {"which": text} if _is_which(text) else {"policy": sent(Path(text))}


def confirm(
    context: typer.Context,
    digest: Annotated[str, typer.Option("--digest", help="only if this is the beginning of its digest")] = "",
    reason: Reason = "",
) -> None:
    """Let the pending change stay, a policy or a stage."""
    here = session(context)
    content = here.client.request("POST", "/v1/policy/confirm", body={"digest": digest, "reason": reason})
    here.show(content, lambda _: console().print("confirmed: it stays", style="green"))


def rollback(
    context: typer.Context,
    which: Annotated[
        str | None, typer.Argument(help="a number of the history or a digest's beginning; without: the pending change")
    ] = None,
    reason: Reason = "",
    within: Within = None,
    hold: Hold = False,
    replace: Replace = False,
) -> None:
    """Take the pending change back now, or put an older policy in force again."""
    here = session(context)
    body = {"which": which, "reason": reason, **terms(within, hold=hold, replace=replace)}
    here.show(here.client.request("POST", "/v1/policy/rollback", body=body), _rolled_back)
    if hold:
        keep_hold(here)


def _rolled_back(content: dict[str, Any]) -> None:
    text = f"in force: {content['name']}, generation {content['generation']}, digest {content['digest'][:12]}"
    console().print(text, style="green", markup=False)
    say_pending(content["pending"])
