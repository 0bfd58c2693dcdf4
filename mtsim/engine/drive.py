"""Books for compiled loops: one message at a time, without a return to Python between two.

A loop takes a `Drive` apart into arrays, calls `execute_one` for each message, and comes back with
the status where a book needs room: `Drive.make_room`, and the same message again, which has changed
nothing. An UNCROSS always comes back: Python executes it (`Books.step`). Knows no market.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from mtsim.engine import compiled
from mtsim.engine.batch import Books
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.layout import (
    AT_ROW,
    AT_SPAN,
    DONE,
    END_SPAN,
    FILL_ROOM,
    FILL_START,
    FILL_WORDS,
    N_FILLS,
    NEED_FILLS,
    NEED_UNCROSS,
    SPAN_BASE,
    SPAN_COLUMNS,
    SPAN_COUNT,
    SPAN_ROW,
    STATUS,
)
from mtsim.engine.messages import FILL_DTYPE, MESSAGE_DTYPE, RESULT_DTYPE

__all__ = ["DONE", "NEED_UNCROSS", "SOURCES", "Arrays", "Drive", "execute_one"]

SOURCES = fingerprint(compiled.SOURCES, Path(__file__))
"""For the entry points of loops that call `execute_one`."""

_FIRST_FILLS = 1024


class Arrays(NamedTuple):
    """What `execute_one` works on. Of the arena until `make_room`; the rest is the drive's own."""

    a32: np.ndarray
    a64: np.ndarray
    bases: np.ndarray  # the first word of each book in `a64`
    message: np.ndarray  # int64 words of one MESSAGE_DTYPE row, to be filled in by the loop
    result: np.ndarray  # int64 words of its RESULT_DTYPE row
    fills: np.ndarray  # int64 words of its FILL_DTYPE rows
    span: np.ndarray
    control: np.ndarray


class Drive:
    """The memory of some books, and of one message with its answer."""

    def __init__(self, books: Books):
        self.books = books
        self.message = np.zeros(1, MESSAGE_DTYPE)
        self.result = np.zeros(1, RESULT_DTYPE)
        self._fills = np.zeros(_FIRST_FILLS, FILL_DTYPE)
        self._span = np.zeros((1, SPAN_COLUMNS), np.int64)
        self._control = np.zeros((1, STATUS + 1), np.int64)

    def arrays(self) -> Arrays:
        """What to hand to a loop, until the next `make_room`."""
        a32, a64, bases = self.books.memory()
        return Arrays(
            a32,
            a64,
            bases,
            self.message.view(np.int64),
            self.result.view(np.int64),
            self._fills.view(np.int64),
            self._span,
            self._control,
        )

    def fills(self) -> np.ndarray:
        """The FILL_DTYPE rows of the last message; a view, until the next one."""
        return self._fills[: self._control[0, N_FILLS]]

    def make_room(self, book: int, status: int) -> None:
        """Give a book what the loop came back for. NEED_UNCROSS is no lack of room: an assert."""
        assert status != NEED_UNCROSS
        if status == NEED_FILLS:
            self._fills = np.zeros(2 * len(self._fills), FILL_DTYPE)
        else:
            self.books.make_room(book, status)


# A global: with a compiled function in its closure Numba's cache would never find it again.
_run = compiled.run


def _execute_one(sources: int):
    @njit(nogil=True, cache=True, error_model="numpy")
    def execute_one(a32, a64, base, message, result, fills, span, control):
        """Execute the one `message` on the book at `base`: DONE, or what it needs first.

        `control[0, N_FILLS]` says how many fills there are.
        """
        _ = sources
        span[0, SPAN_BASE] = base
        span[0, SPAN_ROW] = 0
        span[0, SPAN_COUNT] = 1
        control[0, AT_SPAN] = 0
        control[0, END_SPAN] = 1
        control[0, AT_ROW] = 0
        control[0, FILL_START] = 0
        control[0, FILL_ROOM] = fills.size // FILL_WORDS
        control[0, N_FILLS] = 0
        control[0, STATUS] = DONE
        _run(a32, a64, span, message, result, fills, control, 0)
        return control[0, STATUS]

    return execute_one


execute_one = _execute_one(SOURCES)
