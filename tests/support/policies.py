"""Random policies that the compiler must accept, and their text in the operator's YAML.

In: a seeded random.Random. Out: `PlainPolicy` values and YAML. Zones share ports by VLAN, nest prefixes, and reuse
addresses in other address spaces; conduits overlap on purpose, so that precedence has work. `compiled_policy` draws
until the product's own checks accept the text. Called by the property, fuzz and netns rings and bench/differential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastpath.abi import Stage
from rules.compile import Compiled, compile_text
from rules.problems import PolicyError

from .plain import (
    Address,
    Asset,
    Conduit,
    Limit,
    PlainPolicy,
    Prefix,
    Rate,
    Selector,
    Service,
    Zone,
    address,
    mac,
    prefix,
)

if TYPE_CHECKING:
    import random

ROLES: Final = ("hmi", "plc", "scada", "engineer", "historian")
KIND_WORDS: Final = {"tcp": "tcp", "udp": "udp", "ip": "ip", "icmp4": "icmp", "icmp6": "icmpv6"}
NUMBER_KEYS: Final = {"tcp": "ports", "udp": "ports", "ip": "numbers", "icmp4": "types", "icmp6": "types"}
VLAN_PLANS: Final[tuple[tuple[int, ...], ...]] = ((), (), (), (100,), (100, 200), (200,))
SERVICES: Final = (
    Service("sv-modbus", (("tcp", 502, 502),)),
    Service("sv-s7", (("tcp", 102, 102),)),
    Service("sv-web", (("tcp", 80, 80), ("tcp", 443, 443))),
    Service("sv-low", (("tcp", 1, 1023),)),
    Service("sv-any", (("tcp", 1, 65535), ("udp", 1, 65535))),
    Service("sv-mixed", (("tcp", 500, 510), ("udp", 47808, 47808), ("icmp4", 8, 8), ("ip", 47, 47))),
    Service("sv-enip", (("tcp", 44818, 44818), ("udp", 44818, 44818))),
    Service("sv-bacnet", (("udp", 47808, 47809),)),
    Service("sv-ping", (("icmp4", 8, 8), ("icmp6", 128, 128))),
    Service("sv-pong", (("icmp4", 0, 0), ("icmp6", 129, 129))),
    Service("sv-errors", (("icmp4", 3, 5), ("icmp6", 1, 4))),
    Service("sv-icmp6", (("icmp6", 0, 255),)),
    Service("sv-tunnels", (("ip", 47, 51), ("ip", 89, 89), ("ip", 132, 132))),
    Service("sv-goose", (("ethertype", 0x88B8, 0x88B8),)),
    Service("sv-profinet", (("ethertype", 0x8892, 0x8892),)),
    Service("sv-layers", (("ethertype", 0x88A4, 0x88A4), ("udp", 34980, 34980))),
)
UNITS: Final = {"s": 1_000_000_000, "min": 60_000_000_000}
LIMITED_SHARE: Final = 0.3
JUMP_SHARE: Final = 0.15
CLOSED_SHARE: Final = 0.07  # by a window, and as many again by what nobody can prove
WINDOWS: Final = {
    "nights": "{days: [mon, fri], from: '22:00', to: '06:00'}",
    "weekend": "{days: sun, from: '00:00', to: '24:00'}",
}
GROUPED: Final = ("sv-web", "sv-mixed", "sv-any")  # written as a group of services with one member each
GROUP_IPS: Final = ("239.1.1.1", "224.0.0.107", "255.255.255.255", "ff02::1", "ff15::1:3")
GROUP_MACS: Final = ("01:0c:cd:01:00:01", "01:0e:cf:00:00:00", "ff:ff:ff:ff:ff:ff")


@dataclass(frozen=True)
class DrawnPolicy:
    """A policy in its three forms: plain, text, compiled by the product."""

    plain: PlainPolicy
    text: str
    compiled: Compiled
    refused: int  # draws that the product's checks turned down before this one


def compiled_policy(rng: random.Random, *, attempts: int = 200, static_only: bool = False) -> DrawnPolicy:
    """Draw until the product accepts the text; raises PolicyError when it never does."""
    refused: PolicyError | None = None
    for attempt in range(attempts):
        plain = draw_policy(rng, static_only=static_only)
        text = policy_text(plain)
        try:
            return DrawnPolicy(plain, text, compile_text(text, "random.yaml", {}), attempt)
        except PolicyError as error:
            refused = error
    assert refused is not None
    raise refused


# ---- drawing ----


def draw_policy(rng: random.Random, *, static_only: bool = False) -> PlainPolicy:
    """Return a random policy; it may break a rule of the checks. `static_only`: all stages enforce."""
    zones = _draw_zones(rng)
    assets = _draw_assets(rng, zones)
    conduits = tuple(draw_conduit(rng, number, zones, assets) for number in range(rng.randrange(3, 14)))
    conduits = tuple(conduit for conduit in conduits if _prefixes_have_one_zone(zones, conduit))
    if not conduits:
        ends = [Selector(zones=(zone.name,)) for zone in zones[:2]]
        conduits = (Conduit("c0", ends[0], ends[-1], SERVICES[:1]),)
    if static_only:
        return PlainPolicy(zones, assets, conduits)
    stages = [Stage.ENFORCE, Stage.ENFORCE, Stage.ALERT, Stage.MONITOR]
    names = [zone.name for zone in zones]
    pairs = {(a, b): rng.choice(stages) for a in names for b in names if a != b and rng.random() < 0.5}
    return PlainPolicy(
        zones, assets, conduits, rng.choice(stages), rng.choice(stages), pairs, refuse=rng.random() < 0.5
    )


def _draw_zones(rng: random.Random) -> tuple[Zone, ...]:
    zones: list[Zone] = []
    taken: set[tuple[str, int]] = set()
    two_spaces = rng.random() < 0.4
    all_untagged = rng.random() < 0.5
    for number in range(rng.randrange(2, 7)):
        vlans = () if all_untagged else rng.choice(VLAN_PLANS)
        free = [
            port
            for port in (f"p{index}" for index in range(16))
            if not any((port, vlan) in taken for vlan in vlans or (0,))
        ]
        ports = tuple(rng.sample(free[:4], rng.choice((1, 1, 2))))
        taken |= {(port, vlan) for port in ports for vlan in vlans or (0,)}
        space = rng.choice(("", "line-b")) if two_spaces else ""
        prefixes = _draw_prefixes(rng, [zone for zone in zones if zone.space == space], number)
        zones.append(Zone(f"z{number}", ports, vlans, prefixes, space))
    return tuple(zones)


def _draw_prefixes(rng: random.Random, same_space: list[Zone], number: int) -> tuple[Prefix, ...]:
    """Return prefixes that equal none of the space, but may lie in each other."""
    choices = ["10.1.0.0/16", "10.0.0.0/8", "192.168.0.0/17", "10.1.2.0/24", "10.1.2.128/25", "192.168.1.0/24"]
    choices += ["fd00:1::/32", "fd00:1:2::/48", "2001:db8::/32", "2001:db8:0:5::/64", "172.16.5.4/32", "0.0.0.0/0"]
    choices += [f"10.{50 + number}.0.0/24", f"fd00:{50 + number:x}::/64", f"172.20.{number}.0/25"]
    taken = {found for zone in same_space for found in zone.prefixes}
    free = [found for found in map(prefix, choices) if found not in taken]
    return tuple(rng.sample(free, rng.choice((0, 1, 2, 2, 3))))


def _draw_assets(rng: random.Random, zones: tuple[Zone, ...]) -> tuple[Asset, ...]:
    assets: list[Asset] = []
    used: set[tuple[str, Address | bytes]] = set()
    for number in range(rng.randrange(3, 15)):
        zone = rng.choice(zones)
        ips = [ip for ip in _draw_ips(rng, zones, zone, number) if (zone.space, ip) not in used]
        macs = [draw_mac(rng, number) for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        macs = [found for found in dict.fromkeys(macs) if (zone.space, found) not in used]
        if not ips and not macs:
            continue
        used |= {(zone.space, ip) for ip in ips} | {(zone.space, found) for found in macs}
        roles = tuple(rng.sample(ROLES, rng.choice((0, 1, 1, 2))))
        spaces = {other.name: other.space for other in zones}
        routers = [asset for asset in assets if spaces[asset.zone] == zone.space]
        behind = rng.choice(routers).name if routers and rng.random() < 0.25 else None
        assets.append(Asset(f"a{number}", zone.name, tuple(macs), tuple(ips), roles, behind))
    return tuple(assets)


def _draw_ips(rng: random.Random, zones: tuple[Zone, ...], zone: Zone, number: int) -> list[Address]:
    ips = [address(f"10.9.{number}.{rng.randrange(1, 250)}"), address(f"fd00:9::{number:x}")]
    owned = [(found, other.name) for other in zones for found in other.prefixes if other.space == zone.space]
    ips = [ip for ip in ips if {name for found, name in owned if found.holds(ip)} <= {zone.name}]
    for found in zone.prefixes:
        size = (32 if found.version == 4 else 128) - found.length
        ips.append(Address(found.version, found.value + rng.randrange(1 << min(size, 10))))
    return list(dict.fromkeys(rng.sample(ips, min(len(ips), rng.choice((0, 1, 1, 2, 3))))))


def draw_mac(rng: random.Random, number: int) -> bytes:
    """Return a MAC that an asset of this number may have."""
    return mac(f"02:00:00:00:{rng.choice((0, number)):02x}:{rng.randrange(1, 40):02x}")


def draw_conduit(rng: random.Random, number: int, zones: tuple[Zone, ...], assets: tuple[Asset, ...]) -> Conduit:
    """Return the conduit of a number; it may break a rule of the checks."""
    source = _draw_selector(rng, zones, assets)
    destination = _draw_group(rng, zones) if rng.random() < 0.12 else _draw_selector(rng, zones, assets)
    return Conduit(
        f"c{number}",
        source,
        destination,
        tuple(rng.sample(SERVICES, rng.choice((1, 1, 2, 3)))),
        rng.choice((Stage.ENFORCE, Stage.ENFORCE, Stage.ALERT, Stage.MONITOR)),
        rng.random() > 0.15,
        rng.choice(("static", "static", "static", "closed", "open")),
        draw_limit(rng) if rng.random() < LIMITED_SHARE else None,
        rng.choice(assets).name if assets and rng.random() < JUMP_SHARE else None,
        rng.choice((("nights",), ("nights", "weekend"))) if rng.random() < CLOSED_SHARE else (),
        ("session",) if rng.random() < CLOSED_SHARE else (),
    )


def draw_limit(rng: random.Random) -> Limit:
    """Return a limit that a few frames exceed: streams are short, and their frames a microsecond apart."""
    rates = [_draw_rate(rng) if rng.random() < 0.4 else None for _ in range(4)]
    return Limit(*rates) if any(rates) else Limit(packets=_draw_rate(rng))


def _draw_rate(rng: random.Random) -> Rate:
    unit_ns = rng.choice(tuple(UNITS.values()))
    return Rate(rng.choice((1, 3, 7, 60, 1000)), unit_ns, rng.choice((1, 1, 2, 3, 5)))


def _draw_group(rng: random.Random, zones: tuple[Zone, ...]) -> Selector:
    directed = [
        Address(4, found.value + (1 << (32 - found.length)) - 1)
        for zone in zones
        for found in zone.prefixes
        if found.version == 4 and found.length < 31
    ]
    ips = tuple(dict.fromkeys(rng.sample([*map(address, GROUP_IPS), *directed], rng.choice((0, 1, 2)))))
    macs = tuple(map(mac, rng.sample(GROUP_MACS, rng.choice((0, 1)))))
    return Selector(group_ips=ips, group_macs=macs) if ips or macs else Selector(group_macs=(mac(GROUP_MACS[0]),))


def _draw_selector(rng: random.Random, zones: tuple[Zone, ...], assets: tuple[Asset, ...]) -> Selector:
    """Return a selector by one key mostly, sometimes by two."""
    way = rng.choice(("zone", "zone", "role", "asset", "prefix", "zone+role", "zone+prefix", "role+prefix"))
    roles = sorted({role for asset in assets for role in asset.roles})
    if ("asset" in way and not assets) or ("role" in way and not roles):
        way = "zone"
    zone = rng.choice(zones)
    names = (zone.name,) if rng.random() < 0.8 else tuple(sorted({zone.name, rng.choice(zones).name}))
    owned = [found for other in zones for found in other.prefixes]
    if way == "prefix" and not owned:
        way = "zone"
    if way == "zone+prefix":
        base = rng.choice(zone.prefixes) if zone.prefixes else prefix(f"172.31.{rng.randrange(4)}.0/24")
        return Selector(zones=(zone.name,), prefixes=(_part_of(rng, base),))
    prefixes = tuple({_part_of(rng, rng.choice(owned)) for _ in range(rng.choice((1, 1, 2)))}) if owned else ()
    return Selector(
        zones=names if "zone" in way else (),
        roles=tuple(rng.sample(roles, min(len(roles), rng.choice((1, 1, 2))))) if "role" in way else (),
        assets=tuple(sorted({rng.choice(assets).name for _ in range(rng.choice((1, 1, 2)))})) if way == "asset" else (),
        prefixes=prefixes if "prefix" in way else (),
    )


def _prefixes_have_one_zone(zones: tuple[Zone, ...], conduit: Conduit) -> bool:
    """Tell whether each prefix that stands alone lies in prefixes of exactly one zone."""
    for selector in (conduit.source, conduit.destination):
        for wanted in selector.prefixes:
            around = {zone.name for zone in zones if any(found.covers(wanted) for found in zone.prefixes)}
            if not selector.zones and len(around) != 1:
                return False
    return True


def _part_of(rng: random.Random, base: Prefix) -> Prefix:
    """Return the prefix itself or one inside it."""
    bits = 32 if base.version == 4 else 128
    length = min(bits, base.length + rng.choice((0, 0, 1, 4, 8, bits)))
    offset = rng.randrange(1 << min(length - base.length, 12)) if length > base.length else 0
    return Prefix(base.version, base.value + (offset << (bits - length)), length)


# ---- the operator's text ----


def policy_text(policy: PlainPolicy) -> str:
    """Return the policy in YAML."""
    lines = ["version: 1", "site:", "  name: random-site"]
    lines += [f"  ceiling: {policy.ceiling.name.lower()}", f"  default_stage: {policy.default_stage.name.lower()}"]
    lines.append(f"  refuse: {'reset' if policy.refuse else 'silent'}")
    lines.append("zones:")
    for zone in policy.zones:
        lines += _entry(zone.name, _zone_fields(zone))
    lines.append("assets:" if policy.assets else "assets: {}")
    for asset in policy.assets:
        lines += _entry(asset.name, _asset_fields(asset))
    lines.append("services:")
    for service in {service.name: service for conduit in policy.conduits for service in conduit.services}.values():
        lines += _service(service)
    lines += ["windows:", *(f"  {name}: {{weekly: {hours}}}" for name, hours in WINDOWS.items())]
    lines.append("conduits:")
    for conduit in policy.conduits:
        lines += _entry(conduit.name, _conduit_fields(conduit))
    lines.append("denials:" if policy.pair_stages else "denials: []")
    for (source, destination), stage in policy.pair_stages.items():
        lines.append(f"  - {{from: {source}, to: {destination}, stage: {stage.name.lower()}}}")
    return "\n".join(lines) + "\n"


def _service(service: Service) -> list[str]:
    members = [_member(*member) for member in service.ranges]
    if service.name not in GROUPED:
        return [f"  {service.name}: {{any_of: {_list(members)}}}"]
    parts = [f"{service.name}-{number}" for number in range(len(members))]
    return [
        f"  {service.name}: {{group: {_list(parts)}}}",
        *(f"  {part}: {member}" for part, member in zip(parts, members, strict=True)),
    ]


def _entry(name: str, fields: dict[str, str]) -> list[str]:
    return [f"  {name}:", *(f"    {key}: {value}" for key, value in fields.items())]


def _list(items: list[str]) -> str:
    return "[" + ", ".join(items) + "]"


def _quoted(items: tuple[object, ...]) -> str:
    return _list([f'"{item}"' for item in items])


def _zone_fields(zone: Zone) -> dict[str, str]:
    fields = {"kind": "control", "ports": _list(list(zone.ports)), "prefixes": _quoted(zone.prefixes)}
    if zone.vlans:
        fields["vlans"] = _list([str(vlan) for vlan in zone.vlans])
    if zone.space:
        fields["address_space"] = zone.space
    return fields


def _asset_fields(asset: Asset) -> dict[str, str]:
    fields = {"zone": asset.zone, "macs": _quoted(tuple(found.hex(":") for found in asset.macs))}
    fields |= {"ips": _quoted(asset.ips), "roles": _list(list(asset.roles))}
    if asset.behind:
        fields["behind"] = asset.behind
    return fields


def _member(kind: str, first: int, last: int) -> str:
    if kind == "ethertype":
        return f"{{ethertype: 0x{first:04x}}}"
    number = str(first) if first == last else f'"{first}-{last}"'
    return f"{{protocol: {KIND_WORDS[kind]}, {NUMBER_KEYS[kind]}: [{number}]}}"


def _conduit_fields(conduit: Conduit) -> dict[str, str]:
    limit = {"limit": _limit(conduit.limit)} if conduit.limit else {}
    opening = {"via": conduit.via} if conduit.via else {}
    opening |= {"windows": _list(list(conduit.windows)), "requires": _list(list(conduit.requires))}
    return (
        limit
        | opening
        | {
            "from": _selector(conduit.source),
            "to": _selector(conduit.destination),
            "services": _list([service.name for service in conduit.services]),
            "stage": conduit.stage.name.lower(),
            "fail": conduit.fail,
            "enabled": "true" if conduit.enabled else "false",
            "owner": "tests",
            "reason": "drawn at random",
        }
    )


def _limit(limit: Limit) -> str:
    each = _rates({"packets": limit.source_packets, "new_flows": limit.source_flows})
    whole = _rates({"packets": limit.packets, "new_flows": limit.flows})
    return "{" + ", ".join([*whole, *([f"per_source: {{{', '.join(each)}}}"] if each else [])]) + "}"


def _rates(rates: dict[str, Rate | None]) -> list[str]:
    words = {unit_ns: word for word, unit_ns in UNITS.items()}
    return [f"{key}: {r.number}/{words[r.unit_ns]} burst {r.burst}" for key, r in rates.items() if r is not None]


def _selector(selector: Selector) -> str:
    groups = (*selector.group_ips, *(found.hex(":") for found in selector.group_macs))
    keys: dict[str, tuple[object, ...]] = {
        "zone": selector.zones,
        "role": selector.roles,
        "asset": selector.assets,
        "prefix": selector.prefixes,
        "group": groups,
    }
    return "{" + ", ".join(f"{key}: {_quoted(values)}" for key, values in keys.items() if values) + "}"
