"""Any order-by-order CSV or parquet file as a source, read by a mapping (`mapping`).

    open_sessions(("orders.yaml", "orders_2024-01-31.csv.zst"), Options())

The mapping is a YAML file among the files, or the name of one that is shipped, or left out where
the columns are those of one that is shipped. Files of one call are one session, in their order.
Knows what the mapping's words mean for the ledger; knows no venue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from mtsim.errors import DataError, UsageError
from mtsim.model.sources.base import (
    Batch,
    Counts,
    Instrument,
    Options,
    Session,
    Source,
    in_file,
    place,
)
from mtsim.model.sources.ledger import Ledger, Rules, Snapshots
from mtsim.model.sources.ledger_records import DROPPED, RECORD_DTYPE, Drop, Op
from mtsim.model.sources.ledger_views import NO_BOOK
from mtsim.model.sources.mapped_rows import OTHER, RowReader, Scales, books_of
from mtsim.model.sources.mapping import (
    BookPart,
    Mapping,
    book_columns,
    load,
    shipped,
)
from mtsim.model.sources.tables import Block, column_names, read_blocks

_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?!\d)")


def open_sessions(files: tuple[str, ...], options: Options) -> Iterator[Source]:
    """The one session of these files, read by the mapping among them or one that is shipped."""
    mappings = [file for file in files if Path(file).suffix in (".yaml", ".yml")]
    named = [file for file in files if file in shipped() and not Path(file).exists()]
    data = tuple(file for file in files if file not in mappings + named)
    if len(mappings) + len(named) > 1:
        raise UsageError(f"one mapping is needed, got {', '.join(mappings + named)}")
    if not data:
        raise UsageError("no data file is given. Give the file beside its mapping.")
    if mappings:
        mapping = load(mappings[0])
    elif named:
        mapping = shipped()[named[0]]
    else:
        mapping = _known_layout(data[0])
    yield MappedSource(data, mapping, options, beside=tuple(mappings))


def _known_layout(file: str) -> Mapping:
    names = set(column_names(file))
    for mapping in shipped().values():
        if names.issuperset(mapping.columns()):
            return mapping
    raise UsageError(
        f"{file} has none of the layouts that are known ({', '.join(shipped())}). "
        f"Write a mapping for it: mtsim data map {file}"
    )


@dataclass(frozen=True)
class _Edge:
    """When the book goes dark or comes to light, from the session's start."""

    time_ns: int
    op: Op


class MappedSource:
    """One session of a mapped file: a `Source`. `beside` are files that the mapping came from."""

    def __init__(
        self,
        files: tuple[str, ...],
        mapping: Mapping,
        options: Options,
        kind: str = "mapped",
        beside: tuple[str, ...] = (),
    ):
        self._files, self._mapping = files, mapping
        head = next(self._blocks(files[0], None), None)
        if head is None or not len(head):
            raise DataError(files[0], 1, "the file has no rows")
        tick = options.tick_size or mapping.price.tick
        if tick is None:
            raise UsageError("the mapping says no tick size. Add `tick` to price, or give --tick.")
        lot = options.lot_size or mapping.size.lot
        self._scales = Scales(tick * mapping.price.scale, lot * mapping.size.scale)
        instrument = mapping.instrument
        symbol = options.symbol or instrument.symbol
        if symbol is None and instrument.column is not None:
            symbol = head.text(instrument.column)[0].as_py()
        if not symbol:
            raise UsageError(
                f"{files[0]}: no symbol is known. Add `instrument: {{symbol: ...}}` to the "
                "mapping, or give --symbol."
            )
        self._one_symbol = options.symbol or instrument.symbol
        self._start_ns = mapping.session.from_ or 0
        self._day = self._date(head, options)
        self._has_date = mapping.time.format == "iso" or mapping.time.format.startswith("epoch")
        self._rules = Rules(
            by_side=mapping.id.unique == "side",
            renumber=mapping.id.renumber or mapping.id.text,
            matched=not mapping.action.fill,
            loses_place=mapping.modify.place == "lost",
        )
        shown = self._snapshot_files(mapping.book)
        self._snapshots = self._read_snapshots(mapping.book, shown)
        self.counts = Counts()
        self.session = Session(
            instrument=Instrument(
                symbol=symbol,
                venue=options.venue or instrument.venue or "",
                tick_size=tick,
                lot_size=lot,
                currency=instrument.currency,
            ),
            date=self._day,
            source=kind,
            files=(*files, *shown, *beside),
            start_ns=self._start_ns,
            timezone=mapping.time.zone,
            truth_levels=self._truth_levels(),
            assumptions=_assumptions(mapping),
        )

    def batches(self) -> Iterator[Batch]:
        """The session's messages in order. Raises DataError naming file and row."""
        mapping, counts = self._mapping, self.counts
        book = mapping.book if mapping.book is not None and mapping.book.beside is None else None
        ledger = Ledger(
            self._rules,
            levels=book.levels if book is not None else 0,
            seed=book is not None,
            dark=mapping.session.from_ is not None,
            snapshots=self._snapshots,
        )
        edges = self._edges()
        rows = RowReader(
            mapping,
            self._scales,
            self._day,
            self.session.instrument.symbol,
            self._one_symbol,
            counts,
        )
        for number, file in enumerate(self._files):
            for block in self._blocks(file, mapping.columns()):
                counts.read += len(block)
                block = rows.kept(block)
                if not len(block):
                    continue
                records, keep = rows.records(block)
                records["row"] = in_file(number, records["row"])
                books = rows.books(block.only(keep), book) if book is not None else None
                records, books = _with_edges(records, books, edges)
                for batch, outcome in ledger.follow(records, books):
                    self._count(outcome)
                    yield batch
        if counts.read and counts.dropped[OTHER] == counts.read:
            symbol = self.session.instrument.symbol
            raise DataError(self._files[0], None, f"no row is about {symbol}")
        yield from ledger.close()
        counts.repaired.update(ledger.repaired())

    def _blocks(self, file: str, columns: list[str] | None) -> Iterator[Block]:
        part = self._mapping.file
        wanted = self._mapping.columns() if columns is None else columns
        return read_blocks(file, wanted, header=part.columns, delimiter=part.delimiter)

    def _date(self, head: Block, options: Options) -> date:
        time = self._mapping.time
        day = options.date or time.date or head.first_day(time.column, time.format, time.zone)
        if day is not None:
            return day
        for match in _DATE.finditer(Path(head.file).name):
            try:
                return date(*(int(part) for part in match.groups()))
            except ValueError:
                continue
        raise UsageError(
            f"{head.file}: neither its times nor its name say the date. Give --date, or add `date` "
            "to time in the mapping."
        )

    def _truth_levels(self) -> int:
        book = self._mapping.book
        if book is None or (book.beside is not None and self._snapshots is None):
            return 0
        return book.levels

    def _edges(self) -> list[_Edge]:
        session = self._mapping.session
        edges = [_Edge(0, Op.LIGHT)] if session.from_ is not None else []
        for begin, end in session.auctions:
            edges.append(_Edge(begin - self._start_ns, Op.DARK))
            edges.append(_Edge(end - self._start_ns, Op.LIGHT))
        return edges

    def _snapshot_files(self, book: BookPart | None) -> list[str]:
        if book is None or book.beside is None:
            return []
        found = (_beside(file, book.beside) for file in self._files)
        return [file for file in found if file is not None]

    def _read_snapshots(self, book: BookPart | None, files: list[str]) -> Snapshots | None:
        if book is None or book.time is None or not files:
            return None
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        day = self._day if self._has_date else None
        for number, file in enumerate(files, len(self._files)):
            for block in read_blocks(file, [book.time.column, *book_columns(book)]):
                times = block.times(book.time.column, book.time.format, book.time.zone, day)
                row = in_file(number, block.rows)
                parts.append((times - self._start_ns, row, books_of(block, book, self._scales)))
        times, rows, books = (np.concatenate(column) for column in zip(*parts, strict=True))
        if np.any(np.diff(times) < 0):
            at = int(np.argmax(np.diff(times) < 0)) + 1
            raise DataError(*place((*self._files, *files), rows[at]), "the time goes back")
        end = self._mapping.session.to
        inside = times >= 0 if end is None else (times >= 0) & (times < end - self._start_ns)
        return Snapshots(
            times[inside],
            rows[inside],
            books[inside, 0],
            books[inside, 1],
            lags_ns=round(book.lags_s * 10**9),
            leads_ns=round(book.leads_s * 10**9),
        )

    def _count(self, outcome: np.ndarray) -> None:
        came_to = np.bincount(outcome, minlength=len(Drop))
        self.counts.used += int(came_to[Drop.USED])
        for drop, reason in DROPPED.items():
            if came_to[drop]:
                self.counts.dropped[reason] += int(came_to[drop])


def _beside(file: str, names: tuple[str, str]) -> str | None:
    """The file with the snapshots, if it is there."""
    path = Path(file)
    other = path.with_name(path.name.replace(*names))
    return str(other) if other != path and other.is_file() else None


def _with_edges(
    records: np.ndarray, books: np.ndarray | None, edges: list[_Edge]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The records with those edges among them whose time has come; they leave `edges`."""
    due = [edge for edge in edges if len(records) and edge.time_ns <= records["time_ns"][-1]]
    del edges[: len(due)]
    if not due:
        return records, books
    at = np.searchsorted(records["time_ns"], [edge.time_ns for edge in due])
    marks = np.zeros(len(due), RECORD_DTYPE)
    marks["time_ns"] = [edge.time_ns for edge in due]
    marks["op"] = [edge.op for edge in due]
    marks["row"] = records["row"][at]
    if books is not None:
        none = np.zeros((len(due), *books.shape[1:]), np.int64)
        none[:, 1, 0, 0] = NO_BOOK
        books = np.insert(books, at, none, axis=0)
    return np.insert(records, at, marks), books


def _assumptions(mapping: Mapping) -> tuple[str, ...]:
    said = []
    if mapping.id.renumber or mapping.id.text:
        said.append("Orders are numbered as they come: the ids of the feed do not fit the engine.")
    if not mapping.action.fill:
        said.append("The feed records no fills: orders that cross trade by price-time priority.")
    else:
        said.append(
            "Fills of one time (and taker, where it is named) on one side at prices that get no "
            "better are one aggressive order."
        )
    if mapping.session.from_ is not None:
        said.append("The session opens with the book that the rows before it leave.")
    if mapping.session.auctions:
        said.append("In an auction there is no book: it is put in place when the auction ends.")
    if mapping.book is not None and mapping.book.beside is None:
        said.append("Lots that a book shows and no row has announced are anonymous orders.")
    elif mapping.book is not None:
        said.append(
            f"A snapshot shows the first book equal to it from {mapping.book.lags_s:g} s before "
            f"its time to {mapping.book.leads_s:g} s after it."
        )
    return tuple(said)
