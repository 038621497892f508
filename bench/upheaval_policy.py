"""Policies of the plant under upheaval: all let the stations of `bench.long_polls` read, and say so in many ways.

In: what is to differ. Out: a policy's text. Unless it is asked for, nothing in them permits what `bench.intruders` ask
for, with or without an engine: every conduit between the two fails closed.
"""

from __future__ import annotations

from typing import Any, Final

POLICY: Final = """\
version: 1
site: {{name: upheaval, ceiling: enforce, default_stage: enforce}}
zones:
  engineering: {{kind: engineering, ports: [eng0], prefixes: [10.20.30.0/24]}}
  control: {{kind: control, ports: [ctl0], prefixes: [10.20.50.0/24]}}
assets:
  eng-laptop: {{zone: engineering, macs: ["02:00:0a:14:1e:0a"], ips: [10.20.30.10]}}
  plc-1: {{zone: control, macs: ["02:00:0a:14:32:0a"], ips: [10.20.50.10]}}
{windows}conduits:
{before}  station-reads:
    from: {{asset: eng-laptop}}
    to: {{asset: plc-1}}
    services: [modbus, s7, enip]
    fail: {fail}
    owner: tests
    reason: {reason}
{inspection}{after}denials:
  - {{from: "*", to: "*", stage: enforce}}
"""
OTHER: Final = """\
  also-{number}:
    {{from: {{zone: engineering}}, to: {{zone: control}}, services: [modbus], operations: [{operations}], fail: closed,
     owner: tests, reason: one more}}
"""
READ: Final = "    operations: [read, diagnose]\n"
# What the stations' readings match, said in several ways; nothing else.
CLAUSES: Final = (
    READ,
    """\
    operations: [read, diagnose]
    constraints:
      modbus: [{operation: read}]
      s7comm: [{operation: read}, {operation: diagnose}]
      cip: [{operation: read}, {operation: diagnose}]
""",
    """\
    operations: [diagnose, read]
    constraints:
      modbus: [{function: [4, 3]}]
      cip: [{operation: diagnose}, {operation: read}]
      s7comm: [{operation: read}]
""",
    READ + "    messages: sampled\n    every: 1000\n",
)


def policy(
    inspection: str = READ,
    *,
    fail: str = "closed",
    refuse: str = "reset",
    before: str = "",
    after: str = "",
    windows: str = "",
    reason: str = "upheaval",
) -> str:
    """Return a policy's text. inspection: the conduit's lines that look inside, "" for none."""
    if inspection:
        inspection += f"    refuse: {refuse}\n"
    return POLICY.format(inspection=inspection, fail=fail, before=before, after=after, windows=windows, reason=reason)


def varied(turn: int, **terms: Any) -> str:
    """Return one of many policies that all permit the stations' readings and nothing else."""
    other = OTHER.format(number=turn % 7, operations="read" if turn % 2 else "read, diagnose")
    places = ({}, {"before": other}, {"after": other})[turn % 3]
    return policy(CLAUSES[turn % len(CLAUSES)], reason=f"turn {turn}", **places, **terms)
