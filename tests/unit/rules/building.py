"""Small policies for the tests of rules/: a two-zone base that each test varies in one place.

In: sections to add or replace. Out: `Policy` and `LoweredPolicy`. Also an independent reader of images.
"""

from __future__ import annotations

from copy import deepcopy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fastpath import abi
from fastpath.abi import Section
from rules.lower import lower
from rules.model import Policy

if TYPE_CHECKING:
    from rules.records import EndpointRecord, LoweredPolicy

BASE: dict[str, Any] = {
    "version": 1,
    "site": {"name": "works", "ceiling": "enforce", "default_stage": "monitor"},
    "zones": {
        "supervisory": {"kind": "supervisory", "ports": ["sup0"], "prefixes": ["10.1.0.0/16", "fd00:1::/64"]},
        "control": {"kind": "control", "ports": ["ctl0"], "prefixes": ["10.2.0.0/16", "fd00:2::/64"]},
    },
    "assets": {
        "hmi": {"zone": "supervisory", "macs": ["02:00:00:00:01:01"], "ips": ["10.1.0.1"], "roles": ["hmi"]},
        "plc": {"zone": "control", "macs": ["02:00:00:00:02:01"], "ips": ["10.2.0.1", "fd00:2::1"], "roles": ["plc"]},
    },
    "conduits": {"polls": {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, "services": ["modbus"]}},
}


def policy_of(**sections: Any) -> Policy:
    """Return the base policy with sections replaced; a section given as a dict with '+' is merged instead."""
    plain = deepcopy(BASE)
    for name, section in sections.items():
        if isinstance(section, dict) and section.pop("+", False):
            plain[name] = plain.get(name, {}) | section
        else:
            plain[name] = section
    return Policy.model_validate(plain)


def lowered_of(**sections: Any) -> LoweredPolicy:
    """Return the base policy with sections replaced, lowered."""
    return lower(policy_of(**sections))


def packed(text: str) -> bytes:
    """Return an address as the image stores it."""
    address = ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def longest_match(lowered: LoweredPolicy, text: str, space: int = 0) -> EndpointRecord | None:
    """Return the record that an address falls under, by looking at all of them."""
    value = int.from_bytes(packed(text), "big")

    def covers(record: EndpointRecord) -> bool:
        shift = 128 - record.prefix_length
        return record.space == space and int.from_bytes(record.address, "big") >> shift == value >> shift

    return max(filter(covers, lowered.endpoints), key=lambda record: record.prefix_length, default=None)


def permitted(lowered: LoweredPolicy, source: str, target: str, service: str) -> list[str]:
    """Return the conduits, in precedence order, that permit a service (by its shown name) between two addresses."""
    here, there = longest_match(lowered, source), longest_match(lowered, target)
    assert here is not None
    assert there is not None
    klass = next(number for number, name in lowered.service_names.items() if name == service)
    return by_classes(lowered, here.klass, there.klass, klass)


def by_classes(lowered: LoweredPolicy, source: int, target: int, service: int) -> list[str]:
    """Return the conduits of one rule by name."""
    names = {conduit.slot: conduit.name for conduit in lowered.conduits}
    for rule in lowered.rules:
        if (rule.source_class, rule.destination_class, rule.service_class) == (source, target, service):
            return [names[slot] for slot in rule.conduits]
    return []


class ImageReader:
    """Reads an image the way the engine does: header, section table, probing from the home slot."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.header = abi.IMAGE_HEADER.unpack_from(image)
        self.sections = [
            abi.SECTION.unpack_from(image, abi.IMAGE_HEADER.size + index * abi.SECTION.size)
            for index in range(abi.SECTION_COUNT)
        ]

    def entry(self, section: Section, layout: abi.Layout, index: int) -> dict[str, Any]:
        """Return one entry of an array or table."""
        assert 0 <= index < self.sections[section]["count"]
        return layout.unpack_from(self.image, self.sections[section]["offset_bytes"] + index * layout.size)

    def word(self, section: Section, index: int) -> int:
        """Return one entry of an array of u16."""
        at = self.sections[section]["offset_bytes"] + 2 * index
        return int.from_bytes(self.image[at : at + 2], "little")

    def endpoint(self, address: bytes, length: int = 128, space: int = 0) -> dict[str, Any] | None:
        """Look an endpoint up."""
        home = abi.endpoint_hash(self.header["hash_seed"], address, space, length)
        for entry in self._probe(Section.ENDPOINTS, abi.ENDPOINT, home):
            if not entry["flags"] & abi.ENDPOINT_IN_USE:
                return None
            if (entry["address"], entry["prefix_length"], entry["space"]) == (address, length, space):
                return entry
        return None

    def mac(self, mac: bytes, space: int = 0) -> dict[str, Any] | None:
        """Look a MAC up."""
        key = int.from_bytes(mac, "big") << 16 | space
        home = abi.mac_hash(self.header["hash_seed"], key)
        return self._keyed(Section.MACS, abi.MAC, home, "address_space", key)

    def rule(self, source: int, target: int, service: int) -> list[int] | None:
        """Look a rule up and follow its chain of conduits."""
        key = source << 32 | target << 16 | service
        found = self._keyed(Section.RULES, abi.RULE, abi.rule_hash(self.header["hash_seed"], key), "key", key)
        if found is None:
            return None
        chain, at = [], found["node"]
        while at != abi.NO_NODE:
            node = self.entry(Section.NODES, abi.NODE, at)
            chain.append(node["conduit"])
            at = node["next"]
        return chain

    def _keyed(self, section: Section, layout: abi.Layout, home: int, field: str, key: int) -> dict[str, Any] | None:
        for entry in self._probe(section, layout, home):
            if entry[field] in (0, key):
                return entry if entry[field] == key else None
        return None

    def _probe(self, section: Section, layout: abi.Layout, home: int) -> list[dict[str, Any]]:
        capacity = self.sections[section]["count"]
        assert capacity >= 8
        assert capacity & (capacity - 1) == 0
        visited = min(abi.MAX_PROBE, capacity)
        return [self.entry(section, layout, (home + step) & (capacity - 1)) for step in range(visited)]
