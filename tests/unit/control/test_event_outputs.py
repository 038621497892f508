"""Events on a bad disk, with rotation, and to a follower that does not read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gateway.cli.main import hoisted
from gateway.control.event_log import EventLog
from gateway.control.event_stream import LINES_WAITING, EventStream


def _until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not ready():
        assert time.monotonic() < end, "waited 5 s"
        time.sleep(0.001)  # a poll against the deadline above


def test_rotation_keeps_every_line(tmp_path: Path) -> None:
    """Files rotate by size; no line is lost while few enough files are kept."""
    log = EventLog(tmp_path, rotate_bytes=100, files_kept=50)
    for number in range(20):
        log.put(b"%030d\n" % number, 1)
    log.close()
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(int(line) for line in lines) == list(range(20))
    assert (log.written, log.lost) == (20, 0)
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_bad_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    """Where no file can be made, lines are counted as lost; when the disk is back, writing goes on."""
    place = tmp_path / "log"
    place.write_text("a file where a directory should be")
    log = EventLog(place)
    log.put(b"lost\n", 1)
    _until(lambda: log.lost == 1)
    assert log.error
    place.unlink()
    log.put(b"kept\n", 1)
    _until(lambda: log.written == 1)
    log.close()
    assert (place / "events.jsonl").read_text() == "kept\n"


def test_line_cut_by_a_crash_is_closed(tmp_path: Path) -> None:
    """A half-written last line never swallows the first new one."""
    (tmp_path / "events.jsonl").write_text('{"half')
    log = EventLog(tmp_path)
    log.put(b"{}\n", 1)
    log.close()
    assert (tmp_path / "events.jsonl").read_text() == '{"half\n{}\n'


def test_slow_follower_gets_a_notice_and_an_end(tmp_path: Path) -> None:
    """A full follower is dropped without waiting; the last things it gets are the notice and the end."""
    log = EventLog(tmp_path)
    stream = EventStream(log)
    follower = stream.subscribe()
    stream.publish({"event_type": "conduit", "number": number} for number in range(LINES_WAITING + 100))
    assert stream.followers == 0
    lines = [follower.lines.get_nowait() for _ in range(follower.lines.qsize())]
    assert lines[-1] is None
    assert b"events.dropped_follower" in (lines[-2] or b"")
    assert len(stream.recent()) == 4096
    log.close()


def test_global_options_stand_anywhere() -> None:
    """`-o` and `--socket` are taken after the verb too, but not out of the command that `lab exec` runs."""
    assert hoisted(["status", "-o", "json"]) == ["--output", "json", "status"]
    assert hoisted(["--socket=/x", "zones"]) == ["--socket", "/x", "zones"]
    assert hoisted(["lab", "exec", "plc-1", "ls", "-o", "x"]) == ["lab", "exec", "plc-1", "ls", "-o", "x"]
