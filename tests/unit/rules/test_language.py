"""The whole policy language: every key is read, every wrong value is refused at its place."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest

from rules.levels import Levels
from rules.load import load_policy_text
from rules.model import Asset, Policy, Zone, fields_at
from rules.problems import PolicyError
from rules.times import Weekday

TEXT = """
version: 1
site: {name: works, timezone: Europe/Berlin}
zones:
  plant: {kind: control, parent: site-wide, sl_t: 2, sl_c: {iac: 3, uc: 2}, criticality: high, location: hall, owner: J}
  site-wide: {kind: supervisory, sl_t: [1, 2, 3, 4, 0, 1, 2]}
  offices: {kind: enterprise, prefixes: [10.1.0.0/16]}
assets:
  plc: {zone: plant, firmware: v2.1, serial: 4711, owner: J. Doe, sl_c: 1, ips: 10.2.0.1, roles: plc}
  jump: {zone: offices, ips: 10.1.0.9, roles: [jump]}
roles: {plc: {description: Controllers}, jump: }
services:
  web: {group: [http, https]}
  all: {group: [web, modbus]}
windows:
  nights:
    timezone: Europe/Vienna
    weekly: [{days: [mon, sat], from: "22:00", to: "06:00"}]
    rules: [{start: 2026-01-03T06:00, duration: 8h, rrule: "FREQ=MONTHLY;BYDAY=1SA"}]
    except: [2026-12-24, {from: 2026-12-30, to: 2027-01-02T12:00}]
    once: [{from: 2026-11-28T06:00, to: 2026-11-28T10:00, reason: pump}]
    description: when nobody is there
cycles:
  shift: {every: 8h, minimum: 3, description: three a day}
  backup: {weekly: {days: sun, from: "02:00", to: "04:00"}}
conduits:
  c:
    from: {zone: offices}
    to: {asset: plc}
    services: all
    via: jump
    requires: [session, step-up, attestation]
    windows: [nights]
    sl_t: 2
    review: 2027-01-31
    expires: 2027-06-30
    risk: RA-17
    cycles: [shift, backup]
waivers:
  - {code: POL202, at: conduits/c, who: J. Doe, why: until the move, until: 2027-01-01}
"""


def policy() -> Policy:
    """Return the text above, loaded."""
    return load_policy_text(TEXT)


def codes(text: str) -> list[tuple[int, str]]:
    """Return line and code of every problem of a text that must be refused."""
    with pytest.raises(PolicyError) as caught:
        load_policy_text(text)
    return [(problem.line, problem.code) for problem in caught.value.problems]


def test_zones_and_assets_say_what_is_known_of_them() -> None:
    """Levels in all three forms, parents, and what people want to know."""
    zones, assets = policy().zones, policy().assets
    assert zones["plant"].sl_t == Levels(2, 2, 2, 2, 2, 2, 2)
    assert zones["plant"].sl_c == Levels(3, 2, 0, 0, 0, 0, 0)
    assert zones["site-wide"].sl_t == Levels(1, 2, 3, 4, 0, 1, 2)
    assert zones["offices"].sl_c is None
    assert (zones["plant"].parent, zones["plant"].criticality) == ("site-wide", "high")
    assert (assets["plc"].firmware, assets["plc"].serial, assets["plc"].sl_c) == ("v2.1", "4711", Levels(*[1] * 7))


def test_windows_hold_local_times() -> None:
    """A day as an end belongs to the span; nothing is converted to any other zone."""
    window = policy().windows["nights"]
    assert window.weekly[0].days == (Weekday.MON, Weekday.SAT)
    assert (window.weekly[0].start, window.weekly[0].end) == (time(22), time(6))
    assert (str(window.rules[0].start), window.rules[0].duration) == ("2026-01-03 06:00:00", timedelta(hours=8))
    day, span = window.exceptions
    assert (str(day.start), str(day.end)) == ("2026-12-24 00:00:00", "2026-12-25 00:00:00")
    assert (str(span.start), str(span.end)) == ("2026-12-30 00:00:00", "2027-01-02 12:00:00")
    assert window.once[0].reason == "pump"


def test_conduits_and_waivers_have_days() -> None:
    """Review, expiry and a waiver's end are dates; an opener by way of a jump host is the jump host."""
    conduit = policy().conduits["c"]
    assert (conduit.review, conduit.expires, conduit.risk) == (date(2027, 1, 31), date(2027, 6, 30), "RA-17")
    assert conduit.opener().asset == ("jump",)
    assert policy().waivers[0].until == date(2027, 1, 1)
    assert policy().cycles["shift"].every == timedelta(hours=8)


def test_the_json_form_loads_again() -> None:
    """Every new type is written as it is read."""
    first = policy()
    again = Policy.model_validate(first.model_dump(mode="json", by_alias=True))
    assert again.model_dump() == first.model_dump()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("parent: site-wide", "parent: nowhere", "POL030"),
        ("parent: site-wide", "parent: plant", "POL045"),
        ("{iac: 3, uc: 2}", "{iac: 3, xx: 2}", "POL020"),
        ("{iac: 3, uc: 2}", "{iac: 5}", "POL020"),
        ("roles: [jump]", "roles: [jmp]", "POL043"),
        ("web: {group: [http, https]}", "web: {group: [http, htps]}", "POL033"),
        ("web: {group: [http, https]}", "web: {group: [all]}", "POL045"),
        ("web: {group: [http, https]}", "web: {group: [http], protocol: tcp}", "POL021"),
        ("Europe/Vienna", "Europe Vienna", "POL050"),
        ("days: [mon, sat]", "days: [mon, sst]", "POL046"),
        ("days: [mon, sat]", "days: []", "POL012"),
        ('from: "22:00", to: "06:00"', 'from: "22:60", to: "06:00"', "POL047"),
        ('from: "22:00", to: "06:00"', 'from: "22:00", to: "22:00"', "POL052"),
        ("start: 2026-01-03T06:00", "start: 2026-02-30T06:00", "POL048"),
        ("start: 2026-01-03T06:00", "start: 2026-01-03T06:00Z", "POL048"),
        ("start: 2026-01-03T06:00", "start: 2026-01-03T24:01", "POL047"),
        ("duration: 8h", "duration: 8", "POL049"),
        ("duration: 8h", "duration: 0h", "POL049"),
        ("duration: 8h", "duration: 367d", "POL049"),
        ("FREQ=MONTHLY;BYDAY=1SA", "monthly", "POL051"),
        ("FREQ=MONTHLY;BYDAY=1SA", "BYDAY=1SA", "POL051"),
        ("to: 2027-01-02T12:00", "to: 2026-12-01", "POL052"),
        ("every: 8h, minimum: 3", "every: 8h, minimum: 0", "POL020"),
        ("every: 8h, minimum: 3", "minimum: 3", "POL053"),
        ("via: jump", "via: jmp", "POL031"),
        ("attestation]", "faith]", "POL020"),
        ("windows: [nights]", "windows: [days]", "POL041"),
        ("cycles: [shift, backup]", "cycles: [shft]", "POL042"),
        ("review: 2027-01-31", "review: 31.1.2027", "POL048"),
        ("review: 2027-01-31", "review: 9999-01-31", "POL048"),
        ("code: POL202", "code: any", "POL055"),
        ("at: conduits/c", "at: conduits/d", "POL044"),
        ("at: conduits/c", "at: somewhere", "POL044"),
        ("who: J. Doe, ", "", "POL011"),
        ("who: J. Doe, ", "who: '', ", "POL012"),
    ],
)
def test_wrong_values_are_refused_where_they_stand(old: str, new: str, code: str) -> None:
    """One slip, one problem, at the line of the slip."""
    assert TEXT.count(old) == 1
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    assert codes(TEXT.replace(old, new)) == [(line, code)]


def test_a_window_that_never_opens_is_refused() -> None:
    """Exceptions alone open nothing."""
    assert codes("version: 1\nsite: {name: w}\nwindows:\n  w: {except: [2026-12-24]}\n") == [(4, "POL053")]


def test_whole_days_are_from_midnight_to_midnight() -> None:
    """24:00 is the end of the day."""
    text = 'version: 1\nsite: {name: w}\nwindows:\n  w: {weekly: {days: sun, from: "00:00", to: "24:00"}}\n'
    weekly = load_policy_text(text).windows["w"].weekly[0]
    assert weekly.start == weekly.end == time(0)


def test_keys_are_known_at_every_depth() -> None:
    """The "did you mean" of a key looks among the keys of its own place."""
    assert fields_at(("zones", "a")) == [info.alias or name for name, info in Zone.model_fields.items()]
    assert fields_at(("assets", "windows")) == list(Asset.model_fields)
    assert fields_at(("windows", "w", "weekly", 0)) == ["days", "from", "to"]
    assert fields_at(("windows", "w", "except", 0)) == ["from", "to"]
    assert fields_at(("conduits", "c", "limit", "per_source")) == ["packets", "new_flows"]
    assert fields_at(("conduits", "c", "constraints")) == ["modbus", "s7comm", "s7comm-plus", "enip", "cip", "cotp"]
    assert fields_at(("conduits", "c", "constraints", "modbus", 0))[:4] == ["operation", "rate", "unit", "function"]
    assert "ports" in fields_at(("services", "s", "any_of", 1))
    assert "any_of" not in fields_at(("services", "s", "any_of", 1))
    assert "waivers" in fields_at(())
