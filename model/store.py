"""Sessions of market activity on disk: checksummed Parquet parts whose manifest is the commit.

    <store>/<venue>/<symbol>/<date>/
        000000-<digest>.parquet     events, EVENT_DTYPE, sorted by time
        snapshots-<digest>.parquet  some of the books that the feed itself supplied
        manifest.json               written last; without it there is no session

Every file is written beside its place, synced and renamed, and every part is named by its content,
so that a session can be replaced while the old one is still whole: the new manifest is the moment.
A manifest holds no time of day and no path, so equal imports give equal stores. Knows no vendor
and does not judge what it keeps.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from mtsim.engine.columns import Schema
from mtsim.engine.events import EVENT_DTYPE, EVENT_SCHEMA
from mtsim.engine.rows import copy_rows
from mtsim.engine.sealed import read_whole, sealed, sync_folder, unsealed
from mtsim.errors import IntegrityError, MissingError, StoreError, UsageError

MANIFEST = "manifest.json"
FORMAT = "mtsim-session"
VERSION = 2
PART_ROWS = 1 << 19

SNAPSHOT_DTYPE = np.dtype(
    [
        ("after", "<i8"),
        ("row", "<i8"),
        ("lots", "<i8"),
        ("tick", "<i4"),
        ("level", "<i2"),
        ("side", "u1"),
        ("padding", "u1"),
    ]
)
"""One level of one side of a book that the feed supplied, 32 bytes: the book after the first
`after` executed events (markers not counted), `row` where it stands (`sources.base.place`)."""

SNAPSHOT_SCHEMA = Schema("session.snapshot", 1, SNAPSHOT_DTYPE)

_BESIDE = ".part"
_OURS = re.compile(r"(\d{6,}|snapshots)-[0-9a-f]{16}\.parquet(\.part)?|manifest\.json\.part")


class Key(NamedTuple):
    """What a store knows a session by."""

    venue: str
    symbol: str
    date: date

    def __str__(self) -> str:
        return f"{self.venue} {self.symbol} {self.date.isoformat()}"

    def folder(self) -> Path:
        """Its place inside the store, with names that any file system takes."""
        return Path(_safe(self.venue), _safe(self.symbol), self.date.isoformat())


class Snapshots(NamedTuple):
    """Books that the feed supplied: n of them, two sides (bid, ask), the best L levels of each.

    `after[k]` counts the session's executed events before snapshot k; 0 lots is no level.
    """

    after: np.ndarray  # int64 [n]
    row: np.ndarray  # int64 [n]
    tick: np.ndarray  # int32 [n, 2, L]
    lots: np.ndarray  # int64 [n, 2, L]


@dataclass(frozen=True)
class StoredSession:
    """One finished session: its `manifest` (`ingest` says what is in it) and the rows behind it."""

    folder: Path
    manifest: dict[str, Any]
    manifest_sha256: str

    @property
    def key(self) -> Key:
        instrument, session = self.manifest["instrument"], self.manifest["session"]
        day = date.fromisoformat(session["date"])
        return Key(instrument["venue"], instrument["symbol"], day)

    def events(self) -> Iterator[np.ndarray]:
        """EVENT_DTYPE rows, a part at a time, each verified against its digest.

        IntegrityError names the part that is not what the manifest says.
        """
        for part in self.manifest["parts"]:
            yield self._rows(part, EVENT_SCHEMA)

    def snapshots(self) -> Snapshots:
        """The feed's books that were kept, verified likewise."""
        part = self.manifest["snapshots"]
        if part is None:
            empty = np.zeros((0, 2, 0))
            none = np.zeros(0, np.int64)
            return Snapshots(none, none, empty.astype(np.int32), empty.astype(np.int64))
        rows = self._rows(part, SNAPSHOT_SCHEMA)
        levels = part["levels"]
        if levels < 1 or len(rows) % (2 * levels):
            raise IntegrityError(
                f"{self.folder / part['name']}: {len(rows)} rows are no whole number of snapshots "
                f"of {levels} levels"
            )
        shape = (-1, 2, levels)
        return Snapshots(
            rows["after"][:: 2 * levels],
            rows["row"][:: 2 * levels],
            rows["tick"].reshape(shape),
            rows["lots"].reshape(shape),
        )

    def _rows(self, part: dict[str, Any], schema: Schema) -> np.ndarray:
        path = self.folder / part["name"]
        content = read_whole(path)
        found = hashlib.sha256(content).hexdigest()
        if found != part["sha256"]:
            raise IntegrityError(
                f"{path}: SHA-256 is {found}, {self.folder / MANIFEST} says {part['sha256']}"
            )
        rows = schema.from_parquet(content, str(path))
        if len(rows) != part["rows"]:
            raise IntegrityError(f"{path}: {len(rows)} rows, its manifest says {part['rows']}")
        return rows


class Store:
    """A folder of sessions. Nothing is read before it is asked for."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    def folders(self) -> list[Path]:
        """The folders of all finished sessions, sorted: those that hold a manifest.

        MissingError where the store itself is not there.
        """
        if not self.folder.is_dir():
            raise MissingError(f"{self.folder}: no such folder", "Name the folder of a store.")
        return sorted(path.parent for path in self.folder.glob(f"*/*/*/{MANIFEST}"))

    def unfinished(self) -> list[Path]:
        """Folders of imports that are under way or were cut short; importing again clears them."""
        finished = set(self.folders())
        found = {path.parent for path in self.folder.glob("*/*/*/*") if _OURS.fullmatch(path.name)}
        return sorted(found - finished)

    def sessions(self) -> list[StoredSession]:
        """Every finished session. IntegrityError for the first manifest that is damaged."""
        return [open_session(folder) for folder in self.folders()]

    def find(self, key: Key) -> StoredSession | None:
        """The session of this key, None where none is finished."""
        folder = self.folder / key.folder()
        return open_session(folder) if (folder / MANIFEST).exists() else None

    def hash(self) -> str:
        """SHA-256 over where each session lies and its manifest, and so over every byte of it."""
        digest = hashlib.sha256()
        for folder in self.folders():
            place = folder.relative_to(self.folder).as_posix()
            content = hashlib.sha256(read_whole(folder / MANIFEST)).hexdigest()
            digest.update(f"{place} {content}\n".encode())
        return digest.hexdigest()

    def writer(self, key: Key) -> SessionWriter:
        """Begin a session, or begin one anew. StoreError while another process writes it."""
        return SessionWriter(self.folder, key)


class SessionWriter:
    """Puts one session on disk; use it in a `with`. Until `commit` returns, whoever reads the store
    sees what was there before, and leaving without it (an error, an interrupt) takes away what was
    written. After a kill the files stay, belong to nobody, and go when the session is begun again.
    """

    def __init__(self, store: Path, key: Key):
        self.folder = store / key.folder()
        self.key = key
        self.parts: list[dict[str, Any]] = []
        self._room = np.zeros(PART_ROWS, EVENT_DTYPE)
        self._filled = 0
        self._lock: int | None = None

    def __enter__(self) -> SessionWriter:
        try:
            _make_folders(self.folder)
            self._lock = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot hold a session: {error}") from error
        try:
            # On the folder itself: the system lets go of it however this process ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StoreError(
                f"{self.folder}: another process is importing this session. Wait for it to end."
            ) from None
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        self._sweep()
        if not (self.folder / MANIFEST).exists():
            # Up to the store itself, as far as nothing else is there.
            for folder in (self.folder, self.folder.parent, self.folder.parent.parent):
                with suppress(OSError):
                    folder.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, events: np.ndarray) -> None:
        """Add EVENT_DTYPE rows, whose time may not go back. They are copied."""
        while len(events):
            taken = events[: PART_ROWS - self._filled]
            copy_rows(taken, self._room[self._filled : self._filled + len(taken)])
            self._filled += len(taken)
            events = events[len(taken) :]
            if self._filled == PART_ROWS:
                self._flush()

    def commit(self, manifest: dict[str, Any], snapshots: Snapshots | None = None) -> StoredSession:
        """Finish the session: from here on it is in the store.

        `manifest` is what the rows do not say, as JSON values; the parts are added to it. What the
        store held under this key before is gone.
        """
        self._flush()
        kept = None
        if snapshots is not None and len(snapshots.after):
            rows = _snapshot_rows(snapshots)
            kept = self._write_rows("snapshots", SNAPSHOT_SCHEMA, rows)
            kept["levels"] = snapshots.tick.shape[2]
        whole = {
            **manifest,
            "format": FORMAT,
            "version": VERSION,
            "schemas": {schema.name: schema.version for schema in (EVENT_SCHEMA, SNAPSHOT_SCHEMA)},
            "parts": self.parts,
            "snapshots": kept,
        }
        self._write(MANIFEST, sealed(whole))
        return open_session(self.folder)

    def _flush(self) -> None:
        if not self._filled:
            return
        rows = self._room[: self._filled]
        part = self._write_rows(f"{len(self.parts):06}", EVENT_SCHEMA, rows)
        part["first_ns"], part["last_ns"] = int(rows["time_ns"][0]), int(rows["time_ns"][-1])
        self.parts.append(part)
        self._filled = 0

    def _write_rows(self, stem: str, schema: Schema, rows: np.ndarray) -> dict[str, Any]:
        content = _parquet(schema, rows)
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{stem}-{sha256[:16]}.parquet"
        self._write(name, content)
        return {"name": name, "rows": len(rows), "sha256": sha256}

    def _write(self, name: str, content: bytes) -> None:
        """Put a file on disk for good, whole or not at all."""
        path = self.folder / name
        beside = path.with_name(name + _BESIDE)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            raise StoreError(
                f"{path}: could not be written: {error}. Nothing of this import of {self.key} is "
                "in the store; make room and import it again."
            ) from error
        try:
            sync_folder(self.folder)
        except OSError as error:
            raise StoreError(
                f"{path}: is written, but its folder could not be synced: {error}. A power cut may "
                "undo it; import it again."
            ) from error

    def _sweep(self) -> None:
        """Take away what no manifest of this folder names."""
        named = {MANIFEST}
        if (self.folder / MANIFEST).exists():
            try:
                named |= _names(open_session(self.folder).manifest)
            except IntegrityError:
                # Damaged, or of another version: until it is replaced, nothing here is ours.
                return
        with suppress(OSError):
            # Clearing up: where it fails, the files are in nobody's way.
            for path in self.folder.iterdir():
                if path.name not in named and _OURS.fullmatch(path.name):
                    path.unlink()


def open_session(folder: Path | str) -> StoredSession:
    """The finished session in a folder. IntegrityError for a manifest that is missing or damaged;
    the parts are verified when they are read."""
    folder = Path(folder)
    path = folder / MANIFEST
    manifest = unsealed(path, "the manifest of a session")
    found = (manifest.get("format"), manifest.get("version"), manifest.get("schemas"))
    schemas = {schema.name: schema.version for schema in (EVENT_SCHEMA, SNAPSHOT_SCHEMA)}
    if found != (FORMAT, VERSION, schemas):
        raise IntegrityError(
            f"{path}: (format, version, tables) are {found}; this mtsim reads "
            f"{(FORMAT, VERSION, schemas)}. Import the session again, with --replace."
        )
    return StoredSession(folder, manifest, hashlib.sha256(sealed(manifest)).hexdigest())


def _parquet(schema: Schema, rows: np.ndarray) -> bytes:
    import pyarrow.parquet as pq

    # As `Schema.to_parquet`, but without dictionaries: of event data they take twice the time, and
    # zstd finds what repeats without them in less room.
    sink = io.BytesIO()
    pq.write_table(
        schema.to_table(rows),
        sink,
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=True,
    )
    return sink.getvalue()


def _names(manifest: dict[str, Any]) -> set[str]:
    parts = [*manifest["parts"], *([manifest["snapshots"]] if manifest["snapshots"] else [])]
    return {part["name"] for part in parts}


def _snapshot_rows(snapshots: Snapshots) -> np.ndarray:
    n, sides, levels = snapshots.tick.shape
    rows = np.zeros((n, sides, levels), SNAPSHOT_DTYPE)
    rows["after"] = snapshots.after[:, None, None]
    rows["row"] = snapshots.row[:, None, None]
    rows["side"] = np.arange(sides)[:, None]
    rows["level"] = np.arange(levels)
    rows["tick"] = snapshots.tick
    rows["lots"] = snapshots.lots
    return rows.reshape(-1)


def _safe(name: str) -> str:
    if not name:
        raise UsageError("a session needs a symbol: say --symbol")
    safe = quote(name, safe="")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def _make_folders(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
