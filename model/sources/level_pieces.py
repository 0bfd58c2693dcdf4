"""Pieces of a feed by level, filled row by row by a reader that walks through messages.

Knows the rows (`levels.L2_DTYPE`) and where a day ends; what the rows mean, its reader knows.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from mtsim.engine.units import MAX_TICK
from mtsim.model.sources.base import Truth
from mtsim.model.sources.day_source import DAY_NS, Piece
from mtsim.model.sources.levels import L2_DTYPE, What

_PIECE_ROWS = 1 << 16
_LEVEL = int(What.LEVEL)
_OUT_OF_RANGE = "level at a price that the engine does not have, left out"

Levels = list[tuple[int, int]]
"""Levels of one side as (tick, lots)."""


class LevelPieces:
    """The piece that is being filled, and those that are done."""

    def __init__(self, truth_levels: int = 1) -> None:
        self.now_ns = 0
        """The time of what is added, from the epoch; 0 before the first `begin`."""
        self.used = 0
        self.dropped: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self._truth_levels = truth_levels
        self._flat: list[int] = []  # Six numbers a row.
        self._truth: list[tuple[int, list[list[int]], list[list[int]]]] = []
        self._done: list[Piece] = []

    def begin(self, now_ns: int) -> None:
        """What is added from here on happens at this time, or now if that is later."""
        now_ns = max(now_ns, self.now_ns)
        if self._flat and now_ns // DAY_NS != self.now_ns // DAY_NS:
            self._cut()
        self.now_ns = now_ns

    def add(self, row: int, lots: int, tick: int, side: int, what: What) -> None:
        """Add one row, at a price that the engine has."""
        self._flat += (self.now_ns, row, lots, tick, side, int(what))

    def add_levels(self, row: int, bids: Levels, asks: Levels) -> None:
        """Add a LEVEL row for each of these whose price the engine has."""
        now, flat = self.now_ns, self._flat
        for tick, lots in bids:
            if tick <= MAX_TICK:
                flat += (now, row, lots, tick, 0, _LEVEL)
            else:
                self.noticed[_OUT_OF_RANGE] += 1
        for tick, lots in asks:
            if tick <= MAX_TICK:
                flat += (now, row, lots, tick, 1, _LEVEL)
            else:
                self.noticed[_OUT_OF_RANGE] += 1

    def add_truth(self, row: int, best: tuple[Levels, Levels]) -> None:
        """Add a MARK with the best bids and asks of a snapshot, as many as there are and count."""
        levels = self._truth_levels
        padded = [(side + [(0, 0)] * levels)[:levels] for side in best]
        ticks = [[min(tick, MAX_TICK) for tick, _ in side] for side in padded]
        lots = [[lots for _, lots in side] for side in padded]
        self._truth.append((row, ticks, lots))
        self.add(row, 0, 0, 0, What.MARK)

    def take(self, *, rest: bool = False) -> list[Piece]:
        """The pieces that are done, with `rest` the last one, too. Call it between two messages."""
        if rest or len(self._flat) > 6 * _PIECE_ROWS:
            self._cut()
        done, self._done = self._done, []
        return done

    def _cut(self) -> None:
        numbers = np.array(self._flat, np.int64).reshape(-1, 6)
        rows = np.zeros(len(numbers), L2_DTYPE)
        for column, name in enumerate(("time_ns", "row", "lots", "tick", "side", "what")):
            rows[name] = numbers[:, column]
        truth = None
        if self._truth:
            row, ticks, lots = zip(*self._truth, strict=True)
            after = np.zeros(len(row), np.int64)
            truth = Truth(after, np.array(row), np.array(ticks, np.int32), np.array(lots))
        self._done.append(Piece(rows, truth, self.used, +self.dropped, +self.noticed))
        self._flat, self._truth, self.used = [], [], 0
        self.dropped, self.noticed = Counter(), Counter()
