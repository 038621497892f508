"""The control socket's name while one control plane takes over from another."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gateway.control.api.server import ControlServer
from gateway.control.event_stream import EventStream
from gateway.settings import ControlSettings, Settings

if TYPE_CHECKING:
    from pathlib import Path


class _NoFile:
    """An event file that takes everything and keeps nothing."""

    written = lost = 0
    error = ""

    def put(self, lines: bytes, count: int) -> None:
        """Take lines."""

    def close(self) -> None:
        """End."""


def _server(path: Path) -> ControlServer:
    core = SimpleNamespace(settings=Settings(control=ControlSettings(socket=path)), stream=EventStream(_NoFile()))
    plane: Any = SimpleNamespace(core=core)
    return ControlServer(plane)


def test_an_old_control_that_ends_late_leaves_the_new_ones_socket(tmp_path: Path) -> None:
    """After kill -9 of the keeper the orphaned control ends while the next one already listens."""
    path = tmp_path / "control.sock"

    async def hand_over() -> tuple[bool, bool]:
        old, new = _server(path), _server(path)
        await old.start()
        await new.start()
        await old.stop()
        kept = path.exists()
        await new.stop()
        return kept, path.exists()

    assert asyncio.run(hand_over()) == (True, False)
