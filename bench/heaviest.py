"""What the heaviest segments cost: the messages with the most accesses, by the largest profile there can be.

In: a plan. Out: `timed`, microseconds of processor time of the engine's own decision (`fastpath.judge`) for one
segment: dropped at its budget by 256 clauses; permitted where no constraints are given; and the worst of the segments
when the message comes byte by byte. Used by the suite `inspection`; `python -m bench.heaviest` prints them.
"""

from __future__ import annotations

import struct
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.plan import Plan
from fastpath.abi import Reason, Verdict
from fastpath.judge import Judge
from tests.support.heaviest import HEAVIEST, PORT, PORTS, Heaviest, full_clauses, image_and_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath.judge import Judgement
    from rules.records import ClauseRecord

CLIENT, SERVER = bytes((10, 1, 0, 5)), bytes((10, 0, 0, 5))
CLIENT_PORT: Final = 40_000
SYN, SYN_ACK, PUSH_ACK = 0x02, 0x12, 0x18
NOW_NS: Final = 1_700_000_000 * 1_000_000_000
REPEATS: Final = 7
QUICK_REPEATS: Final = 2
TRICKLED_BYTES: Final = 4_096  # of the message: from 1 KiB on it is read only when it has doubled
NAMES: Final = tuple(name for name in HEAVIEST if name != "enip-io")  # a datagram asks for one thing


def timed(plan: Plan) -> dict[str, list[float]]:
    """Return microseconds a segment by case, run by run; of each run the least of some repeats."""
    figures: dict[str, list[float]] = {}
    repeats = QUICK_REPEATS if plan.quick else REPEATS
    for number in range(plan.runs):
        for name in NAMES:
            for case, measure in cases(name).items():
                figures.setdefault(case, []).append(min(measure() for _ in range(repeats)))
        plan.say(f"run {number + 1}: " + ", ".join(f"{case} {runs[-1]:.0f}" for case, runs in figures.items()))
    return figures


def cases(name: str) -> dict[str, Callable[[], float]]:
    """Return what is measured of an inspector, by metric."""
    heaviest = HEAVIEST[name]
    full, segment = full_clauses(heaviest, matching=255), heaviest.segment()
    return {
        f"us_heaviest_{name}": partial(sent, heaviest, full, segment, Reason.MESSAGE_BUDGET),
        f"us_heaviest_{name}_unconstrained": partial(sent, heaviest, (), segment, Reason.FLOW_ESTABLISHED),
        f"us_trickled_{name}": partial(trickled, heaviest, full, segment),
    }


def sent(heaviest: Heaviest, clauses: tuple[ClauseRecord, ...], segment: bytes, expected: Reason) -> float:
    """Return what one segment costs in a conversation of its own; raises RuntimeError when it is judged otherwise."""
    cost, judged = Talk(heaviest, clauses).say(segment)
    if judged.reason is not expected:
        raise RuntimeError(f"{heaviest.inspector.name}: {judged.reason.name} instead of {expected.name}")
    return cost


def trickled(heaviest: Heaviest, clauses: tuple[ClauseRecord, ...], segment: bytes) -> float:
    """Return the most that a segment costs of those that bring a message one byte each, until it asks for too much."""
    talk, most = Talk(heaviest, clauses), 0.0
    for at in range(TRICKLED_BYTES):
        cost, judged = talk.say(segment[at : at + 1])
        most = max(most, cost)
        if judged.reason is Reason.MESSAGE_BUDGET:
            break
        if judged.verdict is not Verdict.ACCEPT:
            raise RuntimeError(f"{heaviest.inspector.name}: {judged.reason.name} at byte {at}")
    return most


class Talk:
    """A conversation through an offline judge, from its handshake on."""

    def __init__(self, heaviest: Heaviest, clauses: tuple[ClauseRecord, ...]) -> None:
        self._judge = Judge(*image_and_state(heaviest.inspector, clauses), flows=1024)
        self._said = {True: 1, False: 1}
        self._send(b"", SYN, from_client=True, numbers=(0, 0))
        self._send(b"", SYN_ACK, from_client=False, numbers=(0, 1))
        for from_client, data in zip((True, False), heaviest.opening, strict=True):
            if data:
                self.say(data, from_client=from_client)

    def say(self, data: bytes, *, from_client: bool = True) -> tuple[float, Judgement]:
        """Send the next bytes; return the microseconds that judging them took, and the judgement."""
        numbers = self._said[from_client], self._said[not from_client]
        self._said[from_client] += len(data)
        return self._send(data, PUSH_ACK, from_client=from_client, numbers=numbers)

    def _send(self, data: bytes, flags: int, *, from_client: bool, numbers: tuple[int, int]) -> tuple[float, Judgement]:
        ends = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
        ports = (CLIENT_PORT, PORT) if from_client else (PORT, CLIENT_PORT)
        transport = struct.pack("!HHIIBBHHH", *ports, *numbers, 5 << 4, flags, 64000, 0, 0) + data
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0x4000, 64, 6, 0)
        here, there = ("hall", "control") if from_client else ("control", "hall")
        packet = head + ends[0] + ends[1] + transport
        began = time.thread_time_ns()
        judged = self._judge.judge(
            packet,
            ethertype=0x0800,
            in_ifindex=PORTS[here],
            out_ifindex=PORTS[there],
            source_mac=bytes.fromhex("020000000001"),
            destination_mac=bytes.fromhex("020000000002"),
            time_ns=NOW_NS,
        )
        return (time.thread_time_ns() - began) / 1000, judged


def main() -> int:
    """Print one run."""
    for case, runs in timed(Plan(say=print, runs=1)).items():
        print(f"{case:38} {runs[0]:9.1f} µs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
