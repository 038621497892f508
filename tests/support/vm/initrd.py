"""The machine's first file system: a static busybox, the modules that reach the host's files, and a script.

In: a kernel and the busybox binary. Out: bytes of a gzipped cpio archive (format newc, kernel
Documentation/driver-api/early-userspace/buffer-format.rst). Its script mounts the host's root read-only over 9p,
puts a tmpfs over it, and hands over to the second script (`guest`) in there. Never writes to the host.
Called by `machine`.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

from tests.support.vm.kernel import Kernel

MODULES: Final = ("virtio_pci", "virtio_mmio", "virtio_console", "virtio_rng", "9pnet_virtio", "9p", "overlay")
# 9p messages of 512 KiB: fewer round trips through the emulated device.
_MESSAGE_BYTES: Final = 512 * 1024
_DIRECTORY: Final = 0o040755
_PROGRAM: Final = 0o100755
_DEVICE: Final = 0o020600

_SCRIPT: Final = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module; done
options=trans=virtio,version=9p2000.L,msize={message}
/bin/busybox mount -t 9p -o ro,cache=loose,$options host /host || exec /bin/busybox poweroff -f
/bin/busybox mount -t tmpfs -o size=75% upper /upper
/bin/busybox mkdir /upper/upper /upper/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/upper/upper,workdir=/upper/work overlay /root
/bin/busybox mkdir -p /root/.guest
/bin/busybox cp /guest.sh /root/.guest/init
/bin/busybox mount --move /proc /root/proc
/bin/busybox mount --move /sys /root/sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /bin/bash /.guest/init
"""


def build(kernel: Kernel, busybox: Path, guest_script: str) -> bytes:
    """Return the archive that boots into `guest_script` on top of the host's files."""
    modules = kernel.module_files(MODULES)
    script = _SCRIPT.format(modules=" ".join(path.name for path in modules), message=_MESSAGE_BYTES)
    entries = [_entry(name, _DIRECTORY) for name in ("bin", "dev", "host", "modules", "proc", "root", "sys", "upper")]
    entries.append(_entry("dev/console", _DEVICE, device=(5, 1)))
    entries.append(_entry("bin/busybox", _PROGRAM, busybox.read_bytes()))
    entries.append(_entry("init", _PROGRAM, script.encode()))
    entries.append(_entry("guest.sh", _PROGRAM, guest_script.encode()))
    entries.extend(_entry(f"modules/{path.name}", _PROGRAM, path.read_bytes()) for path in modules)
    entries.append(_entry("TRAILER!!!", 0))
    return gzip.compress(b"".join(entries), compresslevel=1)


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one newc record: 13 fields of 8 hexadecimal digits, name and content padded to 4 bytes."""
    stored = name.encode() + b"\0"
    links = 1
    fields = (0, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(stored), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + stored) + _padded(content)


def _padded(record: bytes) -> bytes:
    return record + bytes(-len(record) % 4)
