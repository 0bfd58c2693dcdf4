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
from typing import IO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from mtsim.errors import DataError, MissingError

_BLOCK_BYTES = 8 << 20
_ROW = re.compile(r"Row #(\d+)")

Kind = Literal["text", "int"] | int
"""How a column is read: as text, as an int64, or as a decimal with so many digits after the point,
which arrives as an int64 of its last digit's unit (1.25 with 4 digits is 12,500)."""


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
        try:
            yield io.BufferedReader(stream, 1 << 20)
        finally:
            stream.close()


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
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Blocks of a CSV file: the number of the first row (from 1, the header counted), and columns.

    `header` names the columns of a file that has no header line. Columns that are not asked for are
    not converted. A row with another number of fields, a number that is none or that has more
    digits than its column keeps, and a missing column are DataErrors.
    """
    file = str(path)
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
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            for block in reader:
                yield first, {name: _values(block.column(name), columns[name]) for name in columns}
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
    return pa.int64() if kind == "int" else pa.decimal128(38, int(kind))


def _values(column: pa.Array, kind: Kind) -> np.ndarray:
    if kind == "text":
        return column.to_numpy(zero_copy_only=False)
    if kind == "int":
        return column.to_numpy()
    # A decimal128 is two words; those that fit int64 have the low one, sign included.
    words = np.frombuffer(column.buffers()[1], np.int64).reshape(-1, 2)
    words = words[column.offset : column.offset + len(column)]
    if np.any(words[:, 1] != words[:, 0] >> 63):
        raise pa.ArrowInvalid("a number does not fit 64 bits")
    return words[:, 0].copy()


def _unpack(path: Path, packed: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".zst":
        try:
            import zstandard
        except ImportError:
            raise MissingError(
                f"{path} is compressed with zstd", 'pip install "zstandard"'
            ) from None
        return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=packed)  # pyright: ignore[reportReturnType]
    if path.suffix == ".zip":
        try:
            archive = zipfile.ZipFile(packed)
        except zipfile.BadZipFile as error:
            raise DataError(str(path), None, f"no zip archive: {error}") from None
        names = archive.namelist()
        if len(names) != 1:
            raise DataError(
                str(path), None, f"one member is expected, the archive has {len(names)}"
            )
        return archive.open(names[0])
    return packed


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
        except Exception as error:
            # zstandard is an extra, so its error cannot be named in the line above.
            if type(error).__name__ != "ZstdError":
                raise
            raise self._damage(error) from None
        self._offset += len(data)
        buffer[: len(data)] = data
        return len(data)

    def _damage(self, error: Exception) -> DataError:
        what = f"damaged or cut short after {self._offset} unpacked bytes: {error}"
        return DataError(self._file, None, what)
