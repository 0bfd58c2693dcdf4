"""Databento's files: DBN and CSV, as records of one dtype with the place each comes from.

Knows encodings and headings; what a record means is `databento`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mtsim.errors import DataError, MissingError
from mtsim.model.sources.files import Kind, open_binary, read_csv

UNDEF_PRICE = 2**63 - 1
"""The price of a record that has none, as the decoder writes it."""

MBO_DTYPE = np.dtype(
    [
        ("length", "u1"),
        ("rtype", "u1"),
        ("publisher_id", "<u2"),
        ("instrument_id", "<u4"),
        ("ts_event", "<u8"),
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "S1"),
        ("side", "S1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
"""One MBO record, 56 bytes, as it lies in a DBN file of any version. Prices in 1e-9."""

_CHUNK_BYTES = 2 << 20
_RTYPE_MBO = 0xA0
_WORD_BYTES = 4
_MAX_HEADING_BYTES = 64 << 20

# The publishers whose CSV files name no data set.
_DATASETS = {1: "GLBX.MDP3", 2: "XNAS.ITCH", 3: "XBOS.ITCH", 4: "XPSX.ITCH"}

_jit = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True)
class Heading:
    """What a file says of itself, or what its first records do."""

    dataset: str
    symbols: dict[int, str] = field(default_factory=dict)
    """The names of instruments by id, as far as there are names."""
    instruments: tuple[int, ...] = ()
    """The ids among the first records."""


class Records(NamedTuple):
    """Some records in order."""

    row: np.ndarray  # int64: the byte offset in a DBN file, the row of a CSV file
    mbo: np.ndarray  # MBO_DTYPE
    others: int
    """Records of other kinds among them, left out."""


def is_dbn(path: str) -> bool:
    return ".dbn" in Path(path).suffixes


def heading_of(path: str) -> Heading:
    """DataError for what is no MBO file."""
    if is_dbn(path):
        with open_binary(path) as stream:
            heading = _metadata(path, stream)[0]
    else:
        heading = _csv_heading(path)
    first = next(read_records(path), None)
    if first is None or not len(first.mbo):
        return heading
    dataset = heading.dataset or _DATASETS.get(int(first.mbo["publisher_id"][0]), "")
    ids = np.unique(first.mbo["instrument_id"])
    return Heading(dataset, heading.symbols, tuple(ids.tolist()))


def read_records(path: str) -> Iterator[Records]:
    """The MBO records of a file, in bounded memory. DataError with the place of damage."""
    return _read_dbn(path) if is_dbn(path) else _read_csv(path)


def _metadata(path: str, stream) -> tuple[Heading, int, int]:
    """The heading of a DBN stream, the bytes it takes, and those that every record has behind it;
    the stream then stands at the first record."""
    try:
        from databento_dbn import DBNDecoder, DBNError
    except ImportError:
        raise MissingError(f"{path} is in DBN", "pip install databento-dbn") from None
    head = stream.read(8)
    size = int.from_bytes(head[4:], "little")
    if head[:3] != b"DBN" or len(head) < 8 or size > _MAX_HEADING_BYTES:
        raise DataError(path, 0, "the file does not begin as DBN does")
    body = stream.read(size)
    if len(body) < size:
        raise DataError(path, 8 + len(body), "the file ends inside its metadata")
    decoder = DBNDecoder()
    try:
        decoder.write(head + body)
        decoded = decoder.decode()
    except DBNError as error:
        raise DataError(path, 0, f"the metadata is damaged: {error}") from None
    if not decoded:
        raise DataError(path, 0, "the metadata is damaged: it is shorter than it says")
    metadata: Any = decoded[0]
    if metadata.schema is not None and str(metadata.schema) != "mbo":
        raise DataError(path, 0, f"the records are {metadata.schema}, not mbo")
    symbols = {}
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            # Either the name or what it stands for is the number of the instrument.
            number, text = interval["symbol"], name
            if str(metadata.stype_out) != "instrument_id":
                number, text = text, number
            if number.isascii() and number.isdecimal():
                symbols[int(number)] = text
    return Heading(metadata.dataset, symbols), 8 + size, 8 if metadata.ts_out else 0


def _read_dbn(path: str) -> Iterator[Records]:
    with open_binary(path) as stream:
        _, offset, behind = _metadata(path, stream)
        words = (MBO_DTYPE.itemsize + behind) // _WORD_BYTES
        starts = np.empty(_CHUNK_BYTES // MBO_DTYPE.itemsize + 64, np.int64)
        rest = b""
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            data = np.frombuffer(rest + chunk, np.uint8)
            n, others, done, fault = (int(k) for k in _frame(data, words, starts))
            if fault:
                rule = "a record has no length" if fault == 1 else "an MBO record has another size"
                raise DataError(path, offset + done, rule)
            if n or others:
                yield Records(offset + starts[:n], _gathered(data, starts[:n]), others)
            if not chunk and not (n or others):
                if done < len(data):
                    raise DataError(path, offset + done, "the file ends inside a record")
                return
            rest = data[done:].tobytes()
            offset += done


@_jit
def _frame(data, words, starts):
    """Where the MBO records start; how many, how many others, the bytes done with, a fault."""
    at, n, others = 0, 0, 0
    while at + 2 <= data.size and n < starts.size:
        length = np.int64(data[at])
        if length == 0:
            return n, others, at, 1
        if at + length * _WORD_BYTES > data.size:
            break
        if data[at + 1] == _RTYPE_MBO:
            if length != words:
                return n, others, at, 2
            starts[n] = at
            n += 1
        else:
            others += 1
        at += length * _WORD_BYTES
    return n, others, at, 0


def _gathered(data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    n, size = len(starts), MBO_DTYPE.itemsize
    if n and starts[-1] - starts[0] == (n - 1) * size:
        return data[starts[0] : starts[0] + n * size].view(MBO_DTYPE)
    gathered = np.empty((n, size), np.uint8)
    for column in range(size):
        gathered[:, column] = data[starts + column]
    return gathered.reshape(-1).view(MBO_DTYPE)


def _csv_heading(path: str) -> Heading:
    columns, _ = _first_lines(path)
    symbols = {}
    if "symbol" in columns:
        kinds: dict[str, Kind] = {"instrument_id": "int", "symbol": "text"}
        for _, block in read_csv(path, kinds):
            ids, at = np.unique(block["instrument_id"], return_index=True)
            symbols = {int(k): str(block["symbol"][j]) for k, j in zip(ids, at, strict=True)}
            break
    return Heading("", symbols)


def _first_lines(path: str) -> tuple[list[str], list[list[str]]]:
    """The names of a CSV file's columns and the fields of some rows."""
    with open_binary(path) as stream:
        names, *rows = [stream.readline(1 << 16).decode("utf-8", "replace") for _ in range(200)]
    columns = names.rstrip("\r\n").split(",")
    return columns, [row.rstrip("\r\n").split(",") for row in rows if row.strip()]


def csv_kinds(path: str, times: tuple[str, ...], prices: tuple[str, ...]) -> dict[str, Kind]:
    """How times and prices are written: as integers, or as ISO times and decimals."""
    columns, rows = _first_lines(path)

    def seen(name: str) -> list[str]:
        if name not in columns:
            raise DataError(path, 1, f"a column is missing: {name}")
        k = columns.index(name)
        return [row[k] for row in rows if k < len(row)]

    iso = any("T" in text for text in seen(times[0]))
    decimal = any("." in text for name in prices for text in seen(name))
    kinds: dict[str, Kind] = dict.fromkeys(times, "time" if iso else "int")
    kinds.update(dict.fromkeys(prices, 9 if decimal else "int"))
    return kinds


def _read_csv(path: str) -> Iterator[Records]:
    kinds = csv_kinds(path, ("ts_event", "ts_recv"), ("price",))
    whole = ("publisher_id", "instrument_id", "order_id", "size", "flags", "channel_id", "sequence")
    kinds.update(dict.fromkeys(whole, "int"))
    kinds.update({"action": "text", "side": "text"})
    for first, block in read_csv(path, kinds, empty={"price": UNDEF_PRICE}):
        mbo = np.zeros(len(block["size"]), MBO_DTYPE)
        mbo["length"], mbo["rtype"] = MBO_DTYPE.itemsize // _WORD_BYTES, _RTYPE_MBO
        row = first + np.arange(len(mbo))
        for name in kinds:
            values = block[name]
            if name in ("action", "side"):
                mbo[name] = _letters(path, row, name, values)
                continue
            kind = MBO_DTYPE[name]
            limits = np.iinfo(kind)
            wrong = (values < max(limits.min, -(2**63))) | (values > min(limits.max, 2**63 - 1))
            if wrong.any():
                at = int(np.argmax(wrong))
                raise DataError(path, int(row[at]), f"{name} {values[at]} is out of range")
            mbo[name] = values
        yield Records(row, mbo, 0)


def _letters(path: str, row: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    wrong = np.array([len(text) != 1 or text > "~" for text in values.tolist()], bool)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(path, int(row[at]), f"{name} is one letter, not '{values[at]}'")
    return values.astype("S1")
