"""Addresses bound to ports, many at once: all of them, exactly them, and a refusal that says which."""

from __future__ import annotations

import subprocess

import pytest

from gateway.errors import KernelError
from gateway.kernel import bridge, fdb
from gateway.kernel.namespace import in_throw_away_namespace
from tests.support.capability import require

pytestmark = pytest.mark.netns
MANY = 5000  # more than the answers that a socket holds
BRIDGE, PORTS = "fdbtest", ("fdb0", "fdb1")
MACS = [bytes((2, 0x0C)) + number.to_bytes(4, "big") for number in range(MANY)]


def in_a_bridge_of_two_ports(body: object) -> None:
    """Run a function with the ports' ifindexes in a namespace of its own."""
    require("netns")

    def call() -> None:
        subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "add", PORTS[0], "type", "veth", "peer", "name", PORTS[1]], check=True)
        for port in PORTS:
            subprocess.run(["ip", "link", "set", port, "master", BRIDGE, "up"], check=True)
        assert callable(body)
        body(bridge.ports(BRIDGE))

    in_throw_away_namespace(call)


def test_pins_are_exactly_those_that_are_wanted() -> None:
    """Thousands are bound, moved and released; what somebody else wrote is left alone."""

    def body(ports: dict[str, int]) -> None:
        indexes = set(ports.values())
        bridge.pin(BRIDGE, dict.fromkeys(MACS, PORTS[0]))
        assert fdb.sticky(indexes) == {(mac, ports[PORTS[0]]) for mac in MACS}
        moved = dict.fromkeys(MACS[:10], PORTS[1]) | dict.fromkeys(MACS[10:20], PORTS[0])
        bridge.pin(BRIDGE, moved)
        assert fdb.sticky(indexes) == {(mac, ports[port]) for mac, port in moved.items()}
        foreign = "02:ff:00:00:00:01"
        subprocess.run(["bridge", "fdb", "add", foreign, "dev", PORTS[0], "master", "static"], check=True)
        bridge.pin(BRIDGE, {})
        assert fdb.sticky(indexes) == set()
        shown = subprocess.run(["bridge", "fdb", "show", "br", BRIDGE], check=True, capture_output=True, text=True)
        assert foreign in shown.stdout

    in_a_bridge_of_two_ports(body)


def test_a_refused_address_is_named() -> None:
    """Where there is no such port nothing is bound, and an entry that is not there can't be removed."""

    def body(ports: dict[str, int]) -> None:
        index = ports[PORTS[0]]
        with pytest.raises(KernelError, match=f"pin {MACS[2].hex(':')}"):
            fdb.stick([(MACS[0], index), (MACS[2], max(ports.values()) + 1000)])
        with pytest.raises(KernelError, match=f"unpin {MACS[1].hex(':')}"):
            fdb.forget([(MACS[1], index)])

    in_a_bridge_of_two_ports(body)
