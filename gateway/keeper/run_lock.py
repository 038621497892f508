"""One conduitd per run directory: a locked pidfile that dies with its process, however that ends.

In: the run directory. Out: a held lock, or a ConfigError that names the process holding it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.errors import ConfigError

PIDFILE: Final = "conduitd.pid"


@contextlib.contextmanager
def run_lock(run_dir: Path) -> Iterator[Path]:
    """Hold the run directory's lock while the block runs; yields the pidfile. Raises ConfigError."""
    path = run_dir / PIDFILE
    try:
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        hint = "conduitd needs a run_dir that it can write; see run_dir in the settings"
        raise ConfigError("run_dir_unusable", f"{path}: {error.strerror}", hint) from error
    try:
        _take(fd, path)
        yield path
    finally:
        os.close(fd)  # the empty lock file stays: removing it would let two processes lock two files of one name


def _take(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        hint = "stop that one first, or give this one another run_dir and other queues"
        raise ConfigError("already_running", f"conduitd runs already, process {holder} holds {path}", hint) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
