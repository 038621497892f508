"""Laws of the policy checks: more inventory heals nothing, a waiver touches only its target, and shadows are exact."""

from __future__ import annotations

from datetime import date
from itertools import product
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.check import Examination
from rules.checks.catalogue import BY_CODE
from rules.lower import lower
from rules.model import Policy
from rules.problems import Severity

if TYPE_CHECKING:
    from rules.problems import Problem

TODAY = date(2027, 1, 15)
KINDS = ("enterprise", "dmz", "supervisory", "control", "safety", "vendor", "wireless")
SERVICES = {"wide": ["100-199"], "left": ["100-149"], "one": ["120-120"], "other": ["300-300"]}
ROLES = ("r0", "r1")
numbers = st.integers(0, 6)


@st.composite
def selectors(draw: st.DrawFn, places: int) -> dict[str, list[str]]:
    """Draw one key with one or two values."""
    key = draw(st.sampled_from(("zone", "asset", "role")))
    names = {"zone": [f"z{n}" for n in range(places)], "asset": [f"a{n}" for n in range(places)], "role": list(ROLES)}
    return {key: draw(st.lists(st.sampled_from(names[key]), min_size=1, max_size=2, unique=True))}


def conduits(places: int) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a conduit among the first zones and assets."""
    return st.fixed_dictionaries(
        {
            "from": selectors(places),
            "to": selectors(places),
            "services": st.lists(st.sampled_from(sorted(SERVICES)), min_size=1, max_size=2, unique=True),
            "enabled": st.sampled_from((True, True, True, False)),
            "fail": st.sampled_from(("static", "static", "closed", "open")),
            "owner": st.sampled_from(("", "me")),
            "reason": st.just("it"),
        },
        optional={
            "expires": st.sampled_from(("2026-01-01", "2028-01-01")),
            "review": st.sampled_from(("2026-01-01", "2028-01-01")),
            "via": st.sampled_from([f"a{n}" for n in range(places)]),
            "sl_t": st.integers(0, 4),
        },
    )


@st.composite
def policies(draw: st.DrawFn, places: int = 7) -> dict[str, Any]:
    """Draw a policy of seven zones with an asset each, and conduits among the first of them."""
    zones = {
        f"z{n}": {
            "kind": draw(st.sampled_from(KINDS)),
            "ports": [f"p{draw(numbers) if draw(st.booleans()) else n}"],
            "prefixes": [f"10.{n}.0.0/16"] if draw(st.booleans()) else [],
            "sl_t": draw(st.integers(0, 3)),
        }
        for n in range(7)
    }
    assets = {
        f"a{n}": {"zone": f"z{n}", "ips": [f"10.{n}.0.1"], "roles": draw(st.lists(st.sampled_from(ROLES), max_size=2))}
        for n in range(7)
    }
    return {
        "version": 1,
        "site": {"name": "drawn"},
        "zones": zones,
        "assets": assets,
        "services": {name: {"protocol": "tcp", "ports": ports} for name, ports in SERVICES.items()},
        "conduits": {
            f"c{n}": found for n, found in enumerate(draw(st.lists(conduits(places), min_size=1, max_size=7)))
        },
    }


def found_in(plain: dict[str, Any]) -> list[Problem]:
    """Return everything found about a policy."""
    policy = Policy.model_validate(plain)
    examination = Examination(policy, TODAY)
    found = examination.before_lowering()
    if any(problem.severity is Severity.ERROR and not BY_CODE[problem.code].waivable for problem in found):
        return found
    return found + examination.after_lowering(lower(policy))


@settings(max_examples=150, deadline=None)
@given(policies(), numbers)
def test_more_inventory_heals_no_error(plain: dict[str, Any], zone: int) -> None:
    """An asset that nothing names leaves every error where it was."""
    before = {(p.code, p.at, p.message) for p in found_in(plain) if p.severity is Severity.ERROR}
    more = plain | {"assets": plain["assets"] | {"new": {"zone": f"z{zone}", "ips": [f"10.{zone}.77.77"]}}}
    after = {(p.code, p.at, p.message) for p in found_in(more) if p.severity is Severity.ERROR}
    assert before <= after


@settings(max_examples=150, deadline=None)
@given(policies(), st.data())
def test_a_waiver_touches_only_its_target(plain: dict[str, Any], data: st.DataObject) -> None:
    """All findings stay, and all but the target's as they were; a waiver without a target is the one more."""
    before = found_in(plain)
    targets = [*sorted({(p.code, p.at) for p in before if BY_CODE[p.code].waivable}), ("POL204", "zones/z0")]
    code, at = data.draw(st.sampled_from(targets))
    waiver = {"code": code, "at": at, "who": "J. Doe", "why": "test", "until": "2027-12-31"}
    after = found_in(plain | {"waivers": [waiver]})
    assert [p for p in after if p.waived is None and p.code != "POL224"] == [
        p for p in before if (p.code, p.at) != (code, at) and p.code != "POL224"
    ]
    taken = [p for p in after if p.waived is not None]
    assert [(p.code, p.at, p.message) for p in taken] == [
        (p.code, p.at, p.message) for p in before if (p.code, p.at) == (code, at)
    ]
    assert all(problem.severity is not Severity.ERROR for problem in taken)


@settings(max_examples=200, deadline=None)
@given(policies(places=2))
def test_shadows_are_exact(plain: dict[str, Any]) -> None:
    """POL214 names exactly the conduits that a frame-by-frame comparison finds never to decide."""
    for n, zone in enumerate(plain["zones"].values()):
        zone["ports"] = [f"p{n}"]
    found = {problem.at for problem in found_in(plain) if problem.code == "POL214"}
    assert found == {f"conduits/{name}" for name in never_deciding(plain)}


def never_deciding(plain: dict[str, Any]) -> set[str]:
    """Compare all conduits at every endpoint, every other endpoint and every port, by the words of semantics.md."""
    listed = [(name, asset["zone"], set(asset["roles"])) for name, asset in plain["assets"].items()]
    unlisted = [("", name, set()) for name, zone in plain["zones"].items() if zone["prefixes"]]
    named = plain["conduits"]
    deciding, present = set(), {}
    for source, target, port in product(listed + unlisted, listed + unlisted, (110, 120, 180, 300)):
        ranked = []
        for order, (name, one) in enumerate(named.items()):
            opener = {"asset": [one["via"]]} if "via" in one else one["from"]
            here, there = narrowness(opener, source), narrowness(one["to"], target)
            sizes = [last - first + 1 for first, last in map(ports, one["services"]) if first <= port <= last]
            if one["enabled"] and here is not None and there is not None and sizes:
                ranked.append(((here, there, min(sizes), order), name))
        for at, (_, name) in enumerate(sorted(ranked)):
            before = [other for _, other in sorted(ranked)[:at] if "expires" not in named[other]]
            present.setdefault(name, set()).update(before[:1])
            if not before:
                deciding.add(name)
    return {
        name
        for name, others in present.items()
        if name not in deciding
        and not (named[name]["fail"] == "open" and any(named[other]["fail"] != "open" for other in others))
    }


def narrowness(selector: dict[str, list[str]], endpoint: tuple[str, str, set[str]]) -> int | None:
    """Return how narrowly a selector of one key names an endpoint, None when it does not."""
    name, zone, roles = endpoint
    if "asset" in selector:
        return 0 if name in selector["asset"] else None
    if "role" in selector:
        return 1 if roles & set(selector["role"]) else None
    return 3 if zone in selector["zone"] else None


def ports(service: str) -> tuple[int, int]:
    """Return the first and last port of a service."""
    first, _, last = SERVICES[service][0].partition("-")
    return int(first), int(last or first)
