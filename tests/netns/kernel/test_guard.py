"""Quarantine: nothing passes from or to the device, whatever the policy or the engine says."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import Dot1Q

from gateway.errors import KernelError
from gateway.kernel import guard, nft
from gateway.kernel.guard import Member
from tests.netns.kernel.frames import NA, NS, TAG, arp, six, tcp
from tests.netns.kernel.plant import HMI, HMI6, HMI_MAC, PLC, PLC6
from tests.netns.kernel.wire import Wire, inside, wait_until

pytestmark = pytest.mark.netns
OPENING, ANSWER = tcp(2, 3, "S", 40100, 502), tcp(3, 2, "SA", 502, 40100)


@pytest.fixture(autouse=True)
def emptied(wire: Wire) -> None:
    """Start with nobody in quarantine."""
    with inside(wire.gateway):
        guard.remove(guard.members())


@pytest.mark.parametrize("member", [Member("mac", HMI_MAC.hex(":")), Member("ip4", HMI), Member("ip4", PLC)])
def test_both_directions_and_arp(wire: Wire, member: Member) -> None:
    """Frames from and to the address are dropped in `guard`, ARP about it too, and pass again after the release."""
    with inside(wire.gateway):
        guard.add([member])
        assert guard.members() == [member]
    assert wire.judge(OPENING, 2, 3) == "quarantined"
    assert wire.judge(ANSWER, 3, 2) == "quarantined"
    assert wire.judge(arp(2, 3, HMI, PLC), 2, 3) == "quarantined"
    with inside(wire.gateway):
        guard.remove([member])
        guard.remove([member])
        assert guard.members() == []
    assert wire.judge(OPENING, 2, 3) == "accepted"


def test_ipv6_and_tagged(wire: Wire) -> None:
    """IPv6 is dropped too, and a VLAN tag hides nothing."""
    with inside(wire.gateway):
        guard.add([Member("ip6", HMI6), Member("ip4", HMI)])
    assert wire.judge(six(2, 3, HMI6, PLC6, TCP(dport=502, flags="S")), 2, 3) == "quarantined"
    assert wire.judge(tcp(2, 3, "S", 40100, 502, tag=TAG), 2, 3) == "quarantined"
    assert wire.judge(arp(2, 3, HMI, PLC, tag=TAG), 2, 3) == "quarantined"
    assert wire.judge(arp(3, 2, PLC, HMI, tag=TAG), 3, 2) == "quarantined"
    assert wire.judge(six(2, 3, HMI6, PLC6, TCP(dport=502, flags="S"), tag=TAG), 2, 3) == "quarantined"


@pytest.mark.parametrize("tag", [{}, {"tag": TAG}], ids=["untagged", "tagged"])
def test_nobody_asks_for_it_or_speaks_for_it(wire: Wire, tag: dict[str, Dot1Q]) -> None:
    """Neighbour discovery about an address in quarantine is dropped, whoever sends it; about others it is not."""
    asking, other = "ff02::1:ff00:20", "ff02::1:ff00:30"
    with inside(wire.gateway):
        guard.add([Member("ip6", HMI6, 600)])
    assert wire.judge(six(3, 2, PLC6, asking, NS(tgt=HMI6), **tag), 3, 2) == "quarantined"
    assert wire.judge(six(3, 2, PLC6, "ff02::1", NA(tgt=HMI6), **tag), 3, 2) == "quarantined"
    assert wire.judge(six(2, 3, "fd00::77", other, NS(tgt=PLC6), **tag), 2, 3) != "quarantined"
    with inside(wire.gateway):
        guard.remove([Member("ip6", HMI6)])
    assert wire.judge(six(3, 2, PLC6, asking, NS(tgt=HMI6), **tag), 3, 2) == "accepted"


def test_the_kernel_forgets_by_itself(wire: Wire) -> None:
    """An element with a time is gone after it; adding again renews the time."""
    with inside(wire.gateway):
        guard.add([Member("ip4", HMI, 500), Member("ip6", HMI6, 500)])
        guard.add([Member("ip4", HMI, 1), Member("ip6", HMI6, 1)])
        assert all(held.seconds is not None and held.seconds <= 1 for held in guard.members())
        wait_until(lambda: guard.members() == [], "the quarantine is over")


@pytest.mark.parametrize("member", [Member("mac", "02:00"), Member("ip4", "10.0.0.256"), Member("ip6", "x; drop")])
def test_what_is_no_address_is_refused(wire: Wire, member: Member) -> None:
    """A wrong address is refused before nft sees it, and so is the rest of the request."""
    with inside(wire.gateway):
        with pytest.raises(KernelError, match="address"):
            guard.add([Member("ip4", PLC), member])
        assert guard.members() == []
        assert nft.table_exists("bridge", "conduit")


def test_it_is_looked_up_only_while_somebody_is_in_it(wire: Wire) -> None:
    """The lookups stand from the first member to the last one's release; without them `stands` says no."""
    with inside(wire.gateway):
        assert "quarantined" not in nft.text_listing("chain", "bridge", "conduit", "quarantine")
        guard.add([Member("ip4", HMI), Member("ip4", PLC)])
        guard.remove([Member("ip4", HMI)])
        assert guard.stands()
        nft.apply("flush chain bridge conduit quarantine\n")
        assert not guard.stands()
        guard.add([Member("ip4", PLC)])
        assert guard.stands()
    assert wire.judge(OPENING, 2, 3) == "quarantined"
    with inside(wire.gateway):
        guard.remove([Member("ip4", PLC)])
        assert "quarantined" not in nft.text_listing("chain", "bridge", "conduit", "quarantine")
