"""What this machine lets a test do, found by doing it once.

In: the name of a capability. Out: nothing, or a skip that names what is missing and why, or a failure of the same text
when the environment variable CONDUIT_REQUIRE lists the capability. Must never guess from versions: every probe does
the thing itself, in namespaces of its own, and leaves nothing behind. Called by tests and fixtures of every ring.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

Capability = Literal["netns", "nfqueue", "vm", "valgrind"]

REQUIRE_VARIABLE: Final = "CONDUIT_REQUIRE"
PROBE_SECONDS: Final = 30
CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
NETLINK_NETFILTER: Final = 12  # linux/netlink.h
NFNL_SUBSYS_QUEUE: Final = 3  # linux/netfilter/nfnetlink.h
NFQNL_MSG_CONFIG: Final = 2  # linux/netfilter/nfnetlink_queue.h
NFQA_CFG_CMD: Final = 1
NFQNL_CFG_CMD_BIND: Final = 1
NLM_F_REQUEST_ACK: Final = 0x05
QEMU_BY_MACHINE: Final = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}


def require(capability: Capability) -> None:
    """Skip the running test, or fail it under CONDUIT_REQUIRE, unless this machine has the capability."""
    missing = why_missing(capability)
    if missing is None:
        return
    text = f"missing capability {capability!r}: {missing}"
    if capability in required_capabilities():
        pytest.fail(f"{text} ({REQUIRE_VARIABLE} demands it)", pytrace=False)
    pytest.skip(text)


def required_capabilities() -> frozenset[str]:
    """Return the capabilities whose absence is a failure, from CONDUIT_REQUIRE (comma separated)."""
    words = os.environ.get(REQUIRE_VARIABLE, "").split(",")
    return frozenset(word.strip() for word in words if word.strip())


@functools.cache
def why_missing(capability: Capability) -> str | None:
    """Return why the machine lacks the capability, or None when it has it. Blocks up to some seconds, once."""
    probes: dict[str, Callable[[], str | None]] = {
        "netns": _probe_netns,
        "nfqueue": _probe_nfqueue,
        "vm": _probe_vm,
        "valgrind": _probe_valgrind,
    }
    return probes[capability]()


def _run(*words: str) -> str | None:
    """Run one command; return None on success, else what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except FileNotFoundError:
        return f"program {words[0]!r} is not installed"
    except subprocess.TimeoutExpired:
        return f"{' '.join(words)!r} did not end within {PROBE_SECONDS} s"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"{' '.join(words)!r} failed: {said[-1] if said else f'exit {done.returncode}'}"


def _probe_netns() -> str | None:
    """Make a named namespace with a bridge, a veth pair and a bridge-family table, then remove it."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"cgprobe{os.getpid()}"
    missing = _run("ip", "netns", "add", name)
    if missing is not None:
        return missing
    inside = ("nsenter", f"--net=/run/netns/{name}")
    steps = (
        (*inside, "ip", "link", "add", "probe0", "type", "bridge"),
        (*inside, "ip", "link", "add", "probe1", "type", "veth", "peer", "name", "probe2"),
        (*inside, "ip", "link", "set", "probe1", "master", "probe0"),
        (*inside, "nft", "add table bridge probe"),
        (*inside, "nft", "add chain bridge probe c { type filter hook forward priority 0; }"),
    )
    try:
        for step in steps:
            missing = _run(*step)
            if missing is not None:
                return missing
        return None
    finally:
        _run("ip", "netns", "del", name)


def _probe_nfqueue() -> str | None:
    """Bind a queue in a namespace of its own and put some rule in front of it."""
    missing = why_missing("netns")
    if missing is not None:
        return missing
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "bind-queue"],
        capture_output=True,
        text=True,
        timeout=PROBE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return f"binding an NFQUEUE socket failed: {said[-1] if said else f'exit {done.returncode}'}"
    return None


def _probe_vm() -> str | None:
    """Look for the emulator and for a stock kernel with its modules; booting is the ring's own first case."""
    program = QEMU_BY_MACHINE.get(os.uname().machine)
    if program is None:
        return f"no emulator known for machine type {os.uname().machine!r}"
    if shutil.which(program) is None:
        return f"program {program!r} is not installed"
    return None


def _probe_valgrind() -> str | None:
    """Count the instructions of a program that does nothing."""
    return _run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "true")


def _bind_queue_alone() -> None:
    """Bind queue 0 in a new, unnamed network namespace; raise OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    command = struct.pack("!BBH", NFQNL_CFG_CMD_BIND, 0, socket.AF_INET)
    attribute = struct.pack("=HH", 4 + len(command), NFQA_CFG_CMD) + command
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, 0) + attribute
    kind = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG
    message = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST_ACK, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(PROBE_SECONDS)
        netlink.bind((0, 0))
        netlink.send(message)
        answer = netlink.recv(4096)
    error = struct.unpack_from("=i", answer, 16)[0]
    if error != 0:
        raise OSError(-error, os.strerror(-error))


if __name__ == "__main__":
    _bind_queue_alone()
