"""inspection: what it costs to look into the messages of conversations, beside the same traffic judged without it.

Subject: conduitd, one daemon for all cases, each a conduit on a port of its own: Modbus/TCP not inspected, with
`operations: [read]`, with constraints of eight clauses of which the last permits, with `messages: full`; S7comm and
EtherNet/IP-CIP without and with `operations`. Metrics us_per_packet_CASE: user and system time of the engine for a
packet from the real queue, as in the suite `cpu`. The traffic is real TCP (bench/conversations.py): 64 connections of
each case stay open, one request and one answer are a segment each. Cases alternate every SLICE_S, so that all of them
see the same machine. ns_plain_N and ns_inspected_N: what judging one segment costs in process, with N conversations.
us_heaviest_NAME and us_trickled_NAME: the segments that cost the most in process (bench/heaviest.py).
rss_plain_mib and rss_inspected_mib: what an engine process holds with 10,000 of them (bench/polled.py).
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bench import heaviest, polled
from bench.conversations import CIP, CONNECTIONS, MODBUS, NONSENSE, S7COMM, Conversations, EndedError
from bench.inspected_policy import CASES, inspected_policy
from bench.results import Result
from bench.rig import Rig
from bench.subjects.conduitd import Conduitd
from bench.subjects.subject import NotJudgedError, Watch, standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.plan import Plan
    from bench.subjects.subject import Cost

SUITE: Final = "inspection"
SUBJECT: Final = "conduitd"
SCRIPTS: Final = {"modbus": MODBUS, "s7comm": S7COMM, "cip": CIP}
RATE: Final = 10_000.0  # exchanges a second: two packets each
BURST: Final = 16
SLICE_S: Final = 0.2
SLICES: Final = 4  # of a run
SEGMENTS: Final = 2  # of an exchange
STRAY: Final = 0.05  # of the packets may be others; besides, each connection's last answer is acknowledged 40 ms later


def run(plan: Plan) -> list[Result]:
    """Measure the queue, the judging in process and the memory."""
    if not plan.chosen((SUBJECT,)):
        return []
    queue = {f"us_per_packet_{case}": runs for case, runs in through_the_queue(plan).items()}
    parts = (("us", queue), ("us", heaviest.timed(plan)), ("ns", polled.timed(plan)), ("MiB", polled.held(plan)))
    return [Result.of(SUITE, SUBJECT, name, unit, runs) for unit, found in parts for name, runs in found.items()]


def through_the_queue(plan: Plan) -> dict[str, list[float]]:
    """Return µs a packet by case, run by run."""
    found: dict[str, list[float]] = defaultdict(list)
    subject = Conduitd(SUBJECT, policy=inspected_policy())
    with Rig() as rig, standing(subject, rig):
        with contextlib.ExitStack() as opened:
            talks = {
                case: opened.enter_context(Conversations(rig, SCRIPTS[case.partition("_")[0]], port))
                for case, port in CASES.items()
            }
            for number in range(plan.runs):
                for case, figure in one_run(plan, rig, subject, talks).items():
                    found[case].append(figure)
                shown = ", ".join(f"{case} {runs[-1]:.3f}" for case, runs in found.items())
                plan.say(f"run {number + 1}: {shown} us a packet")
        check_inspected(plan, rig)
    return found


def one_run(plan: Plan, rig: Rig, subject: Conduitd, talks: Mapping[str, Conversations]) -> dict[str, float]:
    """Return one run's figures: SLICES turns of all cases, every second one backwards."""
    costs: dict[str, list[Cost]] = {case: [] for case in talks}
    count = int(RATE * SLICE_S * plan.seconds)
    for turn in range(SLICES):
        for case in list(talks)[:: 1 if turn % 2 == 0 else -1]:
            watch = Watch(subject, rig)
            talks[case].say(count, RATE, BURST)
            meant = SEGMENTS * count
            cost = watch.cost(meant, meant)
            if not meant <= cost.packets <= meant * (1 + STRAY) + 2 * CONNECTIONS:
                raise NotJudgedError(f"{case}: {cost.packets} packets were judged for {count} exchanges")
            costs[case].append(cost)
    return {case: sum(one.run_ns for one in of) / 1000 / sum(one.packets for one in of) for case, of in costs.items()}


def check_inspected(plan: Plan, rig: Rig) -> None:
    """Raise NotJudgedError unless nonsense passes where nobody looks inside, and nowhere else."""
    plan.say("nonsense has to be refused where messages are inspected:")
    for case, port in CASES.items():
        passed = True
        with Conversations(rig, NONSENSE, port, connections=1) as talk:
            try:
                talk.say(1, RATE, 1)
            except EndedError as error:
                plan.say(f"  {case}: {error}")
                passed = False
        if passed != ("_" not in case):
            raise NotJudgedError(f"{case}: nonsense was {'passed on' if passed else 'refused'}")
