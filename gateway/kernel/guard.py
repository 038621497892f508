"""Quarantine: the addresses from and to which nothing passes, live flows included.

In: MAC and IP addresses with an optional time to live. Out: elements of the guard chain's sets in `bridge conduit`;
an IPv6 address is an element twice, the second time as neighbour discovery's target field is written.
The sets outlive policy swaps and the daemon; the kernel itself forgets an element when its time is over.
Must never touch another set. Called by control.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.errors import KernelError
from gateway.kernel import nft, readback
from rules.static_guard import QUARANTINE, quarantine_script

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE: Final = "bridge conduit"
MemberKind = Literal["mac", "ip4", "ip6"]
KINDS: Final[tuple[MemberKind, ...]] = ("mac", "ip4", "ip6")
MAC_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class Member:
    """One address in quarantine; `seconds` is the time left, None for as long as nobody releases it."""

    kind: MemberKind
    address: str
    seconds: int | None = None


def add(members: Sequence[Member]) -> None:
    """Put addresses into quarantine, all or none; one that is in it already gets the new time."""
    lines = []
    for member in members:
        element = canonical(member.kind, member.address)
        if member.seconds is not None and member.seconds < 1:
            raise KernelError("QUARANTINE_TIME", f"{element}: {member.seconds} s is no time", "give at least 1 second")
        timeout = "" if member.seconds is None else f" timeout {member.seconds}s"
        lines += _absent(member.kind, element)
        lines += [_element("add", name, key + timeout) for name, key in _places(member.kind, element)]
    asked = time.monotonic()
    if lines:
        nft.apply("\n".join(lines) + "\n" + quarantine_script(occupied=True))
        _require_lookups()
    held = _held()
    passed = time.monotonic() - asked
    for member in members:
        over = member.seconds is not None and member.seconds <= passed
        if not over and (member.kind, canonical(member.kind, member.address)) not in held:
            raise KernelError("QUARANTINE_LOST", f"{member.address} is not in quarantine")


def remove(members: Sequence[Member]) -> None:
    """Release addresses, all or none; one that is not in quarantine is no error."""
    lines = []
    for member in members:
        lines += _absent(member.kind, canonical(member.kind, member.address))
    if lines:
        nft.apply("\n".join(lines) + "\n")
    held = _held()
    for member in members:
        if (member.kind, canonical(member.kind, member.address)) in held:
            raise KernelError("QUARANTINE_LOST", f"{member.address} is still in quarantine")
    if not held:
        nft.apply(quarantine_script(occupied=False))  # control is the only one who adds: nobody is overlooked


def members() -> list[Member]:
    """Return what is in quarantine now."""
    found: list[Member] = []
    for kind in KINDS:
        for listed in nft.listing("set", *TABLE.split(), f"quarantine_{kind}"):
            found.extend(_member(kind, element) for element in listed["set"].get("elem", []))
    return found


def stands() -> bool:
    """Say whether whoever is in quarantine is also looked for."""
    return not _held() or _looks_up()


def canonical(kind: MemberKind, address: str) -> str:
    """Return the address as the kernel lists it; raise KernelError when it is not one."""
    text = ""
    try:
        match kind:
            case "mac":
                raw = bytes.fromhex(address.replace("-", "").replace(":", ""))
                text = raw.hex(":") if len(raw) == MAC_BYTES else ""
            case "ip4":
                text = str(IPv4Address(address))
            case "ip6":
                text = str(IPv6Address(address))
    except ValueError:
        text = ""  # refused below, like an address that is too short
    if not text:
        raise KernelError("QUARANTINE_ADDRESS", f"{address!r} is no {kind} address")
    return text


def _member(kind: MemberKind, element: Any) -> Member:
    if isinstance(element, dict):
        inner = element["elem"]
        return Member(kind, str(inner["val"]), inner.get("expires"))
    return Member(kind, str(element))


def _places(kind: MemberKind, element: str) -> list[tuple[str, str]]:
    """Return the sets that hold an address, each with the key it has there."""
    if kind == "ip6":
        return [("ip6", element), ("nd", f"0x{IPv6Address(element).packed.hex()}")]
    return [(kind, element)]


def _absent(kind: MemberKind, element: str) -> list[str]:
    """Return the statements after which an element is not there, whether or not it was.

    Adding one that exists would leave its time as it was, and deleting one that does not exist is an error.
    """
    return [_element(verb, name, key) for name, key in _places(kind, element) for verb in ("add", "delete")]


def _element(verb: str, name: str, key: str) -> str:
    return f"{verb} element {TABLE} quarantine_{name} {{ {key} }}"


def _looks_up() -> bool:
    family, table = TABLE.split()
    held = readback.chain(family, table, QUARANTINE)
    return held is not None and held.mentions("quarantined")


def _require_lookups() -> None:
    if not _looks_up():
        raise KernelError("QUARANTINE_LOST", "the kernel does not look up who is in quarantine")


def _held() -> set[tuple[MemberKind, str]]:
    return {(member.kind, member.address) for member in members()}
