"""Checks of what traded: on which side of the mid, how near the touch, how much, how spread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.model.check_rules import (
    SANE_RATIO,
    SPREAD_BLOCK,
    SUDDEN_RATIO,
    Executed,
    Tally,
    touch_text,
)
from mtsim.model.histogram import Histogram

_TRAILING_BLOCKS = 32
_FEWEST_BLOCKS = 5
_FEWEST_SPREADS = 50
_INFERRED = int(Origin.INFERRED)


class PrintChecks:
    """What is counted of the aggressors of one session and of the spreads they met, into `tallies`.

    The spreads of snapshots, and of the book at the same moments, come from elsewhere.
    """

    def __init__(
        self, tallies: dict[str, Tally], shown_spreads: Histogram, held_spreads: Histogram
    ):
        self._tallies = tallies
        self._spreads = {
            "snapshot": shown_spreads,
            "book": held_spreads,
            "print": Histogram(),
            "bounce": Histogram(),
        }
        self._rested = False
        self._block: list[np.ndarray] = []
        self._block_medians: list[float] = []
        self._last_print: tuple[bool, int] | None = None

    def see(self, done: Executed, touch: np.ndarray) -> None:
        """Look at one batch; `touch[k]` is the touch after its first k messages."""
        self._rested |= bool((done.results["resting_lots"] > 0).any())
        if len(done.feed):
            self._see_aggressors(done, touch)
            self._see_spreads(touch[1:], done.feed["row"])

    def judge(self) -> None:
        """Count what can only be said at the end."""
        self._judge_spreads()

    def _see_aggressors(self, done: Executed, touch: np.ndarray) -> None:
        feed, results = done.feed, done.results
        takes = is_aggressor(feed)
        at = np.flatnonzero(takes)
        if not len(at):
            return
        message, rows = feed["message"][at], feed["row"][at]
        filled = results["filled_lots"][at]
        self._see_fills(message["lots"], filled, rows)
        priced = (message["kind"] == Kind.LIMIT) | (filled > 0)
        worst = np.where(
            message["kind"] == Kind.LIMIT, message["price_tick"], results["price_tick"][at]
        ).astype(np.int64)
        buys = message["side"] == Side.BUY

        before = self._evidence(done, touch, at, repaired=False)
        both = priced & (before[:, 0] != EMPTY_BID) & (before[:, 1] != EMPTY_ASK)
        mid_x2 = before.sum(axis=1)
        for name, mine, wrong in (
            ("buys-above-mid", buys, 2 * worst < mid_x2),
            ("sells-below-mid", ~buys, 2 * worst > mid_x2),
        ):
            chosen = both & mine
            self._tallies[name].see(
                wrong[chosen], rows[chosen], _print_text(worst[chosen], before[chosen])
            )
        self._spreads["print"].add(np.maximum(before[:, 1] - before[:, 0], 0)[both])

        before = self._evidence(done, touch, at, repaired=True)
        both = priced & (before[:, 0] != EMPTY_BID) & (before[:, 1] != EMPTY_ASK)
        best = _first_prices(results, done.fills, at, worst)
        outside = (best < before[:, 0] - 1) | (best > before[:, 1] + 1)
        self._tallies["prints-inside"].see(
            outside[both], rows[both], _print_text(best[both], before[both])
        )
        self._see_bounce(buys[priced], worst[priced])

    def _see_fills(self, lots: np.ndarray, filled: np.ndarray, rows: np.ndarray) -> None:
        if not self._rested:
            # A feed of nothing but trades: there is no book for them to meet.
            return
        missing = lots - filled
        tally = self._tallies["conservation"]
        tally.count(
            int(lots.sum(dtype=np.int64)),
            int(missing.sum()),
            missing != 0,
            rows,
            lambda k: f"an aggressor of {lots[k]} lots found {filled[k]} (cases are lots)",
        )

    def _evidence(
        self, done: Executed, touch: np.ndarray, at: np.ndarray, *, repaired: bool
    ) -> np.ndarray:
        """The touch before each aggressor: the feed's own where it stands right before, else that
        of the book, with or without what was inferred for the aggressor's sake."""
        feed = done.feed
        seen = at if repaired else _before_repairs(feed["time_ns"], feed["origin"], at)
        before = touch[seen].copy()
        truth = done.truth
        if truth is not None and len(truth.after):
            shown = np.searchsorted(truth.after, at, side="right") - 1
            fresh = (shown >= 0) & (truth.after[shown] == at)
            there = fresh & (truth.lots[shown, 0, 0] > 0) & (truth.lots[shown, 1, 0] > 0)
            before[there] = truth.tick[shown[there], :, 0]
        return before

    def _see_bounce(self, buys: np.ndarray, prices: np.ndarray) -> None:
        if self._last_print is not None:
            buys = np.insert(buys, 0, self._last_print[0])
            prices = np.insert(prices, 0, self._last_print[1])
        if not len(buys):
            return
        turned = buys[1:] != buys[:-1]
        self._spreads["bounce"].add(np.abs(np.diff(prices))[turned])
        self._last_print = bool(buys[-1]), int(prices[-1])

    def _see_spreads(self, touch: np.ndarray, rows: np.ndarray) -> None:
        """Medians of whole blocks of messages, each held against those before it."""
        self._block.append(np.column_stack([touch, rows]))
        if sum(map(len, self._block)) < SPREAD_BLOCK:
            return
        held = np.concatenate(self._block)
        whole = len(held) // SPREAD_BLOCK * SPREAD_BLOCK
        self._block = [held[whole:]]
        blocks = held[:whole].reshape(-1, SPREAD_BLOCK, 3)
        spreads = np.where(
            (blocks[:, :, 0] == EMPTY_BID) | (blocks[:, :, 1] == EMPTY_ASK),
            0,
            blocks[:, :, 1] - blocks[:, :, 0],
        )
        for median, first_row in zip(np.median(spreads, axis=1), blocks[:, 0, 2], strict=True):
            past = self._block_medians[-_TRAILING_BLOCKS:]
            if len(past) >= _FEWEST_BLOCKS:
                usual = max(1.0, float(np.median(past)))
                self._tallies["spread-steady"].see(
                    np.array([median > SUDDEN_RATIO * usual]),
                    np.array([first_row]),
                    _spread_text(median, usual),
                )
            self._block_medians.append(float(median))

    def _judge_spreads(self) -> None:
        """Compare the snapshots' spread with the book's, and both with how far prints bounce."""
        tally = self._tallies["spread-sanity"]
        medians = {
            name: max(1, histogram.quantile(0.5) or 0)
            for name, histogram in self._spreads.items()
            if histogram.total() >= _FEWEST_SPREADS
        }
        pairs = [
            ("snapshot", "book", True),
            ("snapshot", "bounce", False),
            ("print", "bounce", False),
        ]
        for wide, narrow, both_ways in pairs:
            if wide not in medians or narrow not in medians:
                continue
            tally.examined += 1
            a, b = medians[wide], medians[narrow]
            if a > SANE_RATIO * b or (both_ways and b > SANE_RATIO * a):
                tally.offences += 1
                tally.found = tally.found or (
                    f"{_SPREADS[wide]} is {a} ticks, {_SPREADS[narrow]} {b}"
                )


def is_aggressor(feed: np.ndarray) -> np.ndarray:
    """Which FEED_DTYPE rows are aggressive orders that the feed saw trade."""
    message = feed["message"]
    takes = (message["kind"] == Kind.LIMIT) & (message["tif"] != TimeInForce.GTC)
    return (feed["origin"] == Origin.OBSERVED) & (takes | (message["kind"] == Kind.MARKET))


@njit(cache=True, nogil=True)
def _before_repairs(time_ns, origin, at):
    """How many rows lie before each row `at` and what was inferred for its sake, which comes right
    before it and has its time. O(rows that were)."""
    seen = np.empty(len(at), np.int64)
    for i in range(len(at)):
        k = at[i]
        while k > 0 and origin[k - 1] == _INFERRED and time_ns[k - 1] == time_ns[at[i]]:
            k -= 1
        seen[i] = k
    return seen


def _first_prices(
    results: np.ndarray, fills: np.ndarray, at: np.ndarray, otherwise: np.ndarray
) -> np.ndarray:
    """The price of the first fill of each message `at`; what met nobody keeps `otherwise`."""
    n_fills = results["n_fills"]
    starts = np.cumsum(n_fills) - n_fills
    prices = otherwise.copy()
    met = n_fills[at] > 0
    prices[met] = fills["price_tick"][starts[at[met]]]
    return prices


def _print_text(prices: np.ndarray, before: np.ndarray) -> Callable[[int], str]:
    return lambda k: f"a print at {prices[k]}, the touch was {touch_text(before[k])}"


def _spread_text(median: float, usual: float) -> Callable[[int], str]:
    return lambda _: f"{median:g} ticks, {usual:g} before"


_SPREADS = {
    "snapshot": "the median spread of the snapshots",
    "book": "of the book there",
    "print": "the median spread before prints",
    "bounce": "between prints of opposite sides",
}
