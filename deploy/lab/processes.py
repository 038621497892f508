"""The lab's processes: recorded when started, ended by pid, never by name.

In: pids of processes that the lab started, namespaces that it made. Out: ended processes; small JSON files that lab
programs and their judges exchange. Must never signal a pid whose start time differs from the recorded one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deploy.lab import namespaces
from deploy.lab.namespaces import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
TERMINATE_WITHIN_S: Final = 5.0
POLL_S: Final = 0.02

T = TypeVar("T")


def environment() -> dict[str, str]:
    """Return the environment of lab programs: ours, this interpreter first, the project importable from anywhere."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT_ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def start_ticks(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot), None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def record(directory: Path, pid: int) -> None:
    """Note a started process under the lab's directory."""
    folder = directory / "processes"
    folder.mkdir(exist_ok=True)
    (folder / str(pid)).write_text(str(start_ticks(pid) or 0))


def end_all(directory: Path, owned_namespaces: Sequence[str]) -> None:
    """End the recorded processes and whatever else lives in the lab's own namespaces: first asked, then made to."""
    folder = directory / "processes"
    recorded = {int(note.name): int(note.read_text()) for note in folder.iterdir()} if folder.exists() else {}
    living = {pid: ticks for pid, ticks in recorded.items() if start_ticks(pid) == ticks}
    for namespace in owned_namespaces:
        for pid in namespaces.pids(namespace):
            ticks = start_ticks(pid)
            if ticks is not None and pid != os.getpid():
                living[pid] = ticks
    _signal(living, signal.SIGTERM)
    deadline = time.monotonic() + TERMINATE_WITHIN_S
    while _remaining(living) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    _signal(_remaining(living), signal.SIGKILL)


def _remaining(living: dict[int, int]) -> dict[int, int]:
    return {pid: ticks for pid, ticks in living.items() if start_ticks(pid) == ticks}


def _signal(living: dict[int, int], number: signal.Signals) -> None:
    for pid, ticks in living.items():
        if start_ticks(pid) == ticks:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it ended between the look and the signal: what we wanted


def write_json(path: Path, value: Any) -> None:
    """Publish a value: a reader sees the old or the new file, never half of one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Return a published value, None if nothing has been published yet."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def wait_for(what: str, look: Callable[[], T | None], within_s: float) -> T:
    """Poll until `look` returns something true. Raises LabError naming what did not come."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise LabError(f"waited {within_s:.0f} s in vain: {what}")
        time.sleep(POLL_S)
