"""The example sites and patterns that ship with the product, to begin a policy with.

In: nothing but the package itself. Out: their names, what each is for (its first comment lines), and their files.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAIN: Final = "policy.yaml"


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """One site or pattern: `files` by relative path, the main text under MAIN."""

    name: str
    about: str
    files: dict[str, bytes]


def starting_points() -> dict[str, StartingPoint]:
    """Return all of them by name: whole sites first, then patterns."""
    root = files("rules.examples")
    entries = sorted(root.iterdir(), key=lambda entry: entry.name)
    found = [_several(entry) for entry in entries if entry.joinpath(MAIN).is_file()]
    found += [_single(entry) for entry in entries if entry.name.endswith(".yaml")]
    patterns = sorted(root.joinpath("patterns").iterdir(), key=lambda entry: entry.name)
    found += [_single(entry) for entry in patterns if entry.name.endswith(".yaml")]
    return {point.name: point for point in found}


def _single(entry: Traversable) -> StartingPoint:
    content = entry.read_bytes()
    return StartingPoint(entry.name.removesuffix(".yaml"), _about(content), {MAIN: content})


def _several(folder: Traversable) -> StartingPoint:
    content = dict(_walk(folder, ""))
    return StartingPoint(folder.name, _about(content[MAIN]), content)


def _walk(folder: Traversable, below: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _walk(entry, f"{below}{entry.name}/") if entry.name != "__pycache__" else []
        else:
            found.append((below + entry.name, entry.read_bytes()))
    return found


def _about(content: bytes) -> str:
    """Return the first sentence of the comment that the text begins with."""
    lines = []
    for line in content.decode().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    sentence, stop, _ = " ".join(lines).partition(". ")
    return sentence.rstrip(".") if stop else sentence
