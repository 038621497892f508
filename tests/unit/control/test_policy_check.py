"""`conduitctl policy check` and `explain-code`: forms, exit codes, and a SARIF log that says what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.cli.sarif import sarif_log
from rules.problems import Problem

EXAMPLE = Path("rules/examples/water-works.yaml")
READS = "    operations: [read]\n    fail: closed\n"  # what the example's HMI may do at the safety controller
STRAIGHT = (
    "  straight: {from: {zone: enterprise}, to: {zone: control}, services: [https], sl_t: 3, owner: it, reason: x}\n"
)
WHY = "until the mirror is there"
WAIVER = f"waivers:\n  - {{code: POL202, at: conduits/straight, who: J. Doe, why: {WHY}, until: 2027-06-30}}\n"
RUN = CliRunner()


def checked(path: Path, *options: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a check."""
    done = RUN.invoke(app, ["policy", "check", str(path), "--on", "2027-01-15", *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def warned(tmp_path: Path) -> Path:
    """The example with one warning: its HMI may write to the safety controller."""
    text = EXAMPLE.read_text()
    assert text.count(READS) == 1
    path = tmp_path / "straight policy.yaml"
    path.write_text(text.replace(READS, READS.replace("[read]", "[read, write]")))
    return path


@pytest.fixture
def straight(warned: Path) -> Path:
    """A policy with one error and one warning."""
    warned.write_text(warned.read_text().replace("\nconduits:\n", f"\nconduits:\n{STRAIGHT}", 1))
    return warned


def line_of_the_conduit(path: Path) -> int:
    """Return where it stands."""
    return path.read_text().splitlines().index(STRAIGHT.rstrip("\n")) + 1


@pytest.fixture
def waived(straight: Path) -> Path:
    """The same, with somebody who takes it on."""
    straight.write_text(straight.read_text() + WAIVER)
    return straight


def test_warnings_pass_unless_strict(warned: Path) -> None:
    """The example has none and passes either way; with one, `--strict` refuses."""
    assert checked(EXAMPLE, "--strict")[0] == 0
    code, out, _ = checked(warned)
    assert code == 0
    assert "warning POL203" in out
    assert "can be applied" in out
    code, _, err = checked(warned, "--strict")
    assert code == 3
    assert "1 warning" in err


def test_an_error_refuses_and_a_waiver_answers_for_it(straight: Path) -> None:
    """Exit code 3 with the place on stderr; with the waiver 0, listed, until its last day."""
    code, out, err = checked(straight)
    assert (code, out) == (3, "")
    assert f"{straight}:{line_of_the_conduit(straight)}:13: error POL202" in err
    straight.write_text(straight.read_text() + WAIVER)
    code, out, _ = checked(straight)
    assert code == 0
    assert f"[waived by J. Doe until 2027-06-30: {WHY}]" in out
    assert "1 waived" in out
    code, _, err = checked(straight, "--on", "2027-07-01")
    assert code == 3
    assert "error POL202" in err
    assert "warning POL223" in err


def test_json(straight: Path) -> None:
    """The document goes to stdout in either case, with what is waived beside it."""
    code, out, err = checked(straight, "--format", "json")
    content = json.loads(out)
    assert (code, content["ok"], content["digest"]) == (3, False, None)
    assert [problem["code"] for problem in content["problems"]] == ["POL202"]
    assert [problem["code"] for problem in content["warnings"]] == ["POL203"]
    assert "POL202" not in err
    straight.write_text(straight.read_text() + WAIVER)
    code, out, _ = checked(straight, "-o", "json")
    content = json.loads(out)
    assert (code, content["ok"], len(content["digest"]), content["problems"]) == (0, True, 64, [])
    assert content["warnings"][0]["waived"] == {
        "who": "J. Doe",
        "why": WHY,
        "until": "2027-06-30",
    }
    assert content["warnings"][0]["at"] == "conduits/straight"


def test_sarif(waived: Path) -> None:
    """Results point to rules, places and objects; what is waived is suppressed, what is not has no suppressions."""
    code, out, _ = checked(waived, "--format", "sarif")
    assert code == 0
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["POL202", "POL203"]
    assert rules[0]["defaultConfiguration"]["level"] == "error"
    assert rules[0]["help"]["markdown"].startswith("# POL202: ")
    first, second = run["results"]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "POL202"
    assert first["level"] == "warning"
    place = first["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == waived.as_uri()
    assert "straight%20policy.yaml" in waived.as_uri()
    assert place["physicalLocation"]["region"] == {"startLine": line_of_the_conduit(waived), "startColumn": 13}
    assert place["logicalLocations"] == [{"fullyQualifiedName": "conduits/straight"}]
    assert [(s["kind"], s["status"]) for s in first["suppressions"]] == [("inSource", "accepted")]
    assert "suppressions" not in second


def test_sarif_of_a_broken_text(tmp_path: Path) -> None:
    """Mistakes of the text are results too, one without a place has no region, a relative path stays relative."""
    path = tmp_path / "broken.yaml"
    path.write_text("version: 1\nsites: {}\n")
    code, out, _ = checked(path, "--format", "sarif")
    assert code == 3
    found = {result["ruleId"]: result for result in json.loads(out)["runs"][0]["results"]}
    assert set(found) == {"POL010", "POL011"}
    result: dict[str, Any] = sarif_log([Problem("a b/c.yaml", 0, 0, "too large", "", "POL002")])["runs"][0]["results"][
        0
    ]
    assert result["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": "a%20b/c.yaml"}}


def test_explain_code() -> None:
    """Any case will do; a mistake of the text has a line, an unknown code is a usage error."""
    assert RUN.invoke(app, ["policy", "explain-code", "pol202"]).stdout.startswith("# POL202: business network")
    assert RUN.invoke(app, ["policy", "explain-code", "POL013"]).stdout.startswith("# POL013: not an IP address")
    assert RUN.invoke(app, ["policy", "explain-code", "POL999"]).exit_code == 2
