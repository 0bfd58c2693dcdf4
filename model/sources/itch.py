"""NASDAQ TotalView-ITCH 5.0: day files (length-prefixed, plain or packed) and packet captures.

One stock of a file is one session, and a pass over the file: what its orders need at once is kept
of one stock, not of thousands. The tick is a cent, or 0.0001 where an order is priced between two
cents, as below a dollar; to know that, and which stocks have orders, the file is read once before
(not where --symbol and --tick are said).

Executions of one time stamp on one side become one aggressive order. A replaced order keeps the id
that it was added with; the venue puts it at the back of its queue. Hidden trades, crosses and their
prints, and everything that is not about an order, are counted and dropped. Every byte offset is one
of the unpacked file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources import itch_parser, pcap
from mtsim.model.sources.base import Batch, Counts, Instrument, NoSession, Options, Session
from mtsim.model.sources.files import open_binary
from mtsim.model.sources.itch_parser import LENGTHS
from mtsim.model.sources.ledger_blocks import Block, batches
from mtsim.model.sources.ledger_records import RECORD_DTYPE

_CHUNK_BYTES = 2 << 20
_STARTS = 1 << 18
_LISTED = 20
# More are not imported without being named: each takes a pass over the file.
_MOST_STOCKS = 100
_PRICE_UNIT = Decimal("0.0001")
_CENT = Decimal("0.01")
_FINE = "The tick is 0.0001: there are orders at prices between two cents."

_WHAT = {
    "S": "system event",
    "R": "stock directory",
    "H": "trading action: halt or resume",
    "Y": "short sale restriction",
    "L": "market participant position",
    "V": "market-wide circuit breaker level",
    "W": "market-wide circuit breaker status",
    "K": "IPO quoting period",
    "J": "auction collar",
    "h": "operational halt",
    "O": "direct listing price",
    "P": "trade with a hidden order",
    "Q": "cross trade",
    "B": "broken trade",
    "I": "order imbalance",
    "N": "retail interest",
}
_ASSUMPTIONS = (
    "An execution at another price than the order's own (C, printed) trades at the order's own.",
    "Orders executed in a cross (C, not printed) leave the book as inferred cancels.",
    "While the book lies crossed (halts), the engine collects orders as in an auction.",
    "Executions of one time stamp and side in a stock are one aggressive order.",
    "A replaced order keeps the id of the order it was first.",
)
_LENGTHS = np.zeros(256, np.int64)
for _letter, _length in LENGTHS.items():
    _LENGTHS[ord(_letter)] = _length


class _Frames:
    """The messages of a file, chunk by chunk, whatever frames they come in."""

    def __init__(self, path: str):
        self._path = path
        self.capture = pcap.new_capture()

    def __iter__(self) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        """Bytes, the offset of their first in the file, and where messages start in them."""
        starts = np.empty(_STARTS, np.int64)
        with open_binary(self._path) as stream:
            rest, offset, is_capture = b"", 0, None
            while True:
                chunk = stream.read(_CHUNK_BYTES)
                data = np.frombuffer(rest + chunk, np.uint8)
                if is_capture is None:
                    is_capture = bytes(data[:4]) in pcap.MAGICS
                    if not len(data):
                        raise DataError(self._path, 0, "the file is empty")
                n, done, fault = self._frame(data, not chunk, starts, is_capture)
                if fault:
                    rule = (
                        pcap.FAULTS[pcap.Fault(fault)]
                        if is_capture
                        else itch_parser.FAULTS[itch_parser.Fault(fault)]
                    )
                    raise DataError(self._path, offset + done, rule)
                if n:
                    yield data, offset, starts[:n]
                if not chunk and not n:
                    if done < len(data):
                        rule = f"the file ends inside a {'packet' if is_capture else 'message'}"
                        raise DataError(self._path, offset + done, rule)
                    return
                rest = data[done:].tobytes()
                offset += done

    def _frame(
        self, data: np.ndarray, at_end: bool, starts: np.ndarray, is_capture: bool
    ) -> tuple[int, int, int]:
        if is_capture:
            n, done, fault = pcap.frame_packets(data, self.capture, _LENGTHS, starts)
        else:
            n, done, fault = itch_parser.frame_messages(data, at_end, starts)
        return int(n), int(done), int(fault)


class ItchSource:
    """One stock of an ITCH file, as messages."""

    def __init__(self, path: str, session: Session, locate: int):
        self.session = session
        self.counts = Counts()
        self.message_types: Counter[str] = Counter()
        """All messages of the file by type, of every stock. Complete at the end, as `counts`."""
        self.lost = 0
        """Messages that a capture lacks, going by their numbers."""
        self._path = path
        self._locate = locate

    def batches(self) -> Iterator[Batch]:
        return batches(self._blocks(), self._path, self.counts)

    def _blocks(self) -> Iterator[Block]:
        instrument, counts = self.session.instrument, self.counts
        units = int(instrument.tick_size / _PRICE_UNIT)
        lot = int(instrument.lot_size)
        clock = np.zeros(1, np.int64)
        by_type, others, prices = (np.zeros(256, np.int64) for _ in range(3))
        mine = 0
        frames = _Frames(self._path)
        for data, offset, starts in frames:
            records = np.zeros(len(starts), RECORD_DTYPE)
            itch_parser.count_types(data, starts, by_type)
            n, at, fault = itch_parser.decode(
                data, offset, starts, self._locate, units, lot, clock, records, others, prices
            )
            if fault:
                rule = itch_parser.FAULTS[itch_parser.Fault(fault)]
                raise DataError(self._path, offset + int(starts[at]), *_told(rule, fault))
            mine += n
            yield Block(records[:n])
        tally = frames.capture.tally
        foreign, again = (int(tally[k]) for k in (pcap.Tally.FOREIGN, pcap.Tally.AGAIN))
        self.message_types.update(_letters(by_type))
        self.lost = int(tally[pcap.Tally.LOST])
        messages = sum(self.message_types.values())
        counts.read = messages + foreign + again
        dropped = {f"{letter}: {_WHAT[letter]}": n for letter, n in _letters(others).items()}
        dropped["a message of another stock"] = messages - mine - int(others.sum())
        dropped["a packet that is not MoldUDP64"] = foreign
        dropped["a message captured twice"] = again
        counts.dropped.update({reason: n for reason, n in dropped.items() if n})
        if prices[0]:
            counts.noticed["C: executed at another price: at the order's own"] += int(prices[0])
        if self.lost:
            counts.noticed["a message that the capture lacks, by the numbers"] += self.lost


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[ItchSource]:
    """One session a stock: of `options.symbol`, or of all that have orders in a file.

    A stock that a capture never names is called by its locate code, as `#5528`.
    """
    tick_size, lot_size = options.tick_size, options.lot_size or Decimal(1)
    if tick_size is not None and (tick_size <= 0 or tick_size % _PRICE_UNIT):
        raise UsageError(f"a tick of {tick_size} is no multiple of {_PRICE_UNIT}, ITCH's unit")
    if lot_size <= 0 or lot_size % 1:
        raise UsageError(f"a lot of {lot_size} is no whole number of shares")
    for path in files:
        stocks = _stocks(path, whole=options.symbol is None or tick_size is None)
        day = options.date or stocks.captured or _date_of(path)
        for locate in _chosen(path, stocks, options.symbol):
            fine = tick_size is None and locate in stocks.fine
            instrument = Instrument(
                stocks.names[locate],
                options.venue or _venue(path),
                tick_size or (_PRICE_UNIT if fine else _CENT),
                lot_size,
            )
            session = Session(
                instrument,
                day,
                "itch",
                (path,),
                timezone="America/New_York",
                assumptions=(_FINE, *_ASSUMPTIONS) if fine else _ASSUMPTIONS,
            )
            yield ItchSource(path, session, locate)


def count_messages(path: str) -> Counter[str]:
    """The messages of a file by type. Reads all of it."""
    by_type = np.zeros(256, np.int64)
    for data, _, starts in _Frames(path):
        itch_parser.count_types(data, starts, by_type)
    return Counter(_letters(by_type))


def _letters(by_type: np.ndarray) -> dict[str, int]:
    return {chr(code): int(by_type[code]) for code in np.flatnonzero(by_type)}


def _told(rule: str, fault: int) -> tuple[str, str]:
    hint = ""
    if fault == itch_parser.Fault.GRID:
        hint = "Prices below a dollar, and old files, have a tick of 0.0001: give it"
    return rule, hint


class _Stocks(NamedTuple):
    """The stocks of a file, by locate code. Of a file that was not read whole, only the names."""

    names: dict[int, str]
    captured: date | None
    """The date, if the file is a capture."""
    with_orders: list[int]
    fine: set[int]
    """Those with an order whose price is no whole cent."""
    by_type: dict[str, int]
    """How many messages there are of each type, of any stock."""


def _stocks(path: str, *, whole: bool) -> _Stocks:
    """What stocks there are. The directory at the start of a day file names them all, so that it
    need not be read `whole`; without one it is."""
    named, names = np.zeros(1 << 16, np.uint8), np.zeros((1 << 16, 8), np.uint8)
    ordered, by_type = np.zeros(1 << 16, np.uint8), np.zeros(256, np.int64)
    captured, in_directory = None, False
    frames = _Frames(path)
    for data, _, starts in frames:
        first_ns = int(frames.capture.tally[pcap.Tally.FIRST_NS])
        if first_ns and captured is None:
            captured = _midnight(first_ns, data[starts[0] + 5 : starts[0] + 11].tobytes())
        directory, orders = itch_parser.find_stocks(data, starts, named, names, ordered)
        itch_parser.count_types(data, starts, by_type)
        in_directory |= directory
        if in_directory and orders and not whole:
            break
    found = {
        int(locate): names[locate].tobytes().decode("latin-1").strip()
        if named[locate] == 2
        else f"#{locate}"
        for locate in np.flatnonzero(named)
    }
    fine = set(np.flatnonzero(ordered == 2).tolist())
    return _Stocks(found, captured, np.flatnonzero(ordered).tolist(), fine, _letters(by_type))


def _midnight(captured_ns: int, since_midnight: bytes) -> date:
    """The day of a message at the exchange: when it was captured less its own time of day is the
    exchange's midnight, some hours into the same day of UTC."""
    start_ns = captured_ns - int.from_bytes(since_midnight, "big")
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=start_ns // 10**9)).date()


def _chosen(path: str, stocks: _Stocks, symbol: str | None) -> list[int]:
    """The stocks that are meant. NoSession where no stock has an order."""
    if symbol is None and not stocks.with_orders:
        types = ", ".join(f"{letter} ({n})" for letter, n in stocks.by_type.items()) or "none"
        n = sum(stocks.by_type.values())
        raise NoSession(path, None, f"no order of any stock: {n} messages of types {types}")
    if symbol is None and len(stocks.with_orders) <= _MOST_STOCKS:
        return stocks.with_orders
    found = {name: locate for locate, name in stocks.names.items()}
    if symbol in found:
        return [found[symbol]]
    listed = ", ".join(sorted(found)[:_LISTED])
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    wrong = f"it has no stock {symbol}."
    if symbol is None:
        wrong = f"{len(stocks.with_orders)} stocks have orders, each takes a pass over the file."
    raise UsageError(f"{path}: {wrong} There are {listed}{more}. Say --symbol.")


def _venue(path: str) -> str:
    name = Path(path).name.upper()
    if "PSX" in name:
        return "XPSX"
    return "XBOS" if re.search(r"(^|[^A-Z])BX([^A-Z]|$)", name) else "XNAS"


def _date_of(path: str) -> date:
    """The date in a file's name: 20190130, 01302019, or S013019 as NASDAQ names its own."""
    name = Path(path).name
    for digits in re.findall(r"(?<!\d)(\d{8})(?!\d)", name):
        for form in ("%Y%m%d", "%m%d%Y"):
            found = _parsed(digits, form)
            if found is not None and 1990 <= found.year < 2100:
                return found
    match = re.match(r"S(\d{6})(?!\d)", name)
    found = _parsed(match[1], "%m%d%y") if match else None
    if found is None:
        raise UsageError(f"{path}: the name of the file has no date. Say --date.")
    return found


def _parsed(digits: str, form: str) -> date | None:
    try:
        return datetime.strptime(digits, form).replace(tzinfo=UTC).date()
    except ValueError:
        return None
