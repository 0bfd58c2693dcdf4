"""Checks of the books that a feed supplies: their form, and the book that the messages built."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from mtsim.engine.units import EMPTY_ASK, EMPTY_BID
from mtsim.model.check_rules import FULL_LEVELS, Executed, Tally, touch_text
from mtsim.model.histogram import Histogram
from mtsim.model.sources.base import Session, Truth

_SIDES = ("bid", "ask")
_FEWEST_MOVES = 200


@dataclass
class Agreement:
    """How often the engine's book was the book that the feed shows."""

    snapshots: int = 0
    """Snapshots whose touch was compared."""
    touch_equal: int = 0
    compared: int = 0
    """Snapshots compared on `levels` levels of both sides."""
    levels: int = 0
    equal: int = 0

    def as_json(self) -> dict[str, int]:
        return {
            "snapshots": self.snapshots,
            "touch_equal": self.touch_equal,
            "compared": self.compared,
            "levels": self.levels,
            "equal": self.equal,
        }


class SnapshotChecks:
    """What is counted of the snapshots of one session, into `tallies` and the two histograms of
    spreads: of the snapshots, and of the book at the same moments."""

    def __init__(
        self,
        session: Session,
        tallies: dict[str, Tally],
        shown_spreads: Histogram,
        held_spreads: Histogram,
    ):
        self.agreement = Agreement(levels=session.truth_levels)
        self._session = session
        self._tallies = tallies
        self._shown_spreads = shown_spreads
        self._held_spreads = held_spreads
        self._levels_seen = Counter[int]()
        self._first_row_of: dict[int, int] = {}
        self._last_touch: tuple[int, np.ndarray] | None = None
        self._imbalance = _Moments()

    def see(self, done: Executed, touch: np.ndarray) -> None:
        """Look at one batch; `touch[k]` is the touch after its first k messages."""
        if done.truth is not None and len(done.truth.after):
            self._see_form(done.truth)
            self._see_agreement(done, done.truth, touch)
            self._see_imbalance(done.truth)

    def judge(self) -> None:
        """Count what can only be said at the end."""
        self._judge_levels()
        self._judge_imbalance()

    def _see_form(self, truth: Truth) -> None:
        crossed, disordered, negative, count = _form(truth.tick, truth.lots)
        bid, ask = truth.tick[:, 0, 0], truth.tick[:, 1, 0]
        self._tallies["snapshot-sides"].see(
            crossed, truth.row, lambda k: f"bid {bid[k]}, ask {ask[k]}"
        )
        self._tallies["snapshot-order"].see(
            disordered >= 0, truth.row, lambda k: _order_text(truth.tick[k], int(disordered[k]))
        )
        self._tallies["snapshot-sizes"].see(
            negative, truth.row, lambda k: f"{truth.lots[k].min()} lots"
        )

        for levels, n in enumerate(np.bincount(count).tolist()):
            if n:
                self._levels_seen[levels] += n
                if levels not in self._first_row_of:
                    self._first_row_of[levels] = int(truth.row[np.argmax(count == levels)])
        both = count > 0
        self._shown_spreads.add(np.maximum(ask[both] - bid[both], 0))

    def _see_agreement(self, done: Executed, truth: Truth, touch: np.ndarray) -> None:
        if self._session.truth_levels < 1:
            return
        # By columns: numpy is slow to reduce an axis of two.
        bid, ask = _touch_of(truth)
        held_bid, held_ask = touch[truth.after, 0], touch[truth.after, 1]
        wrong = (bid != held_bid) | (ask != held_ask)
        self._tallies["touch-agreement"].see(
            wrong,
            truth.row,
            lambda k: (
                f"the snapshot has {touch_text((bid[k], ask[k]))}, the book "
                f"{touch_text((held_bid[k], held_ask[k]))}"
            ),
        )
        both = (held_bid != EMPTY_BID) & (held_ask != EMPTY_ASK)
        self._held_spreads.add((held_ask - held_bid)[both])
        self.agreement.snapshots += len(wrong)
        self.agreement.touch_equal += int(np.count_nonzero(~wrong))
        if len(done.compared):
            self._see_depth(done, truth)

    def _see_depth(self, done: Executed, truth: Truth) -> None:
        levels = min(self._session.truth_levels, truth.tick.shape[2])
        rows = truth.row[done.compared]
        tick, lots = truth.tick[done.compared], truth.lots[done.compared]
        equal = same_levels(
            tick[:, :, :levels],
            lots[:, :, :levels],
            done.tick[:, :, :levels],
            done.lots[:, :, :levels],
        )
        wrong = np.asarray(~equal.reshape(len(equal), -1).all(axis=1))
        self.agreement.compared += len(wrong)
        self.agreement.equal += int(np.count_nonzero(~wrong))
        self._tallies["book-agreement"].count(
            equal.size,
            int(np.count_nonzero(~equal)),
            wrong,
            rows,
            lambda k: _level_text(equal[k], tick[k], lots[k], done.tick[k], done.lots[k]),
        )

        # A shifted index shows a deeper level of the book as its best one.
        there, held = lots[:, :, 0] > 0, done.lots > 0
        deeper = ((done.tick[:, :, 1:] == tick[:, :, :1]) & held[:, :, 1:]).any(axis=2)
        self._tallies["depth-indexing"].see(
            (deeper & there).any(axis=1),
            rows,
            lambda k: (
                f"level 0 has {touch_text(tick[k, :, 0])}, the touch is "
                f"{touch_text(done.tick[k, :, 0])}"
            ),
        )

        full = min(FULL_LEVELS, tick.shape[2])
        shown, could = (lots > 0).sum(axis=2), held.sum(axis=2)
        # Where levels are all that the feed tells, the book has no more of them than the snapshots.
        least = np.minimum(full, could) if self._session.by_order else full
        self._tallies["snapshot-levels"].see(
            (shown < least).any(axis=1),
            rows,
            lambda k: (
                f"{shown[k, 0]} bid and {shown[k, 1]} ask levels, the book has "
                f"{could[k, 0]} and {could[k, 1]}"
            ),
        )

    def _judge_levels(self) -> None:
        tally = self._tallies["levels-constant"]
        total = self._levels_seen.total()
        if not total:
            return
        counts = np.array(sorted(self._levels_seen))
        weights = np.cumsum([self._levels_seen[int(count)] for count in counts])
        median = int(counts[np.searchsorted(weights, total / 2)])
        thin = [count for count in counts.tolist() if 2 * count < median]
        tally.examined = total
        tally.offences = sum(self._levels_seen[count] for count in thin)
        if thin:
            tally.row = min(self._first_row_of[count] for count in thin)
            tally.found = f"as few as {thin[0]} levels, the median is {median}"

    def _see_imbalance(self, truth: Truth) -> None:
        bid, ask = _touch_of(truth)
        at = np.flatnonzero((bid != EMPTY_BID) & (ask != EMPTY_ASK))
        if not len(at):
            return
        mid_x2, lots = (bid + ask)[at], truth.lots[at, :, 0]
        if self._last_touch is not None:
            mid_x2 = np.concatenate([[self._last_touch[0]], mid_x2])
            lots = np.concatenate([[self._last_touch[1]], lots])
        moves = np.diff(mid_x2)
        moved = np.flatnonzero(moves)
        bids, asks = lots[moved, 0].astype(np.float64), lots[moved, 1].astype(np.float64)
        self._imbalance.add((bids - asks) / (bids + asks), np.sign(moves[moved]).astype(np.float64))
        self._last_touch = int(mid_x2[-1]), lots[-1]

    def _judge_imbalance(self) -> None:
        tally, correlation = self._tallies["imbalance-sign"], self._imbalance.correlation()
        tally.examined = int(self._imbalance.n >= _FEWEST_MOVES)
        # Three standard errors: a correlation of nothing is not held against a feed.
        if tally.examined and correlation < -3 / np.sqrt(self._imbalance.n):
            tally.offences = 1
            tally.found = f"a correlation of {correlation:.3f} in {self._imbalance.n:,} moves"


def same_levels(
    tick: np.ndarray, lots: np.ndarray, other_tick: np.ndarray, other_lots: np.ndarray
) -> np.ndarray:
    """Level by level, whether two books agree; the price of a level that is not there is none."""
    return (lots == other_lots) & ((tick == other_tick) | (lots == 0))


def _touch_of(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """The best bid and ask tick of each snapshot, int64."""
    bid = np.where(truth.lots[:, 0, 0] > 0, truth.tick[:, 0, 0], np.int64(EMPTY_BID))
    ask = np.where(truth.lots[:, 1, 0] > 0, truth.tick[:, 1, 0], np.int64(EMPTY_ASK))
    return bid, ask


def _order_text(tick: np.ndarray, place: int) -> str:
    side, level = divmod(place, tick.shape[1])
    before, after = tick[side, level : level + 2].tolist()
    return f"{_SIDES[side]} level {level} at {before}, level {level + 1} at {after}"


def _level_text(
    equal: np.ndarray, tick: np.ndarray, lots: np.ndarray, held_tick: np.ndarray, held: np.ndarray
) -> str:
    side, level = np.argwhere(~equal)[0].tolist()
    at = side, level
    return (
        f"{_SIDES[side]} level {level}: the snapshot has {lots[at]} lots at {tick[at]}, the book "
        f"{held[at]} at {held_tick[at]}"
    )


@dataclass
class _Moments:
    """Sums for a correlation that is never computed from the values themselves."""

    n: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(5))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        self.n += len(x)
        self.sums += (x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum())

    def correlation(self) -> float:
        x, y, xx, yy, xy = self.sums / max(1, self.n)
        scale = (xx - x * x) * (yy - y * y)
        return float((xy - x * y) / np.sqrt(scale)) if scale > 0 else 0.0


@njit(cache=True, nogil=True)
def _form(tick, lots):
    """What is wrong with snapshots by themselves: whether bids meet asks; where levels are not in
    order (side * L + level before, -1 if they are); whether lots are negative; levels of the side
    that has fewer."""
    n, sides, levels = tick.shape
    crossed = np.zeros(n, np.bool_)
    disordered = np.full(n, -1, np.int64)
    negative = np.zeros(n, np.bool_)
    fewest = np.full(n, levels, np.int64)
    for i in range(n):
        crossed[i] = lots[i, 0, 0] > 0 and lots[i, 1, 0] > 0 and tick[i, 0, 0] >= tick[i, 1, 0]
        for side in range(sides):
            count = 0
            for level in range(levels):
                if lots[i, side, level] < 0:
                    negative[i] = True
                if lots[i, side, level] <= 0:
                    continue
                count += 1
                if level == 0:
                    continue
                worse = tick[i, side, level] - tick[i, side, level - 1]
                hole = lots[i, side, level - 1] <= 0
                if (hole or (worse >= 0 if side == 0 else worse <= 0)) and disordered[i] < 0:
                    disordered[i] = side * levels + level - 1
            fewest[i] = min(fewest[i], count)
    return crossed, disordered, negative, fewest
