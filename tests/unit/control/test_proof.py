"""The proof of a promotion: the tape under the policy in question, what was recorded for whom, and what is raised."""

from __future__ import annotations

from typing import Any

import pytest

from fastpath.abi import Stage
from gateway.control.promotion import missing
from gateway.control.raised import CEILING, Raised, raised_by_policy, raised_by_stage, standing_of
from gateway.control.readiness import Proof, prove, tells_apart
from gateway.control.stages import StageObject
from gateway.tape.coverage import Stretch, Way, ways_of
from gateway.tape.sight import Sight, Sum
from gateway.tape.store import DAY_NS, Tape
from rules.compile import compile_text
from tests.unit.tape.test_tape import NOW, POLICY, sight

FORTH, BACK = StageObject(pair=("office", "cell")), StageObject(pair=("cell", "office"))
POLLS = StageObject(conduit="polls")
WIDER = POLICY.replace("[modbus]", "[modbus, http]")
LIMITED = POLICY.replace("[modbus]}", "[modbus], limit: {packets: 10/s}}")
INSPECTED = POLICY.replace("[modbus]}", "[modbus], operations: [read]}")
CALM = POLICY.replace("ceiling: enforce, default_stage: enforce", "ceiling: monitor, default_stage: monitor")
WEB = sight(number=80, service="", conduit="", policy_verdict="drop", reason="POLICY_NO_CONDUIT", stage="monitor")
ANSWER = WEB._replace(
    source="10.1.0.1", destination="10.0.0.1", source_mac="02:00:00:00:00:02", reply=1, in_port="p1", out_port="p0",
    source_zone="cell", destination_zone="office", source_asset="plc", destination_asset="pc",
)  # fmt: skip


def proof(text: str, *seen: Sight, days: float = 8, **ways: Any) -> Proof:
    """Return the proof under a policy of a tape with these sights, of three frames each, and so many days recorded."""
    tape = Tape(None)
    compiled = compile_text(text)
    stretch = Stretch(NOW - int(days * DAY_NS), NOW + DAY_NS, ways.get("ways", ways_of(compiled.lowered)))
    tape.write({one: Sum(NOW, NOW + 1, 1, 3, 180) for one in seen}, recorded=[stretch])
    return prove(tape, compiled)


def drops(found: Proof, target: StageObject) -> list[tuple[str, str, int]]:
    """Return (source, service, frames) of what enforcing an object would drop."""
    return [(one.group.source, one.group.service, one.frames) for one, _ in found.verdict(target, {}).would_drops]


def test_the_policy_in_question_judges_and_a_reply_goes_with_what_it_answers() -> None:
    found = proof(POLICY, sight(), WEB, ANSWER)
    assert drops(found, FORTH) == [("pc", "tcp/80", 3)]
    assert drops(found, BACK) == [("plc", "tcp/80 reply", 3)]
    assert found.verdict(POLLS, {}).used is True
    wider = proof(WIDER, sight(), WEB, ANSWER)
    assert (drops(wider, FORTH), drops(wider, BACK)) == ([], [])
    assert wider.verdict(FORTH, {}).is_ready


def test_what_was_accepted_and_is_forbidden_now_would_be_dropped() -> None:
    accepted = WEB._replace(policy_verdict="accept", reason="POLICY_CONDUIT", conduit="polls", stage="")
    assert drops(proof(POLICY, accepted), FORTH) == [("pc", "tcp/80", 3)]


def test_limits_count_as_they_were_reported_and_only_while_there_is_one() -> None:
    over = sight(policy_verdict="drop", reason="LIMIT_PACKETS", stage="monitor")
    assert drops(proof(LIMITED, over), POLLS) == [("pc", "tcp/502", 3)]
    assert drops(proof(POLICY, over), POLLS) == []
    many = [sight(source=f"10.0.0.{host}", source_asset="", source_mac="") for host in range(2, 60)]
    assert drops(proof(LIMITED.replace("{asset: pc}", "{zone: office}"), *many), POLLS) == []  # asked within a moment


def test_what_is_refused_inside_counts_as_it_was_reported_while_somebody_inspects() -> None:
    """A tape keeps no messages: the opening passes, and says nothing of what the conversation carried."""
    written = sight(policy_verdict="drop", reason="MESSAGE_OPERATION", stage="monitor")
    answered = ANSWER._replace(number=502, service="modbus", conduit="polls", reason="MESSAGE_ANSWER")
    found = proof(INSPECTED, sight(), written, answered)
    assert drops(found, POLLS) == [("pc", "tcp/502", 3), ("plc", "tcp/502 reply", 3)]
    assert not found.verdict(POLLS, {}).is_ready
    assert found.verdict(POLLS, {}).used is True
    assert drops(proof(POLICY, sight(), written, answered), POLLS) == []
    assert not any(proof(POLICY, sight(), written, answered).would_drops.values())


def test_a_datagram_of_an_inspected_service_is_asked_about_as_an_opening() -> None:
    """A made-up frame carries no message: that it carries none is nothing to refuse."""
    services = "services: {enip-udp: {protocol: udp, ports: [44818], inspect: enip}}\nconduits:"
    text = INSPECTED.replace("[modbus]", "[enip-udp]").replace("conduits:", services)
    seen = sight(protocol=17, number=44818, service="enip-udp")
    found = proof(text, seen)
    assert not any(found.would_drops.values())
    assert found.verdict(POLLS, {}).used is True


def test_a_closed_conduit_is_the_object_of_what_it_would_have_permitted() -> None:
    closed = POLICY.replace("[modbus]}", "[modbus], enabled: false}")
    found = proof(closed, sight())
    assert drops(found, POLLS) == [("pc", "tcp/502", 3)]
    assert drops(found, FORTH) == []
    assert found.verdict(POLLS, {}).used is False


def test_broken_frames_stay_what_they_were() -> None:
    assert drops(proof(POLICY, WEB._replace(reason="FRAME_TRUNCATED")), FORTH) == [("pc", "tcp/80", 3)]


def test_broken_frames_and_replies_follow_their_ports_when_zones_change() -> None:
    """What the policy of the time called the zones is no way to lose what enforcing would drop."""
    renamed = POLICY.replace("cell:", "hall:").replace("zone: cell", "zone: hall")
    broken = WEB._replace(reason="FRAME_FRAGMENT")
    assert drops(proof(renamed, broken), StageObject(pair=("office", "hall"))) == [("pc", "tcp/80", 3)]
    assert drops(proof(renamed, ANSWER), StageObject(pair=("hall", "office"))) == [("plc", "tcp/80 reply", 3)]
    nobodys = StageObject(pair=("(unknown)", "(unknown)"))
    assert drops(proof(renamed, broken._replace(vlan=9)), nobodys) == [("pc", "tcp/80", 3)]
    gone = broken._replace(out_port="p9")
    assert drops(proof(POLICY, gone), FORTH) == [("pc", "tcp/80", 3)], "where the port is not known, by name"
    merged = proof(POLICY, broken._replace(out_port="p0"))
    assert not any(merged.would_drops.values()), "within a zone everything passes"


def test_traffic_outside_of_what_was_recorded_is_no_use_of_a_conduit() -> None:
    tape = Tape(None)
    compiled = compile_text(POLICY)
    old = NOW - 9 * DAY_NS
    tape.write(
        {sight(): Sum(old, old, 1, 3, 180)}, recorded=[Stretch(NOW - 8 * DAY_NS, NOW, ways_of(compiled.lowered))]
    )
    assert prove(tape, compiled).verdict(POLLS, {}).used is False
    assert prove(tape, compiled, NOW - DAY_NS).verdict(FORTH, {}).missing == (
        "1 of 7 days observed (no cycle is declared for it)",
    )


OFFICE, CELL, LAB = Way("p0", 0, "office"), Way("p1", 0, "cell"), Way("p2", 0, "lab")


@pytest.mark.parametrize(
    ("then", "pairs", "counts"),
    [
        ((OFFICE, CELL), {("office", "cell")}, True),
        ((OFFICE, CELL), {("office", "lab")}, False),  # its port was not in the bridge
        ((OFFICE, CELL), None, False),
        ((OFFICE, CELL, LAB._replace(zone="cell")), {("cell", "lab")}, False),  # one zone then: nothing was taped
        ((OFFICE, CELL, LAB._replace(zone="cell")), {("office", "lab")}, True),
        ((OFFICE, CELL, LAB._replace(zone="cell")), None, False),
        ((OFFICE, CELL._replace(zone="hall"), LAB), None, True),  # another name tells apart as well
        ((OFFICE, CELL, LAB._replace(vlan=7)), None, True),  # zone 0 then: dropped on paper, so it was taped
        ((OFFICE, CELL, LAB), set(), True),
        ((CELL,), {("(unknown)", "cell")}, True),
    ],
)
def test_recorded_counts_only_for_zones_that_were_told_apart(
    then: tuple[Way, ...], pairs: set[tuple[str, str]] | None, counts: bool
) -> None:
    assert tells_apart(then, (OFFICE, CELL, LAB), pairs) is counts


def test_a_split_zone_begins_anew_and_others_go_on() -> None:
    split = POLICY.replace("  cell:", "  lab: {kind: control, ports: [p2], prefixes: [10.2.0.0/24]}\n  cell:")
    found = proof(split, sight(), ways=frozenset({OFFICE, CELL, LAB._replace(zone="cell")}))
    assert found.verdict(FORTH, {}).is_ready
    assert found.verdict(POLLS, {}).is_ready
    assert not found.verdict(StageObject(pair=("cell", "lab")), {}).is_ready
    assert not found.verdict(CEILING, {}).is_ready


def test_what_a_text_raises() -> None:
    calm, strict = standing_of(compile_text(CALM), {}), standing_of(compile_text(POLICY), {})
    assert {"ceiling", "conduit:polls", FORTH.key, BACK.key} <= raised_by_policy(calm, strict).keys()
    assert raised_by_policy(strict, calm).objects == ()
    assert raised_by_policy(strict, strict).objects == ()
    new = POLICY + "  web: {from: {asset: pc}, to: {asset: plc}, services: [http], stage: enforce}\n"
    assert raised_by_policy(strict, standing_of(compile_text(new), {})).objects == ()
    zoned = POLICY.replace("  cell:", "  lab: {kind: control, ports: [p2]}\n  cell:")
    assert raised_by_policy(strict, standing_of(compile_text(zoned), {})).objects == ()
    own = CALM.replace("default_stage: monitor", "default_stage: enforce")
    assert FORTH in raised_by_policy(calm, standing_of(compile_text(own), {})).objects


STRICT_CALM = POLICY.replace(
    "default_stage: enforce", "default_stage: monitor"
)  # the ceiling enforces, the pairs don't
ALL_CLOSED = "  new: {from: {zone: office}, to: {zone: cell}, services: [any-tcp], enabled: false}\n"
SERVICES = "services:\n  any-tcp: {protocol: tcp, ports: [1-65535]}\n"
NIGHTLY = "windows:\n  day: {weekly: [{days: [mon], from: '06:00', to: '14:00'}]}\n"


def raised(old: str, new: str, **overrides: Any) -> set[str]:
    """Return the keys of what applying a text over another one raises."""
    before = standing_of(compile_text(old), {})
    for key, stage in overrides.items():
        before.table.put(StageObject(conduit=key), stage)
    return set(raised_by_policy(before, standing_of(compile_text(new), {})).keys())


def test_a_new_name_is_no_way_around_the_proof() -> None:
    """A closed conduit at enforce cuts off whatever a pair at monitor lets through: under a new name, or an old one."""
    assert raised(STRICT_CALM + SERVICES, STRICT_CALM + ALL_CLOSED + SERVICES) == {"conduit:new"}
    known = STRICT_CALM.replace("services: [modbus]", "services: [any-tcp], enabled: false")
    assert raised(STRICT_CALM, known + SERVICES) == {"conduit:polls"}
    assert (
        raised(
            STRICT_CALM, STRICT_CALM.replace("[modbus]", "[web]") + "services: {web: {protocol: tcp, ports: [80]}}\n"
        )
        == set()
    )
    assert raised(POLICY + SERVICES, POLICY + ALL_CLOSED + SERVICES) == set(), "all of it was dropped before"
    windowed = POLICY.replace("[modbus]", "[modbus], windows: [day]") + NIGHTLY
    renamed = windowed.replace("  polls:", "  polls2:")
    assert raised(windowed, renamed) == set()
    assert raised(windowed, renamed, polls=Stage.MONITOR) == {"conduit:polls2"}
    below = STRICT_CALM.replace("ceiling: enforce", "ceiling: alert")
    assert raised(below + SERVICES, below + ALL_CLOSED + SERVICES) == set(), "nothing is dropped below the ceiling"
    assert raised(below + SERVICES, STRICT_CALM + ALL_CLOSED + SERVICES) == {"ceiling", "conduit:polls", "conduit:new"}


def test_a_service_or_window_of_the_same_name_may_mean_more() -> None:
    wide = "services:\n  modbus: {protocol: tcp, ports: [1-65535]}\n"
    limited = STRICT_CALM.replace("[modbus]}", "[modbus], limit: {packets: 1/s}}")
    assert raised(limited, limited) == set()
    assert raised(limited, limited + wide) == {"conduit:polls"}
    windowed = STRICT_CALM.replace("[modbus]", "[modbus], windows: [day]") + NIGHTLY
    assert raised(windowed, windowed.replace("14:00", "07:00")) == {"conduit:polls"}


def test_zones_by_other_names_or_with_other_ports_follow_what_was_there() -> None:
    strict = STRICT_CALM + "denials: [{from: '*', to: '*', stage: enforce}]\n"
    renamed = POLICY.replace("cell:", "hall:").replace("zone: cell", "zone: hall")
    assert raised(STRICT_CALM, renamed) >= {"pair:office:hall", "pair:hall:office"}
    assert raised(strict, renamed).isdisjoint({"pair:office:hall", "pair:hall:office"})
    both = "ports: [p1, p2]"
    split = POLICY.replace("  cell:", "  lab: {kind: control, ports: [p2]}\n  cell:")
    assert {"pair:cell:lab", "pair:lab:cell"} == {
        key for key in raised(POLICY.replace("ports: [p1]", both), split) if key.startswith("pair")
    }, "within the zone it passed"
    moved = POLICY.replace("ports: [p0]", "ports: [p0, p2]") + "denials: [{from: lab, to: cell, stage: monitor}]\n"
    lab = "  lab: {kind: enterprise, ports: [p2]}\n  cell:"
    assert raised(
        moved.replace("ports: [p0, p2]", "ports: [p0]").replace("  cell:", lab, 1),
        POLICY.replace("ports: [p0]", "ports: [p0, p2]"),
    ) >= {"pair:office:cell"}
    tagged = POLICY.replace("ports: [p1]", "ports: [p1], vlans: [7]")
    assert raised(STRICT_CALM, STRICT_CALM) == set()
    assert "pair:office:cell" in raised(STRICT_CALM.replace("ports: [p1]", "ports: [p1], vlans: [8]"), tagged)
    assert raised(STRICT_CALM, POLICY) >= {"pair:(unknown):(unknown)"}, "nobody's VLANs are cut off too"


def test_what_a_stage_raises() -> None:
    table = standing_of(compile_text(CALM), {}).table
    assert raised_by_stage(table, FORTH, Stage.ALERT).objects == ()
    assert raised_by_stage(table, FORTH, Stage.ENFORCE).keys() == {FORTH.key}
    assert raised_by_stage(table, CEILING, Stage.ENFORCE).keys() == {"ceiling", POLLS.key}
    table.put(POLLS, Stage.ALERT)
    assert raised_by_stage(table, CEILING, Stage.ENFORCE).keys() == {"ceiling"}
    table.put(CEILING, Stage.ENFORCE)
    assert raised_by_stage(table, CEILING, Stage.ENFORCE).objects == ()


def test_the_ceiling_misses_what_the_pairs_miss_that_it_raises() -> None:
    found = proof(CALM, sight(), WEB)
    table = standing_of(compile_text(CALM), {}).table
    assert missing(found, Raised((CEILING,), table), {}) == []  # the pair stays at monitor
    table.put(FORTH, Stage.ENFORCE)
    assert missing(found, Raised((CEILING,), table), {}) == [
        "office → cell: 3 frames of pc → plc tcp/80 (POLICY_NO_CONDUIT) not acknowledged"
    ]
    short = proof(CALM, sight(), WEB, days=1)
    assert missing(short, Raised((CEILING, POLLS), table), {})[0].startswith("site: 2 of 7 days")
    assert len(missing(short, Raised((CEILING, POLLS), table), {})) == 3
