"""`decode`: the messages of a capture, read as the engine reads them on the wire."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.captures import shown_progress
from gateway.cli.session import Output, console, session

if TYPE_CHECKING:
    from collections.abc import Iterable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(decode)


def decode(
    context: typer.Context,
    captures: Annotated[list[str], typer.Argument(metavar="FILE...", help="pcap or pcapng, or folders of them")],
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", help="only messages of this protocol, like modbus")
    ] = None,
) -> None:
    """Messages of captures: a line for each, in the order completed, by the live path's code. Needs no daemon.

    -o jsonl: {"frame": the one that completes it, "index": which of that frame's messages, "src", "sport", "dst",
    "dport", "protocol", "operation", "answer", "fields"}. Fields are numbers as on the wire, null where absent. -o json
    is one list.
    """
    from gateway.decoding.messages import decoded  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.simulate.sources import capture_files  # noqa: PLC0415 (as above)

    here = session(context)
    files = capture_files(captures)
    wanted = set(protocol or ())
    with shown_progress(files) as progress:
        found = (
            message
            for file in files
            for message in decoded(file, progress)
            if not wanted or message["protocol"] in wanted
        )
        _show(here.output, found)


def _show(output: Output, messages: Iterable[dict[str, Any]]) -> None:
    if output is Output.JSONL:
        for message in messages:
            sys.stdout.write(json.dumps(message) + "\n")
    elif output is Output.TABLE:
        for message in messages:
            console().print(line(message), markup=False, highlight=False)
    else:
        json.dump(list(messages), sys.stdout, indent=2)
        sys.stdout.write("\n")


def line(message: dict[str, Any]) -> str:
    """Return a message as one line for people."""
    place = f"{message['frame']:>7}.{message['index']} "
    ends = f"{message['src']}:{message['sport']} → {message['dst']}:{message['dport']} "
    words = [message["protocol"], message["operation"], "answer" if message["answer"] else ""]
    words += [f"{name}={value}" for name, value in message["fields"].items() if value is not None]
    return place + ends + " ".join(word for word in words if word)
