"""One run of the virtual machine: boot, pass the command's output through, return its exit status.

In: a kernel, the command and its environment. Out: the exit status, and the boot time. QEMU emulates in software: the
machine proves behaviour, never speed. The host's root is exported read-only; nothing of the host can change.
A machine that does not end in time is ended; the kernel's console is kept in a file when anything went wrong.
Called by `ring`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.support.vm import guest, initrd
from tests.support.vm.kernel import Kernel, architecture

_MEMORY_MIB: Final = 3072
_EMULATORS: Final = {
    "amd64": ("qemu-system-x86_64", ("-machine", "q35", "-cpu", "max"), "ttyS0"),
    "arm64": ("qemu-system-aarch64", ("-machine", "virt", "-cpu", "max"), "ttyAMA0"),
}
# No self-tests, mitigations or address randomisation: seconds of emulated boot that prove nothing here.
_KERNEL_ARGUMENTS: Final = (
    "panic=-1 loglevel=4 mitigations=off nokaslr nopti cryptomgr.notests random.trust_cpu=on tsc=reliable "
    "no_timer_check noreplace-smp audit=0 systemd.unit=none"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `status` is None when the machine died or was ended before the command did."""

    status: int | None
    boot_seconds: float
    total_seconds: float


def emulator() -> Path | None:
    """Return the emulator's program for this architecture, if it is installed."""
    known = _EMULATORS.get(architecture())
    found = known and shutil.which(known[0])
    return Path(found) if found else None


def run(
    kernel: Kernel,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    project: Path,
    deadline_seconds: float,
    console: Path,
    output: IO[str],
) -> Outcome:
    """Boot, run `command` in `project`, and write what it prints to `output` as it comes."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox (Debian package busybox-static)")
    script = guest.script(command, environment, project, kernel.modules)
    with tempfile.TemporaryDirectory(prefix="conduit-vm-") as work:
        archive = Path(work) / "initrd.gz"
        archive.write_bytes(initrd.build(kernel, Path(busybox), script))
        return _boot(_arguments(kernel, archive, console), deadline_seconds, output)


def _arguments(kernel: Kernel, archive: Path, console: Path) -> list[str]:
    program, machine, terminal = _EMULATORS[architecture()]
    return [
        program, *machine, "-accel", "tcg,thread=multi",
        "-smp", str(min(os.cpu_count() or 1, 2)), "-m", str(_MEMORY_MIB),
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-kernel", str(kernel.image), "-initrd", str(archive), "-append", f"console={terminal} {_KERNEL_ARGUMENTS}",
        "-serial", f"file:{console}",
        "-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng",
        "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
        "-chardev", "stdio,id=output,signal=off", "-device", "virtio-serial-pci",
        "-device", f"virtserialport,chardev=output,name={guest.OUTPUT_PORT}",
    ]  # fmt: skip


def _boot(arguments: list[str], deadline_seconds: float, output: IO[str]) -> Outcome:
    started = time.monotonic()
    booted = 0.0
    status: int | None = None
    # The port counts as connected only while QEMU's own standard input stays open, hence a pipe that nobody writes to.
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as machine:
        watchdog = threading.Timer(deadline_seconds, machine.kill)
        watchdog.start()
        try:
            assert machine.stdout is not None
            for line in machine.stdout:
                booted = booted or time.monotonic() - started
                if line.startswith(guest.STATUS_MARK):
                    status = int(line.split()[1])
                else:
                    output.write(line)
                    output.flush()
        finally:
            watchdog.cancel()
            machine.kill()
    return Outcome(status, booted, time.monotonic() - started)
