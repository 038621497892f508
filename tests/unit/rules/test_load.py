"""Policy text → model: what is accepted, and that every mistake comes with its place, a reason and a code."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastpath.abi import FailMode, LogMode, Stage
from rules.load import load_policy, load_policy_text
from rules.problems import PolicyError, Problem
from rules.text import MAX_BYTES

DATA = Path(__file__).parent / "data"
HEAD = "version: 1\nsite: {name: works}\n"
ZONES = "zones:\n  control: {kind: control, ports: [ctl0], prefixes: [10.2.0.0/16]}\n"


def problems_of(text: str) -> tuple[Problem, ...]:
    """Load a text that must be refused and return its problems."""
    with pytest.raises(PolicyError) as caught:
        load_policy_text(text)
    assert caught.value.problems
    return caught.value.problems


def only_problem(text: str) -> Problem:
    """Load a text that has exactly one mistake."""
    problems = problems_of(text)
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def test_twenty_mistakes_give_a_message_at_every_wrong_line() -> None:
    """Each line marked wrong is reported at its line, no other line is, and there are at least 20."""
    path = DATA / "twenty_mistakes.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, start=1) if line.endswith("# wrong")}
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    problems = caught.value.problems
    assert {problem.line for problem in problems} == wrong
    assert len(problems) >= 20
    assert all(problem.column > 0 and problem.code.startswith("POL") for problem in problems)
    assert all(str(problem).startswith(f"{path}:{problem.line}:") for problem in problems)


def test_misspelt_names_get_a_suggestion() -> None:
    """An unknown zone close to a known one is answered with 'did you mean'."""
    text = HEAD + ZONES + "assets:\n  plc: {zone: contrl}\n"
    problem = only_problem(text)
    assert (problem.line, problem.column, problem.code) == (6, 15, "POL030")
    assert problem.hint == "did you mean 'control'?"


def test_conduit_defaults() -> None:
    """A conduit enforces, falls back to static, logs flows and is enabled unless it says otherwise."""
    policy = load_policy_text(
        HEAD + ZONES + "conduits:\n  c: {from: {zone: control}, to: {zone: control}, services: ssh}\n"
    )
    conduit = policy.conduits["c"]
    assert (conduit.stage, conduit.fail, conduit.log, conduit.enabled) == (
        Stage.ENFORCE,
        FailMode.STATIC,
        LogMode.FLOW,
        True,
    )
    assert policy.site.ceiling is Stage.MONITOR
    assert policy.site.default_stage is Stage.MONITOR


def test_unquoted_macs_and_hex_numbers_mean_what_they_say() -> None:
    """YAML 1.1's sexagesimal integers do not eat MACs; 0x88b8 is a number."""
    text = HEAD + ZONES + "assets:\n  plc: {zone: control, macs: [02:00:00:00:20:01], ips: [10.2.0.1]}\n"
    policy = load_policy_text(text + "services:\n  goose: {ethertype: 0x88b8}\n")
    assert policy.assets["plc"].macs == (bytes.fromhex("020000002001"),)
    assert policy.services["goose"].ethertype == ((0x88B8, 0x88B8),)


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("{protocol: tcp, ports: [0]}", "POL017"),
        ("{protocol: tcp, ports: [65536]}", "POL017"),
        ("{protocol: tcp, ports: [900-800]}", "POL017"),
        ("{protocol: tcp, ports: [true]}", "POL017"),
        ("{protocol: tcp}", "POL021"),
        ("{protocol: icmp, ports: [8]}", "POL021"),
        ("{protocol: ip, numbers: [6]}", "POL018"),
        ("{ethertype: 0x0800}", "POL018"),
        ("{ethertype: 0x9100}", "POL018"),
        ("{ethertype: 0x05ff}", "POL018"),
        ("{protocol: sctp, ports: [1]}", "POL012"),
        ("{any_of: [{protocol: tcp, ports: [1]}], ports: [2]}", "POL021"),
        ("{}", "POL021"),
    ],
)
def test_services_that_cannot_be(service: str, code: str) -> None:
    """Impossible numbers and combinations are refused at the service."""
    problem = only_problem(HEAD + f"services:\n  x: {service}\n")
    assert (problem.line, problem.code) == (4, code)


@pytest.mark.parametrize(
    ("zone", "code"),
    [
        ("vlans: [0]", "POL016"),
        ("vlans: [4095]", "POL016"),
        ("vlans: ['100']", "POL016"),
        ("prefixes: [10.0.0.0/33]", "POL014"),
        ("prefixes: [10.0.0.1/24]", "POL014"),
        ("prefixes: ['::/0']", "POL014"),
        ("prefixes: ['::ffff:10.0.0.0/104']", "POL014"),
        ("prefixes: [224.0.0.0/4]", "POL014"),
        ("ports: [an-interface-name-too-long]", "POL020"),
        ("ports: ['eth*']", "POL020"),
        ("ports: ['eth\\0']", "POL020"),
        ("ports: ['eth0;flush']", "POL020"),
        ("ports: [ént0]", "POL020"),
        ("ports: [lo]", "POL020"),
        ("sl_t: 5", "POL020"),
        ("sl_t: [1, 2, 3]", "POL020"),
        ("address_space: '!'", "POL019"),
    ],
)
def test_zones_that_cannot_be(zone: str, code: str) -> None:
    """Values that the kernel or the image would read differently are refused."""
    problem = only_problem(HEAD + f"zones:\n  z: {{kind: control, {zone}}}\n")
    assert (problem.line, problem.code) == (4, code)


@pytest.mark.parametrize(
    ("asset", "code"),
    [
        ("ips: [10.2.0.1/24]", "POL013"),
        ("ips: [224.0.0.1]", "POL013"),
        ("ips: [0.0.0.0]", "POL013"),
        ("ips: ['fe80::1%eth0']", "POL013"),
        ("ips: ['::ffff:10.2.0.1']", "POL013"),
        ("macs: ['01:00:5e:00:00:01']", "POL015"),
        ("macs: ['00:00:00:00:00:00']", "POL015"),
        ("macs: ['0200.0000.0001']", "POL015"),
        ("behind: nobody", "POL031"),
        ("roles: [5]", "POL019"),
    ],
)
def test_assets_that_cannot_be(asset: str, code: str) -> None:
    """Addresses that no single device has are refused."""
    problem = only_problem(HEAD + ZONES + f"assets:\n  a: {{zone: control, {asset}}}\n")
    assert (problem.line, problem.code) == (6, code)


def test_schema_mistakes_do_not_hide_conflicts() -> None:
    """A policy with an unknown key is still searched for two assets with one address."""
    text = (
        HEAD
        + ZONES
        + "assets:\n  a: {zone: control, ips: [10.2.0.1]}\n  b: {zone: control, ips: [10.2.0.1], oops: 1}\n"
    )
    assert [problem.code for problem in problems_of(text)] == ["POL101", "POL010"]


def test_a_zone_dropped_for_its_vlan_invents_no_conflict() -> None:
    """A trunk port whose VLAN list is wrong does not count as untagged."""
    text = HEAD + "zones:\n  a: {kind: control, ports: [p0]}\n  b: {kind: control, ports: [p0], vlans: [5000]}\n"
    assert only_problem(text).code == "POL016"


def test_duplicate_keys_are_reported_with_the_first_place() -> None:
    """The second entry of the same name is the mistake."""
    problem = only_problem(HEAD + ZONES + "  control: {kind: control}\n")
    assert (problem.line, problem.column, problem.code) == (5, 3, "POL006")
    assert "line 4" in problem.hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "POL005"),
        ("- a list", "POL012"),
        ("version: 1\nsite: [a\n", "POL005"),
        ("a: 1\n---\nb: 2\n", "POL005"),
        ("? {a: 1}\n: 2\n", "POL005"),
        ("a: &a [*a]\n", "POL005"),
        ("a:\n\tb: 1\n", "POL005"),
        ("a: " + "[" * 5000, "POL008"),
        ("a: \0", "POL004"),
        ("a: \x1b[31m", "POL004"),
        ("a: \ud800", "POL004"),
        ('a: "\\e[2J"', "POL004"),
        ('"\\x9b31m": 1', "POL004"),
        ('a: "\\u202e"', "POL004"),
        ("a" * (MAX_BYTES + 1), "POL002"),
    ],
)
def test_texts_that_are_no_policy(text: str, code: str) -> None:
    """Broken YAML stops at its one problem."""
    assert code in {problem.code for problem in problems_of(text)}


def test_alias_bombs_are_refused_before_they_expand() -> None:
    """Nine to the ninth nodes are never built; nesting through aliases counts as nesting."""
    wide = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
    )
    assert only_problem(wide).code == "POL007"
    deep = "a0: &a0 " + "[" * 20 + "]" * 20 + "\n" + "a1: " + "[" * 20 + "*a0" + "]" * 20 + "\n"
    assert only_problem(deep).code == "POL008"


def test_a_few_aliases_are_fine() -> None:
    """An anchor used twice stands for the same values."""
    policy = load_policy_text(HEAD + "zones:\n  a: &z {kind: control}\n  b: *z\n")
    assert policy.zones["a"] == policy.zones["b"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory, a huge file and wrong bytes are problems, not tracebacks."""
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"version: 1\nsite: {name: \xe4}\n")
    expected = {tmp_path / "missing": "POL001", tmp_path: "POL001", huge: "POL002", latin: "POL003"}
    for path, code in expected.items():
        with pytest.raises(PolicyError) as caught:
            load_policy(path)
        assert [problem.code for problem in caught.value.problems] == [code]
    with pytest.raises(PolicyError, match=r"latin\.yaml:2:14"):
        load_policy(latin)


def test_long_values_are_quoted_in_part() -> None:
    """A megabyte in the wrong place does not become a megabyte of message."""
    problem = only_problem(HEAD + f"zones:\n  z: {{kind: {'x' * 1_000_000}}}\n")
    assert len(str(problem)) < 1000


def test_the_json_form_loads_again() -> None:
    """What the control socket shows of a policy is a policy."""
    policy = load_policy(Path("rules/examples/water-works.yaml"))
    again = type(policy).model_validate(policy.model_dump(mode="json", by_alias=True))
    assert again.model_dump() == policy.model_dump()
