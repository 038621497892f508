"""Names that stand for something: does it exist?

In: the tree, even of a policy whose other parts are wrong. Out: one Problem per name that nothing declares.
Works on the tree rather than on the models, so that schema mistakes elsewhere hide no unknown name.
Must never report a name as unknown because its own declaration has a mistake. Called by `load`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from rules.tree import Node, Source

HINTED = 50  # unknown names that get a "did you mean"; comparing them with every known name is slow


@dataclass(slots=True)
class ReferenceCheck:
    """Walks one tree; `names` maps the kind of a reference to the names that exist."""

    source: Source
    names: dict[str, Collection[str]]
    found: list[Problem]

    def assets(self) -> None:
        """Check every asset's zone and router."""
        for node in _section(self.source.root, "assets"):
            self._each(node, "zone", "zone", "POL030")
            self._each(node, "behind", "asset", "POL031")

    def conduits(self) -> None:
        """Check what conduits select and carry."""
        for node in _section(self.source.root, "conduits"):
            for side in ("from", "to"):
                selector = node.entries().get(side)
                if selector is not None:
                    self._each(selector, "zone", "zone", "POL030")
                    self._each(selector, "asset", "asset", "POL031")
                    self._each(selector, "role", "role", "POL032")
            self._each(node, "services", "service", "POL033")

    def denials(self) -> None:
        """Check the zones of the default deny's stages."""
        listed = self.source.root.entries().get("denials")
        for node in listed.items() if listed is not None else []:
            for side in ("from", "to"):
                self._each(node, side, "zone", "POL030")

    def _each(self, node: Node, key: str, kind: str, code: str) -> None:
        value = node.entries().get(key)
        if value is None:
            return
        known = self.names[kind]
        for item in value.items():
            word = item.value
            if isinstance(word, str) and word not in known and word != "*":
                self._unknown(item, word, kind, code)

    def _unknown(self, item: Node, word: str, kind: str, code: str) -> None:
        hint = did_you_mean(word, self.names[kind]) if len(self.found) < HINTED else ""
        if kind == "role":
            hint = hint or "a role exists when an asset lists it under 'roles'"
        text = f"unknown {kind} '{word}'"
        self.found.append(Problem(self.source.name, item.line, item.column, text, hint, code))


def reference_problems(source: Source, library: Iterable[str]) -> list[Problem]:
    """Return a problem for every zone, asset, role or service that is named but not declared."""
    entries = source.root.entries()
    names: dict[str, Collection[str]] = {
        "zone": _names(entries.get("zones")),
        "asset": _names(entries.get("assets")),
        "service": _names(entries.get("services")) | set(library),
        "role": set(_roles(source.root)),
    }
    walk = ReferenceCheck(source, names, [])
    walk.assets()
    walk.conduits()
    walk.denials()
    return walk.found


def _names(section: Node | None) -> set[str]:
    return set(section.entries()) if section is not None else set()


def _section(root: Node, name: str) -> Iterable[Node]:
    section = root.entries().get(name)
    return section.entries().values() if section is not None else ()


def _roles(root: Node) -> Iterator[str]:
    for asset in _section(root, "assets"):
        roles = asset.entries().get("roles")
        for item in roles.items() if roles is not None else []:
            if isinstance(item.value, str):
                yield item.value
