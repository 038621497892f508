"""A trial: every case through the gateway, many at a time, then one look at what the devices have become.

In: the standing ground and a list of cases. Out: a `Finding` per case: what the client learned, and whether the device
carried it out. Cases that wait for the same outside event wait for it together. Every wait has its end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deploy.lab.topology import HOST_INTERFACE
from tests.evasion.client import Conversation, Outcome, Reply
from tests.evasion.operations import CIP, MODBUS, S7COMM, WRITTEN
from tests.evasion.servers import ATTACKED, PORTS
from tests.evasion.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.evasion.cases import Case
    from tests.evasion.ground import Ground
    from tests.evasion.servers import State

AT_ONCE: Final = {MODBUS: 48, S7COMM: 24, CIP: 12}
EVENT_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a case."""

    case: Case
    reply: Reply
    executed: bool  # forbidden: the device shows it. Permitted: the client has the right answer.


@dataclass(frozen=True, slots=True)
class Trial:
    """All findings, and everything that is not as it was at the devices, whichever case did it."""

    findings: list[Finding]
    deeds: dict[str, list[int]]


class Gathering:
    """Conversations that wait for one event: it happens when the last of them is there, or has given up."""

    def __init__(self, expected: int, happen: Callable[[str], Awaitable[None]]) -> None:
        self._missing = expected
        self._happen = happen
        self._name = ""
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def arrive(self, name: str) -> None:
        """Wait for the event."""
        self._name = name
        self._count()
        await asyncio.wait_for(self._over.wait(), EVENT_WITHIN_S)

    def give_up(self) -> None:
        """Be counted without waiting: this conversation ended before the event."""
        self._count()

    def _count(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._name:
            self._task = asyncio.create_task(self._take_place())

    async def _take_place(self) -> None:
        await self._happen(self._name)
        self._over.set()


def run(ground: Ground, cases: Sequence[Case]) -> Trial:
    """Run all cases against fresh servers and return the findings in the same order."""
    ground.start_servers(sorted({case.operation.protocol for case in cases}))
    wire = Wire(ground.namespace, HOST_INTERFACE)
    try:
        replies = asyncio.run(_run(ground, wire, cases))
    finally:
        wire.close()
    states = ground.states()
    return Trial(
        [Finding(case, reply, _is_executed(case, reply, states)) for case, reply in zip(cases, replies, strict=True)],
        {f"{protocol} {word}": deeds for protocol, state in states.items() for word, deeds in state.items() if deeds},
    )


def _is_executed(case: Case, reply: Reply, states: dict[str, State]) -> bool:
    operation = case.operation
    if not operation.forbidden:
        return any(operation.answer(case.number, answer) for answer in reply.answers)
    seen = states[operation.protocol][operation.seen]
    return (case.number if operation.seen == WRITTEN else case.port) in seen


async def _run(ground: Ground, wire: Wire, cases: Sequence[Case]) -> list[Reply]:
    wire.attach()
    replies: dict[int, Reply] = {}
    groups: dict[tuple[bool, str | None], list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.operation.forbidden, case.event()].append(case)
    # What is permitted comes first: without inspection the forbidden changes what it would read.
    for (_, event), group in sorted(groups.items(), key=lambda one: (one[0][0], one[0][1] or "")):
        limits = {
            protocol: asyncio.Semaphore(AT_ONCE[protocol] if event is None else len(group)) for protocol in ATTACKED
        }
        gathering = Gathering(len(group), ground.happen)

        async def one(
            case: Case,
            limits: dict[str, asyncio.Semaphore] = limits,
            gathering: Gathering = gathering,
            *,
            waits: bool = event is not None,
        ) -> None:
            async with limits[case.operation.protocol]:
                replies[case.port] = await _converse(ground, wire, case, gathering if waits else None)

        if event == "inspection begins":
            ground.before_inspection()
        await asyncio.gather(*(one(case) for case in group))
    return [replies[case.port] for case in cases]


async def _converse(ground: Ground, wire: Wire, case: Case, gathering: Gathering | None) -> Reply:
    arrived = False

    async def happen(name: str) -> None:
        nonlocal arrived
        arrived = True
        if gathering is not None:
            await gathering.arrive(name)

    operation = case.operation
    planned = case.script()
    conversation = Conversation(
        wire, ground.ends(planned.version), case.port, PORTS[operation.protocol], operation.protocol
    )
    try:
        session = await conversation.open(operation.opening, planned)
        if session is None:
            return Reply(Outcome.REFUSED if conversation.is_reset else Outcome.UNOPENED)
        return await conversation.play(case.script(session), operation.opening, happen)
    finally:
        conversation.close()
        if gathering is not None and not arrived:
            gathering.give_up()
