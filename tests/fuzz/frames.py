"""Mutated frames through the engine's parser and decision: each must get a verdict with a reason, none may crash it.

`python -m tests.fuzz.frames --count 1000000 --seed S` runs as many as asked for and prints counts; the sanitizer lane
(tests/fuzz/sanitize.py) runs this very module. In: captures where there are some, and generated frames. Exit 1 when a
frame got no verdict; a crash or a sanitizer report ends the process by itself.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from fastpath.abi import FIRST_DROP_REASON, Reason, Verdict
from tests.support import captures
from tests.support.breakage import break_frame
from tests.support.frames import Stream
from tests.support.judging import Engine
from tests.support.plain import Answer, Frame
from tests.support.policies import compiled_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FRAMES_PER_POLICY: Final = 5_000
CAPTURED_SHARE: Final = 0.4
CAPTURED_FRAMES_KEPT: Final = 4_000
FRAMES_PER_CAPTURE: Final = 40
MOST_BREAKS: Final = 4
PROGRESS_SECONDS: Final = 10.0


@dataclass
class FuzzResult:
    """Counts by reason, and the frames that got no sound answer."""

    frames: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    unsound: list[str] = field(default_factory=list)


def fuzz(count: int, seed: int, *, progress: bool = False) -> FuzzResult:
    """Judge this many mutated frames."""
    result = FuzzResult()
    rng = random.Random(seed)
    recorded = recorded_frames(rng)
    shown_at = time.monotonic()
    while result.frames < count:
        drawn = compiled_policy(rng)
        engine = Engine(drawn)
        ports = [*engine.ifindexes, "stray0"]
        for frame in _mutants(
            Stream(drawn.plain, rng), recorded, ports, rng, min(FRAMES_PER_POLICY, count - result.frames)
        ):
            _note(result, frame, engine.judge(frame))
        if progress and time.monotonic() - shown_at > PROGRESS_SECONDS:
            shown_at = time.monotonic()
            print(f"  {result.frames} frames", flush=True)
    return result


def _note(result: FuzzResult, frame: Frame, answer: Answer) -> None:
    result.frames += 1
    result.by_reason[answer.reason.name] += 1
    accepts = answer.reason < FIRST_DROP_REASON
    sound = answer.reason is not Reason.NONE and accepts == (answer.policy_verdict is Verdict.ACCEPT)
    if not sound or (accepts and answer.verdict is not Verdict.ACCEPT):
        result.unsound.append(f"{frame.ethertype:#06x} {frame.payload.hex()}: {answer}")


def recorded_frames(rng: random.Random) -> list[tuple[bytes, bytes, int, bytes]]:
    """Return a seeded choice of recorded frames as (destination, source, EtherType, payload)."""
    found: list[tuple[bytes, bytes, int, bytes]] = []
    paths = captures.files()
    rng.shuffle(paths)
    for path in paths:
        for number, data in enumerate(captures.ethernet_frames(path)):
            if number == FRAMES_PER_CAPTURE or len(found) == CAPTURED_FRAMES_KEPT:
                break
            if len(data) >= 14:
                found.append((data[:6], data[6:12], int.from_bytes(data[12:14], "big"), data[14:]))
    return found


def _mutants(
    stream: Stream,
    recorded: Sequence[tuple[bytes, bytes, int, bytes]],
    ports: Sequence[str],
    rng: random.Random,
    count: int,
) -> Iterator[Frame]:
    for drawn in stream.frames(count):
        frame = drawn
        if recorded and rng.random() < CAPTURED_SHARE:
            destination, source, ethertype, payload = rng.choice(recorded)
            in_port, out_port = rng.choice(ports), rng.choice(ports)
            frame = Frame(in_port, out_port, drawn.vlan, source, destination, ethertype, payload)
        for _ in range(rng.randrange(MOST_BREAKS + 1)):
            frame = break_frame(frame, rng)
        yield replace(frame, about="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.frames", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock, printed")
    chosen = parser.parse_args(arguments)
    seed = time.time_ns() % 1_000_000_007 if chosen.seed is None else chosen.seed
    origin = f"{len(captures.files())} captures and generated frames" if captures.files() else "generated frames only"
    print(f"fuzz: {chosen.count} mutated frames from {origin}, seed {seed}", flush=True)
    started = time.monotonic()
    result = fuzz(chosen.count, seed, progress=True)
    for reason, count in result.by_reason.most_common():
        print(f"  {count:>9} {reason}")
    for text in result.unsound[:5]:
        print(f"UNSOUND {text}")
    seconds = time.monotonic() - started
    print(
        f"fuzz: {result.frames} frames, {result.frames - len(result.unsound)} verdicts, "
        f"{len(result.unsound)} without, seed {seed}, {seconds:.0f} s",
        flush=True,
    )
    return 1 if result.unsound else 0


if __name__ == "__main__":
    sys.exit(main())
