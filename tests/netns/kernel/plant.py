"""A hand-written lowered policy: three zones, one of everything that the kernel's fallback distinguishes.

In: interface names of the gateway's ports. Out: a LoweredPolicy that no compiler of ours has touched, so that tests of
the fallback fail only for the fallback's reasons. Used by tests/netns/kernel and tests/unit/static.
"""

from __future__ import annotations

from ipaddress import ip_address
from itertools import product

from fastpath.abi import SERVICE_NEIGHBOUR, FailMode, LogMode, Stage
from rules.records import (
    AssetRecord,
    ConduitRecord,
    EndpointRecord,
    LoweredPolicy,
    MacRecord,
    PortRecord,
    PortZone,
    RuleRecord,
    ServiceKind,
    ServiceRange,
    ZoneRecord,
)

ENTERPRISE, SUPERVISORY, CONTROL = 1, 2, 3
HMI_MAC, PLC_MAC, PLC2_MAC = b"\x02\x00\x00\x00\x02\x0a", b"\x02\x00\x00\x00\x03\x0a", b"\x02\x00\x00\x00\x03\x0b"
GROUP_MAC = b"\x01\x0c\xcd\x01\x00\x01"
HMI, PLC, PLC2, LAPTOP, OTHER = "10.0.0.20", "10.0.0.30", "10.0.0.31", "10.0.1.50", "10.0.1.51"
HMI6, PLC6, LAPTOP6 = "fd00::20", "fd00::30", "fd00:1::50"
GROUP = "239.1.1.1"
CLASS_HMI, CLASS_PLC, CLASS_LAPTOP, CLASS_GROUP, CLASS_GOOSE = 1, 2, 3, 4, 5
MODBUS, DNP_UDP, ECHO, GRE, GOOSE, HIGH_PORTS, CLOSED_PORT, OPEN_PORT = range(2, 10)
POLL, SYNC, PING, TUNNEL, EVENTS, HIGH, SHUT, WIDE = range(8)


def address_bytes(text: str) -> bytes:
    """Return an address as the 16 bytes that the records hold."""
    address = ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def endpoint(text: str, zone: int, klass: int, asset: int | None = None, *, checked: bool = False) -> EndpointRecord:
    """Return the record of an address (`a`) or prefix (`a/n`)."""
    address, _, length = text.partition("/")
    bits = 128 if not length else int(length) + (96 if "." in address else 0)
    return EndpointRecord(address_bytes(address), bits, 0, zone, asset, asset if checked else None, klass)


def plant(ports: tuple[str, str, str], *, vlan: int = 0) -> LoweredPolicy:
    """Return the policy; ports are those of enterprise, supervisory and control, in this order.

    With `vlan`, supervisory and control also own their ports' frames with that tag.
    """
    rules: list[RuleRecord] = []

    def permit(source: int, destination: int, service: int, *conduits: int) -> None:
        rules.append(RuleRecord(source, destination, service, conduits))

    permit(CLASS_HMI, CLASS_PLC, MODBUS, POLL)
    permit(CLASS_HMI, CLASS_PLC, DNP_UDP, SYNC)
    permit(CLASS_HMI, CLASS_PLC, ECHO, PING)
    permit(CLASS_HMI, CLASS_PLC, GRE, TUNNEL)
    permit(CLASS_HMI, CLASS_PLC, HIGH_PORTS, HIGH)
    permit(CLASS_HMI, CLASS_PLC, CLOSED_PORT, SHUT)
    permit(CLASS_HMI, CLASS_GROUP, DNP_UDP, SYNC)
    permit(CLASS_LAPTOP, CLASS_HMI, OPEN_PORT, WIDE)
    permit(CLASS_GOOSE, CLASS_GROUP, GOOSE, EVENTS)
    for a, b in ((CLASS_HMI, CLASS_PLC), (CLASS_LAPTOP, CLASS_HMI)):
        permit(a, b, SERVICE_NEIGHBOUR, POLL)
        permit(b, a, SERVICE_NEIGHBOUR, POLL)
    fail = {SHUT: FailMode.CLOSED, WIDE: FailMode.OPEN}
    group = EndpointRecord(address_bytes(GROUP), 128, 0, 0, None, None, CLASS_GROUP, anywhere=True)
    zones = ((ENTERPRISE, "enterprise"), (SUPERVISORY, "supervisory"), (CONTROL, "control"))
    port_zones = [PortZone(number, 0, number) for number in (1, 2, 3)]
    if vlan:
        port_zones += [PortZone(2, vlan, SUPERVISORY), PortZone(3, vlan, CONTROL)]
    return LoweredPolicy(
        site="test plant",
        digest=bytes(32),
        ceiling=Stage.ENFORCE,
        zones=tuple(ZoneRecord(number, name, name, 0) for number, name in zones),
        ports=tuple(PortRecord(number, name) for number, name in enumerate(ports, start=1)),
        port_zones=tuple(port_zones),
        assets=(AssetRecord(0, "hmi", SUPERVISORY), AssetRecord(1, "plc", CONTROL), AssetRecord(2, "plc2", CONTROL)),
        endpoints=(
            endpoint(HMI, SUPERVISORY, CLASS_HMI, 0, checked=True),
            endpoint(HMI6, SUPERVISORY, CLASS_HMI, 0, checked=True),
            endpoint(PLC, CONTROL, CLASS_PLC, 1, checked=True),
            endpoint(PLC6, CONTROL, CLASS_PLC, 1, checked=True),
            endpoint(PLC2, CONTROL, CLASS_PLC, 2),
            endpoint("10.0.1.0/24", ENTERPRISE, CLASS_LAPTOP),
            endpoint("fd00:1::/64", ENTERPRISE, CLASS_LAPTOP),
            endpoint("10.0.0.0/24", SUPERVISORY, CLASS_HMI),
            group,
        ),
        macs=(
            MacRecord(HMI_MAC, 0, SUPERVISORY, 0, CLASS_GOOSE),
            MacRecord(PLC_MAC, 0, CONTROL, 1, 0),
            MacRecord(GROUP_MAC, 0, 0, None, CLASS_GROUP, anywhere=True),
        ),
        services=(
            ServiceRange(ServiceKind.TCP, 502, 502, MODBUS),
            ServiceRange(ServiceKind.TCP, 503, 503, CLOSED_PORT),
            ServiceRange(ServiceKind.TCP, 504, 504, OPEN_PORT),
            ServiceRange(ServiceKind.TCP, 40000, 40010, HIGH_PORTS),
            ServiceRange(ServiceKind.UDP, 20000, 20000, DNP_UDP),
            ServiceRange(ServiceKind.IP, 47, 47, GRE),
            ServiceRange(ServiceKind.ICMP4, 8, 8, ECHO),
            ServiceRange(ServiceKind.ICMP6, 128, 128, ECHO),
            ServiceRange(ServiceKind.ETHERTYPE, 0x88B8, 0x88B8, GOOSE),
        ),
        rules=tuple(rules),
        conduits=tuple(
            ConduitRecord(slot, name, Stage.ENFORCE, True, fail.get(slot, FailMode.STATIC), LogMode.FLOW)
            for slot, name in enumerate(("poll", "sync", "ping", "tunnel", "events", "high", "shut", "wide"))
        ),
        pair_stages=dict.fromkeys(product(range(4), range(4)), Stage.ENFORCE),
    )
