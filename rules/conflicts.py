"""Two things that can't both be true: one address of two assets, one port of two zones, routers in a circle.

In: a `Policy`, possibly only the sound part of a broken one. Out: findings, each at the later of the two places.
Only checks that missing entries can't turn from right to wrong belong here. Called by `load` and by `checks`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from rules.addresses import PrefixIndex, address_block, prefix_block
from rules.checks.registry import Finding
from rules.problems import Problem
from rules.values import mac_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rules.checks.registry import Path
    from rules.model import Asset, Policy
    from rules.values import IPNetwork

Thing = TypeVar("Thing")


def _where(policy: Policy, path: Path, other: Path) -> str:
    """Return where a thing is, as seen from another: the line, and the file when it is another one."""
    file, line, _ = policy.place(*path)
    return f"line {line}" if file == policy.place(*other)[0] else f"{file}:{line}"


def _repeated(claims: Iterable[tuple[Thing, Path]]) -> Iterator[tuple[Thing, Path, Path]]:
    """Yield what is claimed though it was before: the thing, where, and where it was first."""
    first: dict[Thing, Path] = {}
    for thing, path in claims:
        if thing in first:
            yield thing, path, first[thing]
        else:
            first[thing] = path


def ports_in_two_zones(policy: Policy) -> Iterator[Finding]:
    """Find ports and VLANs that two zones own."""
    claims: Iterator[tuple[tuple[str, int], Path]] = (
        ((port, vlan), ("zones", name, "ports", index))
        for name, zone in policy.zones.items()
        for index, port in enumerate(zone.ports)
        for vlan in zone.vlans or (0,)
    )
    for (port, vlan), path, first in _repeated(claims):
        what = f"port {port}" + (f" with VLAN {vlan}" if vlan else "")
        yield Finding(path, f"{what} is in zone '{first[1]}' already", "a port and VLAN have one zone")


def prefixes_of_two_zones(policy: Policy) -> Iterator[Finding]:
    """Find prefixes that two zones own."""
    claims: Iterator[tuple[tuple[str, IPNetwork], Path]] = (
        ((zone.address_space, prefix), ("zones", name, "prefixes", index))
        for name, zone in policy.zones.items()
        for index, prefix in enumerate(zone.prefixes)
    )
    hint = "a longer prefix may be cut out of another zone's; the same one can't be shared"
    for (_, prefix), path, first in _repeated(claims):
        yield Finding(path, f"prefix {prefix} is zone '{first[1]}''s already", hint)


def addresses_of_two_assets(policy: Policy) -> Iterator[Finding]:
    """Find addresses that two assets have."""
    hint = "one address, one asset; equal addresses need zones with different address_space"
    for ip, path, whose in _of_two_assets(policy, "ips", attrgetter("ips")):
        yield Finding(path, f"address {ip} is {whose}", hint)


def macs_of_two_assets(policy: Policy) -> Iterator[Finding]:
    """Find MACs that two assets have."""
    hint = "assets behind a router name it with 'behind' instead of repeating its MAC"
    for mac, path, whose in _of_two_assets(policy, "macs", attrgetter("macs")):
        yield Finding(path, f"MAC {mac_text(mac)} is {whose}", hint)


def _of_two_assets(
    policy: Policy, field: str, had: Callable[[Asset], Iterable[Thing]]
) -> Iterator[tuple[Thing, Path, str]]:
    """Yield what an asset has although one before it, in the same address space, does; and whose it is and where."""
    claims: Iterator[tuple[tuple[str, Thing], Path]] = (
        ((policy.zones[asset.zone].address_space, thing), ("assets", name, field, index))
        for name, asset in policy.assets.items()
        if asset.zone in policy.zones
        for index, thing in enumerate(had(asset))
    )
    for (_, thing), path, first in _repeated(claims):
        yield thing, path, f"asset '{first[1]}''s already ({_where(policy, first, path)})"


def addresses_in_a_foreign_zone(policy: Policy) -> Iterator[Finding]:
    """Find assets whose address lies in another zone's prefix."""
    indexes: dict[str, PrefixIndex[str]] = {}
    for name, zone in policy.zones.items():
        index = indexes.setdefault(zone.address_space, PrefixIndex())
        for prefix in zone.prefixes:
            index.add(prefix_block(prefix), name)
    for name, asset in policy.assets.items():
        if asset.zone not in policy.zones:
            continue
        index = indexes[policy.zones[asset.zone].address_space]
        for position, ip in enumerate(asset.ips):
            zones = [zone for _, zone in index.around(address_block(ip))]
            if zones and asset.zone not in zones:
                text = f"address {ip} of asset '{name}' in zone '{asset.zone}' lies in a prefix of zone '{zones[0]}'"
                hint = f"is the asset in zone '{zones[0]}', or the address mistyped?"
                yield Finding(("assets", name, "ips", position), text, hint)


def router_circles(policy: Policy) -> Iterator[Finding]:
    """Find assets that are behind themselves."""
    settled: set[str] = set()
    for name in policy.assets:
        chain: dict[str, None] = {}
        at: str | None = name
        while at is not None and at not in settled and at not in chain and at in policy.assets:
            chain[at] = None
            at = policy.assets[at].behind
        if at is not None and at in chain:
            names = list(chain)
            circle = [*names[names.index(at) :], at]
            shown = " → ".join(circle if len(circle) < 8 else [*circle[:6], "…", at])
            yield Finding(("assets", at, "behind"), f"routers in a circle: {shown}")
        settled.update(chain)


CONFLICTS = {
    "POL101": addresses_of_two_assets,
    "POL102": macs_of_two_assets,
    "POL103": addresses_in_a_foreign_zone,
    "POL104": prefixes_of_two_zones,
    "POL105": ports_in_two_zones,
    "POL106": router_circles,
}


def conflicts(policy: Policy) -> list[Problem]:
    """Return every conflict between two parts of the policy, as errors."""
    return [
        Problem(*policy.place(*found.path), found.message, found.hint, code, at=found.at)
        for code, find in CONFLICTS.items()
        for found in find(policy)
    ]
