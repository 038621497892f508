"""What learning proposes, groups, doubts and withholds, case by case."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fastpath.abi import Reason
from rules.compile import compile_text
from rules.learning.confidence import Level
from rules.learning.evidence import ADDRESS, DAY_S, GROUP, STRANGER, Evidence
from rules.learning.fragment import Accepting, fragment, inventory_lines
from rules.learning.proposing import Learned, Proposal, learn
from rules.learning.sifting import Why
from rules.learning.thresholds import Thresholds
from rules.model import Policy
from tests.support.learning import BEGINNING, asked, end, seen

TODAY = date(2026, 11, 23)
PLCS = [f"plc-{n}" for n in range(1, 6)]
PLANT = """
version: 1
site: {name: plant}
zones:
  sup: {kind: supervisory, ports: [p0], prefixes: [10.0.0.0/24]}
  cell: {kind: control, ports: [p1], prefixes: [10.1.0.0/24]}
  sis: {kind: safety, ports: [p2], prefixes: [10.2.0.0/24]}
  office: {kind: enterprise, ports: [p3], prefixes: [10.3.0.0/24]}
windows:
  nights: {weekly: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "04:00"}]}
  mornings: {weekly: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "12:00"}]}
services:
  many: {protocol: tcp, ports: [2000-2010]}
  tcp-4000: {protocol: tcp, ports: [4000-4001]}
conduits:
  known: {from: {asset: hmi-1}, to: {asset: plc-1}, services: [mms], owner: me, reason: it}
  wide: {from: {zone: sup}, to: {zone: cell}, services: [many], owner: me, reason: it}
assets:
  hmi-1: {zone: sup, ips: [10.0.0.1], roles: [hmi]}
  hmi-2: {zone: sup, ips: [10.0.0.2], roles: [hmi]}
  scada: {zone: sup, ips: [10.0.0.9]}
  sis-1: {zone: sis, ips: [10.2.0.1], roles: [sis]}
  sis-2: {zone: sis, ips: [10.2.0.2], roles: [sis]}
  pc: {zone: office, ips: [10.3.0.1]}
""" + "".join(f"  plc-{n}: {{zone: cell, ips: [10.1.0.{n}], roles: [plc]}}\n" for n in range(1, 6))
HMI = [end("sup", "hmi-1"), end("sup", "hmi-2")]
SCADA = end("sup", "scada")
PLC = [end("cell", name) for name in PLCS]


@pytest.fixture(scope="module")
def plant() -> Policy:
    """Return the plant's policy."""
    return compile_text(PLANT).policy


def from_(policy: Policy, *rows: Evidence, **options: Any) -> Learned:
    """Learn from a few rows."""
    return learn(policy, rows, today=TODAY, **options)


def only(learned: Learned) -> Proposal:
    """Return the one proposal."""
    (one,) = learned.proposals
    return one


def whys(learned: Learned) -> set[Why]:
    """Return why things were withheld."""
    return {one.why for one in learned.withheld}


# ---- grouping -------------------------------------------------------------------------------------------------------


def test_a_role_that_was_seen_whole_becomes_a_role(plant: Policy) -> None:
    one = only(from_(plant, *(asked(hmi, plc) for hmi in HMI for plc in PLC)))
    assert one.plain() == {
        "from": {"zone": "sup", "role": "hmi"}, "to": {"zone": "cell", "role": "plc"}, "services": ["modbus"],
    }  # fmt: skip
    assert (one.name, one.pairs, one.unseen) == ("hmi-to-plc-modbus", 10, [])


def test_four_of_five_are_a_role_and_the_fifth_is_named_as_never_seen(plant: Policy) -> None:
    one = only(from_(plant, *(asked(hmi, plc) for hmi in HMI for plc in PLC[:4])))
    assert one.plain()["to"] == {"zone": "cell", "role": "plc"}
    assert one.unseen == ["hmi-1 (sup) → plc-5 (cell)", "hmi-2 (sup) → plc-5 (cell)"]
    assert "2 of 10 pairs never seen" in one.draft.confidence.reasons


def test_three_of_five_are_a_list(plant: Policy) -> None:
    one = only(from_(plant, *(asked(hmi, plc) for hmi in HMI for plc in PLC[:3])))
    assert one.plain()["to"] == {"asset": ["plc-1", "plc-2", "plc-3"]}
    assert one.plain()["from"] == {"zone": "sup", "role": "hmi"}
    assert one.unseen == []


def test_thresholds_are_the_operators(plant: Policy) -> None:
    rows = [asked(hmi, plc) for hmi in HMI for plc in PLC[:3]]
    one = only(from_(plant, *rows, thresholds=Thresholds(member_percent=60, pair_percent=60)))
    assert one.plain()["to"] == {"zone": "cell", "role": "plc"}
    one = only(from_(plant, *rows, thresholds=Thresholds(members=3)))
    assert one.plain()["from"] == {"asset": ["hmi-1", "hmi-2"]}


def test_unlisted_addresses_are_prefixes_of_one_address(plant: Policy) -> None:
    stray = end("sup", "10.0.0.77", ADDRESS), end("sup", "2001:db8::7", ADDRESS)
    one = only(from_(plant, *(asked(source, PLC[0]) for source in stray)))
    assert one.plain()["from"] == {"zone": "sup", "prefix": ["10.0.0.77/32", "2001:db8::7/128"]}


def test_a_group_that_is_known_is_named(plant: Policy) -> None:
    one = only(from_(plant, asked(SCADA, end("", "239.1.1.1", GROUP), "udp/5000")))
    assert one.plain()["to"] == {"group": ["239.1.1.1"]}


# ---- services and names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "services"),
    [
        (["tcp/502"], ("modbus",)),
        (["tcp/102"], ("mms",)),  # s7 has the same number: the name that the policy uses already
        (["tcp/44818"], ("tcp-44818",)),
        (["tcp/44818", "udp/44818"], ("enip",)),
        (["tcp/2000"], ("tcp-2000",)),  # never a service of more numbers than were seen
        (["tcp/4000"], ("tcp-4000-only",)),  # the plant's own tcp-4000 means more
        (["tcp/443", "tcp/502", "tcp/22"], ("https", "modbus", "ssh")),
        (["icmp/8"], ("echo",)),
        (["ip/47"], ("ip-47",)),
    ],
)
def test_services_mean_exactly_what_was_seen(plant: Policy, numbers: list[str], services: tuple[str, ...]) -> None:
    rows = [asked(SCADA, PLC[4], number, reply=reply) for number in numbers for reply in (False, True)]
    learned = from_(plant, *rows)
    assert only(learned).services == services
    assert {name for name in services if name.endswith("-only") or "-" in name} == set(learned.services)


def test_names_are_short_enough_and_not_taken() -> None:
    long = "controller-of-the-second-water-treatment-line-in-the-north"
    assets = f"  {long}-a: {{zone: cell, ips: [10.1.0.21]}}\n  {long}-b: {{zone: cell, ips: [10.1.0.22]}}\n"
    policy = compile_text(PLANT + assets).policy
    rows = [asked(HMI[0], end("cell", f"{long}-a"), "tcp/22"), asked(SCADA, end("cell", f"{long}-b"), "tcp/22")]
    names = [one.name for one in from_(policy, *rows).proposals]
    assert len(set(names)) == 2
    assert all(len(name) <= 63 for name in names)


def test_equal_ends_are_one_conduit_unless_one_service_is_less_sure(plant: Policy) -> None:
    days = seen(96 * 4)
    sure = [asked(SCADA, PLC[0], number, when=days) for number in ("tcp/502", "tcp/443")]
    doubtful = asked(SCADA, PLC[0], "tcp/22", when=seen(1))
    found = from_(plant, *sure, doubtful).proposals
    assert {one.services: one.draft.confidence.level for one in found} == {
        ("https", "modbus"): Level.MEDIUM, ("ssh",): Level.LOW,
    }  # fmt: skip


# ---- what is withheld -----------------------------------------------------------------------------------------------

STRANGERS = end("sup", "172.16.0.1", STRANGER)
WITHHELD = {
    Why.UNKNOWN: [asked(STRANGERS, PLC[0], reason=Reason.IDENTITY_SOURCE_UNKNOWN)],
    Why.GROUP: [asked(SCADA, end("", "239.0.0.1", GROUP), reason=Reason.IDENTITY_DESTINATION_UNKNOWN)],
    Why.IDENTITY: [asked(SCADA, PLC[0], reason=Reason.IDENTITY_SOURCE_MAC)],
    Why.BROKEN: [asked(SCADA, PLC[0], reason=Reason.FRAME_FRAGMENT)],
    Why.QUARANTINE: [asked(SCADA, PLC[0], reason=Reason.GUARD_QUARANTINE)],
    Why.CLOSED: [asked(SCADA, PLC[0], reason=Reason.POLICY_CONDUIT_CLOSED, conduit="known")],
    Why.LIMIT: [asked(SCADA, PLC[0], reason=Reason.LIMIT_SOURCE, conduit="known")],
    Why.RESOLUTION: [asked(SCADA, PLC[0], "ethertype/0x0806", Reason.NEIGHBOUR_NO_CONDUIT)],
    Why.REPLY: [asked(SCADA, PLC[0], reply=True)],
    Why.ERROR: [asked(PLC[0], SCADA, "icmp/3")],
    Why.SCAN: [asked(SCADA, PLC[0], f"tcp/{port}") for port in range(1, 18)],
    Why.SWEEP: [asked(SCADA, end("cell", f"10.1.0.{host}", ADDRESS)) for host in range(100, 117)],
    Why.NUMBER: [asked(SCADA, PLC[0], "tcp/0")],
    Why.CHECK: [asked(end("office", "pc"), PLC[0])],
}


@pytest.mark.parametrize("why", WITHHELD)
def test_what_is_no_evidence_is_withheld_and_said(plant: Policy, why: Why) -> None:
    learned = from_(plant, *WITHHELD[why])
    assert learned.proposals == ()
    assert whys(learned) == {why}
    assert sum(one.seen.frames for one in learned.withheld) == sum(row.seen.frames for row in WITHHELD[why])


def test_answers_to_what_is_permitted_are_nobodys_business(plant: Policy) -> None:
    for reason in (Reason.ZONE_INTERNAL, Reason.FLOW_ESTABLISHED):
        assert from_(plant, asked(SCADA, PLC[0], reason=reason, reply=True)).withheld == ()


def test_a_clients_own_port_is_no_service_where_it_opens_the_other_way(plant: Policy) -> None:
    learned = from_(plant, asked(SCADA, PLC[0]), asked(PLC[0], SCADA, "tcp/50123"))
    assert only(learned).services == ("modbus",)
    assert whys(learned) == {Why.ANSWERS}
    assert len(from_(plant, asked(PLC[0], SCADA, "tcp/50123")).proposals) == 1, "by itself it may be a service"


def test_sixteen_ports_are_many_and_no_scan(plant: Policy) -> None:
    learned = from_(plant, *(asked(SCADA, PLC[0], f"tcp/{port}") for port in range(1, 17)))
    assert len(only(learned).draft.numbers) == 16
    assert learned.withheld == ()


def test_what_a_check_refuses_carries_its_code(plant: Policy) -> None:
    (one,) = from_(plant, asked(end("office", "pc"), PLC[0])).withheld
    assert one.code == "POL202"
    assert "without passing the DMZ" in one.detail


def test_a_safety_zone_is_reached_asset_by_asset_where_roles_are_refused(plant: Policy) -> None:
    """POL115 refuses roles into a safety zone: the same path is proposed by name, and the warning stands beside it."""
    one = only(from_(plant, *(asked(hmi, end("sis", sis)) for hmi in HMI for sis in ("sis-1", "sis-2"))))
    assert one.plain()["from"] == {"asset": ["hmi-1", "hmi-2"]}
    assert one.plain()["to"] == {"asset": ["sis-1", "sis-2"]}
    assert "POL203" in {note.code for note in one.notes}


def test_unlisted_addresses_never_reach_a_safety_zone(plant: Policy) -> None:
    learned = from_(plant, asked(end("sup", "10.0.0.77", ADDRESS), end("sis", "sis-1")))
    assert learned.proposals == ()
    assert {one.code for one in learned.withheld} == {"POL115"}


def test_a_missing_asset_gets_a_line_for_the_inventory(plant: Policy) -> None:
    row = asked(STRANGERS, PLC[0], reason=Reason.IDENTITY_SOURCE_UNKNOWN, source_mac="02:00:00:00:00:77")
    assert list(inventory_lines(from_(plant, row).withheld)) == [
        '  unknown-172-16-0-1: {zone: sup, ips: ["172.16.0.1"], macs: ["02:00:00:00:00:77"]}'
    ]


# ---- confidence and windows ---------------------------------------------------------------------------------------


def test_confidence_grows_with_days_regularity_and_answers(plant: Policy) -> None:
    week = seen(96 * 7)
    cases = {
        Level.HIGH: [asked(SCADA, PLC[0], when=week), asked(SCADA, PLC[0], when=week, reply=True)],
        Level.MEDIUM: [asked(SCADA, PLC[0], when=seen(1)), asked(SCADA, PLC[0], reply=True)],
        Level.LOW: [asked(SCADA, PLC[0], when=seen(1))],
    }
    for level, rows in cases.items():
        sure = only(from_(plant, *rows)).draft.confidence
        assert sure.level is level, sure
    assert "regular: in 672 of 672 quarter-hours" in " ".join(
        only(from_(plant, *cases[Level.HIGH])).draft.confidence.reasons
    )


def test_what_nobody_answers_is_never_sure(plant: Policy) -> None:
    assert only(from_(plant, asked(SCADA, PLC[0], when=seen(96 * 7)))).draft.confidence.level is not Level.HIGH
    dropped = asked(SCADA, PLC[0], when=seen(96 * 7), passed=False)
    reasons = only(from_(plant, dropped)).draft.confidence.reasons
    assert "nobody knows whether it was answered" in reasons, "what was dropped could not be answered"


def test_one_pair_seen_once_keeps_the_others_from_being_sure(plant: Policy) -> None:
    week = seen(96 * 7)
    rows = [asked(SCADA, plc, when=week) for plc in PLC[:4]] + [
        asked(SCADA, plc, when=week, reply=True) for plc in PLC[:4]
    ]
    assert only(from_(plant, *rows)).draft.confidence.level is Level.MEDIUM, "one of five was never seen"
    found = only(from_(plant, *rows, asked(SCADA, PLC[4], when=seen(1), passed=False)))
    assert found.draft.confidence.level is Level.MEDIUM
    assert "1 of 5 pairs seen too little by themselves" in found.draft.confidence.reasons


def test_what_is_less_sure_than_asked_for_is_withheld(plant: Policy) -> None:
    learned = from_(plant, asked(SCADA, PLC[0], when=seen(1)), least=Level.MEDIUM)
    assert (learned.proposals, whys(learned)) == ((), {Why.CONFIDENCE})


def test_the_narrowest_window_that_holds_everything_is_proposed(plant: Policy) -> None:
    nightly = seen(4, every=96)
    assert only(from_(plant, asked(SCADA, PLC[0], when=nightly))).draft.window == "nights"
    once_at_six = seen(1, beginning=BEGINNING + 5 * DAY_S + 6 * 3600)
    rows = [asked(SCADA, PLC[0], when=nightly), asked(SCADA, PLC[0], when=once_at_six)]
    assert only(from_(plant, *rows)).draft.window == "mornings"
    at_noon = asked(SCADA, PLC[0], when=seen(1, beginning=BEGINNING + 12 * 3600 - 1800))
    assert only(from_(plant, rows[0], at_noon)).draft.window == "mornings"
    over = asked(SCADA, PLC[0], when=seen(1, beginning=BEGINNING + 12 * 3600))
    assert only(from_(plant, rows[0], over)).draft.window is None


def test_two_occasions_are_no_window(plant: Policy) -> None:
    assert only(from_(plant, asked(SCADA, PLC[0], when=seen(2, every=96)))).draft.window is None


# ---- --all ----------------------------------------------------------------------------------------------------------


def test_all_narrows_what_is_too_broad_and_names_what_nobody_used(plant: Policy) -> None:
    used = asked(SCADA, PLC[0], "tcp/2003", Reason.POLICY_CONDUIT, conduit="wide")
    assert from_(plant, used).proposals == (), "permitted already"
    learned = from_(plant, used, everything=True)
    assert only(learned).plain() == {"from": {"asset": "scada"}, "to": {"asset": "plc-1"}, "services": ["tcp-2003"]}
    assert only(learned).replaces == ("wide",)
    assert learned.unused == ("known",)


def test_all_leaves_alone_what_permits_exactly_what_was_seen(plant: Policy) -> None:
    used = asked(HMI[0], PLC[0], "tcp/102", Reason.FLOW_ESTABLISHED, conduit="known")
    learned = from_(plant, used, everything=True)
    assert (learned.proposals, learned.confirmed, learned.unused) == ((), ("known",), ("wide",))


# ---- the file -------------------------------------------------------------------------------------------------------


def test_the_file_tells_what_was_seen_when_by_whom_and_how_sure_one_may_be(plant: Policy) -> None:
    rows = [asked(hmi, plc) for hmi in HMI for plc in PLC[:4]]
    text = fragment(from_(plant, *rows, *WITHHELD[Why.SCAN], *WITHHELD[Why.UNKNOWN]), Accepting(TODAY, "a test"))
    flat = " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
    for word in (
        "hmi-1 (sup) → plc-1 (cell), tcp/502: 400 frames on 1 day, last 2026-09-21 09:59 UTC",
        "Confidence: low",
        "Permits 10 pairs of which 2 never seen: hmi-1 (sup) → plc-5 (cell), hmi-2 (sup) → plc-5 (cell)",
        "stage: monitor",
        "owner: to be confirmed",
        "reason: Learned 2026-11-23 from a test, seen on 2026-09-21; to be confirmed by 2026-12-23",
        "review: 2026-12-23",
        "unknown-172-16-0-1: {zone: sup",
        "looks like a scan: scada (sup) → plc-1 (cell), tcp/1, tcp/2,",
    ):
        assert word in flat, f"{word}\n{text}"
