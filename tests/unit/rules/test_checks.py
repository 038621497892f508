"""Where checks stop: what is just not doubtful any more, case by case; how findings are waived and counted."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from rules.check import SHOWN, Examination
from rules.compile import compile_policy, compile_text
from rules.lower import lower
from rules.problems import PolicyError, Problem, Severity
from tests.unit.rules.building import BASE, policy_of

TODAY = date(2027, 1, 15)
OWNED = {"owner": "operations", "reason": "test"}
ZONES: dict[str, Any] = {
    "office": {"kind": "enterprise", "ports": ["e0"], "prefixes": ["10.8.0.0/16"]},
    "dmz": {"kind": "dmz", "ports": ["d0"], "prefixes": ["10.7.0.0/16"]},
    "vendor": {"kind": "vendor", "ports": ["v0"], "prefixes": ["10.6.0.0/16"]},
    "radio": {"kind": "wireless", "ports": ["r0"], "prefixes": ["10.5.0.0/16"]},
    "safety": {"kind": "safety", "ports": ["s0"], "prefixes": ["10.9.0.0/16"]},
}
ASSETS: dict[str, Any] = {
    "jump": {"zone": "dmz", "ips": ["10.7.0.9"]},
    "sis": {"zone": "safety", "ips": ["10.9.0.1"]},
}


def conduit(source: dict[str, Any], target: dict[str, Any], *services: str, **more: Any) -> dict[str, Any]:
    """Return a conduit that somebody answers for."""
    return {"from": source, "to": target, "services": list(services or ("modbus",)), **OWNED, **more}


def examined(conduits: dict[str, Any], today: date | None = TODAY, **sections: Any) -> list[Problem]:
    """Return all findings about the base policy with more zones and these conduits, unreached assets left out."""
    zones, assets = {"+": True, **ZONES}, {"+": True, **ASSETS}
    zones |= sections.pop("zones", {})
    assets |= sections.pop("assets", {})
    policy = policy_of(zones=zones, assets=assets, conduits=conduits, **sections)
    examination = Examination(policy, today)
    found = examination.before_lowering()
    if not any(problem.severity is Severity.ERROR for problem in found):
        found += examination.after_lowering(lower(policy))
    return [problem for problem in found if problem.code != "POL226"]


def codes(conduits: dict[str, Any], **sections: Any) -> list[str]:
    """Return the codes of what is found."""
    return sorted(problem.code for problem in examined(conduits, **sections))


PLC, HMI, JUMP, SIS = {"asset": "plc"}, {"asset": "hmi"}, {"asset": "jump"}, {"asset": "sis"}
ENTER = conduit({"zone": "vendor"}, JUMP, "rdp", requires="session")


@pytest.mark.parametrize(
    ("conduits", "expected"),
    [
        ({"c": conduit({"zone": "office"}, {"zone": "dmz"}, "https")}, []),
        ({"c": conduit({"zone": "office"}, PLC, "https")}, ["POL202"]),
        ({"c": conduit({"zone": "office"}, SIS, "echo")}, ["POL202"]),
        ({"c": conduit({"zone": "office"}, {"zone": "dmz"}), "d": conduit({"zone": "dmz"}, PLC)}, []),
        ({"c": conduit({"zone": "office"}, HMI, "https"), "d": conduit(HMI, PLC)}, ["POL211"]),
        ({"c": conduit({"zone": "office"}, HMI, "https"), "d": conduit({"zone": "dmz"}, PLC)}, []),
        ({"c": conduit({"zone": "vendor"}, PLC, "s7", requires="session")}, ["POL114", "POL248"]),
        ({"a": ENTER, "c": conduit({"zone": "vendor"}, PLC, "s7", requires="session", via="jump")}, ["POL248"] * 2),
        ({"c": conduit({"zone": "vendor"}, PLC, "s7", via="jump")}, ["POL231", "POL249"]),
        ({"a": ENTER, "c": conduit({"zone": "office"}, PLC, "s7", via="jump")}, ["POL248", "POL249"]),
        ({"c": conduit({"zone": "radio"}, PLC)}, ["POL213", "POL231"]),
        ({"c": conduit({"zone": "radio"}, {"zone": "dmz"}, "https")}, ["POL231"]),
        ({"c": conduit(PLC, {"zone": "radio"})}, []),
    ],
)
def test_boundaries(conduits: dict[str, Any], expected: list[str]) -> None:
    """Who opens to whom, by way of what, decides."""
    assert codes(conduits) == expected


def test_two_steps_around_the_dmz() -> None:
    """Any number of steps counts, a DMZ anywhere among them ends it, and so does a step against the direction."""
    zones = {"eng": {"kind": "engineering", "ports": ["g0"], "prefixes": ["10.4.0.0/16"]}}
    steps = {
        "a": conduit({"zone": "office"}, {"zone": "eng"}, "ssh"),
        "b": conduit({"zone": "eng"}, {"zone": "supervisory"}, "ssh"),
        "c": conduit({"zone": "supervisory"}, PLC),
    }
    assert codes(steps, zones=zones) == ["POL211"]
    assert codes(steps | {"b": conduit({"zone": "eng"}, {"zone": "dmz"}, "ssh")}, zones=zones) == []
    assert codes(steps | {"b": conduit({"zone": "supervisory"}, {"zone": "eng"}, "ssh")}, zones=zones) == []


@pytest.mark.parametrize(
    ("source", "target", "services", "expected"),
    [
        (HMI, SIS, ("modbus",), ["POL203"]),
        (HMI, {"zone": "safety"}, ("modbus",), ["POL115"]),
        ({"role": "hmi"}, SIS, ("modbus",), ["POL115"]),
        ({"prefix": "10.1.0.0/24"}, SIS, ("modbus",), ["POL115"]),
        (HMI, {"zone": "safety"}, ("echo", "echo6"), []),
        (HMI, SIS, ("echo", "modbus"), ["POL203"]),
        (SIS, HMI, ("modbus",), []),
    ],
)
def test_safety(source: Any, target: Any, services: tuple[str, ...], expected: list[str]) -> None:
    """Writing into safety is refused unless both sides are named one by one; ping and the way out are no writes."""
    assert codes({"c": conduit(source, target, *services)}) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"review": "2027-01-15"}, []),
        ({"review": "2027-01-14"}, ["POL222"]),
        ({"expires": "2027-01-15"}, []),
        ({"expires": "2027-01-14"}, ["POL217"]),
        ({"enabled": False}, ["POL216"]),
        ({"fail": "open"}, ["POL235"]),
        ({"windows": "past"}, ["POL218"]),
        ({"windows": ["past", "weekly"]}, []),
        ({"windows": "lasting"}, []),
        ({"windows": "ended"}, ["POL218"]),
        ({"windows": "coming"}, []),
        ({"sl_t": 2}, ["POL219"]),
        ({"sl_t": {"iac": 3, "uc": 2, "si": 2, "dc": 2, "rdf": 2, "tre": 2, "ra": 2}}, []),
        ({}, ["POL234"]),
    ],
)
def test_days_openings_and_levels(more: dict[str, Any], expected: list[str]) -> None:
    """The last day still counts, a window that is to come opens, and levels are compared one by one."""
    zones = {
        "supervisory": BASE["zones"]["supervisory"] | {"sl_t": 2},
        "control": BASE["zones"]["control"]
        | {"sl_t": 4 if not more else [3, 2, 2, 2, 2, 2, 2] if "sl_t" in more else 2},
    }
    windows = {
        "past": {"once": [{"from": "2026-12-01", "to": "2026-12-02"}], "rules": [], "timezone": "UTC"},
        "weekly": {"weekly": [{"days": ["mon"], "from": "06:00", "to": "07:00"}]},
        "lasting": {"once": [{"from": "2027-01-01", "to": "2027-01-15"}]},
        "ended": {
            "rules": [{"start": "2026-01-01T06:00", "duration": "8h", "rrule": "FREQ=DAILY;UNTIL=20261231T060000"}]
        },
        "coming": {"rules": [{"start": "2026-06-01T06:00", "duration": "8h", "rrule": "FREQ=YEARLY"}]},
    }
    used = {"u": conduit({"zone": "dmz"}, {"zone": "office"}, "https", windows=list(windows))}
    assert codes({"c": conduit(HMI, PLC, **more), **used}, zones=zones, windows=windows) == expected


def test_a_window_that_is_not_understood_is_told_once() -> None:
    """Its own mistake is reported, and nothing is said about when it opens."""
    windows = {"w": {"timezone": "Europe/Nowhere", "once": [{"from": "2026-12-01", "to": "2026-12-02"}]}}
    assert codes({"c": conduit(HMI, PLC, windows="w")}, windows=windows) == ["POL070"]


def test_dates_need_a_day() -> None:
    """Without today's date nothing is overdue, an old waiver counts, and none is called idle for a dated code."""
    waivers = [
        {"code": "POL202", "at": "conduits/c", "who": "J. Doe", "why": "old", "until": "2020-01-01"},
        {"code": "POL222", "at": "conduits/c", "who": "J. Doe", "why": "old", "until": "2020-01-01"},
    ]
    late = {"c": conduit({"zone": "office"}, PLC, review="2020-01-01", expires="2020-01-01")}
    assert [(p.code, p.severity) for p in examined(late, today=None, waivers=waivers)] == [("POL202", Severity.WARNING)]
    assert codes(late, waivers=waivers) == ["POL202", "POL217", "POL222", "POL223", "POL223"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (conduit(HMI, PLC), conduit(HMI, PLC), ["POL214"]),
        (conduit(HMI, PLC), conduit({"role": "hmi"}, {"zone": "control"}), ["POL215"]),
        (conduit(HMI, PLC), conduit({"role": "hmi"}, {"role": "plc"}), ["POL214"]),
        (conduit(HMI, PLC), conduit(HMI, PLC, "modbus", "s7"), ["POL215"]),
        (conduit(HMI, PLC, "modbus", "s7"), conduit(HMI, PLC, stage="alert"), ["POL214"]),
        (conduit(HMI, PLC, enabled=False), conduit({"role": "hmi"}, PLC), ["POL216"]),
        (conduit(HMI, PLC, expires="2027-12-31"), conduit({"role": "hmi"}, PLC), []),
        (conduit(HMI, PLC), conduit({"role": "hmi"}, PLC, fail="open"), ["POL235"]),
        (conduit(HMI, PLC, fail="open"), conduit({"role": "hmi"}, PLC, fail="open"), ["POL214", "POL235", "POL235"]),
        (conduit(HMI, PLC, "http"), conduit(PLC, HMI, "http"), ["POL228"]),
    ],
)
def test_shadows(first: dict[str, Any], second: dict[str, Any], expected: list[str]) -> None:
    """A conduit is shadowed when one that is open at all times stands before it everywhere, and only then."""
    assert codes({"first": first, "second": second}) == expected


def test_several_together_shadow_one() -> None:
    """No single conduit covers it, all of them do; the message names them."""
    both = conduit(HMI, PLC, "modbus", "s7")
    parts = {"m": conduit(HMI, PLC, "modbus"), "s": conduit(HMI, PLC, "s7")}
    found = [problem for problem in examined({**parts, "both": both}) if problem.code in {"POL214", "POL215"}]
    assert [(problem.code, problem.at) for problem in found] == [("POL214", "conduits/both")]
    assert "'m', 's'" in found[0].message


@pytest.mark.parametrize(
    ("services", "carried", "expected"),
    [
        ({}, ["smtp"], ["POL227"]),
        ({"mine": {"protocol": "tcp", "ports": ["20-30"]}}, ["mine"], ["POL227", "POL228"]),
        ({"mine": {"protocol": "udp", "ports": [23]}}, ["mine"], []),
        ({"mine": {"protocol": "tcp", "ports": ["2000-3024"]}}, ["mine"], ["POL212"]),
        ({"mine": {"protocol": "tcp", "ports": ["2000-3023"]}}, ["mine"], []),
        ({"telnet": {"protocol": "tcp", "ports": [2323]}}, ["telnet"], []),
        ({"mine": {"group": ["telnet", "ssh"]}}, ["mine"], ["POL228"]),
    ],
)
def test_carried(services: dict[str, Any], carried: list[str], expected: list[str]) -> None:
    """Numbers count, not names; what is too broad is told once; a group is what it names."""
    assert codes({"c": conduit(HMI, PLC, *carried)}, services=services) == expected


def test_devices_listed_twice() -> None:
    """A serial belongs to a vendor's model; a MAC in another address space is pointed out, in one it is refused."""
    twin = {"vendor": "Acme", "model": "X", "serial": "1"}
    zones = {"line": {"kind": "control", "ports": ["l0"], "address_space": "line"}}
    use = {"c": conduit(HMI, {"zone": ["control", "line"]})}
    one = {"a": {"zone": "control", "ips": ["10.2.0.2"], **twin}}
    assert codes(use, zones=zones, assets=one | {"b": {"zone": "control", "ips": ["10.2.0.3"], **twin}}) == ["POL225"]
    other = {"b": {"zone": "control", "ips": ["10.2.0.3"], **twin, "model": "Y"}}
    assert codes(use, zones=zones, assets=one | other) == []
    clone = {"b": {"zone": "line", "macs": ["02:00:00:00:02:01"]}}
    assert codes(use, zones=zones, assets=clone) == ["POL225"]


def test_unreached_assets_are_told_by_zone() -> None:
    """One finding for a zone with the first names; any key of any side reaches."""
    assets = {f"m{number}": {"zone": "control", "ips": [f"10.2.1.{number}"], "roles": ["m"]} for number in range(9)}
    policy = policy_of(assets={"+": True, **assets}, conduits={"c": conduit(HMI, PLC)})
    found = [problem for problem in Examination(policy).before_lowering() if problem.code == "POL226"]
    assert [(problem.at, problem.severity) for problem in found] == [("zones/control", Severity.INFO)]
    assert "9 assets of zone 'control': m0, m1, m2, m3, m4 and 4 more" in found[0].message
    for target in ({"zone": "control"}, {"role": "m"}, {"prefix": "10.2.1.0/24"}, {"asset": list(assets)}):
        policy = policy_of(
            assets={"+": True, **assets}, conduits={"c": conduit(HMI, PLC), "d": conduit(HMI, target, "s7")}
        )
        assert "POL226" not in [problem.code for problem in Examination(policy).before_lowering()], target


@pytest.mark.parametrize(
    ("child", "parent", "expected"),
    [
        ("control", "control", []),
        ("control", "supervisory", []),
        ("safety", "control", ["POL232"]),
        ("control", "safety", ["POL232"]),
        ("control", "enterprise", ["POL232"]),
        ("wireless", "control", ["POL232"]),
        ("vendor", "vendor", []),
    ],
)
def test_nesting(child: str, parent: str, expected: list[str]) -> None:
    """What must be apart is not nested."""
    zones = {
        "outer": {"kind": parent, "ports": ["o0"], "sl_t": 1},
        "inner": {"kind": child, "ports": ["i0"], "parent": "outer", "sl_t": 1},
    }
    assert codes({"c": conduit(HMI, PLC)}, zones=zones) == expected
    zones["inner"]["sl_t"] = [1, 1, 1, 0, 1, 1, 1]
    assert codes({"c": conduit(HMI, PLC)}, zones=zones) == sorted([*expected, "POL233"])


def test_many_of_one_code_are_counted() -> None:
    """The first hundred are listed, the rest are one line with the same severity; waived ones are never among them."""
    assets = {f"m{number}": {"zone": "control"} for number in range(SHOWN + 30)}
    waivers = [{"code": "POL210", "at": "assets/m3", "who": "J. Doe", "why": "old", "until": "2027-06-30"}]
    found = [p for p in examined({"c": conduit(HMI, PLC)}, assets=assets, waivers=waivers) if p.code == "POL210"]
    assert len([problem for problem in found if problem.waived]) == 1
    assert len(found) == SHOWN + 2
    assert [p.severity for p in found if p.message.startswith("and 29 more")] == [Severity.WARNING]


def test_a_contradiction_cannot_be_waived() -> None:
    """The waiver is pointed out, the error stays."""
    assets = {"b": {"zone": "control", "ips": ["10.2.0.1"]}}
    waivers = [{"code": "POL101", "at": "assets/b", "who": "J. Doe", "why": "x", "until": "2027-06-30"}]
    policy = policy_of(assets={"+": True, **assets}, conduits={"c": conduit(HMI, PLC)}, waivers=waivers)
    with pytest.raises(PolicyError, match="error POL101"):
        compile_policy(policy, today=TODAY)
    policy = policy_of(conduits={"c": conduit(HMI, PLC)}, waivers=waivers)
    assert [problem.code for problem in compile_policy(policy, today=TODAY).warnings] == ["POL224"]


def test_what_was_in_force_comes_back() -> None:
    """A policy that a newer check, or an expired waiver, would refuse is restored; a contradiction is not."""
    conduits = {"c": conduit({"zone": "office"}, PLC)}
    policy = policy_of(zones={"+": True, **ZONES}, conduits=conduits)
    with pytest.raises(PolicyError, match="error POL202"):
        compile_policy(policy)
    assert [(p.code, p.severity) for p in compile_policy(policy, accepted=True).warnings if p.code == "POL202"] == [
        ("POL202", Severity.WARNING)
    ]
    twice = policy_of(assets={"+": True, "b": {"zone": "control", "ips": ["10.2.0.1"]}})
    with pytest.raises(PolicyError, match="error POL101"):
        compile_policy(twice, accepted=True)


def test_errors_bring_the_warnings_along() -> None:
    """Whoever corrects a policy sees both at once."""
    text = (
        "version: 1\nsite: {name: x}\nzones:\n  a: {kind: control, ports: [p0]}\n  b: {kind: control, ports: [p0]}\n"
        "services:\n  mine: {protocol: tcp, ports: [1]}\n"
    )
    with pytest.raises(PolicyError) as caught:
        compile_text(text)
    assert [problem.code for problem in caught.value.problems] == ["POL105"]
    assert [problem.code for problem in caught.value.beside] == ["POL207"]
