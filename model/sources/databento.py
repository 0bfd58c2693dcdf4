"""Databento MBO, in DBN or CSV: one file a session.

The fills of a trade (F) become one aggressive order; the cancels and changes that say again what
was filled are recognised and not sent. Records of the start-of-day snapshot are OPENING, at the
time of the snapshot. An MBP-10 file beside it is the truth. Times count from midnight UTC of the
day that the first record was received, on past 24 hours if the file goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from mtsim.engine.events import Origin
from mtsim.engine.units import MAX_LOTS, MAX_TICK
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import grid
from mtsim.model.sources.base import (
    BATCH_ROWS,
    Batch,
    Counts,
    Instrument,
    Options,
    Session,
    Truth,
    in_file,
)
from mtsim.model.sources.databento_books import LEVELS, Books, is_books, orders_beside, truth_beside
from mtsim.model.sources.databento_files import (
    MBO_DTYPE,
    UNDEF_PRICE,
    Heading,
    heading_of,
    read_records,
)
from mtsim.model.sources.ledger_blocks import Block, batches
from mtsim.model.sources.ledger_records import NO_SIDE, RECORD_DTYPE, Op

F_TOB, F_SNAPSHOT, F_MBP = 64, 32, 16

_PRICE_UNITS = 10**9
_LISTED = 20

# A file is in the order of receipt. The clocks of a venue's engines differ by less than this.
_MAX_BACK_NS = 10**9

_EQUITIES = re.compile(r"(X[A-Z]{3}|ARCX|BATS|BATY|EDGA|EDGX|EPRL|IEXG|MEMX)\.")
_FUTURE = re.compile(r"([A-Z0-9]{1,3}?)[FGHJKMNQUVXZ]\d{1,2}")
_FUTURE_TICKS = {
    **dict.fromkeys(("ES", "NQ", "MES", "MNQ"), Decimal("0.25")),
    **dict.fromkeys(("RTY", "M2K", "GC"), Decimal("0.10")),
    **dict.fromkeys(("YM", "MYM"), Decimal(1)),
    "CL": Decimal("0.01"),
}
_ASSUMPTIONS = (
    "Consecutive fills of one time, side and taker are one aggressive order.",
    "What a taker has left and rests is an order of its own.",
    "Orders that trade in an auction leave the book as inferred cancels.",
    "While the book lies crossed, the engine collects orders as in an auction.",
    "A time less than a second earlier than that of the record before is taken for the same.",
)

_A, _C, _M, _R, _T, _F, _N, _BID = (ord(letter) for letter in "ACMRTFNB")
_OPS = {_A: Op.ADD, _C: Op.CANCEL, _M: Op.SHOW, _R: Op.CLEAR, _F: Op.FILL_SAID_AGAIN}
_OP = np.zeros(256, np.uint8)
_IS_ACTION, _IS_SENT = np.zeros(256, bool), np.zeros(256, bool)
for _action, _op in _OPS.items():
    _OP[_action] = _op
_IS_SENT[list(_OPS)] = True
_IS_ACTION[[*_OPS, _T, _N]] = True
_SIDE = np.full(256, NO_SIDE, np.uint8)
_SIDE[[_BID, _A]] = 0, 1


class DatabentoSource:
    """One instrument of an MBO file, as messages."""

    def __init__(self, path: str, session: Session, instrument_id: int, alone: bool):
        self.session = session
        self.counts = Counts()
        self.books: Books | None = None
        """The MBP-10 file that its snapshots come from."""
        self._path = path
        self._instrument_id = instrument_id
        self._alone = alone
        self._units = int(session.instrument.tick_size * _PRICE_UNITS)
        self._lot = int(session.instrument.lot_size)
        self._start_ns = int(datetime.combine(session.date, datetime.min.time(), UTC).timestamp())
        self._start_ns *= 10**9
        self._clock_ns = 0
        if session.truth_levels:
            self.books = Books(session.files[1], instrument_id, self._units, self._lot)

    def batches(self) -> Iterator[Batch]:
        return batches(self._blocks(), self._path, self.counts)

    def _blocks(self) -> Iterator[Block]:
        row, mbo = np.empty(0, np.int64), np.empty(0, MBO_DTYPE)
        for records in read_records(self._path):
            self.counts.read += len(records.mbo) + records.others
            self._drop("a record of another kind", records.others)
            mine = self._is_mine(records.row, records.mbo)
            row = np.concatenate((row, records.row[mine]))
            mbo = np.concatenate((mbo, records.mbo[mine]))
            # What happened at the last time may go on in the records to come.
            ends = np.flatnonzero(mbo["ts_event"][1:] != mbo["ts_event"][:-1]) + 1
            stop = int(ends[-1]) if len(ends) else 0
            if len(mbo) - stop > BATCH_ROWS:
                stop = len(mbo)
            if stop:
                yield self._block(row[:stop], mbo[:stop])
                row, mbo = row[stop:], mbo[stop:]
        if len(row):
            yield self._block(row, mbo)

    def _is_mine(self, row: np.ndarray, mbo: np.ndarray) -> np.ndarray:
        mine = mbo["instrument_id"] == self._instrument_id
        if self._alone:
            found = mbo["instrument_id"][np.argmin(mine)] if len(mine) else 0
            rule = f"another instrument than {self._instrument_id}: {found}"
            self._refuse(row, ~mine, rule, "Say which is meant: --symbol and its number")
        self._drop("a record of another instrument", int((~mine).sum()))
        return mine

    def _block(self, row: np.ndarray, mbo: np.ndarray) -> Block:
        """The order records among these, and the books after them."""
        action, side = mbo["action"].view(np.uint8), _SIDE[mbo["side"].view(np.uint8)]
        price, size = mbo["price"], mbo["size"].astype(np.int64)
        self._refuse(row, ~_IS_ACTION[action], "no action of an MBO record: A, C, M, R, T, F or N")
        self._refuse(
            row, mbo["flags"] & (F_TOB | F_MBP) != 0, "a price level, where orders are expected"
        )
        time_ns = self._times(row, mbo)
        enters = (action == _A) | (action == _M)
        taker, in_auction = self._takers(action, side, mbo["order_id"].view(np.int64))

        sent = _IS_SENT[action]
        self._drop("a record without an action", int((action == _N).sum()))
        for reason, is_so in (
            ("an order without a side", (action == _A) & (side == NO_SIDE)),
            ("an order without a price", enters & (price == UNDEF_PRICE)),
            ("an order without lots", sent & (action != _R) & (action != _M) & (size == 0)),
        ):
            self._drop(reason, int((sent & is_so).sum()))
            sent &= ~is_so

        self._refuse(
            row,
            sent & enters & (price % self._units != 0),
            f"the price is not on the grid of the tick {self.session.instrument.tick_size}",
            "Another tick size may be right: --tick",
        )
        tick, lots = price // self._units, size // self._lot
        self._refuse(row, sent & enters & (np.abs(tick) > MAX_TICK), "the price is out of range")
        self._refuse(
            row,
            sent & (action != _R) & ((size % self._lot != 0) | (lots > MAX_LOTS)),
            "the size is no number of lots up to 2^30",
        )
        records = np.zeros(len(row), RECORD_DTYPE)
        records["time_ns"], records["row"], records["side"] = time_ns, row, side
        records["id"], records["other"] = mbo["order_id"].view(np.int64), taker
        records["lots"] = np.where(sent, lots, 0)
        records["tick"] = np.where(sent & enters, tick, 0)
        # An order that was made to cross is listed among the fills of the trade it then made.
        took = (mbo["order_id"].view(np.int64) == taker) & (taker > 0) & ~in_auction
        fill = np.where(in_auction, np.uint8(Op.MATCH_SAID_AGAIN), np.uint8(Op.FILL_SAID_AGAIN))
        fill = np.where(took, np.uint8(Op.WITHDRAW), fill)
        records["op"] = np.where(action == _F, fill, _OP[action])
        records["origin"] = np.where(
            mbo["flags"] & F_SNAPSHOT != 0, np.uint8(Origin.OPENING), np.uint8(Origin.OBSERVED)
        )
        return Block(records[sent], self._truth(mbo, np.cumsum(sent)))

    def _times(self, row: np.ndarray, mbo: np.ndarray) -> np.ndarray:
        """Nanoseconds since the start, never back."""
        # A snapshot is made up at the time of its receipt; the time of its orders is long gone.
        stamp = np.where(mbo["flags"] & F_SNAPSHOT != 0, mbo["ts_recv"], mbo["ts_event"])
        self._refuse(row, stamp >= 2**63, "a record without a time")
        time_ns = stamp.astype(np.int64) - self._start_ns
        held = np.maximum.accumulate(np.append(self._clock_ns, time_ns))[1:]
        self._refuse(row, held - time_ns > _MAX_BACK_NS, "the time goes back by more than a second")
        if moved := int((held != time_ns).sum()):
            self.counts.noticed["a time moved up to that of the record before"] += moved
        self._clock_ns = int(held[-1])
        return held

    def _takers(
        self, action: np.ndarray, side: np.ndarray, order_id: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Who took, for each fill, and whether in an auction: what the trade before it says."""
        is_trade = action == _T
        before = np.maximum.accumulate(np.where(is_trade, np.arange(len(action)), -1))
        known = before >= 0
        taker = np.where(known, order_id[before], 0)
        in_auction = (known & (side[before] == NO_SIDE)) | (side == NO_SIDE)
        filled = np.append(action[1:] == _F, False) & is_trade
        printed = filled & (side == NO_SIDE)
        self.counts.used += int((filled & ~printed).sum())
        self._drop("a trade of an auction", int(printed.sum()))
        self._drop("a trade without a resting order that is shown", int((is_trade & ~filled).sum()))
        return taker, in_auction

    def _truth(self, mbo: np.ndarray, sent_so_far: np.ndarray) -> Truth | None:
        if self.books is None:
            return None
        ts_event, sequence = mbo["ts_event"].astype(np.int64), mbo["sequence"].astype(np.int64)
        changes = (ts_event[1:] != ts_event[:-1]) | (sequence[1:] != sequence[:-1])
        truth = self.books.after(ts_event, sequence, np.flatnonzero(np.append(changes, True)))
        if truth is None:
            return None
        return truth._replace(after=sent_so_far[truth.after - 1], row=in_file(1, truth.row))

    def _drop(self, reason: str, n: int) -> None:
        if n:
            self.counts.dropped[reason] += n

    def _refuse(self, row: np.ndarray, wrong: np.ndarray, rule: str, hint: str = "") -> None:
        if wrong.any():
            raise DataError(self._path, int(row[np.argmax(wrong)]), rule, hint)


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[DatabentoSource]:
    """One session an MBO file: the instrument `options.symbol`, by name or number, or the only one.

    MBP-10 files among `files` are the truth of the MBO files beside them. The tick size is known
    for US equities and some futures; of other instruments it is found in all the file's prices. An
    instrument without a name is called by its number. Both are stated.
    """
    for path in files:
        if is_books(path):
            if orders_beside(path) not in files:
                raise UsageError(f"{path} holds books, not orders: name the MBO file of that name")
            continue
        heading = heading_of(path)
        instrument_id, symbol = _chosen(path, heading, options.symbol)
        begins = _first_date(path, instrument_id)
        if options.date is not None and options.date != begins:
            raise UsageError(f"{path} begins on {begins}, not on {options.date}")
        assumed: list[str] = []
        if options.symbol is None and instrument_id not in heading.symbols:
            assumed.append("The file names no symbol: the instrument is called by its number.")
        tick_size = options.tick_size or _known_tick(heading.dataset, symbol)
        if tick_size is None:
            tick_size = _found_tick(path, instrument_id, symbol)
            assumed.append(
                f"The tick is {tick_size}, found as the finest step of the prices in the file."
            )
        lot_size = options.lot_size or Decimal(1)
        if tick_size <= 0 or (tick_size * _PRICE_UNITS) % 1:
            raise UsageError(f"a tick of {tick_size} is no multiple of 1e-9, the unit of prices")
        if lot_size <= 0 or lot_size % 1:
            raise UsageError(f"a lot of {lot_size} is no whole number")
        beside = truth_beside(path)
        session = Session(
            Instrument(symbol, options.venue or heading.dataset, tick_size, lot_size),
            begins,
            "databento",
            (path,) if beside is None else (path, beside),
            truth_levels=0 if beside is None else LEVELS,
            assumptions=(*assumed, *_ASSUMPTIONS),
        )
        alone = options.symbol is None or len(heading.symbols) < 2 > len(heading.instruments)
        yield DatabentoSource(path, session, instrument_id, alone)


def _chosen(path: str, heading: Heading, symbol: str | None) -> tuple[int, str]:
    """The number and the name of the instrument that is meant."""
    names = {number: str(number) for number in heading.instruments} | heading.symbols
    if not names:
        raise DataError(path, None, "there is no record in the file")
    if len(names) == 1:
        number, name = next(iter(names.items()))
        # Where the file has no name for its only instrument, the user's is as good as any.
        if symbol is None or symbol in (name, str(number)):
            return number, name
        if number not in heading.symbols:
            return number, symbol
    for number, name in names.items():
        if symbol in (name, str(number)):
            return number, name
    listed = ", ".join(sorted(names.values())[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    wrong = "which of its instruments is meant?" if symbol is None else f"it has no {symbol}."
    raise UsageError(f"{path}: {wrong} There are {listed}{more}. Say --symbol.")


def _first_date(path: str, instrument_id: int) -> date:
    for records in read_records(path):
        mine = np.flatnonzero(records.mbo["instrument_id"] == instrument_id)
        if len(mine):
            received = int(records.mbo["ts_recv"][mine[0]])
            if received >= 2**63:
                raise DataError(path, int(records.row[mine[0]]), "a record without a time")
            start = datetime(1970, 1, 1, tzinfo=UTC)
            return (start + timedelta(seconds=received // 10**9)).date()
    raise DataError(path, None, f"there is no record of instrument {instrument_id} in the file")


def _known_tick(dataset: str, symbol: str) -> Decimal | None:
    if _EQUITIES.match(dataset):
        return Decimal("0.01")
    future = _FUTURE.fullmatch(symbol)
    if dataset == "GLBX.MDP3" and future and future[1] in _FUTURE_TICKS:
        return _FUTURE_TICKS[future[1]]
    return None


def _found_tick(path: str, instrument_id: int, symbol: str) -> Decimal:
    """The step that all prices of an instrument are multiples of. UsageError without a price."""
    divisor = 0
    for records in read_records(path):
        price = records.mbo["price"][records.mbo["instrument_id"] == instrument_id]
        divisor = grid.common_divisor(price[price != UNDEF_PRICE], divisor)
    if not divisor:
        raise UsageError(f"{path}: the tick size of {symbol} is not known. Say --tick.")
    return Decimal(f"{(Decimal(grid.step_of(divisor)) / _PRICE_UNITS).normalize():f}")
