"""Captures judged by a candidate policy, and where asked by another one beside it, frame for frame.

In: candidates and capture files. Out: a `Summary`; on the way each batch's outcomes for whoever wants every frame. One
run is one gateway: flows and limits go on from file to file. Called by `conduitctl simulate`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Verdict
from fastpath.replay import Rollup, Row, Unjudged
from gateway.simulate.sources import opened
from gateway.simulate.summary import Conversation, LeftOut, Reading, Sum, Summary
from gateway.simulate.words import UNJUDGED_TEXT, spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastpath.replay import Capture, Outcome
    from gateway.simulate.candidate import Candidate
    from gateway.simulate.sources import CaptureFile
    from gateway.simulate.words import Said

    # file, bytes of it read so far
    Progress = Callable[[CaptureFile, int], None]
    # file, number of the first frame (from 1), outcomes by the candidate and by the other
    Frames = Callable[[CaptureFile, int, list[Outcome], list[Outcome] | None], None]

ROWS_KEPT: Final = 1 << 20  # conversations: 128 MiB where a capture has so many


class Simulation:
    """One run. `other` is compared with the candidate.

    limit_rows: how many conversations the summary holds, what the policy forbids first, then the largest; None: all of
    them, in the order of their first frames. most_rows: for how many there is room while reading.
    """

    def __init__(
        self,
        candidate: Candidate,
        other: Candidate | None = None,
        *,
        limit_rows: int | None = None,
        most_rows: int = ROWS_KEPT,
    ) -> None:
        self._candidate = candidate
        self._other = other
        self._limit_rows = limit_rows
        seed = secrets.randbits(64)  # who made the capture must not know where rows collide
        self._sums = Rollup(seed, by_conversation=False, most_rows=most_rows)
        self._talks = Rollup(seed, most_rows=most_rows)
        self._differences = Rollup(seed, most_rows=most_rows)
        self._difference_sums = Rollup(seed, by_conversation=False, most_rows=most_rows)
        self._readings: list[Reading] = []

    def run(
        self, files: Iterable[CaptureFile], *, progress: Progress | None = None, frames: Frames | None = None
    ) -> Summary:
        """Judge every frame of the files in their order. Raises ConfigError for a file that is no capture."""
        for file in files:
            for one in self._judges():
                one.came_in(file.ingress)
            with opened(file) as capture:
                self._read(file, capture, progress, frames)
        return self._summary()

    def _judges(self) -> list[Candidate]:
        return [self._candidate] if self._other is None else [self._candidate, self._other]

    def _read(self, file: CaptureFile, capture: Capture, progress: Progress | None, frames: Frames | None) -> None:
        before = self._sums.bytes
        while count := capture.read():
            for one in self._judges():
                one.judge(capture, count)
            self._count(capture)
            if frames is not None:
                beside = None if self._other is None else self._other.replay.said(capture)
                frames(file, capture.frames - count + 1, self._candidate.replay.said(capture), beside)
            if progress is not None:
                progress(file, capture.at)
        self._readings.append(
            Reading(
                str(file.path),
                capture.frames,
                self._sums.bytes - before,
                file.ingress,
                capture.damage,
                capture.at,
                cut=capture.is_cut,
            )
        )

    def _count(self, capture: Capture) -> None:
        replay = self._candidate.replay
        self._sums.add(capture, replay)
        self._talks.add(capture, replay)
        if self._other is not None:
            self._differences.add_differences(capture, replay, self._other.replay)
            self._difference_sums.add_differences(capture, replay, self._other.replay)

    def _summary(self) -> Summary:
        other = self._other
        conversations, left_out = self._page(self._talks)
        differences, differences_left_out = self._page(self._differences)
        return Summary(
            policy=self._candidate.name,
            digest=self._candidate.names.digest,
            stages=self._candidate.stages.value,
            readings=tuple(self._readings),
            sums=tuple(self._sum(row) for row in self._sums.rows()),
            conversations=conversations,
            left_out=left_out,
            flows_evicted=self._candidate.replay.flows_evicted,
            other=other.name if other else None,
            other_digest=other.names.digest if other else None,
            difference_sums=tuple(self._sum(row) for row in self._difference_sums.rows()),
            differences=differences,
            differences_left_out=differences_left_out,
        )

    def _sum(self, row: Row) -> Sum:
        return Sum(**self._said_and_counted(row))

    def _conversation(self, row: Row) -> Conversation:
        who = spoken(row.talk) if row.talk is not None and not row.unjudged else None
        return Conversation(**self._said_and_counted(row), spoken=who)

    def _said_and_counted(self, row: Row) -> dict[str, Any]:
        return {
            "said": self._candidate.wording.said(row.judged),
            "frames": row.frames,
            "bytes": row.bytes,
            "first_ns": row.first_ns,
            "last_ns": row.last_ns,
            "unjudged": UNJUDGED_TEXT[Unjudged(row.unjudged)] if row.unjudged else None,
            "other": self._beside(row),
        }

    def _beside(self, row: Row) -> Said | None:
        return self._other.wording.said(row.other) if self._other is not None and row.other is not None else None

    def _page(self, rollup: Rollup) -> tuple[tuple[Conversation, ...], LeftOut]:
        """Return the conversations of the summary and what it leaves out: only the former are put into words."""
        rows, beyond = rollup.rows(), list[Row]()
        if self._limit_rows is not None:
            rows.sort(key=lambda row: (row.judged.policy_verdict != Verdict.DROP, -row.frames))
            rows, beyond = rows[: self._limit_rows], rows[self._limit_rows :]
        left_out = LeftOut(
            None if rollup.frames_left_out else len(beyond),
            rollup.frames_left_out + sum(row.frames for row in beyond),
            rollup.bytes_left_out + sum(row.bytes for row in beyond),
        )
        return tuple(self._conversation(row) for row in rows), left_out
