"""Addresses as 128-bit numbers, and an index that finds every prefix around one without walking a list.

In: ipaddress objects. Out: blocks (IPv4 as ::ffff:a.b.c.d, as in the ABI's ENDPOINT) and the prefixes around one.
Cost per question: one dictionary look-up per distinct prefix length. Called wherever rules/ compares addresses.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.values import IPAddress, IPNetwork

V = TypeVar("V")
MAPPED_BASE = 0xFFFF << 32
MAPPED_BITS = 96
ALL_ONES = (1 << 128) - 1


class Block(NamedTuple):
    """A prefix or, with length 128, an address."""

    first: int
    length: int

    def packed(self) -> bytes:
        """Return the 16 bytes the image stores."""
        return self.first.to_bytes(16, "big")

    def contains(self, other: Block) -> bool:
        """Tell whether every address of `other` is in here."""
        return self.length <= other.length and masked(other.first, self.length) == self.first


def masked(value: int, length: int) -> int:
    """Return a 128-bit number with everything beyond `length` bits cleared."""
    return value & (ALL_ONES ^ (ALL_ONES >> length))


def address_block(address: IPAddress) -> Block:
    """Return an address as a block of one."""
    return Block(MAPPED_BASE | int(address) if isinstance(address, IPv4Address) else int(address), 128)


def prefix_block(network: IPNetwork) -> Block:
    """Return a prefix as a block; IPv4 /n has length 96 + n."""
    if isinstance(network, IPv4Network):
        return Block(MAPPED_BASE | int(network.network_address), MAPPED_BITS + network.prefixlen)
    return Block(int(network.network_address), network.prefixlen)


def block_text(block: Block) -> str:
    """Return the block as people write it."""
    if block.first >> 32 == 0xFFFF and block.length >= MAPPED_BITS:
        address: IPAddress = IPv4Address(block.first & 0xFFFFFFFF)
        length = block.length - MAPPED_BITS
        return str(address) if length == 32 else f"{address}/{length}"
    address = IPv6Address(block.first)
    return str(address) if block.length == 128 else f"{address}/{block.length}"


class PrefixIndex(Generic[V]):
    """Blocks with values; several values per block."""

    def __init__(self) -> None:
        self._lengths: list[int] = []
        self._blocks: dict[int, dict[int, list[V]]] = {}

    def add(self, block: Block, value: V) -> None:
        """Add a value to a block."""
        if block.length not in self._blocks:
            self._blocks[block.length] = {}
            self._lengths = sorted(self._blocks)
        self._blocks[block.length].setdefault(block.first, []).append(value)

    def covers(self, block: Block) -> bool:
        """Tell whether any block contains this one."""
        return any(
            masked(block.first, length) in self._blocks[length] for length in self._lengths if length <= block.length
        )

    def around(self, block: Block) -> Iterator[tuple[Block, V]]:
        """Yield every block that contains this one (itself included) with its values, longest first."""
        for length in reversed(self._lengths):
            if length <= block.length:
                first = masked(block.first, length)
                for value in self._blocks[length].get(first, ()):
                    yield Block(first, length), value
