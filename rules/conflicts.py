"""Two things that can't both be true: one address of two assets, one port of two zones, routers in a circle.

In: a `Policy`, possibly only the sound part of a broken one. Out: findings, each at the later of the two places.
Only checks that missing entries can't turn from right to wrong belong here. Called by `load` and by `checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.addresses import PrefixIndex, address_block, prefix_block
from rules.checks.registry import Finding
from rules.problems import Problem
from rules.values import mac_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.model import Policy


def _space(policy: Policy, zone: str) -> str | None:
    found = policy.zones.get(zone)
    return found.address_space if found is not None else None


def _where(policy: Policy, path: tuple[str | int, ...], other: tuple[str | int, ...]) -> str:
    """Return where a thing is, as seen from another: the line, and the file when it is another one."""
    file, line, _ = policy.place(*path)
    return f"line {line}" if file == policy.place(*other)[0] else f"{file}:{line}"


def ports_in_two_zones(policy: Policy) -> Iterator[Finding]:
    """Find ports and VLANs that two zones own."""
    owners: dict[tuple[str, int], str] = {}
    for name, zone in policy.zones.items():
        for index, port in enumerate(zone.ports):
            for vlan in zone.vlans or (0,):
                if (port, vlan) in owners:
                    what = f"port {port}" + (f" with VLAN {vlan}" if vlan else "")
                    text = f"{what} is in zone '{owners[port, vlan]}' already"
                    path = ("zones", name, "ports", index)
                    yield Finding(path, text, "a port and VLAN have one zone")
                owners.setdefault((port, vlan), name)


def prefixes_of_two_zones(policy: Policy) -> Iterator[Finding]:
    """Find prefixes that two zones own."""
    owners: dict[tuple[str, object], str] = {}
    for name, zone in policy.zones.items():
        for index, prefix in enumerate(zone.prefixes):
            key = (zone.address_space, prefix)
            if key in owners:
                text = f"prefix {prefix} is zone '{owners[key]}''s already"
                hint = "a longer prefix may be cut out of another zone's; the same one can't be shared"
                yield Finding(("zones", name, "prefixes", index), text, hint)
            owners.setdefault(key, name)


def addresses_of_two_assets(policy: Policy) -> Iterator[Finding]:
    """Find addresses that two assets have."""
    owners: dict[tuple[str, object], tuple[str, int]] = {}
    for name, asset in policy.assets.items():
        space = _space(policy, asset.zone)
        if space is None:
            continue
        for index, ip in enumerate(asset.ips):
            owner, at = owners.setdefault((space, ip), (name, index))
            if (owner, at) != (name, index):
                path = ("assets", name, "ips", index)
                where = _where(policy, ("assets", owner, "ips", at), path)
                text = f"address {ip} is asset '{owner}''s already ({where})"
                hint = "one address, one asset; equal addresses need zones with different address_space"
                yield Finding(path, text, hint)


def macs_of_two_assets(policy: Policy) -> Iterator[Finding]:
    """Find MACs that two assets have."""
    owners: dict[tuple[str, bytes], tuple[str, int]] = {}
    for name, asset in policy.assets.items():
        space = _space(policy, asset.zone)
        if space is None:
            continue
        for index, mac in enumerate(asset.macs):
            owner, at = owners.setdefault((space, mac), (name, index))
            if (owner, at) != (name, index):
                path = ("assets", name, "macs", index)
                where = _where(policy, ("assets", owner, "macs", at), path)
                text = f"MAC {mac_text(mac)} is asset '{owner}''s already ({where})"
                hint = "assets behind a router name it with 'behind' instead of repeating its MAC"
                yield Finding(path, text, hint)


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
