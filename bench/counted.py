"""What runs under callgrind: one kind of traffic through the compiled loop, with as little Python around it as can be.

In: a folder that bench.instructions has filled (image, state, messages, orders) and the compiled library. Out: as JSON,
how many of the counted frames were judged for which reason. KIND.before and KIND.after are judged batch by batch around
those of the kind, and not counted: a conversation needs both its sides. Run as a script, without site packages:
interpreting Python is fifty times slower there.
"""

import importlib.util
import json
import sys
from array import array
from pathlib import Path
from typing import Any

BATCH = 64  # as abi.MAX_BATCH
WHEN = ("before", "after")
ROOT = Path(__file__).resolve().parent.parent


def words(path: Path) -> "array[int]":
    """Read an order."""
    found = array("I")
    found.frombytes(path.read_bytes())
    return found


def totals(classifier: Any) -> dict[int, int]:
    """Return how many frames were judged for each reason so far."""
    by_reason, _, _ = classifier.counts()
    return {reason: passed + dropped for reason, (passed, dropped) in by_reason.items()}


def main(library: str, folder: Path, kind: str) -> None:
    """Open the conversations, then judge one kind of frames."""
    spec = importlib.util.spec_from_file_location("bench.classify", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parts = [bytearray((folder / name).read_bytes()) for name in ("image", "state", "flows", "counters", "events")]
    classifier = module.Classifier(*parts, (folder / "messages").read_bytes(), int((folder / "payload_at").read_text()))
    classifier.prepare(words(folder / "opening"))
    order = words(folder / kind)
    around = [words(folder / f"{kind}.{when}") if (folder / f"{kind}.{when}").exists() else None for when in WHEN]
    judged: dict[int, int] = {}
    spent = array("Q", bytes(8 * len(order)))
    size = BATCH if any(around) else len(order)
    for at in range(0, len(order), size):
        here = slice(at, at + size)
        if around[0]:
            classifier.prepare(around[0][here])
        before = totals(classifier)
        classifier.run(order[here], spent)
        for reason, frames in totals(classifier).items():
            judged[reason] = judged.get(reason, 0) + frames - before.get(reason, 0)
        if around[1]:
            classifier.prepare(around[1][here])
    print(json.dumps(judged))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
