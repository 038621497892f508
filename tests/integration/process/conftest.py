"""Fixtures of the process tests: a wire, and the daemon on it with a stub for its control plane."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.process.wire import HERE, Traffic, Wire, policy_text, poll
from tests.support.capability import require

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ROOT = HERE.parents[2]


class Daemon:
    """One daemon under test, and what its stub heard."""

    def __init__(self, wire: Wire, directory: Path) -> None:
        self.wire = wire
        self.directory = directory
        self.run_dir = directory / "run"
        self.settings = directory / "conduitd.toml"
        self.log = directory / "log.jsonl"
        self.settings.write_text(f'run_dir = "{self.run_dir}"\nstate_dir = "{directory}/state"\n')
        self.process: subprocess.Popen[str] | None = None

    def start(self, engine_script: Path | None = None) -> None:
        """Start it and wait until both children talk to it."""
        words = [sys.executable, str(HERE / "launch.py"), str(self.settings)]
        words += [str(engine_script)] if engine_script else []
        self.process = self.wire.popen("gw", "env", f"PYTHONPATH={ROOT}", *words, stderr=self.log)
        poll("control has started", lambda: self.heard("start"), 20)

    def heard(self, *ops: str) -> list[dict[str, Any]]:
        """Return the messages of some kinds that the stub heard, in order, over all its lives."""
        path = self.run_dir / "heard.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [body for body in map(json.loads, lines) if body["op"] in ops]

    def command(self, **command: object) -> None:
        """Have the stub do something."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(json.dumps(command).encode(), str(self.run_dir / "stub.sock"))

    def install(self, generation: int, policy: str | None = None) -> dict[str, Any]:
        """Have a generation installed; return the answer."""
        before = len(self.answers())
        self.command(install=generation, policy=policy or policy_text())
        poll(f"an answer to install {generation}", lambda: len(self.answers()) > before, 15)
        return self.answers()[-1]

    def answers(self) -> list[dict[str, Any]]:
        """Return every answer to an install."""
        return self.heard("installed", "refused")

    def engine(self) -> dict[str, Any]:
        """Return the engine's condition as last heard; empty before the first."""
        heard = self.heard("engine")
        return heard[-1] if heard else {}

    def judging_pid(self, other_than: int = 0, seconds: float = 15) -> int:
        """Wait until an engine judges that is not the given one; return its pid."""
        poll(
            "an engine judges",
            lambda: self.engine().get("state") == "judging" and self.engine()["pid"] != other_than,
            seconds,
        )
        return int(self.engine()["pid"])

    def pid(self) -> int:
        """Return the keeper's pid."""
        return int((self.run_dir / "conduitd.pid").read_text())

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry.get("event") == event]

    def stop(self) -> int:
        """Stop it as a service manager would; return its exit code."""
        assert self.process is not None
        os.kill(self.pid(), signal.SIGTERM)
        return self.process.wait(timeout=15)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Yield a fresh wire."""
    require("nfqueue")
    with Wire() as built:
        yield built


@pytest.fixture
def daemon(wire: Wire, tmp_path: Path) -> Daemon:
    """Return a daemon that is not started yet."""
    return Daemon(wire, tmp_path)


@pytest.fixture
def judging(daemon: Daemon) -> Daemon:
    """Return a daemon whose engine judges by generation 1."""
    daemon.start()
    assert daemon.install(1)["op"] == "installed"
    daemon.judging_pid()
    return daemon


@pytest.fixture
def traffic(judging: Daemon, tmp_path: Path) -> Traffic:
    """Return a stream of 1,000 datagrams a second across a judging engine."""
    stream = Traffic(judging.wire, tmp_path, 1000)
    poll("frames are judged", lambda: judging.wire.passed("judged") > 100)
    return stream
