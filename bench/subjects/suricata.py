"""suricata: inline in the same queue, with pass rules for exactly the conduits that conduitd judges by.

In: a rig, and `suricata` in PATH (Debian 12: bookworm-backports). Out: one worker thread that reads queue 0, sends its
verdicts in batches and drops what no pass rule names. Set up in its own favour: no logs, no statistics, no application
layers, checksums not verified; a passed flow is not looked at again; a queue four times as long as conduitd's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.rig import GATEWAY, JUDGE_CPU
from bench.subjects.one_process import OneProcess
from bench.subjects.policy import policy_yaml
from deploy.lab import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.rig import Rig

PROGRAM: Final = "suricata"
STARTED: Final = "Engine started"
STARTS_WITHIN_S: Final = 60.0
KNOWN_SERVICES: Final = {"modbus": {"protocol": "tcp", "ports": [502]}}  # rules/services.yaml
PENDING: Final = 1024  # Suricata's own default; its queue is four times as long (source-nfq.c, NFQ_BURST_FACTOR)
CONFIGURATION: Final = """\
%YAML 1.1
---
vars: {{address-groups: {{HOME_NET: any, EXTERNAL_NET: any}}, port-groups: {{}}}}
classification-file: {directory}/empty.config
reference-config-file: {directory}/empty.config
stats: {{enabled: no}}
outputs: []
logging: {{default-log-level: notice, outputs: [{{console: {{enabled: yes}}}}]}}
nfq: {{mode: accept, batchcount: 20, fail-open: yes}}
max-pending-packets: {pending}
runmode: workers
threading:
  set-cpu-affinity: yes
  cpu-affinity:
    - management-cpu-set: {{cpu: [{cpu}]}}
    - worker-cpu-set: {{cpu: [{cpu}], mode: exclusive, threads: 1}}
flow: {{managers: 1, recyclers: 1}}
stream: {{checksum-validation: no, inline: yes}}
app-layer: {{protocols: {{{protocols}}}}}
"""
# Every parser that Suricata 7 would otherwise look for in the payload.
PROTOCOLS: Final = (
    *(
        "telnet",
        "rfb",
        "mqtt",
        "krb5",
        "bittorrent-dht",
        "snmp",
        "ike",
        "pgsql",
        "dcerpc",
        "ftp",
        "rdp",
        "ssh",
        "http2",
    ),
    *("smtp", "imap", "smb", "nfs", "tftp", "http", "modbus", "dnp3", "enip", "ntp", "quic", "dhcp", "sip", "tls"),
)


class Suricata(OneProcess):
    """One Suricata process in inline mode."""

    ends_within_s = 30.0  # it tidies its flows before

    def __init__(self) -> None:
        super().__init__("suricata")
        self._starts = 0
        self._log = Path()

    def available(self) -> str | None:
        """Return why it cannot run: not installed, or built without NFQUEUE."""
        path = shutil.which(PROGRAM)
        if path is None:
            return f"no {PROGRAM} in PATH (Debian 12 has it in bookworm-backports)"
        built = subprocess.run([path, "--build-info"], capture_output=True, text=True, check=False).stdout
        return None if " NFQ " in built else f"{path} was built without NFQUEUE"

    def launch(self, rig: Rig) -> subprocess.Popen[bytes]:
        """Write its configuration and start it with that."""
        self._starts += 1
        directory = rig.directory / f"{self.name}-{self._starts}"
        directory.mkdir()
        self._log = directory / "log"
        with self._log.open("wb") as out:
            argv = [PROGRAM, "-q", "0", "-k", "none", "-l", str(directory), *written(directory)]
            return rig.start(GATEWAY, argv, cpu=JUDGE_CPU, stdout=out, stderr=out)

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until its log says that its engine has started."""

        def ready() -> bool:
            text = self._log.read_text()
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {text[-2000:]}")
            return STARTED in text

        processes.wait_for("suricata to start", ready, STARTS_WITHIN_S)


def written(directory: Path) -> list[str]:
    """Write configuration and rules; return the options that name them."""
    off = ", ".join(f"{protocol}: {{enabled: no}}" for protocol in PROTOCOLS)
    # dns and doh are looked for apart over each transport.
    off += ", dns: {tcp: {enabled: no}, udp: {enabled: no}}"
    text = CONFIGURATION.format(directory=directory, cpu=JUDGE_CPU, pending=PENDING, protocols=off)
    (directory / "empty.config").touch()
    (directory / "suricata.yaml").write_text(text)
    (directory / "pass.rules").write_text("".join(f"{rule}\n" for rule in rules(json.loads(policy_yaml()))))
    return ["-c", str(directory / "suricata.yaml"), "-S", str(directory / "pass.rules")]


def rules(policy: dict[str, Any]) -> Iterator[str]:
    """Yield a pass rule for each conduit and service of a policy, and at last the drop of everything else."""
    services = {**KNOWN_SERVICES, **policy["services"]}
    permits = [(conduit, services[name]) for conduit in policy["conduits"].values() for name in conduit["services"]]
    for number, (conduit, service) in enumerate(permits, 1):
        source, destination = (_addresses(policy, conduit[end]["asset"]) for end in ("from", "to"))
        ports = ",".join(map(str, service["ports"]))
        yield f"pass {service['protocol']} {source} any -> {destination} [{ports}] (sid:{number};)"
    yield f"drop ip any any -> any any (sid:{len(permits) + 1};)"


def _addresses(policy: dict[str, Any], named: str | list[str]) -> str:
    assets = [named] if isinstance(named, str) else named
    return f"[{','.join(ip for asset in assets for ip in policy['assets'][asset]['ips'])}]"
