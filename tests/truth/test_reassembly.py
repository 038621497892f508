"""The plain reassembly that the truth harness stands on: order, repetition, overlap, gaps, ends, link types."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Final

import pytest

from tests.support.capture_file import Packet
from tests.truth.reassembly import ACK, SYN, Heard, heard

CLIENT, SERVER = (b"\x0a\0\0\1", 40000), (b"\x0a\0\0\2", 502)
ETHERNET: Final = bytes(12)


def tcp(sequence: int, payload: bytes, *, flags: int = ACK, ack: int = 0, back: bool = False) -> bytes:
    """Return an IPv4 packet from client to server, or back."""
    (source, sport), (destination, dport) = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    head = struct.pack("!HHIIBBHHH", sport, dport, sequence & 0xFFFFFFFF, ack, 0x50, flags, 8192, 0, 0)
    total = 20 + len(head) + len(payload)
    return struct.pack("!BBHHHBBH", 0x45, 0, total, 1, 0, 64, 6, 0) + source + destination + head + payload


def capture(*packets: bytes, prefix: bytes = ETHERNET + b"\x08\0", link: int = 1) -> list[Heard]:
    """Return what is heard of the packets."""
    return list(heard([Packet(0, prefix + one, len(prefix) + len(one), link) for one in packets], [502]))


def said(found: list[Heard], *, from_opener: bool = True) -> bytes:
    """Return one direction's bytes."""
    return b"".join(one.piece.data for one in found if one.from_opener == from_opener)


def test_every_order_and_repetition_gives_the_same_bytes(seed: int) -> None:
    """Segments in any order after the SYN, overlapping and repeated, are the bytes sent, also over the wrap."""
    rng = random.Random(seed)
    for _ in range(300):
        start, sent = rng.choice((1000, 0xFFFFFFF0)), rng.randbytes(rng.randrange(1, 60))
        cuts = sorted({0, len(sent), *(rng.randrange(len(sent) + 1) for _ in range(4))})
        parts = [(a, sent[a : min(b + rng.randrange(3), len(sent))]) for a, b in itertools.pairwise(cuts)]
        parts += rng.choices(parts, k=rng.randrange(3))
        rng.shuffle(parts)
        found = capture(tcp(start, b"", flags=SYN), *(tcp(start + 1 + at, part) for at, part in parts))
        assert said(found) == sent
        assert not any(one.piece.after_gap for one in found)


def test_bytes_belong_to_the_frame_that_brought_them() -> None:
    """What waits for its predecessor keeps its own frame; repeated bytes belong to the first."""
    found = capture(tcp(9, b"", flags=SYN), tcp(13, b"def"), tcp(10, b"abc"), tcp(10, b"abcdefg"))
    assert [(one.piece.frame, one.piece.data) for one in found] == [(3, b"abc"), (2, b"def"), (4, b"g")]


def test_a_gap_that_the_other_end_acknowledged_is_given_up() -> None:
    """Bytes never captured but acknowledged end the wait; what follows is marked."""
    found = capture(tcp(10, b"ab"), tcp(15, b"xy"), tcp(1, b"", ack=17, back=True), tcp(17, b"z"))
    assert [(one.piece.data, one.piece.after_gap) for one in found] == [(b"ab", False), (b"xy", True), (b"z", False)]


def test_a_gap_is_given_up_at_the_end_of_the_capture() -> None:
    """Without an acknowledgement, what waits is heard at the end."""
    found = capture(tcp(10, b"ab"), tcp(15, b"xy"))
    assert [(one.piece.data, one.piece.after_gap) for one in found] == [(b"ab", False), (b"xy", True)]


def test_a_new_opening_is_a_new_conversation() -> None:
    """The same ports with another SYN begin anew; the same SYN again does not."""
    found = capture(
        tcp(9, b"", flags=SYN), tcp(9, b"", flags=SYN), tcp(10, b"ab"), tcp(99, b"", flags=SYN), tcp(100, b"cd")
    )
    assert [one.piece.data for one in found] == [b"ab", b"cd"]
    assert found[0].conversation is not found[1].conversation


def test_the_end_with_the_service_responds() -> None:
    """A known port is the responder's, whoever opened."""
    assert [one.from_opener for one in capture(tcp(1, b"a", back=True), tcp(1, b"b"))] == [False, True]
    opened = capture(tcp(1, b"", flags=SYN, back=True), tcp(2, b"a", back=True))
    assert [one.from_opener for one in opened] == [False]


@pytest.mark.parametrize(
    ("prefix", "link"),
    [
        (ETHERNET + b"\x81\0\0\x05\x08\0", 1),
        (ETHERNET + b"\x88\xa8\0\x05\x81\0\0\x06\x08\0", 1),
        (b"\2\0\0\0", 0),
        (b"", 101),
        (bytes(14) + b"\x08\0", 113),
    ],
)
def test_link_types(prefix: bytes, link: int) -> None:
    """Tags, loopback, raw IP and the cooked form are all read."""
    assert said(capture(tcp(1, b"abc"), prefix=prefix, link=link)) == b"abc"
