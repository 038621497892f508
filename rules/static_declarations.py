"""Everything of the kernel's fallback that has a name: counters, sets, maps and chains, and what exists in two banks.

In: a script. Out: the lines that declare it, which may be loaded any number of times: what is there stays, with what it
holds. Must never say what a chain does. Called by `static`.
"""

from __future__ import annotations

from typing import Final

from rules.static_counting import declare_counting
from rules.static_guard import declare_guard
from rules.static_identity_chains import IDENTITY_CHAINS
from rules.static_script import TABLE, Script
from rules.static_service_chains import SERVICE_CHAINS
from rules.static_state_chains import STATE_CHAINS

# Counters with names of their own, which the few frames meet; those that every frame meets: `static_counting`.
COUNTERS: Final = (
    *("c_quarantined", "l2_before"),
    *("static", "static_accepted", "static_dropped", "static_would_drop"),
    *("l2_accepted", "l2_dropped", "l2_would_drop", "local_dropped"),
)
# chain → priority at the bridge's forward hook.
# ORDER: `guard`, which queues in the native form, is in front of br_netfilter, which has priority 0 and takes ARP (and
# IP, where its settings say so) out of the hook: that goes on behind 0, past chains that are at 0 too.
HOOKS: Final = {"guard": -20, "static": 10}
BANKED_CHAINS: Final = (*IDENTITY_CHAINS, *SERVICE_CHAINS, *STATE_CHAINS)
BANKS: Final = (0, 1)
PINHOLE_SECONDS: Final = 30  # docs/reference/semantics.md
DYNAMIC_ELEMENTS: Final = 65536  # bound of every set that frames fill; about 10 MB each when full
COMPARE_SECONDS: Final = 1  # an entry is read by the frame that wrote it; this only bounds how long it lies around
_PINHOLES: Final = {
    "udp4_pinholes": "type ifname . ipv4_addr . inet_service . ipv4_addr . inet_service",
    "udp6_pinholes": "type ifname . ipv6_addr . inet_service . ipv6_addr . inet_service",
    "echo4_pinholes": "typeof iifname . ip saddr . ip daddr . icmp id",
    "echo6_pinholes": "typeof iifname . ip6 saddr . ip6 daddr . icmpv6 id",
}
# Named because nft 1.0.6 aborts when it lists an anonymous map whose key has a field without a type of its own.
_MAPS: Final = {
    "tagged_sources": "typeof iifname . vlan id : meta mark",
    "tagged_destinations": "typeof oifname . vlan id : meta priority",
    "nd_hosts": "typeof meta priority . @nh,64,128 : meta priority",
    "nd_prefixes": "typeof meta priority . @nh,64,128 : meta priority; flags interval",
}
BANKED: Final = (*BANKED_CHAINS, *_MAPS)


def declare(script: Script) -> None:
    """Declare everything that has a name; declaring again changes nothing."""
    script.line(f"add table {TABLE}")
    for counter in COUNTERS:
        script.line(f"add counter {TABLE} {counter}")
    declare_counting(script)
    declare_guard(script)
    limits = f"size {DYNAMIC_ELEMENTS}; flags dynamic,timeout; timeout"
    for name, kind in _PINHOLES.items():
        script.line(f"add set {TABLE} {name} {{ {kind}; {limits} {PINHOLE_SECONDS}s; }}")
    script.line(f"add set {TABLE} arp_compare {{ type mark . ether_addr; {limits} {COMPARE_SECONDS}s; }}")
    script.line(f"add set {TABLE} arp_ip_compare {{ type mark . ipv4_addr; {limits} {COMPARE_SECONDS}s; }}")
    script.line(f"add set {TABLE} nd_compare {{ typeof meta mark . @nh,64,128; {limits} {COMPARE_SECONDS}s; }}")
    for bank in BANKS:
        for name, kind in _MAPS.items():
            script.line(f"add map {TABLE} {name}_{bank} {{ {kind}; }}")
        for chain in BANKED_CHAINS:
            script.line(f"add chain {TABLE} {chain}_{bank}")
    for chain, priority in HOOKS.items():
        # FAIL-CLOSED: the last chain drops what no rule of it accepted.
        policy = "drop" if chain == "static" else "accept"
        script.line(f"add chain {TABLE} {chain} {{ type filter hook forward priority {priority}; policy {policy}; }}")
