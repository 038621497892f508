"""Whole-policy checks: each refusal and each warning, by code, and none on a sound policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rules.check import check
from rules.compile import compile_file, compile_text
from rules.problems import PolicyError, Severity
from tests.unit.rules.building import policy_of

OWNED = {"owner": "operations", "reason": "test"}
SSH = {"services": ["ssh"], **OWNED}


def codes(severity: Severity, **sections: Any) -> list[str]:
    """Return the codes of one severity that a variation of the base policy gives."""
    return [problem.code for problem in check(policy_of(**sections)) if problem.severity is severity]


def errors(**sections: Any) -> list[str]:
    """Return the codes of the errors."""
    return codes(Severity.ERROR, **sections)


def warnings(**sections: Any) -> list[str]:
    """Return the codes of the warnings."""
    return codes(Severity.WARNING, **sections)


def test_the_base_policy_is_sound_but_unowned() -> None:
    """Only owner and reason are missing."""
    assert errors() == []
    assert sorted(warnings()) == ["POL204", "POL205"]


@pytest.mark.parametrize(
    ("assets", "code"),
    [
        ({"b": {"zone": "control", "ips": ["10.2.0.1"]}}, "POL101"),
        ({"b": {"zone": "control", "ips": ["10.2.9.9", "10.2.9.9"]}}, "POL101"),
        ({"b": {"zone": "control", "macs": ["02:00:00:00:01:01"]}}, "POL102"),
        ({"b": {"zone": "control", "ips": ["10.1.0.9"]}}, "POL103"),
        ({"b": {"zone": "control", "behind": "b"}}, "POL106"),
        ({"b": {"zone": "control", "behind": "c"}, "c": {"zone": "control", "behind": "b"}}, "POL106"),
    ],
)
def test_assets_in_conflict(assets: dict[str, Any], code: str) -> None:
    """Overlapping assets, an address in two zones and routers in a circle are errors."""
    assert errors(assets={"+": True, **assets}) == [code]


@pytest.mark.parametrize(
    ("zone", "code"),
    [
        ({"kind": "dmz", "ports": ["ctl0"]}, "POL105"),
        ({"kind": "dmz", "ports": ["p0", "p0"]}, "POL105"),
        ({"kind": "dmz", "ports": ["p0"], "vlans": [7, 7]}, "POL105"),
        ({"kind": "dmz", "prefixes": ["10.2.0.0/16"]}, "POL104"),
    ],
)
def test_zones_in_conflict(zone: dict[str, Any], code: str) -> None:
    """A (port, VLAN) and a prefix have one zone."""
    assert errors(zones={"+": True, "z": zone}) == [code]


def test_vlans_share_a_port() -> None:
    """Different VLANs of a trunk, and its untagged side, may be different zones; spaces may repeat addresses."""
    zones = {
        "t": {"kind": "dmz", "ports": ["ctl0"], "vlans": [5]},
        "u": {"kind": "dmz", "ports": ["ctl0"], "vlans": [6], "address_space": "two", "prefixes": ["10.2.0.0/16"]},
    }
    assets = {"twin": {"zone": "u", "ips": ["10.2.0.1"], "macs": ["02:00:00:00:02:01"]}}
    assert errors(zones={"+": True, **zones}, assets={"+": True, **assets}) == []


def test_a_router_in_another_space_is_refused() -> None:
    """Its MACs could not be looked up there."""
    zones = {"far": {"kind": "dmz", "ports": ["p9"], "address_space": "two"}}
    assets = {"r": {"zone": "far", "macs": ["02:00:00:00:09:01"]}, "b": {"zone": "control", "behind": "r"}}
    assert errors(zones={"+": True, **zones}, assets={"+": True, **assets}) == ["POL107"]


@pytest.mark.parametrize(
    ("selector", "code"),
    [
        ({"prefix": "192.0.2.0/24"}, "POL109"),
        ({"prefix": "10.1.0.0/24", "zone": "control"}, "POL109"),
        ({"prefix": "10.0.0.0/8"}, "POL109"),
        ({"prefix": "192.0.2.0/24", "zone": ["control", "supervisory"]}, "POL109"),
        ({"group": ["10.2.0.1"]}, "POL111"),
    ],
)
def test_selectors_outside_their_zone(selector: dict[str, Any], code: str) -> None:
    """A prefix needs exactly one zone, a group must be one."""
    assert errors(conduits={"c": {"from": {"asset": "hmi"}, "to": selector, **SSH}}) == [code]


def test_a_prefix_beside_a_zone_extends_it() -> None:
    """Outside every zone's prefixes, the zone beside it owns the prefix; two zones for one prefix are refused."""
    outside = {"from": {"asset": "hmi"}, "to": {"prefix": "192.0.2.0/24", "zone": "control"}, **SSH}
    assert errors(conduits={"c": outside}) == []
    other = {"from": {"asset": "plc"}, "to": {"prefix": "192.0.2.0/24", "zone": "supervisory"}, **SSH}
    assert errors(conduits={"c": outside, "d": other}) == ["POL108"]


def test_groups() -> None:
    """Multicast, limited and subnet-directed broadcast are groups, unless an asset has the address."""
    to = {"group": ["239.1.1.1", "ff02::1234", "255.255.255.255", "10.2.255.255", "01:0c:cd:01:00:01"]}
    conduits = {"c": {"from": {"asset": "hmi"}, "to": to, **SSH}}
    assert errors(conduits=conduits) == []
    assets = {"b": {"zone": "control", "ips": ["10.2.255.255"]}}
    assert errors(conduits=conduits, assets={"+": True, **assets}) == ["POL112"]


def test_any_to_any_is_refused() -> None:
    """Everyone to everyone is no conduit."""
    both = {"zone": ["supervisory", "control"]}
    assert errors(conduits={"c": {"from": both, "to": both, **SSH}}) == ["POL110"]


@pytest.mark.parametrize(
    ("conduit", "code"),
    [
        ({"from": {"role": "hmi", "zone": "control"}, "to": {"asset": "plc"}}, "POL201"),
        ({"from": {"asset": "hmi", "prefix": "10.1.9.0/24"}, "to": {"asset": "plc"}}, "POL201"),
        ({"from": {"zone": "supervisory"}, "to": {"zone": ["supervisory", "control"]}}, "POL206"),
    ],
)
def test_doubtful_conduits(conduit: dict[str, Any], code: str) -> None:
    """Conduits that match nothing or judge nothing are pointed out."""
    assert warnings(conduits={"c": {**conduit, **SSH}}) == [code]


def test_doubtful_paths_into_cells() -> None:
    """Enterprise straight to control, and writing to safety otherwise than by name, are refused; ping is no write."""
    zones = {"office": {"kind": "enterprise", "ports": ["e0"], "prefixes": ["10.8.0.0/16"]}}
    zones["safety"] = {"kind": "safety", "ports": ["s0"], "prefixes": ["10.9.0.0/16"]}
    straight = {"from": {"zone": "office"}, "to": {"asset": "plc"}, **SSH}
    write = {"from": {"asset": "hmi"}, "to": {"zone": "safety"}, **SSH}
    named = write | {"to": {"asset": "sis"}}
    ping = write | {"services": ["echo"]}
    assets = {"+": True, "sis": {"zone": "safety", "ips": ["10.9.0.1"]}}
    conduits = {"a": straight, "b": write, "c": named, "d": ping}
    found = check(policy_of(zones={"+": True, **zones}, assets=assets, conduits=conduits))
    assert sorted((problem.at, problem.code, problem.severity) for problem in found) == [
        ("conduits/a", "POL202", Severity.ERROR),
        ("conduits/b", "POL115", Severity.ERROR),
        ("conduits/c", "POL203", Severity.WARNING),
    ]


def test_doubtful_assets_and_services() -> None:
    """Unused services, addresses outside the zone's prefixes, distant routers and empty assets are pointed out."""
    assets = {
        "far": {"zone": "control", "ips": ["192.0.2.1", "fe80::1"]},
        "routed": {"zone": "control", "ips": ["10.2.0.7"], "behind": "hmi"},
        "empty": {"zone": "control"},
    }
    services = {"mine": {"protocol": "tcp", "ports": [1]}}
    conduits = {"c": {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, **SSH}}
    found = warnings(assets={"+": True, **assets}, services=services, conduits=conduits)
    assert sorted(found) == ["POL207", "POL208", "POL209", "POL210"]


def test_limits() -> None:
    """More ports than the image numbers are refused."""
    zones = {"z": {"kind": "dmz", "ports": [f"p{number}" for number in range(256)]}}
    assert errors(zones={"+": True, **zones}) == ["POL113"]


def test_compile_refuses_errors_and_returns_warnings() -> None:
    """Errors of the whole-policy checks raise, with file and line; warnings come along."""
    text = (
        "version: 1\nsite: {name: x}\nzones:\n  a: {kind: control, ports: [p0]}\n  b: {kind: control, ports: [p0]}\n"
        "services:\n  mine: {protocol: tcp, ports: [1]}\n"
    )
    with pytest.raises(PolicyError, match=r"mine\.yaml:5:30: error POL105"):
        compile_text(text, "mine.yaml")
    compiled = compile_text(text.replace("b: {kind: control, ports: [p0]}", "b: {kind: control, ports: [p1]}"))
    assert [(problem.line, problem.code) for problem in compiled.warnings] == [(7, "POL207")]


def test_the_example_compiles() -> None:
    """The lab's policy has neither errors nor warnings: its conduits say what may be done inside."""
    compiled = compile_file(Path("rules/examples/water-works.yaml"))
    assert [str(problem) for problem in compiled.warnings] == []
