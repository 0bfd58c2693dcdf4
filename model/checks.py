"""What must hold of a feed before it is believed, judged by evidence inside the feed itself.

Snapshots are held against their own form and against the book that the messages built, prints
against the touch before them, the engine's refusals against what the feed claims to have seen. No
check looks at what it judges through the eyes of what made it. Knows no vendor and no store;
nothing is kept but counts, so a session of any length can be judged.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, Reject, TimeInForce
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.model.check_prints import PrintChecks
from mtsim.model.check_rules import (
    DENSE_MESSAGES_PER_S,
    RULES,
    Executed,
    Tally,
    Verdict,
    verdict_of,
)
from mtsim.model.check_snapshots import Agreement, SnapshotChecks
from mtsim.model.histogram import Histogram
from mtsim.model.sources.base import Session

DAY_NS = 24 * 3600 * 10**9
_FEWEST_TO_BE_DENSE = 1000


class Checks:
    """All checks of one session, fed batch by batch."""

    def __init__(self, session: Session):
        self.session = session
        self._tallies = {name: Tally() for name in RULES}
        shown, held = Histogram(), Histogram()
        self._snapshots = SnapshotChecks(session, self._tallies, shown, held)
        self._prints = PrintChecks(self._tallies, shown, held)
        self._touch = np.array([EMPTY_BID, EMPTY_ASK], np.int64)
        self._last_ns: int | None = None
        self._first_ns: int | None = None
        self._active = 0
        self._side_lots = [0, 0]
        self._opened = False
        self._rejects = Counter[str]()

    @property
    def agreement(self) -> Agreement:
        """How often the book was the feed's book, so far."""
        return self._snapshots.agreement

    def see(self, done: Executed) -> None:
        """Look at one executed batch."""
        touch = self._touch_before(done.results)
        self._see_time(done.feed)
        self._see_gaps(done.feed)
        self._snapshots.see(done, touch)
        self._prints.see(done, touch)
        self._see_refusals(done)
        self._see_lots(done)
        self._touch = touch[-1]

    def verdicts(self) -> list[Verdict]:
        """What came of every check, in the order of `RULES`; call it once, at the end."""
        self._judge_density()
        self._snapshots.judge()
        self._prints.judge()
        if self._rejects:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(self._rejects.items()))
            self._tallies["rejects"].found += f" ({reasons})"
        return [verdict_of(name, tally, self.session) for name, tally in self._tallies.items()]

    def _see_time(self, feed: np.ndarray) -> None:
        if not len(feed):
            return
        time_ns = feed["time_ns"]
        before = np.empty_like(time_ns)
        before[0] = time_ns[0] if self._last_ns is None else self._last_ns
        before[1:] = time_ns[:-1]
        self._tallies["time-order"].see(
            time_ns < before,
            feed["row"],
            lambda k: f"{time_ns[k]} ns after {before[k]} ns",
        )
        of_day = time_ns + self.session.start_ns
        self._tallies["time-of-day"].see(
            (of_day < 0) | (of_day >= DAY_NS),
            feed["row"],
            lambda k: f"{of_day[k] / 3.6e12:.3f} hours after midnight",
        )
        self._last_ns = int(time_ns[-1])
        active = feed["origin"] != Origin.OPENING
        if active.any():
            if self._first_ns is None:
                self._first_ns = int(time_ns[np.argmax(active)])
            self._active += int(np.count_nonzero(active))

    def _judge_density(self) -> None:
        tally = self._tallies["time-density"]
        if self._first_ns is None or self._last_ns is None or self._active < _FEWEST_TO_BE_DENSE:
            return
        seconds = max(1, self._last_ns - self._first_ns) / 1e9
        tally.examined = 1
        if self._active > DENSE_MESSAGES_PER_S * seconds:
            tally.offences = 1
            tally.found = f"{self._active:,} messages within {seconds:.6f} s"

    def _see_gaps(self, feed: np.ndarray) -> None:
        opens = opens_after_gap(feed, self._opened)
        self._tallies["gaps"].see(
            opens,
            feed["row"],
            lambda k: f"the book is put in place anew at {feed['time_ns'][k] / 1e9:.6f} s",
        )
        self._opened |= bool((feed["origin"] != Origin.OPENING).any())

    def _see_refusals(self, done: Executed) -> None:
        feed, results = done.feed, done.results
        message, rows, reject = feed["message"], feed["row"], results["reject"]
        observed = feed["origin"] == Origin.OBSERVED
        adds = observed & (message["kind"] == Kind.LIMIT) & (message["tif"] == TimeInForce.GTC)
        n_adds, ids = int(np.count_nonzero(adds)), message["order_id"]

        twice = adds & (reject == Reject.DUPLICATE_ID)
        self._tallies["duplicates"].count(
            n_adds, int(np.count_nonzero(twice)), twice, rows, lambda k: f"order {ids[k]}"
        )
        refused = observed & (reject != Reject.NONE) & (reject != Reject.DUPLICATE_ID)
        for value in reject[refused].tolist():
            self._rejects[Reject(value).name] += 1
        self._tallies["rejects"].count(
            int(np.count_nonzero(observed)),
            int(np.count_nonzero(refused)),
            refused,
            rows,
            lambda k: (
                f"{Kind(int(message['kind'][k])).name} of order {ids[k]}: "
                f"{Reject(int(reject[k])).name}"
            ),
        )
        filled = results["filled_lots"]
        traded = adds & (filled > 0)
        self._tallies["adds-rest"].count(
            n_adds,
            int(np.count_nonzero(traded)),
            traded,
            rows,
            lambda k: f"order {ids[k]} traded {filled[k]} lots as it entered",
        )

    def _see_lots(self, done: Executed) -> None:
        """Both sides' lots after the batch, from what entered and left."""
        results, fills = done.results, done.fills
        kind, resting = results["kind"], results["resting_lots"].astype(np.int64)
        change = np.where(kind <= Kind.MARKET, resting, 0)
        leaves = (kind == Kind.CANCEL) | (kind == Kind.REDUCE)
        change -= np.where(leaves, results["cancelled_lots"], 0)
        change += np.where(kind == Kind.REPLACE, resting - results["previous_lots"], 0)
        # In an uncross both orders of a fill rested, elsewhere only the maker did.
        crossed = np.repeat(kind == Kind.UNCROSS, results["n_fills"])
        for side in Side:
            lost = (fills["taker_side"] == side.opposite) | crossed
            entered = int(change[results["side"] == side].sum())
            self._side_lots[side] += entered - int(fills["lots"][lost].sum(dtype=np.int64))
        n = len(done.feed)
        wrong = n if tuple(self._side_lots) != done.side_lots else 0
        self._tallies["depth-conservation"].count(
            n,
            wrong,
            np.ones(n, bool),
            done.feed["row"],
            lambda _: f"the sides hold {done.side_lots} lots, {tuple(self._side_lots)} are left",
        )

    def _touch_before(self, results: np.ndarray) -> np.ndarray:
        """int64 [n + 1, 2]: the touch before each message, and after the last."""
        touch = np.empty((len(results) + 1, 2), np.int64)
        touch[0] = self._touch
        touch[1:, 0] = results["bid_tick"]
        touch[1:, 1] = results["ask_tick"]
        return touch


def opens_after_gap(feed: np.ndarray, opened: bool) -> np.ndarray:
    """Which FEED_DTYPE rows begin to put the book in place anew; `opened`: whether anything but an
    opening came before them."""
    opening = feed["origin"] == Origin.OPENING
    begins = opening.copy()
    begins[1:] &= ~opening[:-1]
    if len(begins):
        begins[0] &= opened
    return begins
