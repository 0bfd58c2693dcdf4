"""A store into a data set: observe, split, fit on what is trained on, encode everything, commit.

Every session is executed once, its actions and features put aside (`recording`); when the last
training action is known the tokenizer is fitted to them alone, and all is encoded. One batch is in
memory at a time, whatever the size of the store. The manifest says

    schema · settings · split      what was asked, with its defaults
    identity                       what a second preparation of the same is recognised by
    sessions · left_out            what each session gave, by part, and what it did not give, and
                                   why; the days that were purged
    parts                          actions, positions and edited tokens of each part
    tokenizer_sha256 · features · positions · token_dtype

and has no time of day and no path in it: equal inputs give equal bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtsim.engine.sealed import canonical_json
from mtsim.errors import UsageError
from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import (
    FEATURES,
    MANIFEST,
    SEGMENT_SCHEMA,
    SEGMENTS,
    TOKENIZER,
    TOKENS,
    DatasetWriter,
)
from mtsim.model.features import FEATURES as FEATURE_NAMES
from mtsim.model.liquidity import Liquidity
from mtsim.model.past import Settings
from mtsim.model.recording import Recording, record
from mtsim.model.schemas import Schema
from mtsim.model.sequences import Sequences
from mtsim.model.split import Part, Piece, Split
from mtsim.model.store import Key, Store, StoredSession
from mtsim.model.tokenizer import Tokenizer, Training

PREPARER = 1
"""Goes up when the same store would give another data set."""

_KEYS_SHOWN = 10

Progress = Callable[[str, int, int], None]
"""Told what is done, and how many events of how many have been seen."""


@dataclass(frozen=True)
class Wishes:
    """What is asked of a data set, besides its store."""

    schema: Schema
    split: Split = field(default_factory=Split)
    sessions: str | None = None
    """A pattern of session names, as in `NASDAQ AMZN 2012-*`, or of symbols; None: all."""
    settings: Settings = field(default_factory=Settings)
    quiet_ns: int = 0


class Prepared(NamedTuple):
    dataset: Dataset
    fresh: bool
    """False: just this data set was there already."""


class _Planned(NamedTuple):
    session: StoredSession
    pieces: tuple[Piece, ...]
    tier: int


@dataclass
class _Encoding:
    """What became of the actions of one session."""

    dropped: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    tokens: Counter[Part] = field(default_factory=Counter)
    edited: Counter[Part] = field(default_factory=Counter)


def prepare(
    store: Store, out: Path | str, wishes: Wishes, progress: Progress | None = None
) -> Prepared:
    """Prepare a data set in the folder `out`, or find it there.

    UsageError where `out` holds anything else, where the split or the bins do not fit the store;
    StoreError where the disk is full; IntegrityError for a damaged session. Nothing is left behind.
    """
    out = Path(out)
    planned, left_out = _plan(store, wishes)
    said = _said(planned, left_out, wishes)
    if (out / MANIFEST).exists():
        there = Dataset.open(out)
        if there.manifest["identity"] == said["identity"]:
            return Prepared(there, False)
        raise UsageError(
            f"{out} holds another data set: of another store, split, schema or version. Name "
            "another --out, or take it away"
        )
    told = _Told(progress, planned)
    with DatasetWriter(out) as writer:
        recordings = [
            record(
                plan.session,
                plan.pieces,
                writer,
                number,
                _settings_of(plan, wishes),
                quiet_ns=wishes.quiet_ns,
                purge_events=wishes.split.rules.purge_events,
                progress=told.about(f"observing {plan.session.key}", number),
            )
            for number, plan in enumerate(planned)
        ]
        _check_parts(recordings)
        tokenizer = _fitted(wishes.schema, recordings, told)
        sequences, encodings = _encode(tokenizer, recordings, writer, told)
        writer.write(SEGMENTS, SEGMENT_SCHEMA.to_parquet(sequences.segments()))
        writer.write(TOKENIZER, tokenizer.to_json().encode())
        positions = _positions(sequences, len(planned))
        writer.commit(
            {
                **said,
                "tokenizer_sha256": tokenizer.sha256,
                "vocabulary": tokenizer.vocabulary,
                "token_dtype": tokenizer.dtype.name,
                "positions": sequences.positions,
                "sessions": [
                    {**asked, **_gave(recording, encoding, positions[number])}
                    for number, (asked, recording, encoding) in enumerate(
                        zip(said["sessions"], recordings, encodings, strict=True)
                    )
                ],
                "parts": _totals(planned, encodings, positions),
            },
            store.folder,
        )
    return Prepared(Dataset.open(out), True)


# What is to be done -------------------------------------------------------------------------------


def _plan(store: Store, wishes: Wishes) -> tuple[list[_Planned], list[Key]]:
    sessions = store.sessions()
    chosen = [session for session in sessions if _matches(session.key, wishes.sessions)]
    if not chosen:
        names = [str(session.key) for session in sessions]
        more = f" and {len(names) - _KEYS_SHOWN} more" if len(names) > _KEYS_SHOWN else ""
        holds = ", ".join(names[:_KEYS_SHOWN]) + more if names else "no sessions"
        asked = "" if wishes.sessions is None else f" that {wishes.sessions!r} names"
        raise UsageError(f"{store.folder}: there is no session{asked}; it holds {holds}")
    assigned = wishes.split.assign(session.key for session in chosen)
    liquidity = Liquidity(sessions)
    planned, left_out = [], []
    for session in sorted(chosen, key=lambda session: session.key):
        pieces = assigned[session.key]
        if all(piece.part == Part.NONE for piece in pieces):
            left_out.append(session.key)
        else:
            planned.append(_Planned(session, pieces, liquidity.tier_of(session.key)))
    return planned, left_out


def _matches(key: Key, pattern: str | None) -> bool:
    return pattern is None or any(fnmatchcase(name, pattern) for name in (str(key), key.symbol))


def _said(planned: list[_Planned], left_out: list[Key], wishes: Wishes) -> dict[str, Any]:
    settings = wishes.settings
    said = {
        "preparer": PREPARER,
        "schema": {
            "name": wishes.schema.name,
            "bins": {line: asdict(binning) for line, binning in wishes.schema.lines.items()},
        },
        "split": wishes.split.as_json(),
        "settings": {
            "volatility_half_life_ns": settings.volatility_half_life_ns,
            "flow_half_life_ns": settings.flow_half_life_ns,
            "vwap_half_life_ns": settings.vwap_half_life_ns,
            "quiet_ns": wishes.quiet_ns,
        },
        "features": list(FEATURE_NAMES),
        "sessions": [
            {
                "session": str(session.key),
                "venue": session.key.venue,
                "symbol": session.key.symbol,
                "date": session.key.date.isoformat(),
                "manifest_sha256": session.manifest_sha256,
                "liquidity_tier": tier,
                "pieces": [[piece.until, piece.part.name.lower()] for piece in pieces],
            }
            for session, pieces, tier in planned
        ],
        "left_out": [str(key) for key in left_out],
    }
    return {**said, "identity": hashlib.sha256(canonical_json(said)).hexdigest()}


def _settings_of(plan: _Planned, wishes: Wishes) -> Settings:
    return replace(wishes.settings, tier=plan.tier)


def _check_parts(recordings: list[Recording]) -> None:
    if not any(Part.TRAIN in recording.counts() for recording in recordings):
        raise UsageError(
            "there is not one action to train on: the sessions of the training days are empty, or "
            "too short to be divided. Say a smaller purge_events in the split"
        )


# Doing it -----------------------------------------------------------------------------------------


def _fitted(schema: Schema, recordings: list[Recording], told: _Told) -> Tokenizer:
    seen = hashlib.sha256()
    for recording in recordings:
        for actions in recording.training():
            seen.update(np.ascontiguousarray(actions).view(np.uint8).data)

    def sessions() -> Iterator[Training]:
        for number, recording in enumerate(recordings):
            told.about("fitting the tokenizer", number)(recording.n_actions)
            yield Training(market_of(recording.session.key), recording.training())

    return Tokenizer.fit(schema, sessions, saw=seen.hexdigest())


def _encode(
    tokenizer: Tokenizer, recordings: list[Recording], writer: DatasetWriter, told: _Told
) -> tuple[Sequences, list[_Encoding]]:
    tokens, features = writer.grow(TOKENS), writer.grow(FEATURES)
    sequences = Sequences(tokens, features, tokenizer.dtype, len(FEATURE_NAMES))
    encodings = []
    for number, recording in enumerate(recordings):
        show = told.about(f"encoding {recording.session.key}", number)
        encodings.append(_encode_one(tokenizer, recording, number, sequences, show))
        writer.drop(recording.actions)
        writer.drop(recording.features)
    writer.keep(tokens)
    writer.keep(features)
    return sequences, encodings


def _encode_one(
    tokenizer: Tokenizer,
    recording: Recording,
    number: int,
    sequences: Sequences,
    show: Callable[[int], None],
) -> _Encoding:
    encoding, past, done = _Encoding(), tokenizer.new_past(), 0
    for chunk in recording.chunks():
        encoded = tokenizer.encode(chunk.actions, past)
        kept = encoded.kept
        whole = bool(kept.all())
        parts = chunk.parts if whole else chunk.parts[kept]
        features = chunk.features if whole else chunk.features[kept]
        sequences.add(number, encoded.tokens, features, parts)
        if chunk.closing is not None:
            sequences.end(number, chunk.closing)
        encoding.dropped.update(encoded.dropped)
        encoding.clipped.update(encoded.clipped)
        encoding.tokens += _by_part(parts)
        encoding.edited += _by_part(parts[encoded.edited])
        done += len(chunk.actions)
        show(done)
    return encoding


def _by_part(parts: np.ndarray) -> Counter[Part]:
    counts = np.bincount(parts, minlength=len(Part)).tolist()
    return Counter({part: counts[part] for part in Part if counts[part]})


def market_of(key: Key) -> str:
    """What the tokenizer calls the market of a session."""
    return f"{key.venue} {key.symbol}"


# Saying what was done -----------------------------------------------------------------------------


def _positions(sequences: Sequences, n_sessions: int) -> np.ndarray:
    """Positions of each session and part, int64 [sessions, parts]."""
    positions = np.zeros((n_sessions, len(Part)), np.int64)
    segments = sequences.segments()
    lengths = segments["end"] - segments["first"]
    np.add.at(positions, (segments["session"], segments["part"]), lengths)
    return positions


def _gave(recording: Recording, encoding: _Encoding, positions: np.ndarray) -> dict[str, Any]:
    return {
        "actions": recording.n_actions,
        "stretches": len(recording.closed),
        "too_short": recording.is_short,
        "silent": dict(sorted(recording.silent.items())),
        "dropped": {reason: n for reason, n in sorted(encoding.dropped.items()) if n},
        "clipped": dict(sorted(encoding.clipped.items())),
        "parts": {
            part.name.lower(): {
                "actions": encoding.tokens[part],
                "edited": encoding.edited[part],
                "positions": int(positions[part]),
            }
            for part in Part
            if encoding.tokens[part]
        },
    }


def _totals(
    planned: list[_Planned], encodings: list[_Encoding], positions: np.ndarray
) -> dict[str, Any]:
    totals = {}
    for part in Part:
        mine = [k for k, encoding in enumerate(encodings) if encoding.tokens[part]]
        actions = sum(encodings[k].tokens[part] for k in mine)
        if not actions:
            continue
        edited = sum(encodings[k].edited[part] for k in mine)
        totals[part.name.lower()] = {
            "sessions": len(mine),
            "symbols": len({planned[k].session.key[:2] for k in mine}),
            "actions": actions,
            "positions": int(positions[:, part].sum()),
            "edited": edited,
            "edit_rate": round(edited / actions, 9),
        }
    return totals


class _Told:
    """Progress over all sessions, by the events that their manifests promise."""

    def __init__(self, progress: Progress | None, planned: list[_Planned]):
        self._progress = progress
        sizes = [plan.session.manifest["events"]["executed"] for plan in planned]
        self._before = [sum(sizes[:k]) for k in range(len(sizes))]
        self._total = sum(sizes)

    def about(self, what: str, number: int) -> Callable[[int], None]:
        def tell(done: int) -> None:
            if self._progress is not None:
                self._progress(what, self._before[number] + done, self._total)

        return tell
