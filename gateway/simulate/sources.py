"""Capture files on disk: which ones are meant, in what order, and how they are opened.

In: paths of files and folders, `FILE=PORT` where it is known by which port a file's frames came in. Out: `CaptureFile`
values in order of their first frames, and mapped captures. Refuses what is no capture; must never write a file.
"""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastpath.replay import Capture
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUFFIXES: Final = frozenset({".pcap", ".pcapng", ".cap", ".dmp"})  # taken from a folder; a file may be called anything
_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd", b"\xfd7zXZ": "unxz", b"BZh": "bunzip2"}


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """One file. `ingress`: the port or the zone that all its frames came in by; None: by where their sources are."""

    path: Path
    ingress: str | None = None


def capture_files(given: Iterable[str], ingress: str | None = None) -> list[CaptureFile]:
    """Return the files that `FILE`, `FOLDER`, `FILE=PORT` and `FOLDER=ZONE` mean, by the time of their first frames.

    `ingress` is for those that name none. Raises ConfigError for what is not there or is no capture.
    """
    found: dict[Path, CaptureFile] = {}
    for text in given:
        path, place = _parted(text)
        for one in _within(path):
            found.setdefault(Path(os.path.realpath(one)), CaptureFile(one, place or ingress))
    return sorted(found.values(), key=lambda file: (_first_ns(file), str(file.path)))


def _parted(text: str) -> tuple[Path, str | None]:
    """Return path and port; a file that is really called so is itself."""
    whole = Path(text)
    head, equals, tail = text.rpartition("=")
    if equals and not whole.exists():
        return Path(head), tail
    return whole, None


def _within(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
    if not found:
        detail = f"{path} holds no capture"
        raise ConfigError("capture_missing", detail, "files of a folder must be called " + ", ".join(sorted(SUFFIXES)))
    return found


def _first_ns(file: CaptureFile) -> int:
    with opened(file) as capture:
        return capture.time_ns(0) if capture.read() else 0


@contextmanager
def opened(file: CaptureFile) -> Iterator[Capture]:
    """Map a file and read it from its beginning. Raises ConfigError."""
    try:
        with os.fdopen(_descriptor(file.path), "rb") as handle:
            about = os.fstat(handle.fileno())
            if not stat.S_ISREG(about.st_mode):
                hint = "a capture is mapped, not streamed: write it to a file first"
                raise ConfigError("capture_format", f"{file.path} is a pipe, a device or a folder", hint)
            size, head = about.st_size, handle.read(8)
            if not size:
                raise ConfigError("capture_format", f"{file.path} is empty", "it has not even a capture's header")
            mapped = mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "capture_missing", f"{file.path} cannot be read: {error}", "check path and permissions"
        ) from error
    with mapped:
        mapped.madvise(mmap.MADV_SEQUENTIAL)
        try:
            capture = Capture(mapped)
        except ValueError as error:
            raise ConfigError("capture_format", f"{file.path} is {error}", _hint(head)) from error
        try:
            yield capture
        finally:
            capture.close()


def _descriptor(path: Path) -> int:
    """Open what may be a pipe that nobody writes to, without waiting."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _hint(head: bytes) -> str:
    program = next((program for magic, program in _COMPRESSED.items() if head.startswith(magic)), None)
    return f"it is compressed: {program} first" if program else "save it as pcap or pcapng"
