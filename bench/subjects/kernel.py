"""none and nft-stateful: what the kernel does without any queue.

none: a plain bridge, br_netfilter switched off. nft-stateful: the usual ruleset of a Linux firewall, in the form of
interception that this kernel has: established flows pass, new ones are looked up in one concatenated set, the rest is
dropped. In the form `brnf` the conntrack of the ip family sees bridged packets; in the form `bridge` the bridge's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import traffic
from bench.interception import TABLE, form
from bench.rig import NORTH, SOUTH, Host, Rig
from bench.subjects.subject import Witness
from fastpath.abi import Form
from gateway.kernel import nft

if TYPE_CHECKING:
    from collections.abc import Sequence

FILLING_ELEMENTS = 100  # permits of others: the set is as large as the policy that conduitd judges by


class Nobody:
    """No judge."""

    name = "none"
    witness = Witness.NOTHING

    def available(self) -> str | None:
        """Nothing is always there."""
        return None

    def start(self, rig: Rig) -> None:
        """The rig is a plain bridge already."""

    def judge_pids(self) -> Sequence[int]:
        """Nobody judges."""
        return []

    def counted(self, rig: Rig) -> int:  # noqa: ARG002
        """Nothing counts."""
        return 0

    def stop(self) -> None:
        """Nothing to end."""


class NftStateful(Nobody):
    """A stateful ruleset; the kernel judges."""

    name = "nft-stateful"
    witness = Witness.RULES

    def start(self, rig: Rig) -> None:
        """Load the ruleset."""
        rig.intercept(ruleset())

    def counted(self, rig: Rig) -> int:
        """Return the packets that its counter saw."""
        family = "ip" if form() is Form.BRNF else "bridge"
        listed = rig.inside(lambda: nft.listing("counters", "table", family, TABLE))
        return int(listed[0]["counter"]["packets"])


def ruleset() -> str:
    """Return the rules; TABLE and CHAIN stand for where the rig puts them."""
    flows = [(flow.source, flow.destination, flow.protocol, flow.port) for flow in traffic.poll_flows()]
    client, reflector = Host(NORTH, 1), Host(SOUTH, 1)
    flows += [(client, reflector, "udp", traffic.ECHO_PORT), (client, reflector, "tcp", traffic.BULK_PORT)]
    permits = {f"{a.ip} . {b.ip} . {protocol} . {port}" for a, b, protocol, port in flows}
    permits |= {f"10.80.9.{number} . 10.80.8.1 . tcp . 502" for number in range(FILLING_ELEMENTS)}
    kind = "ipv4_addr . ipv4_addr . inet_proto . inet_service"
    return (
        "add counter TABLE seen\n"
        f"add set TABLE permits {{ type {kind}; elements = {{ {', '.join(sorted(permits))} }}; }}\n"
        "add rule CHAIN counter name seen\n"
        "add rule CHAIN ct state established,related accept\n"
        "add rule CHAIN ip saddr . ip daddr . meta l4proto . th dport @permits accept\n"
    )
