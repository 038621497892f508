"""The kernel's fallback as text: the ruleset of `table bridge conduit` from a lowered policy.

In: a lowered policy, the form of interception, the effective stages of the zone pairs and the closed conduits. Out:
nft scripts, each one transaction that may be loaded any number of times; counters, pinholes and quarantine survive.
Meaning: docs/reference/semantics.md, "The kernel's fallback". Must never touch the kernel. Called by gateway/kernel.

Cost of a frame that the engine judged: a set of our ports, its link protocol, a mark, two counters. Cost of one that it
did not, in lookups: 2 for the zones, 1 for the same zone, 1 for the protocol, 1 to 3 for each endpoint, 1 for the
relation of their classes, 1 for the service and 1 for what the relation permits: about 10, however many zones, assets
and conduits there are. All are hashed except prefixes and service numbers (trees and bitmaps of the ranges that the
policy names).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastpath.abi import MARK_JUDGED, Form, Stage
from rules.pairs import PairStages
from rules.static_counting import OFFERED, counting_chain, counting_script
from rules.static_declarations import BANKED, declare
from rules.static_guard import guard_chains
from rules.static_identity_chains import identity_chains
from rules.static_lane import declare_lane, entering, entrance, lane_chains, passed
from rules.static_relations import Relations, relations
from rules.static_script import Script, foreign, interface
from rules.static_service_chains import service_chains
from rules.static_state_chains import state_chains

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from rules.records import LoweredPolicy


def effective_stages(policy: LoweredPolicy, ceiling: Stage | None = None) -> PairStages:
    """Return every zone pair's stage under a ceiling; the policy's own when none is given."""
    return PairStages.of(policy.pair_stages).under(policy.ceiling if ceiling is None else ceiling)


def closed_conduits(policy: LoweredPolicy) -> frozenset[int]:
    """Return the slots of the conduits that the policy text itself closes."""
    return frozenset(conduit.slot for conduit in policy.conduits if not conduit.open)


def pinned_macs(policy: LoweredPolicy) -> dict[bytes, str]:
    """Return the port behind which each asset's MAC must be; only where its zone leaves no choice of port."""
    names = {port.number: port.name for port in policy.ports}
    places: dict[int, set[str]] = {}
    for entry in policy.port_zones:
        places.setdefault(entry.zone, set()).add(names[entry.port])
    found: dict[bytes, set[str]] = {}
    for record in policy.macs:
        if record.asset is not None and not record.anywhere:
            found.setdefault(record.mac, set()).update(places.get(record.zone, ()))
    return {mac: next(iter(ports)) for mac, ports in sorted(found.items()) if len(ports) == 1}


def render_parts(
    policy: LoweredPolicy,
    *,
    form: Form,
    stages: Mapping[tuple[int, int], Stage] | None = None,
    closed: AbstractSet[int] | None = None,
    bank: int = 0,
    lane: bool = False,
    **how: Any,
) -> tuple[str, str]:
    """Return a policy's ruleset as two transactions: fill a bank, then judge by it.

    Everything that judges exists twice. ORDER: fill the bank that is not in use, then switch.
    Frames under way finish in the old bank; and the kernel shows a new set of ranges to frames only some microseconds
    after the rules that ask it, so that filling and switching at once would drop a few permitted frames.
    """
    filled = render_bank(policy, form=form, stages=stages, closed=closed, bank=bank, lane=lane)
    return filled, render_switch(policy, form=form, bank=bank, lane=lane, **how)


def render_bank(
    policy: LoweredPolicy,
    *,
    form: Form,
    stages: Mapping[tuple[int, int], Stage] | None = None,
    closed: AbstractSet[int] | None = None,
    bank: int = 0,
    lane: bool = False,
) -> str:
    """Return the transaction that fills a bank and touches nothing that judges.

    `stages` are effective (see `effective_stages`); without them, and without `closed`, the policy's text decides.
    `lane`: flows may stay in the kernel, see `static_lane`.
    """
    script = Script(bank, BANKED)
    declare(script)
    if lane:
        declare_lane(script)
    numbered = relations(policy)
    identity_chains(script, policy, form, numbered)
    service_chains(script, policy)
    _state(script, policy, numbered, stages, closed)
    return script.text()


def render_switch(
    policy: LoweredPolicy,
    *,
    form: Form,
    first_queue: int = 0,
    queue_count: int = 1,
    layer2_queue: int | None = None,
    bridge_ports: Sequence[str] = (),
    bank: int = 0,
    lane: bool = False,
) -> str:
    """Return the small transaction that judges by a filled bank.

    `layer2_queue` takes the frames without IP, if it is given; else the first queue does.
    `bridge_ports` are the ports that the bridge has now: one that the policy does not name is nobody's zone, not open.
    """
    script = Script(bank, BANKED)
    ports = [interface(name) for name in sorted({port.name for port in policy.ports} | set(bridge_ports))]
    offering = _offering(form)
    guard_chains(script, ports, [entrance()] if lane else [], offering)
    if lane:
        lane_chains(script, {port.number: port.name for port in policy.ports}, offering)
    queueing = queue_statements(first_queue, queue_count, layer2_queue)
    script.hook(OFFERED, queueing if form is Form.BRIDGE else [])
    _static(script, ports, form, lane=lane)
    return script.text()


def render(policy: LoweredPolicy, *, form: Form, **how: Any) -> str:
    """Return `render_parts` as one transaction that counts from zero: for a kernel that nothing crosses yet."""
    return "".join((counting_script(), *render_parts(policy, form=form, **how)))


def render_toggle(
    policy: LoweredPolicy,
    *,
    stages: Mapping[tuple[int, int], Stage] | None = None,
    closed: AbstractSet[int] | None = None,
    bank: int = 0,
) -> str:
    """Return the small transaction that changes stages and closed conduits in the bank that is in use."""
    script = Script(bank, BANKED)
    _state(script, policy, relations(policy), stages, closed)
    return script.text()


def render_base(ports: Sequence[str]) -> str:
    """Return the closed ruleset for the time before any policy: nothing passes between these ports."""
    script = Script(0, BANKED)
    declare(script)
    names = [interface(port) for port in ports]
    guard_chains(script, names)
    script.hook("static", [foreign(names), "counter name static counter name static_dropped drop"])
    return script.text()


def queue_statements(first_queue: int, queue_count: int, layer2_queue: int | None = None) -> list[str]:
    """Return the rules that offer a frame to the engine, or pass it on when nobody has bound the queue.

    Within the range the kernel chooses by the pair of addresses. It knows none of a frame without IP: those would all
    be the first queue's. `meta protocol` is what stands behind a VLAN tag, and the inner tag where there are two.
    """
    last = first_queue + queue_count - 1
    shared = f"queue num {first_queue if last == first_queue else f'{first_queue}-{last}'} bypass"
    if layer2_queue is None:
        return [shared]
    return [f"meta protocol != ip meta protocol != ip6 queue num {layer2_queue} bypass", shared]


def _state(
    script: Script,
    policy: LoweredPolicy,
    numbered: Relations,
    stages: Mapping[tuple[int, int], Stage] | None,
    closed: AbstractSet[int] | None,
) -> None:
    state_chains(
        script,
        policy,
        numbered,
        effective_stages(policy) if stages is None else stages,
        closed_conduits(policy) if closed is None else closed,
    )


def _offering(form: Form) -> list[str]:
    """Return the rules that count what is offered to the engine, and what is not."""
    counted = f"goto {counting_chain('frames_before_queue')}"
    if form is Form.BRIDGE:
        return [counted]
    # br_netfilter offers untagged IP to `ip conduit` and `ip6 conduit` at priority 0 and nothing else.
    return [f"ether type {{ ip, ip6 }} {counted}", "counter name l2_before"]


def _static(script: Script, ports: Sequence[str], form: Form, *, lane: bool) -> None:
    unjudged = "counter name static"
    judged = f"meta mark {MARK_JUDGED:#010x} goto {counting_chain('judged_accepted')}"
    script.hook(
        "static",
        [
            *((passed(), judged) if lane else (judged, passed())),  # what most frames are comes first
            entering(lane=lane),
            foreign(ports),
            unjudged if form is Form.BRIDGE else f"ether type {{ ip, ip6 }} {unjudged}",
            "goto entry",
        ],
    )
