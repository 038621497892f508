"""The bench's C programs, compiled when first needed.

In: the name of a program (`accept`, `echo`, `generate`, `sink`). Out: the path of its executable under build/bench.
They need a compiler, libc and the kernel's headers; no library of NFQUEUE or netlink. Called by traffic and subjects.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from bench.plan import RAW

SOURCES: Final = Path(__file__).resolve().parent
FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


def program(name: str) -> str:
    """Return the executable, compiled anew when its sources are newer. Raises CalledProcessError with gcc's words."""
    source, executable = SOURCES / f"{name}.c", RAW / name
    newest = max(path.stat().st_mtime for path in (source, *SOURCES.glob("*.h")))
    if not executable.exists() or executable.stat().st_mtime < newest:
        RAW.mkdir(parents=True, exist_ok=True)
        partial = executable.with_name(f"{name}.{os.getpid()}")
        subprocess.run(["gcc", *FLAGS, "-o", os.fspath(partial), os.fspath(source)], check=True)
        partial.replace(executable)
    return os.fspath(executable)
