"""Fixed-width rows as typed Parquet columns and back. Knows layouts and checksums, not what a row
means.

pyarrow is imported when a table is made or read, so that the modules built on this one stay light.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtsim.engine.rows import PADDING
from mtsim.errors import IntegrityError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Schema:
    """The named, versioned Parquet form of a row dtype: one column a field, nested fields
    flattened, no padding.

    The version goes up when a field appears, goes or changes its meaning; a file of another
    version is refused.
    """

    name: str
    version: int
    dtype: np.dtype

    def fields(self) -> list[tuple[tuple[str, ...], np.dtype]]:
        """(path into the dtype, scalar type) of every column, in order; the column is named by the
        path's end."""
        return list(_fields(self.dtype, ()))

    def arrow(self) -> pa.Schema:
        """The pyarrow schema: no column may be null, and the metadata names the schema and its
        version."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field(path[-1], pa.from_numpy_dtype(kind), nullable=False)
                for path, kind in self.fields()
            ],
            metadata={"mtsim.schema": self.name, "mtsim.version": str(self.version)},
        )

    def to_table(self, rows: np.ndarray) -> pa.Table:
        """The rows as a pyarrow table of `arrow()`."""
        import pyarrow as pa

        columns = [pa.array(np.ascontiguousarray(_at(rows, path))) for path, _ in self.fields()]
        return pa.Table.from_arrays(columns, schema=self.arrow())

    def from_table(self, table: pa.Table, where: str) -> np.ndarray:
        """The rows of a table, padding zero. IntegrityError, naming `where`, when it is not a
        table of this schema."""
        expected = self.arrow()
        if not table.schema.equals(expected, check_metadata=True):
            raise IntegrityError(
                f"{where}: not a table of '{self.name}' version {self.version}.\n"
                f"Expected columns: {_described(expected)}\nFound: {_described(table.schema)}"
            )
        rows = np.zeros(len(table), self.dtype)
        for path, _ in self.fields():
            column = table.column(path[-1])
            if column.null_count:
                raise IntegrityError(
                    f"{where}: column '{path[-1]}' holds {column.null_count} nulls, none is allowed"
                )
            _at(rows, path)[...] = column.to_numpy()
        return rows

    def to_parquet(self, rows: np.ndarray) -> bytes:
        """A whole Parquet file, every page with its checksum."""
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(self.to_table(rows), sink, compression="zstd", write_page_checksum=True)
        return sink.getvalue()

    def from_parquet(self, content: bytes, where: str) -> np.ndarray:
        """The rows of such a file, page checksums verified. IntegrityError, naming `where`, when
        it is damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise IntegrityError(f"{where}: not a readable Parquet file: {error}") from error
        return self.from_table(table, where)


def write_rows(path: Path, schema: Schema, rows: np.ndarray) -> None:
    """Write rows as a Parquet file of `schema`. Not atomic: for artefacts that nothing else refers
    to yet."""
    path.write_bytes(schema.to_parquet(rows))


def read_rows(path: Path, schema: Schema) -> np.ndarray:
    """The rows of a Parquet file of `schema`."""
    return schema.from_parquet(path.read_bytes(), str(path))


def _fields(dtype: np.dtype, prefix: tuple[str, ...]):
    for name in dtype.names or ():
        kind = dtype[name]
        if kind.names:
            yield from _fields(kind, (*prefix, name))
        elif name != PADDING:
            yield (*prefix, name), kind


def _at(rows: np.ndarray, path: tuple[str, ...]) -> np.ndarray:
    for name in path:
        rows = rows[name]
    return rows


def _described(schema: pa.Schema) -> str:
    metadata = schema.metadata or {}
    name = metadata.get(b"mtsim.schema", b"(no schema name)").decode(errors="replace")
    version = metadata.get(b"mtsim.version", b"?").decode(errors="replace")
    return f"'{name}' version {version}: " + ", ".join(
        f"{field.name} {field.type}" for field in schema
    )
