"""What stands in `table bridge conduit`, read from the kernel itself: chains, rules, and what the rules refer to.

In: names of chains. Out: rules as expressions, and a description of all that judges, equal wherever the same script was
loaded. nft reads every element of every set of a table before it lists anything of it, and frames fill ours with tens
of thousands: a look that comes every second must not. Must never change anything. Called by the rest of this package.
"""

from __future__ import annotations

import hashlib
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from gateway.errors import KernelError
from gateway.kernel.nfnetlink import (
    NFTA_EXPR_DATA,
    NFTA_EXPR_NAME,
    attribute,
    attributes,
    dump,
    open_socket,
    text,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Container, Iterator, Mapping

TABLE: Final = "conduit"
NFPROTO_BRIDGE: Final = 7
# linux/netfilter/nf_tables.h, as all of these
NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM = 4, 7, 10, 13
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE = 1, 3, 4, 5, 7
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_FLAGS, NFTA_SET_DATA_LEN = 1, 2, 3, 7
NFT_SET_ANONYMOUS, NFT_SET_MAP = 0x1, 0x8
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN = 2, 2, 1, 2
NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS = 1, 2
NF_DROP, NF_ACCEPT = 0, 1
VERDICTS: Final = {NF_DROP: "drop", NF_ACCEPT: "accept", -3: "jump", -4: "goto", -5: "return"}
# expression → the attribute in which it names its set
SET_NAMES: Final = {"lookup": 1, "dynset": 1, "objref": 4}
_DECLARED: Final = range(NFTA_SET_FLAGS, NFTA_SET_DATA_LEN + 1)  # flags, and types and lengths of key and data


@dataclass(frozen=True, slots=True)
class Expression:
    """One step of a rule."""

    name: str
    data: Mapping[int, bytes]

    def verdict(self) -> str:
        """Return `accept`, `goto CHAIN` and so on; nothing for what gives no verdict."""
        if self.name != "immediate":
            return ""
        value = dict(attributes(self.data.get(NFTA_IMMEDIATE_DATA, b"")))
        parts = dict(attributes(value.get(NFTA_DATA_VERDICT, b"")))
        if NFTA_VERDICT_CODE not in parts:
            return ""
        code = struct.unpack(">i", parts[NFTA_VERDICT_CODE])[0]
        chain = parts.get(NFTA_VERDICT_CHAIN, b"").rstrip(b"\0").decode()
        return f"{VERDICTS.get(code, code)} {chain}".strip()

    def counted(self) -> tuple[int, int]:
        """Return (packets, bytes) of a counter."""
        packets, volume = (int.from_bytes(self.data[at], "big") for at in (NFTA_COUNTER_PACKETS, NFTA_COUNTER_BYTES))
        return packets, volume


def expressions(listed: bytes) -> tuple[Expression, ...]:
    """Read a rule's list of expressions."""
    found = []
    for _, element in attributes(listed):
        parts = dict(attributes(element))
        name = parts[NFTA_EXPR_NAME].rstrip(b"\0").decode()
        found.append(Expression(name, dict(attributes(parts.get(NFTA_EXPR_DATA, b"")))))
    return tuple(found)


def rules(chain: str = "", family: int = NFPROTO_BRIDGE, table: str = TABLE) -> list[tuple[str, bytes]]:
    """Return (chain, its expressions as the kernel spells them) of each rule; of one chain where it is named.

    None when there is no such chain. Raises KernelError when the kernel cannot be read.
    """
    with _reading() as netlink:
        return _rules(netlink, chain, family, table)


def verdicts(chain: str) -> list[str]:
    """Return every verdict that the rules of a chain give by themselves, in order."""
    found = (expression.verdict() for _, rule in rules(chain) for expression in expressions(rule))
    return [verdict for verdict in found if verdict]


def chains() -> dict[str, tuple[bytes, int | None]]:
    """Return by name where each chain hooks (nothing for one that does not) and its policy; none without a table."""
    with _reading() as netlink:
        return _chains(netlink)


def closes() -> bool:
    """Say whether `static` stands, at its hook, and drops what no rule of it accepted."""
    hook, policy = chains().get("static", (b"", None))
    return bool(hook) and policy == NF_DROP


def sets() -> list[str]:
    """Return the names of sets and maps, without those inside rules; none without a table."""
    with _reading() as netlink:
        return [name for name, about in _sets(netlink).items() if not _flags(about) & NFT_SET_ANONYMOUS]


def judging(without: Container[str]) -> str:
    """Return a digest of chains, rules and maps, and of the sets inside rules; nothing of the chains and maps named.

    Counts and handles are not in it, nor the order of elements, which is that of a hash with a random seed.
    """
    by_chain: dict[str, list[bytes]] = {}
    inside, held = {}, []
    with _reading() as netlink:
        for name, about in _sets(netlink).items():
            if _flags(about) & NFT_SET_ANONYMOUS:
                inside[text(name)] = _content(netlink, name, about)
            elif _flags(about) & NFT_SET_MAP and name not in without:
                held.append((name, _content(netlink, name, about)))
        for chain, rule in _rules(netlink):
            by_chain.setdefault(chain, []).append(_spelled(rule, inside))
        standing = _chains(netlink)
    for chain, (hook, policy) in standing.items():
        if chain not in without:
            held += [(chain, hook + str(policy).encode()), *((chain, rule) for rule in by_chain.get(chain, ()))]
    # By name, and within a name in the order found: that of rules counts.
    held.sort(key=itemgetter(0))
    return hashlib.sha256(repr(held).encode()).hexdigest()


def _spelled(rule: bytes, anonymous: Mapping[bytes, bytes]) -> bytes:
    """Return a rule with the content of the sets inside it in place of their names, and without counts."""
    found = []
    for step in expressions(rule):
        data = {} if step.name == "counter" else dict(step.data)
        if (at := SET_NAMES.get(step.name)) in data:
            data[at] = anonymous.get(data[at], data[at])
        found.append((step.name, sorted(data.items())))
    return repr(found).encode()


def _content(netlink: socket.socket, name: str, about: Mapping[int, bytes]) -> bytes:
    place = attribute(NFTA_SET_ELEM_LIST_TABLE, text(TABLE)) + attribute(NFTA_SET_ELEM_LIST_SET, text(name))
    answers = dump(netlink, NFT_MSG_GETSETELEM, NFPROTO_BRIDGE, place)
    lists = (answer.get(NFTA_SET_ELEM_LIST_ELEMENTS, b"") for answer in answers)
    elements = sorted(element for listed in lists for _, element in attributes(listed))
    declared = [(kind, about.get(kind)) for kind in _DECLARED]
    return hashlib.sha256(repr((declared, elements)).encode()).digest()


def _rules(
    netlink: socket.socket, chain: str = "", family: int = NFPROTO_BRIDGE, table: str = TABLE
) -> list[tuple[str, bytes]]:
    place = attribute(NFTA_RULE_TABLE, text(table)) + (attribute(NFTA_RULE_CHAIN, text(chain)) if chain else b"")
    answers = _of_table(netlink, NFT_MSG_GETRULE, place, family, table)
    found = [(_name(answer[NFTA_RULE_CHAIN]), answer.get(NFTA_RULE_EXPRESSIONS, b"")) for answer in answers]
    # Kernels that do not filter a dump by chain send the rules of all of them.
    return [rule for rule in found if chain in {"", rule[0]}]


def _chains(netlink: socket.socket) -> dict[str, tuple[bytes, int | None]]:
    found = {}
    for answer in _of_table(netlink, NFT_MSG_GETCHAIN, attribute(NFTA_CHAIN_TABLE, text(TABLE))):
        policy = int.from_bytes(answer[NFTA_CHAIN_POLICY], "big") if NFTA_CHAIN_POLICY in answer else None
        found[_name(answer[NFTA_CHAIN_NAME])] = answer.get(NFTA_CHAIN_HOOK, b""), policy
    return found


def _sets(netlink: socket.socket) -> dict[str, dict[int, bytes]]:
    answers = _of_table(netlink, NFT_MSG_GETSET, attribute(NFTA_SET_TABLE, text(TABLE)))
    return {_name(answer[NFTA_SET_NAME]): answer for answer in answers}


def _of_table(
    netlink: socket.socket, message: int, place: bytes, family: int = NFPROTO_BRIDGE, table: str = TABLE
) -> list[dict[int, bytes]]:
    """Return a dump's answers that are about a table: in each kind of answer its name is the first attribute."""
    try:
        return [answer for answer in dump(netlink, message, family, place) if answer.get(1) == text(table)]
    except FileNotFoundError:
        return []


@contextmanager
def _reading() -> Iterator[socket.socket]:
    try:
        with open_socket() as netlink:
            yield netlink
    except OSError as error:
        raise KernelError("NFT_UNREADABLE", f"table bridge {TABLE}: {error.strerror}") from error


def _flags(about: Mapping[int, bytes]) -> int:
    return int.from_bytes(about.get(NFTA_SET_FLAGS, b""), "big")


def _name(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
