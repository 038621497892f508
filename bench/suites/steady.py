"""steady: 60 s of mixed traffic at 20,000 packets/s, all judged: nothing lost, nothing reordered, every count closes.

Subject: conduitd in enforce. Several thousand flows of UDP, TCP and ICMP echo in frames of 78 to 1,514 bytes, a sixth
of them forbidden: other ports, spoofed MACs, an unknown source. Metrics in packets: lost, reordered, duplicated of what
is permitted; forbidden_arrived; unjudged, what fell to `static` or was lost in the queue; and unaccounted, the sum of
what is missing or too much in: sent = seen in front of the queue = judged + lane + static + lost; permitted = accepted
= received; forbidden = dropped. packets_per_s is what the generator really sent.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from bench import traffic
from bench.results import Result
from bench.rig import NORTH, SOUTH, Host, Rig
from bench.siege import Claimed
from bench.subjects.conduitd import ENGINE_CPUS, Conduitd
from bench.subjects.policy import policy_yaml
from bench.subjects.subject import standing
from deploy.lab.processes import wait_for

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.traffic import Flow

SUITE: Final = "steady"
SUBJECT: Final = "conduitd"
RATE: Final = 20_500.0  # asked for; a generator that is held up slips by 1 or 2 %, and 20,000 have to remain
SECONDS, QUICK_S = 60.0, 5.0
TCP_PORTS: Final = (5300, 5301, 5302, 5303)
SIZES: Final = (78, 78, 78, 142, 270, 590, 1514)  # small ones prevail, as polls do
UDP_FLOWS_EACH, TCP_FLOWS_EACH, ECHO_FLOWS_EACH = 120, 60, 4  # of every pair of hosts
FORBIDDEN_EACH: Final = 12  # of every pair of hosts and kind: a sixth of all
ACCOUNT_WITHIN_S: Final = 10.0
NOBODY: Final = Claimed("10.99.0.1", "02:00:0a:63:00:01")


def run(plan: Plan) -> list[Result]:
    """Measure; each run starts a daemon of its own."""
    if not plan.chosen((SUBJECT,)):
        return []
    found: dict[str, list[float]] = defaultdict(list)
    with Rig() as rig:
        for _ in range(plan.runs):
            figures = measure(plan, rig, RATE, QUICK_S if plan.quick else SECONDS)
            for metric, value in figures.items():
                found[metric].append(value)
    return [Result.of(SUITE, SUBJECT, metric, "packets", runs) for metric, runs in found.items()]


def measure(plan: Plan, rig: Rig, rate: float, seconds: float) -> dict[str, float]:
    """Return the metrics of one run."""
    permitted, forbidden = permitted_flows(), forbidden_flows()
    flows, count = permitted + forbidden, int(rate * seconds)
    subject = Conduitd(SUBJECT, ENGINE_CPUS, policy=mixed_policy())
    with standing(subject, rig):
        before = account(subject)
        with traffic.Sink(rig, flows, settle_ms=500) as sink:
            said = traffic.send(rig, flows, rate, count, run=sink.run)
            trial = sink.trial(rate, said)
        after = account(subject)
    if trial.ring_dropped:
        raise RuntimeError(f"the sink itself lost {trial.ring_dropped} frames: they say nothing")
    counted = {name: after[name] - before[name] for name in after}
    good, bad = trial.by_flow[: len(permitted)], trial.by_flow[len(permitted) :]
    may_pass, may_not = sum(flow[0] for flow in good), sum(flow[0] for flow in bad)
    received = sum(flow[1] for flow in good)
    accepted = counted["judged_accepted"] + counted["lane"] + counted["static_accepted"]
    gaps = {
        "sent - seen": trial.sent - counted["frames"],
        "seen - judged - lane - static - lost": counted["frames"]
        - sum(counted[name] for name in ("judged_accepted", "dropped", "lane", "static", "queue_lost")),
        "permitted - accepted": may_pass - accepted,
        "accepted - received": accepted - received,
        "forbidden - dropped": may_not - counted["dropped"] - counted["static_dropped"],
    }
    plan.say(
        f"{trial.sent} frames of {len(flows)} flows at {trial.achieved:.0f}/s: {may_pass} permitted, "
        f"{received} received; {may_not} forbidden, {counted['dropped']} dropped; account {counted}; differences {gaps}"
    )
    return {
        "lost": may_pass - received,
        "reordered": sum(flow[2] for flow in good),
        "duplicated": sum(flow[3] for flow in good),
        "forbidden_arrived": sum(flow[1] for flow in bad),
        "unjudged": counted["static"] + counted["lane"] + counted["queue_lost"],
        "unaccounted": sum(abs(gap) for gap in gaps.values()),
        "forbidden_sent": may_not,
        "packets_per_s": trial.achieved,
    }


def mixed_policy() -> str:
    """Return the bench's policy, with TCP and echo permitted between the same hosts."""
    policy = json.loads(policy_yaml())
    policy["services"]["bench-segments"] = {"protocol": "tcp", "ports": list(TCP_PORTS)}
    policy["conduits"]["mixed"] = policy["conduits"]["polls"] | {"services": ["bench-segments", "echo"]}
    return json.dumps(policy)


def permitted_flows() -> list[Flow]:
    """Return what the policy permits, many conversations of every protocol."""
    sizes = itertools.cycle(SIZES)
    found = []
    for near, far in pairs():
        ports = itertools.cycle(traffic.POLL_PORTS)
        found += [traffic.Flow(near, far, 41000 + n, next(ports), "udp", next(sizes)) for n in range(UDP_FLOWS_EACH)]
        ports = itertools.cycle(TCP_PORTS)
        found += [traffic.Flow(near, far, 42000 + n, next(ports), "tcp", next(sizes)) for n in range(TCP_FLOWS_EACH)]
        found += [traffic.Flow(near, far, 43000 + n, 0, "icmp", next(sizes)) for n in range(ECHO_FLOWS_EACH)]
    return found


def forbidden_flows() -> list[Flow]:
    """Return what must not pass: a service that nobody has, a MAC that is another's, an address that is nobody's."""
    found = []
    for near, far in pairs():
        spoofed = Claimed(near.ip, Host(NORTH, near.number + 10).mac)
        for n in range(FORBIDDEN_EACH):
            found += [
                traffic.Flow(near, far, 44000 + n, traffic.FORBIDDEN_PORT, "udp"),
                traffic.Flow(near, far, 44000 + n, traffic.FORBIDDEN_PORT, "tcp", 142),
                traffic.Flow(spoofed, far, 45000 + n, traffic.POLL_PORTS[0], "udp"),
            ]
        found.append(traffic.Flow(NOBODY, far, 46000 + near.number, traffic.POLL_PORTS[0], "udp"))
    return found


def pairs() -> list[tuple[Host, Host]]:
    """Return who talks to whom."""
    ends = itertools.product(traffic.HOSTS_A_SIDE, traffic.HOSTS_A_SIDE)
    return [(Host(NORTH, near), Host(SOUTH, far)) for near, far in ends]


def account(subject: Conduitd) -> dict[str, int]:
    """Return the gateway's account of every frame, once nothing is under way."""

    def closed() -> Any:
        assert subject.gateway is not None
        status, found = subject.gateway.api("GET", "/v1/counters")
        return found if status == 200 and found["waiting"] == 0 else None

    found = wait_for("the queue to be empty", closed, ACCOUNT_WITHIN_S)
    names = ("judged", "judged_accepted", "dropped", "lane", "static", "static_accepted", "static_dropped")
    return {"frames": found["frames_before_queue"], "queue_lost": found["lost"]} | {name: found[name] for name in names}
