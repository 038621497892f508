"""Compiles bench/classify.pyx with the product's own compiler flags, into build/bench, when something changed.

In: the project's sources. Out: the imported module. The flags are those of `fastpath.worker` in pyproject.toml, so that
what is measured is what the product runs. Called by the suite `classify` and the instruction guard.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from typing import TYPE_CHECKING, Any, Final

from bench.plan import PROJECT, RAW

if TYPE_CHECKING:
    from pathlib import Path

MODULE: Final = "bench.classify"
SOURCE: Final = PROJECT / "bench" / "classify.pyx"
BUILD_SECONDS: Final = 300


def classify_module() -> Any:
    """Return the compiled module, compiling it first when needed; raises RuntimeError with the compiler's words."""
    return load(compiled())


def load(library: Path) -> Any:
    """Import the module from a compiled library."""
    spec = importlib.util.spec_from_file_location(MODULE, library)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{library} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled() -> Path:
    """Return the compiled library; its name carries the digest of everything that it was made from."""
    flags = worker_flags()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    library = RAW / f"classify-{_digest(flags)}" / f"classify{suffix}"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    translated, unfinished = library.with_name("classify.c"), library.with_name(f"unfinished{suffix}")
    _run(
        [
            sys.executable,
            "-m",
            "cython",
            "-3",
            "-I",
            str(PROJECT),
            "--module-name",
            MODULE,
            str(SOURCE),
            "-o",
            str(translated),
        ]
    )
    base = shlex.split(sysconfig.get_config_var("CFLAGS") or "")  # what setuptools puts before a module's own flags
    headers = f"-I{sysconfig.get_path('include')}"
    _run([c_compiler(), *base, "-shared", "-fPIC", *flags, headers, "-o", str(unfinished), str(translated)])
    os.replace(unfinished, library)
    return library


def worker_flags() -> list[str]:
    """Return the flags that the product's hot loop is compiled with."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    modules = project["tool"]["setuptools"]["ext-modules"]
    return next(list(module["extra-compile-args"]) for module in modules if module["name"] == "fastpath.worker")


def c_compiler() -> str:
    """Return the C compiler's name."""
    return os.environ.get("CC", "gcc")


def _digest(flags: list[str]) -> str:
    found = hashlib.sha256(" ".join([sys.version, c_compiler(), *flags]).encode())
    for path in (SOURCE, *sorted((PROJECT / "fastpath").rglob("*.pxd"))):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed:\n{(done.stderr or done.stdout)[-4000:]}")
