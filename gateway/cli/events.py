"""`events`: what was judged and why, as it happens."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from gateway.cli.session import Output, console, session


class Kind(StrEnum):
    """The kinds of events."""

    CONDUIT = "conduit"
    ALERT = "alert"
    FLOW = "flow"
    MESSAGE = "message"
    CONTROL = "control"


class Verdict(StrEnum):
    """The verdicts."""

    ACCEPT = "accept"
    DROP = "drop"


_OWN: Final = ("timestamp", "event_type", "action", "who", "role", "result")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(events)


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on showing them as they happen")] = False,
    limit: Annotated[int, typer.Option(min=0, max=4096, help="how many past events first")] = 50,
    kind: Annotated[Kind | None, typer.Option("--type", help="only this kind")] = None,
    conduit: Annotated[str | None, typer.Option(help="only this conduit")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="what happened")] = None,
    policy_verdict: Annotated[Verdict | None, typer.Option(help="what the policy says")] = None,
) -> None:
    """Events: frames that opened a flow or broke the policy, alerts, and what operators did.

    `verdict` is what happened, `policy` what the policy says: in monitor and alert they differ. With -o json each event
    is one line.
    """
    here = session(context)
    asked: dict[str, Any] = {"limit": limit, "conduit": conduit}
    asked |= {"type": kind, "verdict": verdict, "policy_verdict": policy_verdict}
    if follow:
        found = here.client.follow("/v1/events", follow=True, **asked)
    else:
        found = iter(here.client.get("/v1/events", **asked)["events"])
    for event in found:
        if here.output is not Output.TABLE:
            sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
        else:
            style = "red" if event.get("verdict") == "drop" else "yellow" if event["event_type"] == "alert" else ""
            console().print(line(event), style=style, markup=False)
        sys.stdout.flush()


def line(event: dict[str, Any]) -> str:
    """Return an event as one line for people."""
    head = f"{event['timestamp'][11:26]} {event['event_type']:8}"
    if event["event_type"] == "control":
        rest = {name: value for name, value in event.items() if name not in _OWN}
        who = f" by {event['who']}" if "who" in event else ""
        return f"{head}{event['action']}{who}: {event.get('result', '')} {json.dumps(rest, ensure_ascii=False)}"
    verdict = f"{event['verdict']:6} policy {event['policy_verdict']:6}"
    ends = f"{_end(event, 'src')} → {_end(event, 'dest')}"
    what = _message(event) or event.get("service") or event.get("proto") or event.get("ether_type", "")
    tail = f"{event['reason']} {event.get('conduit') or ''} [{event.get('stage') or '-'}]"
    return f"{head}{verdict} {ends} {what} {tail}"


def _message(event: dict[str, Any]) -> str:
    """Return what an inspected message asked for, like `modbus write unit=1 function=6 address=40`."""
    message = event.get("message")
    if message is None:
        return ""
    words = [event["app_proto"], message.get("operation", ""), "answer" if message["answer"] else ""]
    words += [
        f"{name}={value}" if isinstance(value, int) else f"{name}={value[0]}-{value[1]}"
        for name, value in message["fields"].items()
    ]
    return " ".join(word for word in words if word)


def _end(event: dict[str, Any], side: str) -> str:
    name = event.get(f"{side}_asset")
    address = event.get(f"{side}_ip") or event.get(f"{side}_mac") or "?"
    port = f":{event[f'{side}_port']}" if f"{side}_port" in event else ""
    return f"{name} {address}{port}" if name else f"{address}{port}"
