"""Policy text → `Policy`, or the mistakes in it with file, line and column: a thousand, and how many more there are.

In: a path, a text or a bundle. Out: a frozen `Policy` whose schema and references are right, or `PolicyError`.
Goes on past a mistake wherever it can: schema errors do not hide unknown names, and what remains of a broken policy is
still searched for conflicts. Must never raise anything but PolicyError for a bad text. Whole-policy checks: `check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rules.bundle import Bundle, read_bundle
from rules.conflicts import conflicts
from rules.fragments import joined
from rules.model import Policy, fields_at
from rules.nodes import Source
from rules.problems import MOST_PROBLEMS, PolicyError, Problem, did_you_mean
from rules.references import HINTED, reference_problems
from rules.services import library
from rules.text import decoded

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from rules.file_memory import FileMemory
    from rules.nodes import Place

# Keys of zones and assets whose absence moves the entry elsewhere, so that conflicts would be invented.
MEANINGFUL = ("vlans", "address_space", "zone", "behind", "[key]")


def load_policy(path: str | Path) -> Policy:
    """Read and load a policy file and all that it includes."""
    return load_bundle(read_bundle(path))


def load_policy_bytes(content: bytes, name: str = "policy.yaml") -> Policy:
    """Load a policy from undecoded text."""
    return load_policy_text(decoded(content, name), name)


def load_policy_text(text: str, name: str = "policy.yaml") -> Policy:
    """Load a policy that is one text; raise PolicyError with all of its mistakes."""
    return load_bundle(Bundle(name, text))


def load_bundle(bundle: Bundle, memory: FileMemory | None = None) -> Policy:
    """Load a policy from all of its files; raise PolicyError with all of their mistakes.

    `memory` saves reading again what is the same as last time; the result is the same without.
    """
    source, problems = joined(bundle, memory)
    problems += reference_problems(source, library())
    data = source.root.plain()
    policy: Policy | None = None
    unlisted = 0
    try:
        policy = Policy.model_validate(data).located(source, bundle.files)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += _schema_problems(details, source)
        unlisted = max(0, len(details) - MOST_PROBLEMS)
        rest = _salvage(data, [detail["loc"] for detail in details])
        problems += conflicts(rest.located(source)) if rest is not None else []
    else:
        problems += conflicts(policy) if problems else []
    if policy is None or problems:
        raise PolicyError(problems, unlisted=unlisted)
    if memory is not None:
        memory.became(source, policy)
    return policy


def _schema_problems(details: list[ErrorDetails], source: Source) -> list[Problem]:
    """Return what is wrong with keys and values, of many the first in the text.

    A text can hold a mistake in every other character: putting each into words would take a minute.
    """
    placed = sorted(((_place(detail, source), detail) for detail in details), key=lambda one: one[0])
    found = []
    for number, (place, detail) in enumerate(placed[:MOST_PROBLEMS]):
        message, hint, code = _words(detail, tuple(detail["loc"]), hinted=number < HINTED)
        found.append(Problem(*place, message, hint, code))
    return found


def _place(detail: ErrorDetails, source: Source) -> Place:
    path = tuple(detail["loc"])
    kind = detail["type"]
    if path and path[-1] == "[key]":
        return source.key_place(path[:-1])
    if kind == "extra_forbidden":
        return source.key_place(path)
    return source.key_place(path[:-1]) if kind == "missing" else source.place(path)


def _words(detail: ErrorDetails, path: tuple[Any, ...], *, hinted: bool) -> tuple[str, str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    keys = [part for part in path if isinstance(part, str) and part != "[key]"]
    key = keys[-1] if keys else "policy"
    if kind.startswith("POL"):
        return context["text"], context["hint"], kind
    if kind == "extra_forbidden":
        return f"unknown key '{key}'", did_you_mean(key, fields_at(path[:-1])) if hinted else "", "POL010"
    if kind == "missing":
        owner = f" in '{keys[-2]}'" if len(keys) > 1 else ""
        return f"'{key}' is missing{owner}", "", "POL011"
    if kind in ("too_short", "string_too_short"):
        return f"'{key}' is empty", "name at least one", "POL012"
    if kind in ("model_type", "dict_type"):
        return f"'{key}' must be a mapping", "entries of the form 'name: value', indented", "POL012"
    message = detail["msg"]
    return f"'{key}': {message[0].lower()}{message[1:]}", "", "POL012"


def _salvage(data: dict[str, Any], paths: list[tuple[Any, ...]]) -> Policy | None:
    """Drop what is broken, so that the zones and assets that are left can be searched for conflicts."""
    for path in paths:
        section = data.get(path[0]) if path else None
        if len(path) < 2 or path[0] not in ("zones", "assets") or not isinstance(section, dict):
            data.pop(path[0] if path else "", None)
        elif isinstance(section.get(path[1]), dict):
            _mend(section, path)
        else:
            section.pop(path[1], None)
    rest = {name: data.get(name) for name in ("zones", "assets")}
    try:
        return Policy.model_validate({"version": 1, "site": {"name": "unknown"}, **rest})
    except ValidationError:
        return None


def _mend(section: dict[str, Any], path: tuple[Any, ...]) -> None:
    """Remove a zone's or asset's broken key, or the whole entry when without that key it would mean something else."""
    entry, key = section[path[1]], path[2] if len(path) > 2 else None
    if key == "kind":
        entry[key] = "control"
    elif key is None or key in MEANINGFUL:
        section.pop(path[1])
    else:
        entry.pop(key, None)
