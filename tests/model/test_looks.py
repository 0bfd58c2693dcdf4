"""Looks at a book on the way: what `Books` answers and shows when it is asked piece by piece."""

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.messages import MESSAGE_DTYPE, Kind
from mtsim.model import looks
from tests.engine.streams import RandomStream

LEVELS = 4


def piece_by_piece(books: Books, messages: np.ndarray, stops: np.ndarray):
    """Results and fills as bytes, and the book at the stops."""
    results, fills, depths, start = b"", b"", [], 0
    for stop in [*stops.tolist(), len(messages)]:
        outcome = books.process(messages[start:stop])
        results, fills = results + outcome.results.tobytes(), fills + outcome.fills.tobytes()
        depths.append(books.depth(LEVELS))
        start = stop
    return results, fills, depths[:-1]


@pytest.mark.parametrize("seed", range(3))
def test_a_look_shows_the_book_that_books_show_and_changes_nothing(seed):
    """Growth of slots, windows, parked levels and fills, and auctions among the messages."""
    messages = RandomStream(seed).block(20_000)
    assert (messages["kind"] == Kind.UNCROSS).any()
    chance = np.random.default_rng(seed)
    asked, looked_at = Books(1, slots=1), Books(1, slots=1)
    for batch in np.split(messages, [0, 7_000, 7_001, 12_000]):
        stops = np.sort(chance.integers(0, len(batch), len(batch) // 9, endpoint=True))

        results, fills, depths = piece_by_piece(asked, batch, stops)
        outcome, tick, lots = looks.process(looked_at, batch, stops, LEVELS)

        assert outcome.results.tobytes() == results
        assert outcome.fills.tobytes() == fills
        assert tick.shape == lots.shape == (len(stops), 2, LEVELS)
        for k, (ticks, sizes) in enumerate(depths):
            np.testing.assert_array_equal(tick[k], ticks[0])
            np.testing.assert_array_equal(lots[k], sizes[0])
    assert looked_at.hash(0) == asked.hash(0)
    looked_at.check(0)


def test_a_message_may_have_more_fills_than_a_batch_has_messages():
    asks = [(Kind.LIMIT, 1, 0, 0, 0, 0, 100, 1, 0, n) for n in range(1, 501)]
    books = Books(1)
    books.process(np.array(asks, MESSAGE_DTYPE))
    taker = np.array([(Kind.LIMIT, 0, 1, 0, 0, 0, 100, 500, 0, 501)], MESSAGE_DTYPE)

    outcome, tick, lots = looks.process(books, taker, np.array([0, 0, 1]), 1)

    assert outcome.fills["maker_id"].tolist() == list(range(1, 501))
    assert lots[:, 1, 0].tolist() == [500, 500, 0]
    assert tick[0, 1, 0] == 100
