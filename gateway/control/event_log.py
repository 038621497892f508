"""The events file: JSON lines appended by a thread of its own, rotated by size, never in anybody's way.

In: batches of complete lines. Out: `events.jsonl` and a few rotated files. A full, slow or failing disk costs events in
the file, counted, and nothing else: a batch that finds the queue full is lost at once. Must never raise into the pump.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "events.jsonl"
ROTATE_BYTES: Final = 64 << 20  # ~150,000 events a file
FILES_KEPT: Final = 8
BATCHES_WAITING: Final = 256
_COMPLAIN_EVERY_S: Final = 10.0
_log = structlog.get_logger(__name__)


class EventLog:
    """The file and its writing thread."""

    def __init__(self, directory: Path, rotate_bytes: int = ROTATE_BYTES, files_kept: int = FILES_KEPT) -> None:
        self._path = directory / FILE_NAME
        self._rotate_bytes = rotate_bytes
        self._files_kept = files_kept
        self._batches: queue.Queue[tuple[bytes, int] | None] = queue.Queue(BATCHES_WAITING)
        self._descriptor = -1
        self._size = 0
        self._complained = 0.0
        self.written = 0
        self.lost = 0
        self.error = ""  # of the disk; empty while it works
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    def put(self, lines: bytes, count: int) -> None:
        """Hand over complete lines; never blocks."""
        try:
            self._batches.put_nowait((lines, count))
        except queue.Full:
            self.lost += count

    def close(self) -> None:
        """Write what is waiting and end the thread; waits at most two seconds for a hung disk."""
        with contextlib.suppress(queue.Full):
            self._batches.put(None, timeout=1.0)
        self._thread.join(2.0)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            lines, count = batch
            try:
                self._write(lines)
                self.written += count
                self.error = ""
            except OSError as error:
                self.lost += count
                self._complain(error)
        self._forget_file()

    def _write(self, lines: bytes) -> None:
        if self._descriptor < 0:
            self._open()
        elif self._size + len(lines) > self._rotate_bytes:
            self._rotate()
        view = memoryview(lines)
        while view:
            sent = os.write(self._descriptor, view)
            self._size += sent
            view = view[sent:]

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # a line cut by a crash must not swallow the next one

    def _rotate(self) -> None:
        self._forget_file()
        for number in range(self._files_kept - 1, 0, -1):
            older = self._path.with_name(f"{FILE_NAME}.{number}")
            if older.exists():
                os.replace(older, self._path.with_name(f"{FILE_NAME}.{number + 1}"))
        os.replace(self._path, self._path.with_name(f"{FILE_NAME}.1"))
        self._open()

    def _complain(self, error: OSError) -> None:
        self.error = error.strerror or str(error)
        self._forget_file()
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_EVERY_S:
            self._complained = now
            _log.error("event_file_failing", path=str(self._path), error=self.error, lost=self.lost)

    def _forget_file(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
