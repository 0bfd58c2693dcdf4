"""B books that step together, each independent of the others. Knows arrays only.

`book.Book` is one book for people; it stands on this.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mtsim.engine import compiled, layout
from mtsim.engine.arena import Arena
from mtsim.engine.base import Outcome, book_hash
from mtsim.engine.invariants import check_block
from mtsim.engine.layout import (
    AT_ROW,
    AT_SPAN,
    BEST,
    DONE,
    FILL_ROOM,
    FILL_START,
    FILL_WORDS,
    MAX_WINDOW,
    MESSAGES,
    MIN_WINDOW,
    N_FILLS,
    NEED_FILLS,
    NEED_PARKED,
    NEED_SLOTS,
    NEED_UNCROSS,
    NEED_WINDOW,
    PHASE,
    SPAN_BASE,
    SPAN_COLUMNS,
    SPAN_COUNT,
    SPAN_FILLS,
    SPAN_ROW,
    STATUS,
    Sizes,
)
from mtsim.engine.messages import FILL_DTYPE, MESSAGE_DTYPE, RESTING_DTYPE, RESULT_DTYPE, Phase
from mtsim.engine.snapshot import Snapshot
from mtsim.engine.units import MAX_TICK, MIN_TICK, Side
from mtsim.errors import EngineError, EngineInputError

# A slot shares an int32 word with a side.
MAX_SLOTS = 2**30

# A book's window is this wide at first; the windows of all books together may widen themselves to
# so many ticks, of 32 bytes each.
FIRST_WINDOW = 1024
WINDOW_TICKS = 2**23

# The books that a single book's messages are for.
_FIRST = slice(0, 1)


class Step(NamedTuple):
    """The answers to one step of n books with up to k messages each. Valid until the next step."""

    results: np.ndarray
    """RESULT_DTYPE [n, k]; zeros past a book's count."""
    fills: np.ndarray
    """FILL_DTYPE, book after book, each in the order of its messages."""
    fill_starts: np.ndarray
    """int64 [n + 1]: the fills of book i are `fills[fill_starts[i] : fill_starts[i + 1]]`."""


class Books:
    """`n_books` independent order books in one arena.

    `ids`: "external" takes the order ids of the messages, "handle" issues them. `window` fixes how
    many ticks of each side lie in the fast ladder, a power of two from 64 to 65,536; without it a
    book begins with 1,024 and widens it where its prices roam. Orders further from the best price
    wait outside, at some cost in speed and none in results. `slots` is for how many orders
    (icebergs take two) a book has room at first.
    """

    def __init__(
        self,
        n_books: int,
        *,
        ids: str = "external",
        window: int | None = None,
        slots: int = 255,
    ):
        if n_books < 1:
            raise EngineInputError(f"Books: n_books must be at least 1, got {n_books}.")
        if ids not in ("external", "handle"):
            raise EngineInputError(f"Books: ids must be 'external' or 'handle', got {ids!r}.")
        widest = window or min(MAX_WINDOW, max(FIRST_WINDOW, WINDOW_TICKS // n_books))
        window = window or FIRST_WINDOW
        if not MIN_WINDOW <= window <= MAX_WINDOW or window & (window - 1):
            raise EngineInputError(
                f"Books: window must be a power of two from {MIN_WINDOW} to "
                f"{MAX_WINDOW}, got {window}."
            )
        if not 1 <= slots < MAX_SLOTS:
            raise EngineInputError(f"Books: slots must be from 1 to {MAX_SLOTS - 1}, got {slots}.")
        sizes = Sizes(window, slots=1 << slots.bit_length(), parked=min(slots, 64))
        self._arena = Arena(
            n_books, layout.new_header(sizes, widest=widest, handles=ids == "handle")
        )
        self._make_buffers()

    def __len__(self) -> int:
        return len(self._arena.bases)

    def step(
        self,
        messages: np.ndarray,
        counts: np.ndarray | None = None,
        books: np.ndarray | None = None,
        threads: int = 1,
    ) -> Step:
        """Execute `messages[i, : counts[i]]` on book `books[i]`; by default all, on every book.

        `messages` is MESSAGE_DTYPE [n, k]; `books` names n different books. They are shared out
        among `threads`, and the answers do not depend on how many there are. Anything that does not
        fit raises EngineInputError and changes nothing.
        """
        if threads < 1:
            raise EngineInputError(f"Books.step: threads must be at least 1, got {threads}.")
        chosen = slice(None) if books is None else self._checked_books(books)
        bases = self._arena.bases[chosen]
        n = len(bases)
        words = message_words(messages, "Books.step", ndim=2)
        if len(messages) != n:
            raise EngineInputError(
                f"Books.step: messages must have a row for each of {n} books, got {len(messages)}."
            )
        k = messages.shape[1]
        spans = self._spans[:n]
        spans[:, SPAN_BASE] = bases
        spans[:, SPAN_ROW] = self._numbers[:n] * k
        spans[:, SPAN_COUNT] = k if counts is None else _checked_counts(counts, n, k)
        if len(self._results) < n * k:
            self._results = np.zeros(n * k, RESULT_DTYPE)
        results = self._results[: n * k]
        result_words = results.view(np.int64)
        if counts is not None:
            result_words[:] = 0
        fills = self._run(chosen, spans, words, result_words, max(1, min(threads, n)))
        starts = np.zeros(n + 1, np.int64)
        starts[1:] = spans[:, SPAN_FILLS]
        return Step(results.reshape(n, k), fills, starts)

    def process(self, messages: np.ndarray) -> Outcome:
        """Execute MESSAGE_DTYPE rows on book 0. The outcome's arrays belong to the caller."""
        words = message_words(messages, "Book.process", ndim=1)
        results = np.empty(len(messages), RESULT_DTYPE)
        self._first_span[0] = self._arena.bases[0], 0, len(messages), 0
        n_fills = len(self._run(_FIRST, self._first_span, words, results.view(np.int64), threads=1))
        # Words are copied faster than rows of fields.
        return Outcome(results, self._fill_words[: n_fills * FILL_WORDS].copy().view(FILL_DTYPE))

    def _run(
        self,
        chosen: np.ndarray | slice,
        spans: np.ndarray,
        words: np.ndarray,
        result_words: np.ndarray,
        threads: int,
    ) -> np.ndarray:
        """Run spans to their end, making room on the way. Returns the fills, until the next run.

        Each thread works through a range of the spans, and writes to its own row of `_fills`.
        """
        if len(self._fills) != threads:
            self._use_fills(np.zeros((threads, self._fills.shape[1]), FILL_DTYPE))
        n = len(spans)
        room = self._fills.shape[1]
        ranges = [
            (n * t // threads, n * (t + 1) // threads, 0, room * t, room, 0, DONE)
            for t in range(threads)
        ]
        control = np.array(ranges, np.int64)
        while True:
            data = (self._arena.words32, self._arena.words, spans, words, result_words)
            if threads == 1:
                compiled.run(*data, self._fill_words, control, 0)
            else:
                compiled.run_parallel(*data, self._fill_words, control)
            if not any(control[:, STATUS].tolist()):
                break
            numbers = self._numbers[chosen]
            for stopped in control:
                if stopped[STATUS] in (NEED_SLOTS, NEED_PARKED, NEED_WINDOW):
                    self.make_room(int(numbers[stopped[AT_SPAN]]), int(stopped[STATUS]))
            # Books may lie elsewhere now: the ones that uncross, too.
            spans[:, SPAN_BASE] = self._arena.bases[chosen]
            for stopped in control:
                if stopped[STATUS] == NEED_UNCROSS:
                    self._uncross(spans[stopped[AT_SPAN]], words, result_words, stopped)
            if NEED_FILLS in control[:, STATUS]:
                self._double_fills(control)
        counts = control[:, N_FILLS]
        if threads == 1:
            return self._fills[0, : control.item(N_FILLS)]
        before = np.cumsum(counts) - counts
        spans[:, SPAN_FILLS] += np.repeat(before, [end - start for start, end, *_ in ranges])
        return np.concatenate([row[:count] for row, count in zip(self._fills, counts, strict=True)])

    def _uncross(
        self, span: np.ndarray, words: np.ndarray, result_words: np.ndarray, control: np.ndarray
    ) -> None:
        """Execute the UNCROSS before which a run has stopped, or ask for the fills it may need."""
        header = self._arena.words[span[SPAN_BASE] :]
        most = control[N_FILLS] + header[layout.USED] + header[layout.HIDDEN_SLICES]
        if most > control[FILL_ROOM]:
            control[STATUS] = NEED_FILLS
            return
        n_fills = compiled.uncross_book(
            self._arena.words32,
            self._arena.words,
            span[SPAN_BASE],
            words,
            span[SPAN_ROW] + control[AT_ROW],
            result_words,
            self._fill_words,
            control[FILL_START] + control[N_FILLS],
        )
        control[N_FILLS] = n_fills - control[FILL_START]
        control[AT_ROW] += 1

    def _double_fills(self, control: np.ndarray) -> None:
        threads, room = self._fills.shape
        wider = np.zeros((threads, 2 * room), FILL_DTYPE)
        wider[:, :room] = self._fills
        self._use_fills(wider)
        control[:, FILL_START] *= 2
        control[:, FILL_ROOM] *= 2

    def _use_fills(self, fills: np.ndarray) -> None:
        """Take `fills`, a row for each thread, to write to."""
        self._fills = fills
        self._fill_words = fills.view(np.int64).reshape(-1)

    # Questions ------------------------------------------------------------------------------------

    def touch(self) -> np.ndarray:
        """int64 [B, 2]: the best bid and ask ticks; an empty side is EMPTY_BID or EMPTY_ASK."""
        best = self._arena.words[self._arena.bases[:, None] + (BEST, BEST + 1)]
        best[:, Side.SELL] *= -1
        return best

    def phases(self) -> np.ndarray:
        """int64 [B]: the `Phase` of each book."""
        return self._arena.words[self._arena.bases + PHASE]

    def n_messages(self) -> np.ndarray:
        """int64 [B]: the messages each book has answered in its life, refused ones included."""
        return self._arena.words[self._arena.bases + MESSAGES]

    def depth(self, levels: int) -> tuple[np.ndarray, np.ndarray]:
        """The best levels of all books: ticks, int32 [B, 2, levels], and displayed lots, int64.

        Bids, then asks, best first. Past the last level: EMPTY_BID or EMPTY_ASK, and 0 lots.
        O(B x levels).
        """
        if levels < 0:
            raise EngineInputError(f"Books.depth: levels must not be negative, got {levels}.")
        shape = (len(self), len(Side), levels)
        ticks, lots = np.empty(shape, np.int32), np.empty(shape, np.int64)
        compiled.depths(self._arena.words32, self._arena.words, self._arena.bases, ticks, lots)
        return ticks, lots

    def queue_ahead(self, books: np.ndarray, order_ids: np.ndarray) -> np.ndarray:
        """int64 [n]: the displayed lots ahead of order `order_ids[i]` in its level of `books[i]`.

        0 means first in line, -1 that the order does not rest. O(orders ahead). A book may be named
        more than once.
        """
        bases = self._arena.bases[self._checked_books(books, distinct=False)]
        order_ids = np.ascontiguousarray(order_ids, np.int64)
        if order_ids.shape != bases.shape:
            raise EngineInputError(
                f"Books.queue_ahead: order_ids must be one for each of {len(bases)} books, got "
                f"shape {order_ids.shape}."
            )
        lots = np.empty(len(bases), np.int64)
        compiled.queues_ahead(self._arena.words32, self._arena.words, bases, order_ids, lots)
        return lots

    def orders_at(self, book: int, side: Side, price_tick: int) -> np.ndarray:
        """RESTING_DTYPE rows of one level, first in line first. O(orders of the level)."""
        key = -int(price_tick) if side == Side.SELL else int(price_tick)
        if not MIN_TICK <= key <= MAX_TICK:
            return np.zeros(0, RESTING_DTYPE)
        return self._listed(compiled.level_rows, book, int(side), key)

    def resting(self, book: int) -> np.ndarray:
        """RESTING_DTYPE rows: bids best first, then asks best first, a level in queue order."""
        return self._listed(compiled.resting_rows, book)

    def total_lots(self, book: int, side: Side) -> int:
        """All open lots of a side, hidden ones included. O(window + parked levels)."""
        block = self._block(book)
        window = int(block[layout.MASK]) + 1
        inside = block[layout.LADDER] + side * 2 * window
        parked = block[layout.PARKED] + side * 3 * block[layout.PARKED_ROOM]
        beyond = parked + 3 * block[layout.N_PARKED + side]
        shown = block[inside : inside + 2 * window][1::2].sum() + block[parked:beyond][2::3].sum()
        return int(shown + block[layout.HIDDEN + side])

    def hash(self, book: int) -> str:
        """`book_hash` of one book. O(orders)."""
        return book_hash(Phase(self._block(book)[layout.PHASE]), self.resting(book))

    def check(self, book: int) -> None:
        """Raise AssertionError, with the whole book printed, when an invariant does not hold."""
        check_block(self._block(book))

    # Copies ---------------------------------------------------------------------------------------

    def snapshot(self, book: int) -> Snapshot:
        """One book set aside: one copy of its block."""
        return Snapshot.of(self._block(book))

    def restore(self, book: int, snapshot: Snapshot) -> None:
        """Make a book what it, or another, was when the snapshot was taken. One copy."""
        self._block(book)
        self._arena.put(book, snapshot.block)

    def fork(self, source: int, target: int) -> None:
        """Make book `target` a copy of book `source`. One copy."""
        self._block(target)
        self._arena.put(target, self._block(source))

    def copy(self) -> "Books":
        """All books once more, independent of these. One copy of the arena."""
        other = object.__new__(Books)
        other._arena = self._arena.copy()
        other._make_buffers()
        return other

    # For compiled loops (`mtsim.engine.drive`) ----------------------------------------------------

    def memory(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arena as int32 and as int64, and where each book begins in the latter: all of it the
        books' own, until one of them grows."""
        return self._arena.words32, self._arena.words, self._arena.bases

    def make_room(self, book: int, need: int) -> None:
        """Give a book more of what a run has stopped for: slots, parked levels or window."""
        sizes = layout.sizes_of(self._arena.block(book))
        if need == NEED_SLOTS:
            if sizes.slots == MAX_SLOTS:
                raise EngineError(f"Books: book {book} is full: it holds {MAX_SLOTS - 1} orders.")
            sizes = sizes._replace(slots=min(2 * sizes.slots, MAX_SLOTS))
        elif need == NEED_PARKED:
            sizes = sizes._replace(parked=2 * sizes.parked)
        else:
            widest = int(self._arena.block(book)[layout.WIDEST])
            sizes = sizes._replace(window=min(2 * sizes.window, widest))
        self._arena.grow(book, sizes)

    # Private --------------------------------------------------------------------------------------

    def _make_buffers(self) -> None:
        self._spans = np.zeros((len(self), SPAN_COLUMNS), np.int64)
        self._results = np.zeros(0, RESULT_DTYPE)
        self._first_span = self._spans[:1]
        self._numbers = np.arange(len(self))
        self._use_fills(np.zeros((1, 64), FILL_DTYPE))

    def _block(self, book: int) -> np.ndarray:
        if not 0 <= book < len(self):
            raise EngineInputError(f"Books: there are books 0 to {len(self) - 1}, got {book}.")
        return self._arena.block(book)

    def _listed(self, kernel: Callable[..., int], book: int, *what: int) -> np.ndarray:
        """The rows that a kernel lists; it is asked again where the first guess was too short."""
        self._block(book)
        base = self._arena.bases[book]
        rows = np.empty(256, RESTING_DTYPE)
        count = kernel(self._arena.words32, self._arena.words, base, rows.view(np.int64), *what)
        if count > len(rows):
            rows = np.empty(count, RESTING_DTYPE)
            kernel(self._arena.words32, self._arena.words, base, rows.view(np.int64), *what)
        return rows[:count].copy()

    def _checked_books(self, books: np.ndarray, *, distinct: bool = True) -> np.ndarray:
        books = np.asarray(books)
        if books.ndim != 1 or not np.issubdtype(books.dtype, np.integer):
            raise EngineInputError(
                "Books: books must be a one-dimensional array of integers, got "
                f"{books.ndim} dimensions of {books.dtype}."
            )
        if len(books) and not (books.min() >= 0 and books.max() < len(self)):
            raise EngineInputError(
                f"Books: there are books 0 to {len(self) - 1}, got {books.min()} to {books.max()}."
            )
        if distinct and len(np.unique(books)) != len(books):
            raise EngineInputError(
                "Books: a book cannot step twice in one step; give it its messages in one row."
            )
        return books


def message_words(messages: np.ndarray, caller: str, ndim: int) -> np.ndarray:
    """MESSAGE_DTYPE rows as flat int64 words: a view of them where that is possible."""
    if not isinstance(messages, np.ndarray):
        raise _not_messages(caller, ndim, type(messages).__name__)
    if messages.dtype != MESSAGE_DTYPE or messages.ndim != ndim:
        raise _not_messages(caller, ndim, f"{messages.ndim} dimensions of {messages.dtype}")
    words = np.ascontiguousarray(messages).view(np.int64)
    if ndim > 1:
        words = words.reshape(-1)
    # Compiled code is built for one kind of array: contiguous, aligned, writable.
    return words if words.flags.carray else words.copy()


def _not_messages(caller: str, ndim: int, found: str) -> EngineInputError:
    return EngineInputError(
        f"{caller}: messages must be a {ndim}-dimensional array of MESSAGE_DTYPE, got {found}. "
        "Build it with np.array(rows, MESSAGE_DTYPE)."
    )


def _checked_counts(counts: np.ndarray, n: int, k: int) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.shape != (n,) or not np.issubdtype(counts.dtype, np.integer):
        raise EngineInputError(
            f"Books.step: counts must be {n} integers, got shape {counts.shape} of {counts.dtype}."
        )
    if n and not (counts.min() >= 0 and counts.max() <= k):
        raise EngineInputError(
            f"Books.step: counts must be from 0 to {k}, got {counts.min()} to {counts.max()}."
        )
    return counts
