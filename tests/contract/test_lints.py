"""Home-made source lints: what ruff, mypy and cython-lint cannot know about this project.

In: the project's own files. Each test names every offending line. Must never need a build, privileges or a network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from fastpath import abi
from gateway.reference import REASONS_PAGE, reasons_page

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ("gateway", "rules", "fastpath", "tests", "bench", "deploy", "docs", ".ci")
TEXTS: Final = (".py", ".pyx", ".pxd", ".pyi", ".md", ".toml", ".yaml", ".yml", ".nft", ".sh", ".service", ".txt", "")
CODE: Final = (".py", ".pyx", ".pxd")
LONGEST_FILE: Final = 400  # lines, from the style's measured norms
LONGER_FOR_A_REASON: Final = {
    "fastpath/abi.py": "every layout shared by two processes stands in one place, beside its neighbours",
    "fastpath/abi.pxd": "the same layouts, in the same order, for C",
    "fastpath/layout.pyx": "one line per field of every layout",
}
DIRECTIVES: Final = {
    "language_level": "3",
    "boundscheck": "False",
    "wraparound": "False",
    "initializedcheck": "False",
    "cdivision": "True",
    "autotestdict": "False",
    "auto_pickle": "False",
    "binding": "True",
}
# Each pattern is written so that it does not find itself.
FOREIGN_PATHS: Final = re.compile(r"(?<![\w.])/(?:hom[e]|wor[k]|User[s])/[\w.]")
REGISTRY_HOSTS: Final = re.compile(
    r"py[p]i\.org|pythonhosted\.or[g]|npmjs\.(?:or|co)[gm]|crates\.i[o]|docker\.i[o]|ghcr\.i[o]|proxy\.golang\.or[g]"
)
UNFINISHED: Final = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X])\b|NotImplementedErro[r]")
VAGUE_NAMES: Final = ("utils", "helpers", "common", "manager", "data", "handler")
FUNCTION: Final = re.compile(
    r"^cdef\s+(?:inline\s+)?(?!class\b|extern\b|enum\b|struct\b|packed\b|packed struct\b)[^=\n]*?\("
)


def _files(suffixes: tuple[str, ...]) -> Iterator[Path]:
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*")):
            if path.is_file() and path.suffix in suffixes and not set(path.parts) & {"__pycache__", ".cache", "build"}:
                yield path
    yield from sorted(path for path in ROOT.iterdir() if path.is_file() and path.suffix in suffixes)


def _offences(pattern: re.Pattern[str], suffixes: tuple[str, ...]) -> list[str]:
    found = []
    for path in _files(suffixes):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a program or an image without suffix
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def _line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_path_of_one_machine() -> None:
    """No file names a directory that exists on one machine only."""
    assert _offences(FOREIGN_PATHS, TEXTS) == []


def test_no_registry_host() -> None:
    """No file names a package registry's host."""
    assert _offences(REGISTRY_HOSTS, TEXTS) == []


def test_nothing_unfinished() -> None:
    """No file carries a mark of unfinished work."""
    assert _offences(UNFINISHED, CODE) == []


def test_files_are_short() -> None:
    """No source file is longer than the limit."""
    lengths = {str(path.relative_to(ROOT)): _line_count(path) for path in _files(CODE)}
    too_long = {name: count for name, count in lengths.items() if count > LONGEST_FILE}
    assert {name: count for name, count in too_long.items() if name not in LONGER_FOR_A_REASON} == {}


def test_module_names_say_something() -> None:
    """No module is named after nothing in particular."""
    assert [str(path.relative_to(ROOT)) for path in _files(CODE) if path.stem in VAGUE_NAMES] == []


def test_every_module_says_what_it_is() -> None:
    """Every Python module that holds code starts with a docstring."""
    silent = []
    for path in _files((".py",)):
        text = path.read_text(encoding="utf-8").lstrip()
        if text and not text.startswith(('"""', 'r"""', "#!")):
            silent.append(str(path.relative_to(ROOT)))
    assert silent == []


@pytest.mark.parametrize("path", sorted((ROOT / "fastpath").rglob("*.pyx")), ids=lambda path: path.name)
def test_directives(path: Path) -> None:
    """Every extension module states all compiler directives in its own header."""
    head = path.read_text(encoding="utf-8").splitlines()[:6]
    stated = dict(re.findall(r"(\w+)\s*=\s*(\w+)", " ".join(line for line in head if line.startswith("# cython:"))))
    assert {name: stated.get(name) for name in DIRECTIVES} == DIRECTIVES


def _c_functions(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, whole signature) of module-level C functions that have a body or are declared."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        if not FUNCTION.match(line):
            continue
        signature = line
        for following in lines[index + 1 : index + 20]:
            if signature.count("(") == signature.count(")"):
                break
            signature += " " + following.strip()
        yield index + 1, signature


def test_hot_functions_take_no_lock() -> None:
    """Every C function of the data path ends `noexcept nogil`: it can neither raise nor need the interpreter."""
    offenders = []
    sources = [path for path in _files((".pxd", ".pyx")) if path.name != "layout.pyx"]  # it serves a test only
    for path in sources:
        for number, signature in _c_functions(path):
            if signature.startswith(("cdef object", "cdef tuple", "cdef bytes", "cdef str", "cdef dict", "cdef list")):
                continue  # these make Python objects: outside the data path by their type
            if not re.search(r"\)\s*(?:noexcept nogil|except [^:]*)\s*:?\s*(?:#.*)?$", signature):
                offenders.append(f"{path.relative_to(ROOT)}:{number}: {signature}")
    assert offenders == []


def test_every_reason_has_its_sentence() -> None:
    """Every reason has a text for people, and no text lacks its reason."""
    assert set(abi.REASON_TEXT) == set(abi.Reason)
    assert max(abi.Reason) < abi.REASON_COUNT


def test_reasons_page_is_current() -> None:
    """The operator's page of reasons is the one that the code makes."""
    assert (ROOT / REASONS_PAGE).read_text(encoding="utf-8") == reasons_page(), "run python -m gateway.reference"
