"""Binance market data messages, line by line as they were recorded, and a first look over them.

A line is `local_time json`, or the JSON alone; a message is bare or in the wrapper of a combined
stream. Knows what the messages look like (trade, aggTrade, depthUpdate, bookTicker, and the REST
reply of a depth snapshot), for spot, USD-M and COIN-M; knows nothing of books.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mtsim.engine.units import MAX_TICK
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import grid
from mtsim.model.sources.base import Options
from mtsim.model.sources.files import open_binary

# What a line that is not one of Binance's can raise on its way into our records.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

_LONGEST_LINE = 1 << 26

Market = Literal["spot", "um", "cm"]
"""Spot, USD-M or COIN-M futures, as in the paths of Binance's archive."""

VENUES: dict[Market, str] = {"spot": "binance", "um": "binance-um", "cm": "binance-cm"}
"""What the markets are called as venues: a symbol of one is not that symbol of another."""

_COIN_MARGINED = re.compile(r"[A-Z0-9]+USD_(PERP|\d{6})")


class Survey(NamedTuple):
    """What a first look over some recordings finds."""

    symbol: str
    market: Market
    grid: grid.Grid
    snapshots: int
    trade_event: str
    """Where both single and aggregated trades were recorded, the single ones are read."""


@dataclass(slots=True)
class Update:
    """A depth update: levels that changed, as (tick, lots) with 0 lots for a level that is gone."""

    row: int
    time_ns: int
    first_id: int
    last_id: int
    previous_id: int | None
    """The last id of the update before, which only futures tell."""
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]

    def continues(self, last_id: int) -> bool:
        """Whether nothing is missing between a book of this id and what this update begins with."""
        if self.previous_id is not None:
            return self.previous_id <= last_id
        return self.first_id <= last_id + 1

    def follows(self, update: Update) -> bool:
        """Whether it is the very next one after another."""
        if self.previous_id is not None:
            return self.previous_id == update.last_id
        return self.first_id == update.last_id + 1


class Snapshot(NamedTuple):
    """The best levels of a book after the update of `last_id`."""

    row: int
    last_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Trade(NamedTuple):
    """One trade; `side` is the aggressor's, `taker` its order id where the recording tells it."""

    row: int
    time_ns: int
    trade_id: int
    side: int
    tick: int
    lots: int
    taker: Any


class Quote(NamedTuple):
    """The best quote after an update, its numbers still text: bid, its size, ask, its size."""

    row: int
    update_id: int
    texts: tuple[str, str, str, str]


class Reader:
    """Messages to records, on a grid. Its methods raise one of MALFORMED for what is none."""

    def __init__(self, on: grid.Grid):
        self.ticks = grid.tick_steps(on.tick_step)
        self.lots = grid.lot_steps(on.lot_step)

    def update(self, row: int, message: dict[str, Any]) -> Update:
        previous = message.get("pu")
        return Update(
            row,
            time_ns(message.get("T", message["E"])),
            whole(message["U"]),
            whole(message["u"]),
            None if previous is None else whole(previous),
            self._levels(message["b"]),
            self._levels(message["a"]),
        )

    def snapshot(self, row: int, message: dict[str, Any]) -> Snapshot:
        last_id = whole(message["lastUpdateId"])
        return Snapshot(row, last_id, self._levels(message["bids"]), self._levels(message["asks"]))

    def trade(self, row: int, message: dict[str, Any]) -> Trade:
        aggregated = message["e"] == "aggTrade"
        if type(message["m"]) is not bool:
            raise ValueError("m says whether the buyer was the maker: true or false")
        side = int(message["m"])
        tick = self.ticks[message["p"]]
        if tick > MAX_TICK:
            raise ValueError(f"a price of {tick} ticks, the engine has {MAX_TICK}")
        return Trade(
            row,
            time_ns(message["T"]),
            whole(message["a" if aggregated else "t"]),
            side,
            tick,
            self.lots[message["q"]],
            # Older recordings tell the order ids of buyer (b) and seller (a).
            None if aggregated else message.get("a" if side else "b"),
        )

    def quote(self, row: int, message: dict[str, Any]) -> Quote:
        texts = (message["b"], message["B"], message["a"], message["A"])
        return Quote(row, whole(message["u"]), texts)

    def _levels(self, levels: list[list[str]]) -> list[tuple[int, int]]:
        ticks, lots = self.ticks, self.lots
        return [(ticks[price], lots[size]) for price, size in levels]


def time_ns(value: Any) -> int:
    """A time since the epoch in milliseconds or microseconds, told apart by its size, in ns.

    ValueError for what is neither between 1973 and 5138.
    """
    if type(value) is int:
        if 10**11 <= value < 10**14:
            return value * 10**6
        if 10**14 <= value < 10**17:
            return value * 10**3
    raise ValueError(f"{value!r} is no time in milliseconds or microseconds")


def whole(value: Any) -> int:
    """An id. ValueError for what is none."""
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"{value!r} is no id")
    return value


def event_of(message: dict[str, Any]) -> str:
    """What a message is: Binance's own word, `snapshot` for a REST reply, or `answer`."""
    if "lastUpdateId" in message:
        return "snapshot"
    # Spot best quotes do not say what they are.
    return message.get("e") or ("bookTicker" if "B" in message and "u" in message else "answer")


def quote_currency(symbol: str) -> str:
    """What a Binance symbol is priced in, by its ending; the symbol itself where none is known."""
    name = symbol.partition("_")[0]
    for currency in ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "BTC", "ETH", "BNB", "EUR"):
        if name.endswith(currency) and name != currency:
            return currency
    return symbol


def is_coin_margined(symbol: str) -> bool:
    """Whether a symbol is one of the COIN-M futures, as BTCUSD_PERP or BTCUSD_240927."""
    return _COIN_MARGINED.fullmatch(symbol) is not None


def _market_of(message: dict[str, Any]) -> Market:
    """The market of a depth update: futures tell the update before it, COIN-M ones their pair."""
    if "pu" not in message:
        return "spot"
    return "cm" if "ps" in message or is_coin_margined(message["s"]) else "um"


def lines(file: str, passing_over: bytes | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line and its message. Lines with the bytes `passing_over` are not read."""
    with open_binary(file) as stream:
        row = 0
        while line := stream.readline(_LONGEST_LINE):
            row += 1
            if passing_over is not None and passing_over in line:
                continue
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                raise DataError(file, row, f"a line of more than {_LONGEST_LINE} bytes")
            try:
                yield row, _message(line)
            except MALFORMED as error:
                raise DataError(file, row, f"no recorded message: {error}") from None


def _message(line: bytes) -> dict[str, Any]:
    stamp, _, text = (b"", b"", line) if line[:1] == b"{" else line.partition(b" ")
    if stamp and not stamp.isdigit():
        raise ValueError("a line is a local time and a JSON object")
    text = text.decode()
    message, end = _DECODER.raw_decode(text)
    if text[end:].strip():
        raise ValueError("a line holds one JSON object")
    message = message.get("data", message)
    if not isinstance(message, dict):
        raise ValueError("the data of a message is an object")
    return message


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of a market")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def survey(files: tuple[str, ...], options: Options) -> Survey:
    """Look over the files. DataError for what is none of ours, UsageError for several symbols or
    markets."""
    symbols: set[str] = set()
    markets: set[Market] = set()
    events: Counter[str] = Counter()
    prices, sizes = grid.Divisor(), grid.Divisor()
    nameless: tuple[str, int] | None = None
    for file in files:
        for row, message in lines(file, passing_over=b'@bookTicker"'):
            try:
                event = event_of(message)
                if event not in ("snapshot", "depthUpdate", "trade", "aggTrade"):
                    continue
                name = message.get("symbol") if event == "snapshot" else message["s"]
                if name is None:
                    nameless = nameless or (file, row)
                else:
                    symbols.add(name)
                    if options.symbol not in (None, name):
                        continue
                events[event] += 1
                if event == "depthUpdate":
                    markets.add(_market_of(message))
                numbers = _numbers_of(event, message)
                if numbers:
                    texts = list(zip(*numbers, strict=True))
                    prices.take(texts[0])
                    sizes.take(texts[1])
            except MALFORMED as error:
                raise DataError(file, row, f"no recorded message: {error!r}") from None
    if nameless and len(symbols) > 1:
        raise DataError(*nameless, f"a snapshot of one of {len(symbols)} symbols, not said which")
    if not symbols or options.symbol not in (None, *symbols):
        raise DataError(files[0], None, f"no message of {options.symbol or 'any symbol'} in it")
    if options.symbol is None and len(symbols) > 1:
        raise UsageError(f"the files hold {len(symbols)} symbols, say one: {sorted(symbols)[:20]}")
    if len(markets) > 1:
        named = ", ".join(VENUES[market] for market in sorted(markets))
        raise UsageError(f"the files are of several markets, {named}: give those of one")
    return Survey(
        options.symbol or symbols.pop(),
        # Without a depth update there is no book, whatever the market.
        markets.pop() if markets else "spot",
        grid.grid_of(options, prices.value, sizes.value),
        events["snapshot"],
        "trade" if events["trade"] else "aggTrade",
    )


def _numbers_of(event: str, message: dict[str, Any]) -> list[list[str]]:
    if event == "snapshot":
        return message["bids"] + message["asks"]
    if event == "depthUpdate":
        return message["b"] + message["a"]
    return [[message["p"], message["q"]]]
