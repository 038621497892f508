"""Drills: that unconfirmed changes go back in time, and that swaps lose and leak nothing, counted to the last one.

`python -m bench.drill rollback [--count 100] [--killed 20]`: a policy without one of two streams is put in force on
terms and never confirmed. How late the stream is back on the far side, after the deadline, is stamped by the far
host's kernel. Some drills kill control (-9) in between; the keeper starts another. `python -m bench.drill swap [--count
500] [--rate 5000]`: two policies take turns under three streams, one of which neither permits; every event of the
gateway must name the policy that was in force, or during a swap the one before or after. `python -m bench.drill
inspected [--minutes 5] [--seed 0]`: see bench/drill_inspected.py. Exit code 1 when one drill
failed: went back too early, later than a second, or not at all; a packet lost or leaked; an event of neither policy.
Root; namespaces of its own. Used by the suite `rollback` and by a bounded test.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bench.drill_inspected import drill_inspected
from bench.results import percentile
from bench.streams import CHANGING, FORBIDDEN, STEADY, WITHIN_S, Arrivals, Change, Streams, streams
from deploy.lab.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1e6
RATE: Final = 500  # packets/s and stream of the rollback drill: a resolution of 2 ms
CONFIRM_S: Final = 1
KILLED_CONFIRM_S: Final = 6  # a new control starts within this time also on a busy machine
BACK_S: Final = 30.0  # longer than this is never
SETTLE_S: Final = 0.03
RECORDED_WITHIN_S: Final = 10.0  # of the end
POLL_S: Final = 0.05
LATE_MS_MAX: Final = 1000.0
CONTROL: Final = "gateway.control"


@dataclass(frozen=True, slots=True)
class Drilled:
    """One change that nobody confirmed; CLOCK_REALTIME ns."""

    change: Change
    deadline_ns: int
    killed: bool


def drill(running: Streams, count: int, killed: int, say: Callable[[str], None]) -> list[Drilled]:
    """Leave `count` changes unconfirmed, one after the other; kill control during `killed` of them, evenly spread."""
    done = []
    for number in range(count):
        kill = killed * (number + 1) // count > killed * number // count
        wait_for("the changing stream to be permitted", lambda: _pending(running) is None, BACK_S)
        time.sleep(SETTLE_S)
        change = running.change(opened=False, confirm_within=KILLED_CONFIRM_S if kill else CONFIRM_S, reason="drill")
        begun_ns = int(datetime.fromisoformat(change.answer["pending"]["since"]).timestamp() * NS_PER_S)
        deadline_ns = begun_ns + change.answer["pending"]["confirm_within"] * NS_PER_S
        if kill:
            running.gateway.kill_child(CONTROL)
        done.append(Drilled(change, deadline_ns, kill))
        time.sleep(max(0.0, (deadline_ns - time.time_ns()) / NS_PER_S))
        wait_for("the change to go back", lambda: _has_gone_back(running), BACK_S)
        if (number + 1) % 10 == 0:
            say(f"{number + 1} of {count} changes left unconfirmed")
    time.sleep(SETTLE_S)
    return done


def _pending(running: Streams) -> Any:
    try:
        status, answer = running.gateway.api("GET", "/v1/pending")
    except OSError:
        return "control is being restarted"
    return answer["pending"] if status == 200 else "no answer"


def _has_gone_back(running: Streams) -> bool:
    return _pending(running) is None


def lateness_ms(done: Sequence[Drilled], arrivals: Arrivals) -> list[float]:
    """Return how long after each deadline the stream was back; negative: too early, infinite: never."""
    found = []
    for one in done:
        back = arrivals.first_after(CHANGING, one.change.answered_ns + int(SETTLE_S * NS_PER_S))
        is_never = back is None or back - one.deadline_ns > BACK_S * NS_PER_S
        found.append(float("inf") if is_never or back is None else (back - one.deadline_ns) / NS_PER_MS)
    return found


def drill_rollback(count: int, killed: int) -> bool:
    """Run the drill and print its figures; return whether every change went back in time and nothing was lost."""
    with streams("dr", RATE) as running:
        done = drill(running, count, killed, _say)
        recorded = recorded_as_rolled_back(running, count)
        arrivals = running.finish()
    late = lateness_ms(done, arrivals)
    in_time = sum(0 <= one <= LATE_MS_MAX for one in late)
    lost = arrivals.lost(STEADY)
    within = f"rolled back within {LATE_MS_MAX / 1000:.0f} s of the deadline"
    print(f"{within}: {in_time} of {count}, {killed} with control killed")
    for name, some in (("all", late), ("killed", [ms for ms, one in zip(late, done, strict=True) if one.killed])):
        if some:
            figures = f"p50 {percentile(some, 50):.1f}, p99 {percentile(some, 99):.1f}, most {max(some):.1f}"
            print(f"rollback effective - deadline in ms, {name}: {figures}")
    print(f"in the history as rolled back: {recorded}; packets lost of the stream both permit: {lost}")
    return in_time == count and recorded == count and lost == 0


def recorded_as_rolled_back(running: Streams, count: int) -> int:
    """Return how many changes the history calls rolled back: what is in force is there before what is told of it."""
    deadline = time.monotonic() + RECORDED_WITHIN_S
    while True:
        history = running.gateway.api("GET", f"/v1/policy/history?limit={2 * count + 2}")[1]["policies"]
        recorded = sum(row["outcome"] == "rolled back" for row in history)
        if recorded >= count or time.monotonic() > deadline:
            return recorded
        time.sleep(POLL_S)


def drill_swap(count: int, rate: int) -> bool:
    """Run swaps under load and print what they cost; return whether nothing was lost, leaked or misattributed."""
    each = rate // 3
    with streams("dw", each, forbidden=rate - 2 * each) as running:
        first = running.gateway.api("GET", "/v1/policy")[1]["digest"]
        began = time.time_ns()
        changes = []
        for turn in range(count):
            time.sleep(SETTLE_S)
            changes.append(running.change(opened=turn % 2 == 1))
            if (turn + 1) % 100 == 0:
                _say(f"{turn + 1} of {count} swaps")
        took_s = (time.time_ns() - began) / NS_PER_S
        time.sleep(SETTLE_S)
        events_lost = running.gateway.api("GET", "/v1/status")[1]["events_lost"]
        arrivals = running.finish()
        books = _closed_books(running)
        log = running.gateway.base / "log"
        wrong, events = misattributed(_events(log), changes, first)
    leaked = len(arrivals.numbers[FORBIDDEN])
    sent = sum(arrivals.sent.values())
    print(f"{count} swaps in {took_s:.1f} s under {sent} packets: lost {arrivals.lost(STEADY)}, leaked {leaked}")
    print(f"events: {events}, of neither policy {wrong}, lost {events_lost}; frames unaccounted {books['unaccounted']}")
    return arrivals.lost(STEADY) == 0 and leaked == 0 and wrong == 0 and events > 0 and books["unaccounted"] == 0


def misattributed(events: Iterator[dict[str, Any]], changes: Sequence[Change], first: str) -> tuple[int, int]:
    """Return how many events name a policy that was not in force at their time, and how many there are.

    Between a request and its answer the policy before and the one after may both be named; afterwards only the latter.
    """
    wrong = total = at = 0
    in_force = [first, *(str(change.answer["digest"]) for change in changes)]
    for event in sorted((one for one in events if "digest" in one), key=lambda one: one["timestamp"]):
        moment = int(datetime.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC).timestamp() * 1e6)
        while at < len(changes) and moment >= changes[at].answered_ns // 1000:
            at += 1
        named = [in_force[at]]
        if at < len(changes) and moment >= changes[at].asked_ns // 1000:
            named.append(in_force[at + 1])
        total += 1
        wrong += not any(digest.startswith(event["digest"]) for digest in named)
    return wrong, total


def _events(log: Any) -> Iterator[dict[str, Any]]:
    for path in sorted(log.glob("events.jsonl*")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event_type"] != "control":
                yield event


def _closed_books(running: Streams) -> Any:
    found: Any = {}

    def closed() -> bool:
        found.update(running.counters())
        return bool(found["unaccounted"] == 0)

    wait_for("the counters to close", closed, WITHIN_S)
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.drill", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    rollback = kinds.add_parser("rollback")
    rollback.add_argument("--count", type=int, default=100)
    rollback.add_argument("--killed", type=int, default=20)
    swap = kinds.add_parser("swap")
    swap.add_argument("--count", type=int, default=500)
    swap.add_argument("--rate", type=int, default=5000, help="packets/s of all streams together")
    inspected = kinds.add_parser("inspected")
    inspected.add_argument("--minutes", type=float, default=5.0)
    inspected.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.kind == "rollback":
        passed = drill_rollback(chosen.count, chosen.killed)
    elif chosen.kind == "swap":
        passed = drill_swap(chosen.count, chosen.rate)
    else:
        passed = drill_inspected(chosen.minutes, chosen.seed, _say)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
