"""Writes Databento files, and the day of a small exchange that tells MBO what happens in it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from mtsim.model.sources.databento_files import MBO_DTYPE, UNDEF_PRICE

LAST, SNAPSHOT = 128, 32
MIDNIGHT_NS = 1_704_153_600 * 10**9
"""2024-01-02 UTC."""

_COLUMNS = "ts_recv ts_event rtype publisher_id instrument_id action side price size channel_id"
COLUMNS = (*_COLUMNS.split(), "order_id", "flags", "ts_in_delta", "sequence")


def record(
    action: str,
    side: str = "N",
    price: int | None = None,
    size: int = 0,
    order_id: int = 0,
    *,
    at_ns: int = 0,
    sequence: int = 0,
    flags: int = LAST,
    instrument_id: int = 7,
    publisher_id: int = 1,
) -> np.ndarray:
    """One record, `at_ns` after midnight; `price` in units of 0.25, None where it has none."""
    row = np.zeros(1, MBO_DTYPE)
    row["length"], row["rtype"] = 14, 160
    row["publisher_id"], row["instrument_id"] = publisher_id, instrument_id
    row["ts_event"] = MIDNIGHT_NS + at_ns
    row["ts_recv"] = MIDNIGHT_NS + at_ns + 1_000
    row["price"] = UNDEF_PRICE if price is None else price * 250_000_000
    row["size"], row["order_id"], row["flags"], row["sequence"] = size, order_id, flags, sequence
    row["action"], row["side"], row["ts_in_delta"] = action, side, -5
    return row


def joined(records: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, MBO_DTYPE), *records])


def dbn(
    records: np.ndarray,
    names: dict[str, int] | None = None,
    *,
    version: int = 3,
    ts_out: bool = False,
    dataset: str = "GLBX.MDP3",
) -> bytes:
    import databento_dbn

    # Its type stubs are narrower than what it takes.
    official: Any = databento_dbn
    names = {"ESH4": 7} if names is None else names
    span = {"start_date": date(2024, 1, 2), "end_date": date(2024, 1, 3)}
    metadata = official.Metadata(
        dataset=dataset,
        start=MIDNIGHT_NS,
        stype_in=official.SType.RAW_SYMBOL,
        stype_out=official.SType.INSTRUMENT_ID,
        schema=official.Schema.MBO,
        symbols=list(names),
        partial=[],
        not_found=[],
        mappings=[
            SimpleNamespace(
                raw_symbol=name, intervals=[SimpleNamespace(symbol=str(number), **span)]
            )
            for name, number in names.items()
        ],
        ts_out=ts_out,
        version=version,
    )
    body = records.tobytes()
    if ts_out:
        longer = records.copy()
        longer["length"] = 16
        body = b"".join(row.tobytes() + bytes(8) for row in longer)
    return metadata.encode() + body


def csv(records: np.ndarray, *, pretty: bool = False, symbol: str = "") -> bytes:
    """Raw integers, or ISO times and decimals; a column of the symbol where there is one."""
    names = [*COLUMNS, "symbol"] if symbol else list(COLUMNS)
    lines = [",".join(names)]
    for row in records:
        texts = []
        for name in COLUMNS:
            value = row[name]
            if name in ("action", "side"):
                texts.append(value.decode())
            elif pretty and name.startswith("ts_") and name != "ts_in_delta":
                texts.append(iso(int(value)))
            elif pretty and name == "price":
                texts.append(decimal(int(value)))
            else:
                texts.append(str(value))
        lines.append(",".join([*texts, symbol] if symbol else texts))
    return ("\n".join(lines) + "\n").encode()


def iso(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def decimal(units: int) -> str:
    return "" if units == UNDEF_PRICE else f"{units // 10**9}.{units % 10**9:09}"


def mbp10(rows: Sequence[tuple[np.ndarray, "Depth"]]) -> bytes:
    """The books after records, as pandas writes them."""
    names = ["ts_event", "instrument_id", "action", "side", "flags", "sequence"]
    for k in range(10):
        names += [f"{what}_{k:02}" for what in ("bid_px", "bid_sz", "ask_px", "ask_sz")]
    lines = ["," + ",".join(names)]
    for n, (row, depth) in enumerate(rows):
        (one,) = row
        texts = [iso(int(one["ts_event"])), str(one["instrument_id"]), one["action"].decode()]
        texts += [one["side"].decode(), str(one["flags"]), str(one["sequence"])]
        for k in range(10):
            for side in depth:
                price, size = side[k] if k < len(side) else (None, 0)
                texts += ["" if price is None else f"{price * 0.25}", str(size)]
        lines.append(f"{n}," + ",".join(texts))
    return ("\n".join(lines) + "\n").encode()


Depth = tuple[list[tuple[int, int]], list[tuple[int, int]]]


class Exchange:
    """A price-time market of one future, with dictionaries and lists: shares nothing with the
    reader. `as_cme`: takers have ids, fills come first and cancels behind; else as NASDAQ, where
    every fill is a trade of its own with its cancel behind it."""

    def __init__(self, rng: np.random.Generator, *, as_cme: bool):
        self.records: list[np.ndarray] = []
        self.books: list[tuple[np.ndarray, Depth]] = []
        """The book after each event, with its last record; and, as NASDAQ tells it, the book before
        a trade's last fill, with the record of that trade."""
        self.events = 0
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.traded = 0
        self.takes = 0
        self._queues: dict[tuple[str, int], list[int]] = {}
        self._as_cme = as_cme
        self._rng = rng
        self._at_ns = 3_600 * 10**9
        self._sequence = 0
        self._next_id = 100
        self._event: list[np.ndarray] = []

    def step(self) -> None:
        self._at_ns += int(self._rng.integers(1, 10**6))
        self._sequence += 1
        draw = self._rng.random()
        if len(self.orders) < 3 or draw < 0.45:
            side = "BA"[int(self._rng.integers(2))]
            self._rest(self._new_id(), side, self._price(side), int(self._rng.integers(1, 20)))
        elif draw < 0.65:
            self._take()
        elif draw < 0.85:
            order_id = self._anyone()
            side, price, size = self.orders[order_id]
            part = size if self._rng.random() < 0.7 else int(self._rng.integers(1, size + 1))
            self._tell("C", side, price, part, order_id)
            self._less(order_id, part)
        elif self._as_cme:
            self._modify(self._anyone())
        self._end()

    def snapshot(self) -> None:
        """What rests, as the records that a day's file begins with."""
        for (side, price), ids in sorted(self._queues.items()):
            for order_id in ids:
                row = record("A", side, price, self.orders[order_id][2], order_id)
                row["flags"], row["ts_recv"] = SNAPSHOT | 8, MIDNIGHT_NS
                row["ts_event"] = MIDNIGHT_NS - 39_000 * 10**9
                self.records.append(row)

    def levels(self) -> dict[tuple[int, int], int]:
        """Lots by side (0 bid) and tick."""
        found: dict[tuple[int, int], int] = {}
        for side, price, size in self.orders.values():
            key = ("BA".index(side), price)
            found[key] = found.get(key, 0) + size
        return found

    def _depth(self) -> Depth:
        levels = self.levels()
        bids = sorted(((p, q) for (s, p), q in levels.items() if s == 0), reverse=True)
        return bids[:10], sorted((p, q) for (s, p), q in levels.items() if s == 1)[:10]

    def _tell(self, action: str, side: str, price: int, size: int, order_id: int) -> None:
        self._event.append(
            record(
                action, side, price, size, order_id,
                at_ns=self._at_ns, sequence=self._sequence, flags=0,
            )
        )  # fmt: skip

    def _end(self) -> None:
        if self._event:
            self._event[-1]["flags"] = LAST
            self.records += self._event
            self.books.append((self._event[-1], self._depth()))
            self.events += 1
        self._event = []

    def _anyone(self) -> int:
        ids = list(self.orders)
        return ids[int(self._rng.integers(len(ids)))]

    def _best(self, side: str) -> int | None:
        prices = [price for s, price in self._queues if s == side]
        return None if not prices else max(prices) if side == "B" else min(prices)

    def _price(self, side: str) -> int:
        away = int(self._rng.integers(1, 15))
        best = self._best("A" if side == "B" else "B")
        best = 19_000 if best is None else best
        return best - away if side == "B" else best + away

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _join(self, order_id: int, side: str, price: int, size: int) -> None:
        self.orders[order_id] = (side, price, size)
        self._queues.setdefault((side, price), []).append(order_id)

    def _leave(self, order_id: int) -> None:
        side, price, _ = self.orders.pop(order_id)
        self._queues[side, price].remove(order_id)
        if not self._queues[side, price]:
            del self._queues[side, price]

    def _less(self, order_id: int, part: int) -> None:
        side, price, size = self.orders[order_id]
        if part == size:
            self._leave(order_id)
        else:
            self.orders[order_id] = (side, price, size - part)

    def _rest(self, order_id: int, side: str, price: int, size: int) -> None:
        self._tell("A", side, price, size, order_id)
        self._join(order_id, side, price, size)

    def _take(self) -> None:
        makers = "B" if self._best("B") is not None and self._rng.random() < 0.5 else "A"
        side = "A" if makers == "B" else "B"
        left, said_later = int(self._rng.integers(1, 40)), []
        taker = self._new_id() if self._as_cme else 0
        took, before = 0, None
        while left and (price := self._best(makers)) is not None:
            order_id = self._queues[makers, price][0]
            size = self.orders[order_id][2]
            filled = min(left, size)
            self._tell("T", side, price, filled, taker)
            before = (self._event[-1].copy(), self._depth())
            self._tell("F", makers, price, filled, order_id)
            self._less(order_id, filled)
            if self._as_cme:
                said_later.append((order_id, makers, price, filled, size - filled))
            else:
                self._tell("C", makers, price, filled, order_id)
                self._sequence += filled < left
            left -= filled
            took += filled
        if before is not None and not self._as_cme:
            before[0]["flags"] = LAST
            if before[0]["sequence"] == self._sequence:
                self.books.append(before)
        if self._as_cme and left and took and self._rng.random() < 0.5:
            # What the taker has left comes before the cancels of those it met.
            self._rest(taker, side, price_of(self._event, "F"), left)
        for order_id, maker_side, price, filled, remains in said_later:
            if remains:
                self._tell("M", maker_side, price, remains, order_id)
            else:
                self._tell("C", maker_side, price, filled, order_id)
        self.traded += took
        self.takes += took > 0

    def _modify(self, order_id: int) -> None:
        side, price, size = self.orders[order_id]
        new_size = int(self._rng.integers(1, 20))
        new_price = price if self._rng.random() < 0.6 else self._price(side)
        self._tell("M", side, new_price, new_size, order_id)
        if new_price == price and new_size <= size:
            self.orders[order_id] = (side, price, new_size)
        else:
            self._leave(order_id)
            self._join(order_id, side, new_price, new_size)


def price_of(event: list[np.ndarray], action: str) -> int:
    """The price of an event's last record of this action, in units of 0.25."""
    prices = [int(row["price"][0]) for row in event if row["action"][0] == action.encode()]
    return prices[-1] // 250_000_000
