"""The fast lane as text: flows that the engine lets stay in the kernel, until a generation or their time is over.

In: the policy's ports. Out: sets of flows, the chain `lane`, to which `guard` gives every frame of a port that the lane
is open for, and the chain `lane_enter`, by which `static` puts a flow in. The mark of the engine's verdict is part of a
flow's key: it holds the generation, and `lane_generation` says which one is in force: new elements end every stay.
Must never permit what the engine did not: an entry is made only from a frame that the engine itself marked.
Called by `static` and gateway/kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.abi import MARK_JUDGED, MARK_LANE, MARK_LANE_MASK
from rules.static_counting import counting_chain, counting_script
from rules.static_guard import QUARANTINE
from rules.static_script import TABLE, Script, interface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# "Passed by the lane": neither the queue nor `static` asks further. Set by the chain `lane` alone, cleared in `guard`.
MARK_LANED: Final = 0x00C00002
LANE: Final = "lane"  # the counter, the chain, and what every name of the lane's begins with
# ifindex of a port → the mark in force with the port's number: what the first part of a key must be. By index, not by
# name, because the kernel looks up four bytes in half the time of sixteen.
GENERATION_MAP: Final = "lane_generation"
PORTS_AT_MOST: Final = 255
PORT_SHIFT: Final = 24  # in a key's mark the number of the port that a frame came in by stands above the generation
# A flow is judged again by the engine at least this often, whatever happens. Shorter than the 180 s after which the
# engine forgets a silent UDP flow (docs/reference/semantics.md): a flow in the lane is never silent there.
LANE_SECONDS: Final = 30
LANE_ELEMENTS: Final = 65536  # per set; an element takes about 250 bytes
# All that the engine knows a flow by. The third field is the source MAC with the EtherType behind it, which is a tag's
# where there is one; the last is both addresses and both ports, which stand together in a header without options. Four
# fields because nft 1.0.6 can't list a set of five, with raw ones among them: it aborts.
_KEYS: Final = {
    "4": "meta mark . oif . @ll,48,64 . @nh,96,96",
    "6": "meta mark . oif . @ll,48,64 . @nh,64,288",
}
LANE_SETS: Final = ("lane_udp4", "lane_tcp4", "lane_udp6", "lane_tcp6")
LANE_CHAINS: Final = ("lane", "lane_enter", "lane_add", "lane_add4", "lane_add6", "lane_entered")
# What may pass unjudged of a flow: nothing that opens or ends a connection, no fragment, and no header cut short or
# impossible. Raw, in whole words with masks where a field is not a byte of its own, and without "at least": those are
# what the kernel compares without a call. Named fields would have each rule read the EtherType, which is in the key.
_PLAIN: Final = {
    "4": "@nh,72,8 {number} @nh,0,8 0x45 @nh,32,32 & 0x00003fff == 0",  # protocol; version, no option; no fragment
    # The next header of IPv6 must be TCP or UDP itself: behind an extension header nothing passes, fragments neither.
    "6": "@nh,48,8 {number} @nh,0,32 & 0xf0000000 == 0x60000000",
}
_PASSING: Final = {
    # of FIN, SYN, RST, ACK only ACK; a header of 4 words or more, but not 4
    "tcp": "@th,96,32 & 0x00170000 == 0x00100000 @th,96,32 & 0xc0000000 != 0 @th,96,32 & 0xf0000000 != 0x40000000",
    "udp": "@th,32,32 & 0xfff80000 != 0",  # a length of 8 or more
}
_NUMBERS: Final = {"tcp": 6, "udp": 17}
# The same where a flow is put in, once in half a minute. The next header alone, as above.
_ENTERING: Final = {"4": "ip hdrlength 5 ip frag-off & 0x3fff == 0 ip protocol", "6": "ip6 nexthdr"}


def declare_lane(script: Script) -> None:
    """Append everything of the lane that has a name; flows and generation survive declaring again."""
    limits = f"size {LANE_ELEMENTS}; flags dynamic,timeout; timeout {LANE_SECONDS}s; counter;"
    script.line(f"add map {TABLE} {GENERATION_MAP} {{ type iface_index : mark; size {PORTS_AT_MOST}; }}")
    for name in LANE_SETS:
        script.line(f"add set {TABLE} {name} {{ typeof {_KEYS[name[-1]]}; {limits} }}")
    for chain in LANE_CHAINS:
        script.line(f"add chain {TABLE} {chain}")


def lane_chains(script: Script, ports: Mapping[int, str], offering: Sequence[str]) -> None:
    """Append the rules of the lane between these ports (names by number); `offering`: where all other frames go."""
    # Quarantine comes first. Then: known, or like every other frame.
    known = (
        f"{_PLAIN[name[-1]].format(number=_NUMBERS[name[5:8]])} {_PASSING[name[5:8]]} {_KEYS[name[-1]]} @{name}"
        f" meta mark set {MARK_LANED:#010x} goto {counting_chain(LANE)}"
        for name in LANE_SETS
    )
    script.hook("lane", [f"jump {QUARANTINE}", *known, "meta mark set 0", *offering])
    script.hook("lane_enter", [*(_numbered(number, ports[number]) for number in sorted(ports)), "goto lane_entered"])
    # `ether type` is that of the link header: a tagged frame's is 0x8100, and no such flow enters.
    script.hook("lane_add", ["ether type vmap { ip : goto lane_add4, ip6 : goto lane_add6 }", "goto lane_entered"])
    for digit, key in _KEYS.items():
        # A full set must not cost the frame: `add` then ends its rule, and the next one goes on. `add` leaves an entry
        # that exists as it is, so that its time runs out. The generation is not compared: an older one is never found.
        names = (name for name in LANE_SETS if name.endswith(digit))
        added = (f"{_ENTERING[digit]} {name[5:8]} add @{name} {{ {key} }}" for name in names)
        script.hook(f"lane_add{digit}", [*added, "goto lane_entered"])
    script.hook("lane_entered", [f"meta mark set {MARK_JUDGED:#010x} goto {counting_chain('judged_accepted')}"])


def _numbered(number: int, port: str) -> str:
    marked = f"meta mark set meta mark or {number << PORT_SHIFT:#010x}"
    return f"iifname {interface(port)} {marked} goto lane_add"


def entrance() -> str:
    """Return the rule of `guard` that gives the lane each frame of its ports, with the mark that a key begins with."""
    return f"meta mark set iif map @{GENERATION_MAP} goto lane"


def passed() -> str:
    """Return the rule of `static` for what the lane let past; also where it is off, for frames under way."""
    return f"meta mark {MARK_LANED:#010x} accept"


def entering(*, lane: bool) -> str:
    """Return the rule of `static` for what the engine lets enter the lane; where there is none it passes as judged."""
    onward = "lane_enter" if lane else counting_chain("judged_accepted")
    return f"meta mark & {MARK_LANE_MASK:#010x} == {MARK_LANE:#010x} goto {onward}"


def lane_alone(port: str) -> str:
    """Return the lane with one port and nothing around it: for trying whether a kernel takes it."""
    script = Script(0, ("nothing",))
    script.line(f"add chain {TABLE} {QUARANTINE}")
    declare_lane(script)
    lane_chains(script, {1: port}, [])
    return counting_script() + script.text()
