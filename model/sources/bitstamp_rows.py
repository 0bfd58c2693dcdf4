"""The rows of Bitstamp's files, whichever layout they have: what changed, of which order, to what.

Knows the three layouts and their numbers; knows nothing of what rows mean together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mtsim.engine.units import MAX_TICK
from mtsim.errors import DataError
from mtsim.model.sources.base import in_file
from mtsim.model.sources.files import open_binary
from mtsim.model.sources.ledger import MAX_ORDER_LOTS, Snapshots
from mtsim.model.sources.tables import Block, column_names, read_blocks

Layout = Literal["log", "orders", "events"]

_LINE = re.compile(rb"(\d{13}) ([a-z_]+) (\{.*\})\s*")
_LONGEST_LINE = 1 << 16
_MS = 10**6
_TABLES: dict[Layout, tuple[str, ...]] = {
    "orders": ("id", "timestamp", "price", "volume", "action", "direction"),
    "events": (
        "event.id",
        "id",
        "timestamp",
        "price",
        "volume",
        "action",
        "direction",
        "fill",
        "matching.event",
    ),
}
_SPREAD = ("timestamp", "best.bid.price", "best.bid.volume", "best.ask.price", "best.ask.volume")
_TRADES = ("maker.event.id", "taker.event.id")
_SIDES = {"bid": 0, "ask": 1}
# The log's snapshots are polled: they are up to seconds older or newer than the rows about them.
_LOG_LAGS_NS, _LOG_LEADS_NS = 3 * 10**9, 3 * 10**9
# Best quotes carry the very times of the events.
_SPREAD_LAGS_NS = _SPREAD_LEADS_NS = 0


class Change(IntEnum):
    CREATED = 0
    CHANGED = 1
    DELETED = 2


_CHANGES = {"created": Change.CREATED, "changed": Change.CHANGED, "deleted": Change.DELETED}
_KINDS = {f"order_{name}": change for name, change in _CHANGES.items()}


class Row(NamedTuple):
    """One change of an order. `lots` is what is left of it, `fill` what it has just traded."""

    change: Change
    time_ns: int
    row: int
    id: int
    side: int
    tick: int
    lots: int
    fill: int = 0
    event: str = ""
    matching: str = ""


class Trade(NamedTuple):
    time_ns: int
    row: int
    tick: int
    lots: int


class Scale(NamedTuple):
    """One tick and one lot."""

    tick: Decimal
    lot: Decimal


def layout_of(file: str) -> Layout:
    """Which of the layouts a file has. DataError where it has none."""
    with open_binary(file) as stream:
        line = stream.readline(_LONGEST_LINE)
    if _LINE.fullmatch(line):
        return "log"
    names = set(column_names(file))
    for layout in ("events", "orders"):
        if names.issuperset(_TABLES[layout]):
            return layout
    raise DataError(
        file,
        1,
        "neither a Bitstamp log nor a table of its orders",
        "A line is `milliseconds kind {json}`; a table has the columns "
        f"{', '.join(_TABLES['orders'])}.",
    )


def companions_of(file: str, layout: Layout) -> tuple[str, ...]:
    """The tables of trades and best quotes beside a table of events, as far as they are there."""
    if layout != "events" or "_events" not in Path(file).name:
        return ()
    path = Path(file)
    beside = (path.with_name(path.name.replace("_events", part)) for part in ("_trades", "_spread"))
    return tuple(str(other) for other in beside if other.is_file())


def takers_of(file: str, layout: Layout) -> frozenset[str]:
    """The ids of the events in which an order took, where the trades beside a table say it."""
    found: set[str] = set()
    for other in companions_of(file, layout):
        if "_trades" in Path(other).name:
            for block in read_blocks(other, list(_TRADES)):
                found.update(block.text("taker.event.id").to_pylist())
    return frozenset(found)


def read(file: str, layout: Layout, scale: Scale) -> Iterator[Row | Trade]:
    """The changes of orders and, in a log, the trades, in the order of the file."""
    if layout == "log":
        for row, time_ns, kind, said in _lines(file):
            if kind in _KINDS:
                yield _log_row(file, row, time_ns, _KINDS[kind], said, scale)
            elif kind == "trade":
                yield _log_trade(file, row, time_ns, said, scale)
    elif layout == "orders":
        for block in read_blocks(file, list(_TABLES[layout])):
            yield from _table_rows(block, layout, scale)
    else:
        yield from _by_time(
            row
            for block in read_blocks(file, list(_TABLES[layout]))
            for row in _table_rows(block, layout, scale)
        )


def _by_time(table: Iterator[Row]) -> Iterator[Row]:
    """The rows of one time in the order that each order needs: created, less and less, deleted."""
    for _, same in groupby(table, key=lambda row: row.time_ns):
        yield from sorted(
            same, key=lambda row: (row.change > Change.CREATED, -row.lots, row.change)
        )


def books_of(file: str, layout: Layout, scale: Scale) -> tuple[int, Snapshots | None]:
    """When the session begins, from the epoch, and the books that the feed shows (if any)."""
    if layout == "log":
        return _log_books(file, scale)
    for number, other in enumerate(companions_of(file, layout), 1):
        if "_spread" in Path(other).name:
            begin_ns, shown = _spread(other, scale)
            return begin_ns, shown._replace(row=in_file(number, shown.row))
    for block in read_blocks(file, ["timestamp"]):
        if len(block):
            return int(_times(block, layout)[0]), None
    raise DataError(file, 1, "the file has no rows")


def _lines(file: str) -> Iterator[tuple[int, int, str, Any]]:
    with open_binary(file) as stream:
        row = 0
        while line := stream.readline(_LONGEST_LINE):
            row += 1
            match = _LINE.fullmatch(line)
            if match is None:
                raise DataError(file, row, "not a line of the kind `milliseconds kind {json}`")
            try:
                said = json.loads(match[3])
            except ValueError as error:
                raise DataError(file, row, f"not JSON: {error}") from None
            kind = match[2].decode()
            if kind not in _KINDS and kind not in ("trade", "order_book"):
                raise DataError(file, row, f"unknown kind {kind!r}")
            yield row, int(match[1]) * _MS, kind, said


def _log_row(file: str, row: int, time_ns: int, change: Change, said: Any, scale: Scale) -> Row:
    try:
        price, amount = said["price"], said["amount"]
        order_id, side = said["id"], said["order_type"]
    except (KeyError, TypeError):
        raise DataError(file, row, "an order has price, amount, id and order_type") from None
    if not isinstance(order_id, int) or not 0 < order_id < 2**62 or side not in (0, 1):
        raise DataError(file, row, f"no order id and type: {order_id!r}, {side!r}")
    tick, lots = _units(file, row, price, scale.tick), _units(file, row, amount, scale.lot)
    if abs(tick) > MAX_TICK or not 0 <= lots <= MAX_ORDER_LOTS:
        raise DataError(file, row, f"price {price!r} or amount {amount!r} is out of range")
    return Row(change, time_ns, row, order_id, side, tick, lots)


def _log_trade(file: str, row: int, time_ns: int, said: Any, scale: Scale) -> Trade:
    # Floats with all their digits: 0.21144331000000001 is eight digits and the error of a float.
    try:
        price, amount = float(said["price"]), float(said["amount"])
    except (KeyError, TypeError, ValueError):
        raise DataError(file, row, "a trade has price and amount") from None
    if not (abs(price) < 1e9 and 0 <= amount < 1e9):
        raise DataError(file, row, f"price {price!r} or amount {amount!r} is out of range")
    tick, lots = round(price / float(scale.tick)), round(amount / float(scale.lot))
    return Trade(time_ns, row, tick, lots)


def _units(file: str, row: int, text: Any, step: Decimal) -> int:
    try:
        whole, rest = divmod(Decimal(text), step)
    except (InvalidOperation, TypeError, ValueError):
        raise DataError(file, row, f"{text!r} is no number") from None
    if rest:
        raise DataError(file, row, f"{text!r} is no whole multiple of {step}")
    return int(whole)


def _log_books(file: str, scale: Scale) -> tuple[int, Snapshots | None]:
    begin_ns, books = None, []
    for row, time_ns, kind, said in _lines(file):
        begin_ns = time_ns if begin_ns is None else begin_ns
        if kind == "order_book":
            books.append((time_ns, row, _log_book(file, row, said, scale)))
    if begin_ns is None:
        raise DataError(file, 1, "the file is empty")
    if not books:
        return begin_ns, None
    levels = max(len(side) for _, _, book in books for side in book)
    shown = np.zeros((len(books), 2, 2, max(levels, 1)), np.int64)
    for k, (_, _, book) in enumerate(books):
        for side in range(2):
            for level, (tick, lots) in enumerate(book[side]):
                shown[k, :, side, level] = tick, lots
    times = np.array([time_ns for time_ns, _, _ in books], np.int64)
    order = np.array([row for _, row, _ in books], np.int64)
    begin_ns = books[0][0]
    snapshots = Snapshots(times, order, shown[:, 0], shown[:, 1], _LOG_LAGS_NS, _LOG_LEADS_NS)
    return begin_ns, snapshots


def _log_book(file: str, row: int, said: Any, scale: Scale) -> list[list[tuple[int, int]]]:
    try:
        sides = [
            [(_units(file, row, p, scale.tick), _units(file, row, v, scale.lot)) for p, v in side]
            for side in (said["bids"], said["asks"])
        ]
    except (KeyError, TypeError, ValueError):
        raise DataError(file, row, "a book has bids and asks of price and amount") from None
    for side in sides:
        if any(abs(tick) > MAX_TICK or not 0 <= lots < 2**62 for tick, lots in side):
            raise DataError(file, row, "a price or amount of the book is out of range")
    # Two entries of one price are one level.
    return [_merged(side) for side in sides]


def _merged(side: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: dict[int, int] = {}
    for tick, lots in side:
        merged[tick] = merged.get(tick, 0) + lots
    return [(tick, lots) for tick, lots in merged.items() if lots]


def _times(block: Block, layout: Layout) -> np.ndarray:
    return block.times("timestamp", "epoch_s" if layout == "events" else "epoch_ms", "UTC", None)


def _table_rows(block: Block, layout: Layout, scale: Scale) -> Iterator[Row]:
    change = block.codes("action", {name: int(kind) for name, kind in _CHANGES.items()})
    side = block.codes("direction", _SIDES)
    block.refuse((change < 0) | (side < 0), "unknown action or direction")
    ticks = block.units("price", scale.tick, 0)
    # The table of a log has volumes in 1e-8; that of events has them as they are.
    lot = scale.lot if layout == "events" else scale.lot * 10**8
    lots = block.units("volume", lot, 0)
    fills = block.units("fill", lot, 0) if layout == "events" else np.zeros(len(block), np.int64)
    bad = (np.abs(ticks) > MAX_TICK) | (lots < 0) | (lots > MAX_ORDER_LOTS) | (fills < 0)
    block.refuse(bad, "a price or volume is out of range")
    ids = block.ids("id")
    block.refuse((ids == 0) | (ids >= 2**62), "no order id")
    columns = [
        _times(block, layout).tolist(),
        block.rows.tolist(),
        ids.tolist(),
        side.tolist(),
        ticks.tolist(),
        lots.tolist(),
        fills.tolist(),
    ]
    names = ([""] * len(block), [""] * len(block))
    if layout == "events":
        names = (block.text("event.id").to_pylist(), block.text("matching.event").to_pylist())
    kinds = [Change(code) for code in change.tolist()]
    yield from map(Row, kinds, *columns, *names)


def _spread(file: str, scale: Scale) -> tuple[int, Snapshots]:
    times, order, books = [], [], []
    for block in read_blocks(file, list(_SPREAD)):
        book = np.zeros((len(block), 2, 2, 1), np.int64)
        for side, name in enumerate(("bid", "ask")):
            book[:, 0, side, 0] = block.units(f"best.{name}.price", scale.tick, 0)
            book[:, 1, side, 0] = block.units(f"best.{name}.volume", scale.lot, 0)
        block.refuse(np.any(np.abs(book[:, 0]) > MAX_TICK, axis=(1, 2)), "a price is out of range")
        times.append(_times(block, "events"))
        order.append(block.rows)
        books.append(book)
    if not sum(map(len, times)):
        raise DataError(file, 1, "the file has no rows")
    book, time_ns = np.concatenate(books), np.concatenate(times)
    row = np.concatenate(order)
    back = np.diff(time_ns) < 0
    if back.any():
        raise DataError(file, int(row[int(np.argmax(back)) + 1]), "the time goes back")
    shown = Snapshots(time_ns, row, book[:, 0], book[:, 1], _SPREAD_LAGS_NS, _SPREAD_LEADS_NS)
    return int(time_ns[0]), shown
