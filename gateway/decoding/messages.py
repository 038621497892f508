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

    from fastpath.decoding import Field, Message
    from gateway.simulate.sources import CaptureFile

# IANA's service names; 2222 is EtherNet/IP's implicit messaging (ODVA volume 2, 9-3).
TCP_PORTS: Final = {
    502: Inspector.MODBUS,
    102: Inspector.S7COMM,
    44818: Inspector.ENIP,
}
READ_WRITE_REGISTERS: Final = 23
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


def _first(value: Field | None) -> int | None:
    return value[0] if isinstance(value, tuple) else value


def _exchange(fields: dict[str, Any], besides: list[dict[str, Field]]) -> dict[str, Any]:
    """Return both places of a request that writes some registers and reads others: neither is its only address."""
    reading = besides[0] if besides else {}
    spans = {"write": fields, "read": {name: _first(value) for name, value in reading.items()}}
    named = {f"{what}_{name}": span.get(name) for what, span in spans.items() for name in ("address", "count")}
    return {"address": None, "count": None, **named}


def _said(message: Message) -> dict[str, Any]:
    number, operation, answer, depth, found, besides = message
    protocol = Protocol(number)
    fields = {name: _first(found.get(name)) for name in FIELD_NAMES[protocol]}
    if protocol is Protocol.MODBUS and fields["function"] == READ_WRITE_REGISTERS and not answer:
        fields |= _exchange(fields, besides)
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
