"""Messages of a capture as the inspectors of the data path read them, over the plain reassembly beside this.

In: a capture and the protocol asked for. Out: one dict for each message, in the form that `conduitctl decode -o jsonl`
prints: the frame that completes it, its index within the frame, ends, protocol, operation, fields; `reason` besides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import FIELD_NAMES, Inspector, Protocol, Reason
from fastpath.dissect import Dissection
from tests.support import capture_file
from tests.truth import reassembly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Message = dict[str, Any]

# By protocol, where it is looked for: the ports of its clause (IANA) and who reads them.
PORTS: Final[dict[str, dict[int, Inspector]]] = {
    "modbus": {502: Inspector.MODBUS},
    "s7comm": {102: Inspector.S7COMM},
    "enip": {44818: Inspector.ENIP},
    "cip": {44818: Inspector.ENIP},
}


@dataclass
class _Line:
    """One direction: bytes that wait for the rest of their message, and which frame brought them."""

    data: bytearray = field(default_factory=bytearray)
    frames: list[tuple[int, int]] = field(default_factory=list)  # (bytes up to here, frame)
    lost: bool = False  # what stands in `data` began at no message: look for one

    def add(self, piece: reassembly.Piece) -> None:
        if piece.after_gap:
            self.data.clear()
            self.frames.clear()
            self.lost = True
        self.data += piece.data
        self.frames.append((len(self.data), piece.frame))

    def completing(self, count: int) -> int:
        """Return the frame that brought the last missing one of the first bytes."""
        frames, before = [], 0
        for end, frame in self.frames:
            if before < count:
                frames.append(frame)
            before = end
        return max(frames)

    def drop(self, count: int) -> None:
        del self.data[:count]
        self.frames = [(end - count, frame) for end, frame in self.frames if end > count]


def messages(capture: Path, protocol: str) -> Iterator[Message]:
    """Yield the messages of one protocol; those around them (enip around cip) come too, as `decode` prints them all."""
    read = capture_file.slow_read(capture.read_bytes())
    assert read is not None, f"{capture} is no capture"
    dissections: dict[int, tuple[Dissection, _Line, _Line]] = {}
    kept: list[reassembly.Conversation] = []  # ids stay theirs
    counts: Counter[int] = Counter()
    ports = PORTS[protocol]
    for conversation, from_opener, piece in reassembly.heard(read.packets, ports):
        entry = dissections.get(id(conversation))
        if entry is None:
            port = next(port for port in (conversation.responder[1], conversation.opener[1]) if port in ports)
            entry = dissections[id(conversation)] = (Dissection(ports[port]), _Line(), _Line())
            kept.append(conversation)
        line = entry[1] if from_opener else entry[2]
        line.add(piece)
        source, destination = conversation.opener, conversation.responder
        if not from_opener:
            source, destination = destination, source
        for frame, reason, access in _whole(entry[0], line, from_opener=from_opener):
            yield {
                "frame": frame,
                "index": counts[frame],
                "src": source[0],
                "sport": source[1],
                "dst": destination[0],
                "dport": destination[1],
                "reason": reason.name,
                **plain(access),
            }
            counts[frame] += 1


def plain(access: dict[str, Any]) -> Message:
    """Return an access as `decode` writes it: absent fields null, ranges by their low."""
    protocol = access["protocol"]
    fields: dict[str, int | bool | None] = {}
    for name in FIELD_NAMES[protocol]:
        value = access["fields"].get(name)
        fields[name] = value[0] if isinstance(value, tuple) else value
    if protocol is Protocol.CIP:
        fields["response"] = access["answer"]
        fields["depth"] = access["depth"]
    return {"protocol": protocol.name.lower(), "operation": access["operation"].name.lower(), "fields": fields}


def _whole(dissection: Dissection, line: _Line, *, from_opener: bool) -> Iterator[tuple[int, Reason, dict[str, Any]]]:
    """Yield the messages that are whole: (frame, reason, access), without what is `further` within one."""
    while line.data:
        if line.lost and not _found_start(dissection, line, from_opener=from_opener):
            return
        reason, length = dissection.measure(bytes(line.data), from_opener)
        if reason is not Reason.NONE:
            line.lost = True
            line.drop(line.frames[0][0])
            continue
        if not length or length > len(line.data):
            return
        reason, found = dissection.read(bytes(line.data[:length]), from_opener)
        frame = line.completing(length)
        for access in found:
            if not access["further"]:
                yield frame, reason, access
        line.drop(length)


def _found_start(dissection: Dissection, line: _Line, *, from_opener: bool) -> bool:
    """Drop segments up to the next that begins with a message: a whole one is here, or fills all that is."""
    while line.data:
        reason, length = dissection.measure(bytes(line.data), from_opener)
        if reason is Reason.NONE:
            line.lost = not length  # too little to tell: ask again with the next segment
            return not line.lost
        line.drop(line.frames[0][0])
    return False
