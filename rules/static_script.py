"""Writes nft script text: chains that are flushed and refilled, and the spelling of every key and value.

In: rule text and element tuples. Out: lines of one nft transaction on `table bridge conduit`.
Must never decide what is permitted. Called by `static` and its sections only.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TABLE: Final = "bridge conduit"
# Every rule that looks into ARP, ICMP or ICMPv6 begins with one of these. Without it nft 1.0.6 writes the condition
# itself and reads the EtherType at its untagged place, where a tagged frame has the tag: such a rule never sees one.
ARP: Final = "meta protocol arp"
ICMP: Final = {"4": "meta protocol ip meta l4proto icmp", "6": "meta protocol ip6 meta l4proto icmpv6"}


class Script:
    """Lines of one transaction, in order.

    Chains and maps named in `banked` exist twice, as NAME_0 and NAME_1: rules and elements go to this script's bank.
    """

    def __init__(self, bank: int, banked: Iterable[str], table: str = TABLE) -> None:
        self._table = table
        self._lines: list[str] = []
        self._bank = bank
        names = "|".join(sorted(banked))
        self._reference = re.compile(rf"(goto |jump |map @)({names})\b")

    def line(self, text: str) -> None:
        """Append one statement."""
        self._lines.append(text)

    def chain(self, name: str, rules: Iterable[str]) -> None:
        """Replace the rules of a banked chain that was declared before; empty rules are left out."""
        self.hook(f"{name}_{self._bank}", rules)

    def hook(self, name: str, rules: Iterable[str]) -> None:
        """Replace the rules of a chain that exists once; empty rules are left out."""
        self._lines.append(f"flush chain {self._table} {name}")
        banked = rf"\g<1>\g<2>_{self._bank}"
        for rule in filter(None, rules):
            self._lines.append(f"add rule {self._table} {name} {self._reference.sub(banked, rule)}")

    def map(self, name: str, elements: Iterable[str]) -> None:
        """Replace the elements of a banked map that was declared before."""
        joined = ", ".join(elements)
        self._lines.append(f"flush map {self._table} {name}_{self._bank}")
        if joined:
            self._lines.append(f"add element {self._table} {name}_{self._bank} {{ {joined} }}")

    def text(self) -> str:
        """Return the whole script."""
        return "\n".join(self._lines) + "\n"


def braces(elements: Iterable[str]) -> str:
    """Return an anonymous set, or nothing when there are no elements (nft knows no empty anonymous set)."""
    joined = ", ".join(elements)
    return f"{{ {joined} }}" if joined else ""


def rule_with(elements: Iterable[str], template: str) -> str:
    """Return the template with `%s` replaced by the anonymous set, or nothing: no element, no match, no rule."""
    inner = braces(elements)
    return template.replace("%s", inner) if inner else ""


def foreign(ports: Sequence[str]) -> str:
    """Return the rule that leaves frames of other people's bridges alone; `ports` are quoted."""
    ours = braces(ports)
    return f"iifname != {ours} oifname != {ours} accept" if ours else "accept"


def classid(number: int) -> str:
    """Return a number as nft writes a traffic class (`meta priority`): two 16-bit halves in hexadecimal."""
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


def mac_text(mac: bytes) -> str:
    """Return a MAC address in colon notation."""
    return mac.hex(":")


def address_text(address: int, *, ipv4: bool) -> str:
    """Return an IP address of the given family."""
    if ipv4:
        return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
    return str(IPv6Address(address))


def span_text(first: int, last: int, *, ipv4: bool) -> str:
    """Return a single address or a range."""
    low = address_text(first, ipv4=ipv4)
    return low if first == last else f"{low}-{address_text(last, ipv4=ipv4)}"


def raw_span_text(first: int, last: int) -> str:
    """Return an IPv6 address or range as raw 128-bit numbers (for payload that nft has no name for)."""
    low = f"0x{first:032x}"
    return low if first == last else f"{low}-0x{last:032x}"


def number_span_text(first: int, last: int) -> str:
    """Return a number or a range of numbers."""
    return str(first) if first == last else f"{first}-{last}"


def interface(name: str) -> str:
    """Return a quoted interface name; the policy checker has refused names that need escaping."""
    if not name or len(name) > 15 or any(character in name for character in '"\\*\n'):
        raise ValueError(f"not an interface name: {name!r}")
    return f'"{name}"'
