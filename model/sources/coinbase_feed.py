"""A recording of Coinbase's level2 and matches channels as CSV, one message a row.

The feed tells a trade's level first and the trade after: a match is put before the update of its
level that stands right before it, and matches of one taker, with nothing but their updates between
them, are one order. The clocks of the two channels differ by milliseconds: messages happen in the
order of their rows, one with an earlier time than those before it at their time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from mtsim.engine.units import MAX_TICK
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import grid
from mtsim.model.sources.base import Options, in_file
from mtsim.model.sources.day_source import Piece
from mtsim.model.sources.files import open_binary
from mtsim.model.sources.level_pieces import LevelPieces, Levels
from mtsim.model.sources.levels import What

ASSUMPTIONS = (
    "A match happens before the update of its level that stands right before it.",
    "Matches of one taker with nothing but their updates between them are one order.",
    "A message with an earlier time than those before it happens at their time.",
)

_LONGEST_LINE = 1 << 26
_MOST_LATE_NS = 10 * 10**9
_COLUMNS = ("type", "asks", "bids", "changes", "side", "price", "size", "time", "taker_order_id")
_LEVEL = re.compile(r"\['([0-9.]+)', '([0-9.]+)'\]")
_CHANGE = re.compile(r"\['(buy|sell)', '([0-9.]+)', '([0-9.]+)'\]")
_LIST = re.compile(r"\[(?:\[[^\[\]]*\](?:, (?=\[))?)*\]")
# Lists stand in the file as they were printed, in quotes and without quotes or breaks inside.
_FIELD = re.compile(r'"([^"]*)"|([^",]*)')
_MALFORMED = (ValueError, KeyError)


class _Update(NamedTuple):
    row: int
    time_ns: int
    bids: Levels
    asks: Levels


class _Match(NamedTuple):
    row: int
    time_ns: int
    side: int
    tick: int
    lots: int
    taker: str


@dataclass
class _Order:
    """The matches of one taker so far, and the updates that told of them."""

    matches: list[_Match]
    updates: list[_Update] = field(default_factory=list)


class Feed:
    """The messages of some recordings as the rows of one feed by level."""

    def __init__(self, files: tuple[str, ...], options: Options):
        self._files = files
        self._product = options.symbol
        self.grid = self._survey(options)
        self._ticks = grid.tick_steps(self.grid.tick_step)
        self._lots = grid.lot_steps(self.grid.lot_step)
        self._out = LevelPieces()
        self._opening: tuple[int, Levels, Levels] | None = None
        self._opened = False
        self._latest_ns = 0
        self._order: _Order | None = None
        # The update that may turn out to tell of the match that follows it.
        self._update: _Update | None = None

    def pieces(self) -> Iterator[Piece]:
        """The recordings, read one after the other. DataError where there is no snapshot."""
        for number, file in enumerate(self._files):
            for row, message in _messages(file):
                try:
                    self._take(in_file(number, row), message)
                except _MALFORMED as error:
                    raise DataError(file, row, f"no message of this feed: {error}") from None
                yield from self._out.take()
        self._send_order()
        self._send_update()
        if not self._opened:
            raise DataError(self._files[0], None, "no snapshot with an update after it, so no book")
        yield from self._out.take(rest=True)

    def _survey(self, options: Options) -> grid.Grid:
        prices, sizes = grid.Divisor(), grid.Divisor()
        for file in self._files:
            for row, message in _messages(file):
                try:
                    pairs = _levels(message["asks"]) + _levels(message["bids"])
                    pairs += [change[1:] for change in _changes(message["changes"])]
                    if message["type"] in ("match", "snapshot", "l2update"):
                        self._check_product(message)
                    if message["type"] == "match":
                        pairs.append((message["price"], message["size"]))
                    prices.take(price for price, _ in pairs)
                    sizes.take(size for _, size in pairs)
                except _MALFORMED as error:
                    raise DataError(file, row, f"no message of this feed: {error}") from None
        return grid.grid_of(options, prices.value, sizes.value)

    def _check_product(self, message: dict[str, str]) -> None:
        product = message.get("product_id")
        self._product = self._product or product
        if product != self._product:
            raise UsageError(f"the recording holds {self._product} and {product}: one is read")

    def _take(self, row: int, message: dict[str, str]) -> None:
        kind = message["type"]
        if kind == "l2update":
            self._take_update(row, message)
        elif kind == "match":
            self._take_match(row, message)
        elif kind == "snapshot":
            self._send_order()
            self._send_update()
            self._opening = (row, self._both(message["bids"]), self._both(message["asks"]))
        else:
            self._out.dropped[f"message that is not read: {kind}"[:80]] += 1

    def _both(self, levels: str) -> Levels:
        return [(self._ticks[price], self._lots[size]) for price, size in _levels(levels)]

    def _take_update(self, row: int, message: dict[str, str]) -> None:
        if self._opening is None and not self._opened:
            self._out.dropped["update before the snapshot"] += 1
            return
        if self._update is not None:
            # No match came after that one: it told of something else, and ends the order.
            self._send_order()
            self._send_update()
        sides: tuple[Levels, Levels] = ([], [])
        for side, price, size in _changes(message["changes"]):
            sides[side == "sell"].append((self._ticks[price], self._lots[size]))
        self._update = _Update(row, self._time_of(message), *sides)
        if self._opening is not None:
            self._send_opening(self._opening, self._update.time_ns)

    def _take_match(self, row: int, message: dict[str, str]) -> None:
        if not self._opened:
            self._out.dropped["match before the snapshot"] += 1
            return
        # The side of a match is the maker's.
        match = _Match(
            row,
            self._time_of(message),
            {"buy": 1, "sell": 0}[message["side"]],
            self._ticks[message["price"]],
            self._lots[message["size"]],
            message["taker_order_id"],
        )
        if match.tick > MAX_TICK:
            raise ValueError(f"a price of {match.tick} ticks, the engine has {MAX_TICK}")
        if match.lots == 0:
            self._out.dropped["match of no size"] += 1
            return
        if self._order is not None and _goes_on(self._order.matches[-1], match):
            self._order.matches.append(match)
        else:
            self._send_order()
            self._order = _Order([match])
        if self._update is not None:
            levels = self._update.bids if match.side else self._update.asks
            if any(tick == match.tick for tick, _ in levels):
                self._order.updates.append(self._update)
                self._update = None

    def _send_opening(self, opening: tuple[int, Levels, Levels], time_ns: int) -> None:
        row, bids, asks = opening
        self._out.begin(time_ns)
        self._out.add(row, 0, 0, 0, What.CLEAR)
        self._out.add_levels(row, bids, asks)
        self._out.add(row, 0, 0, 0, What.OPEN)
        self._out.used += 1
        self._opening, self._opened = None, True

    def _send_order(self) -> None:
        """Send the order at hand, then what its updates say."""
        order, self._order = self._order, None
        if order is None:
            return
        first = order.matches[0]
        self._out.begin(first.time_ns)
        for match in order.matches:
            self._out.add(match.row, match.lots, match.tick, match.side, What.PRINT)
        self._out.add(first.row, 0, 0, first.side, What.TAKE)
        self._out.used += len(order.matches)
        for update in order.updates:
            self._send(update)

    def _send_update(self) -> None:
        update, self._update = self._update, None
        if update is not None:
            self._send(update)

    def _send(self, update: _Update) -> None:
        self._out.begin(update.time_ns)
        self._out.add_levels(update.row, update.bids, update.asks)
        self._out.add(update.row, 0, 0, 0, What.SYNC)
        self._out.used += 1

    def _time_of(self, message: dict[str, str]) -> int:
        time_ns = _time_ns(message["time"])
        if self._latest_ns - time_ns > _MOST_LATE_NS:
            raise ValueError(f"{message['time']} is long before the messages before it")
        self._latest_ns = max(self._latest_ns, time_ns)
        return time_ns


def _goes_on(last: _Match, match: _Match) -> bool:
    """Whether a match is one more of the same order."""
    return (
        match.taker == last.taker
        and match.taker != ""
        and match.side == last.side
        and (match.tick <= last.tick if match.side else match.tick >= last.tick)
    )


def _messages(file: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a recording by column, and their numbers."""
    with open_binary(file) as stream:
        names: list[str] = []
        row = 0
        while line := stream.readline(_LONGEST_LINE):
            row += 1
            try:
                if not line.endswith(b"\n") and len(line) == _LONGEST_LINE:
                    raise ValueError(f"a row of more than {_LONGEST_LINE} bytes")
                fields = _fields(line.decode().rstrip("\r\n"))
            except _MALFORMED as error:
                raise DataError(file, row, f"no row of CSV: {error}") from None
            if not names:
                names = fields
                missing = [name for name in _COLUMNS if name not in names]
                if missing:
                    raise DataError(file, 1, f"there is no column {', '.join(missing)}")
            elif len(fields) != len(names):
                raise DataError(file, row, f"{len(names)} columns are expected, got {len(fields)}")
            else:
                yield row, dict(zip(names, fields, strict=True))


def _fields(line: str) -> list[str]:
    fields = []
    at = 0
    while True:
        match = _FIELD.match(line, at)
        assert match is not None, "an empty field always matches"
        fields.append(match[1] or match[2] or "")
        at = match.end()
        if at == len(line):
            return fields
        if line[at] != ",":
            raise ValueError(f"a comma is expected at character {at + 1}")
        at += 1


def _levels(text: str) -> list[tuple[str, str]]:
    return _all(_LEVEL, text)


def _changes(text: str) -> list[tuple[str, str, str]]:
    return _all(_CHANGE, text)


def _all(pattern: re.Pattern[str], text: str) -> list:
    """The items of a printed list of lists. ValueError where something else stands between them."""
    if not text:
        return []
    items = pattern.findall(text)
    if not _LIST.fullmatch(text) or text.count("[") != len(items) + 1:
        raise ValueError(f"no list of levels: {text[:60]!r}")
    return items


def _time_ns(text: str) -> int:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or not 1973 <= time.year < 2128:
        raise ValueError(f"{text!r} is no time in UTC")
    return round(time.timestamp() * 10**6) * 1000
