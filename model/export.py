"""A stored session as LOBSTER files: messages, and the best levels of the book after each.

A row is an event that changes the best L levels, as LOBSTER's own files have it: 1 adds, 2 takes
lots off, 3 deletes, 4 executes (one row a maker), 7 halts and resumes. What those files cannot say
is left to the book file, where whoever reads it finds the difference: openings, and what was
inferred of a feed that tells orders apart. Lost for good are

- what an aggressor asked for and did not get, and where one aggressor ends and the next begins if
  both are of one time and side;
- that a replace was one event: it becomes a deletion and an addition of the same id, or a reduction
  where the order keeps its place; an order that trades and rests is executions and an addition;
- refused messages, owners, and gaps (the book simply changes).

Auctions that trade and icebergs have no LOBSTER form at all: such a session is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtsim.engine.batch import Books
from mtsim.engine.events import EventType, Origin, to_messages
from mtsim.engine.messages import FILL_DTYPE, MESSAGE_DTYPE, Flag, Kind, Reject, TimeInForce
from mtsim.engine.units import Side
from mtsim.errors import UsageError
from mtsim.model.sources.base import OWN_IDS
from mtsim.model.store import StoredSession

DAY_NS = 24 * 3600 * 10**9
_PRICE_UNITS = 10_000  # of a dollar
_NO_ASK, _NO_BID = 9_999_999_999, -9_999_999_999
_ADD, _REDUCE, _DELETE, _EXECUTE, _HALT = 1, 2, 3, 4, 7
_HALTED, _RESUMED = -1, 1
_NO_BOUND = -(2**31)
_FOREIGN = 9 * 10**17
_ROWS_AT_ONCE = 1 << 14


class Exported(NamedTuple):
    """The two files, and how many rows each has."""

    messages: Path
    orderbook: Path
    rows: int


class _Row(NamedTuple):
    """One row to be, and the message that makes its change; type 0: only the book shows it."""

    type: int
    message: np.ndarray
    order_id: int
    lots: int
    tick: int
    side: int


def export_lobster(stored: StoredSession, folder: Path, levels: int | None = None) -> Exported:
    """Write the session's two LOBSTER files into `folder`, under LOBSTER's own names.

    `levels` of the book: those that its feed explained, or 10, if not said. UsageError for what the
    format cannot hold; nothing is left behind then.
    """
    shown = levels or int(stored.manifest["session"]["truth_levels"]) or 10
    units = _price_units(stored)
    start_ns = stored.manifest["session"]["start_ns"]
    said = stored.manifest["events"]
    first, last = said["first_ns"] + start_ns, said["last_ns"] + start_ns
    if first < 0 or last >= DAY_NS:
        raise UsageError(
            f"{stored.key}: LOBSTER times are seconds after midnight, and this session runs from "
            f"{first / 1e9:.0f} s to {last / 1e9:.0f} s"
        )
    folder.mkdir(parents=True, exist_ok=True)
    bounds = f"{first // 10**6}_{-(-last // 10**6)}"
    stem = f"{stored.folder.parent.name}_{stored.key.date.isoformat()}_{bounds}"
    files = [folder / f"{stem}_{what}_{shown}.csv" for what in ("message", "orderbook")]
    parts = [file.with_name(f"{file.name}.part") for file in files]
    rows = 0
    try:
        with parts[0].open("w", newline="") as messages, parts[1].open("w", newline="") as books:
            for message_line, book_line in _lines(stored, shown, units, start_ns):
                messages.write(message_line)
                books.write(book_line)
                rows += 1
        for part, file in zip(parts, files, strict=True):
            part.replace(file)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return Exported(files[0], files[1], rows)


def _price_units(stored: StoredSession) -> int:
    tick_size = Decimal(stored.manifest["instrument"]["tick_size"])
    units = tick_size * _PRICE_UNITS
    if units != int(units):
        raise UsageError(
            f"{stored.key}: LOBSTER prices are whole ten-thousandths, and a tick is {tick_size}"
        )
    return int(units)


def _lines(
    stored: StoredSession, levels: int, units: int, start_ns: int
) -> Iterator[tuple[str, str]]:
    """The lines of both files, side by side."""
    # The book that takes the session's changes row by row. A row waits for what follows it unsaid.
    books = Books(1)
    by_order = stored.manifest["session"]["by_order"]
    window = _levels(books, levels)
    waiting: str | None = None
    bounds = (_NO_BOUND, _NO_BOUND)
    for event, row in _all_rows(stored):
        if event["origin"] == Origin.OBSERVED:
            told = True
        elif event["origin"] == Origin.INFERRED and by_order:
            # What enters the window was not seen before, and needs no message.
            told = waiting is not None and _seen(row, bounds)
        else:
            told = waiting is not None or event["origin"] == Origin.INFERRED
        books.process(row.message.reshape(1))
        now = _levels(books, levels)
        changed = any((a != b).any() for a, b in zip(window, now, strict=True))
        if told and (changed or row.type == _HALT):
            if waiting is not None:
                yield waiting, _book(window, units)
                bounds = _bounds(window)
            waiting = _message(event, row, units, start_ns)
        window = now
    if waiting is not None:
        yield waiting, _book(window, units)


def _all_rows(stored: StoredSession) -> Iterator[tuple[np.void, _Row]]:
    """The rows of every event that was executed, in order."""
    books = Books(1)
    replaced = _replaced_ids(stored)
    prices: dict[int, int] = {}
    for part in stored.events():
        events = part[part["type"] < EventType.SESSION_START]
        _require_sayable(stored, events)
        for start in range(0, len(events), _ROWS_AT_ONCE):
            some = events[start : start + _ROWS_AT_ONCE]
            outcome = books.process(to_messages(some))
            ends = np.cumsum(outcome.results["n_fills"])
            for event, result, end in zip(some, outcome.results, ends, strict=True):
                fills = outcome.fills[end - result["n_fills"] : end]
                if event["kind"] == Kind.UNCROSS and len(fills):
                    raise UsageError(
                        f"{stored.key}: an auction trades {len(fills)} times, which LOBSTER files "
                        "do not say order by order"
                    )
                order_id = int(event["order_id"])
                for row in _rows(event, result, fills, prices.get(order_id, 0)):
                    yield event, row
                if order_id in replaced and result["reject"] == Reject.NONE:
                    prices[order_id] = int(result["price_tick"])


def _seen(row: _Row, bounds: tuple[int, int]) -> bool:
    """Whether the window of these bounds shows the level of a row."""
    return row.tick >= bounds[0] if row.side == Side.BUY else row.tick <= -bounds[1]


def _bounds(window: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
    """The worst level shown of each side, an ask as its negative; a side with room shows all."""
    ticks, lots = window
    bid = int(ticks[0, -1]) if lots[0, -1] else _NO_BOUND
    return bid, -int(ticks[1, -1]) if lots[1, -1] else _NO_BOUND


def _replaced_ids(stored: StoredSession) -> set[int]:
    """The orders that are ever replaced: a result does not say at what price they were before."""
    found: set[int] = set()
    for part in stored.events():
        found.update(part["order_id"][part["kind"] == Kind.REPLACE].tolist())
    return found


def _require_sayable(stored: StoredSession, events: np.ndarray) -> None:
    hidden = events["display_lots"] > 0
    if hidden.any():
        raise UsageError(
            f"{stored.key}: order {events['order_id'][np.argmax(hidden)]} is an iceberg, which "
            "LOBSTER files do not show as one order"
        )


def _rows(event: np.void, result: np.void, fills: np.ndarray, old_tick: int) -> Iterator[_Row]:
    """The rows of one event. Their messages, executed in order, do to a book what the event did."""
    if result["reject"] != Reject.NONE:
        return
    kind, side, order_id = int(event["kind"]), int(result["side"]), int(result["order_id"])
    tick, open_lots = int(result["price_tick"]), int(result["resting_lots"])
    taken = int(result["cancelled_lots"])
    if kind in (Kind.CANCEL, Kind.REDUCE) or _shrinks_in_place(event, result, fills, old_tick):
        if taken and open_lots:
            message = _asking(kind=Kind.REDUCE, order_id=order_id, lots=taken)
            yield _Row(_REDUCE, message, order_id, taken, tick, side)
        elif taken:
            message = _asking(kind=Kind.CANCEL, order_id=order_id)
            yield _Row(_DELETE, message, order_id, taken, tick, side)
        return
    if kind in (Kind.AUCTION, Kind.UNCROSS):
        message = _asking(kind=kind, price_tick=int(event["price_tick"]))
        state = _HALTED if kind == Kind.AUCTION else _RESUMED
        yield _Row(_HALT, message, 0, 0, state, -1)
        return
    if (
        kind == Kind.REPLACE
        and event["origin"] == Origin.INFERRED
        and _same_level(result, fills, old_tick)
    ):
        # Another place in its level is nothing that a feed by order would have shown as events.
        message = _asking(
            kind=kind, order_id=order_id, lots=open_lots, price_tick=tick, flags=Flag.LOSE_PLACE
        )
        yield _Row(0, message, order_id, 0, tick, side)
        return
    if kind == Kind.REPLACE:
        message = _asking(kind=Kind.CANCEL, order_id=order_id)
        yield _Row(_DELETE, message, order_id, int(result["previous_lots"]), old_tick, side)
    for fill in fills:
        yield _execution(fill)
    if open_lots:
        message = _asking(
            kind=Kind.LIMIT, side=side, price_tick=tick, lots=open_lots, order_id=order_id
        )
        yield _Row(_ADD, message, order_id, open_lots, tick, side)


def _shrinks_in_place(event: np.void, result: np.void, fills: np.ndarray, old_tick: int) -> bool:
    return (
        event["kind"] == Kind.REPLACE
        and not event["flags"] & Flag.LOSE_PLACE
        and not len(fills)
        and result["price_tick"] == old_tick
        and result["resting_lots"] <= result["previous_lots"]
    )


def _same_level(result: np.void, fills: np.ndarray, old_tick: int) -> bool:
    return (
        not len(fills)
        and result["price_tick"] == old_tick
        and result["resting_lots"] == result["previous_lots"]
    )


def _execution(fill: np.ndarray) -> _Row:
    assert fill.dtype == FILL_DTYPE
    taker, lots, tick = int(fill["taker_side"]), int(fill["lots"]), int(fill["price_tick"])
    message = _asking(
        kind=Kind.LIMIT,
        tif=TimeInForce.IOC,
        side=taker,
        price_tick=tick,
        lots=lots,
        order_id=int(fill["taker_id"]),
    )
    return _Row(_EXECUTE, message, int(fill["maker_id"]), lots, tick, Side(taker).opposite)


def _asking(**fields: int) -> np.ndarray:
    message = np.zeros((), MESSAGE_DTYPE)
    for name, value in fields.items():
        message[name] = value
    return message


def _levels(books: Books, levels: int) -> tuple[np.ndarray, np.ndarray]:
    ticks, lots = books.depth(levels)
    return ticks[0], lots[0]


def _message(event: np.void, row: _Row, units: int, start_ns: int) -> str:
    seconds, ns = divmod(int(event["time_ns"]) + start_ns, 10**9)
    if row.type == _HALT:
        return f"{seconds}.{ns:09},{_HALT},0,0,{row.tick},-1\n"
    direction = 1 if row.side == Side.BUY else -1
    # Our own ids mean nothing to others, and have more digits than a file's number may.
    order_id = row.order_id - OWN_IDS + _FOREIGN if row.order_id >= OWN_IDS else row.order_id
    return f"{seconds}.{ns:09},{row.type},{order_id},{row.lots},{row.tick * units},{direction}\n"


def _book(levels: tuple[np.ndarray, np.ndarray], units: int) -> str:
    ticks, lots = (array.tolist() for array in levels)
    cells = []
    for level in range(len(ticks[0])):
        for side, nothing in ((Side.SELL, _NO_ASK), (Side.BUY, _NO_BID)):
            size = lots[side][level]
            cells.append(f"{ticks[side][level] * units if size else nothing},{size}")
    return ",".join(cells) + "\n"
