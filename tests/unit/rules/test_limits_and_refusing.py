"""Limits and refusing in the policy language: what is accepted, what is refused where, and what the engine gets."""

from __future__ import annotations

from typing import Any

import pytest

from fastpath import abi
from fastpath.abi import Section, Stage
from rules import state
from rules.image import build_image
from rules.load import load_policy_text
from rules.problems import PolicyError
from rules.rates import Rate
from tests.unit.rules.building import ImageReader, lowered_of

HEAD = """version: 1
site: {name: works}
zones:
  control: {kind: control, ports: [ctl0], prefixes: [10.2.0.0/16]}
  office: {kind: enterprise, ports: [off0], prefixes: [10.3.0.0/16]}
"""
CONDUIT = HEAD + "conduits:\n  c:\n    from: {zone: office}\n    to: {zone: control}\n    services: ssh\n"
FULL = {
    "packets": "500/s",
    "new_flows": "20/min",
    "per_source": {"packets": "100/s burst 5", "new_flows": "5/s"},
}


def conduit(limit: Any) -> dict[str, Any]:
    """Return a conduit of the base policy with a limit."""
    return {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, "services": ["modbus"], "limit": limit}


def test_a_limit_as_an_engineer_writes_it() -> None:
    """Rates per second and per minute; without a burst, one second's worth and at least one."""
    policy = load_policy_text(
        CONDUIT + "    limit: {packets: 500/s, new_flows: 20/min, per_source: {packets: 9/s burst 3}}\n"
    )
    limit = policy.conduits["c"].limit
    assert limit is not None
    assert (limit.packets, limit.new_flows) == (Rate(500, "s", 500), Rate(20, "min", 1))
    assert limit.per_source is not None
    assert (limit.per_source.packets, limit.per_source.new_flows) == (Rate(9, "s", 3), None)
    assert [str(rate) for rate in (limit.packets, limit.new_flows, limit.per_source.packets)] == [
        "500/s",
        "20/min",
        "9/s burst 3",
    ]


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("{packets: 500}", "per second or per minute", "500/s or 500/min"),
        ("{packets: fast}", "'fast' is no rate", "like 500/s"),
        ("{packets: 5/h}", "unit 'h' is not known", "/min"),
        ("{packets: 0/s}", "permits nothing", "enabled: false"),
        ("{packets: 99999999/s}", "more than can be counted", "10000000"),
        ("{packets: 5/s burst 0}", "a burst of 0", "1 lets nothing"),
        ("{packets: -5/s}", "no rate", "500/s"),
        ("{packets: 5/s burst}", "no rate", "burst 1000"),
        ("{}", "limits nothing", "new_flows: 20/s"),
        ("{per_source: {}}", "limits nothing", "packets: 500/s"),
        ("{packet: 5/s}", "unknown key 'packet'", "did you mean 'packets'?"),
        ("{per_source: {flows: 5/s}}", "unknown key 'flows'", "new_flows"),
        ("500/s", "must be a mapping", "name: value"),
    ],
)
def test_a_wrong_limit_is_refused_at_its_line(written: str, message: str, hint: str) -> None:
    """Every refusal names line 11, says what is wrong, and shows a way out."""
    with pytest.raises(PolicyError) as caught:
        load_policy_text(CONDUIT + f"    limit: {written}\n")
    (problem,) = caught.value.problems
    assert problem.line == 11
    assert message in problem.message
    assert hint in problem.hint


def test_limits_reach_the_image_once() -> None:
    """Rates become intervals; conduits with equal limits share an entry, those without have none."""
    conduits = {"a": conduit(FULL), "b": conduit(None), "c": conduit(FULL), "d": conduit({"packets": "3/s"})}
    image = ImageReader(build_image(lowered_of(conduits=conduits), 1))
    assert image.sections[Section.LIMITS]["count"] == 2
    assert [image.entry(Section.CONDUITS, abi.CONDUIT, slot)["limit"] for slot in range(4)] == [1, 0, 1, 2]
    second = 1_000_000_000
    assert image.entry(Section.LIMITS, abi.LIMIT, 0) == {
        "packet_interval_ns": second // 500,
        "packet_burst_ns": second,
        "flow_interval_ns": 3 * second,
        "flow_burst_ns": 3 * second,
        "source_packet_interval_ns": second // 100,
        "source_packet_burst_ns": second // 20,
        "source_flow_interval_ns": second // 5,
        "source_flow_burst_ns": second,
    }
    third = image.entry(Section.LIMITS, abi.LIMIT, 1)
    assert (third["packet_interval_ns"], third["packet_burst_ns"]) == (333_333_333, 999_999_999)
    assert (third["flow_interval_ns"], third["source_packet_interval_ns"], third["source_flow_interval_ns"]) == (
        0,
        0,
        0,
    )


def test_a_limit_is_behaviour() -> None:
    """It changes the digest, and two ways to write the same limit don't."""
    plain, limited = lowered_of(conduits={"a": conduit(None)}), lowered_of(conduits={"a": conduit({"packets": "60/s"})})
    same = lowered_of(conduits={"a": conduit({"packets": "60/s burst 60"})})
    assert plain.digest != limited.digest == same.digest


def test_denials_may_say_stage_refusing_or_both() -> None:
    """The site's word holds for every pair of zones; entries change what they name; later ones win."""
    site = {"name": "works", "ceiling": "enforce", "default_stage": "alert", "refuse": "reset"}
    denials = [
        {"from": "*", "to": "control", "refuse": "silent"},
        {"from": "supervisory", "to": "control", "stage": "enforce"},
    ]
    lowered = lowered_of(site=site, denials=denials)
    assert lowered.pair_refusals == {(1, 1), (2, 1)}
    assert (lowered.pair_stages[1, 2], lowered.pair_stages[2, 2]) == (Stage.ENFORCE, Stage.ALERT)
    again = lowered_of(denials=[{"from": "control", "to": "supervisory", "refuse": "reset"}])
    assert again.pair_refusals == {(2, 1)}
    assert again.digest != lowered_of().digest
    assert lowered_of().pair_refusals == frozenset()


@pytest.mark.parametrize(
    ("entry", "code", "hint"),
    [("{from: office, to: control}", "POL024", "stage"), ("{from: office, to: control, refuse: rst}", "POL020", "")],
)
def test_a_wrong_denial_is_refused(entry: str, code: str, hint: str) -> None:
    """An entry that changes nothing, and a word that nobody knows."""
    with pytest.raises(PolicyError) as caught:
        load_policy_text(HEAD + f"denials:\n  - {entry}\n")
    (problem,) = caught.value.problems
    assert (problem.line, problem.code) == (7, code)
    assert hint in problem.hint


def test_a_stage_change_keeps_the_refusing() -> None:
    """The pair's byte carries both; operators change the stage alone."""
    lowered = lowered_of(denials=[{"from": "supervisory", "to": "control", "stage": "alert", "refuse": "reset"}])
    segment = state.build_state(lowered, 1, {}, pair_stages={(1, 2): Stage.ENFORCE})
    assert (state.pair_stage(segment, 1, 2), state.pair_refuses(segment, 1, 2)) == (Stage.ENFORCE, True)
    for stage in (*Stage, Stage.MONITOR):
        state.set_pair_stage(segment, 1, 2, stage)
        assert (state.pair_stage(segment, 1, 2), state.pair_refuses(segment, 1, 2)) == (stage, True)
    state.set_pair_stage(segment, 2, 1, Stage.ENFORCE)
    assert not state.pair_refuses(segment, 2, 1)
