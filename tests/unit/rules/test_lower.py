"""Lowering: selectors, prefix nesting, precedence, services, slots and stages, each against the meaning page."""

from __future__ import annotations

from typing import Any

import pytest

from fastpath.abi import FIRST_SERVICE_CLASS, MAX_CONDUITS, SERVICE_NEIGHBOUR, Stage
from rules.lower import lower
from rules.problems import PolicyError
from rules.records import ServiceKind
from tests.unit.rules.building import by_classes, longest_match, lowered_of, packed, permitted, policy_of


def conduit(source: dict[str, Any], target: dict[str, Any], *services: str, **more: Any) -> dict[str, Any]:
    """Return a conduit as the text would have it."""
    return {"from": source, "to": target, "services": list(services or ("modbus",)), **more}


def test_numbers_follow_the_text() -> None:
    """Zones and ports count from 1, assets from 0, in the order of the text."""
    lowered = lowered_of()
    assert [(zone.number, zone.name, zone.space) for zone in lowered.zones] == [
        (1, "supervisory", 0),
        (2, "control", 0),
    ]
    assert [(port.number, port.name) for port in lowered.ports] == [(1, "sup0"), (2, "ctl0")]
    assert [(owned.port, owned.vlan, owned.zone) for owned in lowered.port_zones] == [(1, 0, 1), (2, 0, 2)]
    assert [(asset.number, asset.name, asset.zone) for asset in lowered.assets] == [(0, "hmi", 1), (1, "plc", 2)]


def test_trunks_own_each_port_with_each_vlan() -> None:
    """A zone with VLANs owns no untagged side; two zones may share the trunk."""
    zones = {
        "a": {"kind": "dmz", "ports": ["t0", "t1"], "vlans": [10, 11]},
        "b": {"kind": "dmz", "ports": ["t0"], "vlans": [12]},
    }
    lowered = lowered_of(zones=zones, assets={}, conduits={})
    owned = [(p.port, p.vlan, p.zone) for p in lowered.port_zones]
    assert owned == [(1, 10, 1), (1, 11, 1), (2, 10, 1), (2, 11, 1), (1, 12, 2)]


def test_asset_and_zone_selectors() -> None:
    """`asset` names one asset; `zone` names its assets and its unlisted addresses, IPv6 included."""
    conduits = {
        "one": conduit({"asset": "hmi"}, {"asset": "plc"}),
        "all": conduit({"zone": "supervisory"}, {"zone": "control"}, "ssh"),
    }
    lowered = lowered_of(conduits=conduits)
    assert permitted(lowered, "10.1.0.1", "10.2.0.1", "modbus") == ["one"]
    assert permitted(lowered, "10.1.0.1", "fd00:2::1", "modbus") == ["one"]
    assert permitted(lowered, "10.1.0.2", "10.2.0.1", "modbus") == []
    assert permitted(lowered, "10.1.0.2", "10.2.3.4", "ssh") == ["all"]
    assert permitted(lowered, "fd00:1::9", "fd00:2::9", "ssh") == ["all"]
    assert permitted(lowered, "10.2.0.1", "10.1.0.1", "ssh") == []


def test_keys_of_a_selector_all_apply() -> None:
    """Role and zone together mean both; a list means any of it."""
    assets = {"plc-2": {"zone": "supervisory", "ips": ["10.1.0.2"], "roles": ["plc"]}}
    conduits = {"c": conduit({"asset": "hmi"}, {"zone": "control", "role": ["plc", "hmi"]})}
    lowered = lowered_of(assets={"+": True, **assets}, conduits=conduits)
    assert permitted(lowered, "10.1.0.1", "10.2.0.1", "modbus") == ["c"]
    assert permitted(lowered, "10.1.0.1", "10.1.0.2", "modbus") == []


def test_nested_prefixes_carry_the_memberships_around_them() -> None:
    """An address in the longest prefix has every conduit of the shorter ones and of the zone; the asset in it too."""
    conduits = {
        "wide": conduit({"asset": "hmi"}, {"zone": "control"}),
        "middle": conduit({"asset": "hmi"}, {"prefix": "10.2.8.0/21"}),
        "narrow": conduit({"asset": "hmi"}, {"prefix": "10.2.8.0/24"}),
        "elsewhere": conduit({"asset": "hmi"}, {"prefix": "10.2.16.0/24"}),
    }
    assets = {"deep": {"zone": "control", "ips": ["10.2.8.8"]}}
    lowered = lowered_of(assets={"+": True, **assets}, conduits=conduits)
    assert permitted(lowered, "10.1.0.1", "10.2.8.9", "modbus") == ["narrow", "middle", "wide"]
    assert permitted(lowered, "10.1.0.1", "10.2.8.8", "modbus") == ["narrow", "middle", "wide"]
    assert permitted(lowered, "10.1.0.1", "10.2.9.1", "modbus") == ["middle", "wide"]
    assert permitted(lowered, "10.1.0.1", "10.2.200.1", "modbus") == ["wide"]
    record = longest_match(lowered, "10.2.8.9")
    assert record is not None
    assert (record.prefix_length, record.zone, record.asset, record.mac_asset) == (96 + 24, 2, None, None)


def test_a_zone_nested_in_another_keeps_its_own_conduits() -> None:
    """The inner zone's addresses are not the outer zone's, but a prefix around both names both."""
    zones = {"inner": {"kind": "control", "ports": ["in0"], "prefixes": ["10.2.9.0/24"]}}
    conduits = {
        "outer": conduit({"asset": "hmi"}, {"zone": "control"}),
        "around": conduit({"asset": "hmi"}, {"prefix": "10.2.8.0/21"}, "ssh"),
        "around-outer": conduit({"asset": "hmi"}, {"prefix": "10.2.8.0/21", "zone": "control"}, "https"),
    }
    lowered = lowered_of(zones={"+": True, **zones}, conduits=conduits)
    assert permitted(lowered, "10.1.0.1", "10.2.9.1", "modbus") == []
    assert permitted(lowered, "10.1.0.1", "10.2.9.1", "ssh") == ["around"]
    assert permitted(lowered, "10.1.0.1", "10.2.9.1", "https") == []
    assert permitted(lowered, "10.1.0.1", "10.2.10.1", "https") == ["around-outer"]


def test_zone_prefixes_without_conduits_are_endpoints_of_class_zero() -> None:
    """An address of a zone that nothing names is known, in its zone, and permitted nothing."""
    lowered = lowered_of(conduits={})
    record = longest_match(lowered, "10.2.77.1")
    assert record is not None
    assert (record.klass, record.zone) == (0, 2)
    assert lowered.rules == ()
    assert {endpoint.klass for endpoint in lowered.endpoints} == {0}


def test_precedence_source_then_destination_then_service_then_text() -> None:
    """Asset before role before prefix before zone; then the destination; then fewer numbers; then the text."""
    services = {
        "wide": {"protocol": "tcp", "ports": ["500-600"]},
        "narrow": {"protocol": "tcp", "ports": ["502-503"]},
    }
    one = {"asset": "plc"}
    conduits = {
        "by-zone": conduit({"zone": "supervisory"}, one),
        "by-prefix": conduit({"prefix": "10.1.0.0/24"}, one),
        "by-long-prefix": conduit({"prefix": "10.1.0.0/30"}, one),
        "by-role": conduit({"role": "hmi"}, one),
        "by-asset-to-zone": conduit({"asset": "hmi"}, {"zone": "control"}),
        "by-asset-to-role": conduit({"asset": "hmi"}, {"role": "plc"}),
        "by-asset-wide": conduit({"asset": "hmi"}, one, "wide"),
        "by-asset-narrow": conduit({"asset": "hmi"}, one, "narrow"),
        "by-asset-second": conduit({"asset": "hmi"}, one, "wide", "modbus"),
        "by-asset-first": conduit({"asset": "hmi"}, one, "modbus"),
    }
    lowered = lowered_of(conduits=conduits, services=services)
    assert permitted(lowered, "10.1.0.1", "10.2.0.1", "modbus") == [
        "by-asset-second",
        "by-asset-first",
        "by-asset-narrow",
        "by-asset-wide",
        "by-asset-to-role",
        "by-asset-to-zone",
        "by-role",
        "by-long-prefix",
        "by-prefix",
        "by-zone",
    ]


def test_groups_are_anywhere_in_every_space() -> None:
    """A group is an endpoint behind every port, one record per address space; group MACs likewise."""
    zones = {"other": {"kind": "dmz", "ports": ["o0"], "address_space": "two"}}
    to = {"group": ["239.1.1.1", "01:0c:cd:01:00:01"]}
    conduits = {"c": conduit({"asset": "hmi"}, to, "modbus", "goose")}
    lowered = lowered_of(zones={"+": True, **zones}, conduits=conduits)
    records = [record for record in lowered.endpoints if record.anywhere]
    assert [(r.address, r.space, r.zone, r.asset) for r in records] == [
        (packed("239.1.1.1"), 0, 0, None),
        (packed("239.1.1.1"), 1, 0, None),
    ]
    macs = [record for record in lowered.macs if record.anywhere]
    assert [(record.mac.hex(), record.space, record.zone) for record in macs] == [
        ("010ccd010001", 0, 0),
        ("010ccd010001", 1, 0),
    ]
    assert permitted(lowered, "10.1.0.1", "239.1.1.1", "modbus") == ["c"]


def test_frames_without_ip_go_by_mac_and_never_by_prefix() -> None:
    """An EtherType service joins MACs under zone, role and asset; a prefix names none."""
    conduits = {
        "frames": conduit({"zone": "supervisory"}, {"role": "plc"}, "goose"),
        "by-prefix": conduit({"prefix": "10.1.0.0/24"}, {"role": "plc"}, "profinet"),
    }
    lowered = lowered_of(conduits=conduits)
    hmi, plc = (record.klass for record in lowered.macs)
    names = {name: number for number, name in lowered.service_names.items()}
    assert by_classes(lowered, hmi, plc, names["goose"]) == ["frames"]
    assert by_classes(lowered, hmi, plc, names["profinet"]) == []
    assert by_classes(lowered, hmi, plc, SERVICE_NEIGHBOUR) == []


def test_every_mac_has_a_record() -> None:
    """The identity check needs the MACs of assets that no conduit names, too."""
    lowered = lowered_of(conduits={})
    assert [(record.mac.hex(), record.zone, record.asset, record.klass) for record in lowered.macs] == [
        ("020000000101", 1, 0, 0),
        ("020000000201", 2, 1, 0),
    ]


def test_neighbours_follow_ip_conduits_in_both_directions() -> None:
    """Endpoints that an IP conduit joins, even a closed one, may resolve each other; others may not."""
    lowered = lowered_of(conduits={"c": conduit({"asset": "hmi"}, {"asset": "plc"}, enabled=False)})
    assert permitted(lowered, "10.1.0.1", "10.2.0.1", "neighbour") == ["c"]
    assert permitted(lowered, "10.2.0.1", "10.1.0.1", "neighbour") == ["c"]
    assert permitted(lowered, "10.1.0.2", "10.2.0.1", "neighbour") == []
    assert [record.open for record in lowered.conduits] == [False]


@pytest.mark.parametrize(
    ("assets", "carrier"),
    [
        ({"a": {"zone": "control", "ips": ["10.2.0.9"]}}, None),
        ({"a": {"zone": "control", "ips": ["10.2.0.9"], "behind": "plc"}}, "plc"),
        ({"r": {"zone": "control"}, "a": {"zone": "control", "ips": ["10.2.0.9"], "behind": "r"}}, None),
        (
            {
                "a": {"zone": "control", "ips": ["10.2.0.9"], "behind": "r", "macs": ["02:00:00:00:0a:01"]},
                "r": {"zone": "control", "behind": "plc", "macs": ["02:00:00:00:0b:01"]},
            },
            "plc",
        ),
    ],
)
def test_whose_mac_a_frame_must_carry(assets: dict[str, Any], carrier: str | None) -> None:
    """Behind routers it is the outermost router's; without one and without MACs nobody's."""
    lowered = lowered_of(assets={"+": True, **assets})
    record = longest_match(lowered, "10.2.0.9")
    assert record is not None
    expected = None if carrier is None else next(a.number for a in lowered.assets if a.name == carrier)
    assert record.mac_asset == expected


def test_overlapping_services_are_cut_into_disjoint_classes() -> None:
    """Numbers that the same conduits' services contain share a class; ranges are sorted and disjoint."""
    services = {
        "low": {"protocol": "tcp", "ports": ["10-20"]},
        "high": {"protocol": "tcp", "ports": ["15-30", 40]},
        "both": {"any_of": [{"protocol": "tcp", "ports": [53]}, {"protocol": "udp", "ports": [53]}]},
    }
    lowered = lowered_of(services=services, conduits={"c": conduit({"asset": "hmi"}, {"asset": "plc"}, *services)})
    tcp = [(r.first, r.last, r.klass) for r in lowered.services if r.kind is ServiceKind.TCP]
    assert [span[:2] for span in tcp] == [(10, 14), (15, 20), (21, 30), (40, 40), (53, 53)]
    assert tcp[2][2] == tcp[3][2]
    assert len({klass for _, _, klass in tcp}) == 4
    assert min(klass for _, _, klass in tcp) >= FIRST_SERVICE_CLASS
    udp = [(r.first, r.last, r.klass) for r in lowered.services if r.kind is ServiceKind.UDP]
    assert udp == [(53, 53, tcp[4][2])]


def test_own_services_replace_the_library() -> None:
    """A policy's modbus is its own modbus."""
    lowered = lowered_of(services={"modbus": {"protocol": "tcp", "ports": [1502]}})
    assert [(r.first, r.last) for r in lowered.services] == [(1502, 1502)]


def test_later_denials_win() -> None:
    """Ordered pairs take the last entry that names them; pairs with zone 0 keep the site's default."""
    denials = [
        {"from": "*", "to": "*", "stage": "enforce"},
        {"from": ["supervisory"], "to": "control", "stage": "alert"},
    ]
    stages = lowered_of(denials=denials).pair_stages
    assert stages[1, 2] is Stage.ALERT
    assert stages[2, 1] is Stage.ENFORCE
    assert stages[1, 1] is Stage.ENFORCE
    assert {stages[0, zone] for zone in range(3)} | {stages[zone, 0] for zone in range(3)} == {Stage.MONITOR}
    assert len(stages) == 9


def test_slots_stay_and_new_ones_go_above() -> None:
    """A conduit keeps its slot through changes; a new one never takes that of a removed one."""
    conduits = {name: conduit({"asset": "hmi"}, {"asset": "plc"}) for name in ("new", "kept", "newer")}
    lowered = lower(policy_of(conduits=conduits), {"kept": 4, "gone": 9})
    assert [(record.slot, record.name) for record in lowered.conduits] == [(4, "kept"), (10, "new"), (11, "newer")]
    full = lower(policy_of(conduits=conduits), {"gone": MAX_CONDUITS - 1})
    assert sorted(record.slot for record in full.conduits) == [0, 1, 2]


def test_equal_addresses_in_two_spaces_are_different_endpoints() -> None:
    """The space is part of the address."""
    zones = {"twin": {"kind": "control", "ports": ["t0"], "address_space": "two", "prefixes": ["10.2.0.0/16"]}}
    assets = {"plc-b": {"zone": "twin", "ips": ["10.2.0.1"], "macs": ["02:00:00:00:02:01"]}}
    lowered = lowered_of(zones={"+": True, **zones}, assets={"+": True, **assets})
    here, there = longest_match(lowered, "10.2.0.1", 0), longest_match(lowered, "10.2.0.1", 1)
    assert here is not None
    assert there is not None
    assert (here.asset, there.asset) == (1, 2)
    assert here.klass != there.klass == 0


def test_a_policy_too_big_to_compile_is_refused() -> None:
    """Two million combinations of classes are the limit: refused before they are built, with a place and a hint."""
    assets = {
        f"a{number}": {"zone": "control", "ips": [f"10.2.{number // 250}.{number % 250}"]} for number in range(900)
    }
    conduits = {name: conduit({"zone": "supervisory"}, {"asset": name}) for name in assets}
    conduits["all"] = conduit({"zone": "control"}, {"zone": "control"}, "ssh")
    with pytest.raises(PolicyError, match="POL113"):
        lowered_of(assets=assets, conduits=conduits)
