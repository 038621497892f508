"""Gives tests the compiled tests/support/reader.pyx.

In: nothing. Out: its class `Reader`. The sanitizer lane compiles the module where it stands; everywhere else it is
compiled into build/ when something changed. Called by tests/fuzz/messages.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

SOURCE: Final = Path(__file__).with_name("reader.pyx")
MODULE: Final = "tests.support.reader"


def reader_class() -> Any:
    """Return `Reader`; raises RuntimeError with the compiler's words."""
    try:
        return importlib.import_module(MODULE).Reader
    except ModuleNotFoundError:
        from bench.extension import compiled, load

        return load(compiled(SOURCE, MODULE), MODULE).Reader
