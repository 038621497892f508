"""The subjects of the traffic suites, in the order of the results. Names are fixed: the results are read by them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from bench.subjects.c_accept import CAccept, CAcceptRuled
from bench.subjects.conduitd import ENGINE_CPUS, POLLING, Conduitd
from bench.subjects.kernel import NftStateful, Nobody
from bench.subjects.nfq import Netfilterqueue
from bench.subjects.subject import Subject, Witness

if TYPE_CHECKING:
    from bench.plan import Plan

ORDINARY = (
    *("none", "nft-stateful", "c-accept", "c-accept-batch"),
    *("netfilterqueue-trivial", "netfilterqueue-python", "netfilterqueue-scapy"),
    *("conduitd", "conduitd-polling", "conduitd-fastlane", "suricata"),
)


def subjects() -> dict[str, Subject]:
    """Return every subject by name; those that are not ORDINARY run only when they are asked for by name."""
    found: list[Subject] = [
        Nobody(),
        NftStateful(),
        CAccept("c-accept", "single"),
        CAccept("c-accept-batch", "batch"),
        *(Netfilterqueue(callback) for callback in ("trivial", "python", "scapy")),
        Conduitd("conduitd"),
        Conduitd("conduitd-polling", POLLING),
        Conduitd("conduitd-fastlane", ENGINE_CPUS, lane="auto", witness=Witness.LANE),
        CAccept("c-accept-spin", "batch", "spin"),
        CAcceptRuled("c-accept-ruled", "batch"),
        Conduitd("conduitd-logging", log="flow"),
    ]
    if find_spec("bench.subjects.suricata") is not None:
        from bench.subjects.suricata import Suricata  # noqa: PLC0415 - written apart from the others

        found.append(Suricata())
    return {subject.name: subject for subject in found}


def chosen(plan: Plan, among: tuple[str, ...] = ORDINARY) -> dict[str, Subject]:
    """Return the subjects of a suite that this run includes and this machine can run; say why others cannot."""
    every = subjects()
    names = [name for name in (plan.subjects or among) if name in every and (name in among or name not in ORDINARY)]
    found = {}
    for name in names:
        reason = every[name].available()
        if reason is None:
            found[name] = every[name]
        else:
            plan.say(f"  {name}: left out: {reason}")
    return found
