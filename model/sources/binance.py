"""Binance's public archives: spot and futures `trades` and `aggTrades`, zipped or as CSV.

Files with and without a header are read, with times in milliseconds or microseconds (spot archives
from 2025 on), told apart by their size. A `.CHECKSUM` file that lies beside an archive must agree
with it. Other CSV files of trades are read where their header says the same by another name.

The market, and so the venue (`binance`, `binance-um`, `binance-cm`), is told by a symbol of COIN-M,
else by columns that one of the others has, else by a part of the file's name (`spot`, `um`, `usdm`,
`cm`, `coinm`); where none of these tells, it is taken for spot, and that is stated.

Trades become aggressive orders by the rules of `takers`. A trade-only feed has no book: its orders,
executed alone, meet nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtsim.engine.units import MAX_TICK
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import grid
from mtsim.model.sources.base import FEED_DTYPE, Instrument, Options, Session, Source, in_file
from mtsim.model.sources.binance_lines import VENUES, Market, is_coin_margined, quote_currency
from mtsim.model.sources.day_source import Piece, sessions
from mtsim.model.sources.fetch import expected_sha256
from mtsim.model.sources.files import Kind, open_binary, read_csv, sha256
from mtsim.model.sources.takers import (
    ASSUMPTIONS,
    OrdersAlone,
    Trades,
    as_orders,
    joined,
    messages_by_day,
    no_trades,
)

# The names that columns go by, in lower case without underscores.
_NAMES = {
    "id": ("id", "aggtradeid", "tradeid"),
    "price": ("price",),
    "size": ("qty", "quantity", "amount"),
    "time": ("time", "transacttime", "transactiontime", "timestamp"),
    "maker": ("isbuyermaker", "isbuyermarketmaker"),
    "side": ("side",),
}
# Columns that tell the market, the first of them that is there: spot files have one more.
_MARKET_COLUMNS: dict[str, Market] = {
    "isbestmatch": "spot",
    "baseqty": "cm",
    "quoteqty": "um",
    "firsttradeid": "um",
}
_MARKET_PARTS: dict[str, Market] = {
    "spot": "spot",
    "um": "um",
    "usdm": "um",
    "cm": "cm",
    "coinm": "cm",
}
_SYMBOL = re.compile(r"[A-Z0-9]+(?:_(?:PERP|\d{6}))?(?=[-_.]|$)")
_TAKEN_FOR_SPOT = "The market is spot: the files do not tell."
_FIRST_LINE_BYTES = 1 << 16
_TRUE = ("True", "true", "TRUE", "1")
_FALSE = ("False", "false", "FALSE", "0")
_SIDES = ("buy", "BUY"), ("sell", "SELL")


class _Layout(NamedTuple):
    """Where the columns of a file stand."""

    header: tuple[str, ...] | None
    """Names for a file that has none of its own."""
    id: str
    price: str
    size: str
    time: str
    side: str
    says_maker: bool
    """Whether the side column says that the buyer was the maker, not who the aggressor was."""
    aggregated: bool
    market: Market | None
    """None: the columns do not tell."""


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """A session for each UTC day of the archives, read one after the other in the order given."""
    for file in files:
        _check_checksum(file)
    layouts = [_layout_of(file) for file in files]
    symbol = options.symbol or _symbol_of(files[0])
    market = _one_market(files, layouts, symbol)
    assumed = () if market or options.venue else (_TAKEN_FOR_SPOT,)
    on = _grid_of(files, layouts, options)

    def session_of(day: date) -> Session:
        return Session(
            instrument=Instrument(
                symbol,
                options.venue or VENUES[market or "spot"],
                grid.as_decimal(on.tick_step),
                grid.as_decimal(on.lot_step),
                currency=quote_currency(symbol),
            ),
            date=day,
            source="binance",
            files=files,
            by_order=False,
            truth_levels=0,
            assumptions=(*assumed, *on.assumptions, *ASSUMPTIONS),
        )

    yield from sessions(_pieces(files, layouts, on), files[0], options, session_of, OrdersAlone)


def _check_checksum(file: str) -> None:
    path = Path(f"{file}.CHECKSUM")
    if not path.is_file():
        return
    expected = expected_sha256(path.read_bytes())
    if expected is None:
        raise DataError(str(path), 1, "no SHA-256 in it", "Fetch it again")
    found = sha256(file)
    if found != expected:
        raise DataError(
            file, None, f"its SHA-256 is {found}, {path.name} says {expected}", "Fetch it again"
        )


def _symbol_of(file: str) -> str:
    """The symbol in a file's name, as in BTCUSDT-trades-2024-08-08.zip. UsageError without one."""
    match = _SYMBOL.match(Path(file).name)
    if match is None:
        raise UsageError(f"the name of {file} does not begin with a symbol: say it")
    return match[0]


def _one_market(files: tuple[str, ...], layouts: list[_Layout], symbol: str) -> Market | None:
    """The market of all files. UsageError where they are of several."""
    found: set[Market | None] = {
        _market_of(file, layout, symbol) for file, layout in zip(files, layouts, strict=True)
    }
    if len(found) > 1:
        said = ", ".join(sorted("not told" if each is None else VENUES[each] for each in found))
        raise UsageError(f"the files are of several markets, {said}: give those of one")
    return found.pop()


def _market_of(file: str, layout: _Layout, symbol: str) -> Market | None:
    """The market of a file; None where neither symbol, columns nor name tell."""
    if is_coin_margined(symbol):
        return "cm"
    if layout.market is not None:
        return layout.market
    parts = re.split(r"[-_.]", Path(file).name.lower())
    return next((_MARKET_PARTS[part] for part in parts if part in _MARKET_PARTS), None)


def _layout_of(file: str) -> _Layout:
    with open_binary(file) as stream:
        line = stream.readline(_FIRST_LINE_BYTES).decode("utf-8", "replace").strip()
    fields = line.split(",")
    if not fields[0].strip().isdigit():
        return _named_layout(file, fields)
    # Without a header, the first of the truth values is who made: its place tells the kind.
    truth = [n for n, field in enumerate(fields) if field in _TRUE[:3] + _FALSE[:3]]
    if not truth or truth[0] not in (5, 6):
        raise DataError(file, 1, f"no row of trades or aggTrades: {line[:100]!r}")
    header = tuple(f"column {n + 1}" for n in range(len(fields)))
    maker = truth[0]
    time = header[4] if maker == 5 else header[5]
    return _Layout(
        header,
        header[0],
        header[1],
        header[2],
        time,
        header[maker],
        True,
        aggregated=maker == 6,
        # Spot rows end with one truth value more: whether the trade was the best match.
        market="spot" if len(truth) > 1 else "um",
    )


def _named_layout(file: str, fields: list[str]) -> _Layout:
    plain = {field.strip().lower().replace("_", ""): field for field in fields}
    found = {
        column: next((plain[name] for name in names if name in plain), None)
        for column, names in _NAMES.items()
    }
    side = found["maker"] or found["side"]
    number, price, size, time = (found[column] for column in ("id", "price", "size", "time"))
    if number is None or price is None or size is None or time is None or side is None:
        missing = [column for column in ("id", "price", "size", "time") if found[column] is None]
        missing += [] if side else ["is_buyer_maker"]
        raise DataError(file, 1, f"no column that says {', '.join(missing)}")
    says_maker = found["maker"] is not None
    return _Layout(
        None,
        number,
        price,
        size,
        time,
        side,
        says_maker,
        aggregated="aggtradeid" in plain,
        market=next((told for name, told in _MARKET_COLUMNS.items() if name in plain), None),
    )


def _grid_of(files: tuple[str, ...], layouts: list[_Layout], options: Options) -> grid.Grid:
    price_divisor = size_divisor = 0
    if options.tick_size is None or options.lot_size is None:
        for file, layout in zip(files, layouts, strict=True):
            columns = {layout.price: grid.DIGITS, layout.size: grid.DIGITS}
            for _, block in read_csv(file, columns, header=layout.header):
                price_divisor = grid.common_divisor(block[layout.price], price_divisor)
                size_divisor = grid.common_divisor(block[layout.size], size_divisor)
    return grid.grid_of(options, price_divisor, size_divisor)


def _pieces(files: tuple[str, ...], layouts: list[_Layout], on: grid.Grid) -> Iterator[Piece]:
    held = no_trades()
    last_id, last_ns = -1, 0
    for number, (file, layout) in enumerate(zip(files, layouts, strict=True)):
        unit = 0
        for first_row, block in read_csv(file, _columns_of(layout), header=layout.header):
            if not len(block[layout.time]):
                continue
            unit = unit or _unit_of(file, first_row, int(block[layout.time][0]))
            trades = _trades_of(file, first_row, block, layout, on, unit)
            n_missing = _check_order(file, trades, last_id, last_ns)
            last_id, last_ns = int(trades.trade_id[-1]), int(trades.time_ns[-1])
            is_trade = (trades.lots > 0) & (trades.tick > 0)
            trades = trades._replace(row=in_file(number, trades.row))
            orders = as_orders(joined(held, trades.part(is_trade)), layout.aggregated)
            # The last order may go on in the next block: it is held as one trade.
            held = orders.part(slice(-1, None))
            pieces = messages_by_day(orders.part(slice(0, -1))) or [Piece(np.zeros(0, FEED_DTYPE))]
            pieces[0].dropped = +Counter({"trade without price or size": int((~is_trade).sum())})
            pieces[0].noticed = +Counter({"trade id missing in the feed": n_missing})
            yield from pieces
    yield from messages_by_day(held)


def _columns_of(layout: _Layout) -> dict[str, Kind]:
    return {
        layout.id: "int",
        layout.price: grid.DIGITS,
        layout.size: grid.DIGITS,
        layout.time: "int",
        layout.side: "text",
    }


def _unit_of(file: str, row: int, time: int) -> int:
    """How many nanoseconds one unit of a file's times has."""
    if 10**11 <= time < 10**14:
        return 10**6
    if 10**14 <= time < 10**17:
        return 10**3
    raise DataError(file, row, f"{time} is no time in milliseconds or microseconds")


def _trades_of(
    file: str,
    first_row: int,
    block: dict[str, np.ndarray],
    layout: _Layout,
    on: grid.Grid,
    unit: int,
) -> Trades:
    time = block[layout.time]
    least = 10**17 // unit
    bad = (time < least) | (time >= 1000 * least)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(file, first_row + row, f"{time[row]} is no time in the unit of the others")
    rows = first_row + np.arange(len(time))
    size, price = block[layout.size], block[layout.price]
    return Trades(
        rows,
        time * unit,
        block[layout.id],
        _aggressor(file, first_row, block[layout.side], layout.says_maker),
        grid.whole_steps(price, on.tick_step, MAX_TICK, file, rows, "price"),
        grid.whole_steps(size, on.lot_step, grid.MAX_LOTS_IN_ALL, file, rows, "size"),
        np.ones(len(rows), np.int64),
    )


def _aggressor(file: str, first_row: int, said: np.ndarray, says_maker: bool) -> np.ndarray:
    """0 where the aggressor bought, 1 where it sold."""
    buys, sells = (_FALSE, _TRUE) if says_maker else _SIDES
    is_buy, is_sell = (
        np.logical_or.reduce([said == word for word in words]) for words in (buys, sells)
    )
    bad = ~(is_buy | is_sell)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(file, first_row + row, f"{said[row]!r} is not one of {buys + sells}")
    return is_sell.astype(np.int64)


def _check_order(file: str, trades: Trades, last_id: int, last_ns: int) -> int:
    """How many ids are missing. DataError where an id or a time goes back."""
    ids = np.diff(trades.trade_id, prepend=last_id)
    for name, steps, least in (
        ("id", ids, 1),
        ("time", np.diff(trades.time_ns, prepend=last_ns), 0),
    ):
        if steps.min() < least:
            row = int(np.argmax(steps < least))
            raise DataError(
                file,
                int(trades.row[row]),
                f"the {name} of a trade is not after that of the trade before",
                "Give files in the order of time, each once",
            )
    # What came before the first trade of all is not missing.
    return int((ids - 1)[1 if last_id < 0 else 0 :].sum())
