"""Settings: complete defaults, and refusals that name file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError, ExitCode
from gateway.settings import Settings, load_settings, load_settings_text

FILE = Path("conduitd.toml")


def test_empty_file_gives_every_default() -> None:
    """An empty file means the defaults, which are valid."""
    assert load_settings_text("", FILE) == Settings()


def test_values_are_taken_over() -> None:
    """Sections, paths and role lists come through."""
    text = (
        'run_dir = "/x"\n[queue]\nfirst = 3\ncount = 2\n[engine]\npolling = "adaptive"\ncpus = [1]\n'
        '[roles]\nviewer = ["uid:5", "group:ot"]\n'
    )
    settings = load_settings_text(text, FILE)
    assert settings.run_dir == Path("/x")
    assert settings.queue.numbers == (3, 4, 5)
    assert settings.queue.layer2_number == 5
    assert (settings.engine.polling, settings.engine.polling_us, settings.engine.cpus) == ("adaptive", 1000, (1,))
    assert settings.roles == {"viewer": ("uid:5", "group:ot")}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("nonsense = 1", "nonsense"),
        ("[queue]\nlenght = 1", "queue.lenght"),
        ('[queue]\ncount = "2"', "queue.count"),
        ("[queue]\ncount = 17", "queue.count"),
        ("[queue]\nflows = 1500", "queue"),
        ("[queue]\nfirst = 65535\ncount = 2", "queue"),
        ("[queue]\nfirst = 65535", "queue"),
        ("[queue]\ncount = 16", "queue"),
        ("[queue]\nlayer2 = 1", "queue.layer2"),
        ("[queue]\ncopy_bytes = 65532", "queue.copy_bytes"),
        ('[engine]\npolling = "sometimes"', "engine.polling"),
        ("[engine]\npolling_us = 9", "engine.polling_us"),
        ("[engine]\npolling_us = 100001", "engine.polling_us"),
        ("[engine]\npriority = 51", "engine.priority"),
        ("[engine]\ncpus = [-1]", "engine.cpus"),
        ("[engine]\ncpus = 1", "engine.cpus"),
        ("[engine]\ncpus = [1, 1]", "engine"),
        ("[engine]\ncpus = [0, 1]", "(file): Value error, engine.cpus"),
        ('[engine]\npolling = "always"\npriority = 1', "(file): Value error, engine.polling"),
        ('[engine]\npolling = "adaptive"\npriority = 1\ncpus = [1]\n[queue]\ncount = 2', "(file): Value error, engine"),
        ('run_dir = "run"', "run_dir"),
        ('[bridge]\nname = "a-name-that-is-too-long"', "bridge.name"),
        ("[bridge]\nmanage = 1", "bridge.manage"),
        ('[interception]\nform = "tap"', "interception.form"),
        ('[roles]\nboss = ["uid:1"]', "roles.boss"),
        ('[roles]\nviewer = ["uid:x"]', "roles.viewer"),
        ('[roles]\nviewer = "uid:1"', "roles.viewer"),
        ("run_dir = 2026-11-23", "run_dir"),
        ("run_dir = inf", "run_dir"),
    ],
)
def test_wrong_key_is_named(text: str, key: str) -> None:
    """Each wrong value is refused with the file, the dotted key and a hint."""
    with pytest.raises(ConfigError) as refused:
        load_settings_text(text, FILE)
    assert f"{FILE}: {key}" in refused.value.detail
    assert refused.value.hint
    assert refused.value.exit_code is ExitCode.REFUSED


def test_no_layer2_queue_when_not_asked_for() -> None:
    """Without it the queues are those for IP, and every number may be used."""
    queue = load_settings_text("[queue]\nlayer2 = false\ncount = 16", FILE).queue
    assert (queue.layer2_number, queue.numbers) == (None, tuple(range(16)))
    assert load_settings_text("[queue]\nlayer2 = false\nfirst = 65535", FILE).queue.numbers == (65535,)


def test_all_problems_are_named_at_once() -> None:
    """Two mistakes give two lines."""
    with pytest.raises(ConfigError) as refused:
        load_settings_text('run_dir = "x"\nlog_dir = "y"', FILE)
    assert len(refused.value.detail.splitlines()) == 2


@pytest.mark.parametrize("text", ["a = ", "[queue\n", "x = 99999999999999999999999", "a=" + "[" * 5000])
def test_broken_toml_is_refused(text: str) -> None:
    """Text that is no usable TOML is a ConfigError, whatever the parser thinks of it."""
    with pytest.raises(ConfigError):
        load_settings_text(text, FILE)


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    """Missing, binary, huge, or a directory: refused with the file's name."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    (tmp_path / "huge").write_bytes(b"#" * ((1 << 20) + 1))
    for name in ("missing", "binary", "huge", "."):
        with pytest.raises(ConfigError, match=str(tmp_path / name)):
            load_settings(tmp_path / name)
