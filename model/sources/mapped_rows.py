"""The rows of a mapped file as records of the ledger: its codes, ids, times and sizes understood.

Knows what the words of a mapping mean; knows neither sessions nor what the records come to.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from mtsim.engine.units import MAX_TICK
from mtsim.model.sources import tables
from mtsim.model.sources.base import OWN_IDS, Counts
from mtsim.model.sources.ledger import MAX_ORDER_LOTS
from mtsim.model.sources.ledger_records import NO_SIDE, NO_TICK, RECORD_DTYPE, Op
from mtsim.model.sources.mapping import ACTIONS, BookPart, FillPart, Mapping, book_columns
from mtsim.model.sources.tables import Block

OTHER = "another instrument"
_NO_LOTS = "row of 0 lots"
_OFF_TICK = "new order at a price between two ticks"
_LATE = "after the end of the session"
_IGNORED = "action that the mapping ignores"
_UNTOLD = "change whose new size the file does not say"
_BUY, _SELL = 0, 1
_BETWEEN = NO_TICK + 1
# Beyond this a date is wrong, or the unit of the times.
_LONGEST_NS = 7 * tables.DAY_NS


class Scales(NamedTuple):
    """What one tick and one lot are in the numbers of the file."""

    tick: Decimal
    lot: Decimal


class RowReader:
    """Reads the blocks of one session, in order, and counts the rows that are left out.

    With `only` unsaid (None) the file must be about one instrument.
    """

    def __init__(
        self,
        mapping: Mapping,
        scales: Scales,
        day: date,
        symbol: str,
        only: str | None,
        counts: Counts,
    ):
        self._mapping, self._scales, self._day = mapping, scales, day
        self._symbol, self._one_symbol, self._counts = symbol, only, counts
        self._start_ns = mapping.session.from_ or 0
        self._has_date = mapping.time.format == "iso" or mapping.time.format.startswith("epoch")
        self._renumbers = mapping.id.renumber or mapping.id.text
        self._codes = _Codes.of(mapping)
        self._numbers: dict[str, int] = {}
        self._last_ns = -(2**62)

    def kept(self, block: Block) -> Block:
        """The rows that are about orders of this instrument; the others are counted."""
        mapping, counts = self._mapping, self._counts
        for drop in mapping.drop:
            out = block.codes(drop.column, dict.fromkeys(drop.is_, 1)) == 1
            counts.dropped[drop.because] += int(out.sum())
            block = block.only(~out)
        if mapping.instrument.column is not None:
            symbol = self._symbol
            other = block.codes(mapping.instrument.column, {symbol: 1}) != 1
            if self._one_symbol is None:
                block.refuse(
                    other,
                    f"another instrument than {symbol}",
                    "Say which one is wanted with --symbol.",
                )
            counts.dropped[OTHER] += int(other.sum())
            block = block.only(~other)
        untold = mapping.action.modify if mapping.modify.gives == "before" else ()
        for codes, reason in ((mapping.action.ignore, _IGNORED), (untold, _UNTOLD)):
            if codes:
                out = block.codes(mapping.action.column, dict.fromkeys(codes, 1)) == 1
                counts.dropped[reason] += int(out.sum())
                block = block.only(~out)
        counts.dropped += Counter()  # Reasons that never came up are no reasons.
        return block

    def _times(self, block: Block) -> np.ndarray:
        time = self._mapping.time
        of_day = block.times(
            time.column, time.format, time.zone, self._day if self._has_date else None
        )
        far = (of_day < 0) | (of_day > _LONGEST_NS)
        block.refuse(
            far, f"the time is not on {self._day}", "Look at the date and the time format."
        )
        back = np.diff(of_day, prepend=self._last_ns) < 0
        block.refuse(back, "the time goes back")
        self._last_ns = int(of_day[-1])
        return of_day

    def records(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """The records of a block, and which of its rows they are."""
        mapping, codes = self._mapping, self._codes
        action = block.codes(mapping.action.column, codes.action)
        block.refuse(
            action < 0,
            f"unknown code in {mapping.action.column}",
            f"Known: {', '.join(codes.action)}. Others go under `ignore`.",
        )
        side = block.codes(mapping.side.column, codes.side)
        block.refuse(
            side < 0,
            f"unknown code in {mapping.side.column}",
            f"Known: {', '.join(codes.side)}. Codes that say no side go under `none`.",
        )
        of_day = self._times(block)
        records = np.zeros(len(block), RECORD_DTYPE)
        records["time_ns"], records["row"] = of_day - self._start_ns, block.rows
        records["op"], records["side"] = codes.op[action], side
        records["tick"] = self._ticks(block, mapping.price.column)
        records["lots"] = self._lots(block, mapping.size.column)
        # What a delete takes is known from the order; logs have been seen to say nonsense there.
        deletes = records["op"] == Op.DELETE
        records["lots"][deletes] = np.maximum(records["lots"][deletes], 0)
        records["id"] = self._ids(block, mapping.id.column)
        records["other_tick"] = NO_TICK
        self._replacements(block, records)
        self._fills(block, records)
        off = records["tick"] == _BETWEEN
        # An order that moves between two ticks leaves the book that is kept.
        records["id"] = np.where(
            off & (records["op"] == Op.REPLACE), records["other"], records["id"]
        )
        moves = off & np.isin(records["op"], (Op.REPLACE, Op.SHOW, Op.CHANGE))
        records["op"][moves] = Op.DELETE
        records["tick"][off] = records["other_tick"][off]
        off &= records["op"] == Op.ADD
        self._check(block.only(~off), records[~off])
        keep = np.ones(len(block), bool)
        nothing = (records["lots"] == 0) & np.isin(records["op"], _NEED_LOTS)
        late = np.zeros(len(block), bool)
        if mapping.session.to is not None:
            late = of_day >= mapping.session.to
        for out, reason in (
            (late, _LATE),
            (off & ~late, _OFF_TICK),
            (nothing & ~late & ~off, _NO_LOTS),
        ):
            if out.any():
                self._counts.dropped[reason] += int(out.sum())
                keep &= ~out
        return records[keep], keep

    def _replacements(self, block: Block, records: np.ndarray) -> None:
        replace = self._mapping.replace
        if replace is None:
            return
        here = records["op"] == Op.REPLACE
        records["other"] = np.where(here, self._ids(block, replace.old_id), 0)
        if replace.old_price is not None:
            old = self._ticks(block, replace.old_price)
            records["other_tick"] = np.where(old == _BETWEEN, NO_TICK, old)
        if replace.old_size is not None:
            records["other_lots"] = self._lots(block, replace.old_size)

    def _fills(self, block: Block, records: np.ndarray) -> None:
        """Who is the resting order of a fill, on which side, and who takes."""
        fill: FillPart = self._mapping.fill
        here = records["op"] == Op.FILL
        if not here.any():
            return
        block = block.only(here)
        rows = records[here]
        said = rows["side"] != NO_SIDE
        if fill.side == "taker":
            rows["side"] = np.where(said, 1 - rows["side"], NO_SIDE)
        if fill.maker is not None and fill.taker is not None:
            rows["id"], rows["other"] = self._ids(block, fill.maker), self._ids(block, fill.taker)
        elif fill.buy is not None and fill.sell is not None and fill.aggressor is not None:
            buy, sell = self._ids(block, fill.buy), self._ids(block, fill.sell)
            aggressor = block.codes(fill.aggressor.column, self._codes.aggressor)
            block.refuse(
                aggressor < 0,
                f"unknown code in {fill.aggressor.column}",
                f"Known: {', '.join(self._codes.aggressor)}.",
            )
            sold = aggressor == _SELL
            rows["id"] = np.where(sold | (aggressor == NO_SIDE), buy, sell)
            rows["other"] = np.where(sold | (aggressor == NO_SIDE), sell, buy)
            rows["side"] = np.where(aggressor == _BUY, _SELL, _BUY)
            rows["op"] = np.where(aggressor == NO_SIDE, Op.MATCH, Op.FILL)
        records[here] = rows

    def _check(self, block: Block, records: np.ndarray) -> None:
        op = records["op"]
        enters = np.isin(op, (Op.ADD, Op.REPLACE))
        block.refuse((op == Op.ADD) & (records["id"] == 0), "a new order without an id")
        block.refuse((op == Op.ADD) & (records["side"] == NO_SIDE), "a new order without a side")
        block.refuse((op == Op.MARKET) & (records["side"] == NO_SIDE), "an order without a side")
        block.refuse(enters & (records["tick"] == NO_TICK), "a new order without a price")
        block.refuse((op == Op.REPLACE) & (records["lots"] <= 0), "a replacement of 0 lots")
        block.refuse((op != Op.CHANGE) & (records["lots"] < 0), "a size below 0")
        if not self._renumbers:
            block.refuse(
                (records["id"] >= OWN_IDS) | (records["other"] >= OWN_IDS),
                "an id that is too large to be kept",
                "Add `renumber: true` to id in the mapping.",
            )

    def _ticks(self, block: Block, column: str) -> np.ndarray:
        between = _BETWEEN if self._mapping.price.between_ticks == "drop" else None
        ticks = block.units(column, self._scales.tick, NO_TICK, between)
        far = (np.abs(ticks) > MAX_TICK) & (ticks > _BETWEEN)
        block.refuse(far, f"{column} is more than {MAX_TICK} ticks", "Look at the tick size.")
        return ticks

    def _lots(self, block: Block, column: str) -> np.ndarray:
        lots = block.units(column, self._scales.lot, 0)
        far = np.abs(lots) > MAX_ORDER_LOTS
        block.refuse(far, f"{column} is more than {MAX_ORDER_LOTS} lots", "Look at the lot size.")
        return lots

    def _ids(self, block: Block, column: str) -> np.ndarray:
        if not self._mapping.id.text:
            return block.ids(column)
        encoded = block.text(column).dictionary_encode()
        numbers = self._numbers
        mine = [
            numbers.setdefault(word, len(numbers) + 1) if word else 0
            for word in encoded.dictionary.to_pylist()
        ]
        return np.array(mine, np.int64)[encoded.indices.to_numpy()]

    def books(self, block: Block, book: BookPart) -> np.ndarray:
        return books_of(block, book, self._scales)


_NEED_LOTS = (Op.ADD, Op.FILL, Op.MATCH, Op.MARKET)


class _Codes(NamedTuple):
    """What the codes of a mapping stand for."""

    action: dict[str, int]
    op: np.ndarray  # the Op of each action
    side: dict[str, int]
    aggressor: dict[str, int]

    @classmethod
    def of(cls, mapping: Mapping) -> _Codes:
        action = {
            code: number
            for number, name in enumerate(ACTIONS)
            for code in getattr(mapping.action, name)
        }
        ops = {
            "add": Op.ADD,
            "cancel": Op.CANCEL if mapping.cancel.gives == "removed" else Op.SHOW,
            "delete": Op.DELETE,
            "modify": Op.SHOW if mapping.modify.gives == "remaining" else Op.CHANGE,
            "replace": Op.REPLACE,
            "fill": Op.FILL,
            "market": Op.MARKET,
        }
        side = mapping.side
        aggressor = mapping.fill.aggressor
        return cls(
            action,
            np.array([ops.get(name, Op.DELETE) for name in ACTIONS]),
            _sides(side.buy, side.sell, side.none),
            _sides(aggressor.buy, aggressor.sell, aggressor.none) if aggressor else {},
        )


def _sides(buy: tuple[str, ...], sell: tuple[str, ...], none: tuple[str, ...]) -> dict[str, int]:
    return {
        **dict.fromkeys(buy, _BUY),
        **dict.fromkeys(sell, _SELL),
        # An empty cell says no side, whatever the mapping lists.
        **dict.fromkeys((*none, ""), NO_SIDE),
    }


def books_of(block: Block, book: BookPart, scales: Scales) -> np.ndarray:
    """int64 [n, 2 (ticks, lots), 2 sides, levels]."""
    columns = book_columns(book)
    books = np.zeros((len(block), 2, 2, book.levels), np.int64)
    for k, column in enumerate(columns):
        part, level = divmod(k, book.levels)
        side, field = divmod(part, 2)
        step = scales.lot if field else scales.tick
        books[:, field, side, level] = block.units(column, step, 0)
    block.refuse(np.any(books[:, 1] < 0, axis=(1, 2)), "a size below 0 in the book")
    far = np.any(np.abs(books[:, 0]) > MAX_TICK, axis=(1, 2))
    block.refuse(far, "a price in the book is too far", "Look at the tick size.")
    books[:, 0][books[:, 1] == 0] = 0
    return books
