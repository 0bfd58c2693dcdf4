"""A stored session held against itself: every byte, every row, and the engine's answers once more.

What is verified is that the store is what the import made of the feed: digests, page checksums and
schemas, then all events executed on an empty book, which must answer as it did. Whether the feed
was right is what the checks said at the import; their errors, kept with `--keep`, are repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from mtsim.engine.events import EVENT_DTYPE, EventType, to_messages
from mtsim.errors import IntegrityError
from mtsim.model.execution import Execution
from mtsim.model.sources.base import (
    BATCH_ROWS,
    FEED_DTYPE,
    Batch,
    Counts,
    Instrument,
    Session,
    Truth,
)
from mtsim.model.store import Store, StoredSession, open_session


@dataclass(frozen=True)
class Verified:
    """One session and what is wrong with it; nothing, if `problems` is empty."""

    folder: Path
    stored: StoredSession | None
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"session": self.folder.name, "problems": list(self.problems)}
        if self.stored is None:
            return row
        manifest = self.stored.manifest
        levels = [check["level"] for check in manifest["checks"]]
        return {
            **row,
            "session": str(self.stored.key),
            "source": manifest["source"]["kind"],
            "counts": manifest["counts"],
            "events": manifest["events"],
            "gaps": len(manifest["gaps"]),
            "checks": {level: levels.count(level) for level in ("ok", "warning", "error", "none")},
            "findings": [c for c in manifest["checks"] if c["level"] in ("warning", "error")],
            "agreement": manifest["agreement"],
        }


def verify_store(store: Store) -> Iterator[Verified]:
    """Every finished session of a store, one after the other."""
    for folder in store.folders():
        yield verify_session(folder, folder.relative_to(store.folder))


def verify_session(folder: Path, place: Path | None = None) -> Verified:
    """Read and execute one session again. `place`: where it lies in its store."""
    stored = None
    try:
        stored = open_session(folder)
        problems = list(_problems(stored, place))
    except IntegrityError as error:
        problems = [str(error)]
    return Verified(folder, stored, tuple(problems))


def _problems(stored: StoredSession, place: Path | None) -> Iterator[str]:
    if place is not None and place != stored.key.folder():
        yield f"{stored.folder}: holds {stored.key}, whose place is {stored.key.folder()}"
    replayed = _Replayed(stored)
    execution = Execution(replayed.session, all_snapshots=True)
    first = 0
    for rows in execution.run(replayed):
        expected = replayed.take(len(rows))
        if rows.tobytes() != expected.tobytes():
            same = np.array(
                [a.tobytes() == b.tobytes() for a, b in zip(rows, expected, strict=False)]
            )
            row = first + (int(np.argmin(same)) if not same.all() else len(expected))
            yield f"{stored.folder}: event {row} is not what the engine makes of it now"
            return
        first += len(rows)
    left = replayed.left()
    if left:
        yield f"{stored.folder}: {left} events follow the end of the session"
    yield from _differences(stored, execution)
    for check in stored.manifest["checks"]:
        if check["level"] == "error":
            where = f"{check['file']}:{check['row']}" if check["row"] else check["file"]
            yield (
                f"{where}: [{check['check']}] kept though it is an error: {check['offences']:,} of "
                f"{check['examined']:,} cases; {check['found']}"
            )


def _differences(stored: StoredSession, execution: Execution) -> Iterator[str]:
    found, manifest = execution.summary(), stored.manifest
    for what in ("digests", "events", "gaps"):
        if found[what] != manifest[what]:
            yield (
                f"{stored.folder}: the {what} of the events executed again are {found[what]}, the "
                f"manifest says {manifest[what]}"
            )
    # Of the snapshots compared at the import only some are kept: they must agree as they did.
    kept = {"kept": found["agreement"]["compared"], "kept_equal": found["agreement"]["equal"]}
    said = {name: manifest["agreement"][name] for name in kept}
    if kept != said:
        yield f"{stored.folder}: the book agrees with {kept} snapshots, at the import with {said}"


@dataclass
class _Replayed:
    """A stored session as a source: what the engine was asked, and the snapshots that were kept."""

    stored: StoredSession
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        manifest = self.stored.manifest
        instrument, said = manifest["instrument"], manifest["session"]
        self.session = Session(
            Instrument(
                instrument["symbol"],
                instrument["venue"],
                Decimal(instrument["tick_size"]),
                Decimal(instrument["lot_size"]),
                instrument["currency"],
            ),
            date.fromisoformat(said["date"]),
            manifest["source"]["kind"],
            tuple(file["name"] for file in manifest["source"]["files"]),
            said["start_ns"],
            said["timezone"],
            said["by_order"],
            said["truth_levels"],
            tuple(said["assumptions"]),
        )
        self._waiting = np.zeros(0, EVENT_DTYPE)

    def batches(self) -> Iterator[Batch]:
        snapshots = self.stored.snapshots()
        executed = 0
        for part in self.stored.events():
            self._waiting = np.concatenate([self._waiting, part])
            rows = part[part["type"] < EventType.SESSION_START]
            for start in range(0, len(rows), BATCH_ROWS):
                feed = _feed(rows[start : start + BATCH_ROWS])
                mine = slice(
                    *np.searchsorted(
                        snapshots.after, (executed, executed + len(feed)), side="right"
                    )
                )
                if executed == 0:
                    mine = slice(0, mine.stop)
                truth = Truth(
                    snapshots.after[mine] - executed,
                    snapshots.row[mine],
                    snapshots.tick[mine],
                    snapshots.lots[mine],
                )
                executed += len(feed)
                yield Batch(feed, truth)

    def take(self, count: int) -> np.ndarray:
        """The next stored rows that were handed out and not yet compared."""
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def left(self) -> int:
        return len(self._waiting)


def _feed(rows: np.ndarray) -> np.ndarray:
    feed = np.zeros(len(rows), FEED_DTYPE)
    feed["time_ns"] = rows["time_ns"]
    feed["message"] = to_messages(rows)
    feed["origin"] = rows["origin"]
    return feed
