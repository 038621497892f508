"""What the kernel holds of our table, read over netlink: single chains at once, the whole as a digest.

In: names. Out: a chain's policy and rules, the number of the ruleset's generation, a digest of what judges. nft's own
listings read every element of the table first, whatever they are asked for: with 100,000 assets that takes ten seconds.
Must never change anything. Called by the other modules of this package only; every call blocks.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.errors import KernelError
from gateway.kernel.nfnetlink import (
    NFTA_EXPR_DATA,
    NFTA_EXPR_NAME,
    ask,
    attribute,
    attributes,
    be32,
    dump,
    open_socket,
    text,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterator

FAMILIES: Final = {"ip": 2, "ip6": 10, "bridge": 7}  # linux/netfilter.h, NFPROTO_*
# linux/netfilter/nf_tables.h
NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, NFT_MSG_GETGEN = 4, 7, 10, 13, 16
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE = 1, 3, 4, 5, 7
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_FLAGS = 1, 2, 3
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_LOOKUP_SET: Final = 1
NFTA_GEN_ID: Final = 1
CHAIN_PARTS: Final = (NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE, NFTA_CHAIN_HOOK)
NFT_SET_MAP, NFT_SET_TIMEOUT, NFT_SET_EVAL = 0x8, 0x10, 0x20
NF_DROP: Final = 0
ATTEMPTS: Final = 5  # at reading a ruleset that somebody else is changing
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain: whether it drops what no rule of it accepted, and its rules as the kernel spells them."""

    drops: bool
    rules: tuple[bytes, ...]

    def mentions(self, name: str) -> bool:
        """Say whether some rule names a chain, set or counter."""
        return any(text(name) in rule for rule in self.rules)


def chain(family: str, table: str, name: str) -> Chain | None:
    """Return a chain, or None when there is none; raises KernelError when the kernel does not answer."""

    def read(netlink: socket.socket) -> Chain | None:
        found = [one for one in _chains(netlink, family, table) if one[NFTA_CHAIN_NAME] == text(name)]
        if not found:
            return None
        rules = [rule for where, rule in _rules(netlink, family, table) if where == text(name)]
        return Chain(found[0].get(NFTA_CHAIN_POLICY) == be32(NF_DROP), tuple(rules))

    return _read(read)


def generation() -> int:
    """Return the number that the kernel raises with every change of any ruleset of this network namespace."""
    return _read(_generation)


def names(family: str, table: str) -> list[str]:
    """Return the names of a table's chains, sets and maps, without those of sets inside rules."""

    def read(netlink: socket.socket) -> list[str]:
        found = [one[NFTA_CHAIN_NAME] for one in _chains(netlink, family, table)]
        found += [name for name in _sets(netlink, family, table) if not name.startswith(b"__")]
        return [name.rstrip(b"\0").decode() for name in found]

    return _read(read)


def digest(family: str, table: str, *, without: Collection[str], spare: str) -> str:
    """Return a digest of a table's chains, rules and maps, whatever order and handles they have.

    The rules of some chains and the elements of some maps are left out, and everything whose name ends in `spare`. Sets
    that frames fill count by name.
    """

    def read(netlink: socket.socket) -> str:
        for _ in range(ATTEMPTS):
            before = _generation(netlink)
            found = _digest(netlink, family, table, {text(name) for name in without}, spare)
            if _generation(netlink) == before:
                return found
        raise KernelError("NFT_UNREADABLE", f"{family} {table} keeps changing", "another program reloads its ruleset")

    return _read(read)


def _read(read: Callable[[socket.socket], _Answer]) -> _Answer:
    try:
        with open_socket() as netlink:
            return read(netlink)
    except OSError as error:
        raise KernelError("NFT_UNREADABLE", f"nf_tables: {error.strerror}") from error


def _digest(netlink: socket.socket, family: str, table: str, without: Collection[bytes], spare: str) -> str:
    ending = text(spare) if spare else b"\xff"
    flags = _sets(netlink, family, table)
    contents: dict[bytes, bytes] = {}

    def content(name: bytes) -> bytes:
        """Return what stands for a set: its elements, or its name where frames or time change them."""
        if name in without or flags.get(name, 0) & (NFT_SET_TIMEOUT | NFT_SET_EVAL):
            return name
        if name not in contents:
            contents[name] = _content(netlink, family, table, name)
        return contents[name]

    held = [
        (b"chain", *(found.get(kind, b"") for kind in CHAIN_PARTS))
        for found in _chains(netlink, family, table)
        if not found[NFTA_CHAIN_NAME].endswith(ending)
    ]
    judging: dict[bytes, list[bytes]] = {}  # the order of rules counts within a chain
    for where, rule in _rules(netlink, family, table):
        if not where.endswith(ending) and where not in without:
            judging.setdefault(where, []).extend(_spelled(rule, content))
    held += [(b"rules", where, *rules) for where, rules in judging.items()]
    named = (name for name, kind in flags.items() if kind & NFT_SET_MAP and not name.startswith(b"__"))
    held += [(b"map", name, content(name)) for name in named if not name.endswith(ending)]
    whole = hashlib.sha256()
    for parts in sorted(held):
        for part in parts:
            whole.update(be32(len(part)) + part)
    return whole.hexdigest()


def _spelled(rule: bytes, content: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield a rule's expressions; a set without a name of its own is called what it holds."""
    for _, element in attributes(rule):
        parts = dict(attributes(element))
        name, data = parts.get(NFTA_EXPR_NAME, b""), parts.get(NFTA_EXPR_DATA, b"")
        yield name
        if name == text("counter"):  # its data is the count
            continue
        if name == text("lookup"):
            fields = dict(attributes(data))
            fields[NFTA_LOOKUP_SET] = content(fields.get(NFTA_LOOKUP_SET, b""))
            data = b"".join(be32(kind) + be32(len(value)) + value for kind, value in sorted(fields.items()))
        yield data


def _content(netlink: socket.socket, family: str, table: str, name: bytes) -> bytes:
    """Return a digest of a set's elements, in whatever order the kernel lists them."""
    place = attribute(NFTA_SET_ELEM_LIST_TABLE, text(table)) + attribute(NFTA_SET_ELEM_LIST_SET, name)
    elements: list[bytes] = []
    for answer in dump(netlink, NFT_MSG_GETSETELEM, FAMILIES[family], place):
        elements += _items(answer.get(NFTA_SET_ELEM_LIST_ELEMENTS, b""))
    elements.sort()
    return hashlib.sha256(b"".join(elements)).digest()


def _items(listed: bytes) -> Iterator[bytes]:
    """Yield the elements of a list; `attributes` would take twice as long, and there are a million of them."""
    at, end, header = 0, len(listed), struct.Struct("=H")
    while at + 4 <= end:
        length = header.unpack_from(listed, at)[0]
        if length < 4:
            return
        yield listed[at : at + length]
        at += length + 3 & ~3


def _chains(netlink: socket.socket, family: str, table: str) -> list[dict[int, bytes]]:
    found = dump(netlink, NFT_MSG_GETCHAIN, FAMILIES[family], b"")
    return [one for one in found if one.get(NFTA_CHAIN_TABLE) == text(table)]


def _sets(netlink: socket.socket, family: str, table: str) -> dict[bytes, int]:
    """Return the flags of a table's sets and maps by name."""
    place = attribute(NFTA_SET_TABLE, text(table))
    return {
        found[NFTA_SET_NAME]: int.from_bytes(found.get(NFTA_SET_FLAGS, b""), "big")
        for found in dump(netlink, NFT_MSG_GETSET, FAMILIES[family], place)
        if found.get(NFTA_SET_TABLE) == text(table)
    }


def _rules(netlink: socket.socket, family: str, table: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield (chain, expressions) of a table's rules, in order."""
    place = attribute(NFTA_RULE_TABLE, text(table))
    for one in dump(netlink, NFT_MSG_GETRULE, FAMILIES[family], place):
        if one.get(NFTA_RULE_TABLE) == text(table):  # not every kernel filters
            yield one[NFTA_RULE_CHAIN], one.get(NFTA_RULE_EXPRESSIONS, b"")


def _generation(netlink: socket.socket) -> int:
    return int.from_bytes(ask(netlink, NFT_MSG_GETGEN, 0, b"")[NFTA_GEN_ID], "big")
