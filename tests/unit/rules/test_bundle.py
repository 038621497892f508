"""Policies in several files: what is read, what is joined, and that every mistake names the file it is in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rules import bundle as bundles
from rules import fragments, inventory, tree
from rules.bundle import Bundle, bundle_of_texts, read_bundle
from rules.compile import compile_bundle
from rules.load import load_bundle, load_policy
from rules.problems import PolicyError, Problem

MAIN = """
version: 1
include: [zones.yaml, conduits/*.yaml]
site: {name: works}
denials: {from: dmz, to: plant, stage: enforce}
"""
ZONES = "zones:\n  plant: {kind: control}\n  dmz: {kind: dmz}\ndenials: {from: '*', to: '*', stage: alert}\n"
FILES = {
    "zones.yaml": ZONES,
    "conduits/b.yaml": "include: ../assets.yaml\nconduits: {two: {from: {zone: dmz}, to: {asset: plc}, services: ssh}}",
    "conduits/a.yaml": "conduits:\n  one: {from: {zone: dmz}, to: {zone: plant}, services: ssh}\n",
    "assets.yaml": "assets:\n  plc: {zone: plant, ips: [10.0.0.1]}\n",
}


def write(folder: Path, main: str = MAIN, **changes: str | None) -> Path:
    """Write the files, with some replaced or left out (`zones_yaml=None`), and return the main one."""
    named = {name.replace("/", "_").replace(".", "_"): name for name in FILES}
    files = {
        name: text
        for name, text in FILES.items()
        if changes.get(name.replace("/", "_").replace(".", "_"), "") is not None
    }
    files |= {named[key]: text for key, text in changes.items() if text is not None}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "policy.yaml").write_text(main, encoding="utf-8")
    return folder / "policy.yaml"


def problems_of(bundle: Bundle) -> list[Problem]:
    """Load a bundle that must be refused."""
    with pytest.raises(PolicyError) as caught:
        load_bundle(bundle)
    return list(caught.value.problems)


def only_problem(path: Path) -> Problem:
    """Read and load a policy with exactly one mistake."""
    problems = problems_of(read_bundle(path))
    assert len(problems) == 1, list(map(str, problems))
    return problems[0]


def test_includes_come_first_and_in_order(tmp_path: Path) -> None:
    """Files of a pattern are sorted; what the main file says itself comes last, so that its denials win."""
    policy = load_policy(write(tmp_path))
    assert list(policy.conduits) == ["one", "two"]
    assert list(policy.zones) == ["plant", "dmz"]
    assert [str(denial.source[0]) for denial in policy.denials] == ["*", "dmz"]
    assert policy.assets["plc"].zone == "plant"


def test_a_bundle_means_the_same_wherever_it_is_compiled(tmp_path: Path) -> None:
    """As texts in a request or a record it compiles to what the files compile to, and to what one file would."""
    read = read_bundle(write(tmp_path))
    sent = bundle_of_texts(read.name, read.text, read.texts())
    assert sent.files == read.files
    assert sorted(sent.files) == sorted(FILES)
    whole = (
        "version: 1\nsite: {name: works}\nzones: {plant: {kind: control}, dmz: {kind: dmz}}\n"
        "assets: {plc: {zone: plant, ips: [10.0.0.1]}}\n"
        "conduits: {one: {from: {zone: dmz}, to: {zone: plant}, services: ssh}, "
        "two: {from: {zone: dmz}, to: {asset: plc}, services: ssh}}\n"
        "denials: [{from: '*', to: '*', stage: alert}, {from: dmz, to: plant, stage: enforce}]\n"
    )
    digests = {compile_bundle(some).lowered.digest for some in (read, sent, Bundle("policy.yaml", whole))}
    assert len(digests) == 1


def test_problems_are_in_the_fragment_s_own_lines(tmp_path: Path) -> None:
    """Unknown names, wrong values and conflicts in fragments are reported there, all at once."""
    wrong = "assets:\n  plc: {zone: plnt}\n  hmi: {zone: dmz, macs: [x]}\n  old: {zone: dmz, oops: 1}\n"
    path = write(tmp_path, assets_yaml=wrong)
    found = [(p.path, p.line, p.code) for p in problems_of(read_bundle(path))]
    name = str(tmp_path / "assets.yaml")
    assert found == [(name, 2, "POL030"), (name, 3, "POL015"), (name, 4, "POL010")]


def test_one_name_in_two_files_is_reported_with_both_places(tmp_path: Path) -> None:
    """Sections are shared between files, names are not."""
    path = write(tmp_path, conduits_a_yaml=FILES["conduits/a.yaml"] + "zones:\n  dmz: {kind: dmz}\n")
    problem = only_problem(path)
    assert (problem.path, problem.line, problem.code) == (str(tmp_path / "conduits/a.yaml"), 4, "POL064")
    assert f"{tmp_path / 'zones.yaml'}:3" in problem.message


def test_conflicts_between_files_name_the_other_file(tmp_path: Path) -> None:
    """Two assets in two files with one address."""
    path = write(tmp_path, conduits_a_yaml="assets: {plc2: {zone: plant, ips: [10.0.0.1]}}\n")
    problem = next(p for p in compile_problems(path) if p.code == "POL101")
    assert "assets.yaml:2" in problem.message or "a.yaml:1" in problem.message


def compile_problems(path: Path) -> tuple[Problem, ...]:
    """Compile a policy that must be refused."""
    with pytest.raises(PolicyError) as caught:
        compile_bundle(read_bundle(path))
    return caught.value.problems


@pytest.mark.parametrize(
    ("include", "code"),
    [
        ("missing.yaml", "POL060"),
        ("conduits", "POL060"),
        ("zones.yaml, policy.yaml", "POL061"),
        ("../other.yaml", "POL062"),
        ("/etc/passwd", "POL062"),
        ("'*/a.yaml'", "POL062"),
        ("nothing/*.yaml", "POL065"),
        ("link.yaml", "POL060"),
        ("pipe.yaml", "POL060"),
        ("large.yaml", "POL060"),
    ],
)
def test_files_that_cannot_be_included(
    tmp_path: Path, include: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is refused where it is named, and nothing is said of names that it might have declared."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "other.yaml").write_text(ZONES)
    (inside / "link.yaml").symlink_to(tmp_path / "other.yaml")
    (inside / "large.yaml").write_text("#" * 20_000)
    os.mkfifo(inside / "pipe.yaml")
    monkeypatch.setattr(bundles, "MAX_BYTES", 10_000)
    path = write(inside, main=MAIN.replace("zones.yaml, conduits/*.yaml", include), zones_yaml="zones: {}\n")
    problem = only_problem(path)
    assert (problem.code, problem.line) == (code, 3)


def test_links_that_lead_nowhere_or_out_tell_nothing_of_what_is_there(tmp_path: Path) -> None:
    """A link to itself is refused in words; a pattern behind a link out of the folder lists no foreign names."""
    inside, outside = tmp_path / "policy", tmp_path / "secret"
    inside.mkdir()
    outside.mkdir()
    (outside / "salaries.yaml").write_text("zones: {}\n")
    (inside / "a.yaml").symlink_to("b.yaml")
    (inside / "b.yaml").symlink_to("a.yaml")
    (inside / "out").symlink_to(outside)
    (inside / "main.yaml").write_text("version: 1\ninclude: [a.yaml, out/*.yaml]\nsite: {name: works}\n")
    bundle = read_bundle(inside / "main.yaml")
    assert bundle.files == {}
    assert bundle.unread == {"a.yaml": "it is a link to itself"}
    with pytest.raises(PolicyError) as caught:
        load_bundle(bundle)
    assert "salaries" not in str(caught.value)


def test_circles_are_refused_and_diamonds_are_not(tmp_path: Path) -> None:
    """A file that two others include is read once; two that include each other are a mistake."""
    both = "include: [../assets.yaml]\n" + FILES["conduits/a.yaml"]
    assert len(load_policy(write(tmp_path, conduits_a_yaml=both)).assets) == 1
    problem = only_problem(write(tmp_path, assets_yaml="include: conduits/b.yaml\nassets: {plc: {zone: plant}}\n"))
    assert (problem.code, Path(problem.path).name) == ("POL061", "assets.yaml")
    assert "conduits/b.yaml → assets.yaml → conduits/b.yaml" in problem.message


def test_a_pattern_leaves_out_the_files_it_stands_in(tmp_path: Path) -> None:
    """`*.yaml` in the main file means the others."""
    policy = load_policy(write(tmp_path, main=MAIN.replace("zones.yaml, ", "'*.yaml', ")))
    assert set(policy.zones) == {"plant", "dmz"}


def test_broken_fragments_are_all_reported(tmp_path: Path) -> None:
    """YAML and encoding mistakes of several files, but not what they leave undeclared."""
    path = write(tmp_path, zones_yaml="zones: [\n", conduits_a_yaml="conduits:\n\tx: 1\n")
    (tmp_path / "assets.yaml").write_bytes(b"assets: {\xe4: 1}\n")
    assert {(Path(p.path).name, p.code) for p in problems_of(read_bundle(path))} == {
        ("zones.yaml", "POL005"),
        ("a.yaml", "POL005"),
        ("assets.yaml", "POL003"),
    }


def test_sections_of_the_wrong_form_in_a_fragment(tmp_path: Path) -> None:
    """A second list where a mapping belongs, a second site and an unknown section are mistakes of the fragment."""
    path = write(
        tmp_path, assets_yaml=FILES["assets.yaml"] + "zones: [plant]\nsite: {name: b}\nzonez: {}\nversion: 2\n"
    )
    assert {(p.line, p.code) for p in problems_of(read_bundle(path))} >= {(3, "POL012"), (5, "POL010")}
    path = write(tmp_path, assets_yaml=FILES["assets.yaml"] + "site: {name: b}\n")
    assert only_problem(path).code == "POL064"


def test_calendars_come_along(tmp_path: Path) -> None:
    """A window's calendar is part of the bundle, named as seen from the main file, and of the digest."""
    text = FILES["conduits/a.yaml"] + "windows: {w: {ics: cal/holidays.ics}}\n"
    text = text.replace("services: ssh", "services: ssh, windows: w")
    path = write(tmp_path, conduits_a_yaml=text)
    assert only_problem(path).code == "POL060"
    (tmp_path / "conduits" / "cal").mkdir()
    calendar = tmp_path / "conduits" / "cal" / "holidays.ics"
    calendar.write_bytes(b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")
    compiled = compile_bundle(read_bundle(path))
    assert compiled.policy.windows["w"].ics == "conduits/cal/holidays.ics"
    assert compiled.policy.attachment("conduits/cal/holidays.ics") == calendar.read_bytes()
    calendar.write_bytes(b"BEGIN:VCALENDAR\r\nX:1\r\nEND:VCALENDAR\r\n")
    assert compile_bundle(read_bundle(path)).lowered.digest != compiled.lowered.digest


def test_bundles_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many or too large files are refused, whoever sends them."""
    monkeypatch.setattr(bundles, "MAX_FILES", 3)
    files = {f"{number}.yaml": b"" for number in range(4)}
    assert [p.code for p in problems_of(Bundle("p.yaml", MAIN, files))] == ["POL063"]
    monkeypatch.setattr(bundles, "MAX_BYTES", 1000)
    assert [p.code for p in problems_of(Bundle("p.yaml", MAIN, {"a.yaml": b"#" * 1001}))] == ["POL002"]


def test_files_that_nothing_includes_are_refused() -> None:
    """Whoever sends a file means it to count."""
    bundle = Bundle("p.yaml", "version: 1\nsite: {name: w}\n", {"zones.yaml": ZONES.encode()})
    assert [(p.path, p.code) for p in problems_of(bundle)] == [("zones.yaml", "POL065")]


def test_values_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dense text or table would take more memory than its bytes tell."""
    monkeypatch.setattr(tree, "MAX_NODES", 20)
    dense = Bundle("p.yaml", "version: 1\nsite: {name: w}\nwaivers: [" + "a, " * 20 + "]\n")
    assert [p.code for p in problems_of(dense)] == ["POL002"]
    monkeypatch.undo()
    monkeypatch.setattr(fragments, "MAX_NODES", 20)
    assert [p.code for p in problems_of(dense)] == ["POL063"]
    monkeypatch.undo()
    monkeypatch.setattr(inventory, "MAX_ROWS", 2)
    rows = "name,zone\n" + "".join(f"a{n},plant\n" for n in range(3))
    main = "version: 1\nsite: {name: w}\nzones: {plant: {kind: control}}\ninventory: a.csv\n"
    assert [p.code for p in problems_of(Bundle("p.yaml", main, {"a.csv": rows.encode()}))] == ["POL063"]


def test_deep_chains_of_includes_end(tmp_path: Path) -> None:
    """A hundred files, each including the next, are refused rather than followed."""
    files = {f"{number}.yaml": f"include: {number + 1}.yaml\n".encode() for number in range(100)}
    problems = problems_of(Bundle(str(tmp_path / "p.yaml"), "version: 1\ninclude: 0.yaml\nsite: {name: w}\n", files))
    assert [problem.code for problem in problems] == ["POL061"]
