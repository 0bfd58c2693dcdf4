"""CSV and parquet files as blocks of named columns, and those columns as exact integers.

A column keeps the type of its file: text in a CSV, anything in a parquet. What becomes of it is
asked for by name: whole units of a step, nanoseconds, ids, codes. Nothing is rounded, nothing is
guessed; a value that does not fit is a DataError with its row. Knows no market.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mtsim.errors import DataError
from mtsim.model.sources.files import open_binary

# Its functions are made at run time, so no checker knows them.
pc: Any = compute

DAY_NS = 86_400 * 10**9
# Digits after the last one of a step, in which a value between two steps is still read.
_FINER = 6
_BLOCK_BYTES = 4 << 20
_BLOCK_ROWS = 1 << 16
_ROW = re.compile(r"Row #(\d+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = {"ns": 0, "us": 3, "ms": 6, "s": 9}
_CLOCK_DIGITS = {"HHMMSS": 0, "HHMMSScc": 2, "HHMMSSmmm": 3, "HHMMSSuuuuuu": 6}


@dataclass(frozen=True)
class Block:
    """Some rows of a file, and their numbers in it, the header counted as 1."""

    file: str
    rows: np.ndarray  # int64 [n]
    table: pa.RecordBatch

    def __len__(self) -> int:
        return self.table.num_rows

    def error(self, at: int, rule: str, hint: str = "") -> DataError:
        return DataError(self.file, int(self.rows[at]), rule, hint)

    def refuse(self, bad: np.ndarray, rule: str, hint: str = "") -> None:
        """Raise for the first row that is `bad`, if there is one."""
        if bad.any():
            raise self.error(int(np.argmax(bad)), rule, hint)

    def only(self, keep: np.ndarray) -> Block:
        """The rows where `keep` is true."""
        if keep.all():
            return self
        return Block(self.file, self.rows[keep], self.table.filter(pa.array(keep)))

    def text(self, name: str) -> pa.Array:
        """The values as text; nothing is ''."""
        column = self.table.column(name)
        if not pa.types.is_string(column.type):
            column = self._cast(column, pa.string(), name, "text")
        return column.fill_null("")

    def codes(self, name: str, known: dict[str, int]) -> np.ndarray:
        """The number of each value, -1 where it has none."""
        encoded = self.text(name).dictionary_encode()
        numbers = [known.get(word, -1) for word in encoded.dictionary.to_pylist()]
        return np.array(numbers, np.int64)[encoded.indices.to_numpy()]

    def units(
        self, name: str, step: Decimal, nothing: int, between: int | None = None
    ) -> np.ndarray:
        """How many whole steps each value is; `nothing` where the cell is empty.

        A value between two steps is an error, or becomes `between` where that is given.
        """
        column, empty = self._filled(name)
        steps, fraction = _as_integers(step)
        if pa.types.is_integer(column.type):
            wide = self._cast(column, pa.int64(), name, "a number of 64 bits").to_numpy()
            self.refuse(np.abs(wide) > 2**62 // 10**fraction, f"{name} is too large")
            values = wide * 10**fraction
        elif pa.types.is_floating(column.type):
            return np.where(empty, nothing, self._float_units(name, column, step, between))
        else:
            if between is not None:
                steps, fraction = steps * 10**_FINER, fraction + _FINER
            values = self._decimals(name, column, fraction, step)
        whole, rest = np.divmod(values, steps)
        if np.any(rest):
            if between is None:
                at = int(np.argmax(rest != 0))
                what = f"{name} {self._shown(name, at)} is no whole multiple of {step}"
                raise self.error(at, what)
            whole[rest != 0] = between
        return np.where(empty, nothing, whole)

    def ids(self, name: str) -> np.ndarray:
        """Whole numbers from 1 on; 0 where the cell is empty."""
        ids = self.units(name, Decimal(1), 0)
        if np.any(ids < 0):
            at = int(np.argmax(ids < 0))
            raise self.error(at, f"{name} {self._shown(name, at)} is below 0")
        return ids

    def times(self, name: str, form: str, zone: str, day: date | None) -> np.ndarray:
        """Nanoseconds since midnight of `day` in `zone` (None: since the epoch, where it says it).

        A file that gives times of day says no date: they count from midnight.
        """
        if form == "iso":
            return self._iso_times(name, zone, day)
        kind, _, unit = form.partition("_")
        _, empty = self._filled(name)
        self.refuse(empty, f"{name} has no time")
        if kind == "HHMMSS" or form in _CLOCK_DIGITS:
            return self._clock_times(name, _CLOCK_DIGITS[form])
        times = self.units(name, Decimal(1).scaleb(-_DIGITS[unit]), 0)
        if kind == "epoch" and day is not None:
            times = times - midnight_ns(day, zone)
        return times

    def first_day(self, name: str, form: str, zone: str) -> date | None:
        """The date of the first row, in `zone`; None where its times say no date."""
        if not (form == "iso" or form.startswith("epoch")) or not len(self):
            return None
        head = Block(self.file, self.rows[:1], self.table.slice(0, 1))
        seconds = int(head.times(name, form, zone, None)[0]) // 10**9
        try:
            return datetime.fromtimestamp(seconds, ZoneInfo(zone)).date()
        except (ValueError, OverflowError, OSError):
            raise self.error(0, f"{name} is no time of the form {form}") from None

    def _clock_times(self, name: str, digits: int) -> np.ndarray:
        clock = self.units(name, Decimal(1), 0)
        whole, fraction = np.divmod(clock, 10**digits)
        minutes, seconds = np.divmod(whole, 100)
        hours, minutes = np.divmod(minutes, 100)
        bad = (clock < 0) | (hours > 24) | (minutes > 59) | (seconds > 59)
        self.refuse(bad, f"{name} is no time of day in digits of hours, minutes, seconds")
        whole_seconds = hours * 3600 + minutes * 60 + seconds
        return whole_seconds * 10**9 + fraction * 10 ** (9 - digits)

    def _iso_times(self, name: str, zone: str, day: date | None) -> np.ndarray:
        column = self.table.column(name)
        if not pa.types.is_timestamp(column.type):
            column = self.text(name)
            aware = len(column) > 0 and re.search(r"(Z|[+-]\d\d:?\d\d)$", column[0].as_py())
            kind = pa.timestamp("ns", "UTC" if aware else None)
            column = self._cast(column, kind, name, "a time as in 2024-01-31 09:30:00.5")
        else:
            column = self._cast(column, pa.timestamp("ns", column.type.tz), name, "a time")
        self.refuse(column.is_null().to_numpy(zero_copy_only=False), f"{name} has no time")
        times = column.cast(pa.int64()).to_numpy()
        if column.type.tz is None:
            # Times of a clock on the wall of `zone`.
            if day is not None:
                return times - _wall_midnight_ns(day)
            offset = ZoneInfo(zone).utcoffset(_moment(times[0])) if len(times) else None
            return times - int(offset.total_seconds()) * 10**9 if offset else times
        return times if day is None else times - midnight_ns(day, zone)

    def _filled(self, name: str) -> tuple[pa.Array, np.ndarray]:
        """The column with zeros in its empty cells, and which these are."""
        column = self.table.column(name)
        if pa.types.is_boolean(column.type):
            raise self.error(0, f"{name} is true or false, a number is needed")
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            empty = pc.equal(column, "").fill_null(True)
            filled = pc.if_else(empty, "0", column)
        else:
            empty = pc.is_null(column, nan_is_null=True)
            if not pc.any(empty).as_py():
                return column, np.zeros(len(self), bool)
            filled = pc.if_else(empty, pa.scalar(0).cast(column.type), column)
        return filled, empty.to_numpy(zero_copy_only=False)

    def _decimals(self, name: str, column: pa.Array, digits: int, step: Decimal) -> np.ndarray:
        """Each value as a whole number of its unit at `digits` after the point."""
        try:
            decimals = column.cast(pa.decimal128(38, digits))
        except pa.ArrowInvalid:
            raise self._no_number(name, step) from None
        # Two words each; those that fit 64 bits have the low one, sign included.
        words = np.frombuffer(decimals.buffers()[1], np.int64).reshape(-1, 2)
        words = words[decimals.offset : decimals.offset + len(decimals)]
        self.refuse(words[:, 1] != words[:, 0] >> 63, f"{name} does not fit 64 bits")
        return words[:, 0].copy()

    def _float_units(
        self, name: str, column: pa.Array, step: Decimal, between: int | None
    ) -> np.ndarray:
        """A float stands for the multiple of `step` that it is closest to, if it is that close."""
        values = column.cast(pa.float64()).to_numpy()
        scaled = values / float(step)
        whole = np.rint(scaled)
        off = np.abs(scaled - whole) > 1e-12 * np.abs(scaled) + 1e-6
        bad = ~(np.abs(whole) < 2**53)
        if between is None:
            bad |= off
        if np.any(bad):
            at = int(np.argmax(bad))
            raise self.error(at, f"{name} {values[at]!r} is no whole multiple of {step}")
        steps = whole.astype(np.int64)
        if between is not None:
            steps[off] = between
        return steps

    def _no_number(self, name: str, step: Decimal) -> DataError:
        """The first value that is none, found one by one."""
        for at, value in enumerate(self.table.column(name).to_pylist()):
            try:
                number = Decimal(str(value or 0))
            except InvalidOperation:
                number = Decimal("nan")
            if not number.is_finite():
                return self.error(at, f"{name} {_cut(value)} is no number")
            if abs(number) >= 10**24 or number % step:
                return self.error(at, f"{name} {_cut(value)} is no whole multiple of {step}")
        return self.error(0, f"{name} has a number that is written in a way that is not read")

    def _cast(self, column: pa.Array, kind: pa.DataType, name: str, what: str) -> pa.Array:
        try:
            return column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
        for at in range(len(column)):
            try:
                column.slice(at, 1).cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise self.error(at, f"{name} {_cut(column[at].as_py())} is not {what}") from None
        raise self.error(0, f"{name} is not {what}")

    def _shown(self, name: str, at: int) -> str:
        return _cut(self.table.column(name)[at].as_py())


def midnight_ns(day: date, zone: str) -> int:
    """When a day begins in a zone, in nanoseconds since the epoch."""
    start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return round((start - _EPOCH).total_seconds()) * 10**9


def read_blocks(
    file: str,
    columns: Sequence[str] | None,
    *,
    header: Sequence[str] | None = None,
    delimiter: str = ",",
) -> Iterator[Block]:
    """The rows of a file in blocks of bounded size, with these columns (None: with all it has)."""
    if ".parquet" in file.lower() or file.lower().endswith(".pq"):
        return _read_parquet(file, columns)
    return _read_csv(file, columns, header, delimiter)


def column_names(
    file: str, *, header: Sequence[str] | None = None, delimiter: str = ","
) -> list[str]:
    """The names of a file's columns."""
    for block in read_blocks(file, None, header=header, delimiter=delimiter):
        return block.table.schema.names
    raise DataError(file, 1, "the file has no rows")


def _read_csv(
    file: str, columns: Sequence[str] | None, header: Sequence[str] | None, delimiter: str
) -> Iterator[Block]:
    first = 1 if header is not None else 2
    types: Any = dict.fromkeys(columns, pa.string()) if columns is not None else None
    with open_binary(file) as stream:
        try:
            if columns is None:
                names = _csv_names(file, header, delimiter)
                types = dict.fromkeys(names, pa.string())
            reader = pa_csv.open_csv(
                stream,
                pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    column_names=list(header) if header is not None else None,
                ),
                pa_csv.ParseOptions(delimiter=delimiter),
                pa_csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(columns) if columns is not None else None,
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            for table in reader:
                for start in range(0, table.num_rows, _BLOCK_ROWS):
                    part = table.slice(start, _BLOCK_ROWS)
                    yield Block(file, np.arange(first, first + part.num_rows), part)
                    first += part.num_rows
        except pa.ArrowKeyError as error:
            raise DataError(file, 1, f"a column is missing: {_said(error)}") from None
        except pa.ArrowInvalid as error:
            said = _said(error)
            if "Empty CSV" in said:
                raise DataError(file, 1, "the file is empty") from None
            match = _ROW.search(said)
            raise DataError(file, int(match[1]) if match else first, said) from None


def _csv_names(file: str, header: Sequence[str] | None, delimiter: str) -> list[str]:
    if header is not None:
        return list(header)
    with open_binary(file) as stream:
        line = stream.readline(1 << 16)
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(file, 1, "the header is not UTF-8 text") from None
    return [name.strip().strip('"') for name in text.rstrip("\r\n").split(delimiter)]


def _read_parquet(file: str, columns: Sequence[str] | None) -> Iterator[Block]:
    first = 1
    # Parquet is read from its end, so it lies there unpacked.
    with open_binary(file):
        pass
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            missing = [name for name in columns or () if name not in names]
            if missing:
                raise DataError(file, None, f"a column is missing: {missing[0]}")
            for table in parquet.iter_batches(_BLOCK_ROWS, columns=columns):
                yield Block(file, np.arange(first, first + table.num_rows), table)
                first += table.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(file, first, f"damaged, or no parquet: {_said(error)}") from None


def _as_integers(step: Decimal) -> tuple[int, int]:
    """The step as a whole number of units of its last digit, and where that digit stands."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    digits = max(0, -exponent)
    return int(step.scaleb(digits)), digits


def _wall_midnight_ns(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_NS


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(int(time_ns) // 10**9, UTC).replace(tzinfo=None)


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).strip("'\"")[:300]
