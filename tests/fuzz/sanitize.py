"""The sanitizer lane: builds the extensions with AddressSanitizer and UBSan and runs the fuzzers on them.

`python -m tests.fuzz.sanitize --count 1000000 --seed S [--subjects s7comm enip]`: a temporary copy of the project is
built with both sanitizers and the fuzzers run there under their runtimes, each with the whole count. What they print is
passed on line by line; at the end, how many reports there were; exit 1 on any. Never touches the working tree. Called
by the Makefile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fuzz.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
BUILT: Final = ("fastpath",)
READ: Final = ("rules", "tests", "gateway")
SANITIZERS: Final = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
FLAGS: Final = f"{SANITIZERS} -fno-omit-frame-pointer -O1 -g"
REPORTS: Final = ("ERROR: AddressSanitizer", "runtime error:", "SUMMARY: UndefinedBehaviorSanitizer")
BUILD_SECONDS: Final = 600
RUN_SECONDS: Final = 14_400
INSPECTION: Final = "tests.fuzz.inspection"  # the only one that takes subjects
LONGEST_MS: Final = 25.0  # of one call; the sanitizers take several times the processor time
# Everything that reads a frame: parser, identity, flows, tables, decision; what reads the message around it; and what
# reads captures of strangers; the messages of inspected services, each inspector with the whole count.
MODULES: Final = (
    "fastpath/judge",
    "fastpath/replay",
    "fastpath/dissect",
    "tests/support/reader",
    "tests/support/examiner",
)
# By fuzzer, how many times fewer cases: a capture file holds many frames.
FUZZERS: Final = {
    "tests.fuzz.frames": 1,
    "tests.fuzz.messages": 1,
    INSPECTION: 1,
    "tests.fuzz.recordings": 50,
}


def copy_project(place: Path) -> None:
    """Copy the sources, without anything compiled, to a place of their own."""
    unwanted = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "build")
    for part in (*BUILT, *READ):
        shutil.copytree(ROOT / part, place / part, ignore=unwanted)


def build(place: Path) -> None:
    """Compile the copy's data path with both sanitizers."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    headers = f"-I{sysconfig.get_path('include')}"
    fixed = ["-shared", "-fPIC", "-fno-strict-aliasing", headers]
    for module in MODULES:
        translate = [sys.executable, "-m", "cython", "-I", ".", f"{module}.pyx", "-o", f"{module}.c"]
        link = [compiler(), *FLAGS.split(), *fixed, "-o", f"{module}{suffix}", f"{module}.c"]
        for command in (translate, link):
            done = subprocess.run(
                command, cwd=place, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
            )
            if done.returncode != 0:
                raise SystemExit(f"the sanitized build failed: {' '.join(command)}\n{done.stderr[-4000:]}")


def compiler() -> str:
    """Return the C compiler's name."""
    return os.environ.get("CC", "gcc")


def runtime(name: str) -> str:
    """Return the path of a sanitizer's runtime library."""
    command = [compiler(), f"-print-file-name={name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = done.stdout.strip()
    if not Path(found).is_absolute():
        raise SystemExit(f"{compiler()} has no {name}: install its sanitizer runtimes")
    return found


def run(place: Path, fuzzer: str, arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Run a fuzzer in the copy, passing on what it prints as it comes; return its exit code and the reports in that."""
    from tests.support import captures

    environment = os.environ | {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(place),
    }
    if (found := captures.directory()) is not None:
        environment[captures.CAPTURES_VARIABLE] = str(found)
    print(f"{fuzzer} {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-u", "-m", fuzzer, *arguments]
    with subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = threading.Timer(RUN_SECONDS, process.kill)
        deadline.start()
        try:
            assert process.stdout is not None
            found = passed_on(process.stdout)
            return process.wait(), found
        except BaseException:
            process.kill()
            raise
        finally:
            deadline.cancel()


def passed_on(lines: Iterable[str]) -> list[str]:
    """Print lines as they come; return those that a sanitizer reports with."""
    found = []
    for line in lines:
        print(line, end="", flush=True)
        if any(word in line for word in REPORTS):
            found.append(line.rstrip())
    return found


def arguments_of(fuzzer: str, count: int, seed: int, subjects: Sequence[str]) -> list[str]:
    """Return the arguments of one fuzzer's run."""
    counted = ["--count", str(count // FUZZERS[fuzzer]), "--seed", str(seed)]
    return [*counted, "--longest-ms", str(LONGEST_MS), *subjects] if fuzzer == INSPECTION else counted


def proves_itself(place: Path) -> bool:
    """Tell whether the run really uses the sanitized extensions: they link against the runtime."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return all(b"__asan_init" in (place / f"{module}{suffix}").read_bytes() for module in MODULES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.sanitize", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=62443)
    parser.add_argument("--only", choices=FUZZERS, action="append", help="default: every fuzzer")
    parser.add_argument("--subjects", nargs="*", default=[], help=f"inspectors for {INSPECTION}; default: all")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.subjects) - set(SUBJECTS):
        parser.error(f"no such inspector: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    if chosen.subjects and INSPECTION not in (chosen.only or FUZZERS):
        parser.error(f"only {INSPECTION} takes subjects")
    with tempfile.TemporaryDirectory(prefix="conduit-sanitize-") as directory:
        place = Path(directory)
        copy_project(place)
        print(f"building {len(MODULES)} modules with {SANITIZERS.split()[0]}", flush=True)
        build(place)
        if not proves_itself(place):
            raise SystemExit("the build carries no sanitizer: nothing would be proved")
        done = [
            run(place, fuzzer, arguments_of(fuzzer, chosen.count, chosen.seed, chosen.subjects))
            for fuzzer in FUZZERS
            if fuzzer in (chosen.only or FUZZERS)
        ]
    code = max(abs(code) for code, _ in done)
    reports = [report for _, found in done for report in found]
    print(*reports, f"sanitize: exit {code}, {len(reports)} reports, seed {chosen.seed}", sep="\n")
    return 1 if code or reports else 0


if __name__ == "__main__":
    sys.exit(main())
