"""What the figures are true of: kernel, processor, commit, form of interception, date, load.

In: the running machine and the working tree. Out: a plain dictionary for machine.json. Called by `python -m bench`
before the first suite.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.plan import PROJECT
from gateway.errors import KernelError
from gateway.kernel.probe import probe

CPUINFO = Path("/proc/cpuinfo")


def describe() -> dict[str, Any]:
    """Return the description; blocks for a fraction of a second while the kernel's abilities are tried."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": cpu(),
        "cpus": os.cpu_count(),
        "interception": interception(),
        "load_at_start": list(os.getloadavg()),
        "python": platform.python_version(),
        "compiler": _said("gcc", "-dumpfullversion"),
    }


def commit() -> str:
    """Return the commit, with "+changes" when the working tree differs from it."""
    changed = _said("git", "-C", str(PROJECT), "status", "--porcelain", "--untracked-files=no")
    return _said("git", "-C", str(PROJECT), "rev-parse", "HEAD") + ("+changes" if changed else "")


def cpu() -> str:
    """Return the processor's name as the kernel has it."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    return names[0] if names else platform.processor() or "unknown"


def interception() -> str:
    """Return the form in which conduitd would intercept here: bridge, brnf or none."""
    try:
        return probe().require_form("auto").name.lower()
    except (KernelError, OSError):
        return "none"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except OSError:
        return ""
