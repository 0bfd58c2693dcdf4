"""A prepared data set on disk: which files it is made of, and how they come to be there whole.

    <out>/
        tokens.bin        uint16 or uint32, one a position
        features.bin      float32, a row of features a position
        segments.parquet  SEGMENT_DTYPE: which positions belong together, and to what part
        tokenizer.json
        manifest.json     written last
        store.path        where the store was: a note, no part of the data

All of it is written in `<out>.part` beside its place, synced, and renamed in one go, so that what
was cut short is never taken for a data set. Equal inputs give equal bytes, but for the note. Knows
no token.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mtsim.engine.columns import Schema
from mtsim.engine.sealed import sealed, sync_folder
from mtsim.errors import StoreError, UsageError

FORMAT = "mtsim-dataset"
VERSION = 1
MANIFEST = "manifest.json"
TOKENS = "tokens.bin"
FEATURES = "features.bin"
SEGMENTS = "segments.parquet"
TOKENIZER = "tokenizer.json"
STORE_NOTE = "store.path"

SEGMENT_DTYPE = np.dtype(
    [("first", "<i8"), ("end", "<i8"), ("session", "<i4"), ("part", "u1"), ("padding", "u1", (3,))]
)
"""Positions `first` to `end` - 1 of one stretch of one session that are all of one part, 24 bytes.
`session` counts in the manifest's list."""

SEGMENT_SCHEMA = Schema("dataset.segment", 1, SEGMENT_DTYPE)

_BESIDE = ".part"
_SCRATCH = ".scratch"


class Growing:
    """A file that is written from front to back and knows its size and digest."""

    def __init__(self, path: Path, *, digested: bool = True):
        self.path = path
        self.bytes = 0
        self._digest = hashlib.sha256() if digested else None
        self._file: BinaryIO = _guarded(path, lambda: path.open("wb"))

    def append(self, rows: np.ndarray) -> None:
        """Add the bytes of a contiguous array. StoreError where the disk takes no more."""
        content = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        if self._digest is not None:
            self._digest.update(content)
        self.bytes += len(content)
        _guarded(self.path, lambda: self._file.write(content))

    def set_aside(self) -> None:
        """Nothing more is appended; it can be read, but is not on disk for good."""
        _guarded(self.path, self._file.close)

    def finish(self) -> dict[str, Any]:
        """Put it on disk for good; its size and SHA-256."""
        _guarded(self.path, self._file.flush)
        _guarded(self.path, lambda: os.fsync(self._file.fileno()))
        _guarded(self.path, self._file.close)
        assert self._digest is not None, "a scratch file is no part of a data set"
        return {"bytes": self.bytes, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        with suppress(OSError):
            # Of a file that goes anyway.
            self._file.close()


class DatasetWriter:
    """The folder of a data set in the making; use it in a `with`. Leaving without `commit` takes
    away all that was written; after a kill it stays in `<out>.part` and goes with the next try."""

    def __init__(self, target: Path | str):
        self.target = Path(target)
        self.folder = self.target.with_name(self.target.name + _BESIDE)
        self.files: dict[str, dict[str, Any]] = {}
        self._open: list[Growing] = []
        self._lock: int | None = None

    def __enter__(self) -> DatasetWriter:
        if self.target.is_symlink() or (self.target.exists() and not _is_empty(self.target)):
            raise UsageError(
                f"{self.target} is there already, and another data set or none: name another "
                "--out, or take it away"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot hold a data set: {error}") from error
        try:
            # On the folder itself: the system lets go of it however this process ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = None
            raise StoreError(
                f"{self.folder}: another process is preparing this data set. Wait for it to end."
            ) from None
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open:
            file.close()
        if self.folder.exists():
            self._sweep()
            with suppress(OSError):
                # Something that is not ours may be in it.
                self.folder.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def grow(self, name: str) -> Growing:
        """Begin a file of the data set."""
        file = Growing(self.folder / name)
        self._open.append(file)
        return file

    def scratch(self, name: str) -> Growing:
        """Begin a file that `drop` takes away before the data set is done."""
        file = Growing(self.folder / f"{name}{_SCRATCH}", digested=False)
        self._open.append(file)
        return file

    def keep(self, file: Growing) -> None:
        """A grown file is whole: it becomes part of the data set."""
        self.files[file.path.name] = file.finish()

    def drop(self, file: Growing) -> None:
        """A scratch file has served."""
        file.close()
        file.path.unlink()

    def write(self, name: str, content: bytes) -> None:
        """Put a whole small file into the data set."""
        file = self.grow(name)
        file.append(np.frombuffer(content, np.uint8))
        self.keep(file)

    def commit(self, manifest: dict[str, Any], store: Path) -> None:
        """Finish the data set: from here on it is in its place. `manifest` is JSON values; the
        files are added to it. `store` is noted down."""
        note = self.grow(STORE_NOTE)
        note.append(np.frombuffer(f"{store.resolve()}\n".encode(), np.uint8))
        note.finish()
        whole = {**manifest, "format": FORMAT, "version": VERSION, "files": dict(self.files)}
        self.write(MANIFEST, sealed(whole))
        _guarded(self.folder, lambda: sync_folder(self.folder))
        _guarded(self.target, lambda: self.folder.rename(self.target))
        try:
            sync_folder(self.target.parent)
        except OSError as error:
            raise StoreError(
                f"{self.target}: is there, but its folder could not be synced: {error}. A power "
                "cut may undo it."
            ) from error

    def _sweep(self) -> None:
        """Take away what an earlier try left: only files that have our names."""
        ours = {MANIFEST, TOKENS, FEATURES, SEGMENTS, TOKENIZER, STORE_NOTE}
        with suppress(OSError):
            # Clearing up: where it fails, the next write says why.
            for path in self.folder.iterdir():
                if path.name in ours or path.suffix == _SCRATCH:
                    path.unlink()


def _is_empty(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _guarded(path: Path, action: Any) -> Any:
    try:
        return action()
    except OSError as error:
        raise StoreError(
            f"{path}: could not be written: {error}. Nothing of this data set is kept; make room "
            "and prepare it again."
        ) from error
