"""A child process held by its pidfd: started with one channel, watched, signalled, reaped, never confused with another.

In: a program and a name. Out: the child and our end of its channel. The child's number cannot be reused under us,
because it is only reaped here. Must never block the loop. Called by the engine's and control's supervision.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.channel import AsyncChannel, pair

_log = structlog.get_logger(__name__)
FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0  # a child that did its work for so long was no part of a crash loop


class Child:
    """One running or ended process."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        code = self._process.wait()  # the pidfd is readable: it has ended, this does not block
        os.close(self._pidfd)
        if not self._ended.done():
            self._ended.set_result(code)

    async def ended(self) -> int:
        """Return the exit code, negative for a signal, once the process has ended."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if not self._ended.done():
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                _log.debug("child_already_gone", child=self.name, pid=self.pid)

    async def end(self, polite_seconds: float = 0.0) -> int:
        """End the process, with SIGTERM first when it gets time for that; returns its exit code."""
        if polite_seconds > 0:
            self.signal(signal.SIGTERM)
            try:
                return await asyncio.wait_for(self.ended(), polite_seconds)
            except TimeoutError:
                _log.warning("child_ignores_sigterm", child=self.name, pid=self.pid)
        self.signal(signal.SIGKILL)
        return await self.ended()


class Restarts:
    """When a child may be started again: at once, then with doubling pauses, never giving up."""

    def __init__(self) -> None:
        self.count = 0
        self._delay = 0.0

    def next_delay(self, worked_seconds: float) -> float:
        """Return the pause before the next start; `worked_seconds` is how long the last one did its work."""
        self.count += 1
        if worked_seconds >= STEADY_SECONDS:
            self._delay = 0.0
        delay = self._delay
        self._delay = min(max(FIRST_DELAY_SECONDS, 2 * delay), LONGEST_DELAY_SECONDS)
        return delay


def describe_end(code: int) -> str:
    """Return an exit code in words: `exit code 1` or `SIGSEGV`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def start_child(
    name: str, program: Sequence[str], environment: Mapping[str, str], oom_score_adj: int
) -> tuple[Child, AsyncChannel]:
    """Start a program with `--fd N`, N being its end of a new channel, and return it with our end.

    Raises OSError when there is no room for another process. The child stays in no terminal's foreground, so that an
    interrupt from the keyboard reaches the keeper alone, which then stops things in order.
    """
    ours, theirs = pair()
    try:
        process = subprocess.Popen(
            [*program, "--fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    set_oom_score_adj(process.pid, oom_score_adj)
    return Child(name, process), AsyncChannel(ours)


def set_oom_score_adj(pid: int, value: int) -> None:
    """Tell the kernel whom to spare when memory runs out; a container may refuse, which is logged and lived with."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(value), encoding="ascii")
    except OSError as error:
        _log.warning("oom_score_adj_refused", pid=pid, value=value, error=error.strerror)


async def first_to_end(**parts: Coroutine[Any, Any, Any]) -> str:
    """Run the parts of a child's life until one ends, and end the others; return what failed, "" if nothing did."""
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return "; ".join(str(task.exception()) for task in done if task.exception() is not None)
