"""The engine at work on a source: events out, the book held against the feed's, all of it counted.

Knows sources and checks; knows no file and no store.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mtsim.engine import events
from mtsim.engine.base import Outcome
from mtsim.engine.batch import Books
from mtsim.engine.events import EventType, Origin
from mtsim.engine.messages import MESSAGE_DTYPE, Reject
from mtsim.engine.units import Side
from mtsim.model import looks
from mtsim.model.check_rules import FULL_LEVELS, Executed
from mtsim.model.check_snapshots import same_levels
from mtsim.model.checks import Checks, opens_after_gap
from mtsim.model.sources.base import FEED_DTYPE, Counts, NoSession, Session, Source, Truth
from mtsim.model.store import Snapshots

FIRST_DEPTHS = 1000
DEPTH_MESSAGES = 512
"""So many snapshots at the start are compared level by level, and then those that are so many
messages apart, unless all are asked for: to compare all takes half as long again. The touch of
every snapshot is always compared."""
SNAPSHOT_EVENTS = 2048
"""One snapshot is kept for at least this many events."""

_MESSAGE_WORD = FEED_DTYPE.fields["message"][1] // 8  # pyright: ignore[reportOptionalSubscript]


@dataclass
class Execution:
    """The engine at work on one session: events out, everything else counted."""

    session: Session
    all_snapshots: bool = False
    books: Books = field(default_factory=lambda: Books(1))

    def __post_init__(self) -> None:
        self.checks = Checks(self.session)
        self._digests = {name: hashlib.sha256() for name in ("results", "fills")}
        self._executed = 0
        self._types: Counter[str] = Counter()
        self._origins: Counter[str] = Counter()
        self._rejects: Counter[str] = Counter()
        self._fills = 0
        self._traded_lots = 0
        self._gaps: list[dict[str, int]] = []
        self._opened = False
        self._first_ns: int | None = None
        self._last_ns = 0
        self._kept: list[Snapshots] = []
        self._kept_equal = 0
        self._next_kept = 0
        self._stretch = -1

    def run(self, source: Source) -> Iterator[np.ndarray]:
        """The session's events, markers among them. DataError as the source has it."""
        for batch in source.batches():
            feed = batch.feed
            if self._first_ns is None:
                if not len(feed):
                    continue
                self._first_ns = min(0, int(feed["time_ns"][0]))
                yield events.marker(self._first_ns, EventType.SESSION_START)
            yield self._execute(feed, batch.truth)
        if self._first_ns is None:
            raise NoSession(self.session.files[0], None, _nothing(source.counts))
        yield events.marker(self._last_ns, EventType.SESSION_END)

    def summary(self) -> dict[str, Any]:
        """What the manifest says of the events, once all have been taken."""
        return {
            "events": {
                "executed": self._executed,
                "by_type": dict(sorted(self._types.items())),
                "by_origin": dict(sorted(self._origins.items())),
                "rejects": dict(sorted(self._rejects.items())),
                "fills": self._fills,
                "traded_lots": self._traded_lots,
                "first_ns": self._first_ns,
                "last_ns": self._last_ns,
            },
            "gaps": self._gaps,
            "agreement": {
                **self.checks.agreement.as_json(),
                "kept": len(self._kept),
                "kept_equal": self._kept_equal,
            },
            "digests": self.digests(),
        }

    def digests(self) -> dict[str, str]:
        """SHA-256 of all results and all fills so far, and the hash of the book as it is."""
        found = {name: digest.hexdigest() for name, digest in self._digests.items()}
        return {**found, "book": self.books.hash(0)}

    def snapshots(self) -> Snapshots | None:
        """The feed's books that are kept."""
        if not self._kept:
            return None
        return Snapshots(*(np.concatenate(arrays) for arrays in zip(*self._kept, strict=True)))

    def _execute(self, feed: np.ndarray, truth: Truth | None) -> np.ndarray:
        compared = self._to_compare(truth)
        outcome, tick, lots = self._process(feed, truth, compared)
        side_lots = (self.books.total_lots(0, Side.BUY), self.books.total_lots(0, Side.SELL))
        self.checks.see(
            Executed(feed, outcome.results, outcome.fills, side_lots, truth, compared, tick, lots)
        )
        if truth is not None:
            self._keep(truth, compared, tick, lots)
        rows = events.from_messages(
            feed["time_ns"], feed["message"], outcome.results, origin=feed["origin"]
        )
        self._count(feed, rows, outcome)
        begins = np.flatnonzero(opens_after_gap(feed, self._opened))
        self._opened |= bool((feed["origin"] != Origin.OPENING).any())
        rows = self._with_gaps(rows, begins)
        self._executed += len(feed)
        if len(feed):
            self._last_ns = int(feed["time_ns"][-1])
        return rows

    def _process(
        self, feed: np.ndarray, truth: Truth | None, compared: np.ndarray
    ) -> tuple[Outcome, np.ndarray, np.ndarray]:
        """Execute a batch, stopping at the snapshots to compare for a look at the book."""
        levels = max(self.session.truth_levels, FULL_LEVELS) + 1
        stops = np.zeros(0, np.int64) if truth is None else truth.after[compared]
        outcome, tick, lots = looks.process(self.books, _messages(feed), stops, levels)
        self._digests["results"].update(outcome.results.data)
        self._digests["fills"].update(outcome.fills.data)
        return outcome, tick, lots

    def _to_compare(self, truth: Truth | None) -> np.ndarray:
        """The snapshots of a batch to look at level by level."""
        if truth is None or not len(truth.after) or self.session.truth_levels < 1:
            return np.zeros(0, np.int64)
        if self.all_snapshots:
            return np.arange(len(truth.after))
        # After those at the start, the first of every stretch of so many messages of the session.
        early = np.arange(len(truth.after)) < FIRST_DEPTHS - self.checks.agreement.snapshots
        stretch = (self._executed + truth.after) // DEPTH_MESSAGES
        first = np.concatenate([[stretch[0] != self._stretch], stretch[1:] != stretch[:-1]])
        self._stretch = int(stretch[-1])
        return np.flatnonzero(first | early)

    def _keep(self, truth: Truth, compared: np.ndarray, tick: np.ndarray, lots: np.ndarray) -> None:
        """Set one compared snapshot aside for every so many events."""
        levels = min(self.session.truth_levels, truth.tick.shape[2])
        for i, k in enumerate(compared.tolist()):
            after = self._executed + int(truth.after[k])
            if after < self._next_kept:
                continue
            one = slice(k, k + 1)
            kept = Snapshots(
                np.array([after]),
                truth.row[one].astype(np.int64),
                truth.tick[one].astype(np.int32),
                truth.lots[one].astype(np.int64),
            )
            equal = same_levels(
                kept.tick[0, :, :levels],
                kept.lots[0, :, :levels],
                tick[i, :, :levels],
                lots[i, :, :levels],
            )
            self._kept.append(kept)
            self._kept_equal += bool(equal.all())
            self._next_kept = after + SNAPSHOT_EVENTS

    def _with_gaps(self, rows: np.ndarray, begins: np.ndarray) -> np.ndarray:
        """The rows with a GAP before each that begins to put the book in place anew."""
        for at in begins.tolist():
            to_ns = int(rows["time_ns"][at])
            from_ns = int(rows["time_ns"][at - 1]) if at else self._last_ns
            self._gaps.append(
                {"after_events": self._executed + at, "from_ns": from_ns, "to_ns": to_ns}
            )
        if not len(begins):
            return rows
        marks = [events.marker(int(rows["time_ns"][at]), EventType.GAP) for at in begins]
        return np.insert(rows, begins, np.concatenate(marks))

    def _count(self, feed: np.ndarray, rows: np.ndarray, outcome: Outcome) -> None:
        for counter, names, values in (
            (self._types, EventType, rows["type"]),
            (self._origins, Origin, feed["origin"]),
            (self._rejects, Reject, rows["reject"]),
        ):
            counts = np.bincount(values, minlength=1)
            for value in np.flatnonzero(counts).tolist():
                counter[names(value).name] += int(counts[value])
        del self._rejects[Reject.NONE.name]
        self._fills += len(outcome.fills)
        self._traded_lots += int(outcome.fills["lots"].sum(dtype=np.int64))


def _nothing(counts: Counts) -> str:
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.dropped.items()))
    return f"there is not one message in this session, of {counts.read:,} records: {dropped or '-'}"


def _messages(feed: np.ndarray) -> np.ndarray:
    """The messages of FEED_DTYPE rows, one after the other in memory."""
    # As words: numpy copies rows field by field.
    words = np.ascontiguousarray(feed).view(np.int64).reshape(-1, FEED_DTYPE.itemsize // 8)
    end = _MESSAGE_WORD + MESSAGE_DTYPE.itemsize // 8
    return words[:, _MESSAGE_WORD:end].copy().view(MESSAGE_DTYPE)[:, 0]
