"""Mutated messages through every inspector: none may break a promise, crash, read too far or take long.

`python -m tests.fuzz.inspection --count 1000000 --seed S [modbus ...]`: so many inputs for each inspector; the
sanitizer lane (tests/fuzz/sanitize.py) runs this very module. tests/support/examiner.pyx says what is promised. Each
message is judged too, by the largest profile there can be; the heaviest message is among those that are mutated.
Besides, malformed messages of its grammar: none may be taken, and no right one refused. Exit 1 on anything of that.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastpath.abi import Reason
from tests.fuzz.grammar import GrammarResult, try_grammar
from tests.fuzz.subjects import SUBJECTS, seeds
from tests.support.examining import examiner_class
from tests.support.heaviest import full_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fuzz.subjects import Seed, Subject

INPUTS_PER_CONVERSATION: Final = 40
MOST_MUTATIONS: Final = 3
MOST_CUTS: Final = 4
UNTOUCHED_SHARE: Final = 0.15
MENDED_SHARE: Final = 0.8
GRAMMAR_FRACTION: Final = 20  # one malformed message of the grammar for so many mutated inputs
LONGEST_CALL_MS: Final = 5.0
ODD_BYTES: Final = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
LONGEST_INPUT: Final = 70_000
PROGRESS_SECONDS: Final = 20.0


@dataclass
class InspectionResult:
    """Counts of one inspector's run, and which inputs broke a promise."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    worst_ns: int = 0
    most_compared: int = 0


def fuzz(name: str, count: int, seed: int, *, progress: bool = False) -> InspectionResult:
    """Give an inspector this many inputs."""
    subject, known = SUBJECTS[name], seeds(name)
    result, rng = InspectionResult(), random.Random(f"{name} {seed}")
    examiner = examiner_class()(subject.inspector, *full_image(name))
    shown_at = time.monotonic()
    while result.inputs < count:
        examiner.restart()
        for _ in range(min(INPUTS_PER_CONVERSATION, count - result.inputs)):
            message, from_opener = mutated(rng, subject, known)
            cuts = [rng.randrange(len(message) + 1) for _ in range(rng.randint(1, MOST_CUTS))]
            reason, length, promise = examiner.examine(message, from_opener, subject.least, cuts)
            result.inputs += 1
            result.outcomes[outcome(reason, length, len(message))] += 1
            if promise is not None:
                result.broken.append(f"{promise}: from_opener={from_opener} cuts={cuts} {message.hex()}")
        if progress and time.monotonic() - shown_at > PROGRESS_SECONDS:
            shown_at = time.monotonic()
            print(f"  {name}: {result.inputs:,} of {count:,} inputs, {len(result.broken)} broken promises", flush=True)
    result.worst_ns, result.most_compared = examiner.worst_ns, examiner.most_compared
    return result


def outcome(reason: int, length: int, count: int) -> str:
    """Return in a word what became of an input."""
    if reason != Reason.NONE:
        return Reason(reason).name
    return "UNFINISHED" if not length or length > count else "TAKEN"


def mutated(rng: random.Random, subject: Subject, known: Sequence[Seed]) -> Seed:
    """Return a seed, mostly with a few things changed, sometimes in the other direction."""
    message, from_opener = rng.choice(known)
    if rng.random() < UNTOUCHED_SHARE:
        return message, from_opener
    for _ in range(rng.randint(1, MOST_MUTATIONS)):
        message = _mutation(rng, message, known)
    if rng.random() < MENDED_SHARE:
        message = subject.mended(message)
    return message[:LONGEST_INPUT], from_opener != (rng.random() < 0.05)


def _mutation(rng: random.Random, message: bytes, known: Sequence[Seed]) -> bytes:
    out = bytearray(message)
    at = rng.randrange(len(out) + 1)
    way = rng.randrange(8)
    if way == 0:
        return bytes(out[:at])
    if way == 1:
        return bytes(out) + rng.randbytes(rng.randint(1, 12))
    if way == 2:
        return bytes(out[:at]) + rng.choice(known)[0][rng.randrange(8) :]
    if way == 3:
        return bytes(out[:at]) + rng.randbytes(rng.randint(1, 4)) + bytes(out[at:])
    if way == 4:
        return bytes(out[:at]) + bytes(out[at + rng.randint(1, 4) :])
    if at < len(out) and way == 5:
        out[at] ^= 1 << rng.randrange(8)
    elif at < len(out) and way == 6:
        out[at] = rng.choice(ODD_BYTES)
    elif at + 2 <= len(out):
        number = rng.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, len(out), len(out) - at, rng.randrange(65536)))
        out[at : at + 2] = number.to_bytes(2, rng.choice(("big", "little")))
    return bytes(out)


def sound(name: str, result: InspectionResult, made: GrammarResult, longest_ms: float) -> bool:
    """Print what was wrong with an inspector, if anything, and its counts."""
    for text in (*result.broken[:3], *(f"TAKEN {one}" for one in made.taken[:3]), *made.refused[:3]):
        print(f"UNSOUND {name}: {text[:1000]}")
    counts = ", ".join(f"{number} {word}" for word, number in result.outcomes.most_common())
    print(
        f"{name}: {result.inputs} inputs ({counts}), {len(result.broken)} broken promises, worst call "
        f"{result.worst_ns / 1e6:.3f} ms, most comparisons {result.most_compared:,}; "
        f"{made.wrong} malformed by {len(made.by_rule)} rules, "
        f"{len(made.taken)} taken; {made.right} right, {len(made.refused)} refused",
        flush=True,
    )
    return not (result.broken or made.taken or made.refused or result.worst_ns > longest_ms * 1e6)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.inspection", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"inspectors; default all of {', '.join(SUBJECTS)}")
    parser.add_argument("--count", type=int, default=100_000, help="inputs for each")
    parser.add_argument("--seed", type=int, default=None, help="default: from the clock, printed")
    parser.add_argument("--longest-ms", type=float, default=LONGEST_CALL_MS, help="of processor time, for one call")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(SUBJECTS):
        parser.error(f"no such inspector: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    seed = time.time_ns() % 1_000_000_007 if chosen.seed is None else chosen.seed
    fine, started = True, time.monotonic()
    for name in chosen.names or SUBJECTS:
        subject = SUBJECTS[name]
        result = fuzz(name, chosen.count, seed, progress=True)
        made = try_grammar(
            subject.inspector, subject.right, subject.wrong, max(chosen.count // GRAMMAR_FRACTION, 1000), seed
        )
        fine = sound(name, result, made, chosen.longest_ms) and fine
    print(f"inspection: seed {seed}, {time.monotonic() - started:.0f} s", flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
