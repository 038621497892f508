"""The architecture, held: who may import whom, Python imports and cimports alike.

In: the source text of every product module, so that compiled modules cannot hide what they import. The rules are those
of the design: gateway → rules and fastpath's façade; rules → fastpath.abi; fastpath → nothing of ours; only
gateway/kernel touches pyroute2 and nft; the product never knows tests or bench.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PRODUCT: Final = ("gateway", "rules", "fastpath", "deploy")
OURS: Final = (*PRODUCT, "tests", "bench")
FACADE: Final = {
    "fastpath.abi",
    "fastpath.decoding",
    "fastpath.queue",
    "fastpath.worker",
    "fastpath.judge",
    "fastpath.replay",
}
PRIVILEGED_MODULES: Final = ("pyroute2", "netfilterqueue")
IMPURE: Final = {
    "socket",
    "subprocess",
    "asyncio",
    "threading",
    "multiprocessing",
    "time",
    "random",
    "uvloop",
    "aiohttp",
}
CYTHON_IMPORT: Final = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+\(?\s*([\w, ]*)|c?import\s+([\w.]+))")
Import = tuple[Path, int, str]


def _module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _python_imports(path: Path) -> Iterator[Import]:
    package = _module_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((path, node.lineno, f"{source}.{alias.name}") for alias in node.names)


def _cython_imports(path: Path) -> Iterator[Import]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = CYTHON_IMPORT.match(line)
        if found is None:
            continue
        if found[3]:
            yield path, number, found[3]
        else:
            names = [name.strip() for name in found[2].split(",") if name.strip()] or [""]
            yield from ((path, number, f"{found[1]}.{name}") for name in names)


def _imports(part: str) -> list[Import]:
    found: list[Import] = []
    for path in sorted((ROOT / part).rglob("*.py")):
        found += _python_imports(path)
    for path in sorted((ROOT / part).rglob("*.p[yx][xd]")):
        found += _cython_imports(path)
    return found


def _say(offences: list[Import]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{line} imports {name}" for path, line, name in offences]


def _within(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_the_scan_sees_something() -> None:
    """The scan finds Python imports and cimports at all: an empty scan would pass every rule below."""
    assert any(_within(name, "fastpath.abi") for _, _, name in _imports("rules"))
    assert any(path.suffix == ".pyx" and "fastpath.decide" in name for path, _, name in _imports("fastpath"))


def test_rules_know_only_the_abi() -> None:
    """Policy code imports of ours only itself and fastpath.abi."""
    ours = [entry for entry in _imports("rules") if _within(entry[2], *OURS)]
    assert _say([entry for entry in ours if not _within(entry[2], "rules", "fastpath.abi")]) == []


def test_rules_are_pure() -> None:
    """Policy code uses no sockets, clocks, processes, randomness or kernel."""
    assert _say([entry for entry in _imports("rules") if _within(entry[2], *IMPURE, *PRIVILEGED_MODULES)]) == []


def test_fastpath_is_a_leaf() -> None:
    """The data path imports nothing of ours but itself."""
    ours = [entry for entry in _imports("fastpath") if _within(entry[2], *OURS)]
    assert _say([entry for entry in ours if not _within(entry[2], "fastpath")]) == []


def test_gateway_uses_the_facade() -> None:
    """Control code reaches into the data path through its façade only."""
    inner = [entry for part in ("gateway", "deploy") for entry in _imports(part) if _within(entry[2], "fastpath")]
    allowed = [entry for entry in inner if _within(entry[2], *FACADE) or entry[2] == "fastpath"]
    assert _say([entry for entry in inner if entry not in allowed]) == []


def test_only_the_kernel_package_touches_the_kernel() -> None:
    """Only gateway/kernel imports pyroute2."""
    kernel = ROOT / "gateway" / "kernel"
    found = [entry for part in ("gateway", "rules", "fastpath") for entry in _imports(part)]
    outside = [entry for entry in found if _within(entry[2], "pyroute2") and kernel not in entry[0].parents]
    assert _say(outside) == []


def test_only_the_kernel_package_runs_nft() -> None:
    """Only gateway/kernel starts the program nft."""
    offences = []
    for part in ("gateway", "rules", "fastpath"):
        for path in sorted((ROOT / part).rglob("*.py")):
            if ROOT / "gateway" / "kernel" in path.parents:
                continue
            offences += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.List | ast.Tuple) and node.elts and _is_word(node.elts[0], "nft")
            ]
    assert offences == []


def _is_word(node: ast.expr, word: str) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and Path(node.value).name == word


def test_the_product_does_not_know_its_tests() -> None:
    """No product module imports tests, bench or what only they use."""
    test_only = ("tests", "bench", "pytest", "hypothesis", "scapy")
    found = [entry for part in PRODUCT for entry in _imports(part)]
    assert _say([entry for entry in found if _within(entry[2], *test_only)]) == []


def test_import_linter_agrees() -> None:
    """The contracts in pyproject.toml hold."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if program is None:
        pytest.skip("import-linter is not installed (it comes with the development extra)")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
