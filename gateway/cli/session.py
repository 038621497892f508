"""What every command shares: which socket, which output form; and how results reach the terminal.

JSON goes out exactly as the control plane answered, for scripts; tables are for people and may change.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.client import Client


class Output(StrEnum):
    """The output forms."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(slots=True)
class Session:
    """One run of conduitctl."""

    socket: Path
    output: Output

    @property
    def client(self) -> Client:
        """The control plane."""
        return Client(self.socket)

    def show(self, content: Any, table: Callable[[Any], None]) -> None:
        """Print an answer: as JSON, or by the function that makes a table of it."""
        if self.output is Output.JSON:
            print_json(content)
        elif self.output is Output.JSONL:
            sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        else:
            table(content)

    def watch(self, every: float | None, ask: Callable[[], Any], table: Callable[[Any], None]) -> None:
        """Show an answer once, or again and again until interrupted."""
        while True:
            content = ask()
            if every is not None and self.output is Output.TABLE:
                console().clear()
            self.show(content, table)
            if every is None:
                return
            sys.stdout.flush()
            time.sleep(every)


def session(context: typer.Context) -> Session:
    """Return the session that `main` put beside the command."""
    found = context.find_object(Session)
    if found is None:
        raise typer.Exit(code=1)
    return found


def console() -> Console:
    """Return a console on today's stdout; wide when it is a file, so that no cell is cut.

    Brackets are brackets: what is shown comes from policies, errors and people, and "[/x]" is no command of ours.
    """
    plain = not sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=False, width=240 if plain else None)


def print_json(content: Any) -> None:
    """Print JSON for scripts."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; None is an empty cell."""
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    console().print(table)


def print_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in pairs:
        table.add_row(Text(name, style="bold"), cell(value))
    console().print(table)


_STYLES = {
    "enforce": "red", "alert": "yellow", "monitor": "cyan", "drop": "red", "accept": "green", "bad": "bold red",
    "warning": "yellow",
    "ok": "green", "judging": "green", "dead": "bold red", "degraded": "yellow", "no policy": "red",
}  # fmt: skip


def cell(value: Any) -> Text:
    """Return one value as a table cell; words that matter have their colour."""
    if value is None:
        text = ""
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, (list, tuple)):
        text = ", ".join(str(item) for item in value)
    else:
        text = str(value)
    return Text(text, style=_STYLES.get(text, ""))
