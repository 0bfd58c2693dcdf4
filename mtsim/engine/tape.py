"""The append-only record of a run: every message with its time and book, what became of it, seeds
and config.

A tape is enough to have the run again without what made it: `replay` executes its messages on
empty books and finds the same results, fills and books, with integers only. A book that does not
begin empty is opened by messages, so that they are on the tape, too. Several books that step
together share one tape; each book's rows are a `Stream` of their own, and nothing about a stream
depends on how the books were interleaved. Files are `tape_files`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mtsim.engine import events
from mtsim.engine.base import OrderBook, Outcome
from mtsim.engine.columns import Schema
from mtsim.engine.events import EventType
from mtsim.engine.messages import FILL_DTYPE, MESSAGE_DTYPE, RESULT_DTYPE
from mtsim.engine.rows import Rows, copy_rows, without_padding
from mtsim.engine.sealed import canonical_json
from mtsim.errors import IntegrityError, TapeError

if TYPE_CHECKING:
    from mtsim.engine.batch import Step

STEP_DTYPE = np.dtype(
    [("time_ns", "<i8"), ("message", MESSAGE_DTYPE), ("book", "<i4"), ("padding", "<u4")]
)
"""One message as it was sent, with the book it went to and when, 48 bytes."""

MARK_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("before", "<i8"),
        ("book", "<i4"),
        ("type", "u1"),
        ("padding", "u1", (3,)),
    ]
)
"""A session marker (an EventType); `before` is the position of the step that it precedes."""

SCHEMAS = {
    "steps": Schema("tape.steps", 1, STEP_DTYPE),
    "results": Schema("tape.results", 1, RESULT_DTYPE),
    "fills": Schema("tape.fills", 1, FILL_DTYPE),
    "marks": Schema("tape.marks", 1, MARK_DTYPE),
}
"""The tables of a tape. Row k of `results` answers row k of `steps`; `fills` follow in the order
of the steps."""

FORMAT = "mtsim-tape"
VERSION = 1

# Replaying in runs bounds what a book must hold at once; no answer depends on where runs end.
_REPLAY_MESSAGES = 65_536


@dataclass(frozen=True)
class Shock:
    """One intervention as it fired; `before` is the position of the step that it precedes."""

    time_ns: int
    before: int
    book: int
    name: str
    parameters: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "time_ns": self.time_ns,
            "before": self.before,
            "book": self.book,
            "name": self.name,
            "parameters": dict(self.parameters),
        }


class Stream(NamedTuple):
    """All that one book was asked and answered. `before` of marks and shocks counts this book's
    messages."""

    time_ns: np.ndarray
    messages: np.ndarray
    results: np.ndarray
    fills: np.ndarray
    marks: np.ndarray
    shocks: list[Shock]

    def digest(self) -> bytes:
        """SHA-256 over the rows, padding zero; which number the book has does not count."""
        marks = self.marks.copy()
        marks["book"] = 0
        digest = hashlib.sha256()
        for rows in (self.time_ns, self.messages, self.results, self.fills, marks):
            digest.update(len(rows).to_bytes(8, "little"))
            digest.update(without_padding(rows).tobytes())
        digest.update(canonical_json([{**shock.as_json(), "book": 0} for shock in self.shocks]))
        return digest.digest()


class Tape:
    """The record of `books` books. `seeds` and `config` say what made the run and must be JSON
    values.

    `ids` is "external" or "handle": whether messages bring their order ids or the books issue them.
    """

    def __init__(
        self,
        *,
        seeds: Mapping[str, int],
        config: Mapping[str, Any],
        books: int = 1,
        ids: str = "external",
    ):
        if books < 1:
            raise TapeError(f"a tape of {books} books: at least one is needed")
        self.books = books
        self.ids = ids
        # Through JSON and back: the tape owns its copy, and what is saved is what was hashed.
        self.seeds: dict[str, int] = _plain("seeds", seeds)
        self.config: dict[str, Any] = _plain("config", config)
        self._rows = {name: Rows(schema.dtype) for name, schema in SCHEMAS.items()}
        self.shocks: list[Shock] = []
        # How far `check` came, and each book's time and messages there.
        self._checked = dict.fromkeys(SCHEMAS, 0)
        self._last_ns = np.full(books, np.iinfo(np.int64).min)
        self._messages = np.zeros(books, np.int64)

    def record(
        self,
        time_ns: np.ndarray | int,
        messages: np.ndarray,
        outcome: Outcome,
        book: np.ndarray | int = 0,
    ) -> None:
        """Append executed messages with their outcome; `time_ns` and `book` are one value each or
        one a message.

        The rows are copied. Rows of several books may be mixed in any way that keeps each book's
        order; the fills follow the messages they belong to.
        """
        count = len(messages)
        for what, rows, dtype in (
            ("messages", messages, MESSAGE_DTYPE),
            ("results", outcome.results, RESULT_DTYPE),
            ("fills", outcome.fills, FILL_DTYPE),
        ):
            if rows.dtype != dtype:
                raise TapeError(f"{what} are rows of {dtype}, got {rows.dtype}")
        time_ns, book = _whole("time_ns", time_ns, count), _whole("book", book, count)
        filled = int(outcome.results["n_fills"].sum())
        if len(outcome.results) != count or len(outcome.fills) != filled:
            raise TapeError(
                f"{count} messages with {len(outcome.results)} results and {len(outcome.fills)} "
                f"fills, of which the results announce {filled}: a tape needs one result a message "
                "and every fill"
            )
        steps = self._rows["steps"].extend(count)
        steps["time_ns"] = time_ns
        steps["book"] = book
        copy_rows(messages, steps["message"])
        copy_rows(outcome.results, self._rows["results"].extend(count))
        copy_rows(outcome.fills, self._rows["fills"].extend(filled))

    def record_step(
        self,
        time_ns: np.ndarray | int,
        messages: np.ndarray,
        step: Step,
        counts: np.ndarray | None = None,
        books: np.ndarray | None = None,
    ) -> None:
        """Append one step of `batch.Books`: its arguments and its answer.

        `time_ns` is one value or broadcasts to the shape of `messages`, [n, k].
        """
        n, k = messages.shape
        taken = np.ones(n * k, bool)
        if counts is not None:
            taken = (np.arange(k) < counts[:, None]).ravel()
        self.record(
            np.broadcast_to(time_ns, (n, k)).ravel()[taken],
            messages.ravel()[taken],
            Outcome(step.results.ravel()[taken], step.fills),
            np.repeat(np.arange(n) if books is None else books, k)[taken],
        )

    def mark(self, time_ns: int, type: EventType, book: int = 0) -> None:
        """Append a session marker (SESSION_START and later)."""
        if type < EventType.SESSION_START:
            raise TapeError(
                f"{type.name} is not a marker: it belongs to a message, which `record` takes"
            )
        added = self._rows["marks"].extend(1)
        added["time_ns"], added["before"], added["book"], added["type"] = (
            time_ns,
            len(self),
            book,
            type,
        )

    def shock(self, time_ns: int, name: str, parameters: Mapping[str, Any], book: int = 0) -> None:
        """Append an intervention; what it does to a book is recorded by the messages that do it."""
        self.shocks.append(
            Shock(int(time_ns), len(self), int(book), name, _plain(f"shock '{name}'", parameters))
        )

    def extend(self, name: str, rows: np.ndarray) -> None:
        """Append stored rows to one table; `check` says whether the tables still belong
        together."""
        self._rows[name].extend(len(rows))[...] = rows

    def __len__(self) -> int:
        """The messages on the tape, of all books."""
        return len(self._rows["steps"])

    def table(self, name: str) -> np.ndarray:
        """All rows of "steps", "results", "fills" or "marks" in the order in which they came.
        Read-only view."""
        return self._rows[name].all()

    def stream(self, book: int = 0) -> Stream:
        """One book's rows, in its order. O(messages on the tape); `streams` gives all books in one
        pass."""
        if not 0 <= book < self.books:
            raise TapeError(f"book {book}: this tape has books 0 to {self.books - 1}")
        books = self.table("steps")["book"]
        mine = np.flatnonzero(books == book)
        return self._stream(
            book, mine, np.flatnonzero(np.repeat(books == book, self.table("results")["n_fills"]))
        )

    def streams(self) -> Iterator[Stream]:
        """Every book's stream, book 0 first."""
        books = self.table("steps")["book"]
        books_of_fills = np.repeat(books, self.table("results")["n_fills"])
        order, fill_order = (
            np.argsort(books, kind="stable"),
            np.argsort(books_of_fills, kind="stable"),
        )
        bounds = np.searchsorted(books[order], np.arange(self.books + 1))
        fill_bounds = np.searchsorted(books_of_fills[fill_order], np.arange(self.books + 1))
        for book in range(self.books):
            mine = order[bounds[book] : bounds[book + 1]]
            yield self._stream(book, mine, fill_order[fill_bounds[book] : fill_bounds[book + 1]])

    def events(self, book: int = 0) -> np.ndarray:
        """One book's EVENT_DTYPE rows, session markers among them at their places."""
        stream = self.stream(book)
        rows = events.from_messages(stream.time_ns, stream.messages, stream.results, book)
        markers = [
            events.marker(int(m["time_ns"]), EventType(m["type"]), book) for m in stream.marks
        ]
        return np.insert(rows, stream.marks["before"], np.concatenate(markers)) if markers else rows

    def header(self) -> dict[str, Any]:
        """What the rows do not say, as JSON values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "schemas": {name: schema.version for name, schema in SCHEMAS.items()},
            "books": self.books,
            "ids": self.ids,
            "seeds": self.seeds,
            "config": self.config,
        }

    def hash(self) -> str:
        """SHA-256 of the whole tape: header and every book's stream, however it was segmented,
        stored or interleaved."""
        digest = hashlib.sha256(canonical_json(self.header()))
        for stream in self.streams():
            digest.update(stream.digest())
        return digest.hexdigest()

    def stream_hash(self, book: int = 0) -> str:
        """SHA-256 of one book's stream alone: a book by itself and the same book among others have
        the same."""
        return self.stream(book).digest().hex()

    def _stream(self, book: int, mine: np.ndarray, my_fills: np.ndarray) -> Stream:
        steps = self.table("steps")[mine]
        marks = self.table("marks")
        marks = marks[marks["book"] == book]
        marks["before"] = np.searchsorted(mine, marks["before"])
        return Stream(
            time_ns=steps["time_ns"],
            messages=steps["message"],
            results=self.table("results")[mine],
            fills=self.table("fills")[my_fills],
            marks=marks,
            shocks=[
                Shock(s.time_ns, int(np.searchsorted(mine, s.before)), book, s.name, s.parameters)
                for s in self.shocks
                if s.book == book
            ],
        )

    def check(self) -> None:
        """Raise TapeError when the rows contradict each other: a book that is not there, time that
        goes back, fills that belong to no message. Rows found right are not looked at again."""
        marks = self.table("marks")[self._checked["marks"] :]
        _require_books("marks", self._checked["marks"], marks["book"], self.books)
        seen, seen_fills = self._checked["steps"], self._checked["fills"]
        steps, results = self.table("steps")[seen:], self.table("results")[seen:]
        fills = self.table("fills")[seen_fills:]
        announced = int(results["n_fills"].sum())
        if len(steps) != len(results) or announced != len(fills):
            raise TapeError(
                f"{len(steps)} steps, {len(results)} results and {len(fills)} fills do not belong "
                f"together: the results announce {announced} fills"
            )
        _require_books("steps", seen, steps["book"], self.books)

        order = np.argsort(steps["book"], kind="stable")
        book, time_ns = steps["book"][order], steps["time_ns"][order]
        bounds = np.searchsorted(book, np.arange(self.books + 1))
        opens = np.zeros(len(book), bool)
        opens[bounds[:-1][bounds[:-1] < bounds[1:]]] = True
        back = time_ns < np.where(opens, self._last_ns[book], np.roll(time_ns, 1))
        if back.any():
            row = int(order[back][0])
            raise TapeError(
                f"steps[{seen + row}]: time goes back to {steps['time_ns'][row]} ns "
                f"in book {steps['book'][row]}"
            )
        position = np.empty(len(steps), np.int64)
        position[order] = self._messages[book] + np.arange(len(steps)) - bounds[book]
        wrong = fills["message"] != np.repeat(position, results["n_fills"])
        if wrong.any():
            row = int(np.argmax(wrong))
            raise TapeError(
                f"fills[{seen_fills + row}]: belongs to message {fills['message'][row]} of its "
                "book, not to its step"
            )

        self._messages += np.diff(bounds)
        np.maximum.at(self._last_ns, book, time_ns)
        self._checked = {name: len(rows) for name, rows in self._rows.items()}


def replay(tape: Tape, make_book: Callable[[], OrderBook] | None = None) -> list[OrderBook]:
    """The books of a tape, had again by executing its messages on empty ones.

    `make_book` makes them (the Numba book, when left out). IntegrityError names the first row
    where what a book answers is not what the tape says.
    """
    make_book = make_book or _numba_books(tape.ids)
    books = []
    for index, stream in enumerate(tape.streams()):
        book = make_book()
        first_fill = 0
        for start in range(0, len(stream.messages), _REPLAY_MESSAGES):
            run = slice(start, start + _REPLAY_MESSAGES)
            outcome = book.process(np.ascontiguousarray(stream.messages[run]))
            _require_equal(f"book {index}: result", start, stream.results[run], outcome.results)
            fills = stream.fills[first_fill : first_fill + len(outcome.fills)]
            _require_equal(f"book {index}: fill", first_fill, fills, outcome.fills)
            first_fill += len(outcome.fills)
        books.append(book)
    return books


def _numba_books(ids: str) -> Callable[[], OrderBook]:
    # Here, so that a tape can be read and judged without waiting for a compiler.
    from mtsim.engine.book import Book

    return lambda: Book(ids=ids)


def _plain(what: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(canonical_json(value))
    except (TypeError, ValueError) as error:
        raise TapeError(
            f"{what}: a tape holds JSON values only (no NaN, no objects): {error}"
        ) from error


def _whole(name: str, value: np.ndarray | int, count: int) -> np.ndarray:
    """The value as integers, one or `count` of them: a float would lose nanoseconds unseen."""
    values = np.asarray(value)
    if values.dtype.kind not in "iu" or values.shape not in ((), (count,)):
        raise TapeError(
            f"{name}: one integer or {count} of them are needed, got {values.dtype} "
            f"of shape {values.shape}"
        )
    return values


def _require_books(table: str, first: int, found: np.ndarray, books: int) -> None:
    outside = (found < 0) | (found >= books)
    if outside.any():
        row = int(np.argmax(outside))
        raise TapeError(
            f"{table}[{first + row}]: book {found[row]}, this tape has books 0 to {books - 1}"
        )


def _require_equal(what: str, first: int, on_tape: np.ndarray, found: np.ndarray) -> None:
    if len(on_tape) != len(found):
        raise IntegrityError(
            f"{what} {first + len(on_tape)}: the tape ends here, the replay goes on"
        )
    on_tape, found = without_padding(on_tape), without_padding(found)
    differs = on_tape != found
    if differs.any():
        row = int(np.argmax(differs))
        raise IntegrityError(
            f"{what} {first + row}: the replay differs from the tape.\n"
            f"Fields: {', '.join(on_tape.dtype.names or ())}\n"
            f"Tape:   {on_tape[row]}\nReplay: {found[row]}"
        )
