"""A source into a store: its messages executed, its book compared, its feed judged, then committed.

One session at a time and one batch at a time, so memory does not grow with the feed. A manifest is
made of

    source · instrument · session   what the source says, its files by name, size and SHA-256
    importer · identity             what a second import of the same files is recognised by
    counts                          records read, used, dropped, repaired and noticed, by reason
    events · gaps                   executed events by type and origin, refusals, fills; where the
                                    book was put in place anew
    checks · agreement              every verdict, and how often the book was the feed's book
    digests                         of all results, all fills and the final book, for `verify`

and of the parts that the store adds. Knows no vendor; has no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtsim.engine.sealed import canonical_json
from mtsim.errors import DataError, IntegrityError, UsageError
from mtsim.model.check_rules import refusal
from mtsim.model.execution import Execution
from mtsim.model.sources.base import Counts, NoSession, OpenSource, Options, Session, Source
from mtsim.model.sources.files import sha256
from mtsim.model.store import Key, Store, StoredSession

IMPORTER = 2
"""Goes up when the same files would give another session."""

UNKNOWN_VENUE = "unknown"

Progress = Callable[[Session, Counts], None]


@dataclass(frozen=True)
class Imported:
    """What became of one session of an import, or of files that hold none."""

    files: tuple[str, ...]
    key: Key | None
    status: Literal["imported", "present", "passed over", "refused"]
    stored: StoredSession | None = None
    error: DataError | UsageError | None = None
    """Why it was refused or passed over."""


@dataclass(frozen=True)
class _Wishes:
    keep: bool
    replace: bool
    pass_over: bool
    all_snapshots: bool
    progress: Progress | None
    ours: set[Key]


def import_files(
    open_sessions: OpenSource,
    files: tuple[str, ...],
    options: Options,
    store: Store,
    *,
    keep: bool = False,
    replace: bool = False,
    pass_over: bool = False,
    all_snapshots: bool = False,
    progress: Progress | None = None,
    ours: set[Key] | None = None,
) -> Iterator[Imported]:
    """Import every session of these files, one after the other.

    A session that breaks a check or would take another one's place is `refused` with its error, and
    the next one follows; with `pass_over` one whose place is taken, or that holds no message, is
    `passed over`. What makes a file unreadable ends the import with the source's own error; the
    sessions before it are in the store, and importing again passes over them. Of what is imported
    the keys are added to `ours`; none of those is replaced, whatever `replace` says.
    """
    ours = set() if ours is None else ours
    wishes = _Wishes(keep, replace, pass_over, all_snapshots, progress, ours)
    digests: dict[str, str] = {}
    try:
        for source in open_sessions(files, options):
            yield _import_one(source, store, digests, wishes)
    except NoSession as error:
        if not pass_over:
            raise
        yield Imported(files, None, "passed over", error=error)


def import_session(
    source: Source,
    store: Store,
    *,
    keep: bool = False,
    replace: bool = False,
    all_snapshots: bool = False,
    progress: Progress | None = None,
) -> StoredSession:
    """Import one session; the stored one where just these files made it before.

    DataError for what the source cannot read or a check refuses (with `keep` the latter is stored
    with its findings), UsageError where another session has its place and `replace` is not said.
    """
    wishes = _Wishes(keep, replace, False, all_snapshots, progress, set())
    done = _import_one(source, store, {}, wishes)
    if done.stored is None:
        assert done.error is not None
        raise done.error
    return done.stored


def key_of(session: Session) -> Key:
    """Where a session belongs in a store; of feeds that do not say their venue it is `unknown`."""
    instrument = session.instrument
    return Key(instrument.venue or UNKNOWN_VENUE, instrument.symbol, session.date)


def _import_one(source: Source, store: Store, digests: dict[str, str], wishes: _Wishes) -> Imported:
    session, key = source.session, key_of(source.session)
    files, unplaced = session.files, "passed over" if wishes.pass_over else "refused"
    stamps = [_stamp(file) for file in session.files]
    for file in session.files:
        if file not in digests:
            digests[file] = sha256(file)
    said = _said(session, [digests[file] for file in session.files])
    before = _existing(store, key, wishes.replace)
    if before is not None and before.manifest["identity"] == said["identity"]:
        wishes.ours.add(key)
        return Imported(files, key, "present", before)
    if before is not None and (key in wishes.ours or not wishes.replace):
        error = _conflict(before, session, wishes)
        return Imported(files, key, unplaced, error=error)
    with store.writer(key) as writer:
        execution = Execution(session, all_snapshots=wishes.all_snapshots)
        try:
            for batch_events in execution.run(source):
                writer.append(batch_events)
                if wishes.progress is not None:
                    wishes.progress(session, source.counts)
        except NoSession as error:
            return Imported(files, key, unplaced, error=error)
        if stamps != [_stamp(file) for file in session.files]:
            raise DataError(session.files[0], None, "the file changed while it was read")
        verdicts = execution.checks.verdicts()
        error = None if wishes.keep else refusal(verdicts)
        if error is not None:
            return Imported(files, key, "refused", error=error)
        manifest = {
            **said,
            "counts": _counts(source.counts),
            "checks": [verdict.as_json() for verdict in verdicts],
            **execution.summary(),
        }
        stored = writer.commit(manifest, execution.snapshots())
        wishes.ours.add(key)
        return Imported(files, key, "imported", stored)


def _existing(store: Store, key: Key, replace: bool) -> StoredSession | None:
    try:
        return store.find(key)
    except IntegrityError:
        if replace:
            return None
        raise


def _conflict(before: StoredSession, session: Session, wishes: _Wishes) -> UsageError:
    there = ", ".join(file["name"] for file in before.manifest["source"]["files"])
    here = ", ".join(Path(file).name for file in session.files)
    taken = f"{before.key} is in the store already, imported from {there} as "
    taken += before.manifest["source"]["kind"]
    if wishes.pass_over:
        return UsageError(
            f"{taken}: to have this one, name it, with --replace, or with --venue to have both"
        )
    way_out = "A store only grows: use another --store or --venue"
    if before.key in wishes.ours:
        way_out += ", or give the files of one of them only"
    else:
        way_out += ", or --replace to put this session in its place"
    return UsageError(
        f"{before.folder}: {taken}; these files are {here} as {session.source}. {way_out}"
    )


def _stamp(file: str) -> tuple[int, int]:
    status = Path(file).stat()
    return status.st_size, status.st_mtime_ns


def _said(session: Session, digests: list[str]) -> dict[str, Any]:
    """What the source says of itself, and the identity of what is imported."""
    instrument = session.instrument
    files = [
        {"name": Path(file).name, "bytes": Path(file).stat().st_size, "sha256": digest}
        for file, digest in zip(session.files, digests, strict=True)
    ]
    said = {
        "importer": IMPORTER,
        "source": {"kind": session.source, "files": files},
        "instrument": {
            "symbol": instrument.symbol,
            "venue": instrument.venue or UNKNOWN_VENUE,
            "tick_size": str(instrument.tick_size),
            "lot_size": str(instrument.lot_size),
            "currency": instrument.currency,
        },
        "session": {
            "date": session.date.isoformat(),
            "start_ns": session.start_ns,
            "timezone": session.timezone,
            "by_order": session.by_order,
            "truth_levels": session.truth_levels,
            "assumptions": list(session.assumptions),
        },
    }
    # A file is what is in it, whatever it is called.
    contents = {**said, "source": {"kind": session.source, "files": digests}}
    return {**said, "identity": hashlib.sha256(canonical_json(contents)).hexdigest()}


def _counts(counts: Counts) -> dict[str, Any]:
    assert counts.read == counts.used + counts.dropped.total(), "every record is used or dropped"
    return {
        "read": counts.read,
        "used": counts.used,
        "dropped": {reason: n for reason, n in sorted(counts.dropped.items()) if n},
        "repaired": {reason: n for reason, n in sorted(counts.repaired.items()) if n},
        "noticed": {reason: n for reason, n in sorted(counts.noticed.items()) if n},
    }
