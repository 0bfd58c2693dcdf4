"""Checks of the books that a feed supplies: their form, and the book that the messages built."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

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
        self._moves = np.zeros(_MOVE_WORDS)

    def see(self, done: Executed, touch: np.ndarray) -> None:
        """Look at one batch; `touch[k]` is the touch after its first k messages."""
        truth = done.truth
        if truth is not None and len(truth.after):
            look = _Look(*_look(truth.tick, truth.lots, truth.after, touch, self._moves))
            self._see_form(truth, look)
            self._see_agreement(done, truth, touch, look)

    def judge(self) -> None:
        """Count what can only be said at the end."""
        self._judge_levels()
        self._judge_imbalance()

    def _see_form(self, truth: Truth, look: _Look) -> None:
        bid, ask = truth.tick[:, 0, 0], truth.tick[:, 1, 0]
        self._tallies["snapshot-sides"].see(
            look.crossed, truth.row, lambda k: f"bid {bid[k]}, ask {ask[k]}"
        )
        self._tallies["snapshot-order"].see(
            look.disordered >= 0,
            truth.row,
            lambda k: _order_text(truth.tick[k], int(look.disordered[k])),
        )
        self._tallies["snapshot-sizes"].see(
            look.negative, truth.row, lambda k: f"{truth.lots[k].min()} lots"
        )

        for levels, n in enumerate(np.bincount(look.fewest).tolist()):
            if n:
                self._levels_seen[levels] += n
                if levels not in self._first_row_of:
                    self._first_row_of[levels] = int(truth.row[np.argmax(look.fewest == levels)])
        self._shown_spreads.add(look.shown_spread[look.shown_spread >= 0])

    def _see_agreement(self, done: Executed, truth: Truth, touch: np.ndarray, look: _Look) -> None:
        if self._session.truth_levels < 1:
            return
        wrong = look.other_touch
        self._tallies["touch-agreement"].see(
            wrong,
            truth.row,
            lambda k: (
                f"the snapshot has {touch_text(_touch_of(truth, k))}, the book "
                f"{touch_text(touch[truth.after[k]])}"
            ),
        )
        self._held_spreads.add(look.held_spread[look.held_spread >= 0])
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

    def _judge_imbalance(self) -> None:
        tally, n = self._tallies["imbalance-sign"], int(self._moves[_N_MOVES])
        tally.examined = int(n >= _FEWEST_MOVES)
        correlation = _correlation(*self._moves[: _CROSS + 1].tolist())
        # Three standard errors: a correlation of nothing is not held against a feed.
        if tally.examined and correlation < -3 / np.sqrt(n):
            tally.offences = 1
            tally.found = f"a correlation of {correlation:.3f} in {n:,} moves"


def same_levels(
    tick: np.ndarray, lots: np.ndarray, other_tick: np.ndarray, other_lots: np.ndarray
) -> np.ndarray:
    """Level by level, whether two books agree; the price of a level that is not there is none."""
    return (lots == other_lots) & ((tick == other_tick) | (lots == 0))


def _touch_of(truth: Truth, k: int) -> tuple[int, int]:
    """The best bid and ask tick of a snapshot."""
    (bid, ask), (bids, asks) = truth.tick[k, :, 0].tolist(), truth.lots[k, :, 0].tolist()
    return bid if bids > 0 else EMPTY_BID, ask if asks > 0 else EMPTY_ASK


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


def _correlation(n: float, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """The correlation of n pairs by their sums, 0 where one of them does not vary."""
    n = max(1.0, n)
    scale = (xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2)
    return (xy / n - x / n * (y / n)) / np.sqrt(scale) if scale > 0 else 0.0


class _Look(NamedTuple):
    """What n snapshots are by themselves and beside the book's touch."""

    crossed: np.ndarray  # bool: bids meet asks
    disordered: np.ndarray  # int64: side * L + the level before the disorder, -1 if there is none
    negative: np.ndarray  # bool: a level has negative lots
    fewest: np.ndarray  # int64: levels of the side that has fewer
    shown_spread: np.ndarray  # int64: at least 0, of the snapshot; -1 where a side is empty
    held_spread: np.ndarray  # int64: of the book, likewise
    other_touch: np.ndarray  # bool: the touch is not the book's


# Sums over the moves of the mid, of the imbalance x before and the sign y; and the last snapshot.
_N_MOVES, _IMBALANCE, _SIGN, _IMBALANCE_2, _SIGN_2, _CROSS = range(6)
_HAS_LAST, _LAST_MID_X2, _LAST_BIDS, _LAST_ASKS = range(6, 10)
_MOVE_WORDS = 10
_NO_BID, _NO_ASK = int(EMPTY_BID), int(EMPTY_ASK)


@njit(cache=True, nogil=True, error_model="numpy")
def _look(tick, lots, after, touch, moves):
    """The columns of `_Look`, in one pass; the moves between snapshots are added to `moves`."""
    n, sides, levels = tick.shape
    crossed, disordered = np.zeros(n, np.bool_), np.full(n, -1, np.int64)
    negative, fewest = np.zeros(n, np.bool_), np.empty(n, np.int64)
    shown_spread, held_spread = np.empty(n, np.int64), np.empty(n, np.int64)
    other_touch = np.empty(n, np.bool_)
    for i in range(n):
        fewest[i] = levels
        for side in range(sides):
            count = 0
            for level in range(levels):
                there = lots[i, side, level]
                if there < 0:
                    negative[i] = True
                if there <= 0:
                    continue
                count += 1
                if level == 0:
                    continue
                worse = tick[i, side, level] - tick[i, side, level - 1]
                hole = lots[i, side, level - 1] <= 0
                if (hole or (worse >= 0 if side == 0 else worse <= 0)) and disordered[i] < 0:
                    disordered[i] = side * levels + level - 1
            fewest[i] = min(fewest[i], count)
        bids, asks = lots[i, 0, 0], lots[i, 1, 0]
        bid, ask = np.int64(tick[i, 0, 0]), np.int64(tick[i, 1, 0])
        crossed[i] = bids > 0 and asks > 0 and bid >= ask
        shown_spread[i] = max(ask - bid, 0) if fewest[i] > 0 else -1
        if bids <= 0:
            bid = np.int64(_NO_BID)
        if asks <= 0:
            ask = np.int64(_NO_ASK)
        held_bid, held_ask = touch[after[i], 0], touch[after[i], 1]
        other_touch[i] = bid != held_bid or ask != held_ask
        both = held_bid != _NO_BID and held_ask != _NO_ASK
        held_spread[i] = max(held_ask - held_bid, 0) if both else -1
        if bid == _NO_BID or ask == _NO_ASK:
            continue
        move = bid + ask - moves[_LAST_MID_X2]
        if moves[_HAS_LAST] != 0 and move != 0:
            before, behind = moves[_LAST_BIDS], moves[_LAST_ASKS]
            x, y = (before - behind) / (before + behind), np.sign(move)
            moves[_N_MOVES] += 1
            moves[_IMBALANCE] += x
            moves[_SIGN] += y
            moves[_IMBALANCE_2] += x * x
            moves[_SIGN_2] += y * y
            moves[_CROSS] += x * y
        moves[_HAS_LAST], moves[_LAST_MID_X2] = 1, bid + ask
        moves[_LAST_BIDS], moves[_LAST_ASKS] = bids, asks
    return crossed, disordered, negative, fewest, shown_spread, held_spread, other_touch
