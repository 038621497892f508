"""`--confirm-within`, `--hold`, `--replace`: changes that go back by themselves, on the command line.

In: the options of a command that changes something. Out: the terms of its request; and, for `--hold`, a connection that
stays open until the change has ended, with a countdown, and the word `confirm` typed by whoever holds it.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.failure import Failure
from gateway.cli.quarantine import seconds
from gateway.cli.session import console
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.cli.session import Session

WORD: Final = "confirm"
Within = Annotated[
    str | None,
    typer.Option("--confirm-within", metavar="TIME", help="goes back by itself unless confirmed: 90s, 10m, 2h"),
]
Hold = Annotated[
    bool, typer.Option("--hold", help="stay connected; when this connection ends before it is confirmed, it goes back")
]
Replace = Annotated[bool, typer.Option("--replace", help="take the place of a change that waits to be confirmed")]
Force = Annotated[
    bool,
    typer.Option("--force", help="raise to enforce what is not ready; needs --reason, which goes into the journal"),
]


def forced(reason: str, *, force: bool) -> dict[str, Any]:
    """Return what a request says of force. Raises Failure when nobody says why."""
    if force and not reason.strip():
        raise Failure(ExitCode.USAGE, "--force needs --reason", 'like --reason "commissioning, RA-17"')
    return {"force": force, "reason": reason}


def terms(within: str | None, *, hold: bool, replace: bool) -> dict[str, Any]:
    """Return the terms of a request. Raises Failure for a hold without a deadline."""
    if hold and within is None:
        raise Failure(ExitCode.USAGE, "--hold needs --confirm-within", "like --confirm-within 10m --hold")
    return {"confirm_within": None if within is None else seconds(within), "hold": hold, "replace": replace}


def say_pending(pending: dict[str, Any] | None) -> None:
    """Say that a change goes back by itself, if it does."""
    if pending is None:
        return
    confirm = (
        f"conduitctl policy confirm --digest {pending['digest'][:12]}"  # this one, not what took its place meanwhile
    )
    text = f"goes back by itself in {pending['seconds_left']:.0f} s; `{confirm}` lets it stay"
    console().print(text, style="yellow")


def keep_hold(here: Session) -> None:
    """Hold the pending change until it has ended. Raises Failure when it did not stay."""
    held: dict[str, str] = {}
    if sys.stdin.isatty():
        threading.Thread(target=_confirm_when_told, args=(here, held), daemon=True).start()
        print(f"type `{WORD}` to let it stay; Ctrl-C takes it back at once", file=sys.stderr)
    ended = "rolled back"
    for state in here.client.follow("/v1/pending/hold"):
        if state["pending"] is None:
            ended = str(state["ended"])
            break
        held.setdefault("digest", str(state["pending"]["digest"]))
        if sys.stderr.isatty():
            print(f"\r{state['pending']['seconds_left']:6.0f} s left ", end="", file=sys.stderr, flush=True)
    if ended != "confirmed":
        hint = "`conduitctl journal` says why"
        raise Failure(ExitCode.REFUSED, f"the change did not stay: it was {ended}", hint)
    console().print("confirmed", style="green")


def _confirm_when_told(here: Session, held: dict[str, str]) -> None:
    for line in sys.stdin:
        if line.strip() == WORD:
            try:
                here.client.request("POST", "/v1/policy/confirm", body=dict(held))
            except Failure as failure:
                print("\n".join(failure.lines()), file=sys.stderr)
            return
