"""Broken policies: mutants of one bundle (YAML, includes, CSV, calendar), each compiled or refused, never a traceback.

`python -m tests.fuzz.policies --count 5000 --seed S`: compiles mutants and prints what became of them. With `--daemon`
each is also sent to a running control plane, and what is in force must stay. Half of the mutants get a mistake that
no reading can miss, so that none of them may be taken. Exit 1 on any traceback and on any such mutant that was taken.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rules.bundle import Bundle, read_bundle
from rules.compile import compile_bundle
from rules.problems import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.integration.control.plant import ControlRig

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = ROOT / "rules" / "examples" / "water-works.yaml"
NASTY: Final = tuple(
    word.encode("utf-8", "surrogatepass")
    for word in (
        *("::", "{", "}", "[", "]", "[[[[[[[[", ",", ":", "- ", "? ", "| ", "> ", "'", '"', "#", "&a", "*a", "<<: *a"),
        *("!!python/object:os.system", "!x", "%YAML 3.0", "---", "...", "\t", "\r", "\x00", "\x1b[2J", "\u202e"),
        *("\ufeff", "\u2028", "\x85", "\ud800", "\U0001f642", "é", "null", "~", "true", "0x", "-1", "1e309", "9" * 40),
        *("a" * 3000, "\\", "../../etc/passwd", "/dev/zero", "*.yaml", "?", "10.0.0.0/8", "::/0", "ff:ff:ff:ff:ff:ff"),
        *("version", "site:", "include: [main.yaml]", "inventory: [{csv: assets.csv}]", "zones:", "windows:", "via:"),
        *("24:00", "2026-02-30", "FREQ=SECONDLY", "Europe/Nowhere", "-8h", "{iac: 9}", "; ; ;", '"";"', "=1+1"),
    )
)
SURE: Final = (  # appended to the main file: no reading takes it for anything else
    b"\nnonsense: 1\n",
    b"\nversion: 1\nversion: 2\n",
    b"\nzones: [\n",
    b"\n\x00\n",
    b"\n\xff\xfe\n",
    b"\n--- {}\n",
)


def original() -> Bundle:
    """Return the example as a bundle of every kind of file, which compiles."""
    text = EXAMPLE.read_text(encoding="utf-8")
    main, conduits = text.split("\nconduits:", 1)
    conduits, _, denials = conduits.partition("\ndenials:")
    head = (
        "include: [conduits/*.yaml, more/windows.yaml]\ninventory: [{csv: assets.csv, zone: control, roles: [spare]}]\n"
    )
    windows = (
        "roles: {spare: {}, R}\nwindows:\n"
        '  nights: {weekly: [{days: [mon, sat], from: "22:00", to: "06:00"}], ics: cal.ics}\n'
        "cycles: {shift: {every: 8h}}\nservices: {web: {group: [http, https]}}\n"
        "waivers: [{code: POL202, at: zones/dmz, who: J, why: so, until: 2030-01-01}]\n"
    )
    roles = sorted(
        {
            word.strip()
            for line in text.splitlines()
            if "roles: [" in line
            for word in line.split("[")[1].split("]")[0].split(",")
        }
    )
    files = {
        "conduits/all.yaml": "conduits:" + conduits,
        "more/windows.yaml": windows.replace("R}", ", ".join(f"{role}: {{}}" for role in roles) + "}", 1),
        "more/cal.ics": "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n",
        "assets.csv": "name;ips;macs;vendor\n" + "".join(f"s{n};10.20.50.{n};;Pumps\n" for n in range(100, 120)),
    }
    return Bundle("main.yaml", head + main + "\ndenials:" + denials, {n: c.encode() for n, c in files.items()})


# ---- mutations of one file ----


def _spot(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((1, 1, 2, 5, 20, 200)))


def _cut(content: bytes, rng: random.Random) -> bytes:
    start, end = _spot(content, rng)
    return content[:start] + content[end:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, end = _spot(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 2, 50)) + content[end:]


def _noise(content: bytes, rng: random.Random) -> bytes:
    start, end = _spot(content, rng)
    return content[:start] + rng.randbytes(rng.choice((1, 2, 8))) + content[end:]


def _word(content: bytes, rng: random.Random) -> bytes:
    start, end = _spot(content, rng)
    return content[:start] + rng.choice(NASTY) + content[rng.choice((start, end)) :]


def _lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(4)
    if way == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif way == 1:
        lines[one] = b"  " + lines[one]
    elif way == 2:
        lines[one] = lines[one][2:]
    else:
        lines.insert(one, lines[other])
    return b"\n".join(lines)


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


MUTATIONS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    *(_cut, _cut, _repeat, _noise, _word, _word, _word, _lines, _lines, _truncate),
)


def mutant(files: dict[str, bytes], rng: random.Random, *, sure: bool) -> dict[str, bytes]:
    """Return the files of a policy (the main one under its name) with some mistakes."""
    files = dict(files)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        name = rng.choice(sorted(files))
        files[name] = rng.choice(MUTATIONS)(files[name], rng)
    if rng.random() < 0.1:
        one, other = rng.choice(sorted(files)), rng.choice(sorted(files))
        files[one], files[other] = files[other], files[one]
    if rng.random() < 0.05:
        files.pop(rng.choice(sorted(set(files) - {"main.yaml"})))
    if sure:
        files["main.yaml"] += rng.choice(SURE)
    return files


# ---- what becomes of them ----


@dataclass
class Outcome:
    """How the mutants fared; `tracebacks` and `taken` must stay empty."""

    mutants: int = 0
    compiled: int = 0
    by_code: Counter[str] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)


def fuzz(count: int, seed: int, rig: ControlRig | None = None) -> Outcome:
    """Write, read and compile mutants; send them to a control plane too when there is one."""
    rng, outcome, bundle = random.Random(seed), Outcome(), original()
    compile_bundle(bundle)
    whole = {bundle.name: bundle.text.encode(), **bundle.files}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            sure = rng.random() < 0.5
            files = mutant(whole, rng, sure=sure)
            place = Path(folder) / str(number)
            for name, content in files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
            outcome.mutants += 1
            _compile(place / "main.yaml", f"{seed}/{number}", outcome, sure=sure)
            if rig is not None and sure:
                _send(rig, files, f"{seed}/{number}", outcome)
    return outcome


def _compile(path: Path, about: str, outcome: Outcome, *, sure: bool) -> None:
    try:
        compile_bundle(read_bundle(path))
    except PolicyError as error:
        outcome.by_code.update({problem.code for problem in error.problems})
        if not all(problem.path and str(problem) for problem in error.problems):
            outcome.tracebacks.append(f"{about}: a problem without a place")
    except Exception:  # noqa: BLE001 (this is what is looked for)
        outcome.tracebacks.append(f"{about}: {traceback.format_exc()}")
    else:
        outcome.compiled += 1
        if sure:
            outcome.taken.append(about)


def _send(rig: ControlRig, files: dict[str, bytes], about: str, outcome: Outcome) -> None:
    """Apply a mutant with a sure mistake; a control socket takes text, so bytes that are none are replaced."""
    texts = {name: content.decode("utf-8", "replace") for name, content in files.items()}
    main = texts.pop("main.yaml")
    status, answer = rig.call("POST", "/v1/policy", {"text": main, "name": "main.yaml", "files": texts})
    if status != 422 or answer["code"] != "policy_refused":
        (outcome.taken if status == 200 else outcome.tracebacks).append(f"{about}: {status} {str(answer)[:200]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--daemon", action="store_true", help="send each sure mistake to a control plane as well")
    given = parser.parse_args(argv)
    print(f"seed {given.seed}", flush=True)
    if given.daemon:
        outcome, kept = _with_daemon(given.count, given.seed)
    else:
        outcome, kept = fuzz(given.count, given.seed), True
    print(f"{outcome.mutants} mutants: {outcome.compiled} compiled, {outcome.mutants - outcome.compiled} refused")
    print("codes: " + ", ".join(f"{code} {found}" for code, found in sorted(outcome.by_code.items())))
    print(f"{len(outcome.tracebacks)} tracebacks, {len(outcome.taken)} taken, in force unchanged: {kept}")
    for text in [*outcome.tracebacks[:5], *outcome.taken[:5]]:
        print(text)
    return 1 if outcome.tracebacks or outcome.taken or not kept else 0


def _with_daemon(count: int, seed: int) -> tuple[Outcome, bool]:
    """Fuzz against a control plane of our own, and tell whether what was in force still is."""
    from tests.integration.control.plant import ControlRig

    with tempfile.TemporaryDirectory() as base:
        rig = ControlRig(Path(base), EXAMPLE.read_text(encoding="utf-8"))
        rig.start()
        try:
            before = rig.get("/v1/policy")
            outcome = fuzz(count, seed, rig)
            return outcome, rig.get("/v1/policy") == before
        finally:
            rig.stop()


if __name__ == "__main__":
    sys.exit(main())
