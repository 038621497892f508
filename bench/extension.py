"""Compiles bench/classify.pyx and its like with the product's compiler flags, into build/bench, when something changed.

In: the project's sources. Out: the imported module. The flags are those of `fastpath.worker` in pyproject.toml, so that
what is measured is what the product runs. Called by the suite `classify`, the instruction guard and tests/support.
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


def load(library: Path, name: str = MODULE) -> Any:
    """Import the module from a compiled library."""
    spec = importlib.util.spec_from_file_location(name, library)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{library} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(source: Path = SOURCE, name: str = MODULE) -> Path:
    """Return the compiled library of a module; its folder carries the digest of everything that it was made from."""
    flags = worker_flags()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    library = RAW / f"{source.stem}-{_digest(source, flags)}" / f"{source.stem}{suffix}"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    translated, unfinished = library.with_name(f"{source.stem}.c"), library.with_name(f"unfinished{suffix}")
    _run(
        [
            sys.executable,
            "-m",
            "cython",
            "-3",
            "-I",
            str(PROJECT),
            "--module-name",
            name,
            str(source),
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


def _digest(source: Path, flags: list[str]) -> str:
    found = hashlib.sha256(" ".join([sys.version, c_compiler(), *flags]).encode())
    for path in (source, *sorted((PROJECT / "fastpath").rglob("*.pxd"))):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed:\n{(done.stderr or done.stdout)[-4000:]}")
