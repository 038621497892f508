"""LoweredPolicy → the table image: position-independent bytes that the engine maps and walks.

In: lowered records and a generation number. Out: bytes in the layouts of `fastpath.abi` (header, sections, entries).
Pure and repeatable: the hash seed comes from the population's digest. Must never write a field the ABI does not name.
Called by the control plane and the tests. `build_state`, the writable companion, is in `state`.
"""

from __future__ import annotations

from array import array
from dataclasses import astuple

from fastpath import abi
from fastpath.abi import Section
from rules.image_tables import Chains, ImageMemory, rule_table
from rules.profile_sections import profile_sections, service_inspectors
from rules.records import LimitRecord, LoweredPolicy, ProfileRecord, ServiceKind
from rules.state import build_state

NUMBER_SPACES = {
    Section.SERVICES_TCP: (ServiceKind.TCP, 65536),
    Section.SERVICES_UDP: (ServiceKind.UDP, 65536),
    Section.SERVICES_IP: (ServiceKind.IP, 256),
    Section.SERVICES_ICMP4: (ServiceKind.ICMP4, 256),
    Section.SERVICES_ICMP6: (ServiceKind.ICMP6, 256),
    Section.SERVICES_ETHERTYPE: (ServiceKind.ETHERTYPE, 65536),
}


def build_image(lowered: LoweredPolicy, generation: int, memory: ImageMemory | None = None) -> bytes:
    """Return the image of a policy; the same bytes with a memory and without."""
    known = memory or ImageMemory()
    chains = Chains()
    # Equal limits are stored once; the engine counts by conduit, so that sharing the numbers shares nothing else.
    limits = list(dict.fromkeys(conduit.limit for conduit in lowered.conduits if conduit.limit is not None))
    profiles = list(dict.fromkeys(conduit.profile for conduit in lowered.conduits if conduit.profile is not None))
    sections: dict[Section, tuple[bytes | bytearray, int]] = {
        Section.ENDPOINTS: known.endpoints.table(lowered.seed, lowered.endpoints),
        Section.MACS: known.macs.table(lowered.seed, lowered.macs),
        Section.RULES: rule_table(lowered, known.rules, chains),
        Section.CONDUITS: _conduits(lowered, limits, profiles),
        Section.ZONES: _zones(lowered),
        Section.PORT_ZONES: _port_zones(lowered),
        Section.PREFIX_LENGTHS: _prefix_lengths(lowered),
        Section.LIMITS: (b"".join(abi.LIMIT.pack(*astuple(limit)) for limit in limits), len(limits)),
        Section.SERVICE_INSPECTORS: service_inspectors(lowered, profiles),
        **profile_sections(profiles),
    }
    sections[Section.NODES] = (b"".join(abi.NODE.pack(*node) for node in chains.nodes), len(chains.nodes))
    for section, (kind, count) in NUMBER_SPACES.items():
        sections[section] = (_numbers(lowered, kind, count), count)
    return _assemble(lowered, generation, sections, len(chains.nodes))


def _assemble(
    lowered: LoweredPolicy,
    generation: int,
    sections: dict[Section, tuple[bytes | bytearray, int]],
    node_count: int,
) -> bytes:
    image = bytearray(_aligned(abi.IMAGE_HEADER_BYTES))
    for section in sorted(sections):
        content, count = sections[section]
        abi.SECTION.pack_into(image, abi.IMAGE_HEADER.size + section * abi.SECTION.size, len(image), count, 0)
        image += content
        image += bytes(_aligned(len(image)) - len(image))
    fields = (
        abi.IMAGE_MAGIC,
        abi.ABI_VERSION,
        abi.IMAGE_HEADER_BYTES,
        generation,
        len(image),
        lowered.digest,
        bytes(32),
        lowered.seed,
        len(lowered.zones) + 1,
        len(lowered.ports) + 1,
        conduit_capacity(lowered),
        node_count,
        0,
        0,
    )
    abi.IMAGE_HEADER.pack_into(image, 0, *fields)
    at = abi.IMAGE_HEADER.offsets["image_sha256"]
    image[at : at + 32] = abi.image_sha256(image)
    return bytes(image)


def conduit_capacity(lowered: LoweredPolicy) -> int:
    """Return the highest conduit slot plus one."""
    return max((conduit.slot for conduit in lowered.conduits), default=-1) + 1


def _aligned(size: int) -> int:
    return -(-size // abi.CACHE_LINE_BYTES) * abi.CACHE_LINE_BYTES


def _conduits(
    lowered: LoweredPolicy, limits: list[LimitRecord], profiles: list[ProfileRecord]
) -> tuple[bytearray, int]:
    index = {limit: number for number, limit in enumerate(limits, start=1)}
    inside = {profile: number for number, profile in enumerate(profiles, start=1)}
    capacity = conduit_capacity(lowered)
    table = bytearray(capacity * abi.CONDUIT.size)
    for conduit in lowered.conduits:
        limit = index[conduit.limit] if conduit.limit is not None else 0
        profile = inside[conduit.profile] if conduit.profile is not None else 0
        abi.CONDUIT.pack_into(table, conduit.slot * abi.CONDUIT.size, conduit.fail, conduit.log, profile, limit, 0)
    return table, capacity


def _zones(lowered: LoweredPolicy) -> tuple[bytes, int]:
    rows = [abi.ZONE.pack(0, 0, 0), *(abi.ZONE.pack(zone.space, 0, 0) for zone in lowered.zones)]
    return b"".join(rows), len(rows)


def _port_zones(lowered: LoweredPolicy) -> tuple[bytes, int]:
    table = array("H", bytes(2 * abi.VLAN_COUNT * (len(lowered.ports) + 1)))
    for owned in lowered.port_zones:
        table[owned.vlan * (len(lowered.ports) + 1) + owned.port] = owned.zone
    return _little_endian(table), len(table)


def _prefix_lengths(lowered: LoweredPolicy) -> tuple[bytes, int]:
    lengths = {record.prefix_length for record in lowered.endpoints if record.prefix_length < abi.HOST_PREFIX_LENGTH}
    return bytes(sorted(lengths, reverse=True)), len(lengths)


def _numbers(lowered: LoweredPolicy, kind: ServiceKind, count: int) -> bytes:
    table = array("H", bytes(2 * count))
    for service in lowered.services:
        if service.kind is kind:
            span = service.last - service.first + 1
            table[service.first : service.last + 1] = array("H", [service.klass]) * span
    return _little_endian(table)


def _little_endian(table: array[int]) -> bytes:
    if abi.SECTION.pack(1, 0, 0)[0] != 1:  # pragma: no cover
        table.byteswap()
    return table.tobytes()


__all__ = ["ImageMemory", "build_image", "build_state", "conduit_capacity"]
