"""What a suite asks of a subject, and the proof that a subject really judged.

In: a subject and a rig. Out: `standing`, in which the subject judges what crosses the rig; `Watch`, which compares the
kernel's own counts before and after with what was sent. A figure of a subject that was bypassed must never be printed:
`Watch` raises NotJudgedError instead. Called by every traffic suite.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from bench import traffic
from bench.rig import JUDGE_CPU, NICENESS, Rig, favour

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PRIME_RATE: Final = 10_000.0
PRIME_FRAMES_EACH: Final = 4
LANE_SHARE: Final = 0.1  # of the packets may reach the queue where the fast lane is said to carry them
QUEUE_SHARE: Final = 0.5  # of the packets that arrived must have been queued; an overloaded queue lets some pass


class Witness(Enum):
    """Where the kernel counts what a subject judges."""

    NOTHING = "no judge at all: no queue may stand"
    QUEUE = "every packet got an id in a queue"
    RULES = "the subject's own rules count"
    LANE = "next to no packet got an id in a queue"


class NotJudgedError(RuntimeError):
    """The subject did not judge the packets: the figure says nothing about it."""


class Subject(Protocol):
    """One way to judge what crosses the gateway; `name` as in the results."""

    name: str
    witness: Witness

    def available(self) -> str | None:
        """Return why this machine or this tree cannot run it, None if it can."""

    def start(self, rig: Rig) -> None:
        """Make it judge; returns when it does."""

    def judge_pids(self) -> Sequence[int]:
        """Return the processes whose CPU time is the price of judging; none when the kernel alone judges."""

    def counted(self, rig: Rig) -> int:
        """Return what its own rules have counted; asked of Witness.RULES only."""

    def stop(self) -> None:
        """End it; called also after a failed start."""


@contextlib.contextmanager
def standing(subject: Subject, rig: Rig) -> Iterator[None]:
    """Let a subject judge: a clean rig, its threads on the judge's CPU, every permitted flow seen both ways."""
    rig.reset()
    try:
        subject.start(rig)
        pin(subject.judge_pids())
        flows = traffic.poll_flows()
        traffic.send(rig, flows, PRIME_RATE, len(flows) * PRIME_FRAMES_EACH)
        replies = [flow.reversed() for flow in flows]
        traffic.send(rig, replies, PRIME_RATE, len(flows) * PRIME_FRAMES_EACH, place=traffic.IN_SOUTH)
        rig.drained()
        yield
    finally:
        subject.stop()
        rig.reset()


def pin(pids: Sequence[int]) -> None:
    """Put every thread of the judging processes on the judge's CPU, and favour them as the traffic is favoured."""
    for pid in pids:
        favour(pid)
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {JUDGE_CPU})
            os.setpriority(os.PRIO_PROCESS, int(task.name), NICENESS)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of the judging processes between two moments, and the packets they judged."""

    packets: int
    run_ns: int  # schedstat: time on the CPU, to the nanosecond
    ticks_s: float  # stat: utime + stime, the same time to the clock tick

    @property
    def us_per_packet(self) -> float:
        """Return user and system time of one packet, in microseconds."""
        return self.run_ns / 1000 / self.packets


class Watch:
    """One measurement: made before the traffic, asked after it."""

    def __init__(self, subject: Subject, rig: Rig) -> None:
        self._subject, self._rig = subject, rig
        self._queued = rig.drained().queued
        self._counted = subject.counted(rig) if subject.witness is Witness.RULES else 0
        self._run_ns, self._ticks_s = run_ns(subject.judge_pids()), ticks_s(subject.judge_pids())

    def seen(self, sent: int) -> int:
        """Return the packets that the subject's witness counted since the watch began; `sent` where nobody counts."""
        match self._subject.witness:
            case Witness.QUEUE:
                return self._rig.drained().queued - self._queued
            case Witness.RULES:
                return self._subject.counted(self._rig) - self._counted
            case _:
                return sent

    def judged(self, sent: int, received: int) -> int:
        """Return the packets that were judged. Raises NotJudgedError when the subject was not in their way."""
        seen = self.seen(sent)
        queued = self._rig.drained().queued - self._queued
        name = self._subject.name
        match self._subject.witness:
            case Witness.QUEUE if seen == 0 or seen < QUEUE_SHARE * received:
                raise NotJudgedError(f"{name}: {seen} packets were queued of {received} that arrived")
            case Witness.RULES if seen < received:
                raise NotJudgedError(f"{name}: its rules counted {seen} of {received} packets that arrived")
            case Witness.LANE if queued > LANE_SHARE * sent:
                raise NotJudgedError(f"{name}: {queued} of {sent} packets were queued, not carried by the fast lane")
            case Witness.NOTHING if queued:
                raise NotJudgedError(f"{name}: {queued} packets were queued")
            case _:
                return seen

    def cost(self, sent: int, received: int) -> Cost:
        """Return what judging cost since the watch began. Raises NotJudgedError."""
        judged = self.judged(sent, received)
        return Cost(judged, *self._spent())

    def cost_of_dropping(self) -> Cost:
        """Return the same for packets of which none may arrive: those that were queued since the watch began."""
        return Cost(self._rig.drained().queued - self._queued, *self._spent())

    def _spent(self) -> tuple[int, float]:
        pids = self._subject.judge_pids()
        return run_ns(pids) - self._run_ns, ticks_s(pids) - self._ticks_s


def run_ns(pids: Sequence[int]) -> int:
    """Return the nanoseconds that the threads of these processes have run."""
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def ticks_s(pids: Sequence[int]) -> float:
    """Return utime + stime of these processes in seconds."""
    hertz = os.sysconf("SC_CLK_TCK")
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(words[11]) + int(words[12]) for words in fields) / hertz
