"""Messages of a capture as `conduitctl decode` has them: by the live path's code, or from any program that prints them.

In: a capture, or a program and a capture. Out: one dict for each message, in the form that `conduitctl decode -o jsonl`
prints: the frame that completes it, its index within the frame, ends, protocol, operation, fields.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any, Final

from gateway.decoding.messages import decoded
from gateway.simulate.sources import CaptureFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Message = dict[str, Any]

PROTOCOLS: Final = ("modbus", "s7comm", "enip", "cip")
DECODE_SECONDS: Final = 300


def messages(capture: Path, _protocol: str) -> Iterator[Message]:
    """Yield a capture's messages, of every protocol."""
    yield from decoded(CaptureFile(capture))


def printed(command: str, capture: Path) -> Iterator[Message]:
    """Yield the messages that a program prints of a capture, one JSON object a line; the capture's path is appended."""
    words = [*shlex.split(command), str(capture)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=DECODE_SECONDS, check=True)
    for line in done.stdout.splitlines():
        yield json.loads(line)
