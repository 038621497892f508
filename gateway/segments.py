"""Shared-memory segments: sized and headed memfds out, checked mappings of other processes' memfds in.

The keeper creates counters, events, flows and streams; control creates image and state; the engine and control attach
what they are sent. Every size is sealed, so that no peer can shrink a mapping under a reader; an image cannot be written
any more at all. Layouts are `fastpath.abi`'s. Must never trust a header before it was compared with the size.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from fastpath import abi
from gateway.errors import InternalError

SIZE_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
CONTENT_SEALS: Final = SIZE_SEALS | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
IMAGE_BYTES_MAX: Final = 1 << 30


class SegmentKind(Enum):
    """What a segment holds, as its memfd is named in /proc/PID/maps."""

    COUNTERS = "conduit-counters"
    EVENTS = "conduit-events"
    FLOWS = "conduit-flows"
    STREAMS = "conduit-streams"
    IMAGE = "conduit-image"
    STATE = "conduit-state"


def _counters_size(header: dict[str, Any]) -> int:
    if not 1 <= header["queue_count"] <= abi.MAX_QUEUES or header["queue_bytes"] != abi.QUEUE_COUNTERS_STRIDE:
        return -1
    return abi.counters_bytes(header["queue_count"])


def _events_size(header: dict[str, Any]) -> int:
    if not 1 <= header["ring_count"] <= abi.MAX_QUEUES or header["events_per_ring"] != abi.EVENTS_PER_RING:
        return -1
    return abi.events_bytes(header["ring_count"]) if header["ring_bytes"] == abi.RING_BYTES else -1


def _flows_size(header: dict[str, Any]) -> int:
    if not 1 <= header["table_count"] <= abi.MAX_QUEUES:
        return -1
    return abi.flows_bytes(header["table_count"], header["flows_per_table"])


def _streams_size(header: dict[str, Any]) -> int:
    if not 1 <= header["table_count"] <= abi.MAX_QUEUES:
        return -1
    if (header["streams_per_table"], header["windows_per_table"]) != (abi.STREAMS_PER_TABLE, abi.STREAM_WINDOWS):
        return -1
    return abi.streams_bytes(header["table_count"])


def _image_size(header: dict[str, Any]) -> int:
    return int(header["image_bytes"]) if header["header_bytes"] == abi.IMAGE_HEADER_BYTES else -1


def _state_size(header: dict[str, Any]) -> int:
    zones, conduits, size = header["zone_count"], header["conduit_capacity"], int(header["state_bytes"])
    areas = (
        (header["ports_offset"], abi.STATE_PORT_SLOTS * abi.STATE_PORT.size),
        (header["pairs_offset"], zones * zones),
        (header["conduits_offset"], conduits),
    )
    inside = all(abi.STATE_HEADER.size <= start and start + length <= size for start, length in areas)
    return size if inside and header["ports_offset"] % 8 == 0 else -1


@dataclass(frozen=True, slots=True)
class _Form:
    magic: bytes
    layout: abi.Layout
    seals: int
    size: Callable[[dict[str, Any]], int]  # the size that a header implies, -1 when it contradicts itself


_FORMS: Final = {
    SegmentKind.COUNTERS: _Form(abi.COUNTERS_MAGIC, abi.COUNTERS_HEADER, SIZE_SEALS, _counters_size),
    SegmentKind.EVENTS: _Form(abi.EVENTS_MAGIC, abi.EVENTS_HEADER, SIZE_SEALS, _events_size),
    SegmentKind.FLOWS: _Form(abi.FLOWS_MAGIC, abi.FLOWS_HEADER, SIZE_SEALS, _flows_size),
    SegmentKind.STREAMS: _Form(abi.STREAMS_MAGIC, abi.STREAMS_HEADER, SIZE_SEALS, _streams_size),
    SegmentKind.IMAGE: _Form(abi.IMAGE_MAGIC, abi.IMAGE_HEADER, CONTENT_SEALS, _image_size),
    SegmentKind.STATE: _Form(abi.STATE_MAGIC, abi.STATE_HEADER, SIZE_SEALS, _state_size),
}


class Segment:
    """One attached segment: `view` is the mapped memory, `header` its header as read when it was attached.

    The mapping lives as long as anything holds `view` (or memory taken from it): drop the references to unmap.
    """

    def __init__(self, kind: SegmentKind, view: memoryview, header: dict[str, Any]) -> None:
        self.kind = kind
        self.view = view
        self.header = header


def _refuse(kind: SegmentKind, what: str) -> InternalError:
    return InternalError("segment_invalid", f"{kind.value}: {what}", "the processes are of different versions: restart")


def attach(kind: SegmentKind, fd: int, *, writable: bool = False) -> Segment:
    """Return a checked mapping of a segment; the caller keeps the descriptor and may close it.

    Raises InternalError when seals, magic, ABI version or size are not what this version writes.
    """
    form = _FORMS[kind]
    try:
        size = os.fstat(fd).st_size
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise _refuse(kind, f"not a shared-memory descriptor ({error.strerror})") from error
    if seals & form.seals != form.seals:
        raise _refuse(kind, "not sealed as it must be")
    if size < form.layout.size:
        raise _refuse(kind, f"only {size} bytes, too short for its header")
    protection = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
    try:
        view = memoryview(mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=protection))
    except OSError as error:
        raise _refuse(kind, f"cannot be mapped ({error.strerror})") from error
    header = form.layout.unpack_from(view)
    if header["magic"] != form.magic:
        raise _refuse(kind, "wrong magic")
    if header["abi_version"] != abi.ABI_VERSION:
        raise _refuse(kind, f"ABI version {header['abi_version']}, this version has {abi.ABI_VERSION}")
    if form.size(header) != size:
        raise _refuse(kind, f"its header does not fit its {size} bytes")
    return Segment(kind, view, header)


def _write(fd: int, content: bytes | bytearray, offset: int) -> None:
    left = memoryview(content)
    while left:  # one call writes at most 2 GiB, and less on a signal
        written = os.pwrite(fd, left, offset)
        left, offset = left[written:], offset + written


def _create(kind: SegmentKind, size: int, parts: Sequence[tuple[int, bytes | bytearray]]) -> int:
    """Return a new sealed memfd holding the given (offset, bytes) parts, zero elsewhere."""
    fd = os.memfd_create(kind.value, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        for offset, content in parts:
            _write(fd, content, offset)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _FORMS[kind].seals)
    except OSError:
        os.close(fd)
        raise
    return fd


def create_counters(queue_numbers: Sequence[int]) -> int:
    """Return a counters segment with one zeroed block per queue."""
    count = len(queue_numbers)
    header = abi.COUNTERS_HEADER.pack(
        abi.COUNTERS_MAGIC, abi.ABI_VERSION, count, abi.QUEUE_COUNTERS_STRIDE, 0, bytes(32)
    )
    parts: list[tuple[int, bytes]] = [(0, header)]
    for index, number in enumerate(queue_numbers):
        block = abi.COUNTERS_HEADER_BYTES + index * abi.QUEUE_COUNTERS_STRIDE
        parts.append((block + abi.QUEUE_COUNTERS.offsets["queue_number"], number.to_bytes(4, "little")))
    return _create(SegmentKind.COUNTERS, abi.counters_bytes(count), parts)


def create_events(queue_count: int) -> int:
    """Return an events segment with one empty ring per queue."""
    header = abi.EVENTS_HEADER.pack(
        abi.EVENTS_MAGIC, abi.ABI_VERSION, queue_count, abi.EVENTS_PER_RING, abi.RING_BYTES, bytes(40)
    )
    return _create(SegmentKind.EVENTS, abi.events_bytes(queue_count), [(0, header)])


def create_flows(queue_count: int, flows_per_table: int) -> int:
    """Return a flows segment with one empty table per queue and a seed that no sender can know."""
    header = abi.FLOWS_HEADER.pack(
        abi.FLOWS_MAGIC, abi.ABI_VERSION, queue_count, flows_per_table, 0, secrets.randbits(64), bytes(32)
    )
    return _create(SegmentKind.FLOWS, abi.flows_bytes(queue_count, flows_per_table), [(0, header)])


def create_streams(queue_count: int) -> int:
    """Return a streams segment with one empty table per queue; its memory comes into being as it is used."""
    header = abi.STREAMS_HEADER.pack(
        abi.STREAMS_MAGIC, abi.ABI_VERSION, queue_count, abi.STREAMS_PER_TABLE, abi.STREAM_WINDOWS, bytes(40)
    )
    return _create(SegmentKind.STREAMS, abi.streams_bytes(queue_count), [(0, header)])


def create_image(image: bytes | bytearray) -> int:
    """Return a policy image as a memfd that nobody can change any more."""
    if len(image) > IMAGE_BYTES_MAX:
        raise _refuse(SegmentKind.IMAGE, f"{len(image)} bytes are more than {IMAGE_BYTES_MAX}")
    return _create(SegmentKind.IMAGE, len(image), [(0, image)])


def create_state(state: bytes | bytearray) -> int:
    """Return a state segment; control attaches it writable, the engine is sent a read-only descriptor."""
    return _create(SegmentKind.STATE, len(state), [(0, state)])


def read_only(fd: int) -> int:
    """Return a new descriptor of the same segment that cannot be mapped writable; the caller closes it."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
