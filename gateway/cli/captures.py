"""What commands that read captures share: how far they are, and which files were damaged."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.progress
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from gateway.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.simulate.simulation import Progress
    from gateway.simulate.sources import CaptureFile
    from gateway.simulate.summary import Reading


@contextmanager
def shown_progress(files: list[CaptureFile]) -> Iterator[Progress | None]:
    """Show how far the run is, on a terminal only: standard output is for the result."""
    if not sys.stderr.isatty():
        yield None
        return
    sizes = {file.path: file.path.stat().st_size for file in files}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with rich.progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=sum(sizes.values()))
        done = dict.fromkeys(sizes, 0)

        def advance(file: CaptureFile, at: int) -> None:
            shown.update(task, advance=at - done[file.path], description=file.path.name)
            done[file.path] = at

        yield advance


def tell_damage(readings: Iterable[Reading]) -> None:
    """Say on standard error which files were damaged; the exit code tells it too unless they only end early."""
    damaged = [reading for reading in readings if reading.damage]
    for reading in damaged:
        print(
            f"{reading.path}: byte {reading.at}: {reading.damage}; {reading.frames} frames before it", file=sys.stderr
        )
    if any(not reading.cut for reading in damaged):
        raise typer.Exit(ExitCode.DAMAGED)
