"""Gives tests the compiled tests/support/examiner.pyx.

In: nothing. Out: its class `Examiner`. The sanitizer lane compiles the module where it stands; everywhere else it is
compiled into build/ when something changed. Called by tests/fuzz/inspection.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

SOURCE: Final = Path(__file__).with_name("examiner.pyx")
MODULE: Final = "tests.support.examiner"


def examiner_class() -> Any:
    """Return `Examiner`; raises RuntimeError with the compiler's words."""
    try:
        return importlib.import_module(MODULE).Examiner
    except ModuleNotFoundError:
        from bench.extension import compiled, load

        return load(compiled(SOURCE, MODULE), MODULE).Examiner
