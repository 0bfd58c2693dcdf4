"""The actions and features of one session, put aside on disk between observing and encoding.

A tokenizer can be fitted when all training actions are known, and encode only then; what was
observed is kept until it does, so that no session is executed twice. Knows parts; knows no token.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mtsim.model.actions import ACTION_DTYPE
from mtsim.model.dataset_files import DatasetWriter, Growing
from mtsim.model.features import FEATURES
from mtsim.model.history import observe_session
from mtsim.model.past import Settings
from mtsim.model.split import Part, Piece
from mtsim.model.store import StoredSession

_CHUNK_ACTIONS = 1 << 16


class Chunk(NamedTuple):
    """Some actions of one stretch in order, and what was observed before each."""

    actions: np.ndarray  # ACTION_DTYPE [n], at least one
    features: np.ndarray  # float32 [n, F]
    parts: np.ndarray  # uint8 [n]
    closing: np.ndarray | None  # float32 [F]: observed after the last, where the stretch ends here


@dataclass
class Recording:
    """One session's actions on disk. Action k is of the part of the last of `ranges` that begins
    at k or before."""

    session: StoredSession
    actions: Growing
    features: Growing
    ranges: list[tuple[int, Part]]
    n_actions: int = 0
    closed: list[int] = field(default_factory=list)
    """How many actions there were when each stretch ended, and what was observed then."""
    closings: list[np.ndarray] = field(default_factory=list)
    silent: Counter[str] = field(default_factory=Counter)
    is_short: bool = False
    """Its actions are too few to give every part some that it was to have: they are of none."""

    def counts(self) -> dict[Part, int]:
        """The actions of each part, in the order of the parts."""
        counts = Counter[Part]()
        for (first, part), end in zip(self.ranges, self._range_ends(), strict=True):
            counts[part] += end - first
        return {part: counts[part] for part in Part if counts[part]}

    def training(self) -> Iterator[np.ndarray]:
        """The training actions in order, in bounded arrays; nothing of other parts is read."""
        for (first, part), end in zip(self.ranges, self._range_ends(), strict=True):
            if part == Part.TRAIN:
                for start in range(first, end, _CHUNK_ACTIONS):
                    yield self._actions(start, min(end, start + _CHUNK_ACTIONS))

    def chunks(self) -> Iterator[Chunk]:
        """All actions in order, stretch by stretch."""
        begin = 0
        for end, closing in zip(self.closed, self.closings, strict=True):
            for start in range(begin, end, _CHUNK_ACTIONS):
                stop = min(end, start + _CHUNK_ACTIONS)
                yield Chunk(
                    self._actions(start, stop),
                    self._features(start, stop),
                    self._parts(start, stop),
                    closing if stop == end else None,
                )
            begin = end

    def _range_ends(self) -> list[int]:
        return [*(first for first, _ in self.ranges[1:]), self.n_actions]

    def _actions(self, start: int, stop: int) -> np.ndarray:
        offset = start * ACTION_DTYPE.itemsize
        return np.fromfile(self.actions.path, ACTION_DTYPE, stop - start, offset=offset)

    def _features(self, start: int, stop: int) -> np.ndarray:
        width = len(FEATURES)
        count, offset = (stop - start) * width, start * width * 4
        return np.fromfile(self.features.path, "<f4", count, offset=offset).reshape(-1, width)

    def _parts(self, start: int, stop: int) -> np.ndarray:
        firsts = [first for first, _ in self.ranges]
        here = self.ranges[bisect_right(firsts, start) - 1 : bisect_right(firsts, stop - 1)]
        edges = [start, *(first for first, _ in here[1:]), stop]
        return np.repeat(np.array([part for _, part in here], np.uint8), np.diff(edges))


def record(
    session: StoredSession,
    pieces: tuple[Piece, ...],
    writer: DatasetWriter,
    number: int,
    settings: Settings,
    *,
    quiet_ns: int,
    purge_events: int,
    progress: Callable[[int], None],
) -> Recording:
    """Observe a session into scratch files of `writer`. `progress` is told the actions so far.

    Where a day is of several parts, each has its share of the actions, and the `purge_events` after
    each boundary are of none.
    """
    recording = Recording(
        session,
        writer.scratch(f"{number:06}-actions"),
        writer.scratch(f"{number:06}-features"),
        ranges=[],
    )
    for observed in observe_session(session, settings, quiet_ns=quiet_ns):
        recording.silent += observed.silent
        recording.closed += (recording.n_actions + observed.closed).tolist()
        recording.closings += list(observed.closing_features)
        recording.actions.append(observed.actions)
        recording.features.append(observed.features)
        recording.n_actions += len(observed.actions)
        progress(recording.n_actions)
    recording.actions.set_aside()
    recording.features.set_aside()
    n_actions = recording.n_actions
    before = [int(piece.until * n_actions) for piece in pieces[:-1]]
    recording.ranges = _ranges(pieces, before, purge_events, n_actions)
    if not {piece.part for piece in pieces} <= {part for _, part in recording.ranges}:
        recording.is_short = True
        recording.ranges = [(0, Part.NONE)]
    return recording


def _ranges(
    pieces: tuple[Piece, ...], before: list[int], purge_events: int, n_actions: int
) -> list[tuple[int, Part]]:
    """Where each part begins; ranges without an action are left out, but for the first."""
    ranges = [(0, pieces[0].part)]
    for first, piece in zip(before, pieces[1:], strict=True):
        ranges += [(first, Part.NONE), (min(first + purge_events, n_actions), piece.part)]
    # A purge may reach past the next boundary: the later boundary counts from there on.
    starts = np.maximum.accumulate([first for first, _ in ranges]).tolist()
    ends = [*starts[1:], n_actions]
    kept = [
        (start, part)
        for start, end, (_, part) in zip(starts, ends, ranges, strict=True)
        if end > start
    ]
    return kept or ranges[:1]
