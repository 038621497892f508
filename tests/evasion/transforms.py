"""The disguises: a table of transforms, each of which turns one message into scripts.

In: the message (`real`), the same number of harmless bytes (`decoy`: permitted messages, one after the other, cut to
length), one whole permitted message (`other`). Out: scripts, always the same ones for the same message length, so that
a case is named by transform and number. `by_design` says why a permitted message may be refused under it; where it is
empty, permitted ones must come through. `ring` is "vm" for what only native interception shows to the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.evasion import disguise_bytes, disguise_numbers, disguise_packets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.evasion.script import Script

HELD: Final = "bytes that passed may not be changed, nor bytes come before their predecessors"


@dataclass(frozen=True, slots=True)
class Transform:
    """One family of disguises."""

    name: str
    make: Callable[[bytes, bytes, bytes], Iterator[Script]]
    by_design: str = ""
    ring: str = "netns"
    protocols: tuple[str, ...] = ("modbus", "s7comm", "cip")


TRANSFORMS: Final = (
    Transform("plain", disguise_bytes.plain),
    Transform("split at every byte", disguise_bytes.split),
    Transform("one-byte segments", disguise_bytes.single_bytes),
    Transform("orders of up to 4 segments", disguise_bytes.orders),
    Transform("identical overlaps", disguise_bytes.same_overlaps),
    Transform("conflicting overlaps", disguise_bytes.other_overlaps, HELD),
    Transform("changed retransmissions", disguise_bytes.changed_repeats, HELD),
    Transform("several messages", disguise_bytes.several),
    Transform("data in SYN", disguise_numbers.opening_data),
    Transform("insertions", disguise_numbers.insertions, HELD),
    Transform("RST tricks", disguise_numbers.resets),
    Transform("FIN tricks", disguise_numbers.endings, "bytes behind an end, and ends that do not fit, are refused"),
    Transform("urgent pointer", disguise_numbers.urgent, "urgent data is read differently by different devices"),
    Transform("sequence wrap", disguise_numbers.wrapping),
    Transform("keep-alive bytes", disguise_numbers.keep_alive),
    Transform("windows and probes", disguise_numbers.windows),
    Transform("port reuse", disguise_numbers.reuse),
    Transform("pick-up after restart or swap", disguise_numbers.pick_up),
    Transform(
        "opened before inspection", disguise_numbers.late_inspection, "a conversation without memory begins anew"
    ),
    Transform("IPv4 fragments", disguise_packets.fragments, "fragments are refused"),
    Transform("IP and TCP options", disguise_packets.options4),
    Transform("odd flags", disguise_numbers.odd_flags),
    Transform("IPv6", disguise_packets.plain6, protocols=("modbus",)),
    Transform("IPv6 fragments", disguise_packets.fragments6, "fragments are refused", protocols=("modbus",)),
    Transform(
        "IPv6 extension headers", disguise_packets.extensions6, "extension headers are refused", protocols=("modbus",)
    ),
    Transform("VLAN, QinQ, SNAP", disguise_packets.tags, "the zones own untagged frames", ring="vm"),
)
