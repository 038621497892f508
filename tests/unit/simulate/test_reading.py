"""The capture reader against its slow twin: every form of file, and files that somebody broke."""

from __future__ import annotations

import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.replay import Capture
from tests.fuzz.recordings import broken
from tests.support import capture_file, captures
from tests.support.capture_file import MICROSECOND, MODIFIED, NANOSECOND, Packet, Read, slow_read

DATES: Final = st.integers(0, (1 << 32) - 1).map(lambda seconds: seconds * 1_000_000_000)
CONTENT: Final = st.binary(max_size=70)
BROKEN_FILES: Final = 4000


def read(data: bytes) -> Read | None:
    """Return what the replay's reader makes of a file, in the twin's form."""
    try:
        capture = Capture(data)
    except ValueError:
        return None
    found = Read()
    while count := capture.read():
        found.packets += [Packet(*capture.frame(number)) for number in range(count)]
    assert capture.frames == len(found.packets)
    found.damaged_at = capture.at if capture.damage else None
    if not capture.damage:
        assert capture.at == len(data)
    return found


@st.composite
def packets(draw: st.DrawFn) -> list[Packet]:
    """Some packets, snapped ones among them."""
    found = []
    for data in draw(st.lists(CONTENT, max_size=12)):
        time_ns = draw(DATES) + draw(st.integers(0, 999_999_999))
        found.append(Packet(time_ns, data, len(data) + draw(st.sampled_from((0, 0, 7, 9000)))))
    return found


@given(packets(), st.sampled_from("<>"), st.sampled_from((MICROSECOND, NANOSECOND, MODIFIED)))
def test_pcap_of_every_kind(wanted: list[Packet], order: str, magic: int) -> None:
    """Both byte orders, both units, and the form with longer record headers."""
    unit = 1 if magic == NANOSECOND else 1000
    found = read(capture_file.pcap(wanted, order=order, magic=magic))
    assert found is not None
    assert found.packets == [packet._replace(time_ns=packet.time_ns // unit * unit) for packet in wanted]
    assert found.damaged_at is None


@st.composite
def pcapng(draw: st.DrawFn) -> bytes:
    """Return a file of several sections and interfaces, with every kind of packet block and some unknown ones."""
    out = []
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.sampled_from("<>"))
        out.append(capture_file.section(order))
        count = draw(st.integers(0, 3))
        for _ in range(count):
            resolution = draw(st.none() | st.integers(0, 255))
            offset_s, snap = draw(st.integers(-(1 << 63), (1 << 63) - 1) | st.just(0)), draw(st.sampled_from((0, 20)))
            out.append(
                capture_file.interface(
                    order, draw(st.sampled_from((1, 113))), resolution=resolution, offset_s=offset_s, snap=snap
                )
            )
        for data in draw(st.lists(CONTENT, max_size=6)):
            kind = draw(
                st.sampled_from(
                    (capture_file.enhanced, capture_file.enhanced, capture_file.old_packet, capture_file.simple)
                )
            )
            length = len(data) + draw(st.sampled_from((0, 0, 100)))
            if kind is capture_file.simple:
                out.append(capture_file.simple(order, data, length))
            else:
                index = draw(st.integers(0, max(count - 1, 0)))
                out.append(kind(order, index, draw(st.integers(0, (1 << 64) - 1)), data, length))
            if draw(st.booleans()):
                out.append(capture_file.block(order, draw(st.sampled_from((4, 5, 0xBAD))), data))
    return b"".join(out)


@given(pcapng())
def test_pcapng_like_the_twin(data: bytes) -> None:
    """Sections, interfaces, clocks, blocks: the same packets, or the damage at the same byte."""
    assert read(data) == slow_read(data)


@given(
    st.binary(max_size=300),
    st.sampled_from((b"", b"\x0a\x0d\x0d\x0a", b"\xd4\xc3\xb2\xa1\x02\x00", b"\xa1\xb2\xc3\xd4\x00\x02")),
)
def test_noise(data: bytes, head: bytes) -> None:
    """Bytes of nobody's making, some behind a good beginning."""
    assert read(head + data) == slow_read(head + data)


def specimens() -> list[bytes]:
    """Return whole files of every form."""
    some = [Packet(1_700_000_000_123_456_000 + n, bytes(range(n)), n + n % 2) for n in range(0, 64, 5)]
    found = [
        capture_file.pcap(some, order=order, magic=magic)
        for order in "<>"
        for magic in (MICROSECOND, NANOSECOND, MODIFIED)
    ]
    for order in "<>":
        parts = [capture_file.section(order), capture_file.interface(order, 1, resolution=9, offset_s=-3)]
        parts.append(capture_file.interface(order, 113, resolution=0x8A, snap=12))
        for number, packet in enumerate(some):
            kind = (capture_file.enhanced, capture_file.old_packet)[number % 2]
            parts.append(kind(order, number % 2, packet.time_ns, packet.data, packet.length))
            parts.append(capture_file.simple(order, packet.data, packet.length))
        found.append(b"".join(parts) * 2)
    return found


def test_broken_files_like_the_twin(seed: int) -> None:
    """Thousands of files with lies in them: the same packets before the damage, and the same byte."""
    rng = random.Random(seed)
    whole = specimens() + [path.read_bytes()[:4000] for path in captures.files()[::40]]
    damaged = 0
    for number in range(BROKEN_FILES):
        data = broken(rng.choice(whole), rng)
        wanted = slow_read(data)
        assert read(data) == wanted, f"file {number} of seed {seed}: {data.hex()}"
        damaged += wanted is not None and wanted.damaged_at is not None
    assert damaged > BROKEN_FILES // 10


@pytest.mark.parametrize("whole", specimens())
def test_every_prefix_of_a_file(whole: bytes) -> None:
    """A file cut at any byte: what stands before the cut is read, and the cut is told as such."""
    for size in range(4, len(whole)):
        assert read(whole[:size]) == slow_read(whole[:size]), size


def test_more_interfaces_than_a_file_can_mean() -> None:
    """Interfaces beyond the limit are damage, not memory."""
    data = capture_file.section() + capture_file.interface("<", 1) * (capture_file.MOST_INTERFACES + 1)
    found = read(data)
    assert found is not None
    assert found == slow_read(data)
    assert found.damaged_at is not None


def test_a_frame_is_only_there_in_its_batch() -> None:
    """Numbers beyond the batch in hand are refused, and so is everything after close."""
    capture = Capture(capture_file.pcap([Packet(0, b"x", 1)]))
    assert capture.read() == 1
    with pytest.raises(IndexError):
        capture.frame(1)
    with pytest.raises(IndexError):
        capture.time_ns(1)
    capture.close()
    with pytest.raises(IndexError):
        capture.frame(0)
    assert capture.read() == 0
