"""How fast recorded traffic is judged: frames a second in summary mode, one core, beside a plain read of the same file.

Subjects: conduitctl-simulate (the summary that `conduitctl simulate -o json` prints, rows of conversations included),
jsonl (one line for each frame, thrown away) and read (the file read in blocks and nothing else). Metrics: frames_s on
the clock, frames_core_s by the processor time that the process took, which other processes do not distort. The
capture is made: 1,000 conduits, 10,000 assets, 16,384 conversations both ways in random order, 9 % of the frames
forbidden. The process keeps to one processor; the file is in the page cache for all of them.
"""

from __future__ import annotations

import os
import random
import struct
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from bench.plan import RAW
from bench.policies import SEED, plant
from bench.results import Result
from gateway.simulate.candidate import Candidate, Stages
from gateway.simulate.lines import frame_lines
from gateway.simulate.simulation import Simulation
from gateway.simulate.sources import CaptureFile
from rules.compile import Compiled
from rules.lower import lower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.plan import Plan
    from bench.policies import Plant, Talk
    from fastpath.replay import Outcome

SUITE: Final = "simulate"
SUMMARY, JSONL, READ = "conduitctl-simulate", "jsonl", "read"
CONDUITS: Final = 1000
CONVERSATIONS: Final = 16_384
FORBIDDEN: Final = 0.09
FRAMES: Final = 1_000_000
QUICK_FRAMES: Final = 100_000
JSONL_SHARE: Final = 10  # of the frames, so that a run of all three takes seconds
FRAME_GAP_US: Final = 20
BLOCK_BYTES: Final = 1 << 20
TCP, UDP = 6, 17
PUSH_ACK: Final = 0x18
PAYLOAD: Final = bytes(24)
CLIENT_PORTS: Final = 49_152


def run(plan: Plan) -> list[Result]:
    """Measure the chosen subjects, interleaved."""
    chosen = plan.chosen((SUMMARY, JSONL, READ))
    if not chosen:
        return []
    place = plant(CONDUITS)
    compiled = Compiled(place.policy, lower(place.policy), ())
    frames = QUICK_FRAMES if plan.quick else FRAMES
    whole, share = RAW / "simulate.pcap", RAW / "simulate-share.pcap"
    plan.say(f"{frames} frames: making the capture")
    write(place, whole, frames)
    write(place, share, frames // JSONL_SHARE)
    subjects: dict[str, Callable[[], int]] = {
        SUMMARY: lambda: summarised(compiled, whole),
        JSONL: lambda: printed(compiled, share),
        READ: lambda: read(whole, frames),
    }
    runs: dict[str, list[float]] = {name: [] for name in chosen}
    core_runs: dict[str, list[float]] = {name: [] for name in chosen}
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        for number, name in plan.rounds(chosen):
            began, began_core = time.perf_counter(), time.process_time()
            count = subjects[name]()
            runs[name].append(count / (time.perf_counter() - began))
            core_runs[name].append(count / (time.process_time() - began_core))
            said = f"{runs[name][-1]:,.0f} frames/s, {core_runs[name][-1]:,.0f} per second of one core"
            plan.say(f"run {number + 1}, {name}: {said}")
    finally:
        os.sched_setaffinity(0, allowed)
        whole.unlink()
        share.unlink()
    measured = (("frames_s", runs), ("frames_core_s", core_runs))
    return [Result.of(SUITE, name, metric, "/s", found[name]) for metric, found in measured for name in chosen]


def summarised(compiled: Compiled, path: Path) -> int:
    """Judge the file and make its summary, from the compiled policy to the JSON; return how many frames it has.

    Raises RuntimeError when the traffic was not judged as it was made to be.
    """
    candidate = Candidate(compiled, "bench", stages=Stages.ENFORCE)
    found = Simulation(candidate, limit_rows=50).run([CaptureFile(path)]).as_dict()
    share = found["policy_verdicts"].get("drop", 0) / found["frames"]
    if not FORBIDDEN / 2 < share < FORBIDDEN * 2 or found["judged"] != found["frames"]:
        raise RuntimeError(f"the traffic was not judged as intended: {found['policy_verdicts']}")
    return int(found["frames"])


def printed(compiled: Compiled, path: Path) -> int:
    """Judge the file and make a line of every frame; return how many."""
    candidate = Candidate(compiled, "bench", stages=Stages.ENFORCE)
    lines = 0

    def show(file: CaptureFile, first: int, outcomes: list[Outcome], _other: object) -> None:
        nonlocal lines
        lines += sum(1 for _ in frame_lines(str(file.path), first, outcomes, candidate.wording))

    Simulation(candidate).run([CaptureFile(path)], frames=show)
    return lines


def read(path: Path, frames: int) -> int:
    """Read the file and nothing else."""
    with path.open("rb", buffering=0) as source:
        while source.read(BLOCK_BYTES):
            pass
    return frames


def write(place: Plant, path: Path, frames: int) -> None:
    """Write the capture."""
    chance = random.Random(SEED)
    permitted = [pair(talk, chance) for talk in islice(place.talks(chance), CONVERSATIONS)]
    foreign = [pair(talk, chance)[0] for talk in islice(place.foreign(chance), CONVERSATIONS // 8)]
    opened = bytearray(CONVERSATIONS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(frames):
            if chance.random() < FORBIDDEN:
                frame = chance.choice(foreign)
            else:
                which = chance.randrange(CONVERSATIONS)
                frame = permitted[which][chance.randrange(2) if opened[which] else 0]
                opened[which] = 1
            seconds, microseconds = divmod(number * FRAME_GAP_US, 1_000_000)
            out.write(struct.pack("<IIII", 1_700_000_000 + seconds, microseconds, len(frame), len(frame)) + frame)


def pair(talk: Talk, chance: random.Random) -> tuple[bytes, bytes]:
    """Return a frame of the opener and one of the responder, each long after the first."""
    port = CLIENT_PORTS + chance.randrange(65_536 - CLIENT_PORTS)
    ends = (talk.source.mac, talk.source.ip.packed, port), (talk.destination.mac, talk.destination.ip.packed, talk.port)
    return _frame(*ends, talk.protocol), _frame(*reversed(ends), talk.protocol)


def _frame(source: tuple[bytes, bytes, int], destination: tuple[bytes, bytes, int], protocol: str) -> bytes:
    if protocol == "tcp":
        body = struct.pack("!HHIIBBHHH", source[2], destination[2], 1, 1, 5 << 4, PUSH_ACK, 8192, 0, 0) + PAYLOAD
    else:
        body = struct.pack("!HHHH", source[2], destination[2], 8 + len(PAYLOAD), 0) + PAYLOAD
    number = TCP if protocol == "tcp" else UDP
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, number, 0) + source[1] + destination[1]
    return destination[0] + source[0] + b"\x08\x00" + head + body
