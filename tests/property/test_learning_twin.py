"""Laws of learning: its own tape drops nothing that was not withheld, no pair is lost, and no order matters."""

from __future__ import annotations

from datetime import date
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.learning.accepting import together
from gateway.learning.from_tape import evidence
from gateway.learning.report import report
from rules.bundle import Bundle
from rules.check import check
from rules.compile import compile_text
from rules.conduit_model import Conduit
from rules.learning.evidence import ASSET, End, Pair
from rules.learning.fragment import Accepting, fragment
from rules.learning.grouping import Block, Roles, Side, group
from rules.learning.proposing import learn
from rules.learning.sifting import IGNORED, PERMITTED
from rules.learning.thresholds import Thresholds
from rules.model import Policy
from rules.problems import Severity
from rules.zoning import Zoning
from tests.support.learning import plants, tapes, text

if TYPE_CHECKING:
    from gateway.tape.store import Observation
    from rules.compile import Compiled
    from rules.learning.evidence import Evidence
    from rules.learning.proposing import Learned

TODAY = date(2026, 11, 23)
ACCEPTING = Accepting(TODAY, "a drawn tape")
some = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def plants_and_tapes(draw: st.DrawFn) -> tuple[dict[str, Any], list[Observation]]:
    """Draw a plant and what was seen in it."""
    plant = draw(plants())
    return plant, draw(tapes(plant))


def with_learned(plant: dict[str, Any], learned: Learned) -> Compiled:
    """Compile the plant's policy with what was learned, by way of the file."""
    written = fragment(learned, ACCEPTING)
    return together(Bundle("policy.yaml", text(plant)), written, Path("learned.yaml"), ACCEPTING)


@some
@given(plants_and_tapes())
def test_its_own_tape_drops_nothing_that_was_not_withheld(drawn: tuple[dict[str, Any], list[Observation]]) -> None:
    plant, tape = drawn
    before = compile_text(text(plant))
    learned = learn(before.policy, evidence(before, tape), today=TODAY)
    after = evidence(with_learned(plant, learned), tape)
    withheld = {(one.pair, number) for one in learned.withheld for number in one.numbers}
    dropped = [one for one in after if not one.reply and one.reason not in PERMITTED | IGNORED]
    assert [one for one in dropped if (one.pair, one.number) not in withheld] == []


@some
@given(plants_and_tapes())
def test_what_is_accepted_says_what_was_proposed_and_no_error_names_it(
    drawn: tuple[dict[str, Any], list[Observation]],
) -> None:
    plant, tape = drawn
    before = compile_text(text(plant))
    learned = learn(before.policy, evidence(before, tape), today=TODAY)
    policy = with_learned(plant, learned).policy
    assert [problem for problem in check(policy, TODAY) if problem.severity is Severity.ERROR] == []
    assert set(policy.conduits) == set(plant["conduits"]) | {one.name for one in learned.proposals}
    for one in learned.proposals:
        got, wanted = policy.conduits[one.name], Conduit.model_validate(one.plain())
        assert (got.source, got.destination, got.services, got.windows) == (
            wanted.source, wanted.destination, wanted.services, wanted.windows,
        )  # fmt: skip


@some
@given(plants_and_tapes(), st.randoms(use_true_random=False))
def test_the_order_of_the_evidence_does_not_matter(drawn: tuple[dict[str, Any], list[Observation]], rng: Any) -> None:
    plant, tape = drawn
    compiled = compile_text(text(plant))
    rows = evidence(compiled, tape)
    shuffled = list(rows)
    rng.shuffle(shuffled)
    first, second = (learn(compiled.policy, some_rows, today=TODAY) for some_rows in (rows, shuffled))
    assert fragment(first, ACCEPTING) == fragment(second, ACCEPTING)
    assert report(first) == report(second)


@some
@given(plants_and_tapes())
def test_every_pair_seen_is_proposed_or_withheld(drawn: tuple[dict[str, Any], list[Observation]]) -> None:
    plant, tape = drawn
    compiled = compile_text(text(plant))
    rows = evidence(compiled, tape)
    learned = learn(compiled.policy, rows, today=TODAY)
    told = {(one.pair, number) for one in learned.withheld for number in one.numbers}
    for one in learned.proposals:
        told |= set(product(one.draft.block.pairs(), one.draft.numbers))
    assert {(one.pair, one.number) for one in rows if _forbidden(one)} <= told


def _forbidden(one: Evidence) -> bool:
    return not one.reply and one.reason not in PERMITTED | IGNORED


# ---- grouping, against its definition -------------------------------------------------------------------------------


@st.composite
def roles_and_pairs(draw: st.DrawFn) -> tuple[Policy, set[Pair], Thresholds]:
    """Draw two zones of assets with roles, pairs between them, thresholds."""
    assets = {}
    for zone in ("here", "there"):
        for number in range(draw(st.integers(1, 7))):
            roles = draw(st.lists(st.sampled_from(("r0", "r1", "r2")), max_size=2, unique=True))
            assets[f"{zone[0]}{number}"] = {"zone": zone, "roles": roles}
    zones = {"here": {"kind": "supervisory"}, "there": {"kind": "control"}}
    policy = Policy.model_validate({"version": 1, "site": {"name": "s"}, "zones": zones, "assets": assets})
    every = [
        Pair(End("here", ASSET, one), End("there", ASSET, other))
        for one, other in product(assets, assets)
        if one[0] == "h" and other[0] == "t"
    ]
    absent = draw(st.sets(st.sampled_from(every), max_size=max(1, len(every) // draw(st.sampled_from((1, 2, 8))))))
    thresholds = Thresholds(
        members=draw(st.integers(1, 3)),
        member_percent=draw(st.sampled_from((50, 80, 100))),
        pair_percent=draw(st.sampled_from((50, 80, 100))),
    )
    return policy, set(every) - absent, thresholds


def allowed(block: Block, policy: Policy, pairs: set[Pair], thresholds: Thresholds) -> bool:
    """Tell by the definition alone (decision 0021) whether the evidence carries a block."""
    permitted = [Pair(source, destination) for source in block.source.ends for destination in block.destination.ends]
    seen = [pair for pair in permitted if pair in pairs]
    if not block.source.role and not block.destination.role:
        return len(seen) == len(permitted)
    fine = len(seen) >= thresholds.pair_percent / 100 * len(permitted) - 1e-9
    for side, at in ((block.source, 0), (block.destination, 1)):
        if side.role:
            whole = {n for n, a in policy.assets.items() if side.role in a.roles and a.zone == side.zone}
            members = {pair[at].name for pair in seen}
            fine &= {end.name for end in side.ends} == whole
            fine &= len(members) >= max(thresholds.members, thresholds.member_percent / 100 * len(whole) - 1e-9)
    return fine


@settings(max_examples=200, deadline=None)
@given(roles_and_pairs())
def test_blocks_hold_every_pair_and_no_more_than_the_evidence_carries(
    drawn: tuple[Policy, set[Pair], Thresholds],
) -> None:
    policy, pairs, thresholds = drawn
    blocks = group(pairs, Roles(Zoning(policy)), thresholds)
    permitted = set().union(*(block.pairs() for block in blocks)) if blocks else set()
    assert pairs <= permitted
    assert [block for block in blocks if not allowed(block, policy, pairs, thresholds)] == []
    idle = [
        (block, end) for block in blocks for side in block for end in side.ends if _is_idle(blocks, block, end, pairs)
    ]
    assert idle == []
    listed = group(pairs, Roles(Zoning(policy)), thresholds, by_role=False)
    assert set().union(*(block.pairs() for block in listed)) == pairs if listed else not pairs


def _is_idle(blocks: list[Block], block: Block, end: End, pairs: set[Pair]) -> bool:
    """Tell whether an end stands in a list although role-to-role blocks hold all that was seen of it there."""
    side = block.source if end in block.source.ends else block.destination
    mine = {pair for pair in block.pairs() & pairs if end in pair}
    wider = [other for other in blocks if other is not block and other.source.role and other.destination.role]
    return not side.role and bool(mine) and mine <= set().union(*(other.pairs() for other in wider), set())


@settings(max_examples=200, deadline=None)
@given(roles_and_pairs())
def test_a_role_that_was_seen_widely_enough_is_found(drawn: tuple[Policy, set[Pair], Thresholds]) -> None:
    """Slow twin: all blocks that roles could make; where one of them holds every pair seen, one conduit is enough."""
    policy, pairs, thresholds = drawn
    whole = [
        Block(Side(mine, _members(policy, "here", mine)), Side(theirs, _members(policy, "there", theirs)))
        for mine, theirs in product(("r0", "r1", "r2"), repeat=2)
        if _members(policy, "here", mine) and _members(policy, "there", theirs)
    ]
    carried = [block for block in whole if allowed(block, policy, pairs, thresholds) and pairs <= block.pairs()]
    if carried and len(pairs) > 1:
        (only,) = group(pairs, Roles(Zoning(policy)), thresholds)
        assert only in carried


def _members(policy: Policy, zone: str, role: str) -> tuple[End, ...]:
    names = sorted(n for n, a in policy.assets.items() if a.zone == zone and role in a.roles)
    return tuple(End(zone, ASSET, name) for name in names)
