"""The text of the ruleset: what is in which part, and what a toggle may contain."""

from __future__ import annotations

import re
from itertools import product

import pytest

from fastpath.abi import MARK_JUDGED, MARK_LANE, MARK_LANE_MASK, Form, Stage
from rules import static_state_chains
from rules.records import ServiceKind
from rules.static import (
    effective_stages,
    pinned_macs,
    render,
    render_base,
    render_parts,
    render_toggle,
)
from rules.static_counting import COUNTED, counting_chain
from rules.static_declarations import BANKS, COUNTERS
from rules.static_lane import LANE_CHAINS, LANE_SETS, MARK_LANED
from rules.static_relations import permitted, relations
from tests.netns.kernel.plant import HMI_MAC, PLC_MAC, POLL, SHUT, plant

PORTS = ("p1", "p2", "p3")
POLICY = plant(PORTS, vlan=100)
FIELDS_AND_CONDITIONS = (
    (r"\barp [sd]addr\b", ("meta protocol arp ",)),
    (r"\bicmp (type|id)\b", ("meta protocol ip meta l4proto icmp ",)),
    (r"\bicmpv6 (type|id)\b", ("meta protocol ip6 meta l4proto icmpv6 ", "ip6 nexthdr icmpv6 ")),
)


def test_same_policy_same_text() -> None:
    """Two renderings are equal, so that digests of what is loaded can be compared."""
    assert render(POLICY, form=Form.BRNF) == render(plant(PORTS, vlan=100), form=Form.BRNF)


def test_nothing_tracks_connections_or_flushes_tables() -> None:
    """No rule uses `ct`, and no table or set of anybody is flushed or deleted."""
    for form, lane in product(Form, (False, True)):
        text = render(POLICY, form=form, lane=lane)
        assert not re.search(r"\bct\b|delete (table|chain|set)|flush (ruleset|table|set)", text)


@pytest.mark.parametrize("form", list(Form))
def test_counts_survive_a_swap(form: Form) -> None:
    """Every counter has a name, or stands in a chain that no part of a swap refills; every frame is counted so."""
    parts = render_parts(POLICY, form=form, lane=True)
    text = "".join(parts)
    assert all(f"add counter bridge conduit {name}\n" in text for name in COUNTERS)
    assert not re.search(r"counter (?!name|bridge)", text)
    for name in COUNTED:
        chain = counting_chain(name)
        assert f"goto {chain}\n" in text
        assert f"add chain bridge conduit {chain}\n" in text
        assert not re.search(rf"(flush chain|add rule) bridge conduit {chain}\b", text)
        assert f"add rule bridge conduit {chain} counter " in render(POLICY, form=form)


@pytest.mark.parametrize("form", list(Form))
def test_the_forward_hook_is_met_twice(form: Form) -> None:
    """Each base chain costs every frame: one stands in front of the queue, one behind it, with the lane as without."""
    text = render(POLICY, form=form, lane=True)
    assert len(re.findall("type filter hook forward", text)) == 2


@pytest.mark.parametrize("form", list(Form))
def test_no_rule_lets_nft_guess_the_protocol(form: Form) -> None:
    """What looks into ARP or ICMP says so itself: the condition that nft would add never holds for tagged frames."""
    for line in render(POLICY, form=form).splitlines():
        rule = line.removeprefix("add rule bridge conduit ").partition(" ")[2]
        for field, conditions in FIELDS_AND_CONDITIONS:
            if line.startswith("add rule") and re.search(field, rule):
                assert rule.startswith(conditions), line


@pytest.mark.parametrize("bank", BANKS)
def test_a_bank_refers_to_itself_only(bank: int) -> None:
    """Filling a bank touches no hook and no chain of the other bank; the switch is the only text that names hooks."""
    prepare, switch = render_parts(POLICY, form=Form.BRNF, bank=bank)
    rules = "\n".join(line for line in prepare.splitlines() if line.startswith(("add rule", "flush", "add element")))
    assert not re.search(rf"_{1 - bank}\b", rules)
    assert not re.search(r"conduit (guard|static) ", rules)
    assert f"goto entry_{bank}\n" in switch
    assert "goto entry" not in render_base(PORTS)


def test_what_is_rare_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs that tolerate violations are listed; where they are very many, those that enforce are."""
    stages = dict(effective_stages(POLICY))
    stages[1, 2] = stages[2, 3] = Stage.ALERT
    few = render_toggle(POLICY, stages=stages)
    assert "violation_0 meta mark . meta priority { 1 . 0:2, 2 . 0:3 } goto tolerate_0\n" in few
    assert "violation_0 goto deny_0\n" in few
    monkeypatch.setattr(static_state_chains, "MANY_PAIRS", 10)
    calm = dict.fromkeys(stages, Stage.MONITOR)
    many = render_toggle(POLICY, stages=calm | {(3, 1): Stage.ENFORCE})
    assert "violation_0 meta mark . meta priority { 3 . 0:1 } goto deny_0\n" in many
    assert "violation_0 goto tolerate_0\n" in many
    assert "goto deny_0" not in render_toggle(POLICY, stages=calm)
    assert render_toggle(POLICY, stages=stages) == few


def test_a_toggle_holds_no_map() -> None:
    """A map that a transaction removes is emptied under the frames that are in it: toggles hold sets only."""
    text = render_toggle(POLICY, stages=effective_stages(POLICY, Stage.MONITOR), closed={POLL})
    assert " map " not in text
    assert "vmap" not in text


def test_only_the_native_form_has_a_queue_statement() -> None:
    """The queue range is in the text of the native form; br_netfilter's rule is not text."""
    assert "queue num 4-6 bypass" in render(POLICY, form=Form.BRIDGE, first_queue=4, queue_count=3)
    assert "queue num" not in render(POLICY, form=Form.BRNF, layer2_queue=7)


def test_frames_without_ip_are_queued_first() -> None:
    """`meta protocol` is what stands behind a tag, so that tagged IP stays with the other IP."""
    text = render(POLICY, form=Form.BRIDGE, first_queue=4, queue_count=3, layer2_queue=7)
    queueing = [line for line in text.splitlines() if "queue num" in line]
    assert [rule.partition("offered ")[2] for rule in queueing] == [
        "meta protocol != ip meta protocol != ip6 queue num 7 bypass",
        "queue num 4-6 bypass",
    ]


def test_what_is_permitted_now() -> None:
    """Closed and fail-closed conduits permit nothing; relation numbers do not depend on that."""
    numbered = relations(POLICY)
    everything, without = permitted(POLICY, numbered, set()), permitted(POLICY, numbered, {POLL})
    assert len(everything.forward[ServiceKind.TCP]) - len(without.forward[ServiceKind.TCP]) == 1
    assert permitted(POLICY, numbered, {SHUT}) == everything
    assert everything.neighbours == without.neighbours


def test_ceiling_never_promotes() -> None:
    """The lower of stage and ceiling is in force."""
    assert set(effective_stages(POLICY, Stage.ALERT).values()) == {Stage.ALERT}
    assert set(effective_stages(POLICY).values()) == {Stage.ENFORCE}


def test_assets_are_pinned_to_the_port_of_their_zone() -> None:
    """Asset MACs have one port each; group MACs none."""
    assert pinned_macs(POLICY) == {HMI_MAC: "p2", PLC_MAC: "p3"}


def test_the_lane_is_asked_only_where_it_is_wanted() -> None:
    """Off, no rule looks for a flow or adds one, what the engine marked still passes; on, each port has a mark."""
    off, on = (render(POLICY, form=Form.BRNF, lane=wanted) for wanted in (False, True))
    assert not any(f"@{name}" in off for name in LANE_SETS)
    assert not any(f"chain bridge conduit {chain}\n" in off for chain in LANE_CHAINS)
    assert all(f"add @{name}" in on for name in LANE_SETS)
    assert all(f"{number:#04x}000000" in on for number in (1, 2, 3))
    assert MARK_LANED & MARK_LANE_MASK != MARK_LANE
    assert MARK_LANED != MARK_JUDGED
