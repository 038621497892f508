"""The few `ip` and `ethtool` calls that the lab is made of, each checked.

In: namespace names and `ip` command lines. Out: changed kernel state, or LabError with the command and what it said.
Must never touch a namespace that its caller did not name. Called by the topology and the lab's processes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

NETNS_DIR: Final = Path("/run/netns")  # where iproute2 keeps named namespaces
COMMAND_TIMEOUT_S: Final = 30.0


class LabError(Exception):
    """The lab could not be built or used: what it made is recorded, `down` removes it."""


def run(argv: Sequence[str], given: str | None = None) -> str:
    """Run a command to its end and return its output. Raises LabError naming the command."""
    try:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed (Debian: apt-get install iproute2 ethtool procps)") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)}: no end within {COMMAND_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def exists(namespace: str) -> bool:
    """Return whether a named namespace exists."""
    return (NETNS_DIR / namespace).exists()


def batch(namespace: str, lines: Sequence[str]) -> None:
    """Run `ip` lines inside a namespace, stopping at the first that fails."""
    run(inside(namespace, ["ip", "-batch", "-"]), "\n".join(lines) + "\n")


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """Return the argv that runs `argv` in a namespace; `nsenter` replaces itself, so the pid is the command's.

    Not `ip netns exec`: that mounts /sys anew and fails where / is no mount point of its own, as in a plain chroot.
    """
    return ["nsenter", f"--net={NETNS_DIR / namespace}", *argv]


def create(namespace: str) -> None:
    """Create a namespace, quiet and without surprises: no link-local addresses, no address probes, no solicitations."""
    run(["ip", "netns", "add", namespace])
    settings = [
        "net.ipv6.conf.all.accept_dad=0",
        "net.ipv6.conf.default.accept_dad=0",
        "net.ipv6.conf.default.addr_gen_mode=1",
        "net.ipv6.conf.default.router_solicitations=0",
        "net.ipv6.conf.default.accept_ra=0",
    ]
    run(inside(namespace, ["sysctl", "-qw", *settings]))
    batch(namespace, ["link set lo up"])


def bridge_filters_off(namespace: str) -> None:
    """Keep br_netfilter out of a plain switch: its switches exist per namespace and default to on."""
    keys = (
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-ip6tables",
        "net.bridge.bridge-nf-call-arptables",
    )
    # Absent when the module is not loaded: nothing to switch off then (-e ignores unknown keys).
    run(inside(namespace, ["sysctl", "-qew", *(f"{key}=0" for key in keys)]))


def offloads_off(namespace: str, interfaces: Sequence[str]) -> None:
    """Let frames have true checksums and wire sizes, as from a physical port."""
    for interface in interfaces:
        run(inside(namespace, ["ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]))


def pids(namespace: str) -> list[int]:
    """Return the processes that live in a namespace; none if it does not exist."""
    if not exists(namespace):
        return []
    return [int(pid) for pid in run(["ip", "netns", "pids", namespace]).split()]


def delete(namespace: str) -> None:
    """Delete a namespace; its links go with it. Does nothing if it does not exist."""
    if exists(namespace):
        run(["ip", "netns", "delete", namespace])
