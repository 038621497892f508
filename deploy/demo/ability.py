"""Whether this machine lets the story run live: root, network namespaces, NFQUEUE.

In: nothing. Out: None, or the sentence that says what is denied. Tries for real in a namespace of its own and leaves
nothing behind. Must never guess from kernel versions. Called once, before the story begins.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import Final

from deploy.lab import namespaces, processes
from deploy.lab.namespaces import LabError

NEEDED_COMMANDS: Final = ("ip", "ethtool", "sysctl", "nft")
NETLINK_NETFILTER: Final = 12  # linux/netlink.h
NFQNL_MSG_CONFIG: Final = 0x0302  # subsystem 3 (queue), message 2
NFQA_CFG_CMD: Final = 1
NFQNL_CFG_CMD_BIND: Final = 1
REQUEST_ACK: Final = 0x05
NLMSG_ERROR: Final = 2
PROBE_QUEUE: Final = 47113
ANSWER_WITHIN_S: Final = 2.0


def denied() -> str | None:
    """Return what this machine denies the live story, None if nothing."""
    if os.geteuid() != 0:
        return "not root: network namespaces cannot be created"
    missing = [command for command in NEEDED_COMMANDS if shutil.which(command) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install iproute2 ethtool procps nftables)"
    name = f"cgprobe{os.getpid()}"
    try:
        namespaces.create(name)
    except LabError as error:
        namespaces.delete(name)
        return f"network namespaces are denied: {error}"
    try:
        return _wiring_denied(name) or _queue_denied(name)
    finally:
        namespaces.delete(name)


def _wiring_denied(name: str) -> str | None:
    try:
        namespaces.batch(name, ["link add a0 type veth peer name b0", "link add br0 type bridge"])
    except LabError as error:
        return f"veth pairs or bridges are denied: {error}"
    return None


def _queue_denied(name: str) -> str | None:
    """Bind an NFQUEUE inside the namespace; a child does it, because a process has one namespace."""
    child = [sys.executable, "-m", "deploy.demo.ability"]
    done = subprocess.run(
        namespaces.inside(name, child),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=processes.environment(),
    )
    return None if done.returncode == 0 else f"NFQUEUE is denied: {done.stderr.strip() or done.stdout.strip()}"


def bind_queue() -> int:
    """Bind a queue number and return the kernel's errno, 0 when it is allowed. Raises OSError without netlink."""
    command = struct.pack("=BxH", NFQNL_CFG_CMD_BIND, 0)
    attribute = struct.pack("=HH", 4 + len(command), NFQA_CFG_CMD) + command
    body = struct.pack("!BBH", 0, 0, PROBE_QUEUE) + attribute
    header = struct.pack("=IHHII", 16 + len(body), NFQNL_MSG_CONFIG, REQUEST_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.settimeout(ANSWER_WITHIN_S)
        netlink.bind((0, 0))
        netlink.send(header + body)
        answer = netlink.recv(4096)
    kind = struct.unpack_from("=H", answer, 4)[0]
    return -int(struct.unpack_from("=i", answer, 16)[0]) if kind == NLMSG_ERROR else 0


def main() -> int:
    """Try to bind; say why not."""
    try:
        number = bind_queue()
    except OSError as error:
        print(f"netlink: {error}", file=sys.stderr)
        return 1
    if number:
        print(f"bind: {os.strerror(number)}", file=sys.stderr)
    return 1 if number else 0


if __name__ == "__main__":
    sys.exit(main())
