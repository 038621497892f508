"""Tells the story on the terminal and keeps the score.

In: headings, statements with what proves them. Out: lines for people, a closing table, a StoryError at the first
statement that does not hold. Must never soften a failure. Called by the live and the offline story.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH_MAX: Final = 110


class StoryError(Exception):
    """A statement of the story does not hold: conclude that the product or the lab is broken, not the machine."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One asserted line of the story."""

    scene: str
    text: str
    proof: str


class Narrator:
    """Prints and counts."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=False)
        self.console.width = min(self.console.width, WIDTH_MAX)
        self.statements: list[Statement] = []
        self._scene = ""
        self._scenes = 0
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the story began."""
        return time.monotonic() - self._began

    @property
    def current_scene(self) -> str:
        """Return the heading of the scene that plays."""
        return self._scene.partition(":")[0]

    def title(self, text: str, subtitle: str) -> None:
        """Open the story."""
        self.console.print(Panel(escape(subtitle), title=f"[bold]{escape(text)}[/bold]", title_align="left"))

    def scene(self, text: str) -> None:
        """Begin a numbered scene."""
        self._scenes += 1
        self._scene = text
        self.console.print(f"\n[bold]{self._scenes}. {escape(text)}[/bold]  [dim]{self.elapsed_s:.1f} s[/dim]")

    def tell(self, text: str) -> None:
        """Say something that is not asserted."""
        self.console.print(f"   [dim]{escape(text)}[/dim]")

    def check(self, text: str, holds: bool, proof: str) -> None:  # noqa: FBT001 - the verdict is the point
        """State something that must hold, with its proof. Raises StoryError when it does not."""
        if not holds:
            self.console.print(f"   [bold red]✘ {escape(text)}[/bold red]  {escape(proof)}")
            raise StoryError(f"scene {self._scenes} ({self._scene}): {text}: {proof}")
        self.console.print(f"   [green]✔[/green] {escape(text)}  [dim]{escape(proof)}[/dim]")
        self.statements.append(Statement(self._scene, text, proof))

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table; columns after the first are aligned right."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self.console.print()
        self.console.print(table)

    def failed(self, problem: str, logs: str) -> None:
        """Say clearly what failed, and show the last log lines."""
        self.console.print()
        self.console.print(
            Panel(
                escape(problem),
                title="[bold red]the demonstration FAILED[/bold red]",
                title_align="left",
                border_style="red",
            )
        )
        if logs.strip():
            self.console.print("[bold]last log lines[/bold]")
            self.console.print(escape(logs))

    def done(self, label: str) -> None:
        """Close the story."""
        self.console.print(
            f"\n[bold green]{escape(label)}[/bold green]: {len(self.statements)} statements held, "
            f"{self.elapsed_s:.1f} s"
        )
