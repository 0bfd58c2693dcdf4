"""Trades to the aggressive orders behind them, for feeds that say who the aggressor was.

Consecutive trades of one time and side at prices that get no better, their ids without a gap, are
one order. Where a feed has put the trades of one order at one price together (`aggregated`), a
second row at the same price is another order's. Knows no vendor and no book.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.model.sources.base import FEED_DTYPE, OWN_IDS
from mtsim.model.sources.day_source import DAY_NS, Piece
from mtsim.model.sources.levels import L2_DTYPE, What

ASSUMPTIONS = (
    "The feed has trades only: its aggressive orders meet an empty book, and nothing fills them "
    "without a model of the orders that they met.",
    "Consecutive trades of one time and side at prices that get no better are one order.",
    f"More than {MAX_LOTS} lots at once are sent as several orders.",
)


class Trades(NamedTuple):
    """Columns of trades in order, or of orders made of them."""

    row: np.ndarray
    time_ns: np.ndarray
    trade_id: np.ndarray
    """Counts up by one where no trade is missing. Of an order: the last trade's."""
    side: np.ndarray
    """The aggressor's: 0 bought, 1 sold."""
    tick: np.ndarray
    """Of an order: the last trade's, its worst."""
    lots: np.ndarray
    n_trades: np.ndarray

    def part(self, which: slice | np.ndarray) -> Trades:
        """Some of the rows."""
        return Trades(*(column[which] for column in self))


class OrdersAlone:
    """The messages of one day of a feed without a book: they are made already, and are numbered."""

    def __init__(self) -> None:
        self._sent = 0

    def convert(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows["message"]["order_id"] = OWN_IDS + self._sent + np.arange(len(rows))
        self._sent += len(rows)
        return rows, np.zeros(0, np.int64)

    def opening(self) -> np.ndarray:
        return np.zeros(0, FEED_DTYPE)

    def repaired(self) -> dict[str, int]:
        return {}


def no_trades() -> Trades:
    """No trades."""
    return Trades(*(np.zeros(0, np.int64) for _ in Trades._fields))


def joined(first: Trades, second: Trades) -> Trades:
    """Some trades and those after them."""
    return Trades(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def starts(trades: Trades, aggregated: bool) -> np.ndarray:
    """Which trades are the first of an order."""
    worse = np.where(trades.side == 1, -trades.tick, trades.tick)
    new = np.ones(len(trades.row), bool)
    new[1:] = (
        (np.diff(trades.time_ns) != 0)
        | (np.diff(trades.side) != 0)
        | (np.diff(trades.trade_id) != 1)
        | (np.diff(worse) < (1 if aggregated else 0))
    )
    return new


def as_orders(trades: Trades, aggregated: bool) -> Trades:
    """One row an order: its first row, its last time, id and tick, all its lots."""
    if not len(trades.row):
        return trades
    first = np.flatnonzero(starts(trades, aggregated))
    last = np.append(first[1:], len(trades.row)) - 1
    return trades.part(last)._replace(
        row=trades.row[first],
        lots=np.add.reduceat(trades.lots, first),
        n_trades=np.add.reduceat(trades.n_trades, first),
    )


def messages_by_day(orders: Trades) -> list[Piece]:
    """The orders as messages without ids (`OrdersAlone`), a piece for each day."""
    if not len(orders.row):
        return []
    n_parts = -(-orders.lots // MAX_LOTS)
    which = np.repeat(np.arange(len(orders.row)), n_parts)
    is_last = np.diff(which, append=-1) != 0
    feed = np.zeros(len(which), FEED_DTYPE)
    feed["time_ns"], feed["row"] = orders.time_ns[which], orders.row[which]
    feed["origin"] = Origin.OBSERVED
    message = feed["message"]
    message["kind"], message["tif"] = Kind.LIMIT, TimeInForce.IOC
    message["side"], message["price_tick"] = orders.side[which], orders.tick[which]
    message["lots"] = np.where(
        is_last, orders.lots[which] - (n_parts[which] - 1) * MAX_LOTS, MAX_LOTS
    )
    n_trades = np.where(is_last, orders.n_trades[which], 0)
    midnights = np.flatnonzero(np.diff(feed["time_ns"] // DAY_NS)) + 1
    return [
        Piece(part, used=int(counts.sum()))
        for part, counts in zip(
            np.split(feed, midnights), np.split(n_trades, midnights), strict=True
        )
    ]


def prints(trades: Trades, aggregated: bool) -> np.ndarray:
    """The trades of whole orders as rows of a feed by level: a PRINT each, a TAKE an order."""
    ends = np.append(starts(trades, aggregated)[1:], True) if len(trades.row) else np.zeros(0, bool)
    which = np.repeat(np.arange(len(ends)), 1 + ends)
    # Of the two rows of an order's last trade the first is its PRINT.
    is_take = np.diff(which, prepend=-1) == 0
    rows = np.zeros(len(which), L2_DTYPE)
    rows["time_ns"], rows["row"] = trades.time_ns[which], trades.row[which]
    rows["side"], rows["tick"], rows["lots"] = (
        trades.side[which],
        trades.tick[which],
        trades.lots[which],
    )
    rows["what"] = np.where(is_take, What.TAKE, What.PRINT)
    return rows
