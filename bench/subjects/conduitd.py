"""conduitd: the real daemon with a real policy in enforce; blocking, polling, and with the fast lane.

In: a rig, settings of the variant, how much the conduits log. Out: a daemon whose engine judges what crosses the rig.
A variant whose settings this tree's conduitd refuses is not available, and says so in the daemon's own words.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from bench.rig import GATEWAY, JUDGE_CPU, Rig
from bench.subjects.policy import Log, policy_yaml
from bench.subjects.subject import Witness
from deploy.lab.gateway import LabGateway
from gateway.errors import ConfigError
from gateway.settings import load_settings_text

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence


ENGINE_CPUS: Final = f"\n[engine]\ncpus = [{JUDGE_CPU}]\n"
POLLING: Final = ENGINE_CPUS + 'polling = "adaptive"\n'


@dataclass(frozen=True, slots=True)
class _Site:
    """The rig as the lab's gateway starter sees it: a directory, and a way to start programs in namespaces."""

    rig: Rig
    directory: Path

    def namespace(self, node: str) -> str:
        """Return a namespace's name."""
        return self.rig.namespace(node)

    def start(self, node: str, argv: Sequence[str], *, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the daemon. Its engine is pinned later, keeper and control stay where the kernel wants them."""
        return self.rig.start(node, argv, cpu=None, stdout=log, stderr=log)


class Conduitd:
    """One variant of the daemon."""

    def __init__(
        self,
        name: str,
        settings: str = "",
        *,
        lane: str = "off",
        log: Log = "none",
        witness: Witness = Witness.QUEUE,
        policy: str | None = None,
    ) -> None:
        self.name = name
        self.witness = witness
        self.gateway: LabGateway | None = None
        self._settings = settings
        self._lane = lane
        self._policy = policy if policy is not None else policy_yaml(log)

    def available(self) -> str | None:
        """Return what this tree's conduitd says against the variant's settings."""
        try:
            load_settings_text(self._settings, path=_NOWHERE)
        except ConfigError as error:
            return error.detail
        return None

    def start(self, rig: Rig) -> None:
        """Start it with an empty state, and make sure that it enforces."""
        site = _Site(rig, Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=rig.directory)))
        site.directory.chmod(0o755)  # the engine gives its privileges away
        self.gateway = LabGateway(site, self._policy, lane=self._lane)  # type: ignore[arg-type]
        with self.gateway.settings.open("a") as file:
            file.write(self._settings)
        self.gateway.start()
        enforce = {"stage": "enforce", "force": True, "reason": "measuring"}
        status, stages = self.gateway.api("PUT", "/v1/stages", enforce)
        if status != 200:
            raise RuntimeError(f"{self.name}: {status} {stages}")

    def judge_pids(self) -> Sequence[int]:
        """Return the engine's process; keeper and control judge nothing."""
        return self.gateway.child_pids("gateway.engine") if self.gateway else []

    def counted(self, rig: Rig) -> int:  # noqa: ARG002
        """The queue is the witness."""
        return 0

    def stop(self) -> None:
        """Stop it in order; its rules stay until the rig is reset."""
        if self.gateway is not None:
            self.gateway.stop()
            self.gateway = None


_NOWHERE: Final = Path("settings of the bench")
assert GATEWAY == "gw"  # the starter's word for the same namespace
