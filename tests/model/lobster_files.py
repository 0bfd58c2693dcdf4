"""LOBSTER files of a made-up market: an engine's life as LOBSTER would have recorded it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mtsim.engine.book import Book
from mtsim.engine.messages import MESSAGE_DTYPE, Flag, Kind, TimeInForce
from mtsim.engine.units import Side

ADD, REDUCE, DELETE, EXECUTE, HIDDEN, CROSS, HALT = range(1, 8)
DUMMY = 9_999_999_999
OPEN_S = 34_200
NAME = "ABC_2024-03-01_34200000_57600000_{kind}_{levels}.csv"


@dataclass
class LobsterDay:
    """What happened, as rows of both files; all of it, or what a window of some levels shows."""

    levels: int
    messages: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    """(ns since 09:30, type, id, size, price in 1e-4 dollars, direction)"""
    books: list[tuple[int, ...]] = field(default_factory=list)

    def part(self, rows: slice | list[int]) -> LobsterDay:
        """Only some rows, the same of both files."""
        chosen = range(len(self.messages))[rows] if isinstance(rows, slice) else rows
        return LobsterDay(
            self.levels, [self.messages[k] for k in chosen], [self.books[k] for k in chosen]
        )

    def write(self, folder: Path, *, book: bool = True, columns: int = 6) -> Path:
        """Write the message file, and the order book file beside it; returns the first's path."""
        path = folder / NAME.format(kind="message", levels=self.levels)
        path.write_text("".join(f"{self.message_line(k, columns)}\n" for k in self._rows()))
        if book:
            (folder / NAME.format(kind="orderbook", levels=self.levels)).write_text(
                "".join(f"{','.join(map(str, row))}\n" for row in self.books)
            )
        return path

    def message_line(self, k: int, columns: int = 6) -> str:
        time_ns, *rest = self.messages[k]
        second, ns = divmod(time_ns, 10**9)
        # LOBSTER drops trailing zeros of the time.
        time = f"{OPEN_S + second}.{ns:09d}".rstrip("0").rstrip(".")
        mpid = [("null", "UBSS")[k % 7 == 0]] * (columns - 6)
        return ",".join(map(str, (time, *rest, *mpid)))

    def total(self, *types: int) -> int:
        """The lots of all rows of these types."""
        return sum(row[3] for row in self.messages if row[1] in types)

    def count(self, *types: int) -> int:
        return sum(row[1] in types for row in self.messages)

    def _rows(self) -> range:
        return range(len(self.messages))


class Market:
    """A random order flow through an engine, and the LOBSTER rows that it leaves.

    `opening` orders rest before the first row. With `halts`, trading stops now and then and goes on
    with a cross.
    """

    def __init__(
        self, seed: int, levels: int, *, opening: int = 60, spread_ticks: int = 25, halts=False
    ):
        self.day = LobsterDay(levels)
        self.book = Book()
        self._random = random.Random(seed)
        self._spread_ticks = spread_ticks
        self._halts = halts
        self._halted = False
        self._depth: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._resting: dict[int, list[int]] = {}  # id: side, tick, lots
        self._time_ns = 0
        self._next_id = 1_000
        for _ in range(opening):
            side = self._random.choice(list(Side))
            away = self._random.randrange(1, spread_ticks)
            self._submit(side, 10_000 + (away if side else -away), record=False)

    def run(self, n: int) -> LobsterDay:
        """Go on until there are at least n rows."""
        while len(self.day.messages) < n:
            self._time_ns += self._random.choice((0, 1, 1_000, 12_345_678, 90_000_000))
            chance = self._random.random()
            if self._halts and chance < 0.01:
                self._turn()
            elif chance < 0.03:
                self._row(HIDDEN, 0, 7, 1_000_050, self._random.choice((1, -1)), True)
            elif chance < 0.035:
                self._row(CROSS, -1, 4_500, 1_000_000, -1, True)
            elif chance < 0.62 or not self._resting:
                self._add()
            elif chance < 0.92 or self._halted:
                self._withdraw()
            else:
                self._take()
        if self._halted:
            self._turn()
        return self.day

    def empty(self) -> LobsterDay:
        """Withdraw every order: after a day without an opening, another can follow in its files."""
        while self._resting:
            self._time_ns += 1_000
            self._withdraw()
        return self.day

    def _add(self) -> None:
        side = self._random.choice(list(Side))
        bid, ask = self._touch()
        away = int(self._random.expovariate(4 / self._spread_ticks)) - 3 * self._halted
        tick = max(bid + 1, ask - 1) + away if side == Side.SELL else min(ask - 1, bid + 1) - away
        self._submit(side, tick)

    def _submit(self, side: Side, tick: int, record: bool = True) -> None:
        lots = self._random.choice((1, 10, 100, 100, 100, 250))
        self._next_id += 1
        self._send(Kind.LIMIT, side=side, price_tick=tick, lots=lots, order_id=self._next_id)
        self._resting[self._next_id] = [side, tick, lots]
        self._change(side, tick, lots)
        if record:
            self._row_of(ADD, self._next_id, lots, side, tick, self._shows(side, tick))

    def _withdraw(self) -> None:
        order_id = self._random.choice(list(self._resting))
        side, tick, lots = self._resting[order_id]
        shown = self._shows(Side(side), tick)
        if lots > 1 and self._random.random() < 0.2:
            part = self._random.randrange(1, lots)
            self._send(Kind.REDUCE, lots=part, order_id=order_id)
            self._gone(order_id, part)
            self._row_of(REDUCE, order_id, part, side, tick, shown)
        else:
            self._send(Kind.CANCEL, order_id=order_id)
            self._gone(order_id, lots)
            self._row_of(DELETE, order_id, lots, side, tick, shown)

    def _take(self) -> None:
        """One aggressive order: a row for each resting order it meets, hidden ones among them."""
        side = self._random.choice(list(Side))
        lots = self._random.choice((1, 50, 100, 200, 800))
        self._next_id += 1
        fills = self._send(Kind.MARKET, side=side, lots=lots, order_id=self._next_id)
        for fill in fills:
            maker_id, taken = int(fill["maker_id"]), int(fill["lots"])
            maker_side, tick, _ = self._resting[maker_id]
            self._gone(maker_id, taken)
            self._row_of(EXECUTE, maker_id, taken, maker_side, tick, True)
            if self._random.random() < 0.1:
                self._row(HIDDEN, 0, 3, 100 * tick, 1 - 2 * maker_side, True)

    def _turn(self) -> None:
        """Halt trading; or cross what crosses, and resume it."""
        if not self._halted:
            self._send(Kind.AUCTION)
            self._row(HALT, 0, 0, -1, -1, True)
        else:
            self._row(HALT, 0, 0, 0, -1, True)
            fills = self._send(Kind.UNCROSS, price_tick=10_000)
            for fill in fills:
                for order_id in (int(fill["maker_id"]), int(fill["taker_id"])):
                    side, _, _ = self._resting[order_id]
                    self._gone(order_id, int(fill["lots"]))
                    self._row_of(
                        EXECUTE, order_id, int(fill["lots"]), side, int(fill["price_tick"]), True
                    )
            self._row(HALT, 0, 0, 1, -1, True)
        self._halted = not self._halted

    def _send(self, kind: Kind, **fields: int) -> np.ndarray:
        message = np.zeros(1, MESSAGE_DTYPE)
        message["kind"], message["flags"] = kind, Flag.NONE
        message["tif"] = TimeInForce.IOC if kind == Kind.MARKET else TimeInForce.GTC
        for name, value in fields.items():
            message[name] = value
        results, fills = self.book.process(message)
        assert results["reject"][0] == 0
        return fills

    def _gone(self, order_id: int, lots: int) -> None:
        order = self._resting[order_id]
        order[2] -= lots
        self._change(order[0], order[1], -lots)
        if order[2] == 0:
            del self._resting[order_id]

    def _change(self, side: int, tick: int, lots: int) -> None:
        level = self._depth[side]
        level[tick] = level.get(tick, 0) + lots
        if level[tick] == 0:
            del level[tick]

    def _best_first(self, side: int) -> list[int]:
        return sorted(self._depth[side], reverse=side == Side.BUY)[: self.day.levels]

    def _touch(self) -> tuple[int, int]:
        bids, asks = self._depth
        return max(bids, default=9_980), min(asks, default=10_020)

    def _shows(self, side: Side, tick: int) -> bool:
        return tick in self._best_first(side)

    def _row_of(self, type: int, order_id: int, lots: int, side: int, tick: int, shown: bool):
        self._row(type, order_id, lots, 100 * tick, 1 - 2 * side, shown)

    def _row(self, type: int, order_id: int, size: int, price: int, direction: int, shown: bool):
        """Record a row: LOBSTER gives those of the best levels only."""
        if not shown:
            return
        bids, asks = (self._best_first(side) for side in Side)
        row: list[int] = []
        for level in range(self.day.levels):
            for side, ticks, dummy in ((1, asks, DUMMY), (0, bids, -DUMMY)):
                there = level < len(ticks)
                row += (
                    [100 * ticks[level], self._depth[side][ticks[level]]] if there else [dummy, 0]
                )
        self.day.messages.append((self._time_ns, type, order_id, size, price, direction))
        self.day.books.append(tuple(row))
