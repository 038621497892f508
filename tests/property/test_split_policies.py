"""However a policy is cut into files and spreadsheets, it compiles to the very same records."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import pytest

from rules.bundle import Bundle
from rules.compile import compile_bundle
from rules.tree import parse_tree
from tests.support.policies import compiled_policy

CUT = ("zones", "assets", "services", "windows", "conduits", "denials")


def split(plain: dict[str, Any], rng: random.Random) -> Bundle:
    """Cut every section into consecutive parts, one for each file; the last part stays in the main file."""
    count = rng.randrange(1, 5)
    names = [f"{'sub/' if rng.random() < 0.5 else ''}f{number}.yaml" for number in range(count)]
    parts: list[dict[str, Any]] = [{} for _ in range(count + 1)]
    for section in CUT:
        entries = plain[section] or []
        listed = list(entries.items()) if isinstance(entries, dict) else list(entries)
        ends = [*sorted(rng.randrange(len(listed) + 1) for _ in range(count)), len(listed)]
        for part, begin, end in zip(parts, [0, *ends], ends, strict=False):
            part[section] = dict(listed[begin:end]) if isinstance(entries, dict) else listed[begin:end]
    main = {"version": 1, "site": plain["site"], "include": names, **parts[-1]}
    files = {name: json.dumps(part, indent=rng.choice((None, 1))) for name, part in zip(names, parts, strict=False)}
    return Bundle("main.yaml", json.dumps(main), {name: text.encode() for name, text in files.items()})


def with_spreadsheet(plain: dict[str, Any], rng: random.Random) -> Bundle:
    """Write all assets as CSV, in any dialect."""
    keys = ["name", "zone", "macs", "ips", "roles", "behind"]
    rng.shuffle(keys)
    delimiter, between = rng.choice(((",", " "), (";", ", "), ("\t", ";"), ("|", ",")))
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, lineterminator=rng.choice(("\n", "\r\n")))
    writer.writerow(keys)
    for name, asset in (plain["assets"] or {}).items():
        cells = {"name": name, **asset}
        values = (cells.get(key, "") for key in keys)
        writer.writerow(between.join(value) if isinstance(value, list) else value for value in values)
    main = {**plain, "assets": None, "inventory": "assets.csv"}
    return Bundle("main.yaml", json.dumps(main), {"assets.csv": written.getvalue().encode()})


@pytest.mark.parametrize("number", range(25))
def test_cut_into_files(seed: int, number: int) -> None:
    """Slots, classes, precedence, stages and digest: all as from one text."""
    rng = random.Random(seed + number)
    drawn = compiled_policy(rng)
    source, _ = parse_tree(drawn.text, "whole.yaml")
    for cut in (split, with_spreadsheet):
        assert compile_bundle(cut(source.root.plain(), rng)).lowered == drawn.compiled.lowered
