"""A CIP device as a slow model: it frames, looks at the outermost service, answers, and notes what it has carried out.

In: the bytes that reached it, in their order. Out: its answers, whole messages, in any order that the protocol permits.
Written from CIP Vol. 1, 2-4 and 3-5.5, and Vol. 2, 2-3 to 2-6. Must know nothing of the gateway.
"""

from __future__ import annotations

import itertools
import struct
from typing import Final

from tests.support import enip_messages as build

NOT_SUPPORTED: Final = 8
SERVICES: Final = {0x01, 0x03, 0x04, 0x05, 0x0A, 0x0E, 0x10, 0x4B, 0x4C, 0x4D, 0x52, 0x54, 0x5B}
MANAGER, ROUTER = b"\x20\x06\x24\x01", b"\x20\x02\x24\x01"


class Device:
    """One end of one conversation. `executed`: every message that it carried out, embedded ones as their own."""

    def __init__(self) -> None:
        self.executed: list[bytes] = []
        self.opened = 0
        self._stream = b""

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes; return an answer for each message that they complete."""
        self._stream += data
        answers = []
        while len(self._stream) >= 24:
            end = 24 + int.from_bytes(self._stream[2:4], "little")
            if len(self._stream) < end:
                break
            message, self._stream = self._stream[:end], self._stream[end:]
            answers.append(self._answer(message))
        return answers

    def _answer(self, message: bytes) -> bytes:
        context = message[12:20]
        if message[0] == 0x6F:
            size = int.from_bytes(message[38:40], "little")
            return build.unconnected(self._carry_out(message[40 : 40 + size]), context=context)
        number, sequence = struct.unpack_from("<I", message, 36)[0], struct.unpack_from("<H", message, 44)[0]
        return build.connected(self._carry_out(message[46:]), connection=number + 0x1000, sequence=sequence)

    def _carry_out(self, request: bytes) -> bytes:
        service, path = request[0], request[2 : 2 + 2 * request[1]]
        data = request[2 + 2 * request[1] :]
        if service not in SERVICES:
            return build.answer(service, status=NOT_SUPPORTED)
        if (service, path) == (0x52, MANAGER):
            return self._carry_out(data[4 : 4 + int.from_bytes(data[2:4], "little")])
        self.executed.append(request)
        if (service, path) == (0x0A, ROUTER):
            (count,) = struct.unpack_from("<H", data)
            starts = [*struct.unpack_from(f"<{count}H", data, 2), len(data)]
            slices = [data[start:end] for start, end in itertools.pairwise(starts)]
            return build.answer(service, build.slices([self._carry_out(one) for one in slices]))
        if path == MANAGER:
            self.opened += 1
            number = 0x1000 + self.opened
            return build.opened(connection=number, back=number + 0x1000, serial=data[10:18], large=service == 0x5B)
        return build.answer(service, b"\1\0" if service in (0x0E, 0x4C) else b"")
