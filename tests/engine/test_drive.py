"""Compiled loops that execute one message at a time: the same books as by `Books`."""

import numpy as np
import pytest
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.drive import DONE, NEED_UNCROSS, SOURCES, Drive, execute_one
from mtsim.engine.messages import FILL_DTYPE, MESSAGE_DTYPE, RESULT_DTYPE, Kind
from tests.engine.streams import RandomStream


def _loop(sources: int):
    @njit(error_model="numpy")
    def loop(a32, a64, bases, message, result, fills, span, control, book, rows, answers, start):
        """Execute rows from `start`; where it stopped, and why."""
        _ = sources
        for row in range(start, len(rows) // 4):
            message[:] = rows[row * 4 : row * 4 + 4]
            status = execute_one(a32, a64, bases[book], message, result, fills, span, control)
            if status != DONE:
                return row, status
            answers[row * 6 : row * 6 + 6] = result
        return len(rows) // 4, DONE

    return loop


loop = _loop(SOURCES)


def run_one_by_one(books: Books, book: int, messages: np.ndarray) -> np.ndarray:
    """The results of messages that a compiled loop executes on one book."""
    drive, row = Drive(books), 0
    results = np.zeros(len(messages), RESULT_DTYPE)
    while row < len(messages):
        row, status = loop(
            *drive.arrays(), book, messages.view(np.int64), results.view(np.int64), row
        )
        if status == NEED_UNCROSS:
            step = books.step(messages[row : row + 1][None], books=np.array([book]))
            results[row] = step.results[0, 0]
            row += 1
        elif status != DONE:
            drive.make_room(book, status)
    return results


@pytest.mark.parametrize("seed", range(3))
def test_a_loop_leaves_the_book_that_books_leave(seed):
    """Growth of slots, windows, parked levels and auctions among the messages included."""
    messages = RandomStream(seed).block(20_000)
    whole, driven = Books(1, slots=1), Books(3, slots=1)

    outcome = whole.process(messages)
    results = run_one_by_one(driven, 1, messages)

    assert results.tobytes() == outcome.results.tobytes()
    assert driven.hash(1) == whole.hash(0)
    driven.check(1)


def test_the_fills_are_those_of_the_last_message():
    books = Books(1)
    asks = [(Kind.LIMIT, 1, 0, 0, 0, 0, 100, 1, 0, n) for n in range(1, 2001)]
    books.process(np.array(asks, MESSAGE_DTYPE))
    drive = Drive(books)
    drive.message[0] = (Kind.LIMIT, 0, 1, 0, 0, 0, 100, 2000, 0, 9999)

    while (status := execute_one(*_one(drive))) != DONE:
        drive.make_room(0, status)

    fills = drive.fills()
    assert fills.dtype == FILL_DTYPE
    assert fills["maker_id"].tolist() == list(range(1, 2001))
    assert drive.result["filled_lots"][0] == 2000


def _one(drive: Drive):
    a32, a64, bases, *rest = drive.arrays()
    return a32, a64, bases[0], *rest
