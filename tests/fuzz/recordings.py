"""Broken capture files through the replay: reader, link headers, placing, decision, sums. None may crash it.

`python -m tests.fuzz.recordings --count 20000 --seed S`: files, recorded and made ones, are broken in a few places
and replayed by random policies; each frame read must be counted once in the sums. The sanitizer lane runs this very
module. Exit 1 when a sum was wrong; a crash or a sanitizer report ends the process by itself.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastpath.replay import Capture, Rollup
from gateway.simulate.candidate import Candidate
from tests.support import capture_file, captures, wire
from tests.support.capture_file import MICROSECOND, MODIFIED, NANOSECOND, Packet
from tests.support.frames import Stream
from tests.support.policies import compiled_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

LINKS: Final = (0, 1, 1, 1, 12, 101, 105, 108, 113, 228, 229, 276)
FILES_PER_POLICY: Final = 400
LONGEST_BYTES: Final = 6000  # of a recorded file: its beginning
FRAMES_MADE: Final = 40
RECORDED_STEP: Final = 9  # every so many captures
MOST_BREAKS: Final = 6
LAST_NS: Final = (1 << 32) * 1_000_000_000  # of a pcap file
WORDS: Final = (0, 1, 12, 16, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFFFF0)


@dataclass
class Result:
    """Counts of a run, and what was wrong."""

    files: int = 0
    frames: int = 0
    damaged: int = 0
    refused: int = 0
    unsound: list[str] = field(default_factory=list)


def broken(data: bytes, rng: random.Random) -> bytes:
    """Return a file with words changed, bytes changed, cut, doubled or taken out in a few places."""
    out = bytearray(data)
    for _ in range(rng.randrange(MOST_BREAKS)):
        at = rng.randrange(len(out)) if out else 0
        roll = rng.random()
        if roll < 0.4 and at <= len(out) - 4:
            word = rng.choice((*WORDS, rng.randrange(1 << 32), rng.randrange(64)))
            struct.pack_into(rng.choice("<>") + "I", out, at, word)
        elif roll < 0.6 and out:
            out[at] = rng.randrange(256)
        elif roll < 0.75:
            del out[at:]
        elif roll < 0.9:
            del out[at : at + rng.randrange(16)]
        else:
            out[at:at] = out[at : at + rng.randrange(64)]
    return bytes(out)


def made_file(packets: list[Packet], rng: random.Random) -> bytes:
    """Return the packets in a file of any form, under any link type."""
    order, link = rng.choice("<>"), rng.choice(LINKS)
    if rng.random() < 0.5:
        return capture_file.pcap(packets, order=order, magic=rng.choice((MICROSECOND, NANOSECOND, MODIFIED)), link=link)
    out = [capture_file.section(order), capture_file.interface(order, link, resolution=rng.randrange(256))]
    out.append(
        capture_file.interface(order, rng.choice(LINKS), snap=rng.choice((0, 30)), offset_s=rng.randrange(-99, 99))
    )
    for packet in packets:
        if rng.random() < 0.2:
            out.append(capture_file.simple(order, packet.data, packet.length))
            continue
        kind = rng.choice((capture_file.enhanced, capture_file.old_packet))
        out.append(kind(order, rng.randrange(2), packet.time_ns, packet.data, packet.length))
    return b"".join(out)


def replayed(data: bytes, candidate: Candidate, seed: int, result: Result) -> None:
    """Replay one file and check that every frame was counted once."""
    result.files += 1
    try:
        capture = Capture(data)
    except ValueError:
        result.refused += 1
        return
    sums, talks = Rollup(seed, by_conversation=False), Rollup(seed, most_rows=64)
    while count := capture.read():
        candidate.judge(capture, count)
        sums.add(capture, candidate.replay)
        talks.add(capture, candidate.replay)
        candidate.replay.said(capture)
    result.frames += capture.frames
    result.damaged += capture.damage is not None
    counted = {
        sums.frames,
        sum(row.frames for row in sums.rows()),
        sum(row.frames for row in talks.rows()) + talks.frames_left_out,
    }
    if counted != {capture.frames}:
        result.unsound.append(f"{capture.frames} frames read, counted {counted}: {data.hex()}")


def fuzz(count: int, seed: int) -> Result:
    """Replay this many broken files."""
    result, rng = Result(), random.Random(seed)
    recorded = [path.read_bytes()[:LONGEST_BYTES] for path in captures.files()[::RECORDED_STEP]]
    while result.files < count:
        drawn = compiled_policy(rng)
        candidate = Candidate(drawn.compiled, "drawn")
        frames = [
            wire.ethernet(
                frame.destination_mac or bytes(6), frame.source_mac, frame.vlan, frame.ethertype, frame.payload
            )
            for frame in Stream(drawn.plain, rng).frames(FRAMES_MADE)
        ]
        packets = [Packet(rng.randrange(LAST_NS), frame, len(frame)) for frame in frames]
        for _ in range(min(FILES_PER_POLICY, count - result.files)):
            known = bool(recorded) and rng.random() < 0.4
            whole = rng.choice(recorded) if known else made_file(packets, rng)
            replayed(broken(whole, rng), candidate, seed, result)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.recordings", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock, printed")
    chosen = parser.parse_args(arguments)
    seed = time.time_ns() % 1_000_000_007 if chosen.seed is None else chosen.seed
    print(f"fuzz: {chosen.count} broken capture files, {len(captures.files())} recorded ones, seed {seed}", flush=True)
    began = time.monotonic()
    result = fuzz(chosen.count, seed)
    for text in result.unsound[:3]:
        print(f"UNSOUND {text[:2000]}")
    print(
        f"fuzz: {result.files} files ({result.damaged} damaged, {result.refused} no captures), {result.frames} frames, "
        f"{len(result.unsound)} wrong sums, seed {seed}, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return 1 if result.unsound else 0


if __name__ == "__main__":
    sys.exit(main())
