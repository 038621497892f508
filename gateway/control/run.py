"""One life of the control plane: parts put together, tasks running, everything closed at its end.

In: settings, the channel to the keeper, a KernelPort. Out: a running ControlPlane. The tests run this same class with a
recording kernel and a scripted keeper at the other end of the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.control.acknowledgements import Acknowledgements
from gateway.control.core import Core
from gateway.control.database import open_or_begin_anew
from gateway.control.event_log import EventLog
from gateway.control.event_stream import EventStream
from gateway.control.events_pump import EventsPump
from gateway.control.history import open_history
from gateway.control.journal import DAEMON, open_journal
from gateway.control.keeper_link import KeeperLink
from gateway.control.names import NameBook
from gateway.control.plane import ControlPlane
from gateway.control.quarantine import Quarantine
from gateway.control.rollback import Rollback
from gateway.control.start import Start, bring_up, read_start
from gateway.control.state_dir import StateDir
from gateway.control.watch import Watch
from gateway.errors import GatewayError
from gateway.segment_readers import CountersReader, EventReader, FlowsReader
from gateway.segments import SegmentKind, attach
from gateway.tape.recorder import Recorder
from gateway.tape.store import Tape

if TYPE_CHECKING:
    from gateway.channel import AsyncChannel
    from gateway.control.keeper_port import EngineStatus
    from gateway.control.kernel_port import KernelPort
    from gateway.settings import Settings

JOURNAL_FILE: Final = "journal.sqlite"
HISTORY_FILE: Final = "history.db"
TAPE_FILE: Final = "tape.sqlite"
ACKNOWLEDGEMENTS_FILE: Final = "acknowledgements.sqlite"
ALIVE_S: Final = 2.0  # the keeper allows 10 s
_log = structlog.get_logger(__name__)


class Run:
    """The parts and their tasks."""

    def __init__(self, plane: ControlPlane, link: KeeperLink, start: Start) -> None:
        self.plane = plane
        self.stop = asyncio.Event()
        self._link = link
        self._start = start
        self._tasks: list[asyncio.Task[Any]] = []
        self._fleeting: set[asyncio.Task[None]] = set()
        self.recorder = Recorder(plane, plane.tape)

    @classmethod
    async def begin(cls, settings: Settings, channel: AsyncChannel, kernel: KernelPort) -> Run:
        """Wait for the keeper's start message and build the parts. Raises GatewayError or sqlite3.Error."""
        start = read_start(await channel.receive())
        counters = attach(SegmentKind.COUNTERS, start.segments[0])
        events = attach(SegmentKind.EVENTS, start.segments[1], writable=True)
        flows = attach(SegmentKind.FLOWS, start.segments[2])
        state_dir = StateDir(settings.state_dir)
        stream = EventStream(EventLog(settings.log_dir))
        link = KeeperLink(channel)
        journal, wrong = open_journal(settings.state_dir / JOURNAL_FILE)
        history, forgotten = open_history(settings.state_dir / HISTORY_FILE, settings.history.keep)
        tape, untaped = open_or_begin_anew(settings.state_dir / TAPE_FILE, Tape, "decision tape")
        taken_on, mislaid = open_or_begin_anew(
            settings.state_dir / ACKNOWLEDGEMENTS_FILE, Acknowledgements, "file of acknowledgements"
        )
        core = Core(settings, kernel, link, state_dir, journal, history, stream, NameBook())
        opened = {"journal_file": wrong, "history_file": forgotten, "tape_file": untaped, "acknowledgements": mislaid}
        for part, detail in opened.items():
            if detail:
                core.trouble[part] = detail
                _log.error("state_degraded", part=part, detail=detail)
        pump = EventsPump(EventReader(events), core.book, stream)
        plane = ControlPlane(core, Quarantine(core), pump, CountersReader(counters), FlowsReader(flows), tape, taken_on)
        run = cls(plane, link, start)
        pump.taps.append(run.recorder.take)
        plane.record_now = run.recorder.write
        link.on_stop = run.planned_stop
        link.on_engine = run.engine_changed
        run.task(link.run(), "keeper link")
        run.task(link.run_alive(ALIVE_S), "alive")
        return run

    async def bring_up(self) -> None:
        """Put the boundary in place and start the tasks that keep it."""
        await bring_up(self.plane, self._start)
        self.task(self.plane.pump.run(), "events pump")
        self.task(self.plane.quarantine.run_expiry(), "quarantine expiry")
        self.task(Watch(self.plane).run(), "watch")
        self.task(Rollback(self.plane).run(), "rollback")
        self.task(self.plane.core.windows.run(), "windows")
        self.task(self.recorder.run(), "decision tape")

    def task(self, work: Any, name: str) -> None:
        """Run something for as long as this life lasts."""
        self._tasks.append(asyncio.create_task(work, name=name))

    def engine_changed(self, before: EngineStatus, now: EngineStatus) -> None:
        """Record the engine's death and return."""
        detail = {"was": before.state, "state": now.state, "pid": now.pid, "restarts": now.restarts}
        recording = asyncio.create_task(self.plane.core.record(DAEMON, "engine", detail, now.state))
        self._fleeting.add(recording)
        recording.add_done_callback(self._fleeting.discard)

    def planned_stop(self) -> None:
        """The daemon stops: let the queues run dry, then end. Frames go straight to `static` from here on."""
        stopping = asyncio.create_task(self._suspend_and_stop())
        self._fleeting.add(stopping)
        stopping.add_done_callback(self._fleeting.discard)

    async def _suspend_and_stop(self) -> None:
        try:
            async with self.plane.core.lock:
                self.plane.core.lane.shut()
                await asyncio.to_thread(self.plane.core.kernel.suspend)
        except (GatewayError, OSError) as error:
            _log.error("queue_rule_stays", error=str(error), hint="frames parked in the queues at the end are lost")
        self.stop.set()

    async def until_over(self) -> None:
        """Return at SIGTERM, when the keeper is gone, or when a task of ours ended, which none may."""
        waits = [asyncio.create_task(self.stop.wait()), asyncio.create_task(self._link.closed.wait())]
        try:
            done, _ = await asyncio.wait([*waits, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for task in done:
            if task in self._tasks and not task.cancelled() and task.exception() is not None:
                _log.error("task_failed", task=task.get_name(), exc_info=task.exception())

    async def end(self) -> None:
        """Stop the tasks, write out what is waiting, close the files."""
        self.plane.core.stream.close()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3.0):
                await asyncio.gather(*self._tasks, *self._fleeting, return_exceptions=True)
        self.plane.pump.turn()
        await self.recorder.write()
        self.plane.tape.close()
        self.plane.acknowledgements.close()
        await asyncio.to_thread(self.plane.core.stream.sink.close)
        self.plane.core.journal.close()
        self.plane.core.history.close()
