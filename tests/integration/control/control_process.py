"""The control process with a kernel that only writes down what it was asked: `--fd N --settings FILE --kernel DIR`.

Everything else is the product: the channel, the core, the server. `DIR/asked.jsonl` gets one line per wish; a wish
whose name stands in `DIR/refuse` fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from fastpath.abi import Form
from gateway.channel import AsyncChannel, from_fd
from gateway.control.api.server import ControlServer
from gateway.control.kernel_port import GuardMember, KernelView, LaneEntry, QueueStats, StagesInForce
from gateway.control.run import Run
from gateway.errors import KernelError
from gateway.log import configure_log
from gateway.settings import load_settings

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from rules.records import LoweredPolicy


class RecordingKernel:
    """`KernelPort` that keeps a list."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._static: str | None = None
        self._attached: dict[str, int] = {}
        self._lane_mark = 0

    def _ask(self, wish: str, **detail: Any) -> None:
        with (self._directory / "asked.jsonl").open("a") as file:
            file.write(json.dumps({"wish": wish, **detail}) + "\n")
        refused = self._directory / "refuse"
        if refused.exists() and wish in refused.read_text().split():
            raise KernelError("kernel_refused", f"{wish}: refused by the test", "")

    def capabilities(self) -> Mapping[str, Any]:
        """Pretend to be this machine."""
        return {"form": "brnf", "nft_queue": False, "degraded": ["nft_queue is missing"]}

    def intercept(self) -> Form:
        """Note it."""
        self._ask("intercept")
        return Form.BRNF

    def suspend(self) -> None:
        """Note it."""
        self._ask("suspend")

    def reset_counters(self) -> None:
        """Note it."""
        self._ask("reset_counters")

    def ifindexes(self, names: Sequence[str]) -> dict[str, int]:
        """Every interface exists."""
        return {name: 100 + index for index, name in enumerate(names)}

    def attach(self, names: Sequence[str]) -> None:
        """Note it."""
        self._ask("attach", names=list(names))
        self._attached = self.ifindexes(names)

    def foreign_ports(self, names: Sequence[str]) -> list[str]:
        """There are none."""
        return []

    def prepare_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Note it, and take as long as the test wants: until the file `slow_static` is gone."""
        self._ask("prepare_static", digest=lowered.digest.hex(), ceiling=stages.ceiling.name)
        while (self._directory / "slow_static").exists():
            time.sleep(0.01)

    def apply_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Note it."""
        self._ask("apply_static", digest=lowered.digest.hex(), ceiling=stages.ceiling.name)
        self._static = lowered.digest.hex()

    def update_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Note it."""
        self._ask("update_static", ceiling=stages.ceiling.name, opened=sum(stages.opened.values()))

    def attached(self) -> Mapping[str, int]:
        """Every port that anybody asked for is attached, once `attach` was called."""
        return self._attached

    def boundary_stands(self) -> bool:
        """It does, unless the test says otherwise."""
        return not (self._directory / "flushed").exists()

    def open_monitor(self) -> socket.socket | None:
        """This kernel does not tell."""
        return None

    def heard_deletion(self, monitor: socket.socket) -> bool:
        """Nothing is heard."""
        return False

    def boot_ruleset(self, lowered: LoweredPolicy, stages: StagesInForce) -> str:
        """A script that says whose it is."""
        return f"# {lowered.digest.hex()} {stages.ceiling.name}\n"

    def static_in_sync(self, stages: StagesInForce) -> bool:
        """It is, once applied."""
        return self._static is not None

    def quarantine_add(self, members: Sequence[GuardMember]) -> None:
        """Note it."""
        self._ask("quarantine_add", members=[[m.kind, m.value, m.seconds] for m in members])

    def quarantine_remove(self, members: Sequence[GuardMember]) -> None:
        """Note it."""
        self._ask("quarantine_remove", members=[[m.kind, m.value, m.seconds] for m in members])

    def lane_wanted(self) -> bool:
        """There is a lane when the test makes the file `lane`."""
        return (self._directory / "lane").exists()

    def lane_open(self, mark: int, ports: Mapping[int, int], *, afresh: bool) -> None:
        """Note it."""
        self._ask("lane_open", mark=mark, ports=sorted(ports.items()), afresh=afresh)
        self._lane_mark = mark

    def lane_close(self) -> None:
        """Note it."""
        self._ask("lane_close")
        self._lane_mark = 0

    def lane_mark(self) -> int:
        """Return what was opened last."""
        return self._lane_mark

    def lane_entries(self, limit: int) -> list[LaneEntry]:
        """One flow stays in the kernel."""
        entry = LaneEntry(True, "tcp", "10.20.40.10", 40000, "10.20.50.10", 502, "02:00:0a:14:28:0a", 12, 960, 21)
        return [entry][:limit] if self._lane_mark else []

    def view(self) -> KernelView:
        """Seven frames, all left to static."""
        return KernelView({"frames_before_queue": (7, 700), "static": (7, 700)}, [QueueStats(0, 0, 0, 0)])


async def serve(fd: int, settings: Path, directory: Path) -> None:
    """Run the product around the recording kernel."""
    loaded = load_settings(settings)
    run = await Run.begin(loaded, AsyncChannel(from_fd(fd)), RecordingKernel(directory))
    server = ControlServer(run.plane)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.stop.set)
    try:
        await run.bring_up()
        await server.start()
        await run.until_over()
    finally:
        await server.stop()
        await run.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--kernel", type=Path, required=True)
    options = parser.parse_args()
    os.umask(0o022)
    configure_log("control")
    uvloop.run(serve(options.fd, options.settings, options.kernel))
