"""The image: header, sections and hash tables, read back independently of the builder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fastpath import abi
from fastpath.abi import Section
from rules.compile import compile_file
from rules.hashing import place
from rules.image import build_image
from rules.records import LoweredPolicy, ServiceKind
from tests.unit.rules.building import ImageReader, lowered_of, packed


@pytest.fixture(scope="module")
def lowered() -> LoweredPolicy:
    """Return the example's records."""
    return compile_file(Path("rules/examples/water-works.yaml")).lowered


@pytest.fixture(scope="module")
def image(lowered: LoweredPolicy) -> ImageReader:
    """Return the example's image, opened."""
    return ImageReader(build_image(lowered, 7))


def test_header(lowered: LoweredPolicy, image: ImageReader) -> None:
    """The header says what it is, how long, which generation, and carries both digests."""
    header = image.header
    assert header["magic"] == abi.IMAGE_MAGIC
    assert header["abi_version"] == abi.ABI_VERSION
    assert header["header_bytes"] == abi.IMAGE_HEADER_BYTES
    assert header["generation"] == 7
    assert header["image_bytes"] == len(image.image)
    assert header["policy_digest"] == lowered.digest
    assert header["image_sha256"] == abi.image_sha256(image.image)
    assert (header["zone_count"], header["port_count"]) == (7, 7)
    assert header["conduit_capacity"] == len(lowered.conduits)
    assert header["node_count"] == image.sections[Section.NODES]["count"]


def test_sections_are_aligned_and_disjoint(image: ImageReader) -> None:
    """Every section starts on a cache line behind the one before and ends within the image."""
    sizes = {
        Section.ENDPOINTS: abi.ENDPOINT.size,
        Section.MACS: abi.MAC.size,
        Section.RULES: abi.RULE.size,
        Section.NODES: abi.NODE.size,
        Section.CONDUITS: abi.CONDUIT.size,
        Section.ZONES: abi.ZONE.size,
        Section.PREFIX_LENGTHS: 1,
    }
    end = abi.IMAGE_HEADER_BYTES
    for section in Section:
        entry = image.sections[section]
        assert entry["offset_bytes"] % abi.CACHE_LINE_BYTES == 0
        assert entry["offset_bytes"] >= end
        end = entry["offset_bytes"] + entry["count"] * sizes.get(section, 2)
    assert end <= len(image.image)
    assert all(entry["count"] == 0 for entry in image.sections[len(Section) :])


def test_every_record_is_found(lowered: LoweredPolicy, image: ImageReader) -> None:
    """Endpoints, MACs and rules are found by probing from their home slot, with all their fields."""
    for record in lowered.endpoints:
        found = image.endpoint(record.address, record.prefix_length, record.space)
        assert found is not None
        assert (found["zone"], found["klass"]) == (record.zone, record.klass)
        assert found["asset"] == (abi.NO_ASSET if record.asset is None else record.asset)
        assert found["mac_asset"] == (abi.NO_ASSET if record.mac_asset is None else record.mac_asset)
    for mac in lowered.macs:
        entry = image.mac(mac.mac, mac.space)
        assert entry is not None
        assert (entry["zone"], entry["klass"], entry["asset"]) == (mac.zone, mac.klass, mac.asset)
    for rule in lowered.rules:
        assert image.rule(rule.source_class, rule.destination_class, rule.service_class) == list(rule.conduits)


def test_what_is_not_there_is_not_found(image: ImageReader) -> None:
    """Other lengths, spaces and keys miss."""
    assert image.endpoint(packed("10.20.50.10")) is not None
    assert image.endpoint(packed("10.20.50.10"), space=1) is None
    assert image.endpoint(packed("10.20.50.0"), length=127) is None
    assert image.mac(bytes.fromhex("020000000001")) is None
    assert image.rule(1, 1, 999) is None


def test_arrays(lowered: LoweredPolicy, image: ImageReader) -> None:
    """Services by number, zones of ports, spaces of zones, prefix lengths and conduits stand where the engine looks."""
    sections = {
        ServiceKind.TCP: Section.SERVICES_TCP,
        ServiceKind.ICMP4: Section.SERVICES_ICMP4,
        ServiceKind.ICMP6: Section.SERVICES_ICMP6,
    }
    for service in lowered.services:
        section = sections[service.kind]
        assert {image.word(section, n) for n in range(service.first, service.last + 1)} == {service.klass}
    assert sum(1 for n in range(65536) if image.word(Section.SERVICES_TCP, n)) == 4
    for owned in lowered.port_zones:
        assert image.word(Section.PORT_ZONES, owned.vlan * 7 + owned.port) == owned.zone
    assert image.sections[Section.PORT_ZONES]["count"] == 7 * 4096
    assert not any(image.word(Section.PORT_ZONES, vlan * 7) for vlan in range(4096))
    at = image.sections[Section.PREFIX_LENGTHS]["offset_bytes"]
    assert list(image.image[at : at + image.sections[Section.PREFIX_LENGTHS]["count"]]) == [120, 112]
    for conduit in lowered.conduits:
        entry = image.entry(Section.CONDUITS, abi.CONDUIT, conduit.slot)
        assert (entry["fail"], entry["log"]) == (conduit.fail, conduit.log)


def test_groups_are_flagged() -> None:
    """Group addresses and group MACs live behind every port."""
    conduits = {
        "c": {
            "from": {"asset": "hmi"},
            "to": {"group": ["239.1.1.1", "01:0c:cd:01:00:01"]},
            "services": ["modbus", "goose"],
        }
    }
    image = ImageReader(build_image(lowered_of(conduits=conduits), 1))
    endpoint = image.endpoint(packed("239.1.1.1"))
    assert endpoint is not None
    assert endpoint["flags"] == abi.ENDPOINT_IN_USE | abi.ENDPOINT_ANYWHERE
    mac = image.mac(bytes.fromhex("010ccd010001"))
    assert mac is not None
    assert mac["zone"] == abi.MAC_ANYWHERE_ZONE


def test_the_smallest_policy_has_an_image() -> None:
    """No zones, assets or conduits: empty tables of the least capacity."""
    image = ImageReader(build_image(lowered_of(zones={}, assets={}, conduits={}), 1))
    assert [image.sections[s]["count"] for s in (Section.ENDPOINTS, Section.MACS, Section.RULES)] == [8, 8, 8]
    assert image.endpoint(packed("10.0.0.1")) is None
    assert image.sections[Section.CONDUITS]["count"] == 0


def test_chains_share_their_tails() -> None:
    """Alternatives with the same end use the same nodes."""
    base = {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, "services": ["modbus"]}
    conduits = {"a": base, "b": base | {"from": {"zone": "supervisory"}}}
    image = ImageReader(build_image(lowered_of(conduits=conduits), 1))
    assert image.header["node_count"] == 2


def test_the_image_is_repeatable_and_the_generation_is_in_it() -> None:
    """Same records and generation, same bytes."""
    lowered = lowered_of()
    assert build_image(lowered, 1) == build_image(lowered, 1)
    assert build_image(lowered, 1) != build_image(lowered, 2)


def test_tables_keep_every_key_within_reach() -> None:
    """Clustered homes make the table grow until nobody is further than MAX_PROBE from home; the order is irrelevant."""
    draw = random.Random(2)
    keys = [draw.getrandbits(64) for _ in range(20000)]
    slots, capacity = place(keys)
    assert capacity >= 40000
    assert len(set(slots)) == len(keys)
    used = set(slots)
    for home, slot in zip(keys, slots, strict=True):
        distance = (slot - home) & (capacity - 1)
        assert distance < abi.MAX_PROBE
        assert all((home + step) & (capacity - 1) in used for step in range(distance))
    shuffled = keys[:]
    draw.shuffle(shuffled)
    again = place(shuffled)
    assert dict(zip(shuffled, again.slots, strict=True)) == dict(zip(keys, slots, strict=True))


def test_a_full_end_goes_on_at_the_beginning() -> None:
    """Entries at home in the last slots run over to the first free ones, behind those that are at home there."""
    slots, capacity = place([7, 7 + 8, 7 + 16, 0])
    assert capacity == 8
    assert sorted(slots) == [0, 1, 2, 7]
    assert slots[3] == 0


def test_hopeless_collisions_are_refused() -> None:
    """More equal hashes than probes can't be stored, and that is an error rather than a lost key."""
    with pytest.raises(ValueError, match="collisions"):
        place([5] * (abi.MAX_PROBE + 1))
