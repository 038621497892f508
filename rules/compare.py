"""What two policy texts say differently: objects added, removed, changed, and in which of their fields.

In: two loaded policies. Out: one `ObjectChange` per object, described as well as behavioural fields, in the text's own
words. Objects are compared by name, never by number. Works over the models' fields as they are, so that no field added
to the language is ever left out. Pure; what the changes mean for traffic is `rules.paths`. Called by plan and diff.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rules.model import Policy

How = Literal["added", "removed", "changed"]
# How a text is put together, not what it says: the objects themselves are compared.
COMPOSITION = frozenset({"version", "include", "inventory"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field as both texts have it, as JSON values; None where a text leaves it out."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object; `fields` only when it is in both texts. Objects of a list are known by what they say."""

    section: str
    name: str
    how: How
    fields: tuple[FieldChange, ...] = ()


def compare_texts(old: Policy | None, new: Policy) -> tuple[ObjectChange, ...]:
    """Return every difference, in the order of the language's sections; without an old policy all is added."""
    found: list[ObjectChange] = []
    for section in type(new).model_fields:
        if section in COMPOSITION:
            continue
        before = getattr(old, section) if old is not None else None
        found += _section(section, before, getattr(new, section))
    return tuple(found)


def _section(section: str, old: Any, new: Any) -> Iterator[ObjectChange]:
    if isinstance(new, dict):
        yield from _mappings(section, old or {}, new)
    elif isinstance(new, (list, tuple)):
        yield from _lists(section, old or (), new)
    elif old is None and new is not None:
        yield ObjectChange(section, section, "added")
    elif old is not None and new is None:
        yield ObjectChange(section, section, "removed")
    elif old != new:
        yield ObjectChange(section, section, "changed", _fields(old, new))


def _mappings(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[ObjectChange]:
    for name, value in new.items():
        if name not in old:
            yield ObjectChange(section, name, "added")
        elif old[name] != value:
            yield ObjectChange(section, name, "changed", _fields(old[name], value))
    for name in old:
        if name not in new:
            yield ObjectChange(section, name, "removed")


def _lists(section: str, old: Any, new: Any) -> Iterator[ObjectChange]:
    before, after = (Counter(_words(item) for item in items) for items in (old, new))
    for text, count in (after - before).items():
        yield from [ObjectChange(section, text, "added")] * count
    for text, count in (before - after).items():
        yield from [ObjectChange(section, text, "removed")] * count
    if before == after and list(old) != list(new):
        moved = FieldChange("order", [_words(item) for item in old], [_words(item) for item in new])
        yield ObjectChange(section, section, "changed", (moved,))


def _words(item: Any) -> str:
    plain = _plain(item)
    if isinstance(plain, dict):
        plain = {name: value for name, value in plain.items() if value is not None}
    return json.dumps(plain, ensure_ascii=False)


def _fields(old: Any, new: Any) -> tuple[FieldChange, ...]:
    before, after = _plain(old), _plain(new)
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return (FieldChange("value", before, after),)
    names = dict.fromkeys((*before, *after))
    return tuple(
        FieldChange(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    )


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value
