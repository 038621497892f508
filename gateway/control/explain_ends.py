"""Where the ends of a question to `explain` are: names and addresses → zone, MAC, addresses, ports.

In: a lowered policy and what an operator calls an end. Out: `End`, and the ports by which a frame between two of them
would go. An address that nobody lists stands behind no asset and carries a MAC of a stranger's. Pure.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.control.explain_frame import IPAddress
from gateway.control.quarantine import MAC, asset_addresses
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.control.names import Names
    from rules.records import EndpointRecord, LoweredPolicy

STRANGER_MAC: Final = bytes.fromhex("0200000000fe")  # locally administered; stands for a device nobody listed


@dataclass(frozen=True, slots=True)
class End:
    """One end of the question: where it is and what it is called on the wire."""

    label: str
    addresses: tuple[IPAddress, ...]
    mac: bytes
    zone: int
    macs: tuple[str, ...]


class Places:
    """The places of one policy."""

    def __init__(self, lowered: LoweredPolicy, names: Names) -> None:
        self._lowered = lowered
        self._names = names

    def end(self, text: str, zone: str | None) -> End:
        """Return an end by asset, IP or MAC; `zone`: where it is if the policy does not say. Raises ConfigError."""
        if MAC.fullmatch(text):
            return self._mac_end(text, zone)
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return self._asset_end(text)
        return self._address_end(text, address, zone)

    def _asset_end(self, name: str) -> End:
        found = asset_addresses(self._lowered, name)
        if found is None:
            raise ConfigError("asset_unknown", f"no asset is called {name!r}", "`conduitctl assets` lists them")
        asset = next(asset for asset in self._lowered.assets if asset.name == name)
        addresses = tuple(ipaddress.ip_address(address) for address in found[1])
        endpoint = next((e for e in self._lowered.endpoints if e.asset == asset.number), None)
        carrier = endpoint.mac_asset if endpoint else asset.number
        return End(name, tuple(sorted(addresses, key=lambda a: a.version)), self._mac_of(carrier), asset.zone, found[0])

    def _address_end(self, text: str, address: IPAddress, zone: str | None) -> End:
        endpoint = longest_match(self._lowered, address, self._space_of(zone))
        number = self._zone_number(zone) if zone else endpoint.zone if endpoint else 0
        carrier = endpoint.mac_asset if endpoint else None
        mac = _group_mac(address) if endpoint and endpoint.anywhere else self._mac_of(carrier)
        return End(text, (address,), mac, number, ())

    def _mac_end(self, text: str, zone: str | None) -> End:
        raw = bytes.fromhex(text.replace("-", "").replace(":", ""))
        record = next((mac for mac in self._lowered.macs if mac.mac == raw), None)
        number = self._zone_number(zone) if zone else record.zone if record else 0
        asset = record.asset if record else None
        addresses = tuple(
            ipaddress.IPv6Address(e.address).ipv4_mapped or ipaddress.IPv6Address(e.address)
            for e in self._lowered.endpoints
            if asset is not None and e.asset == asset
        )
        return End(text, addresses, raw, number, (raw.hex(":"),))

    def _mac_of(self, asset: int | None) -> bytes:
        return next((mac.mac for mac in self._lowered.macs if asset is not None and mac.asset == asset), STRANGER_MAC)

    def _zone_number(self, name: str) -> int:
        number = next((zone.number for zone in self._lowered.zones if zone.name == name), None)
        if number is None:
            raise ConfigError("zone_unknown", f"no zone is called {name!r}", "`conduitctl zones` lists them")
        return number

    def _space_of(self, zone: str | None) -> int | None:
        return self._lowered.zones[self._zone_number(zone) - 1].space if zone else None

    def ports(self, source: int, destination: int) -> tuple[int, int, int]:
        """Return (ingress port, egress port, VLAN); an end that is nowhere stands behind a port of a third zone.

        A bridge keeps the tag, so a VLAN that both ends have is preferred.
        """
        ways_in, ways_out = self._ways(source, destination), self._ways(destination, source)
        for port, vlan in ways_in:
            for other, same in ways_out:
                if vlan == same and port != other:
                    return port, other, vlan
        return ways_in[0][0], ways_out[0][0], ways_in[0][1]

    def _ways(self, zone: int, other: int) -> list[tuple[int, int]]:
        owned = self._lowered.port_zones
        found = [(o.port, o.vlan) for o in owned if o.zone == zone or (zone == 0 and o.zone != other)]
        if not found:
            raise ConfigError(
                "zone_without_port", f"zone {self._names.zone(zone)} has no port", "give it one in the policy"
            )
        return found


def _group_mac(address: IPAddress) -> bytes:
    """SPEC: RFC 1112 section 6.4, RFC 2464 section 7."""
    if address.version == 6:
        return b"\x33\x33" + address.packed[-4:]
    if address.is_multicast:
        return b"\x01\x00\x5e" + bytes((address.packed[1] & 0x7F,)) + address.packed[2:]
    return b"\xff" * 6


def longest_match(lowered: LoweredPolicy, address: IPAddress, space: int | None) -> EndpointRecord | None:
    """Return the endpoint record that an address belongs to; in any address space when none is given."""
    mapped = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    value = int.from_bytes(mapped, "big")
    best: EndpointRecord | None = None
    for endpoint in lowered.endpoints:
        shift = 128 - endpoint.prefix_length
        same_space = space is None or endpoint.space == space or endpoint.anywhere
        if same_space and value >> shift == int.from_bytes(endpoint.address, "big") >> shift:
            best = endpoint if best is None or endpoint.prefix_length > best.prefix_length else best
    return best
