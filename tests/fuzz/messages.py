"""Mutated packet messages through the engine's reader: each must be read as the plain twin reads it.

`python -m tests.fuzz.messages --count 1000000 --seed S`; the sanitizer lane (tests/fuzz/sanitize.py) runs this very
module. The messages come in runs of a few shapes, as from a kernel, with broken ones in between: the reader that
remembers shapes and one that has never seen a message must both agree with the twin. Exit 1 on any difference.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.support import twin_message as wire
from tests.support.reading import reader_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER: Final = bytes(16) + bytes(4)
OTHER_KINDS: Final = (3, 4, 5, 6, 11, 12, 14, 15, 16, 18, 21)  # those that the engine does not read
MOST_SHAPES: Final = 6  # more than are remembered
MESSAGES_PER_SET: Final = 200
BROKEN_SHARE: Final = 0.3
MOST_OTHERS: Final = 16  # more attributes than a shape has room for
PROGRESS_SECONDS: Final = 10.0

Attribute = tuple[int, bytes]


@dataclass
class MessageResult:
    """How many messages were read, what became of them, and where reader and twin differ."""

    messages: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def fuzz(count: int, seed: int, *, progress: bool = False) -> MessageResult:
    """Read this many messages, each three ways."""
    reader_of = reader_class()
    result = MessageResult()
    rng = random.Random(seed)
    shown_at = time.monotonic()
    while result.messages < count:
        remembering = reader_of()
        for message in messages(rng, min(MESSAGES_PER_SET, count - result.messages)):
            expected = wire.read_message(message)
            for name, found in (("remembered", remembering.read(message)), ("first", reader_of().read(message))):
                if found != expected:
                    result.differences.append(f"{name}: {message.hex()}\n  read     {found}\n  expected {expected}")
            result.messages += 1
            result.outcomes["no id" if expected is None else "read"] += 1
        if progress and time.monotonic() - shown_at > PROGRESS_SECONDS:
            shown_at = time.monotonic()
            print(f"  {result.messages} messages", flush=True)
    return result


def messages(rng: random.Random, count: int) -> Iterator[bytes]:
    """Yield messages of a few shapes in random order, some of them broken."""
    shapes = [draw_attributes(rng) for _ in range(rng.randrange(1, MOST_SHAPES + 1))]
    for _ in range(count):
        message = encode(vary(rng, rng.choice(shapes)))
        if rng.random() < BROKEN_SHARE:
            message = broken(rng, message)
        yield message


def draw_attributes(rng: random.Random) -> list[Attribute]:
    """Return the attributes of a message, mostly as a kernel orders them."""
    found: list[Attribute] = [(wire.PACKET_HDR, bytes(7))]
    chosen = (wire.PHYSINDEV, 4), (wire.PHYSOUTDEV, 4), (wire.HWADDR, 12), (wire.L2HDR, 14), (wire.CAP_LEN, 4)
    found += [(kind, bytes(size)) for kind, size in chosen if rng.random() < 0.7]
    if rng.random() < 0.4:
        found.append((wire.VLAN, bytes(16)))
    few = rng.randrange(4) if rng.random() < 0.9 else rng.randrange(MOST_OTHERS)
    for _ in range(few):
        found.insert(rng.randrange(len(found) + 1), (rng.choice(OTHER_KINDS), bytes(rng.randrange(0, 24))))
    found.append((wire.PAYLOAD, b""))
    if rng.random() < 0.1:
        rng.shuffle(found)
    if rng.random() < 0.1:
        found.append(rng.choice(found))
    return found


def vary(rng: random.Random, attributes: Sequence[Attribute]) -> list[Attribute]:
    """Return the same attributes with other values; only a payload gets another length."""
    found = []
    for kind, old in attributes:
        value = rng.randbytes(len(old))
        if kind == wire.PAYLOAD:
            value = rng.randbytes(rng.choice((0, 1, 3, 4, 20, 40, 41, 64)))
        elif kind == wire.HWADDR:
            value = struct.pack("!HH", rng.choice((0, 5, 6, 8)), 0) + value[4:]
        elif kind == wire.CAP_LEN:
            value = rng.choice((0, 1, 41, 1500, 0xFFFFFFFF)).to_bytes(4, "big")
        elif kind == wire.VLAN:
            protocol = rng.choice((0x8100, 0x8100, 0x88A8, 0)).to_bytes(2, "big")
            tags = [(wire.VLAN_TCI, rng.randbytes(2)), (wire.VLAN_PROTO, protocol)]
            rng.shuffle(tags)
            value = body(tags)
        found.append((kind, value))
    return found


def body(attributes: Sequence[Attribute]) -> bytes:
    """Return attributes as they lie in a message."""
    parts = [struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4) for kind, value in attributes]
    return b"".join(parts)


def encode(attributes: Sequence[Attribute]) -> bytes:
    """Return a message; like the kernel's it ends with its last value, without padding."""
    return HEADER + body(attributes)[: len(body(attributes)) - -len(attributes[-1][1]) % 4]


def broken(rng: random.Random, message: bytes) -> bytes:
    """Return a message with something wrong: cut, lengthened, continued, bits flipped, a length or a type changed."""
    found = bytearray(message)
    way = rng.randrange(6)
    if way == 0:
        return bytes(found[: rng.randrange(len(found) + 1)])
    if way == 1:
        return bytes(found) + rng.randbytes(rng.randrange(1, 12))
    if way == 5:
        more = rng.choice((wire.PHYSINDEV, wire.CAP_LEN, wire.PAYLOAD)), rng.randbytes(4)
        return bytes(found) + bytes(-len(found) % 4) + body([more])
    at = rng.randrange(len(HEADER), len(found))
    if way == 2:
        found[at] ^= 1 << rng.randrange(8)
    else:
        heads = places(message)
        at = rng.choice(heads) if heads else at
        value = rng.choice((0, 3, 4, 5, 8, 12, 16, 20, 0x7FFF, 0xFFFF, rng.randrange(1, 24)))
        struct.pack_into("=H", found, min(at + 2 * (way == 4), len(found) - 2), value)
    return bytes(found)


def places(message: bytes) -> list[int]:
    """Return where the attributes of a whole message begin."""
    found, at = [], len(HEADER)
    for _, value in wire.attributes(message[at:]):
        found.append(at)
        at += 4 + -(-len(value) // 4) * 4
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.messages", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock, printed")
    chosen = parser.parse_args(arguments)
    seed = time.time_ns() % 1_000_000_007 if chosen.seed is None else chosen.seed
    started = time.monotonic()
    result = fuzz(chosen.count, seed, progress=True)
    for text in result.differences[:5]:
        print(f"DIFFERENT {text}")
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in result.outcomes.most_common())
    print(
        f"messages: {result.messages} ({outcomes}), {len(result.differences)} differences, seed {seed}, "
        f"{time.monotonic() - started:.0f} s",
        flush=True,
    )
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
