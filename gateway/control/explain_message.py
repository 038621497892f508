"""`explain --message`: a made-up conversation up to one message of its opener, and what the message asks for.

In: two addresses, a service, bytes. Out: frames in their order, each with who sends it; a line for each message of the
last one, in the words of policies, as `decode` reads it. Checksums are left zero: the engine never looks at one. Pure;
whether a message passes says the engine's judge.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath.abi import Operation, Protocol
from fastpath.decoding import Decoder
from gateway.control.explain_frame import CLIENT_PORT, SYN, IPAddress, ServiceNumber, ip_packet
from gateway.errors import ConfigError
from rules.protocols import key_of
from rules.records import ServiceKind

if TYPE_CHECKING:
    from fastpath.abi import Inspector
    from fastpath.decoding import Field, Message

ACK, PUSH = 0x10, 0x08
MOST_BYTES: Final = 2048  # what fits into a query, and more than most messages have
RAW_IP: Final = 101  # link type of frames without any link header (LINKTYPE_RAW)
_SEPARATORS: Final = re.compile(r"[\s:]")


class Sent(NamedTuple):
    """One frame of the conversation."""

    from_opener: bool
    ethertype: int
    payload: bytes  # from the network header on


def message_bytes(text: str) -> bytes:
    """Return the bytes that hexadecimal digits stand for. Raises ConfigError."""
    try:
        found = bytes.fromhex(_SEPARATORS.sub("", text))
    except ValueError as error:
        detail = f"{text[:40]!r} is not hexadecimal"
        raise ConfigError("message_unreadable", detail, "like 0001000000060106002800c8") from error
    if not 0 < len(found) <= MOST_BYTES:
        raise ConfigError("message_unreadable", f"{len(found)} bytes", f"give 1 to {MOST_BYTES}")
    return found


def conversation(source: IPAddress, destination: IPAddress, service: ServiceNumber, message: bytes) -> list[Sent]:
    """Return the frames from the opening to the message, which is the last one. Raises ConfigError."""
    if service.kind is ServiceKind.UDP:
        return [Sent(True, *ip_packet(source, destination, 17, _datagram(service.number, message)))]
    if service.kind is not ServiceKind.TCP:
        raise ConfigError("message_without_service", f"{service} carries no messages", "name a TCP or UDP service")
    ports = (CLIENT_PORT, service.number)
    return [
        Sent(True, *ip_packet(source, destination, 6, _segment(ports, 0, 0, SYN))),
        Sent(False, *ip_packet(destination, source, 6, _segment(ports[::-1], 0, 1, SYN | ACK))),
        Sent(True, *ip_packet(source, destination, 6, _segment(ports, 1, 1, PUSH | ACK) + message)),
    ]


def _segment(ports: tuple[int, ...], sequence: int, acknowledged: int, flags: int) -> bytes:
    return struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 64240, 0, 0)


def _datagram(port: int, message: bytes) -> bytes:
    return struct.pack(">HHHH", CLIENT_PORT, port, 8 + len(message), 0) + message


def asks(inspector: Inspector, service: ServiceNumber, frames: list[Sent]) -> list[str]:
    """Return what the messages of a conversation's last frame ask for; nothing when none of them is whole."""
    ports = {service.number: inspector}
    decoder = Decoder(ports, {}) if service.kind is ServiceKind.TCP else Decoder({}, ports)
    found = [decoder.frame(at, sent.payload, len(sent.payload), RAW_IP) for at, sent in enumerate(frames)]
    return [] if found[-1] is None else [_line(message) for message in found[-1][1]]


def _line(message: Message) -> str:
    protocol, operation, _, _, fields, besides = message
    words = [f"operation {Operation(operation).name.lower()}", *_words(fields)]
    things = [", ".join(words), *(", ".join(_words(more)) for more in besides)]
    return f"{key_of(Protocol(protocol))}: {'; also '.join(things)}"


def _words(fields: dict[str, Field]) -> list[str]:
    return [f"{name} {_numbers(value)}" for name, value in fields.items()]


def _numbers(value: object) -> str:
    return "-".join(str(one) for one in dict.fromkeys(value)) if isinstance(value, tuple) else str(value)
