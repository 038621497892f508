"""Segments: what is created can be attached, anything else is refused, readers give back what was written."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from fastpath import abi
from gateway import segments
from gateway.errors import InternalError
from gateway.segment_readers import CountersReader, EventReader, FlowsReader
from gateway.segments import SegmentKind, attach

if TYPE_CHECKING:
    from collections.abc import Callable

MAKERS: dict[SegmentKind, Callable[[], int]] = {
    SegmentKind.COUNTERS: lambda: segments.create_counters((4, 5)),
    SegmentKind.EVENTS: lambda: segments.create_events(2),
    SegmentKind.FLOWS: lambda: segments.create_flows(2, 1024),
    SegmentKind.STREAMS: lambda: segments.create_streams(2),
}


@pytest.mark.parametrize("kind", list(MAKERS))
def test_created_segment_can_be_attached(kind: SegmentKind) -> None:
    """Each kind attaches as itself, and as nothing else."""
    fd = MAKERS[kind]()
    assert attach(kind, fd).header["abi_version"] == abi.ABI_VERSION
    for other in set(SegmentKind) - {kind}:
        with pytest.raises(InternalError):
            attach(other, fd)
    os.close(fd)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_size_of_a_segment_is_sealed(kind: SegmentKind) -> None:
    """No peer can shrink a mapping under a reader."""
    fd = MAKERS[kind]()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 64)
    os.close(fd)


def test_image_cannot_be_written_any_more() -> None:
    """A sealed image refuses writes and writable mappings."""
    fd = segments.create_image(b"x" * 4096)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"y", 0)
    os.close(fd)


@pytest.mark.parametrize(
    ("field", "value"), [("queue_count", 3), ("queue_count", 0), ("abi_version", 9), ("queue_bytes", 8)]
)
def test_header_that_contradicts_the_size_is_refused(field: str, value: int) -> None:
    """A changed header is refused on attach."""
    fd = segments.create_counters((0, 1))
    width = 8 if field == "queue_bytes" else 4
    os.pwrite(fd, value.to_bytes(width, "little"), abi.COUNTERS_HEADER.offsets[field])
    with pytest.raises(InternalError):
        attach(SegmentKind.COUNTERS, fd)
    os.close(fd)


def test_state_with_an_area_outside_is_refused() -> None:
    """Offsets beyond the end never reach the engine."""
    ports = abi.STATE_HEADER.size
    pairs = ports + abi.STATE_PORT_SLOTS * abi.STATE_PORT.size
    size = pairs + 4 + 10
    good = (
        abi.STATE_MAGIC,
        abi.ABI_VERSION,
        abi.STATE_HEADER.size,
        size,
        1,
        1,
        0,
        2,
        10,
        ports,
        pairs,
        pairs + 4,
        0,
        bytes(60),
    )
    for conduits, accepted in ((10, True), (11, False)):
        header = abi.STATE_HEADER.pack(*good[:8], conduits, *good[9:])
        fd = segments.create_state(header + bytes(size - len(header)))
        if accepted:
            attach(SegmentKind.STATE, fd, writable=True)
        else:
            with pytest.raises(InternalError):
                attach(SegmentKind.STATE, fd)
        os.close(fd)


def test_unsealed_memory_and_other_descriptors_are_refused() -> None:
    """A plain memfd, a pipe, a closed descriptor: InternalError, never a crash."""
    plain = os.memfd_create("plain", os.MFD_ALLOW_SEALING)
    os.ftruncate(plain, 4096)
    pipe = os.pipe()
    for fd in (plain, *pipe, 9999):
        with pytest.raises(InternalError):
            attach(SegmentKind.IMAGE, fd)
    for fd in (plain, *pipe):
        os.close(fd)


def test_read_only_descriptor_cannot_be_mapped_writable() -> None:
    """The engine's state and control's counters are read-only for them."""
    fd = segments.create_counters((0,))
    copy = segments.read_only(fd)
    attach(SegmentKind.COUNTERS, copy)
    with pytest.raises(InternalError):
        attach(SegmentKind.COUNTERS, copy, writable=True)
    os.close(fd)
    os.close(copy)


def test_counters_are_summed_over_queues() -> None:
    """Totals, reasons and conduits add up; zero entries are left out."""
    fd = segments.create_counters((4, 5))
    writer = attach(SegmentKind.COUNTERS, fd, writable=True).view
    for index in range(2):
        block = abi.COUNTERS_HEADER_BYTES + index * abi.QUEUE_COUNTERS_STRIDE
        words = {
            abi.QUEUE_COUNTERS.offsets["received"]: 10 + index,
            abi.QUEUE_COUNTERS.offsets["by_reason"] + 16 * abi.Reason.POLICY_NO_CONDUIT + 8: 3,
            abi.PAGE_BYTES + 16 * 7: 2,
        }
        for offset, value in words.items():
            writer[block + offset : block + offset + 8] = value.to_bytes(8, "little")
    reader = CountersReader(attach(SegmentKind.COUNTERS, fd))
    assert reader.totals()["received"] == 21
    assert [queue["queue_number"] for queue in reader.queues()] == [4, 5]
    assert reader.by_reason() == {"POLICY_NO_CONDUIT": {"passed": 0, "dropped": 6}}
    assert reader.by_conduit(8) == {7: {"accepted": 4, "dropped": 0}}
    assert reader.by_conduit(7) == {}
    os.close(fd)


def _write_event(view: memoryview, position: int, sequence: int) -> None:
    place = abi.EVENTS_HEADER_BYTES + abi.PAGE_BYTES + (position % abi.EVENTS_PER_RING) * abi.EVENT.size
    at = place + abi.EVENT.offsets["sequence"]
    view[at : at + 8] = sequence.to_bytes(8, "little")


def _set_ring(view: memoryview, **fields: int) -> None:
    for name, value in fields.items():
        at = abi.EVENTS_HEADER_BYTES + abi.RING_HEADER.offsets[name]
        view[at : at + 8] = value.to_bytes(8, "little")


def test_event_reader_consumes_across_the_end_of_the_ring() -> None:
    """Events come in order over the wrap, limits hold, and the tail follows."""
    fd = segments.create_events(1)
    view = attach(SegmentKind.EVENTS, fd, writable=True).view
    start = abi.EVENTS_PER_RING - 2
    for position in range(start, start + 5):
        _write_event(view, position, position)
    _set_ring(view, head=start + 5, tail=start, lost=9)
    reader = EventReader(attach(SegmentKind.EVENTS, fd, writable=True))
    assert reader.waiting() == 5
    assert [event["sequence"] - start for event in reader.read(3)] == [0, 1, 2]
    assert [event["sequence"] - start for event in reader.read()] == [3, 4]
    assert (reader.read(), reader.waiting(), reader.lost(), reader.gaps) == ([], 0, 9, 0)
    os.close(fd)


def test_event_reader_counts_gaps() -> None:
    """A sequence that jumps, and an entry that is older than its place, are counted."""
    fd = segments.create_events(1)
    view = attach(SegmentKind.EVENTS, fd, writable=True).view
    for position, sequence in enumerate((0, 1, 5, 2)):
        _write_event(view, position, sequence)
    _set_ring(view, head=4, tail=0, lost=0)
    reader = EventReader(attach(SegmentKind.EVENTS, fd, writable=True))
    assert [event["sequence"] for event in reader.read()] == [0, 1, 5]
    assert reader.gaps == 3 + 1
    os.close(fd)


def test_flows_reader_yields_only_used_entries() -> None:
    """Used flows of every table, with the queue they belong to."""
    fd = segments.create_flows(2, 1024)
    view = attach(SegmentKind.FLOWS, fd, writable=True).view
    for table, index in ((0, 3), (1, 1023)):
        place = abi.FLOWS_HEADER_BYTES + (table * 1024 + index) * abi.FLOW.size
        view[place + abi.FLOW.offsets["in_use"]] = 1
        view[place + abi.FLOW.offsets["protocol"]] = 6 + table
    flows = list(FlowsReader(attach(SegmentKind.FLOWS, fd)).flows())
    assert [(flow["queue"], flow["protocol"]) for flow in flows] == [(0, 6), (1, 7)]
    os.close(fd)


def test_flows_reader_asks_the_filter_with_what_stands_in_the_entry() -> None:
    """Only wanted flows are yielded; the filter is asked about used entries and no others."""
    fd = segments.create_flows(2, 1024)
    view = attach(SegmentKind.FLOWS, fd, writable=True).view
    values = {"in_use": 1, "generation": 1 << 40, "conduit": 5, "opener_asset": 70_000, "responder_asset": abi.NO_ASSET}
    for table, index in ((0, 0), (0, 9), (1, 1023)):
        place = abi.FLOWS_HEADER_BYTES + (table * 1024 + index) * abi.FLOW.size
        for name, value in (values | {"conduit": index}).items():
            struct.pack_into("<" + abi.FLOW.fields[name], view, place + abi.FLOW.offsets[name], value)
    asked: list[tuple[int, ...]] = []

    def wanted(*entry: int) -> bool:
        asked.append(entry)
        return entry[1] != 9

    flows = list(FlowsReader(attach(SegmentKind.FLOWS, fd)).flows(wanted))
    assert [(flow["queue"], flow["conduit"]) for flow in flows] == [(0, 0), (1, 1023)]
    assert set(asked) == {(1 << 40, conduit, 70_000, abi.NO_ASSET) for conduit in (0, 9, 1023)}
    os.close(fd)
