"""Reading back without nft: what is noticed, what is not, and counters that no swap touches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Form
from gateway.errors import KernelError
from gateway.kernel import counters, interception, netlink_rule, nft, sync
from rules.static_counting import COUNTED, counting_chain
from tests.netns.kernel.plant import POLL, plant
from tests.netns.kernel.reader import Judge
from tests.netns.kernel.test_interception import FORBIDDEN, PERMITTED
from tests.netns.kernel.wire import BRIDGE, PORTS, QUEUE, Wire, inside, wait_until
from tests.support.capability import require

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.netns
POLICY = plant(PORTS, vlan=100)
# what somebody else may do to our table → nft statements; `%d` is the bank in use
FOREIGN = {
    "a rule in front": "insert rule bridge conduit guard accept",
    "an ending gone": "flush chain bridge conduit deny_%d",
    "a rule behind": "add rule bridge conduit deny_%d accept",
    "a chain at the hook": "add chain bridge conduit other { type filter hook forward priority -30; policy accept; }",
    "a chain without one": "add chain bridge conduit other",
    "an open end": "add chain bridge conduit static { policy accept; }",
    "an element of a map": 'add element bridge conduit tagged_sources_%d { "p1" . 7 : 3 }',
    "no counting": f"flush chain bridge conduit {counting_chain('judged_accepted')}",
}
# The queue rules of the native form as nft 1.0.6 sends them, without their outermost attributes: frames without IP to
# queue 7, all others to 4 to 6.
NATIVE = (
    # not IPv4, not IPv6, queue 7
    (
        "24000180090001006d6574610000000014000280080002000000000108000100000000012c00018008000100636d700020000280080001000000"
        "000108000200000000010c000380060001000800000024000180090001006d65746100000000140002800800020000000001080001000000"
        "00012c00018008000100636d700020000280080001000000000108000200000000010c0003800600010086dd00002c0001800a0001007175"
        "6575650000001c000280060001000007000006000200000100000600030000010000"
    ),
    "2c0001800a00010071756575650000001c000280060001000004000006000200000300000600030000010000",
)


@pytest.fixture
def how(form: Form) -> dict[str, Any]:
    """How the plant's policy is applied here."""
    settled: dict[str, Any] = {"form": form, "bridge_name": BRIDGE, "lane": True, "layer2_queue": None}
    return settled | {"stages": dict(POLICY.pair_stages), "first_queue": QUEUE, "queue_count": 1}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_change_is_noticed_and_mended(wire: Wire, how: dict[str, Any], name: str) -> None:
    """Whatever judges otherwise than what was loaded is seen; loading again makes it as it was."""
    with inside(wire.gateway):
        loaded = sync.apply_policy(POLICY, closed=frozenset(), **how)
        in_use = sync.bank_in_use()
        assert in_use is not None
        statement = FOREIGN[name]
        nft.apply((statement % in_use if "%d" in statement else statement) + "\n")
        assert not sync.stands(loaded)
        if "hook" not in name and "without" not in name:  # a load takes no foreign chain away
            sync.apply_policy(POLICY, closed=frozenset(), **how)  # by the other bank
            assert sync.apply_policy(POLICY, closed=frozenset(), **how) == loaded
        else:
            nft.apply("delete chain bridge conduit other\n")
            assert sync.stands(loaded)


def test_a_set_inside_a_rule_is_part_of_it(wire: Wire, how: dict[str, Any]) -> None:
    """One closed conduit changes elements of anonymous sets and nothing else: the digests differ."""
    with inside(wire.gateway):
        loaded = sync.apply_policy(POLICY, closed=frozenset(), **how)
        stages = how["stages"]
        assert sync.apply_toggle(POLICY, stages=stages, closed={POLL}) != loaded
        assert not sync.stands(loaded)
        assert sync.apply_toggle(POLICY, stages=stages, closed=frozenset()) == loaded


def test_a_bank_filled_beforehand_judges_by_the_stages_of_now(wire: Wire, how: dict[str, Any]) -> None:
    """Filling changes nothing that judges; what was set in between is in the bank before it judges."""
    with inside(wire.gateway):
        before = sync.apply_policy(POLICY, closed=frozenset(), **how)
        wiring = {key: value for key, value in how.items() if key != "bridge_name"}
        spare = sync.fill_spare(POLICY, closed=frozenset(), **wiring)
        assert sync.kernel_digest() == before.kernel_digest
        assert sync.bank_in_use() != spare.bank
        sync.apply_toggle(POLICY, stages=how["stages"], closed={POLL})
        switched = sync.apply_policy(POLICY, closed={POLL}, spare=spare, **how)
        assert sync.bank_in_use() == spare.bank
        sync.apply_policy(POLICY, closed={POLL}, spare=spare, **how)
        assert sync.bank_in_use() != spare.bank, "one that judges already is not filled"
        assert sync.apply_policy(POLICY, closed={POLL}, **how) == switched


def test_a_look_starts_no_process(wire: Wire, form: Form, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """nft reads every flow of the lane before it lists a rule: what comes every second asks the kernel itself."""

    def refused(*_: object) -> None:
        raise AssertionError("nft was run")

    with inside(wire.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
        loaded = sync.apply_policy(POLICY, closed=frozenset(), **how)
        monkeypatch.setattr(nft, "_run", refused)
        assert sync.policy_stands()
        assert sync.stands(loaded)
        assert interception.installed(form, BRIDGE, QUEUE, 1)
        assert not interception.installed(form, BRIDGE, QUEUE, 2)
        assert counters.counters()


def test_counts_go_on_over_swaps(wire: Wire, form: Form, how: dict[str, Any]) -> None:
    """Both banks, with and without the lane: what was counted before a swap is in the count behind it."""
    require("nfqueue")
    with inside(wire.gateway):
        sync.apply_policy(POLICY, closed=frozenset(), **how)
        interception.install(form, BRIDGE, QUEUE, 1)
    before = wire.counts()
    judge = Judge(wire)
    try:
        for number, lane in enumerate((True, False, True, True), start=1):
            wire.send(2, PERMITTED)
            judge.one()
            wait_until(lambda number=number: judged(wire, before) == number, "the frame is counted")
            with inside(wire.gateway):
                sync.apply_policy(POLICY, closed=frozenset(), **how | {"lane": lane})
        assert wire.counts()["frames_before_queue"] - before["frames_before_queue"] == 4
    finally:
        judge.close()


def judged(wire: Wire, before: dict[str, int]) -> int:
    """Return the frames accepted by their mark since then."""
    return wire.counts()["judged_accepted"] - before["judged_accepted"]


def test_without_counting_nothing_passes(wire: Wire, how: dict[str, Any]) -> None:
    """A counting chain that somebody emptied is missed by name, and lets no judged frame out uncounted."""
    with inside(wire.gateway):
        sync.apply_policy(POLICY, closed=frozenset(), **how)
        nft.apply("".join(f"flush chain bridge conduit {counting_chain(name)}\n" for name in COUNTED))
        with pytest.raises(KernelError, match="judged_accepted"):
            counters.counters()
        sync.apply_policy(POLICY, closed=frozenset(), **how)
    assert wire.judge(FORBIDDEN, 2, 3) == "dropped"


def test_native_queue_rules_are_compared_as_nft_spells_them() -> None:
    """The read-back of the native form, for kernels that lack it too: every field of both rules counts."""
    spelled = [bytes.fromhex(rule) for rule in NATIVE]
    wanted = netlink_rule.native(4, 3, 7)
    assert all(map(netlink_rule.same, spelled, wanted))
    for other in (netlink_rule.native(4, 2, 7), netlink_rule.native(5, 3, 7), netlink_rule.native(4, 3, None)):
        assert not any(netlink_rule.same(spelled[1], rule) for rule in other if rule not in wanted)
    assert not netlink_rule.same(spelled[0], netlink_rule.native(4, 3, 8)[0])
