"""A workshop saves work and changes nothing: after any row of edits its results are those of a fresh compilation."""

from __future__ import annotations

import csv
import io
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.bundle import Bundle
from rules.compile import compile_bundle
from rules.image import build_image
from rules.workshop import Workshop
from tests.support.compiling import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

Site = dict[str, Any]
ZONES = ("a", "b", "c")
ASSETS = ("a1", "a2", "a3", "b1", "b2", "c1", "lost")
ROLES = ("plc", "hmi", "ghost")
SERVICES = ("modbus", "polled", "ssh", "ping", "goose", "nonsense")
PREFIXES = ("10.1.0.0/25", "10.2.0.0/16", "10.1.0.1/32", "10.0.0.0/8", "10.9.0.0/24")
COLUMNS = ("zone", "macs", "ips", "roles", "behind")
BASE: Site = {
    "site": {"name": "works", "ceiling": "enforce"},
    "zones": {
        "a": {"kind": "control", "ports": ["p0"], "prefixes": ["10.1.0.0/24"]},
        "b": {"kind": "supervisory", "ports": ["p1"], "vlans": [10], "prefixes": ["10.2.0.0/24"]},
        "c": {"kind": "dmz", "ports": ["p1"], "vlans": [20], "address_space": "other", "prefixes": ["10.1.0.0/24"]},
    },
    "assets": {
        "a1": {"zone": "a", "macs": "02:00:00:00:00:01", "ips": "10.1.0.1", "roles": "plc"},
        "a2": {"zone": "a", "macs": "02:00:00:00:00:02", "ips": "10.1.0.2 10.1.0.130", "roles": "plc hmi"},
        "a3": {"zone": "a", "ips": "10.1.0.3", "behind": "a1"},
        "b1": {"zone": "b", "macs": "02:00:00:00:00:11", "ips": "10.2.0.1", "roles": "hmi"},
        "b2": {"zone": "b", "ips": "10.2.0.200"},
        "c1": {"zone": "c", "macs": "02:00:00:00:00:21", "ips": "10.1.0.1", "roles": "hmi"},
    },
    "services": {
        "ping": {"protocol": "icmp", "types": [8]},
        "polled": {"protocol": "tcp", "ports": [1502], "inspect": "modbus"},
    },
    "conduits": {
        "poll": {"from": {"role": "hmi"}, "to": {"zone": "a", "role": "plc"}, "services": ["modbus"]},
        "ask": {"from": {"zone": "b"}, "to": {"zone": "a"}, "services": ["polled"], "operations": ["read"]},
    },
    "denials": [{"from": "a", "to": "*", "stage": "alert"}],
    "lines": 0,
    "roles": [],
}
SELECTORS = st.one_of(
    st.fixed_dictionaries({"zone": st.sampled_from(ZONES)}, optional={"role": st.sampled_from(ROLES)}),
    st.fixed_dictionaries({"asset": st.sampled_from(ASSETS)}),
    st.fixed_dictionaries({"role": st.lists(st.sampled_from(ROLES), min_size=1, unique=True)}),
    st.fixed_dictionaries({"prefix": st.sampled_from(PREFIXES)}, optional={"zone": st.sampled_from(ZONES)}),
)
CONDUITS = st.fixed_dictionaries(
    {"from": SELECTORS, "to": SELECTORS, "services": st.lists(st.sampled_from(SERVICES), min_size=1, unique=True)},
    optional={
        "owner": st.just("us"),
        "enabled": st.booleans(),
        "via": st.sampled_from(ASSETS),
        "operations": st.sampled_from((["read"], ["read", "write"])),
        "constraints": st.sampled_from(
            ({"modbus": {"address": [1, "3-4"]}}, {"modbus": [{"unit": 1, "step": 5}, {"rate": "1/s"}]}, {"cip": {}})
        ),
        "messages": st.just("full"),
    },
)


POLLED = st.fixed_dictionaries(
    {"protocol": st.just("tcp"), "ports": st.sampled_from(([1502], [1502, 1503]))},
    optional={"inspect": st.sampled_from(("modbus", "modbus-rtu", "s7comm"))},
)


def _set(section: str, name: str, entry: Any) -> Callable[[Site], None]:
    return lambda site: site[section].__setitem__(name, entry)


def _drop(section: str, name: str) -> Callable[[Site], None]:
    return lambda site: site[section].pop(name, None)


def _cell(name: str, key: str, text: str) -> Callable[[Site], None]:
    return lambda site: site["assets"].get(name, {}).__setitem__(key, text)


def _top(key: str, value: Any) -> Callable[[Site], None]:
    return lambda site: site.__setitem__(key, value)


EDITS = st.one_of(
    st.builds(_set, st.just("conduits"), st.sampled_from(("poll", "x", "y", "z")), CONDUITS),
    st.builds(_drop, st.just("conduits"), st.sampled_from(("poll", "x", "y", "z"))),
    st.builds(_cell, st.sampled_from(ASSETS), st.just("roles"), st.sampled_from(("", "plc", "hmi plc", "other"))),
    st.builds(_cell, st.sampled_from(ASSETS), st.just("ips"), st.sampled_from(("", "10.1.0.1", "10.2.0.9", "10.1"))),
    st.builds(_cell, st.sampled_from(ASSETS), st.just("zone"), st.sampled_from((*ZONES, "nowhere"))),
    st.builds(_drop, st.just("assets"), st.sampled_from(ASSETS)),
    st.builds(_drop, st.just("zones"), st.sampled_from(ZONES)),
    st.builds(_top, st.just("lines"), st.integers(0, 3)),
    st.builds(_top, st.just("roles"), st.sampled_from(([], ["plc"]))),
    st.builds(_set, st.just("services"), st.just("polled"), POLLED),
    st.builds(_top, st.just("denials"), st.sampled_from(([], [{"from": "*", "to": "b", "refuse": "reset"}]))),
)


def bundle_of(site: Site) -> Bundle:
    """Return the site's files; `lines` moves everything in the text down."""
    sheet = io.StringIO()
    rows = csv.writer(sheet)
    rows.writerow(("name", *COLUMNS))
    rows.writerows((name, *(asset.get(key, "") for key in COLUMNS)) for name, asset in site["assets"].items())
    lines = ["version: 1", *["# more"] * site["lines"]]
    lines += [f"{key}: {json.dumps(site[key])}" for key in ("site", "services", "denials")]
    for section in ("zones", "conduits"):
        lines += [f"{section}:", *(f"  {name}: {json.dumps(entry)}" for name, entry in site[section].items())]
    lines.append(f"inventory: {json.dumps([{'csv': 'assets.csv', 'roles': site['roles']}])}")
    return Bundle("site.yaml", "\n".join(lines) + "\n", {"assets.csv": sheet.getvalue().encode()})


@settings(max_examples=150, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=8))
def test_edits_compile_as_they_would_afresh(edits: list[Callable[[Site], None]]) -> None:
    """Policies, records, problems with their lines, and images are equal, whatever was refused in between."""
    site = deepcopy(BASE)
    workshop = Workshop()
    slots: dict[str, int] = {}
    compiled = 0
    for edit in (lambda _: None, *edits):
        edit(site)
        bundle = bundle_of(site)
        kept, fresh = outcome(bundle, slots, workshop), outcome(bundle, slots, None)
        assert kept == fresh
        if fresh[0] == "compiled":
            compiled += 1
            slots = {conduit.name: conduit.slot for conduit in fresh[3].conduits}
    assert compiled >= 1


def test_what_reads_a_service_is_no_conduit_s_to_remember() -> None:
    """A conduit that is known from the last policy has another digest when a service of it is read otherwise."""
    site = deepcopy(BASE)
    workshop = Workshop()
    found = []
    for reader in ("modbus", "modbus-rtu", "s7comm", "modbus"):
        site["services"]["polled"]["inspect"] = reader
        bundle = bundle_of(site)
        kept = compile_bundle(bundle, workshop=workshop)
        found.append((kept.lowered.digest, build_image(kept.lowered, 7, workshop.image), kept.policy.conduits["ask"]))
        fresh = compile_bundle(bundle).lowered
        assert found[-1][:2] == (fresh.digest, build_image(fresh, 7))
    assert all(conduit is found[0][2] for *_, conduit in found), "it was read once"
    assert len({digest for digest, *_ in found}) == len({image for _, image, _ in found}) == 3
