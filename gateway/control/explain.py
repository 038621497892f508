"""`explain SRC DST SERVICE`: would it pass, by which conduit, for which reason, in which stage.

In: names or addresses and a compiled policy with its image and stages. Out: the engine's own judgement of a made-up
opening frame, in words: the same compiled code decides, so this page cannot disagree with the data path.
Works on a copy of the state: neither flows nor counters nor the live segment are touched. Also used offline.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Reason, Stage, Verdict
from fastpath.judge import Judge
from gateway.control.event_text import reason_text
from gateway.control.explain_frame import IPAddress, ServiceNumber, arp_frame, ip_frame, other_frame, service_numbers
from gateway.control.quarantine import MAC, asset_addresses
from gateway.errors import ConfigError
from rules.inside import inside
from rules.records import EndpointRecord, LoweredPolicy, ServiceKind
from rules.state import ceiling, set_ports

if TYPE_CHECKING:
    from gateway.control.names import Names
    from rules.compile import Compiled

ARP: Final = 0x0806
STRANGER_MAC: Final = bytes.fromhex("0200000000fe")  # locally administered; stands for a device nobody listed


@dataclass(frozen=True, slots=True)
class End:
    """One end of the question: where it is and what it is called on the wire."""

    label: str
    addresses: tuple[IPAddress, ...]
    mac: bytes
    zone: int
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; zones only for addresses that the policy does not place."""

    source: str
    destination: str
    service: str
    source_zone: str | None = None
    destination_zone: str | None = None


class Explainer:
    """Answers for one generation; `state` is a copy (`StateMap.snapshot`) or a fresh one (`build_state`)."""

    def __init__(self, compiled: Compiled, names: Names, image: bytes, state: bytearray) -> None:
        self._policy = compiled.policy
        self._lowered = compiled.lowered
        self._names = names
        # A made-up frame has made-up interfaces: each port's number stands for its ifindex.
        set_ports(state, {port.number: port.number for port in compiled.lowered.ports})
        self._judge = Judge(image, state)
        self._ceiling = ceiling(state)

    def answer(self, question: Question) -> dict[str, Any]:
        """Return the judgement in words. Raises ConfigError when the question cannot be asked."""
        source = self._end(question.source, question.source_zone)
        destination = self._end(question.destination, question.destination_zone)
        parts = [
            {"service": str(number)} | self._judged(source, destination, number)
            for number in service_numbers(self._policy, question.service)
        ]
        first = dict(parts[0])
        first |= {"source": question.source, "destination": question.destination, "service": question.service}
        first["parts"] = parts if any(_outcome(part) != _outcome(parts[0]) for part in parts) else []
        return first

    def addresses(self, question: Question) -> tuple[list[str], list[str]]:
        """Return the (MACs, IPs) of both ends, to look for in quarantine."""
        ends = (
            self._end(question.source, question.source_zone),
            self._end(question.destination, question.destination_zone),
        )
        return [mac for end in ends for mac in end.macs], [str(address) for end in ends for address in end.addresses]

    def _judged(self, source: End, destination: End, service: ServiceNumber) -> dict[str, Any]:
        ethertype, payload = self._frame(source, destination, service)
        in_port, out_port, vlan = self._ports(source.zone, destination.zone)
        self._judge.forget_flows()
        found = self._judge.judge(
            payload,
            ethertype=ethertype,
            in_ifindex=in_port,
            out_ifindex=out_port,
            vlan=vlan,
            source_mac=source.mac,
            destination_mac=destination.mac,
        )
        reason = Reason(found.reason).name
        return {
            "verdict": Verdict(found.verdict).name.lower(),
            "policy_verdict": Verdict(found.policy_verdict).name.lower(),
            "reason": reason,
            "text": reason_text(reason),
            "stage": Stage(found.stage).name.lower() if found.stage in (1, 2, 3) else None,
            "ceiling": self._ceiling.name.lower(),
            "conduit": self._names.conduit(found.conduit),
            "inside": self._inside(self._names.conduit(found.conduit)),
            "source_zone": self._names.zone(found.source_zone),
            "destination_zone": self._names.zone(found.destination_zone),
            "source_asset": self._names.asset(found.source_asset),
            "destination_asset": self._names.asset(found.destination_asset),
            "answer": answer_text(found.answer, service),
        }

    def _inside(self, name: str | None) -> list[str]:
        conduit = self._policy.conduits.get(name) if name is not None else None
        return inside(conduit) if conduit is not None else []

    def _frame(self, source: End, destination: End, service: ServiceNumber) -> tuple[int, bytes]:
        if service.kind is ServiceKind.ETHERTYPE and service.number != ARP:
            return other_frame(service)
        arp = service.kind is ServiceKind.ETHERTYPE
        wanted = 6 if service.kind is ServiceKind.ICMP6 else 4 if arp or service.kind is ServiceKind.ICMP4 else None
        for one in source.addresses:
            for other in destination.addresses:
                if one.version == other.version and wanted in (None, one.version):
                    return arp_frame(source.mac, one, other) if arp else ip_frame(one, other, service)
        detail = f"{source.label} and {destination.label} have no addresses of one IP version for {service}"
        raise ConfigError("address_family", detail, "name addresses in place of assets, or another service")

    def _end(self, text: str, zone: str | None) -> End:
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

    def _ports(self, source: int, destination: int) -> tuple[int, int, int]:
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


def answer_text(answer: bytes | None, service: ServiceNumber) -> str | None:
    """Return what the sender of a dropped frame gets (`refuse: reset`), None for silence."""
    if answer is None:
        return None
    return "TCP reset" if service.kind is ServiceKind.TCP else "ICMP administratively prohibited"


def _outcome(part: dict[str, Any]) -> tuple[Any, ...]:
    return part["verdict"], part["policy_verdict"], part["reason"], part["conduit"]


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
