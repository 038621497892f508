"""The lab's own frame builder: checksums are right, probes are found again."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from deploy.lab import frames

ADDRESSES = frames.Addresses(
    b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2", bytes([10, 20, 10, 66]), bytes([10, 20, 50, 10]), 50000, 502
)


def pseudo_sum(frame: bytes, protocol: int) -> int:
    """Return the transport checksum over pseudo header and segment; 0 for a segment whose checksum is right."""
    segment = frame[34:]
    return frames.checksum(frame[26:34] + struct.pack("!BBH", 0, protocol, len(segment)) + segment)


@given(st.binary(max_size=64))
def test_checksums_verify(payload: bytes) -> None:
    """IP, TCP and UDP checksums verify at the receiver for any payload."""
    segment = frames.tcp(ADDRESSES, frames.SYN, 1, 0, payload)
    datagram = frames.udp(ADDRESSES, payload)
    assert frames.checksum(segment[14:34]) == frames.checksum(datagram[14:34]) == 0
    assert pseudo_sum(segment, frames.PROTOCOL_TCP) == 0
    assert pseudo_sum(datagram, frames.PROTOCOL_UDP) == 0


@given(st.binary(min_size=8, max_size=8), st.integers(min_value=0, max_value=2**64 - 1))
def test_probe_is_found_again(run: bytes, sequence: int) -> None:
    """A probe's number is read back from its frame; another run's name finds nothing."""
    frame = frames.udp(ADDRESSES, frames.probe(run, sequence))
    assert frames.probe_sequence(frame, run) == sequence
    assert frames.probe_sequence(frame, bytes(byte ^ 0xFF for byte in run)) is None
    assert frames.probe_sequence(frame[:-1], run) is None


def test_modbus_write_is_the_standards() -> None:
    """The ADU of "write single register" has the layout of the Modbus/TCP guide."""
    assert frames.modbus_write(10, 4711, 7).hex() == "000700000006" + "01" + "06" + "000a" + "1267"
