"""The fast lane as text: flows that the engine lets stay in the kernel, until a generation or their time is over.

In: the policy's ports. Out: `table bridge conduit_lane`, with sets of flows, a chain in front of the queue that lets
their frames pass, and one in front of `static` that puts a flow in. The mark of the engine's verdict is part of a
flow's key: it holds the generation, and `lane_generation` says which one is in force: two new elements end every stay.
Must never permit what the engine did not: an entry is made only from a frame that the engine itself marked.
Called by `static` and gateway/kernel.

A table of its own, because nft reads every element of a table whose rules it is asked to list, and flows are many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.abi import MARK_JUDGED, MARK_LANE, MARK_LANE_MASK
from rules.static_script import Script, interface, rule_with

if TYPE_CHECKING:
    from collections.abc import Mapping

LANE_TABLE: Final = "bridge conduit_lane"
# "Passed by the lane": neither the queue nor `static` asks further. Set by the chain `lane` alone, cleared in `guard`.
MARK_LANED: Final = 0x00C00002
LANE_COUNTER: Final = "lane"
# chain → priority: behind quarantine and in front of the queue; behind br_netfilter and in front of `static`
LANE_HOOKS: Final = {"lane": -10, "enter": 9}
GENERATION_MAP: Final = "lane_generation"
GENERATION_KEYS: Final = {"ip": 0x0800, "ip6": 0x86DD}
# A flow is judged again by the engine at least this often, whatever happens. Shorter than the 180 s after which the
# engine forgets a silent UDP flow (docs/reference/semantics.md): a flow in the lane is never silent there.
LANE_SECONDS: Final = 30
LANE_ELEMENTS: Final = 65536  # per set; an element takes about 250 bytes
PORT_SHIFT: Final = 24  # in a key's mark the number of the port that a frame came in by stands above the generation
# All that the engine knows a flow by. The last field is both addresses and both ports in one, which stand together in a
# header without options. Four fields because nft 1.0.6 can't list a set of five, with raw ones among them: it aborts.
_KEYS: Final = {
    "4": "meta mark . oif . ether saddr . @nh,96,96",
    "6": "meta mark . oif . ether saddr . @nh,64,288",
}
LANE_SETS: Final = ("lane_tcp4", "lane_udp4", "lane_tcp6", "lane_udp6")
_CHAINS: Final = ("lane_ip4", "lane_ip6", "lane_taken", "lane_enter4", "lane_enter6", "lane_entered")
# What may pass unjudged of a flow: nothing that opens or ends a connection, and no header cut short or impossible.
_PASSING: Final = {"tcp": "tcp flags & (fin | syn | rst | ack) == ack tcp doff >= 5", "udp": "udp length >= 8"}
# The next header of IPv6 must be TCP or UDP itself: behind an extension header nothing passes, fragments neither.
_PLAIN: Final = {"4": "ip hdrlength 5 ip frag-off & 0x3fff == 0 ip protocol", "6": "ip6 nexthdr"}
_BY_VERSION: Final = "ether type vmap { ip : goto %s4, ip6 : goto %s6 }"


def lane_script(ports: Mapping[int, str]) -> str:
    """Return the lane between these ports (names by number) as one transaction; flows and generation survive it."""
    script = Script(0, ("nothing",), LANE_TABLE)
    from_port = {number: f"lane_from_{number}" for number in sorted(ports)}
    enter_port = {number: f"lane_enter_{number}" for number in from_port}
    _declare(script, (*_CHAINS, *from_port.values(), *enter_port.values()))
    script.hook("lane", [_by_port(ports, from_port)])
    lanes = f"meta mark & {MARK_LANE_MASK:#010x} == {MARK_LANE:#010x}"
    script.hook("enter", [_by_port(ports, enter_port, lanes)])
    for number, chain in from_port.items():
        numbered = f"meta mark set meta mark or {number << PORT_SHIFT:#010x}"
        # `ether type` is that of the link header: a tagged frame's is 0x8100, so that the lane never sees one. Without
        # an element in the map the lane is closed.
        generation = f"meta mark set ether type map @{GENERATION_MAP}"
        by_version = _BY_VERSION.replace("%s", "lane_ip")
        script.hook(chain, [generation, "meta mark 0 accept", numbered, by_version])
        entering = _BY_VERSION.replace("%s", "lane_enter")
        script.hook(enter_port[number], [numbered, entering, "goto lane_entered"])
    for digit, key in _KEYS.items():
        sets = {name: f"{_PLAIN[digit]} {name[5:8]}" for name in LANE_SETS if name.endswith(digit)}
        taken = (f"{plain} {_PASSING[name[5:8]]} {key} @{name} goto lane_taken" for name, plain in sets.items())
        script.hook(f"lane_ip{digit}", [*taken, "meta mark set 0"])
        # A full set must not cost the frame: `add` then ends its rule, and the next one goes on. `add` leaves an entry
        # that exists as it is, so that its time runs out. The generation is not compared: an older one is never found.
        added = (f"{plain} add @{name} {{ {key} }}" for name, plain in sets.items())
        script.hook(f"lane_enter{digit}", [*added, "goto lane_entered"])
    script.hook("lane_taken", [f"meta mark set {MARK_LANED:#010x}"])
    script.hook("lane_entered", [f"meta mark set {MARK_JUDGED:#010x}"])
    return script.text()


def _declare(script: Script, chains: tuple[str, ...]) -> None:
    limits = f"size {LANE_ELEMENTS}; flags dynamic,timeout; timeout {LANE_SECONDS}s; counter;"
    script.line(f"add table {LANE_TABLE}")
    script.line(f"add map {LANE_TABLE} {GENERATION_MAP} {{ type ether_type : mark; size {len(GENERATION_KEYS)}; }}")
    for name in LANE_SETS:
        script.line(f"add set {LANE_TABLE} {name} {{ typeof {_KEYS[name[-1]]}; {limits} }}")
    for chain in chains:
        script.line(f"add chain {LANE_TABLE} {chain}")
    for chain, priority in LANE_HOOKS.items():
        hook = f"type filter hook forward priority {priority}; policy accept;"
        script.line(f"add chain {LANE_TABLE} {chain} {{ {hook} }}")


def _by_port(ports: Mapping[int, str], chains: Mapping[int, str], condition: str = "") -> str:
    names = (f"{interface(ports[number])} : goto {chain}" for number, chain in chains.items())
    return rule_with(names, f"{condition} iifname vmap %s".strip())


def unqueued() -> str:
    """Return the rule in front of the queue statement that spares the lane's frames."""
    return f"meta mark {MARK_LANED:#010x} accept"


def ending() -> list[str]:
    """Return the rules of `static` for the lane's frames, and for those that would enter a lane that is not there."""
    return [
        f"meta mark {MARK_LANED:#010x} counter name {LANE_COUNTER} accept",
        f"meta mark & {MARK_LANE_MASK:#010x} == {MARK_LANE:#010x} counter name judged_accepted accept",
    ]
