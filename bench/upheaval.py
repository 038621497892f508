"""A plant in which inspected conversations go on while the gateway is changed, killed and told other things.

    eng-laptop (bench.long_polls, bench.intruders) ── conduitd, enforcing ── plc-1 (pymodbus, python-snap7, cpppo)

In: the ground of tests/evasion. Out: `Upheaval`, which makes things happen and judges: what became of every poll, and
what the servers say that was done to them. Used by `python -m bench.drill inspected` and by the namespace tests.
"""

from __future__ import annotations

import os
import sys
import time
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from bench.intruders import read_attacks
from bench.long_polls import CLIENTS, read_rows
from deploy.lab.namespaces import LabError
from deploy.lab.processes import wait_for
from tests.evasion.ground import DEVICE, STATION

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Sequence

    from bench.intruders import Attack
    from bench.long_polls import Row
    from tests.evasion.ground import Ground

CONDUIT: Final = "station-reads"
WITHIN_S: Final = 30.0  # for whatever must come
POLL_S: Final = 0.02
ENGINE, CONTROL = "gateway.engine", "gateway.control"


class Upheaval:
    """The going plant."""

    def __init__(self, standing: Ground, say: Callable[[str], None] = print) -> None:
        self.standing, self.gateway, self.lab = standing, standing.gateway, standing.lab
        self._say = say
        self._numbers = count()
        self._running: list[subprocess.Popen[bytes]] = []
        self._rest = self.lab.directory / "rest"
        self.polls_at = self.attacks_at = self.lab.directory / "none"

    # ---- who talks ----

    def start_polls(self, names: Iterable[str] = tuple(CLIENTS), **options: float) -> None:
        """Start stations, and wait until each has polled. options: `every` (milliseconds), `within` (seconds)."""
        chosen = list(names)
        self.polls_at = self.lab.directory / f"polls-{next(self._numbers)}"
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._start("bench.long_polls", *chosen, *words, "--out", os.fspath(self.polls_at))
        wait_for("every station to poll", lambda: {row.station for row in self.rows()} >= set(chosen), WITHIN_S)

    def start_intruders(self, seed: int = 0, protocols: Sequence[str] = ()) -> None:
        """Start somebody who asks for what is forbidden."""
        self.attacks_at = self.lab.directory / f"attacks-{next(self._numbers)}"
        words = [word for protocol in protocols for word in ("--protocol", protocol)]
        files = ["--out", os.fspath(self.attacks_at), "--rest", os.fspath(self._rest), "--seed", str(seed)]
        self._start("bench.intruders", *words, *files)
        wait_for("the first attack", lambda: bool(self.attacks()), WITHIN_S)

    def rest(self) -> None:
        """Return when nobody attacks: what is permitted by a stage proves nothing."""
        told = len(self.attacks())
        self._rest.touch()
        wait_for("attacks to rest", lambda: any(not one.operation for one in self.attacks()[told:]), WITHIN_S)

    def go_on(self) -> None:
        """Let attacks go on."""
        self._rest.unlink(missing_ok=True)

    def end(self) -> None:
        """End stations and attacks."""
        for process in self._running:
            process.kill()
            process.wait()
        self._running.clear()
        self.go_on()

    def _start(self, module: str, *words: str) -> None:
        argv = [sys.executable, "-m", module, "--host", DEVICE.ip4, *words]
        with (self.lab.directory / f"{module}.log").open("ab") as log:
            self._running.append(self.lab.start(STATION.name, argv, log=log))

    # ---- what became of it ----

    def rows(self) -> list[Row]:
        """Return every poll that has ended."""
        return read_rows(self.polls_at)

    def attacks(self) -> list[Attack]:
        """Return every attack that has ended."""
        return read_attacks(self.attacks_at)

    def failed(self) -> list[Row]:
        """Return the polls that were not answered rightly."""
        return [row for row in self.rows() if row.wrong]

    def wait_for_polls(self, least: int = 3, names: Iterable[str] = ()) -> None:
        """Return when every station has had right answers to polls that were asked after this call."""
        since = time.monotonic()
        wanted = set(names) or {row.station for row in self.rows()}

        def answered() -> bool:
            right = [row.station for row in self.rows() if row.asked > since and not row.wrong]
            return all(right.count(name) >= least for name in wanted)

        try:
            wait_for("polls to be answered", answered, WITHIN_S)
        except LabError as error:
            raise LabError(f"{error}; last: {self.rows()[-8:]}") from error

    def done(self) -> dict[str, Any]:
        """Return what was done to the servers that should not have been, by their own account; empty: nothing."""
        return {
            f"{protocol} {word}": cells
            for protocol, state in self.standing.states().items()
            for word, cells in state.items()
            if cells
        }

    # ---- what happens ----

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask control for something. Raises LabError when it refuses."""
        status, answer = self.gateway.api(method, path, body)
        if status != HTTPStatus.OK:
            raise LabError(f"{method} {path}: {status} {answer}")
        return answer

    def apply(self, text: str) -> None:
        """Put a policy in force."""
        self.ask("POST", "/v1/policy", {"text": text, "name": "upheaval", "force": True, "reason": "upheaval"})

    def stage(self, stage: str) -> None:
        """Set the conduit's stage."""
        self.ask("PUT", "/v1/stages", {"conduit": CONDUIT, "stage": stage, "force": True, "reason": "upheaval"})

    def is_open(self) -> bool:
        """Tell whether the conduit is open."""
        return any(row["name"] == CONDUIT and row["open"] for row in self.ask("GET", "/v1/conduits")["conduits"])

    def quarantine(self) -> None:
        """Put the station in quarantine."""
        self.ask("POST", "/v1/quarantine", {"target": STATION.name, "reason": "upheaval"})

    def release(self) -> None:
        """Take it out again, if it is there."""
        for entry in self.ask("GET", "/v1/quarantine")["entries"]:
            self.ask("DELETE", f"/v1/quarantine/{entry['number']}")

    def kill(self, module: str) -> None:
        """Kill a process of the gateway (-9), and return when another one judges and answers."""
        before = self.kill_at_once(module)
        wait_for(f"another {module}", lambda: self.is_back(module, before), WITHIN_S)

    def kill_at_once(self, module: str) -> int:
        """Kill a process of the gateway (-9); return which."""
        pid = self.gateway.kill_child(module)
        if pid is None:
            raise LabError(f"there is no {module}")
        return pid

    def without_engine(self, seconds: float, then: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Kill every engine for so long; return from when to when nobody judged, CLOCK_MONOTONIC seconds.

        then: what happens as soon as the first one is dead.
        """
        self.kill_at_once(ENGINE)
        began = time.monotonic()
        then()
        while time.monotonic() < began + seconds:
            self.gateway.kill_child(ENGINE)  # long before it is ready
            time.sleep(POLL_S)
        ended = time.monotonic()
        wait_for("an engine", self.gateway.is_judging, WITHIN_S)
        return began, ended

    def is_back(self, module: str, before: int) -> bool:
        """Tell whether another process has taken a killed one's place."""
        running = self.gateway.child_pids(module)
        return bool(running) and before not in running and self.gateway.is_judging()

    def counters(self) -> Any:
        """Return the gateway's account."""
        return self.ask("GET", "/v1/counters")
