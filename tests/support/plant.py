"""The inhabitants of a policy's plant: who could send frames, from where, with which MAC.

In: a PlainPolicy and a seeded random.Random. Out: `Party` values and, per conduit, who matches its two ends.
Called by the stream generator only; it may lean on the twin's identity code, because it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .plain import Address, Conduit, PlainPolicy, Prefix
from .twin_identity import Endpoint, Identity

if TYPE_CHECKING:
    import random

BROADCAST_MAC = b"\xff" * 6
STRAY_PORT = "stray0"  # a bridge port that no zone owns


@dataclass(frozen=True)
class Party:
    """Someone or some group that frames come from or go to."""

    zone: str | None  # None: a group
    ip: Address | None  # None: speaks without IP
    mac: bytes  # what frames from (or to) it should carry
    asset: str | None = None


class Plant:
    """Parties and places of one policy."""

    def __init__(self, policy: PlainPolicy, rng: random.Random) -> None:
        self.policy = policy
        self.identity = Identity(policy)
        self._rng = rng
        self.parties = self._asset_parties() + self._unlisted_parties()
        self.groups = self._group_parties()
        self.ports = [*sorted({port for zone in policy.zones for port in zone.ports}), STRAY_PORT]
        self.vlans = sorted({vlan for zone in policy.zones for vlan in zone.vlans} | {0, 4094})
        self.ends = [self._ends(conduit) for conduit in policy.conduits]

    def _asset_parties(self) -> list[Party]:
        parties: list[Party] = []
        for asset in self.policy.assets:
            carrier = asset
            while carrier.behind:
                carrier = self.identity.assets[carrier.behind]
            mac = self._rng.choice(carrier.macs) if carrier.macs else self.random_mac()
            parties += [Party(asset.zone, ip, mac, asset.name) for ip in asset.ips]
            parties += [Party(asset.zone, None, own, asset.name) for own in asset.macs]
        return parties

    def _unlisted_parties(self) -> list[Party]:
        parties: list[Party] = []
        owned = [(prefix, zone.name) for zone in self.policy.zones for prefix in zone.prefixes]
        for conduit in self.policy.conduits:
            for selector in (conduit.opener, conduit.destination):
                owned += [(prefix, zone) for prefix in selector.prefixes for zone in selector.zones]
        for prefix, zone in owned:
            parties += [Party(zone, self.address_in(prefix), self.random_mac()) for _ in range(2)]
        return parties

    def _group_parties(self) -> list[Party]:
        ips = [Party(None, ip, group_mac(ip)) for ip in sorted(self.identity.group_ips)]
        return ips + [Party(None, None, mac) for mac in sorted(self.identity.group_macs)]

    def _ends(self, conduit: Conduit) -> tuple[list[Party], list[Party]]:
        sources = [party for party in self.parties if self._is_meant(conduit, party, to=False)]
        destinations = [party for party in self.parties + self.groups if self._is_meant(conduit, party, to=True)]
        return sources, destinations

    def _is_meant(self, conduit: Conduit, party: Party, *, to: bool) -> bool:
        selector = conduit.destination if to else conduit.opener
        space = self.identity.zones[party.zone].space if party.zone else ""
        mac = party.mac if party.ip is None else None
        return self.identity.match(selector, Endpoint(party.zone, party.asset, party.ip, mac, space)) is not None

    def random_mac(self) -> bytes:
        """Return a locally administered unicast MAC."""
        return b"\x02" + self._rng.randbytes(5)

    def address_in(self, prefix: Prefix) -> Address:
        """Return some address of a prefix, its edges more often than chance would."""
        span = 1 << ((32 if prefix.version == 4 else 128) - prefix.length)
        offset = self._rng.choice((0, span - 1, self._rng.randrange(span), self._rng.randrange(span)))
        return Address(prefix.version, prefix.value + offset)

    def share_a_vlan(self, one: Party, other: Party) -> bool:
        """Tell whether frames between the two can stay on one VLAN."""
        if one.zone is None or other.zone is None:
            return True
        mine, theirs = self.identity.zones[one.zone].vlans or (0,), self.identity.zones[other.zone].vlans or (0,)
        return bool(set(mine) & set(theirs))

    def place(self, source: Party, destination: Party) -> tuple[str, str, int]:
        """Return (ingress port, egress port, VLAN) on which the two could meet, as far as the policy allows."""
        from_zone = self.identity.zones[source.zone] if source.zone else self._rng.choice(self.policy.zones)
        others = [zone for zone in self.policy.zones if zone is not from_zone]
        to_zone = self.identity.zones[destination.zone] if destination.zone else self._rng.choice(others)
        mine, theirs = set(from_zone.vlans or (0,)), set(to_zone.vlans or (0,))
        vlan = self._rng.choice(sorted(mine & theirs) or sorted(mine))
        return self._rng.choice(from_zone.ports), self._rng.choice(to_zone.ports), vlan


def group_mac(ip: Address) -> bytes:
    """Return the MAC a multicast or broadcast IP is sent to (RFC 1112, RFC 2464)."""
    if not ip.is_multicast:
        return BROADCAST_MAC
    if ip.version == 4:
        return b"\x01\x00\x5e" + (ip.value & 0x7FFFFF).to_bytes(3, "big")
    return b"\x33\x33" + ip.packed[-4:]
