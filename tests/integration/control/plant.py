"""A scripted keeper and its control process: start, kill -9, start again; requests as a client makes them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastpath import abi
from gateway.channel import Channel, pair
from gateway.segments import SegmentKind, attach, create_counters, create_events, create_flows, read_only
from rules import state

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("control_process.py")
DEADLINE_S = 20.0


def wait_for(what: str, ready: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Poll until something is true and return it."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if found := ready():
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"waited {deadline_s} s for {what}")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path: Path, timeout: float = 15.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class ControlRig:
    """The keeper's side of one control plane, over several of its lives."""

    def __init__(self, base: Path, policy: str | None, roles: str = "") -> None:
        self.base = base
        base.chmod(0o755)
        self.socket = base / "run" / "control.sock"
        self.kernel = base / "kernel"
        self.kernel.mkdir()
        self.policy_file = base / "policy.yaml"
        if policy is not None:
            self.policy_file.write_text(policy)
        self.settings = base / "conduitd.toml"
        lines = [f'{name}_dir = "{base}/{name}"' for name in ("run", "state", "log")]
        lines += [f'policy = "{self.policy_file}"', "[control]", f'socket = "{self.socket}"', "[roles]", roles]
        self.settings.write_text("\n".join(lines) + "\n")
        self.counters_fd, self.events_fd = create_counters([0]), create_events(1)
        self.flows_fd = create_flows(1, 1024)
        self.generation = 0
        self.images: tuple[int, int] | None = None
        self.refuse: str | None = None  # what the engine says to an install
        self.silent = False
        self.installs: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._thread: threading.Thread | None = None
        self._event_sequence = 0

    def start(self) -> None:
        """Start the control process and wait until it answers."""
        ours, theirs = pair()
        argv = [sys.executable, str(PROGRAM), "--fd", str(theirs.fileno())]
        argv += ["--settings", str(self.settings), "--kernel", str(self.kernel)]
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        with (self.base / "control.log").open("ab") as log:
            self.process = subprocess.Popen(argv, pass_fds=(theirs.fileno(),), stderr=log, stdout=log, env=environment)
        theirs.close()
        self._channel = Channel(ours)
        shared = [read_only(self.counters_fd), read_only(self.flows_fd)]
        fds = [shared[0], self.events_fd, shared[1], *(self.images or ())]
        self._channel.send({"op": "start", "queues": [0], "generation": self.generation, "restarts": 0}, fds)
        self._channel.send({"op": "engine", "state": "judging", "pid": 4242, "restarts": 0, "generation": 0})
        for fd in shared:
            os.close(fd)
        self._thread = threading.Thread(target=self._keep, args=(self._channel,), daemon=True)
        self._thread.start()
        wait_for("the control socket", self._answers)

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError((self.base / "control.log").read_text()[-4000:])
        try:
            return self.call("GET", "/v1/status")[0] == 200
        except OSError:
            return False

    def _keep(self, channel: Channel) -> None:
        while (message := channel.receive()) is not None:
            if message.op != "install":
                continue
            number = message.body["generation"]
            self.installs.append(number)
            if self.silent:
                message.close_fds()
            elif self.refuse is not None:
                message.close_fds()
                channel.send({"op": "refused", "generation": number, "error": self.refuse})
            else:
                self.generation, self.images = number, (message.fds[0], message.fds[1])
                channel.send({"op": "installed", "generation": number})

    def call(self, method: str, path: str, body: Any = None, raw: bytes | None = None) -> tuple[int, Any]:
        """Make one request; return status and answer."""
        connection = UnixConnection(self.socket)
        try:
            content = raw if raw is not None else None if body is None else json.dumps(body).encode()
            connection.request(method, path, content)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] in (b"{", b"[") else text
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Ask, and expect an answer."""
        status, body = self.call("GET", path)
        assert status == 200, body
        return body

    def asked(self, wish: str) -> list[dict[str, Any]]:
        """What the kernel was asked under this name."""
        path = self.kernel / "asked.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [found for line in lines if (found := json.loads(line))["wish"] == wish]

    def refuse_in_kernel(self, *wishes: str) -> None:
        """Make the kernel refuse these wishes from now on."""
        (self.kernel / "refuse").write_text(" ".join(wishes))

    def ceiling(self) -> abi.Stage:
        """The ceiling as the engine sees it."""
        assert self.images is not None
        return state.ceiling(attach(SegmentKind.STATE, self.images[1]).view)

    def put_event(self, **fields: Any) -> None:
        """Write one event into the ring, as the engine would."""
        view = attach(SegmentKind.EVENTS, self.events_fd, writable=True).view
        ring = abi.EVENTS_HEADER_BYTES
        values = {name: bytes(int(code[:-1])) if code.endswith("s") else 0 for name, code in abi.EVENT.fields.items()}
        values |= {"time_ns": time.time_ns(), "generation": self.generation, "sequence": self._event_sequence} | fields
        place = ring + abi.PAGE_BYTES + (self._event_sequence & (abi.EVENTS_PER_RING - 1)) * abi.EVENT.size
        abi.EVENT.pack_into(view, place, *values.values())
        self._event_sequence += 1
        view[ring : ring + 8].cast("Q")[0] = self._event_sequence

    def forget_engine(self) -> None:
        """Behave like a keeper that was started anew: nothing is in force yet."""
        self.generation, self.images = 0, None

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        """Stop it as the keeper would."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._ended()

    def _ended(self) -> None:
        if self.process is not None:
            self.process.wait(10)
        if self._channel is not None:
            if self._thread is not None:
                self._thread.join(5)
            self._channel.close()
            self._channel = None
