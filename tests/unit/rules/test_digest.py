"""The digest: equal for texts that do the same, different for everything that a frame could notice."""

from __future__ import annotations

from typing import Any

import pytest

from rules.compile import compile_text
from rules.lower import lower
from tests.unit.rules.building import lowered_of, policy_of

TEXT = """
version: 1
site: {name: works, ceiling: enforce}
zones:
  a: {kind: control, ports: [p0, p1], prefixes: [10.1.0.0/16]}
  b: {kind: dmz, ports: [p2], prefixes: [10.2.0.0/16]}
assets:
  x: {zone: a, ips: [10.1.0.1], roles: [r, s]}
  y: {zone: b, ips: [10.2.0.1]}
conduits:
  one: {from: {asset: x}, to: {asset: y}, services: [ssh, https], owner: me}
  two: {from: {zone: a}, to: {zone: b}, services: [ssh]}
"""
SAME = """
# the same, written by somebody else
site: {ceiling: enforce, name: works}
version: 1
conduits:
  two: {services: ssh, to: {zone: [b]}, from: {zone: a}}
  one: {from: {asset: x}, to: {asset: y}, services: [https, ssh], reason: other words, stage: enforce}
assets:
  y: {zone: b, ips: [10.2.0.1], location: cellar}
  x: {zone: a, ips: [10.1.0.1], roles: [s, r]}
zones:
  b: {kind: dmz, ports: [p2], prefixes: [10.2.0.0/16], sl_t: 3}
  a: {kind: control, ports: [p1, p0], prefixes: [10.1.0.0/16], description: words}
"""


def test_wording_and_order_do_not_matter() -> None:
    """Comments, key order, one-or-many, descriptions, owners and slots leave the digest alone."""
    digest = compile_text(TEXT).lowered.digest
    assert compile_text(SAME).lowered.digest == digest
    assert compile_text(TEXT, slots={"two": 17}).lowered.digest == digest
    assert len(digest) == 32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ceiling: enforce", "ceiling: alert"),
        ("p2", "p3"),
        ("10.1.0.0/16", "10.1.0.0/17"),
        ("ips: [10.1.0.1]", "ips: [10.1.0.2]"),
        ("[ssh, https]", "[ssh, https], stage: alert"),
        ("[ssh, https]", "[ssh, https], fail: closed"),
        ("[ssh, https]", "[ssh, https], log: all"),
        ("[ssh, https]", "[ssh, https], enabled: false"),
        ("  two:", "  three:"),
        ("roles: [r, s]", "roles: [r]"),
        ("name: works", "name: other"),
        ("kind: dmz", "kind: vendor"),
    ],
)
def test_behaviour_and_names_matter(old: str, new: str) -> None:
    """Each of these changes the digest."""
    assert old in TEXT
    assert compile_text(TEXT.replace(old, new)).lowered.digest != compile_text(TEXT).lowered.digest


def test_the_text_order_matters_only_between_equals() -> None:
    """Two conduits that tie are named by text order, so swapping them changes what is in force."""
    tie: dict[str, Any] = {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, "services": ["modbus"]}
    first = lowered_of(conduits={"one": dict(tie), "two": dict(tie)})
    second = lowered_of(conduits={"two": dict(tie), "one": dict(tie)})
    assert first.digest != second.digest


def test_denials_count_by_their_effect() -> None:
    """Two ways to say the same stages have the same digest."""
    listed = [{"from": name, "to": "*", "stage": "alert"} for name in ("supervisory", "control")]
    overridden = [{"from": "*", "to": "*", "stage": "enforce"}, {"from": "*", "to": "*", "stage": "alert"}]
    assert lowered_of(denials=listed).digest == lowered_of(denials=overridden).digest
    assert lowered_of(denials=listed).digest != lowered_of().digest


def test_lowering_twice_gives_the_same_records() -> None:
    """Nothing random gets in."""
    assert lower(policy_of()) == lower(policy_of())
