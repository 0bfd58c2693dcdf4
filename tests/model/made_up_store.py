"""Stores made up for tests of what reads them: some small days, or one session of any length."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np

from mtsim.engine.messages import Kind, TimeInForce
from mtsim.model.ingest import import_session
from mtsim.model.sources.base import FEED_DTYPE, Batch, Counts, Instrument, Session
from mtsim.model.store import Store, StoredSession
from tests.model.generated_feed import MID, made_up_session

_MOST_BLOCK = 1 << 15


@dataclass
class Busy:
    """Rows without end in blocks: orders that rest, and leave in the next block in any order, some
    smaller by then; now and then an aggressor. Lots, distances and gaps are of all sizes."""

    session: Session
    rows: int
    seed: int = 1
    counts: Counts = field(default_factory=Counts)

    def batches(self) -> Iterator[Batch]:
        rng = np.random.default_rng(self.seed)
        before = np.zeros(0, np.int64)
        last_ns = 0
        block = min(_MOST_BLOCK, 1 + self.rows // 8)
        for start in range(0, self.rows, block):
            n = min(block, self.rows - start)
            feed = np.zeros(n, FEED_DTYPE)
            feed["row"] = np.arange(start, start + n) + 1
            gaps = np.exp(rng.normal(9, 3, n)).astype(np.int64)
            gaps[rng.random(n) < 0.1] = 0
            feed["time_ns"] = last_ns + np.cumsum(gaps)
            last_ns = int(feed["time_ns"][-1])
            before = _fill(feed, rng, before)
            self.counts.read += n
            self.counts.used += n
            yield Batch(feed)


def _fill(feed: np.ndarray, rng: np.random.Generator, before: np.ndarray) -> np.ndarray:
    """Write a block's messages; the orders of it that are to leave in the next one."""
    n, message = len(feed), feed["message"]
    side = rng.integers(0, 2, n)
    away = 1 + np.minimum(rng.geometric(0.12, n), 300)
    message["side"] = side
    message["price_tick"] = MID + np.where(side == 0, -away, away)
    message["lots"] = np.minimum(np.exp(rng.normal(3, 1.5, n)).astype(np.int64) + 2, 100_000)
    round_ = rng.random(n) < 0.3
    message["lots"][round_] = 100
    message["order_id"] = feed["row"]
    leaving = before[: n // 2]
    out = np.arange(1, 2 * len(leaving), 2)
    message["kind"][out] = Kind.CANCEL
    message["order_id"][out] = leaving
    shrinks = out[rng.random(len(out)) < 0.1]
    message["kind"][shrinks] = Kind.REDUCE
    message["lots"][shrinks] = 1
    # Of the rows that add, some take instead, at any price.
    adds = np.flatnonzero(message["kind"] == Kind.LIMIT)
    takes = rng.random(len(adds)) < 0.06
    message["tif"][adds[takes]] = TimeInForce.IOC
    message["price_tick"][adds[takes]] = np.where(side[adds[takes]] == 0, MID + 400, MID - 400)
    return rng.permutation(message["order_id"][adds[~takes]])


def import_busy(
    store: Store,
    rows: int,
    *,
    symbol: str = "BUSY",
    day: date = date(2020, 1, 2),
    seed: int = 1,
) -> StoredSession:
    """Import one such session. Cancels of what was taken are refused by the book, and kept."""
    file = store.folder.parent / "busy"
    file.write_text(f"{symbol} {day} {rows} {seed}\n")
    session = replace(
        made_up_session((str(file),)),
        instrument=Instrument(symbol, "UP", Decimal("0.01"), Decimal(1)),
        date=day,
        truth_levels=0,
    )
    return import_session(Busy(session, rows, seed), store, keep=True, replace=True)


def busy_store(folder: Path, days: dict[str, int], rows: int = 4000) -> Store:
    """A store of so many days of each symbol, a few thousand rows each."""
    store = Store(folder)
    for symbol, n in days.items():
        for day in range(n):
            seed = 100 * sum(map(ord, symbol)) + day
            import_busy(store, rows, symbol=symbol, day=date(2020, 1, 1 + day), seed=seed)
    return store
