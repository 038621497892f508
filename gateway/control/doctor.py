"""`doctor`: what this machine can do, which interception was chosen and why, what is degraded.

In: the kernel's capabilities, and (with a daemon) the live state. Out: findings in plain words, each with what to do.
Works without a daemon: then only the machine is examined. Must never change anything.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Form
from gateway.control.api.answers import Finding
from gateway.control.engine_threads import thread_findings
from gateway.control.pending import describe
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.plane import ControlPlane

SYSCTLS: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
_BRIDGE_SYSCTL_DIR: Final = Path("/proc/sys/net/bridge")
_CLOCK_FLOOR: Final = 1_735_689_600  # 2025-01-01: a clock before this was never set

BRNF_BLIND: Final = (
    "br_netfilter shows the engine IPv4 and IPv6 without a VLAN tag only. ARP, VLAN-tagged frames, GOOSE, PROFINET and "
    "every other EtherType are judged by the kernel's static rules alone: no event per frame, no destination MAC"
)


def machine_findings(capabilities: Mapping[str, Any], form: Form | None) -> list[Finding]:
    """Return what the probe says about this kernel."""
    findings = []
    if capabilities.get("nft_queue"):
        findings.append(Finding(level="ok", topic="nft_queue", text="the kernel can queue from nftables"))
    else:
        text = "the kernel lacks nft_queue (CONFIG_NFT_QUEUE): the native `bridge` interception is not possible"
        hint = "a stock Debian 12 kernel has it; until then `brnf` is used"
        findings.append(Finding(level="warning", topic="nft_queue", text=text, hint=hint))
    findings.append(_form_finding(capabilities, form))
    if form is Form.BRNF:
        hint = "nothing to do, unless these frames need events; then use a kernel with nft_queue"
        findings.append(Finding(level="warning", topic="brnf", text=BRNF_BLIND, hint=hint))
    findings += [Finding(level="info", topic="kernel", text=str(text)) for text in capabilities.get("degraded", ())]
    return findings


def _form_finding(capabilities: Mapping[str, Any], form: Form | None) -> Finding:
    if form is None:
        text = "neither interception form works here: frames cannot be brought to the engine"
        hint = "needs root with CAP_NET_ADMIN, nf_tables, nfnetlink_queue and, for brnf, br_netfilter"
        return Finding(level="bad", topic="interception", text=text, hint=hint)
    why = (
        "every frame is seen, also ARP, VLANs and layer-2 protocols" if form is Form.BRIDGE else "nft_queue is missing"
    )
    if form is Form.BRNF and capabilities.get("nft_queue"):
        why = "the settings ask for it"
    return Finding(level="ok", topic="interception", text=f"uses the form `{form.name.lower()}`: {why}")


def form_of(capabilities: Mapping[str, Any]) -> Form | None:
    """Return the form the probe recommends."""
    name = str(capabilities.get("form")).upper()
    return Form[name] if name in Form.__members__ else None


def host_findings(form: Form | None, *, running: bool = True) -> list[Finding]:
    """Return what sysctls (set while a gateway runs in this namespace) and clock look like."""
    findings = []
    for name in SYSCTLS if running and form is Form.BRNF else ():
        try:
            on = (_BRIDGE_SYSCTL_DIR / name).read_text(encoding="ascii").strip() == "1"
        except OSError:
            on = False
        level, text = (
            ("ok", f"net.bridge.{name} = 1") if on else ("bad", f"net.bridge.{name} is not 1: IP frames pass unqueued")
        )
        findings.append(
            Finding(level=level, topic="sysctl", text=text, hint="" if on else f"sysctl -w net.bridge.{name}=1")
        )
    set_once = time.time() > _CLOCK_FLOOR
    text = "the clock is set" if set_once else "the clock was never set: events and expiry times are wrong"
    findings.append(
        Finding(level="ok" if set_once else "bad", topic="clock", text=text, hint="" if set_once else "set up NTP")
    )
    return findings


async def live_findings(plane: ControlPlane) -> list[Finding]:
    """Return what the running gateway looks like."""
    core = plane.core
    engine = core.keeper.engine
    alive = engine.state == "judging"
    text = f"engine {engine.state}, pid {engine.pid}, {engine.restarts} restarts"
    hint = (
        "" if alive else "frames are judged by the kernel's static rules; the keeper restarts the engine; see its log"
    )
    findings = [Finding(level="ok" if alive else "bad", topic="engine", text=text, hint=hint)]
    if alive and engine.pid is not None:
        findings += await asyncio.to_thread(thread_findings, core.settings, engine.pid)
    if engine.restarts:
        text = f"the engine was restarted {engine.restarts} times"
        findings.append(Finding(level="warning", topic="engine", text=text, hint="the log of conduitd says why"))
    findings += _pending_findings(plane)
    findings.append(_lane_finding(plane))
    findings += [Finding(level="bad", topic=part, text=text) for part, text in sorted(core.trouble.items())]
    if plane.pump.lost():
        text = f"{plane.pump.lost()} events found their ring full"
        findings.append(Finding(level="warning", topic="events", text=text, hint="log less, or follow the counters"))
    findings += await _boundary_findings(plane)
    return findings


def _pending_findings(plane: ControlPlane) -> list[Finding]:
    pending = plane.core.pending
    if pending.record is None:
        return []
    text = f"{describe(pending.record)} goes back by itself in {pending.left_s():.0f} s unless it is confirmed"
    hint = "`conduitctl policy confirm` lets it stay, `conduitctl policy rollback` takes it back now"
    return [Finding(level="warning", topic="pending", text=text, hint=hint)]


def _lane_finding(plane: ControlPlane) -> Finding:
    mode, possible = plane.core.settings.lane.mode, bool(plane.capabilities.get("fast_lane"))
    if mode == "off":
        can = "" if possible else ", and this kernel could not have one"
        return Finding(
            level="info", topic="fast_lane", text=f"off by the settings (lane.mode): every frame is judged{can}"
        )
    if not possible:
        why = plane.capabilities.get("reasons", {}).get("fast_lane", "this kernel was not probed")
        hint = "every frame is judged; a stock Debian 12 kernel has what it takes"
        return Finding(
            level="warning", topic="fast_lane", text=f"off, though the settings ask for it: {why}", hint=hint
        )
    if plane.core.current is None or not plane.core.current.state.lane_mark:
        return Finding(level="warning", topic="fast_lane", text="closed now: every frame is judged")
    text = "on: established flows of conduits without inspection, limits, `log: all`, `fail: closed` stay in the kernel"
    return Finding(level="ok", topic="fast_lane", text=text)


async def _boundary_findings(plane: ControlPlane) -> list[Finding]:
    core = plane.core
    if core.current is None:
        hint = "`conduitctl policy apply FILE`"
        return [Finding(level="bad", topic="policy", text="no policy is in force: the boundary is closed", hint=hint)]
    policy = core.current
    findings = []
    loading = core.static.loading
    try:
        in_sync = not loading and await asyncio.to_thread(core.kernel.static_in_sync, policy.stages_in_force())
        foreign = await asyncio.to_thread(core.kernel.foreign_ports, policy.port_names)
        present = await asyncio.to_thread(core.kernel.ifindexes, policy.port_names)
    except (GatewayError, OSError) as error:
        return [Finding(level="bad", topic="kernel", text=f"cannot be read: {error}")]
    level, text = ("ok", "static is the policy's") if in_sync else ("bad", "static differs from the policy in force")
    hint = "" if in_sync else "apply the policy again; somebody changed table `bridge conduit`"
    if loading:
        level, text, hint = (
            "warning",
            "static is being loaded",
            "until then frames that nobody judges get the policy before",
        )
    findings.append(Finding(level=level, topic="static", text=text, hint=hint))
    for name in foreign:
        text = f"{name} is in the bridge and in no zone"
        findings.append(Finding(level="warning", topic="ports", text=text, hint="its frames belong to zone (unknown)"))
    for name in sorted(set(policy.port_names) - set(present)):
        text = f"port {name} does not exist"
        findings.append(
            Finding(level="bad", topic="ports", text=text, hint="it joins the bridge as soon as it appears")
        )
    return findings
