"""The x_tables queue rule under br_netfilter, for real: marks, bypass, read-back, and nothing of others touched."""

from __future__ import annotations

import select

import pytest
from netfilterqueue import NetfilterQueue, Packet

from fastpath.abi import MARK_JUDGED, Form
from gateway.errors import KernelError
from gateway.kernel import bridge, counters, interception, netlink_rule, nft, sync
from gateway.kernel.probe import probe
from tests.netns.kernel.frames import arp, tcp
from tests.netns.kernel.plant import HMI, PLC, POLL, plant
from tests.netns.kernel.wire import BRIDGE, PORTS, Wire, inside, wait_until
from tests.support.capability import require

pytestmark = pytest.mark.netns
QUEUE = 5
FORBIDDEN = tcp(2, 3, "S", 40100, 22)
PERMITTED = tcp(2, 3, "S", 40100, 502)


@pytest.fixture
def intercepted(wire: Wire) -> Wire:
    """The wire with the queue rule standing."""
    require("nfqueue")
    with inside(wire.gateway):
        interception.install(Form.BRNF, BRIDGE, QUEUE, 1)
    return wire


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
def test_only_the_engines_mark_passes_static(intercepted: Wire, mark: int, ending: str) -> None:
    """A forbidden frame passes with the engine's mark alone; unmarked, or with another mark, `static` judges it."""
    with inside(intercepted.gateway):
        queue = NetfilterQueue()

        def judge(packet: Packet) -> None:
            if mark:
                packet.set_mark(mark)
            packet.accept()

        queue.bind(QUEUE, judge)
    try:
        before = intercepted.counts()
        intercepted.received(3)
        intercepted.send(2, FORBIDDEN)
        assert select.select([queue.get_fd()], [], [], 5)[0], "the frame did not reach the queue"
        with inside(intercepted.gateway):
            assert [stats.number for stats in counters.queue_stats()] == [QUEUE]
        queue.run(block=False)
        name = {"judged": "judged_accepted", "dropped": "static_dropped"}[ending]
        wait_until(lambda: intercepted.counts()[name] == before[name] + 1, f"{name} counts the frame")
        if ending == "judged":
            assert intercepted.arrives(FORBIDDEN, 3)
        else:
            assert FORBIDDEN not in intercepted.received(3)
        intercepted.send(2, arp(2, 3, HMI, PLC))
        assert intercepted.arrives(arp(2, 3, HMI, PLC), 3), "ARP must not wait for a queue"
    finally:
        queue.unbind()


def test_install_is_idempotent_and_follows_the_queue_range(intercepted: Wire) -> None:
    """Installing again changes no handle; another range replaces the rule; `installed` says what stands."""
    with inside(intercepted.gateway):
        before = nft.listing("chain", "ip", "conduit", "judge")
        interception.install(Form.BRNF, BRIDGE, QUEUE, 1)
        assert nft.listing("chain", "ip", "conduit", "judge") == before
        assert interception.installed(Form.BRNF, BRIDGE, QUEUE, 1)
        interception.install(Form.BRNF, BRIDGE, QUEUE, 2)
        assert len(netlink_rule.rules("ip6", "conduit", "judge")) == 1
        assert not interception.installed(Form.BRNF, BRIDGE, QUEUE, 1)
        assert interception.installed(Form.BRNF, BRIDGE, QUEUE, 2)
        interception.install(Form.BRNF, BRIDGE, QUEUE, 1)


def test_an_extra_rule_is_noticed(intercepted: Wire) -> None:
    """A rule that somebody put into our chain is noticed and gone after installing again."""
    with inside(intercepted.gateway):
        nft.apply("add rule ip conduit judge accept\n")
        assert not interception.installed(Form.BRNF, BRIDGE, QUEUE, 1)
        interception.install(Form.BRNF, BRIDGE, QUEUE, 1)
        assert interception.installed(Form.BRNF, BRIDGE, QUEUE, 1)


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


def test_sync_notices_a_foreign_change(wire: Wire) -> None:
    """What was loaded stands until somebody changes a rule, and a process that did not load it can tell as well."""
    policy = plant(PORTS, vlan=100)
    stages = dict(policy.pair_stages)
    how = {"form": Form.BRNF, "bridge_name": BRIDGE, "first_queue": QUEUE, "queue_count": 1}
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
