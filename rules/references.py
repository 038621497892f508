"""Names that stand for something: does it exist?

In: the tree, even of a policy whose other parts are wrong. Out: one Problem per name that nothing declares, and one per
circle of names that stand for each other.
Works on the tree rather than on the models, so that schema mistakes elsewhere hide no unknown name.
Must never report a name as unknown because its own declaration has a mistake. Called by `load`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from rules.conduit_model import Conduit
    from rules.model import Asset, Zone
    from rules.nodes import Node, Source

HINTED = 50  # unknown names that get a "did you mean"; comparing them with every known name is slow
CODES = {
    "zone": "POL030",
    "asset": "POL031",
    "role": "POL032",
    "service": "POL033",
    "window": "POL041",
    "cycle": "POL042",
}
WAIVABLE = ("zones", "assets", "roles", "services", "windows", "cycles", "conduits")  # and the name of one of them
WHOLE = ("site", "denials", "inventory", *WAIVABLE)


@dataclass(slots=True)
class ReferenceCheck:
    """Walks one tree; `names` maps the kind of a reference to the names that exist."""

    source: Source
    names: dict[str, Collection[str]]
    found: list[Problem]

    def zones(self) -> None:
        """Check every zone's parent."""
        for node in _section(self.source.root, "zones"):
            zone: Zone | None = node.loaded()
            if zone is None or not (zone.parent is None or zone.parent in self.names["zone"]):
                self._each(node, "parent", "zone")

    def assets(self) -> None:
        """Check every asset's zone and router, and its roles where the policy declares roles."""
        declared = self.source.root.child("roles")
        roles = set(declared.entries()) if declared is not None else None
        for node in _section(self.source.root, "assets"):
            asset: Asset | None = node.loaded()
            if asset is not None and self._known(asset, roles):
                continue
            self._each(node, "zone", "zone")
            self._each(node, "behind", "asset")
            if roles is not None:
                self._declared(node, roles)

    def _known(self, asset: Asset, roles: set[str] | None) -> bool:
        """Say at once whether an asset that was loaded before names only what is there."""
        found = asset.zone in self.names["zone"] and (asset.behind is None or asset.behind in self.names["asset"])
        return found and (roles is None or roles.issuperset(asset.roles))

    def services(self) -> None:
        """Check what service groups stand for."""
        for node in _section(self.source.root, "services"):
            self._each(node, "group", "service")

    def conduits(self) -> None:
        """Check what conduits select, carry and wait for."""
        for node in _section(self.source.root, "conduits"):
            conduit: Conduit | None = node.loaded()
            if conduit is not None and self._joins_known(conduit):
                continue
            for side in ("from", "to"):
                selector = node.child(side)
                if selector is not None:
                    for key in ("zone", "asset", "role"):
                        self._each(selector, key, key)
            self._each(node, "services", "service")
            self._each(node, "via", "asset")
            self._each(node, "windows", "window")
            self._each(node, "cycles", "cycle")

    def _joins_known(self, conduit: Conduit) -> bool:
        """Say at once whether a conduit that was loaded before names only what is there."""
        names = self.names
        used = [("service", conduit.services), ("window", conduit.windows), ("cycle", conduit.cycles)]
        for side in (conduit.source, conduit.destination):
            used += [("zone", side.zone), ("asset", side.asset), ("role", side.role)]
        there = all(word in names[kind] for kind, words in used for word in words)
        return there and (conduit.via is None or conduit.via in names["asset"])

    def denials(self) -> None:
        """Check the zones of the default deny's stages."""
        for node in _items(self.source.root.child("denials")):
            for side in ("from", "to"):
                self._each(node, side, "zone")

    def waivers(self) -> None:
        """Check that what a waiver is about is there."""
        for node in _items(self.source.root.child("waivers")):
            at = node.child("at")
            if at is not None and isinstance(at.value, str):
                self._waived(at, at.value)

    def inventories(self) -> None:
        """Check what rows have that say nothing themselves."""
        for node in _items(self.source.root.child("inventory")):
            self._each(node, "zone", "zone")
            if (declared := self.source.root.child("roles")) is not None:
                self._declared(node, set(declared.entries()))

    def circles(self, section: str, key: str) -> None:
        """Report entries that stand for themselves by way of others."""
        entries = self._entries(section)
        below = {name: _words(node, key) for name, node in entries.items()}
        settled: set[str] = set()
        for name in entries:
            chain: list[str] = []
            todo = [iter([name])]
            while todo:
                at = next(todo[-1], None)
                if at is None:
                    todo.pop()
                    settled.update(chain[-1:])
                    del chain[-1:]
                elif at in chain:
                    self._circle(entries[at].child(key), [*chain[chain.index(at) :], at])
                elif at not in settled and at in below:
                    chain.append(at)
                    todo.append(iter(below[at]))

    def _circle(self, node: Node | None, names: list[str]) -> None:
        shown = " → ".join(names if len(names) < 8 else [*names[:6], "…", names[-1]])
        if node is not None:
            self.found.append(Problem(*node.place, f"a circle: {shown}", "leave one of them out", "POL045"))

    def _entries(self, section: str) -> dict[str, Node]:
        node = self.source.root.child(section)
        return node.entries() if node is not None else {}

    def _each(self, node: Node, key: str, kind: str) -> None:
        value = node.child(key)
        if value is None:
            return
        known = self.names[kind]
        for item in value.items():
            word = item.value
            if isinstance(word, str) and word not in known and word != "*":
                self._unknown(item, word, kind)

    def _declared(self, node: Node, roles: set[str]) -> None:
        for item in _items(node.child("roles")):
            if isinstance(item.value, str) and item.value not in roles:
                hint = did_you_mean(item.value, roles) if len(self.found) < HINTED else ""
                hint = hint or "declare it under 'roles'"
                self.found.append(Problem(*item.place, f"role '{item.value}' is not declared", hint, "POL043"))

    def _waived(self, at: Node, path: str) -> None:
        section, _, name = path.partition("/")
        if section not in WHOLE or ("/" in path and section not in WAIVABLE):
            hint = did_you_mean(section, WHOLE) or "like conduits/NAME"
            self.found.append(Problem(*at.place, f"'{path}' is no place in a policy", hint, "POL044"))
        elif name and name not in self._entries(section):
            text = f"the waiver is about '{path}', which is not there"
            hint = did_you_mean(name, self._entries(section)) or "remove the waiver with what it was about"
            self.found.append(Problem(*at.place, text, hint, "POL044"))

    def _unknown(self, item: Node, word: str, kind: str) -> None:
        hint = did_you_mean(word, self.names[kind]) if len(self.found) < HINTED else ""
        if kind == "role":
            hint = hint or "a role exists when an asset lists it under 'roles'"
        self.found.append(Problem(*item.place, f"unknown {kind} '{word}'", hint, CODES[kind]))


def reference_problems(source: Source, library: Iterable[str]) -> list[Problem]:
    """Return a problem for every name that is used but not declared, and for every circle."""
    root = source.root
    names: dict[str, Collection[str]] = {
        "zone": _names(root.child("zones")),
        "asset": _names(root.child("assets")),
        "service": _names(root.child("services")) | set(library),
        "role": _names(root.child("roles")) | set(_roles(root)),
        "window": _names(root.child("windows")),
        "cycle": _names(root.child("cycles")),
    }
    walk = ReferenceCheck(source, names, [])
    walk.zones()
    walk.assets()
    walk.services()
    walk.conduits()
    walk.denials()
    walk.waivers()
    walk.inventories()
    walk.circles("zones", "parent")
    walk.circles("services", "group")
    return walk.found


def _names(section: Node | None) -> set[str]:
    return set(section.entries()) if section is not None else set()


def _items(node: Node | None) -> list[Node]:
    if node is None:
        return []
    return [node] if isinstance(node.value, dict) else node.items()


def _words(node: Node, key: str) -> list[str]:
    """Return the names that an entry has under a key."""
    model = node.loaded()
    if model is not None:
        value = getattr(model, key)
        return [] if value is None else [value] if isinstance(value, str) else list(value)
    return [item.value for item in _items(node.child(key)) if isinstance(item.value, str)]


def _section(root: Node, name: str) -> Iterable[Node]:
    section = root.child(name)
    return section.entries().values() if section is not None else ()


def _roles(root: Node) -> Iterator[str]:
    """Yield the roles that assets have, those that a spreadsheet's entry gives to rows without one among them."""
    loaded: set[tuple[str, ...]] = set()
    for asset in [*_section(root, "assets"), *_items(root.child("inventory"))]:
        model: Asset | None = asset.loaded()
        if model is not None:
            loaded.add(model.roles)
            continue
        for item in _items(asset.child("roles")):
            if isinstance(item.value, str):
                yield item.value
    for roles in loaded:
        yield from roles
