"""A tape on disk: a folder of checksummed Parquet segments whose manifest, written last, is the
commit.

    header.json              what the rows do not say: seeds, config, schema versions
    000000-steps.parquet     one segment: the rows since the one before (an empty table has no file)
    000000.json              written after them; from then on the segment is acknowledged
    manifest.json            written last; a valid manifest is a finished run

Every file is written beside its place, synced and renamed. Every JSON file carries its own SHA-256
and has one spelling, and a segment's file lists the digests of its tables, so no bit of any file
can change unseen.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mtsim.engine.sealed import read_whole, sealed, sync_folder, unsealed
from mtsim.engine.tape import FORMAT, SCHEMAS, VERSION, Shock, Tape
from mtsim.errors import IntegrityError, MissingError, TapeError

HEADER = "header.json"
MANIFEST = "manifest.json"
_PART = ".part"
_TABLE = re.compile(r"\d{6,}-\w+\.parquet")
_SEGMENT = re.compile(r"\d{6,}\.json")


class TapeWriter:
    """Puts a growing tape on disk. After `flush` returns, what was on the tape survives the death
    of the process.

    The folder must be new or empty. A failed write (a full disk) raises TapeError and leaves what
    was acknowledged before; `flush` may be called again once there is room.
    """

    def __init__(self, folder: Path | str, tape: Tape):
        self.folder = Path(folder)
        self.tape = tape
        self._segments: list[dict[str, Any]] = []
        self._digests: dict[str, str] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            occupied = next(self.folder.iterdir(), None)
        except OSError as error:
            raise TapeError(f"{self.folder}: cannot hold a tape: {error}") from error
        if occupied is not None:
            raise TapeError(
                f"{self.folder}: not empty (it holds {occupied.name}); a tape needs a folder "
                "of its own. Choose another one, or TapeWriter.resume an unfinished tape."
            )
        self._write_json(HEADER, tape.header())

    @classmethod
    def resume(cls, folder: Path | str) -> TapeWriter:
        """Go on with the unfinished tape in `folder`: what was acknowledged is on `writer.tape`, a
        torn tail is deleted."""
        folder = Path(folder)
        if (folder / MANIFEST).exists():
            raise TapeError(
                f"{folder}: this tape is finished ({MANIFEST} is there) and can take no more"
            )
        writer = cls.__new__(cls)
        writer.folder = folder
        writer.tape, writer._segments, writer._digests = _read_acknowledged(folder)
        for path in sorted(folder.iterdir()):
            torn = path.name.endswith(_PART) or _TABLE.fullmatch(path.name)
            if torn and path.name not in writer._digests:
                path.unlink()
        return writer

    def flush(self) -> None:
        """Write what came since the last flush as one segment; does nothing where nothing came."""
        if MANIFEST in self._digests:
            raise TapeError(f"{self.folder}: this tape is finished and can take no more")
        new = {name: self.tape.table(name)[_count(self._segments, name) :] for name in SCHEMAS}
        shocks = self.tape.shocks[_count(self._segments, "shocks") :]
        if not shocks and not any(len(rows) for rows in new.values()):
            return
        self.tape.check()
        index = len(self._segments)
        files: dict[str, str] = {}
        try:
            for name, rows in new.items():
                if len(rows):
                    path = self.folder / _table_name(index, name)
                    files[path.name] = self._write(path, SCHEMAS[name].to_parquet(rows))
            segment = {
                "after_sha256": self._digests[_segment_name(index - 1) if index else HEADER],
                "counts": {
                    **{name: len(rows) for name, rows in new.items()},
                    "shocks": len(shocks),
                },
                "sha256": files,
                "shocks": [shock.as_json() for shock in shocks],
            }
            self._write_json(_segment_name(index), segment)
        except TapeError:
            # Nothing refers to these files, and the room they take may be what was missing.
            for name in files:
                _remove(self.folder / name)
            raise
        self._digests.update(files)
        self._segments.append(segment)

    def commit(self) -> None:
        """Flush and finish: the manifest is written, and nothing can be appended any more."""
        self.flush()
        manifest = {
            **self.tape.header(),
            "counts": {name: _count(self._segments, name) for name in (*SCHEMAS, "shocks")},
            "segments": len(self._segments),
            "sha256": self._digests,
            "tape_sha256": self.tape.hash(),
        }
        self._write_json(MANIFEST, manifest)

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        self._digests[name] = self._write(self.folder / name, sealed(value))

    def _write(self, path: Path, content: bytes) -> str:
        """The SHA-256 of `content`, which is on disk under `path` when this returns."""
        part = path.with_name(path.name + _PART)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            # The file itself, too: it may have its name already and yet not be on disk for good.
            _remove(part)
            _remove(path)
            raise TapeError(
                f"{path}: could not be written: {error}. What was acknowledged before is safe "
                f"({len(self._segments)} segments); make room and flush again."
            ) from error
        return hashlib.sha256(content).hexdigest()


def save(tape: Tape, folder: Path | str) -> None:
    """Write a whole tape into a new or empty folder."""
    TapeWriter(folder, tape).commit()


def load(folder: Path | str, *, recover: bool = False) -> Tape:
    """The tape in a folder, every byte of it verified.

    MissingError where there is no folder, IntegrityError naming the file where anything is not
    what the manifest says. A run that did not finish has no manifest: with `recover`, the tape is
    what was acknowledged before it ended, and a torn tail is left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder", "Name the folder of a tape.")
    path = folder / MANIFEST
    if not path.exists():
        if recover:
            return _read_acknowledged(folder)[0]
        raise IntegrityError(
            f"{path}: missing, so this run did not finish. Load it with recover=True to get what "
            "it had acknowledged."
        )
    manifest = unsealed(path, "a file of a tape")
    for name, expected in manifest["sha256"].items():
        found = _digest(folder / name)
        if found != expected:
            raise IntegrityError(f"{folder / name}: SHA-256 is {found}, {path} says {expected}")
    tape, segments, digests = _read_acknowledged(folder)
    expected = {
        **tape.header(),
        "counts": {name: _count(segments, name) for name in (*SCHEMAS, "shocks")},
        "segments": len(segments),
        "sha256": digests,
        "tape_sha256": tape.hash(),
    }
    for key in sorted(expected.keys() | manifest.keys()):
        if manifest.get(key) != expected.get(key):
            raise IntegrityError(
                f"{path}: does not belong to the files beside it.\n"
                f"Its '{key}': {manifest.get(key)}\nTheirs: {expected.get(key)}"
            )
    return tape


def _read_acknowledged(folder: Path) -> tuple[Tape, list[dict[str, Any]], dict[str, str]]:
    """The tape of all acknowledged segments, those segments, and the digest of every file they are
    made of."""
    path = folder / HEADER
    tape = _from_header(path, unsealed(path, "a file of a tape"))
    digests, segments = {HEADER: _digest(path)}, []
    while True:
        after, path = path, folder / _segment_name(len(segments))
        if not path.exists():
            break
        segment = unsealed(path, "a file of a tape")
        if segment.get("after_sha256") != digests[after.name]:
            raise IntegrityError(f"{path}: continues another tape than {after}")
        digests[path.name] = _digest(path)
        digests.update(segment["sha256"])
        for table in SCHEMAS:
            if segment["counts"][table]:
                tape.extend(table, _read_table(folder, len(segments), table, segment))
        tape.shocks.extend(Shock(**shock) for shock in segment["shocks"])
        segments.append(segment)
    beyond = sorted(
        found.name
        for found in folder.iterdir()
        if _SEGMENT.fullmatch(found.name) and found.name not in digests
    )
    if beyond:
        raise IntegrityError(f"{path}: missing, though {beyond[0]} came after it")
    try:
        tape.check()
    except TapeError as error:
        raise IntegrityError(
            f"{folder}: intact files whose rows are not a tape: {error}"
        ) from error
    return tape, segments, digests


def _from_header(path: Path, header: dict[str, Any]) -> Tape:
    versions = {name: schema.version for name, schema in SCHEMAS.items()}
    found = (header.get("format"), header.get("version"), header.get("schemas"))
    if found != (FORMAT, VERSION, versions):
        raise IntegrityError(
            f"{path}: (format, version, tables) are {found}; this mtsim reads "
            f"{(FORMAT, VERSION, versions)}"
        )
    return Tape(
        seeds=header["seeds"],
        config=header["config"],
        books=header["books"],
        ids=header["ids"],
    )


def _read_table(folder: Path, index: int, table: str, segment: dict[str, Any]) -> np.ndarray:
    path = folder / _table_name(index, table)
    content = read_whole(path)
    found, expected = hashlib.sha256(content).hexdigest(), segment["sha256"][path.name]
    if found != expected:
        raise IntegrityError(
            f"{path}: SHA-256 is {found}, {folder / _segment_name(index)} says {expected}"
        )
    rows = SCHEMAS[table].from_parquet(content, str(path))
    if len(rows) != segment["counts"][table]:
        raise IntegrityError(
            f"{path}: {len(rows)} rows, its segment says {segment['counts'][table]}"
        )
    return rows


def _digest(path: Path) -> str:
    return hashlib.sha256(read_whole(path)).hexdigest()


def _count(segments: list[dict[str, Any]], name: str) -> int:
    return sum(segment["counts"][name] for segment in segments)


def _segment_name(index: int) -> str:
    return f"{index:06}.json"


def _table_name(index: int, table: str) -> str:
    return f"{index:06}-{table}.parquet"


def _remove(path: Path) -> None:
    with suppress(OSError):
        # Clearing up after a failed write, whose error is what the caller must see.
        path.unlink(missing_ok=True)
