"""A capture's messages, one after the other, as `conduitctl decode` shows them.

In: capture files. Out: a dict for each message: the frame that completes it (numbered from 1, as Wireshark does), its
place among that frame's messages, its ends, protocol, operation, and fields with None where the wire has nothing.
Judges nothing; what is no message of a known protocol is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import FIELD_NAMES, Inspector, Operation, Protocol
from fastpath.decoding import Decoder
from gateway.control.readable import address_text
from gateway.simulate.sources import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastpath.decoding import Message
    from gateway.simulate.sources import CaptureFile

# IANA's service names; 2222 is EtherNet/IP's implicit messaging (ODVA volume 2, 9-3).
TCP_PORTS: Final = {
    502: Inspector.MODBUS,
    102: Inspector.S7COMM,
    44818: Inspector.ENIP,
}
UDP_PORTS: Final = {502: Inspector.MODBUS, 44818: Inspector.ENIP, 2222: Inspector.ENIP_IO}


def decoded(file: CaptureFile, advance: Callable[[CaptureFile, int], None] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the messages of one file in the order in which they were completed. Raises ConfigError."""
    decoder = Decoder(TCP_PORTS, UDP_PORTS)
    with opened(file) as capture:
        first = 1
        while count := capture.read():
            for number in range(count):
                found = decoder.frame(*capture.frame(number))
                if found is None:
                    continue
                (source, sport, destination, dport), messages = found
                ends = {"src": address_text(source), "sport": sport, "dst": address_text(destination), "dport": dport}
                for index, message in enumerate(messages):
                    yield {"frame": first + number, "index": index, **ends, **_said(message)}
            first += count
            if advance is not None:
                advance(file, capture.at)


def _said(message: Message) -> dict[str, Any]:
    number, operation, answer, depth, found = message
    protocol = Protocol(number)
    fields: dict[str, Any] = {}
    for name in FIELD_NAMES[protocol]:
        value = found.get(name)
        fields[name] = value[0] if isinstance(value, tuple) else value
    if protocol is Protocol.CIP:
        fields |= {"response": answer, "depth": depth}
    word = protocol.name.lower().replace("_", "-")
    if protocol is Protocol.ENIP and fields["command"] is None:
        word = "enip-io"  # implicit messages have no encapsulation header
    return {
        "protocol": word,
        "operation": Operation(operation).name.lower(),
        "answer": answer,
        "fields": fields,
    }
