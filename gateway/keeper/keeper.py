"""The keeper itself: opens what outlives a crash, keeps engine and control alive, stops everything in order.

In: settings and the way to start children. Out: nothing but an end, after SIGTERM or SIGINT. The kernel's tables
stay as they are at a stop: the boundary outlives us. After its start it does nothing that can fail but supervise.
Called by conduitd.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import GatewayError
from gateway.keeper import ledger
from gateway.keeper.child import set_oom_score_adj, start_child
from gateway.keeper.control_life import ControlKeeping
from gateway.keeper.engine_life import EngineKeeping, EngineStatus
from gateway.keeper.holdings import Holdings, OpenQueue, open_holdings
from gateway.keeper.installs import Installs
from gateway.keeper.notify import ServiceNotifier
from gateway.keeper.releasing import MakeReleaser, Releasing
from gateway.placement import cpus_for_others
from gateway.settings import Settings

KEEPER_OOM_SCORE: Final = -900  # spared before anything that the plant can do without
ENGINE_OOM_SCORE: Final = -800
CONTROL_OOM_SCORE: Final = 0
DRAIN_SECONDS: Final = 0.2  # a full queue of the default length takes a releaser a few milliseconds
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeeperParts:
    """What the keeper is given from outside: settings, the data path's façade, and how children are started."""

    settings: Settings
    open_queue: OpenQueue
    make_releaser: MakeReleaser
    engine_program: tuple[str, ...]
    control_program: tuple[str, ...]
    child_environment: Mapping[str, str]
    notifier: ServiceNotifier


def python_program(module: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules with this interpreter and without the working directory."""
    return (sys.executable, "-P", "-m", module)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for children: the very code that runs here, and none of the service manager's sockets."""
    ours = str(Path(__file__).resolve().parents[2])
    kept = {
        name: value for name, value in environment.items() if not name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))
    }
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (ours, environment.get("PYTHONPATH", ""))))
    return kept


class Keeper:
    """One run of the daemon, from open queues to closed ones."""

    def __init__(self, parts: KeeperParts, holdings: Holdings) -> None:
        self._notifier = parts.notifier
        self._run_dir = parts.settings.run_dir
        self._holdings = holdings
        self._releasing = Releasing(holdings, parts.make_releaser)
        installs = Installs()
        environment = parts.child_environment
        self._engine = EngineKeeping(
            holdings,
            parts.settings,
            installs,
            self._releasing,
            spawn=lambda: start_child("engine", parts.engine_program, environment, ENGINE_OOM_SCORE),
            announce=self._engine_changed,
        )
        self._control = ControlKeeping(
            holdings,
            installs,
            self._engine,
            lambda: start_child("control", parts.control_program, environment, CONTROL_OOM_SCORE),
        )
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT, then stop in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)
        # ORDER: frames flow to `static` before any child is started.
        self._releasing.start()
        keeping = [asyncio.create_task(self._engine.run()), asyncio.create_task(self._control.run())]
        watchdog = asyncio.create_task(self._feed_watchdog())
        stop = asyncio.create_task(self._stop.wait())
        self._notifier.tell("READY=1", "STATUS=queues open, frames go to the static rules")
        try:
            await asyncio.wait([stop, *keeping], return_when=asyncio.FIRST_COMPLETED)
            self._notifier.tell("STOPPING=1")
            await self._stop_children()
            await asyncio.gather(*keeping)
            # What came while the engine ended is still parked: closing the queues now would drop it.
            await asyncio.sleep(DRAIN_SECONDS)
        finally:
            stop.cancel()
            watchdog.cancel()
            self._releasing.stop()
            self._save_counters()

    async def _stop_children(self) -> None:
        """Control first, while frames are still judged; then the engine; the releaser works to the last."""
        _log.info("stopping")
        await self._control.stop()
        await self._engine.stop()

    def _save_counters(self) -> None:
        """Leave the counters to the next run; the account starts anew when that fails.

        ORDER: what the kernel lost, then the queues, which nobody reads any more, then the file, which takes its time.
        """
        held = self._holdings
        try:
            lost = ledger.kernel_losses(held.queue_numbers)
            held.close_queues()
            ledger.save(self._run_dir, held.counters.view, lost)
        except (OSError, GatewayError) as error:
            _log.warning("ledger_not_saved", error=str(error))

    async def _feed_watchdog(self) -> None:
        while self._notifier.interval is not None:
            self._notifier.tell("WATCHDOG=1")
            await asyncio.sleep(self._notifier.interval)

    def _engine_changed(self, status: EngineStatus) -> None:
        self._control.tell(status)
        text = f"engine {status.state}, generation {status.generation}, restarts {status.restarts}"
        self._notifier.tell(f"STATUS={text}")
        _log.info("engine", **{name: value for name, value in status.message().items() if name != "op"})

    def _hangup(self) -> None:
        _log.info("hangup_ignored", hint="the policy is changed with conduitctl, the settings with a restart")


def run_keeper(parts: KeeperParts) -> None:
    """Run the daemon until it is told to stop; raises GatewayError when it cannot start."""
    set_oom_score_adj(os.getpid(), KEEPER_OOM_SCORE)
    os.sched_setaffinity(0, cpus_for_others(parts.settings.engine, os.sched_getaffinity(0)))  # the children inherit it
    holdings = open_holdings(parts.settings.queue, parts.open_queue, parts.settings.run_dir)
    try:
        asyncio.run(_supervise(parts, holdings))
    finally:
        holdings.close()
        _log.info("stopped")


async def _supervise(parts: KeeperParts, holdings: Holdings) -> None:
    await Keeper(parts, holdings).run()
