"""Who may be where: prefixes become disjoint spans, hosts are never found through the prefix around them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.static_identity import BLOCKED, ip_identity, mac_identity
from tests.netns.kernel.plant import CONTROL, ENTERPRISE, GROUP, HMI, HMI_MAC, PLC, PLC2, SUPERVISORY, endpoint, plant

PORTS = ("p1", "p2", "p3")
EMPTY = replace(plant(PORTS), endpoints=())


def number(text: str) -> int:
    """Return an IPv4 address as a number."""
    return int(IPv4Address(text))


def test_checked_host_is_found_by_its_mac_only() -> None:
    """An asset with MACs is in the MAC map with its class and in the plain map as blocked."""
    identity = ip_identity(plant(PORTS), ipv4=True)
    assert identity.source_macs[SUPERVISORY, HMI_MAC, number(HMI)] == 1
    assert identity.source_hosts[SUPERVISORY, number(HMI)] == BLOCKED
    assert identity.destination_hosts[SUPERVISORY, number(HMI)] == 1


def test_host_inside_the_prefix_of_another_zone_is_blocked_there() -> None:
    """A PLC's address inside the supervisory prefix is nobody's in the supervisory zone."""
    identity = ip_identity(plant(PORTS), ipv4=True)
    for address in (PLC, PLC2):
        assert identity.source_hosts[SUPERVISORY, number(address)] == BLOCKED
        assert identity.destination_hosts[SUPERVISORY, number(address)] == BLOCKED
    assert identity.source_hosts[CONTROL, number(PLC2)] == 2


def test_group_is_a_destination_everywhere_and_a_source_nowhere() -> None:
    """A group address is in every zone as a destination; nobody may send from it."""
    identity = ip_identity(plant(PORTS), ipv4=True)
    assert all((zone, number(GROUP)) in identity.destination_hosts for zone in (ENTERPRISE, SUPERVISORY, CONTROL))
    assert not any(address == number(GROUP) for _, address in identity.source_hosts)
    sources, destinations = mac_identity(plant(PORTS))
    assert len(destinations) == len(sources) + 3


def test_a_prefix_of_ipv6_that_covers_everything_does_not_speak_for_mapped_addresses() -> None:
    """::/0 becomes spans around ::ffff:0:0/96, and covers IPv4 as the lookup of the engine does."""
    policy = replace(EMPTY, endpoints=(endpoint("::/0", ENTERPRISE, 3),))
    assert [span[1:3] for span in ip_identity(policy, ipv4=True).source_spans] == [(0, (1 << 32) - 1)]
    spans = ip_identity(policy, ipv4=False).source_spans
    assert [first for _, first, _, _ in spans] == [0, (0xFFFF << 32) + (1 << 32)]


prefixes = st.lists(
    st.tuples(st.integers(0, 255), st.integers(24, 31), st.integers(1, 3)),
    max_size=12,
    unique_by=lambda drawn: (drawn[0] >> (32 - drawn[1]), drawn[1]),
)


@given(prefixes, st.integers(0, 255))
def test_spans_give_the_longest_match(drawn: list[tuple[int, int, int]], host: int) -> None:
    """For any nested prefixes, the one span that holds an address is the longest prefix that does."""
    endpoints = []
    for klass, (low, length, zone) in enumerate(drawn, start=1):
        base = low & (0xFF << (32 - length)) & 0xFF
        endpoints.append(endpoint(f"10.0.0.{base}/{length}", zone, klass))
    identity = ip_identity(replace(EMPTY, endpoints=tuple(endpoints)), ipv4=True)
    address = number("10.0.0.0") + host
    found = [klass for _, first, last, klass in identity.source_spans if first <= address <= last]
    matching = [
        (length, klass)
        for klass, (low, length, _) in enumerate(drawn, start=1)
        if (low >> (32 - length)) == (host >> (32 - length))
    ]
    assert found == ([max(matching)[1]] if matching else [])


@pytest.mark.parametrize("name", ['p"1', "", "a" * 16, "p*"])
def test_an_interface_name_that_nft_would_misread_is_refused(name: str) -> None:
    """Nothing that came from a policy text can end a quoted string in the script."""
    from rules.static_script import interface

    with pytest.raises(ValueError, match="interface"):
        interface(name)
