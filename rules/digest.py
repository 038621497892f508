"""SHA-256 of what a policy does: equal digests mean equal behaviour.

In: a `Policy` and the pairs of conduits whose order in the text matters. Out: 32 bytes, carried by every image.
Independent of comments, of the order of keys and of slots; must never depend on descriptions, owners or reasons.
"""

from __future__ import annotations

import hashlib
import json
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from rules.population import Population, texts
from rules.profiles import lower_profile
from rules.services import inspected_ranges, known_services, service_ranges
from rules.values import mac_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rules.conduit_model import Conduit, Limit, Selector
    from rules.model import Policy
    from rules.service_model import Service
    from rules.windows_model import Window

Read = tuple[str, int, int, int]  # number space, first and last number, inspector
FORM = "conduit-gateway policy 3"  # changes when the same text begins to mean something else


class _Written(NamedTuple):
    """A conduit's text, and what it was made of."""

    conduit: Conduit
    read: list[Read]
    text: str


class ConduitTexts:
    """The conduits of the last policy as the digest takes them: one made of the same things is not written again."""

    def __init__(self) -> None:
        self._known: dict[str, _Written] = {}

    def of(self, conduits: Mapping[str, Conduit], services: Mapping[str, Service]) -> dict[str, str]:
        """Return the canonical text of each conduit."""
        readers: dict[str, list[Read]] = {}
        self._known = {name: self._written(name, conduits[name], services, readers) for name in conduits}
        return {name: written.text for name, written in self._known.items()}

    def _written(
        self, name: str, conduit: Conduit, services: Mapping[str, Service], readers: dict[str, list[Read]]
    ) -> _Written:
        # What reads a conduit's numbers is said by services: those may be others while the conduit stays what it was.
        read = _read(conduit, services, readers) if conduit.inspected else []
        known = self._known.get(name)
        if known is not None and known.conduit is conduit and known.read == read:
            return known
        return _Written(conduit, read, _dumped(_conduit(conduit, services, read)))


def policy_digest(
    policy: Policy, ties: Iterable[tuple[str, str]], assets: str | None = None, conduits: ConduitTexts | None = None
) -> bytes:
    """Return the digest of the policy's behaviour; `assets` is `Population.digest` where it is known.

    `conduits` has those that were written for the policy before.
    """
    digest = assets if assets is not None else Population(policy).digest
    parts = {key: _dumped(value) for key, value in _canonical(policy, ties, digest).items()}
    parts["conduits"] = _object((conduits or ConduitTexts()).of(policy.conduits, known_services(policy)))
    return hashlib.sha256(_object(parts).encode()).digest()


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _object(texts_by_key: Mapping[str, str]) -> str:
    """Return JSON of an object whose values are JSON already, as `_dumped` writes it."""
    return "{" + ",".join([f"{json.dumps(key)}:{texts_by_key[key]}" for key in sorted(texts_by_key)]) + "}"


def _canonical(policy: Policy, ties: Iterable[tuple[str, str]], assets: str) -> dict[str, Any]:
    """Return the behaviour as sorted plain values, the assets' as a digest; without the conduits."""
    known = known_services(policy)
    used = {name for conduit in policy.conduits.values() for name in conduit.services}
    return {
        "form": FORM,
        "site": [policy.site.name, policy.site.ceiling, policy.site.default_stage, policy.site.refuse],
        "zones": {
            name: [
                zone.kind,
                zone.address_space,
                sorted(set(zone.ports)),
                sorted(set(zone.vlans)),
                texts(zone.prefixes),
            ]
            for name, zone in policy.zones.items()
        },
        "assets": assets,
        "services": {
            name: {kind.value: ranges for kind, ranges in service_ranges(known[name]).items()} for name in used
        },
        "windows": _windows(policy),
        "ties": sorted(ties),
        "denials": _denials(policy),
    }


def _selector(selector: Selector) -> list[list[str]]:
    groups = {mac_text(group) if isinstance(group, bytes) else str(group) for group in selector.group}
    keys = (selector.zone, selector.role, selector.asset, selector.prefix, groups)
    return [texts(key) for key in keys]


def _conduit(conduit: Conduit, known: Mapping[str, Service], read: list[Read]) -> list[Any]:
    ends = [_selector(conduit.source), _selector(conduit.destination), texts(conduit.services)]
    acts = [conduit.stage, conduit.fail, conduit.log, conduit.enabled, _limit(conduit.limit)]
    opens = [conduit.via, texts(conduit.windows), texts(conduit.requires)]
    return [*ends, *acts, *opens, *_inside(conduit, known, read)]


def _read(conduit: Conduit, services: Mapping[str, Service], readers: dict[str, list[Read]]) -> list[Read]:
    """Return what reads which numbers of a conduit; `readers` has those of the services that were asked already."""
    found: set[Read] = set()
    for name in conduit.services:
        if name not in readers:
            ranges = inspected_ranges(services[name])
            readers[name] = [(kind.value, span.first, span.last, int(reader)) for kind, span, reader in ranges]
        found.update(readers[name])
    return sorted(found)


def _inside(conduit: Conduit, known: Mapping[str, Service], read: list[Read]) -> list[Any]:
    """Return what an inspected conduit permits inside, and what reads which of its numbers."""
    profile = lower_profile(conduit, known)
    if profile is None:
        return [[], {}]
    clauses = [[part if isinstance(part, int) else sorted(part) for part in clause] for clause in profile.clauses]
    acts = [profile.constrained, profile.messages, profile.every, profile.refuse]
    return [sorted(profile.operations), {"clauses": clauses, "acts": acts, "read": read}]


def _windows(policy: Policy) -> dict[str, list[Any]]:
    """Return when the windows that conduits name are open; an imported calendar by the digest of its bytes."""
    used = {name for conduit in policy.conduits.values() for name in conduit.windows}
    return {name: _window(policy, policy.windows[name]) for name in used}


def _window(policy: Policy, window: Window) -> list[Any]:
    calendar = policy.attachment(window.ics) if window.ics is not None else None
    return [
        window.timezone or policy.site.timezone,
        _sorted([sorted(set(hours.days)), str(hours.start), str(hours.end)] for hours in window.weekly),
        _sorted([str(rule.start), str(rule.duration), rule.rrule or ""] for rule in window.rules),
        _sorted([str(span.start), str(span.end)] for span in window.exceptions),
        _sorted([str(span.start), str(span.end)] for span in window.once),
        None if calendar is None else hashlib.sha256(calendar).hexdigest(),
    ]


def _sorted(parts: Iterable[list[Any]]) -> list[list[Any]]:
    return sorted({json.dumps(part): part for part in parts}.values())


def _limit(limit: Limit | None) -> list[list[int] | None] | None:
    if limit is None:
        return None
    source = limit.per_source
    each = (source.packets, source.new_flows) if source is not None else (None, None)
    rates = (limit.packets, limit.new_flows, *each)
    return [None if rate is None else [rate.interval_ns, rate.burst_ns] for rate in rates]


def _denials(policy: Policy) -> list[list[Any]]:
    """Return the pairs whose stage or refusing differs from the site's, whichever entries say so."""
    default = (policy.site.default_stage, policy.site.refuse)
    found: dict[tuple[str, str], tuple[int, bool]] = {}
    for denial in policy.denials:
        sources = policy.zones if "*" in denial.source else denial.source
        targets = policy.zones if "*" in denial.destination else denial.destination
        for pair in product(sources, targets):
            stage, refuse = found.get(pair, default)
            found[pair] = (
                stage if denial.stage is None else denial.stage,
                refuse if denial.refuse is None else denial.refuse,
            )
    return sorted([*pair, int(acts[0]), acts[1]] for pair, acts in found.items() if acts != default)
