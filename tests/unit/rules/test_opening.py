"""When and by whom a conduit is opened: jump hosts, windows, proofs, groups of services, and the digest of it."""

from __future__ import annotations

import pytest

from rules.compile import compile_text
from rules.lower import lower
from rules.problems import PolicyError
from rules.records import ServiceKind
from rules.services import known_services, service_ranges
from tests.unit.rules.building import permitted

HEAD = """
version: 1
site: {name: works, timezone: Europe/Berlin}
zones:
  offices: {kind: engineering, ports: [p0], prefixes: [10.1.0.0/16]}
  dmz: {kind: dmz, ports: [p1], prefixes: [10.2.0.0/16]}
  plant: {kind: control, ports: [p2], prefixes: [10.3.0.0/16]}
assets:
  jump: {zone: dmz, ips: [10.2.0.9]}
  plc: {zone: plant, ips: [10.3.0.1]}
services:
  plain: {protocol: tcp, ports: [80]}
  web: {group: [plain, https]}
  maintenance: {group: [web, ssh, web]}
windows:
  nights: {weekly: {days: [mon, tue], from: "22:00", to: "06:00"}, description: quiet}
"""
TO_JUMP = "  there: {from: {zone: offices}, to: {asset: jump}, services: ssh, owner: me, reason: it}\n"
CONDUIT = "  c: {from: {zone: offices}, to: {asset: plc}, services: [maintenance], owner: me, reason: it"


def text(more: str = "", others: str = TO_JUMP) -> str:
    """Return a policy whose conduit c has something more."""
    return f"{HEAD}conduits:\n{others}{CONDUIT}{more}}}\n"


def warned(written: str) -> set[str]:
    """Return the codes of a policy's warnings."""
    return {problem.code for problem in compile_text(written).warnings}


def test_by_way_of_a_jump_host() -> None:
    """What passes comes from the jump host; who is named in `from` reaches nothing by this conduit."""
    lowered = compile_text(text(", via: jump")).lowered
    assert permitted(lowered, "10.2.0.9", "10.3.0.1", "ssh") == ["c"]
    assert permitted(lowered, "10.1.0.5", "10.3.0.1", "ssh") == []
    assert permitted(lowered, "10.1.0.5", "10.2.0.9", "ssh") == ["there"]


def test_a_jump_host_that_nobody_reaches_is_warned_of() -> None:
    """A way must lead there from every zone that `from` reaches, unless it is the jump host's own."""
    assert "POL249" not in warned(text(", via: jump"))
    assert "POL249" in warned(text(", via: jump", others=""))
    assert "POL249" not in warned(text(", via: jump", others="").replace("{zone: offices}", "{zone: dmz}"))
    assert "POL249" in warned(
        text(", via: jump").replace("c: {from: {zone: offices}", "c: {from: {zone: [offices, plant]}")
    )


def test_windows_and_proofs_begin_closed() -> None:
    """Only control opens such a conduit, and what nothing can prove is said to stay closed."""

    def is_open(more: str) -> bool:
        return next(record.open for record in compile_text(text(more)).lowered.conduits if record.name == "c")

    assert is_open("")
    assert not is_open(", windows: nights")
    assert not is_open(", requires: session")
    assert not is_open(", enabled: false")
    assert "POL248" in warned(text(", requires: session"))
    assert "POL248" not in warned(text(", windows: nights"))


def test_groups_name_every_number_of_what_they_name() -> None:
    """Groups of groups resolve, each number once; a service that only a group carries is not unused."""
    compiled = compile_text(text())
    known = known_services(compiled.policy)
    assert service_ranges(known["maintenance"]) == {ServiceKind.TCP: [(22, 22), (80, 80), (443, 443)]}
    assert "POL207" not in {problem.code for problem in compiled.warnings}
    assert permitted(compiled.lowered, "10.1.0.5", "10.3.0.1", "maintenance") == ["c"]


@pytest.mark.parametrize(
    "more", [", operations: [read]", ", constraints: {modbus: {function: [3]}}", ", messages: full"]
)
def test_what_is_not_inspected_is_refused(more: str) -> None:
    """A conduit that promises more than the engine looks at never comes into force."""
    with pytest.raises(PolicyError) as caught:
        compile_text(text(more))
    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == ("POL040", text(more).count("\n"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("", ", windows: nights", False),
        ("", ", requires: session", False),
        (", requires: session", ", requires: attestation", False),
        ("", ", via: jump", False),
        ("", ", review: 2027-01-01, risk: R1, sl_t: 3, expires: 2028-01-01", True),
    ],
)
def test_the_digest_covers_what_is_in_force(one: str, other: str, same: bool) -> None:
    """When and by whom it opens counts; who answers for it does not."""
    assert (compile_text(text(one)).lowered.digest == compile_text(text(other)).lowered.digest) is same


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("06:00", "06:30", False),
        ("days: [mon, tue]", "days: [tue, mon, mon]", True),
        ("days: [mon, tue]", "days: [mon]", False),
        ("description: quiet", "timezone: Europe/Berlin", True),
        ("description: quiet", "timezone: Europe/Vienna", False),
        ("description: quiet", "except: [2026-12-24]", False),
        ("timezone: Europe/Berlin", "timezone: Europe/Vienna", False),
        ("description: quiet", "once: {from: 2026-11-28, to: 2026-11-29}", False),
        ("group: [plain, https]", "group: [https, plain]", True),
        ("group: [plain, https]", "group: [plain]", False),
    ],
)
def test_windows_count_by_when_they_are_open(old: str, new: str, same: bool) -> None:
    """A window's hours in its own zone are part of what is in force, its wording is not."""
    written = text(", windows: nights")
    assert written.count(old) == 1
    changed = compile_text(written.replace(old, new)).lowered.digest
    assert (changed == compile_text(written).lowered.digest) is same


def test_a_window_that_no_conduit_names_changes_nothing() -> None:
    """Only what opens something is in force."""
    unused = compile_text(text().replace("06:00", "07:00")).lowered.digest
    assert unused == lower(compile_text(text()).policy).digest
