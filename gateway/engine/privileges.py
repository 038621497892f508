"""From root to almost nobody: what the engine gives up before it looks at the first frame.

In: a process that still is root and has one thread. Out: uid and gid 65534, CAP_NET_ADMIN as the only capability (every
verdict needs it, nothing else does), no way to gain more, death with the keeper; or an InternalError, never half of it.
Must run after the imports, which need the file system, and before threads start: capset is per thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

from gateway.errors import InternalError

STATUS_BYTES: Final = 65536  # /proc/self/status has about 1.5 KiB
NOBODY: Final = 65534
CAP_NET_ADMIN: Final = 12  # linux/capability.h, as the numbers below
CAPABILITY_VERSION_3: Final = 0x20080522
LAST_CAPABILITY_KNOWN: Final = 63
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h, as the numbers below
PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWords(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _failed(what: str) -> InternalError:
    detail = f"{what}: {os.strerror(ctypes.get_errno())}"
    return InternalError("privileges_kept", detail, "conduitd must be started as root with its capabilities intact")


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise _failed(f"prctl {option}")


def _drop_bounding_set() -> None:
    """Take away what an exec could give back; the kernel ends the list with EINVAL."""
    libc = _libc()
    for capability in range(LAST_CAPABILITY_KNOWN + 1):
        if capability == CAP_NET_ADMIN:
            continue
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), *([ctypes.c_ulong(0)] * 3)) != 0:
            if ctypes.get_errno() == 22:  # EINVAL: past the last capability of this kernel
                return
            raise _failed("bounding set")


def _keep_net_admin_only() -> None:
    words = (_CapabilityWords * 2)()
    words[0].effective = words[0].permitted = 1 << CAP_NET_ADMIN
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    if _libc().capset(ctypes.byref(header), words) != 0:
        raise _failed("capset")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill us when the thread that started us ends; leave at once if it already has.

    SIGKILL, because a hung engine takes no other: it would hold the queues, frames would wait in them for nobody, and
    no new keeper could bind them.
    ORDER: a change of uid or capabilities clears this setting, so it comes after them.
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def process_status(fd: int) -> dict[str, str]:
    """Return the fields of an open /proc/self/status by name, as they are now.

    Opened beforehand: an unprivileged user need not be able to open any path, not even this one.
    """
    # UTF-8 is built in; any other encoding would be imported, which this user may not be able to do any more.
    lines = os.pread(fd, STATUS_BYTES, 0).decode("utf-8", "replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _verify(status_fd: int) -> None:
    """Compare what the kernel says with what was asked of it."""
    status = process_status(status_fd)
    only_net_admin = f"{1 << CAP_NET_ADMIN:016x}"
    nobody = [str(NOBODY)] * 4
    kept = [
        name
        for name, found, wanted in (
            ("Uid", status["Uid"].split(), nobody),
            ("Gid", status["Gid"].split(), nobody),
            ("Groups", status["Groups"].split(), []),
            ("CapPrm", status["CapPrm"], only_net_admin),
            ("CapEff", status["CapEff"], only_net_admin),
            ("CapInh", status["CapInh"], "0" * 16),
            ("CapAmb", status["CapAmb"], "0" * 16),
            ("CapBnd", status["CapBnd"], only_net_admin),
            ("NoNewPrivs", status["NoNewPrivs"], "1"),
            ("Threads", status["Threads"], "1"),
        )
        if found != wanted
    ]
    if kept:
        raise InternalError("privileges_kept", f"not as wanted: {', '.join(kept)}", "the engine refuses to judge so")


def drop_privileges() -> None:
    """Become uid and gid 65534 with CAP_NET_ADMIN alone, verified. Raises InternalError when anything else is left."""
    status_fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _prctl(PR_SET_KEEPCAPS, 1)
        _drop_bounding_set()
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        raise InternalError("privileges_kept", f"cannot become uid {NOBODY}: {error.strerror}") from error
    _keep_net_admin_only()
    _prctl(PR_SET_KEEPCAPS, 0)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _verify(status_fd)
    os.close(status_fd)
