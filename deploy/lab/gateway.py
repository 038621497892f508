"""conduitd in the lab's gateway namespace, with directories, settings and policy of its own.

In: a standing lab and a policy text. Out: a running daemon that can be asked, killed in parts and stopped; its logs.
Must never use the host's /etc, /run/conduit or /var/lib/conduit. Used by the demo, the namespace tests and the bench.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from deploy.lab import processes
from deploy.lab.namespaces import LabError, inside
from deploy.lab.topology import GATEWAY, Lab

READY_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 10.0
ANSWER_WITHIN_S: Final = 15.0
LOG_LINES: Final = 25
EVENT_LINES: Final = 5
LINE_CHARACTERS: Final = 400
DEFAULT_POLICY: Final = processes.PROJECT_ROOT / "rules" / "examples" / "water-works.yaml"
SETTINGS: Final = """\
run_dir = "{base}/run"
state_dir = "{base}/state"
log_dir = "{base}/log"
policy = "{base}/policy.yaml"

[bridge]
name = "br-conduit"
manage = true

[queue]
first = 0
count = {queues}

[interception]
form = "{form}"

[lane]
mode = "{lane}"

[control]
socket = "{base}/run/control.sock"
{roles}"""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class LabGateway:
    """One conduitd. Directories survive `stop`, so that a restart finds what was in force."""

    def __init__(
        self,
        lab: Lab,
        policy: str | None = None,
        *,
        form: str = "auto",
        queues: int = 1,
        lane: str = "off",
        roles: str = "",
    ) -> None:
        self.lab = lab
        self.base = lab.directory / "gateway"
        self.settings = self.base / "conduitd.toml"
        self.policy = self.base / "policy.yaml"
        self.socket = self.base / "run" / "control.sock"
        self.log = self.base / "log" / "conduitd.out"
        self.process: subprocess.Popen[bytes] | None = None
        for folder in (self.base, self.base / "run", self.base / "state", self.base / "log"):
            folder.mkdir(exist_ok=True, mode=0o755)
        self.policy.write_text(policy if policy is not None else DEFAULT_POLICY.read_text())
        table = f"\n[roles]\n{roles}\n" if roles else ""
        self.settings.write_text(SETTINGS.format(base=self.base, form=form, queues=queues, lane=lane, roles=table))

    def start(self, *, wait: bool = True) -> None:
        """Start the daemon; by default wait until its engine judges. Raises LabError with its last log lines."""
        argv = [sys.executable, "-m", "gateway.conduitd", "--settings", os.fspath(self.settings)]
        with self.log.open("ab") as sink:
            self.process = self.lab.start(GATEWAY, argv, log=sink)
        if wait:
            self.wait_until_judging()

    def wait_until_judging(self) -> None:
        """Wait until the control socket answers and reports a judging engine."""
        try:
            processes.wait_for("conduitd to answer with a judging engine", self.is_judging, READY_WITHIN_S)
        except LabError as error:
            raise LabError(f"{error}\n{self.last_log_lines()}") from error

    def is_judging(self) -> bool:
        """Return whether the engine judges now. Raises LabError if the daemon has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise LabError(f"conduitd ended with {self.process.returncode}")
        try:
            status, body = self.api("GET", "/v1/status")
        except (OSError, http.client.HTTPException):
            return False  # no socket yet, or control is being restarted
        return status == http.client.OK and engine_state(body) == "judging"

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the control plane; return HTTP status and the parsed answer. Raises OSError if nobody answers."""
        connection = _UnixConnection(self.socket)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None
        finally:
            connection.close()

    def ctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run conduitctl against this daemon in the gateway's namespace. Raises LabError if it fails (check)."""
        command = [sys.executable, "-m", "gateway.cli.main", "--socket", os.fspath(self.socket), *argv]
        done = subprocess.run(
            inside(self.lab.namespace(GATEWAY), command),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=processes.environment(),
        )
        if check and done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise LabError(f"conduitctl {' '.join(argv)}: exit {done.returncode}: {said}")
        return done

    def json(self, *argv: str) -> Any:
        """Run conduitctl with -o json and return what it printed."""
        return json.loads(self.ctl("-o", "json", *argv).stdout)

    def child_pids(self, module: str) -> list[int]:
        """Return the pids of this daemon's children that run a module (`gateway.engine`, `gateway.control`)."""
        if self.process is None:
            return []
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            children = [int(pid) for pid in listed.read_text().split()]
        except FileNotFoundError:
            return []
        return [pid for pid in children if module in _command_line(pid)]

    def kill_child(self, module: str) -> int | None:
        """Kill -9 the child that runs a module; return its pid, None if there is none now."""
        for pid in self.child_pids(module):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it was gone already
            return pid
        return None

    def stop(self) -> None:
        """Stop the daemon as planned (SIGTERM). Raises LabError if it does not end in time; then it is killed."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise LabError(f"conduitd did not end within {STOP_WITHIN_S:.0f} s\n{self.last_log_lines()}") from error

    def last_log_lines(self, count: int = LOG_LINES) -> str:
        """Return the end of every log file of this daemon."""
        parts = []
        for path in sorted((self.base / "log").iterdir()):
            if path.is_file():
                kept = min(count, EVENT_LINES) if path.suffix == ".jsonl" else count
                lines = path.read_text(errors="replace").splitlines()[-kept:]
                parts.append("\n".join([f"--- {path.name}", *(line[:LINE_CHARACTERS] for line in lines)]))
        return "\n".join(parts)


def engine_state(status: Any) -> str:
    """Return the engine's state from a status answer."""
    engine = status.get("engine") if isinstance(status, dict) else None
    if isinstance(engine, dict):
        return str(engine.get("state"))
    return str(engine)


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
