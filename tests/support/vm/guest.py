"""What runs inside the virtual machine, as text: the second script, on top of the host's files.

In: the command, its environment, the project's directory and the module tree. Out: a bash script that mounts what a
host has mounted, loads the modules of the namespace ring, runs the command with its output on the virtio port, sends
the exit status as the last line, and powers off. Never survives the command: the machine ends with it.
Called by `machine`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

STATUS_MARK: Final = "conduit-vm-status"
OUTPUT_PORT: Final = "conduit.output"

# What the laboratory and both interception forms need; a machine without module loading on demand has them ready.
MODULES: Final = (
    "bridge", "br_netfilter", "veth", "dummy", "8021q", "nf_tables", "nft_compat", "nfnetlink_queue", "nft_queue",
    "nft_reject_bridge", "nf_conntrack_bridge", "nft_meta_bridge", "nft_limit", "nft_log", "nft_counter", "xt_NFQUEUE",
    "ip_tables", "ip6_tables", "sch_netem", "sch_tbf",
)  # fmt: skip

_SCRIPT: Final = """#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
mkdir -p /run/netns /run/lock /lib/modules/{release}
mount --bind {modules} /lib/modules/{release}
hostname conduit-vm
ip link set lo up
modprobe -aq {names}
for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = {port} ] && output=/dev/${{port##*/}}
done
cd {project} || exit
{environment}
{{
  {command} </dev/null
  echo {mark} $?
}} >"$output" 2>&1
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


def script(command: Sequence[str], environment: Mapping[str, str], project: Path, modules: Path) -> str:
    """Return the script that runs `command` in `project` with the modules of the tree `modules` at hand."""
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return _SCRIPT.format(
        release=modules.name,
        modules=shlex.quote(str(modules)),
        names=" ".join(MODULES),
        port=OUTPUT_PORT,
        project=shlex.quote(str(project)),
        environment=exports,
        command=shlex.join(command),
        mark=STATUS_MARK,
    )
