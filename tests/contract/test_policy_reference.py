"""The schema and the reference page say what the models say, and the schema never refuses what the product takes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rules.descriptions import DESCRIPTIONS
from rules.model import Policy
from rules.schema import PAGE, SCHEMA_FILE, SECTIONS, described, page_with_tables, policy_schema, schema_text
from rules.tree import parse_tree
from tests.support.policies import draw_policy, policy_text
from tests.unit.rules.test_language import TEXT
from tests.unit.rules.test_opening import HEAD, text

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "rules" / "examples").rglob("*.yaml"))
VALIDATOR = Draft202012Validator(policy_schema())


FRAGMENTS = Draft202012Validator(policy_schema(fragment=True))


def refusals(policy: str, validator: Draft202012Validator = VALIDATOR) -> list[str]:
    """Return what the schema says against a policy's plain values."""
    source, _ = parse_tree(policy, "policy.yaml")
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(source.root.plain())]


def test_the_pages_are_current() -> None:
    """What is committed is what the models say now."""
    hint = "run python -m rules.schema"
    assert (ROOT / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), hint
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page_with_tables(page) == page, hint


def test_every_key_is_described_and_no_other() -> None:
    """Each key of each model has its sentence, and each model its table."""
    models = {"Policy": policy_schema(), **policy_schema()["$defs"]}
    for name, model in models.items():
        keys = set(model.get("properties", {}))
        if keys:
            assert keys <= set(described(name)), name
    for name, words in DESCRIPTIONS.items():
        assert set(words) <= set(models[name]["properties"]), name
    assert {name for _, names in SECTIONS for name in names} == set(DESCRIPTIONS)


def test_it_is_a_schema() -> None:
    """Draft 2020-12 takes it, and so for fragments, where nothing is required at the top."""
    Draft202012Validator.check_schema(policy_schema())
    assert FRAGMENTS.is_valid({"zones": {"a": {"kind": "dmz"}}})
    assert not VALIDATOR.is_valid({"zones": {"a": {"kind": "dmz"}}})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    """The examples pass the schema as they are written; what a site includes passes that of fragments."""
    is_included = (path.parent / "policy.yaml").exists() or (path.parent.parent / "policy.yaml").exists()
    is_fragment = is_included and path.name != "policy.yaml"
    assert refusals(path.read_text(encoding="utf-8"), FRAGMENTS if is_fragment else VALIDATOR) == []


@pytest.mark.parametrize("policy", [TEXT, HEAD, text(", via: jump, windows: nights, requires: session")])
def test_every_key_s_right_values_are_valid(policy: str) -> None:
    """The texts that the tests of the language load."""
    assert refusals(policy) == []


def test_drawn_policies_are_valid(seed: int) -> None:
    """What the generators of the differential tests write."""
    rng = random.Random(seed)
    for _ in range(40):
        assert refusals(policy_text(draw_policy(rng))) == []


def test_the_json_form_is_valid() -> None:
    """What the product writes of a policy, the schema takes."""
    source, _ = parse_tree(TEXT, "policy.yaml")
    policy = Policy.model_validate(source.root.plain())
    plain = json.loads(policy.model_dump_json(by_alias=True, exclude_defaults=True))
    assert [error.message for error in VALIDATOR.iter_errors(plain)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("zones", "plant", "kind"), "plnt"),
        (("zones", "plant", "knd"), "control"),
        (("zones", "1st"), {"kind": "control"}),
        (("zones", "plant", "sl_c"), 5),
        (("assets", "plc", "ips"), "10.0.0.0/8"),
        (("conduits", "c", "review"), "tomorrow"),
        (("conduits", "c", "operations"), ["red"]),
        (("windows", "nights", "weekly"), [{"days": "mon", "from": "25:00", "to": "06:00"}]),
        (("waivers",), [{"code": "POL202"}]),
    ],
)
def test_slips_are_seen(path: tuple[str, ...], value: Any) -> None:
    """An editor underlines a wrong word, key, name, number or form."""
    source, _ = parse_tree(TEXT, "policy.yaml")
    plain = source.root.plain()
    at = plain
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    assert not VALIDATOR.is_valid(plain)
