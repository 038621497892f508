"""`make test-vm`: the namespace ring's cases and the vm cases on Debian's stock kernel, in an emulated machine.

In: words for pytest (default: the two rings), or `--command WORDS` for any program. Out: what it printed, and its exit
status. Where no emulator or kernel can be had, says which and ends with 0, or with 1 when CONDUIT_REQUIRE lists `vm`.
Never changes the host: see `machine`. Called by the Makefile and by hand: `python -m tests.support.vm.ring -k arp`.
"""

from __future__ import annotations

import argparse
import compileall
import os
import signal
import sys
from pathlib import Path
from typing import Final

from tests.support.capability import required_capabilities, why_missing
from tests.support.vm import kernel, machine

PROJECT: Final = Path(__file__).resolve().parents[3]
# The ring's budget is ten minutes; past this the machine is taken for hung.
DEADLINE_SECONDS: Final = 1500  # a machine with other work on it has needed more than 900
# Measured: imports and arithmetic take 8 to 12 times as long as on the machine that emulates.
SLOW_FACTOR: Final = 10
TEST_TIMEOUT_SECONDS: Final = 400
# The laboratory's own tests (tests/netns/lab) intercept nothing: another kernel proves nothing more about them. Of the
# boundary's, the one that needs no speed: the others ask whether a poll was missed within its time-out.
_RESTART: Final = "test_forbidden_flow_leaks_nothing_across_start_stop_and_restart"
_RINGS: Final = (
    "tests/netns/kernel",
    "tests/netns/gateway/test_stages.py",
    f"tests/netns/gateway/test_boundary.py::{_RESTART}",
    "tests/vm",
)


def main(words: list[str]) -> int:
    """Run the machine once and return the exit status for the shell."""
    wanted, rest = _arguments(words)
    missing = why_missing("vm")
    if missing is None:
        try:
            booted = kernel.obtain(PROJECT / ".cache/kernel")
        except kernel.KernelUnavailableError as problem:
            missing = str(problem)
        else:
            return _run(booted, wanted.command or _pytest(rest), wanted.deadline)
    required = "vm" in required_capabilities()
    print(f"{'FAILED' if required else 'SKIPPED'}: missing capability 'vm': {missing}")
    print("0 passed, 1 failed" if required else "0 passed, 0 failed, 1 skipped")
    return 1 if required else 0


def _arguments(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="ring", description="Run tests on Debian's stock kernel in QEMU.")
    parser.add_argument("--deadline", type=int, default=DEADLINE_SECONDS, help="seconds until the machine is ended")
    parser.add_argument("--command", nargs=argparse.REMAINDER, help="run this program instead of pytest")
    return parser.parse_known_args(words)


def _pytest(words: list[str]) -> list[str]:
    chosen = [word for word in words if word.partition("::")[0].startswith("tests/")]
    rings = [] if chosen else [ring for ring in _RINGS if (PROJECT / ring.partition("::")[0]).exists()]
    marks = [] if "-m" in words else ["-m", "not slow"]
    plugins = ["-p", "tests.support.vm.slow", "-p", "no:cacheprovider"]
    flags = [*plugins, "-v", "--timeout", str(TEST_TIMEOUT_SECONDS), "--durations", "10"]
    return [sys.executable, "-m", "pytest", *flags, *marks, *rings, *words]


def _run(booted: kernel.Kernel, command: list[str], deadline: int) -> int:
    environment = {
        "CONDUIT_RING": "vm",
        "CONDUIT_SLOW": str(SLOW_FACTOR),
        "CONDUIT_REQUIRE": "netns,nfqueue",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for package in ("gateway", "fastpath", "rules", "deploy", "tests"):
        compileall.compile_dir(PROJECT / package, quiet=2)  # in the machine every process would do it again, slowly
    console = PROJECT / "build" / f"vm-console-{os.getpid()}.log"
    console.parent.mkdir(exist_ok=True)
    print(f"Booting {booted.release} in QEMU, emulated: about {SLOW_FACTOR} times slower than this machine", flush=True)
    outcome = machine.run(
        booted, command, environment, project=PROJECT, deadline_seconds=deadline, console=console, output=sys.stdout
    )
    if outcome.status == 0:
        console.unlink(missing_ok=True)
        return 0
    if outcome.status is None:
        print(f"The machine ended without an exit status after {outcome.total_seconds:.0f} s (deadline {deadline} s)")
        print(console.read_text(errors="replace")[-4000:])
    print(f"The kernel's console: {console.relative_to(PROJECT)}", file=sys.stderr)
    return 1 if outcome.status is None else outcome.status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the machine ends with us
    sys.exit(main(sys.argv[1:]))
