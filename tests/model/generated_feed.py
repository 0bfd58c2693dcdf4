"""A market made up for tests: random orders run through the engine, and the books they made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Reject, TimeInForce
from mtsim.engine.units import Side
from mtsim.model.sources.base import (
    FEED_DTYPE,
    OWN_IDS,
    Batch,
    Counts,
    Instrument,
    Options,
    Session,
    Source,
    Truth,
)

MID = 10_000
START_NS = 34_200 * 10**9
LEVELS = 10


def made_up_feed(seed: int, n: int, every: int = 1) -> tuple[np.ndarray, Truth]:
    """`n` FEED_DTYPE rows after an opening of 80 orders, and the true book after every `every`-th.

    Adds within 12 ticks of the touch, cancels and reductions of what rests, replaces, and
    aggressors who take up to two levels.
    """
    rng = np.random.default_rng(seed)
    books = Books(1)
    feed = np.zeros(80 + n, FEED_DTYPE)
    feed["row"] = np.arange(1, 81 + n)
    feed["time_ns"][80:] = np.cumsum(rng.integers(1, 40_000_000, n))
    resting: dict[int, None] = {}
    after, ticks, lots = [], [], []
    for k in range(80 + n):
        opening = k < 80
        feed["origin"][k] = Origin.OPENING if opening else Origin.OBSERVED
        message = feed["message"][k : k + 1]
        message[:] = _opening(k) if opening else _random(rng, books, resting, k)
        result = books.process(np.ascontiguousarray(message)).results[0]
        assert result["reject"] == Reject.NONE
        if opening or (message["kind"][0] == Kind.LIMIT and message["tif"][0] == TimeInForce.GTC):
            resting[int(message["order_id"][0])] = None
        if result["filled_lots"] or message["kind"][0] in (Kind.CANCEL, Kind.REDUCE):
            live = set(books.resting(0)["order_id"].tolist())
            for gone in [one for one in resting if one not in live]:
                del resting[gone]
        if not opening and k % every == 0:
            tick, held = books.depth(LEVELS)
            after.append(k + 1)
            ticks.append(tick[0])
            lots.append(held[0])
    truth = Truth(np.array(after), np.array(after), np.array(ticks), np.array(lots))
    return feed, truth


def _message(**fields: int) -> np.ndarray:
    message = np.zeros(1, MESSAGE_DTYPE)
    for name, value in fields.items():
        message[name] = value
    return message


def _opening(k: int) -> np.ndarray:
    side = k % 2
    away = 1 + k // 2
    return _message(
        kind=Kind.LIMIT,
        side=side,
        price_tick=MID - away if side == Side.BUY else MID + away,
        lots=100 + 10 * k,
        order_id=OWN_IDS + k,
    )


def _random(rng: np.random.Generator, books: Books, resting: dict[int, None], k: int) -> np.ndarray:
    bid, ask = books.touch()[0].tolist()
    side = int(rng.integers(2))
    sign = 1 if side == Side.BUY else -1
    draw = rng.random()
    if draw < 0.5 or len(resting) < 60:
        touch = bid if side == Side.BUY else ask
        away = int(rng.integers(-1, 12)) if ask - bid > 2 else int(rng.integers(0, 12))
        return _message(
            kind=Kind.LIMIT,
            side=side,
            price_tick=touch - sign * away,
            lots=int(rng.integers(1, 200)),
            order_id=k + 1,
        )
    if draw < 0.9:
        order_id = list(resting)[int(rng.integers(len(resting)))]
        if draw < 0.78:
            return _message(kind=Kind.CANCEL, order_id=order_id)
        order = books.resting(0)
        order = order[order["order_id"] == order_id][0]
        if draw < 0.86 and order["lots"] > 1:
            return _message(kind=Kind.REDUCE, order_id=order_id, lots=int(order["lots"]) // 2)
        return _message(
            kind=Kind.REPLACE,
            order_id=order_id,
            lots=int(order["lots"]),
            price_tick=int(order["price_tick"]) - (1 if order["side"] == Side.BUY else -1),
        )
    ticks, held = books.depth(2)
    opposite = 1 - side
    most = int(held[0, opposite].sum())
    return _message(
        kind=Kind.LIMIT,
        tif=TimeInForce.IOC,
        side=side,
        price_tick=int(ticks[0, opposite, 1]),
        lots=int(rng.integers(1, min(most, 400) + 1)),
        order_id=OWN_IDS + 1000 + k,
    )


@dataclass
class MadeUp:
    """A Source of rows that are already there, cut into batches of `batch_rows`."""

    session: Session
    feed: np.ndarray
    truth: Truth | None
    batch_rows: int = 1000
    counts: Counts = field(default_factory=Counts)

    def batches(self) -> Iterator[Batch]:
        for start in range(0, len(self.feed), self.batch_rows):
            rows = self.feed[start : start + self.batch_rows]
            truth = None
            if self.truth is not None:
                last = start + self.batch_rows >= len(self.feed)
                mine = (self.truth.after > start) & ((self.truth.after <= start + len(rows)) | last)
                truth = Truth(*(array[mine] for array in self.truth))
                truth = truth._replace(after=truth.after - start)
            self.counts.read += len(rows)
            self.counts.used += len(rows)
            yield Batch(rows, truth)


def made_up_session(files: tuple[str, ...], options: Options = Options()) -> Session:  # noqa: B008
    return Session(
        Instrument(
            options.symbol or "MADE",
            options.venue or "UP",
            options.tick_size or Decimal("0.01"),
            options.lot_size or Decimal(1),
        ),
        options.date or date(2020, 1, 2),
        "made-up",
        files,
        start_ns=START_NS,
        timezone="America/New_York",
        truth_levels=LEVELS,
        assumptions=("Nothing of this ever happened.",),
    )


def made_up(
    file: Path,
    seed: int = 1,
    n: int = 3000,
    *,
    every: int = 1,
    change: Callable[[np.ndarray, Truth], tuple[np.ndarray, Truth | None]] | None = None,
    **session: object,
) -> MadeUp:
    """A whole source; `change` plants a defect in its rows or books."""
    if not file.exists():
        file.write_text(f"{seed} {n}\n")
    feed, truth = made_up_feed(seed, n, every)
    changed = (feed, truth) if change is None else change(feed.copy(), truth)
    said = replace(made_up_session((str(file),)), **session)
    return MadeUp(said, *changed)


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """A vendor module of made-up sessions: a file holds lines `date seed rows`, a session each."""
    for file in files:
        for line in Path(file).read_text().splitlines():
            day, seed, n = line.split()
            feed, truth = made_up_feed(int(seed), int(n), every=7)
            session = replace(made_up_session((file,), options), date=date.fromisoformat(day))
            yield MadeUp(session, feed, truth)
