"""What a picture of the policy shows: boxes for zones, rows for assets, arrows for conduits.

In: a sound `Policy`, the stages in force where they are known, and attempts that the policy forbade. Out: a `Scene`,
free of any drawing language. An arrow ends at the smallest thing drawn that its selector covers: an asset, the assets
of one role, or the zone. Assets of one role share a row, so that a zone of a hundred stays readable. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.zoning import Zoning

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from rules.conduit_model import Selector
    from rules.levels import Levels
    from rules.model import Policy

UNKNOWN: Final = "(unknown)"  # the zone of frames that no zone owns; drawn only when something was tried from or to it
GROUPS: Final = "(group addresses)"  # where multicast and broadcast go: no zone's
FEW: Final = 3  # so many assets of one role are named one by one by a selector before the arrow ends at their role


class Anchor(NamedTuple):
    """Where an arrow ends: a row of a zone's box, or the whole zone (row None)."""

    zone: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line in a zone's box: the assets of one role, or below it one of them that a conduit names by itself."""

    title: str
    assets: tuple[str, ...] = ()  # of a role, those without a line of their own
    count: int = 0  # of a role, all; 0 for a single asset


@dataclass(frozen=True, slots=True)
class Box:
    """A zone."""

    name: str
    kind: str
    level: str
    parent: str | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Arrow:
    """Conduits that join the same two anchors in the same way."""

    source: Anchor
    destination: Anchor
    labels: tuple[str, ...]
    stage: str
    open: bool = True


class Attempt(NamedTuple):
    """Frames between two zones that the policy forbids."""

    source_zone: str
    destination_zone: str
    frames: int


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole picture."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    attempts: tuple[Attempt, ...] = ()


def scene(
    policy: Policy,
    stages: Mapping[str, str] | None = None,
    attempts: Iterable[Attempt] = (),
    closed: Container[str] | None = None,
) -> Scene:
    """Return the picture of a policy.

    `stages` gives conduits' effective stages by name and `closed` the conduits that let nothing through now; without
    them, what the policy itself says is drawn.
    """
    layout = _Layout(policy)
    joined: dict[tuple[Anchor, Anchor, str, bool], list[str]] = {}
    for name, conduit in policy.conduits.items():
        stage = (stages or {}).get(name) or min(conduit.stage, policy.site.ceiling).name.lower()
        is_open = conduit.enabled and not conduit.requires if closed is None else name not in closed
        label = f"{name} (windows)" if conduit.windows else name
        for source in layout.anchors(conduit.opener()):
            for destination in layout.anchors(conduit.destination):
                if source.zone != destination.zone:
                    joined.setdefault((source, destination, stage, is_open), []).append(label)
    arrows = tuple(Arrow(*ends[:2], tuple(names), ends[2], ends[3]) for ends, names in joined.items())
    tried = _between_known(policy, attempts)
    return Scene(policy.site.name, layout.boxes({a.destination.zone for a in arrows}, tried), arrows, tried)


def _between_known(policy: Policy, attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
    """Return attempts summed by pair; a zone that this policy doesn't have any more counts as unknown."""
    frames: dict[tuple[str, str], int] = {}
    for attempt in attempts:
        ends = [zone if zone in policy.zones else UNKNOWN for zone in attempt[:2]]
        frames[ends[0], ends[1]] = frames.get((ends[0], ends[1]), 0) + attempt.frames
    return tuple(Attempt(*pair, count) for pair, count in sorted(frames.items()) if pair != (UNKNOWN, UNKNOWN))


class _Whole(NamedTuple):
    """All assets of a zone with one role, and the line that stands for them."""

    row: int
    members: frozenset[str]


class _Layout:
    """Rows of every zone, and which of them a selector covers."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._zoning = Zoning(policy)
        self._residents: dict[str, list[str]] = {name: [] for name in policy.zones}
        for name, asset in policy.assets.items():
            self._residents[asset.zone].append(name)
        single = self._named_singly()
        self._rows: dict[str, list[Row]] = {}
        self._row_of: dict[str, int] = {}
        self._role_of: dict[str, _Whole] = {}
        for zone, residents in self._residents.items():
            self._rows[zone] = self._lines(residents, single)

    def anchors(self, selector: Selector) -> list[Anchor]:
        """Return where an arrow of this selector begins or ends."""
        if selector.group:
            return [Anchor(GROUPS)]
        found = []
        for zone in sorted(self._zoning.reached_zones(selector) & self._rows.keys()):
            if not selector.role and not selector.asset:
                found.append(Anchor(zone))
                continue
            rows = self._rows_of(set(self._selected(selector, zone)))
            found += [Anchor(zone, row) for row in sorted(rows)] if 0 < len(rows) <= FEW else [Anchor(zone)]
        return found

    def _rows_of(self, selected: set[str]) -> set[int]:
        """Return the lines that stand for assets of one zone: a role's own where all of its assets are meant."""
        rows: set[int] = set()
        for name in selected:
            whole = self._role_of[name]
            rows.add(whole.row if whole.members <= selected else self._row_of[name])
        return rows

    def boxes(self, reached: set[str], attempts: tuple[Attempt, ...]) -> tuple[Box, ...]:
        """Return the zones in the policy's order, and the two that no policy declares where an arrow needs them."""
        found = [
            Box(name, zone.kind, level_text(zone.sl_t), zone.parent, tuple(self._rows[name]))
            for name, zone in self._policy.zones.items()
        ]
        if GROUPS in reached:
            found.append(Box(GROUPS, "multicast and broadcast", "", None, ()))
        if any(UNKNOWN in (attempt.source_zone, attempt.destination_zone) for attempt in attempts):
            found.append(Box(UNKNOWN, "no zone", "", None, ()))
        return tuple(found)

    def _named_singly(self) -> set[str]:
        """Return the assets that some selector names by themselves."""
        selectors = [side for c in self._policy.conduits.values() for side in (c.source, c.destination)]
        return {name for selector in selectors if len(selector.asset) <= FEW for name in selector.asset}

    def _lines(self, residents: list[str], single: set[str]) -> list[Row]:
        by_role: dict[str, list[str]] = {}
        for name in residents:
            roles = self._policy.assets[name].roles
            by_role.setdefault(roles[0] if roles else "", []).append(name)
        rows: list[Row] = []
        for role, names in by_role.items():
            alone = [name for name in names if name in single]
            whole = _Whole(len(rows), frozenset(names))
            if len(names) > 1 or not alone:
                rows.append(Row(role or "other", tuple(name for name in names if name not in single), len(names)))
            for name in names:
                self._role_of[name] = whole
                self._row_of[name] = whole.row if name not in single else len(rows) + alone.index(name)
            rows += [Row(name) for name in alone]
        return rows

    def _selected(self, selector: Selector, zone: str) -> list[str]:
        assets = self._policy.assets
        names = [name for name in self._residents[zone] if not selector.asset or name in selector.asset]
        return [name for name in names if self._zoning.selects(selector, assets[name])]


def level_text(level: Levels) -> str:
    """Return a security level as it is written on drawings: one number, or the seven of a vector."""
    if not any(level):
        return ""
    written = level.written()
    return f"SL-T {written}" if isinstance(written, int) else "SL-T " + "".join(map(str, written))
