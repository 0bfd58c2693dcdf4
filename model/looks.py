"""Messages executed on one book with looks at it on the way, and no return to Python for a look.

Knows the engine's arrays only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from mtsim.engine import compiled
from mtsim.engine.base import Outcome
from mtsim.engine.batch import Books
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.layout import (
    AT_ROW,
    AT_SPAN,
    DONE,
    END_SPAN,
    FILL_ROOM,
    FILL_WORDS,
    N_FILLS,
    NEED_FILLS,
    SPAN_BASE,
    SPAN_COLUMNS,
    SPAN_COUNT,
    SPAN_ROW,
    STATUS,
)
from mtsim.engine.messages import FILL_DTYPE, RESULT_DTYPE, Kind
from mtsim.engine.queries import depth_of

_RESULT_WORDS = RESULT_DTYPE.itemsize // 8


def process(
    books: Books, messages: np.ndarray, stops: np.ndarray, levels: int
) -> tuple[Outcome, np.ndarray, np.ndarray]:
    """Execute MESSAGE_DTYPE rows on book 0: `books.process`, and the book after `stops[k]` of them.

    `stops` may not descend. The book is given as `Books.depth` gives it: ticks, int32 [stops, 2,
    levels], and lots, int64. O(messages + stops x levels).
    """
    stops = np.ascontiguousarray(stops, np.int64)
    tick = np.empty((len(stops), 2, levels), np.int32)
    lots = np.empty((len(stops), 2, levels), np.int64)
    words = messages.view(np.int64)
    results = np.empty(len(messages) * _RESULT_WORDS, np.int64)
    fills = [np.zeros(0, np.int64)]
    done = looked = 0
    # An uncross comes back to Python in any case, so it is sent by itself.
    for uncross in [*np.flatnonzero(messages["kind"] == Kind.UNCROSS).tolist(), len(messages)]:
        looked = _run(books, words, done, uncross, stops, looked, results, fills, tick, lots)
        done = uncross + 1
        if uncross < len(messages):
            outcome = books.process(messages[uncross:done])
            results[uncross * _RESULT_WORDS : done * _RESULT_WORDS] = outcome.results.view(np.int64)
            fills.append(outcome.fills.view(np.int64))
    # As words: numpy joins rows of fields some fifty times slower.
    outcome = Outcome(results.view(RESULT_DTYPE), np.concatenate(fills).view(FILL_DTYPE))
    return outcome, tick, lots


def _run(
    books: Books,
    words: np.ndarray,
    start: int,
    end: int,
    stops: np.ndarray,
    looked: int,
    results: np.ndarray,
    fills: list[np.ndarray],
    tick: np.ndarray,
    lots: np.ndarray,
) -> int:
    """Execute rows from `start` to `end` with the looks on the way; returns the looks done then."""
    span = np.zeros((1, SPAN_COLUMNS), np.int64)
    control = np.zeros((1, STATUS + 1), np.int64)
    room = np.zeros((max(64, end - start) * FILL_WORDS), np.int64)
    at = np.array([start, looked])
    while True:
        a32, a64, bases = books.memory()
        span[0, SPAN_BASE] = bases[0]
        control[0, FILL_ROOM] = len(room) // FILL_WORDS
        _run_with_looks(a32, a64, words, end, stops, at, results, room, span, control, tick, lots)
        if control[0, STATUS] == DONE:
            break
        if control[0, STATUS] == NEED_FILLS:
            room = np.concatenate([room, np.zeros_like(room)])
        else:
            books.make_room(0, int(control[0, STATUS]))
    fills.append(room[: control[0, N_FILLS] * FILL_WORDS].copy())
    return int(at[1])


def _entry_point(sources: int):
    run = compiled.run

    @njit(cache=True, nogil=True, error_model="numpy")
    def run_with_looks(
        a32, a64, messages, end, stops, at, results, fills, span, control, tick, lots
    ):
        """Go on at row `at[0]` and look `at[1]`, to row `end` or to the message that needs room."""
        _ = sources
        while True:
            more = at[1] < len(stops) and stops[at[1]] <= end
            stop = stops[at[1]] if more else end
            span[0, SPAN_ROW], span[0, SPAN_COUNT] = at[0], stop - at[0]
            control[0, AT_SPAN], control[0, END_SPAN] = 0, 1
            control[0, AT_ROW], control[0, STATUS] = 0, DONE
            run(a32, a64, span, messages, results, fills, control, 0)
            if control[0, STATUS] != DONE:
                at[0] += control[0, AT_ROW]
                return
            at[0] = stop
            if not more:
                return
            depth_of(a64, span[0, SPAN_BASE], tick[at[1]], lots[at[1]])
            at[1] += 1

    return run_with_looks


_run_with_looks = _entry_point(fingerprint(compiled.SOURCES, Path(__file__)))
