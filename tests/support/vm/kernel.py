"""Debian's stock kernel for the virtual machine, fetched without touching the host's boot.

In: a cache directory. Out: `Kernel` (image file, module tree, release). The package that `linux-image-<arch>` depends
on is downloaded by apt, the few directories that the ring needs are unpacked, and the module index is built.
Never installs the package, and never downloads again while the cache holds a complete kernel. Called by `ring`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Module directories that bridges, netfilter, 9p, overlay and virtio need (seen with modprobe --show-depends), and no
# more: the whole package takes 400 MB, these take 60.
_WANTED = (
    "crypto", "lib", "net", "fs/9p", "fs/fscache", "fs/netfs", "fs/overlayfs",
    "drivers/char", "drivers/net", "drivers/virtio",
)  # fmt: skip
# Hardware drivers below the wanted directories: large, and no such hardware in the machine.
_UNWANTED = ("drivers/net/ethernet", "drivers/net/wireless", "drivers/net/usb", "net/mac80211", "net/bluetooth")
_COMPLETE = "complete"


class KernelUnavailableError(Exception):
    """No kernel can be had here; the text says why. The caller reports the capability as missing."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One unpacked kernel: what to boot and the directory that holds its modules."""

    release: str
    image: Path
    modules: Path

    def module_files(self, names: tuple[str, ...]) -> list[Path]:
        """Return the files that load `names`, prerequisites first; built-in ones need none and are left out."""
        ordered: list[Path] = []
        entries = self._dependencies()
        for name in names:
            if name not in entries:
                continue
            path, needs = entries[name]
            for file in [*reversed(needs), path]:
                if self.modules / file not in ordered:
                    ordered.append(self.modules / file)
        return ordered

    def _dependencies(self) -> dict[str, tuple[str, list[str]]]:
        entries: dict[str, tuple[str, list[str]]] = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            entries[Path(path).name.split(".")[0].replace("-", "_")] = (path, needs.split())
        return entries


def architecture() -> str:
    """Return Debian's name of this machine's architecture (amd64, arm64)."""
    return _output("dpkg", "--print-architecture").strip()


def obtain(cache: Path) -> Kernel:
    """Return a cached kernel, or download and unpack one. Raises KernelUnavailableError."""
    for complete in sorted(cache.glob(f"*/{_COMPLETE}"), reverse=True):
        return _kernel(complete.parent)
    package = _package()
    print(f"Fetching Debian's kernel {package} into {cache} (it is not installed)", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        archive = _download(package, Path(work))
        tree = _unpack(archive, Path(work) / "tree")
        release = next((tree / "lib/modules").iterdir()).name
        _output("depmod", "-b", str(tree), release)
        (tree / _COMPLETE).touch()
        shutil.rmtree(cache / release, ignore_errors=True)
        tree.rename(cache / release)
    return _kernel(cache / release)


def _kernel(tree: Path) -> Kernel:
    release = next((tree / "lib/modules").iterdir()).name
    return Kernel(release, next((tree / "boot").glob("vmlinuz-*")), tree / "lib/modules" / release)


def _package() -> str:
    """Return the name of the newest stock kernel package; apt's lists are fetched when they are empty."""
    meta = f"linux-image-{architecture()}"
    for refresh in (False, True):
        if refresh:
            _output("apt-get", "update", "-qq")
        depends = _output("apt-cache", "depends", "--no-recommends", meta, check=False)
        found = re.search(r"Depends: (linux-image-\d\S+)", depends)
        if found:
            return found[1]
    raise KernelUnavailableError(f"apt knows no package that {meta} depends on")


def _download(package: str, work: Path) -> Path:
    _output("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package, cwd=work)
    return next(work.glob("*.deb"))


def _unpack(archive: Path, tree: Path) -> Path:
    tree.mkdir()
    names = ["./boot/vmlinuz-*", "./lib/modules/*/modules.*", *(f"./lib/modules/*/kernel/{part}/*" for part in _WANTED)]
    unwanted = [f"--exclude=./lib/modules/*/kernel/{part}/*" for part in _UNWANTED]
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as producer:
        extract = ["tar", "-x", "-C", str(tree), "--wildcards", *unwanted, *names]
        subprocess.run(extract, stdin=producer.stdout, check=True)
    return tree


def _output(*command: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run a command and return what it printed; a failure becomes KernelUnavailableError with its words."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise KernelUnavailableError(f"{command[0]}: {problem}") from problem
    if check and done.returncode != 0:
        raise KernelUnavailableError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
