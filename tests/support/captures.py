"""Frames of recorded OT traffic, where the machine has the captures.

In: CONDUIT_CAPTURES, or ../shared/captures beside the project. Out: files and their Ethernet frames (pcap and pcapng,
read by hand: the fuzzer runs where scapy is too slow). Captures are data for tests and never part of the project.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPTURES_VARIABLE: Final = "CONDUIT_CAPTURES"
BESIDE_THE_PROJECT: Final = Path(__file__).resolve().parents[2].parent / "shared" / "captures"
LINKTYPE_ETHERNET: Final = 1
SECTION_HEADER, INTERFACE, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 3, 6  # pcapng block types
PCAP_ORDERS: Final = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}


def directory() -> Path | None:
    """Return where the captures are, or None."""
    chosen = os.environ.get(CAPTURES_VARIABLE)
    place = Path(chosen) if chosen else BESIDE_THE_PROJECT
    return place if place.is_dir() else None


def files() -> list[Path]:
    """Return every capture file, in a stable order; none where there are none."""
    place = directory()
    if place is None:
        return []
    return sorted(path for path in place.rglob("*") if path.suffix in (".pcap", ".pcapng", ".cap"))


def require_captures() -> list[Path]:
    """Return the capture files or skip, saying what is missing."""
    found = files()
    if not found:
        pytest.skip(f"no captures: neither {CAPTURES_VARIABLE} nor ../shared/captures names a directory with some")
    return found


def ethernet_frames(path: Path) -> Iterator[bytes]:
    """Yield the frames of a capture; nothing for other link types; stops where the file is cut."""
    data = path.read_bytes()
    if data[:4] in PCAP_ORDERS:
        return _pcap(data, PCAP_ORDERS[data[:4]])
    return _pcapng(data)


def _pcap(data: bytes, order: str) -> Iterator[bytes]:
    if len(data) < 24 or struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF != LINKTYPE_ETHERNET:
        return
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from(order + "I", data, at + 8)[0]
        yield data[at + 16 : at + 16 + size]
        at += 16 + size


def _pcapng(data: bytes) -> Iterator[bytes]:
    order, links, at = "<", list[int](), 0
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12:
            return
        if kind == INTERFACE:
            links.append(struct.unpack_from(order + "H", data, at + 8)[0])
        elif kind == ENHANCED_PACKET:
            interface, _, _, captured = struct.unpack_from(order + "4I", data, at + 8)
            if interface < len(links) and links[interface] == LINKTYPE_ETHERNET:
                yield data[at + 28 : at + 28 + captured]
        elif kind == SIMPLE_PACKET and links and links[0] == LINKTYPE_ETHERNET:
            captured = min(struct.unpack_from(order + "I", data, at + 8)[0], size - 16)
            yield data[at + 12 : at + 12 + captured]
        at += size
