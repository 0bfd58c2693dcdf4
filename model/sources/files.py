"""Vendor files as they lie on disk: opened whatever their compression, read in bounded memory.

Knows compression and CSV columns with exact decimals; knows no vendor. A file that is cut short or
damaged is a DataError with the place; pyarrow reads the CSV.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from mtsim.errors import DataError, MissingError

_BLOCK_BYTES = 8 << 20
_ROW = re.compile(r"Row #(\d+)")

# The files being read: nobody between a reader and whoever shows its progress knows of both.
_OPEN: dict[str, IO[bytes]] = {}

Kind = Literal["text", "int", "time"] | int
"""How a column is read: as text, as an int64, as an ISO time with its zone, which arrives as an
int64 of nanoseconds since 1970, or as a decimal with so many digits after the point, which arrives
as an int64 of its last digit's unit (1.25 with 4 digits is 12,500)."""


@contextmanager
def open_binary(path: Path | str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked: `.zst`, `.gz`, a `.zip` of one member, or as they are.

    Damage found while reading becomes a DataError with the offset of the unpacked byte before it.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"there is no file {path}", "Look at the path; folders are not read.")
    with path.open("rb") as packed:
        stream = _Checked(_unpack(path, packed), str(path))
        _OPEN[str(path)] = packed
        try:
            yield io.BufferedReader(stream, 1 << 20)
        finally:
            _OPEN.pop(str(path), None)
            stream.close()


def share_read(paths: Sequence[str]) -> float | None:
    """How far these files have been read, in packed bytes, if one of them is being read now.

    Those before it in the list count as read. For showing progress, and nothing else.
    """
    places = [str(Path(path)) for path in paths]
    sizes = [Path(path).stat().st_size for path in paths]
    reading = [n for n, place in enumerate(places) if place in _OPEN]
    if not reading or not sum(sizes):
        return None
    done = sum(sizes[: reading[0]]) + sum(_OPEN[places[n]].tell() for n in reading)
    return done / sum(sizes)


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file as it lies on disk."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_csv(
    path: Path | str,
    columns: Mapping[str, Kind],
    *,
    header: Sequence[str] | None = None,
    delimiter: str = ",",
    empty: Mapping[str, int] | None = None,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Blocks of a CSV file: the number of the first row (from 1, the header counted), and columns.

    `header` names the columns of a file that has no header line. Columns that are not asked for are
    not converted. A row with another number of fields, a number that is none or that has more
    digits than its column keeps, and a missing column are DataErrors. So is a number that is not
    there, but in the columns of `empty`, which says what it stands for.
    """
    file = str(path)
    empty = empty or {}
    types = {name: _arrow_type(kind) for name, kind in columns.items()}
    first = 1 if header is not None else 2
    with open_binary(path) as stream:
        try:
            reader = pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    column_names=list(header) if header is not None else None,
                ),
                parse_options=pa_csv.ParseOptions(delimiter=delimiter),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(columns),
                    null_values=[""] if empty else [],
                    strings_can_be_null=False,
                ),
            )
            for block in reader:
                arrays = {}
                for name, kind in columns.items():
                    column = block.column(name)
                    if name not in empty and column.null_count:
                        missing = first + int(np.argmax(column.is_null().to_numpy(False)))
                        raise DataError(file, missing, f"there is no {name}")
                    arrays[name] = _values(column, kind, empty.get(name), first)
                yield first, arrays
                first += block.num_rows
        except pa.ArrowKeyError as error:
            raise DataError(file, 1, f"a column is missing: {_said(error)}") from None
        except pa.ArrowInvalid as error:
            said = _said(error)
            if "Empty CSV" in said:
                raise DataError(file, 1, "the file is empty") from None
            match = _ROW.search(said)
            raise DataError(file, int(match[1]) if match else first, said) from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).strip("'\"")


def _arrow_type(kind: Kind) -> pa.DataType:
    if kind == "text":
        return pa.string()
    if kind == "time":
        return pa.timestamp("ns", "UTC")
    return pa.int64() if kind == "int" else pa.decimal128(38, int(kind))


def _values(column: pa.Array, kind: Kind, empty: int | None, first: int) -> np.ndarray:
    if kind == "text":
        return column.to_numpy(zero_copy_only=False)
    if kind in ("int", "time"):
        column = column.cast(pa.int64())
        return (column if empty is None else column.fill_null(empty)).to_numpy()
    gone = column.is_null().to_numpy(False)
    column = column.fill_null(0)
    # A decimal128 is two words; those that fit int64 have the low one, sign included.
    words = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    fits = words[:, 1] == words[:, 0] >> 63
    if not fits.all():
        raise pa.ArrowInvalid(f"Row #{first + np.argmin(fits)}: a number does not fit 64 bits")
    values = words[:, 0].copy()
    if empty is not None:
        values[gone] = empty
    return values


def _unpack(path: Path, packed: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".zst":
        try:
            import zstandard
        except ImportError:
            raise MissingError(
                f"{path} is compressed with zstd", 'pip install "zstandard"'
            ) from None
        return _Zstd(packed, zstandard)  # pyright: ignore[reportReturnType]
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=packed)  # pyright: ignore[reportReturnType]
    if path.suffix == ".zip":
        try:
            archive = zipfile.ZipFile(packed)
            names = archive.namelist()
            if len(names) == 1:
                return archive.open(names[0])
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            # The last two: a member that is encrypted, or packed in a way that zipfile cannot.
            raise DataError(str(path), None, f"no zip archive: {error}") from None
        what = f"one member is expected, the archive has {len(names)}"
        raise DataError(str(path), None, what)
    return packed


class _Zstd:
    """Frames of zstd, one after the other. (zstandard's own reader takes a file that is cut short
    within a frame for one that ends there.)"""

    def __init__(self, packed: IO[bytes], zstandard: Any):
        self._packed = packed
        self._zstandard = zstandard
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def read(self, size: int) -> memoryview:
        while not self._output:
            if not self._input:
                self._input = self._packed.read(1 << 12)
                if not self._input:
                    if self._frame is not None:
                        raise EOFError("the last zstd frame is not complete")
                    break
            if self._frame is None:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._output = memoryview(self._frame.decompress(self._input))
            except self._zstandard.ZstdError as error:
                raise OSError(str(error)) from None
            self._input = b""
            if self._frame.eof:
                self._input, self._frame = self._frame.unused_data, None
        taken, self._output = self._output[:size], self._output[size:]
        return taken

    def close(self) -> None:
        self._packed.close()


class _Checked(io.RawIOBase):
    """A stream whose decompressor's complaints are DataErrors with the place."""

    def __init__(self, stream: IO[bytes], file: str):
        self._stream = stream
        self._file = file
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
            raise self._damage(error) from None
        self._offset += len(data)
        buffer[: len(data)] = data
        return len(data)

    def _damage(self, error: Exception) -> DataError:
        what = f"damaged or cut short after {self._offset} unpacked bytes: {error}"
        return DataError(self._file, None, what)
