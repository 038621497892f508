"""The queue rule for real, in the form that this kernel would be run with: marks, bypass, read-back.

Native where the kernel can queue frames of a bridge; elsewhere the x_tables rule under br_netfilter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import MARK_JUDGED, Form
from gateway.errors import KernelError
from gateway.kernel import bridge, counters, interception, nft, sync
from gateway.kernel.probe import probe
from tests.netns.kernel.frames import CASES, TAG, tcp
from tests.netns.kernel.plant import POLL, plant
from tests.netns.kernel.reader import Judge
from tests.netns.kernel.wire import BRIDGE, PORTS, QUEUE, Wire, inside, wait_until
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns
QUEUE_RULE_CHAIN = {Form.BRIDGE: "bridge conduit offered", Form.BRNF: "ip conduit judge"}
FORBIDDEN = tcp(2, 3, "S", 40100, 22)
PERMITTED = tcp(2, 3, "S", 40100, 502)


@pytest.fixture
def intercepted(wire: Wire, form: Form) -> Wire:
    """The wire with the queue rule standing."""
    require("nfqueue")
    with inside(wire.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
    return wire


@pytest.fixture
def judge(intercepted: Wire) -> Iterator[Judge]:
    """Somebody who judges."""
    reader = Judge(intercepted)
    yield reader
    reader.close()


def test_probe_finds_a_form_and_leaves_nothing(wire: Wire) -> None:
    """Names every ability, chooses a form, and the namespace it ran from has no probe table or link."""
    with inside(wire.gateway):
        before = nft.listing("ruleset")
        found = probe()
        assert nft.listing("ruleset") == before
        assert bridge.ports_ifindex(["probe0", "probe1"]) == {}
    assert found.form in set(Form)
    assert all(ability.present or ability.reason for ability in found.abilities)


def test_no_reader_means_static(intercepted: Wire) -> None:
    """With nobody bound, the rule is bypassed and the next chain is `static`."""
    before = intercepted.counts()
    assert intercepted.judge(PERMITTED, 2, 3) == "accepted"
    assert intercepted.judge(FORBIDDEN, 2, 3) == "dropped"
    after = intercepted.counts()
    assert after["frames_before_queue"] - before["frames_before_queue"] == 2
    assert after["static"] - before["static"] == 2


@pytest.mark.parametrize(("mark", "ending"), [(MARK_JUDGED, "judged"), (0, "dropped"), (1, "dropped")])
def test_only_the_engines_mark_passes_static(intercepted: Wire, judge: Judge, mark: int, ending: str) -> None:
    """A forbidden frame passes with the engine's mark alone; unmarked, or with another mark, `static` judges it."""
    judge.mark = mark
    before = intercepted.counts()
    intercepted.received(3)
    intercepted.send(2, FORBIDDEN)
    judge.one()
    with inside(intercepted.gateway):
        assert [stats.number for stats in counters.queue_stats()] == [QUEUE]
    name = {"judged": "judged_accepted", "dropped": "static_dropped"}[ending]
    wait_until(lambda: intercepted.counts()[name] == before[name] + 1, f"{name} counts the frame")
    if ending == "judged":
        assert intercepted.arrives(FORBIDDEN, 3)
    else:
        assert FORBIDDEN not in intercepted.received(3)


@pytest.mark.parametrize("name", ["arp", "tagged arp", "tagged, no such VLAN", "goose", "llc", "two tags"])
def test_what_is_not_untagged_ip(intercepted: Wire, judge: Judge, form: Form, name: str) -> None:
    """The native form asks the engine about every frame; under br_netfilter such frames do not wait for a queue."""
    _, frame, source, destination, verdict = next(case for case in CASES if case[0] == name)
    before = intercepted.counts()
    intercepted.received(destination)
    intercepted.send(source, frame)
    if form is Form.BRIDGE:
        judge.one()
        verdict = "accepted"  # by the judge above, whatever `static` would say
    copies = 2 if frame[0] & 1 else 1

    def ended() -> int:
        after = intercepted.counts()
        names = ("judged_accepted",) if form is Form.BRIDGE else ("l2_accepted", "l2_dropped")
        return sum(after[name] - before[name] for name in names)

    def settled() -> bool:
        if form is Form.BRIDGE and ended() < copies:
            judge.one()
        return ended() == copies

    wait_until(settled, "each copy of the frame is counted")
    if verdict == "accepted":
        assert intercepted.arrives(frame, destination)
    else:
        assert frame not in intercepted.received(destination)


def test_a_tagged_frame_keeps_its_tag(intercepted: Wire, judge: Judge, form: Form) -> None:
    """What leaves after the judgement is what came in, tag included."""
    frame = tcp(2, 3, "S", 40100, 502, tag=TAG)
    intercepted.received(3)
    intercepted.send(2, frame)
    if form is Form.BRIDGE:
        judge.one()
    assert intercepted.arrives(frame, 3)


def test_br_netfilter_takes_nothing_from_the_native_form(intercepted: Wire, judge: Judge, form: Form) -> None:
    """Where something else on the machine switches br_netfilter on, the engine is asked as before."""
    if form is not Form.BRIDGE:
        pytest.skip("this kernel has no native form")
    with inside(intercepted.gateway):
        if not interception.SYSCTL.exists():
            pytest.skip("br_netfilter is not loaded, so it can take nothing")
        for name in interception.CALLS:
            (interception.SYSCTL / name).write_text("1")
    before = intercepted.counts()
    intercepted.received(3)
    intercepted.send(2, FORBIDDEN)
    judge.one()
    assert intercepted.arrives(FORBIDDEN, 3)
    assert intercepted.counts()["judged_accepted"] == before["judged_accepted"] + 1
    with inside(intercepted.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
        assert all((interception.SYSCTL / name).read_text() == "0\n" for name in interception.CALLS)


def test_install_is_idempotent_and_follows_the_queue_range(intercepted: Wire, form: Form) -> None:
    """Installing again changes no handle; another range replaces the rule; `installed` says what stands."""
    chain = QUEUE_RULE_CHAIN[form].split()
    with inside(intercepted.gateway):
        before = nft.listing("chain", *chain)
        interception.install(form, BRIDGE, QUEUE, 1)
        assert nft.listing("chain", *chain) == before
        assert interception.installed(form, BRIDGE, QUEUE, 1)
        interception.install(form, BRIDGE, QUEUE, 2)
        assert not interception.installed(form, BRIDGE, QUEUE, 1)
        assert interception.installed(form, BRIDGE, QUEUE, 2)
        interception.install(form, BRIDGE, QUEUE, 1)


def test_an_extra_rule_is_noticed(intercepted: Wire, form: Form) -> None:
    """A rule that somebody put beside our queue rule is noticed and gone after installing again."""
    with inside(intercepted.gateway):
        nft.apply(f"add rule {QUEUE_RULE_CHAIN[form]} accept\n")
        assert not interception.installed(form, BRIDGE, QUEUE, 1)
        interception.install(form, BRIDGE, QUEUE, 1)
        assert interception.installed(form, BRIDGE, QUEUE, 1)


def test_a_refused_script_names_its_statement(wire: Wire) -> None:
    """The error carries the statement that the kernel refused, and nothing of the script is in force."""
    with inside(wire.gateway):
        with pytest.raises(KernelError, match="bridge nowhere"):
            nft.apply("add table bridge half\nadd rule bridge nowhere chain accept\n")
        assert not nft.table_exists("bridge", "half")


def test_ports_are_attached_only_behind_static(bare_wire: Wire) -> None:
    """Without the chain `static` no port is enslaved; the closed base is enough."""
    with inside(bare_wire.hosts):  # a namespace without any ruleset
        bridge.ensure("br9")
        with pytest.raises(KernelError, match="static"):
            bridge.attach("br9", ["h1"])
        assert bridge.ports("br9") == {}
        assert sync.ensure_base("br9")
        assert not sync.ensure_base("br9")
        with pytest.raises(KernelError, match="no interface"):
            bridge.attach("br9", ["absent"])


def test_frames_without_ip_have_rules_of_their_own(intercepted: Wire, form: Form) -> None:
    """The native form reads back the layer-2 queue; br_netfilter never shows it a frame, so nothing differs there."""
    with inside(intercepted.gateway):
        interception.install(form, BRIDGE, QUEUE, 2, QUEUE + 2)
        assert interception.installed(form, BRIDGE, QUEUE, 2, QUEUE + 2)
        assert interception.installed(form, BRIDGE, QUEUE, 2) == (form is Form.BRNF)
        assert interception.installed(form, BRIDGE, QUEUE, 2, QUEUE + 3) == (form is Form.BRNF)


def test_sync_notices_a_foreign_change(wire: Wire, form: Form) -> None:
    """What was loaded stands until somebody changes a rule, and a process that did not load it can tell as well."""
    policy = plant(PORTS, vlan=100)
    stages = dict(policy.pair_stages)
    how: dict[str, Any] = {
        "form": form,
        "bridge_name": BRIDGE,
        "first_queue": QUEUE,
        "queue_count": 1,
        "layer2_queue": QUEUE + 1,
    }
    with inside(wire.gateway):
        loaded = sync.apply_policy(policy, stages=stages, closed=frozenset(), **how)
        script = sync.script_of(policy, stages=stages, closed=frozenset(), **how)
        assert sync.stands(loaded)
        assert sync.in_sync(script)
        nft.apply("insert rule bridge conduit guard accept\n")
        assert not sync.stands(loaded)
        assert not sync.in_sync(script)
        sync.apply_policy(policy, stages=stages, closed=frozenset(), **how)
        assert sync.apply_policy(policy, stages=stages, closed=frozenset(), **how) == loaded
        sync.apply_toggle(policy, stages=stages, closed={POLL})
        assert not sync.in_sync(script)
        assert sync.in_sync(sync.script_of(policy, stages=stages, closed={POLL}, **how))
