"""A control plane reduced to its talk with the keeper, obeying the test through a datagram socket in run_dir.

Commands: {"install": generation, "policy": text}, {"broken_install": generation}, {"cut": true}. Every start message,
answer and engine condition is appended to run_dir/heard.jsonl with the pid of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import orjson

from gateway.channel import AsyncChannel, from_fd
from gateway.segments import SegmentKind, attach, create_image, create_state
from gateway.settings import load_settings
from rules.compile import compile_text
from rules.image import build_image
from rules.state import build_state

SEEN_FIELDS = ("op", "generation", "queues", "restarts", "state", "pid", "error")


class Stub:
    """One life of the stub."""

    def __init__(self, channel: AsyncChannel, end: socket.socket, run_dir: Path) -> None:
        self.channel = channel
        self.end = end  # the channel's socket, to send what the channel itself would refuse
        self.heard = run_dir / "heard.jsonl"

    def note(self, body: dict[str, Any]) -> None:
        """Append what was heard."""
        with self.heard.open("ab") as file:
            file.write(orjson.dumps(body | {"stub": os.getpid()}) + b"\n")

    async def listen(self) -> None:
        """Note every message; the start message's segments are attached, which checks them."""
        while (message := await self.channel.receive()) is not None:
            body = {name: message.body[name] for name in SEEN_FIELDS if name in message.body}
            if message.op == "start":
                kinds = [SegmentKind.COUNTERS, SegmentKind.EVENTS, SegmentKind.FLOWS, SegmentKind.IMAGE]
                kinds += [SegmentKind.STATE]
                attached = [attach(kind, fd) for kind, fd in zip(kinds, message.fds, strict=False)]
                body["segments"] = [segment.kind.name for segment in attached]
            message.close_fds()
            self.note(body)

    async def obey(self, command: dict[str, Any]) -> None:
        """Do what the test asks for."""
        if "cut" in command:
            self.end.send(b'{"op": "inst')
        elif "broken_install" in command:
            image, state = create_image(b"\0" * 4096), create_state(b"\0" * 4096)
            await self.channel.send({"op": "install", "generation": command["broken_install"]}, (image, state))
        else:
            lowered = compile_text(command["policy"]).lowered
            number = command["install"]
            ports = {name: socket.if_nametoindex(name) for name in ("pa", "pb")}
            image = create_image(build_image(lowered, number))
            state = create_state(build_state(lowered, number, ports))
            await self.channel.send({"op": "install", "generation": number}, (image, state))


async def main() -> None:
    """Run until the keeper is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--settings", type=Path, required=True)
    options = parser.parse_args()
    run_dir = load_settings(options.settings).run_dir
    end = from_fd(options.fd)
    stub = Stub(AsyncChannel(end), end, run_dir)
    address = run_dir / "stub.sock"
    address.unlink(missing_ok=True)
    commands = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    commands.setblocking(False)
    commands.bind(str(address))
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def command() -> None:
        pending.add(loop.create_task(stub.obey(orjson.loads(commands.recv(65536)))))

    loop.add_reader(commands, command)
    await stub.listen()


if __name__ == "__main__":
    asyncio.run(main())
