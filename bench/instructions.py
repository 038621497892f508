"""Instructions per frame, counted by callgrind: the figure that a busy machine cannot blur.

In: the compiled loop of bench/classify.pyx and a plant of 1,000 assets. Out: instructions for a frame of an established
flow, of a new flow and of a denied one, and for segments of inspected Modbus/TCP, a read and its answer; with --write
they become the baseline of this processor and compiler in tests/data/instructions.json, which
tests/contract/test_instructions.py holds. Run: `python -m bench.instructions`.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.extension import c_compiler, compiled
from bench.messages import payload_at, traffic
from bench.plan import PROJECT
from bench.policies import SEED, plant
from bench.polled import conversations
from bench.suites.classify import counters_segment, events_segment, flows_segment
from fastpath.abi import MAX_BATCH, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE: Final = PROJECT / "tests" / "data" / "instructions.json"
COUNTED: Final = PROJECT / "bench" / "counted.py"
SYMBOL: Final = "*counted_batch*"
CONDUITS: Final = 100
CONVERSATIONS: Final = 1024
FLOW_ENTRIES: Final = 8192
FRAMES: Final = 16_384
KINDS: Final = {
    "established": {Reason.FLOW_ESTABLISHED},
    "new": {Reason.POLICY_CONDUIT},
    "denied": {Reason.POLICY_NO_CONDUIT, Reason.IDENTITY_SOURCE_UNKNOWN, Reason.IDENTITY_SOURCE_MAC},
    "inspected_request": {Reason.FLOW_ESTABLISHED},
    "inspected_answer": {Reason.FLOW_ESTABLISHED},
}
INSPECTED: Final = "inspected_"  # these kinds have a plant and messages of their own
MEANT_SHARE: Final = 0.98  # of the frames must be judged as the kind says; a few lose their flow to a full bucket
CALLGRIND_SECONDS: Final = 120
COLLECTED: Final = re.compile(r"Collected : (\d+)")


def measure() -> dict[str, float]:
    """Return instructions per frame by kind; blocks for some ten seconds."""
    library = compiled()
    with tempfile.TemporaryDirectory(prefix="conduit-instructions-") as directory:
        plain, inspected = Path(directory, "plain"), Path(directory, "inspected")
        prepare(plain)
        prepare_inspected(inspected)
        folders = {kind: inspected if kind.startswith(INSPECTED) else plain for kind in KINDS}
        return {kind: count(library, folder, kind) for kind, folder in folders.items()}


def prepare(folder: Path) -> None:
    """Write everything that the counted process reads of the kinds that are not inspected."""
    place = plant(CONDUITS)
    image, state = place.compiled()
    found = traffic(place, CONVERSATIONS, SEED)
    chance = random.Random(SEED)
    orders = {
        "opening": found.opening,
        "established": found.order(FRAMES, chance, misses=0, fresh=0),
        "new": found.order(FRAMES, chance, misses=0, fresh=1),
        "denied": found.order(FRAMES, chance, misses=1, fresh=0),
    }
    write(folder, image, state, found.messages, orders)


def prepare_inspected(folder: Path) -> None:
    """Write the same for inspected conversations: batches of requests, and the answers that follow each uncounted."""
    place = plant(CONDUITS, inspected=True)
    image, state = place.compiled()
    found = conversations(place, CONVERSATIONS)
    chance = random.Random(SEED)
    requests, answers = array("I"), array("I")
    for _ in range(FRAMES // MAX_BATCH):
        asked = chance.sample(range(CONVERSATIONS), MAX_BATCH)
        requests.extend(found.requests[number] for number in asked)
        answers.extend(found.answers[number] for number in asked)
    orders = {
        "opening": found.opening,
        "inspected_request": requests,
        "inspected_request.after": answers,
        "inspected_answer": answers,
        "inspected_answer.before": requests,
    }
    write(folder, image, state, found.messages, orders)


def write(
    folder: Path, image: bytes, state: bytearray, messages: bytes | bytearray, orders: dict[str, array[int]]
) -> None:
    """Write a folder as bench/counted.py reads it."""
    contents: dict[str, bytes | bytearray] = {
        "image": image,
        "state": state,
        "flows": flows_segment(FLOW_ENTRIES),
        "counters": counters_segment(),
        "events": events_segment(),
        "messages": messages,
        **{name: order.tobytes() for name, order in orders.items()},
    }
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "payload_at").write_text(str(payload_at(messages)))


def count(library: Path, folder: Path, kind: str) -> float:
    """Return instructions per frame of one kind; raises RuntimeError with callgrind's words."""
    command = [
        "valgrind",
        "--tool=callgrind",
        f"--toggle-collect={SYMBOL}",
        f"--callgrind-out-file={folder / kind}.out",
        *(sys.executable, "-S", str(COUNTED), str(library), str(folder), kind),
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=CALLGRIND_SECONDS, check=False)
    found = COLLECTED.search(done.stderr)
    if done.returncode != 0 or found is None or int(found[1]) == 0:
        raise RuntimeError(f"callgrind counted nothing (exit {done.returncode}):\n{done.stderr[-2000:]}")
    judged = {int(reason): frames for reason, frames in json.loads(done.stdout).items()}
    if sum(judged.get(reason, 0) for reason in KINDS[kind]) < MEANT_SHARE * FRAMES:
        raise RuntimeError(f"{kind}: the frames were judged otherwise: {judged}")
    return round(int(found[1]) / FRAMES, 1)


def machine() -> str:
    """Return what a baseline holds for: processor architecture and compiler."""
    version = subprocess.run([c_compiler(), "-dumpversion"], capture_output=True, text=True, timeout=10, check=True)
    return f"{platform.machine()} {Path(c_compiler()).name}-{version.stdout.split('.')[0].strip()}"


def baselines() -> dict[str, dict[str, float]]:
    """Return every baseline there is."""
    found: dict[str, dict[str, float]] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, compare, and write when asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the figures the baseline")
    chosen = parser.parse_args(arguments)
    figures, here, known = measure(), machine(), baselines()
    for kind, figure in figures.items():
        before = known.get(here, {}).get(kind)
        print(f"{kind:18} {figure:8.1f} instructions a frame" + (f", baseline {before:.1f}" if before else ""))
    if chosen.write:
        BASELINE.parent.mkdir(exist_ok=True)
        BASELINE.write_text(json.dumps(dict(sorted((known | {here: figures}).items())), indent=2) + "\n")
        print(f"baseline of {here} written to {BASELINE.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
