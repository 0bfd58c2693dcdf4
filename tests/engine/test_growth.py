"""Room that a book grows and windows that it moves: never seen in an answer."""

import numpy as np
import pytest

from mtsim.engine import layout
from mtsim.engine.batch import Books
from mtsim.engine.book import Book
from mtsim.engine.messages import MESSAGE_DTYPE, RESULT_DTYPE, Kind, Reject
from mtsim.engine.units import Side
from tests.engine.streams import RandomStream, auction, batch, limit, market, uncross

BUY, SELL = Side.BUY, Side.SELL


def header(book: Book) -> np.ndarray:
    return book._books._arena.block(0)[: layout.HEADER_WORDS]


def digest(book: Book, messages: np.ndarray, chunk: int) -> tuple[bytes, bytes, str]:
    outcomes = [book.process(messages[at : at + chunk]) for at in range(0, len(messages), chunk)]
    book.check()
    results = np.concatenate([outcome.results for outcome in outcomes])
    fills = np.concatenate([outcome.fills for outcome in outcomes])
    return results.tobytes(), fills.tobytes(), book.hash()


@pytest.mark.parametrize("seed", range(12))
def test_no_size_no_window_and_no_chunk_changes_an_answer(seed):
    """One digest, wherever the book had to stop for room."""
    messages = RandomStream(50_000 + seed).block(1_500)
    expected = digest(Book(window=65_536, slots=4_000), messages, len(messages))
    for window in (None, 64, 128, 4_096):
        for slots in (1, 3, 100):
            book = Book(window=window, slots=slots)
            assert digest(book, messages, int(1 + seed * 37 % 400)) == expected


def test_orders_beyond_the_room_for_them_find_some():
    """Doubled in the middle of a run, and again: nobody is lost, and all are found by their ids."""
    book = Book(slots=1)
    n = 5_000
    messages = np.zeros(n, MESSAGE_DTYPE)
    messages["price_tick"] = np.arange(n) % 7
    messages["lots"] = 1
    messages["order_id"] = np.arange(n) + 1

    assert (book.process(messages).results["reject"] == Reject.NONE).all()

    assert header(book)[layout.CAPACITY] == 8_192
    assert book.orders_at(BUY, 3) == list(range(4, n + 1, 7))
    messages["kind"] = Kind.CANCEL
    assert (book.process(messages[::-1].copy()).results["reject"] == Reject.NONE).all()
    assert len(book.resting()) == 0
    book.check()


def test_slots_are_used_again():
    """A million orders that come and go need no more room than those that rest together."""
    book = Book(slots=3)
    messages = np.zeros(20_000, MESSAGE_DTYPE)
    messages["lots"] = 1
    messages["order_id"] = np.arange(20_000) // 2 + 1
    messages["kind"][1::2] = Kind.CANCEL

    for _ in range(50):
        assert (book.process(messages).results["reject"] == Reject.NONE).all()

    assert header(book)[layout.CAPACITY] == 4
    book.check()


def test_an_iceberg_needs_two_slots():
    """One free slot is not enough for it, whether it is the last one or in the free list."""
    for gone in (0, 1):
        book = Book(slots=3)
        for order_id in range(1, 3 + gone):
            book.limit(BUY, 5, 1, order_id)
        if gone:
            book.cancel(1)
        assert book.limit(BUY, 5, 10, 9, display_lots=2).resting_lots == 10
        book.check()
        assert header(book)[layout.CAPACITY] > 4 or gone


def test_the_largest_sweep_fits():
    """One order takes 3,000 others and 1,024 slices of one, after other fills in the same run."""
    book = Book()
    makers = np.zeros(3_000, MESSAGE_DTYPE)
    makers["side"] = SELL
    makers["price_tick"] = np.arange(3_000)
    makers["lots"] = 1
    makers["order_id"] = np.arange(3_000) + 1
    book.process(makers)
    book.limit(SELL, 4_000, 1_024, 5_000, display_lots=1)

    outcome = book.process(batch(limit(BUY, 0, 1, 6_000), market(BUY, 2**30, 6_001)))

    assert outcome.results["n_fills"].tolist() == [1, 2_999 + 1_024]
    assert outcome.results["filled_lots"].tolist() == [1, 2_999 + 1_024]
    assert outcome.fills["maker_id"].tolist()[:3_000] == list(range(1, 3_001))
    assert (outcome.fills["maker_id"][3_000:] == 5_000).all()
    assert outcome.fills["maker_open_lots"][3_000:].tolist() == list(range(1_023, -1, -1))
    book.check()


def test_the_largest_uncross_fits():
    """Each side has 600 orders, and one of 1,024 slices: all of it in one message."""
    book = Book()
    rows = [auction()]
    for n in range(600):
        rows += [limit(BUY, 100 + n, 1, 2 * n + 1), limit(SELL, 100 - n, 1, 2 * n + 2)]
    rows += [
        limit(BUY, 100, 1_024, 9_001, display_lots=1),
        limit(SELL, 100, 1_024, 9_002, display_lots=1),
        uncross(100),
    ]

    outcome = book.process(batch(*rows))

    assert outcome.results["filled_lots"][-1] == 600 + 1_024
    assert outcome.results["n_fills"][-1] == len(outcome.fills) == 600 + 1_024
    assert len(book.resting()) == 0
    book.check()


# Windows ------------------------------------------------------------------------------------------


def roaming(n_messages: int, step_ticks: int) -> np.ndarray:
    """A market that walks `step_ticks` a message, up and then down again, leaving orders behind."""
    rng = np.random.default_rng(7)
    turn = n_messages // 2
    mid = np.minimum(np.arange(n_messages), 2 * turn - np.arange(n_messages)) * step_ticks
    messages = np.zeros(n_messages, MESSAGE_DTYPE)
    messages["side"] = rng.integers(0, 2, n_messages)
    away = rng.geometric(0.2, n_messages) - 2
    messages["price_tick"] = mid + np.where(messages["side"] == BUY, -away, away)
    messages["lots"] = rng.integers(1, 9, n_messages)
    messages["order_id"] = np.arange(n_messages) + 1
    cancels = rng.random(n_messages) < 0.4
    messages["kind"][cancels] = Kind.CANCEL
    messages["order_id"][cancels] -= rng.integers(1, 2_000, cancels.sum())
    return messages


def test_a_window_that_moves_with_the_market_changes_no_answer():
    messages = roaming(8_000, step_ticks=3)
    expected = digest(Book(window=65_536), messages, 8_000)

    narrow = Book(window=64)
    assert digest(narrow, messages, 8_000) == expected

    # It did move, and did park orders: this test can fail.
    assert header(narrow)[layout.MASK] == 63
    assert header(narrow)[layout.STRAIN] > 1_000
    assert header(narrow)[layout.PARKED_ROOM] > 64


def test_a_window_widens_itself_where_the_market_roams_and_stays_where_it_does_not():
    roamed, calm, fixed = Book(), Book(), Book(window=1_024)
    messages = roaming(30_000, step_ticks=5)
    expected = digest(Book(window=65_536), messages, 30_000)

    assert digest(roamed, messages, 1_000) == expected
    assert digest(fixed, messages, 1_000) == expected
    calm.process(roaming(30_000, step_ticks=0))

    assert header(roamed)[layout.MASK] + 1 > 1_024
    assert header(calm)[layout.MASK] + 1 == 1_024
    assert header(fixed)[layout.MASK] + 1 == 1_024


def test_many_books_do_not_widen_beyond_their_share():
    books = Books(4_096)
    assert books._arena.block(0)[layout.WIDEST] == 2_048
    assert Books(100_000, slots=1)._arena.block(7)[layout.WIDEST] == 1_024


# Books that share an arena ------------------------------------------------------------------------


def test_one_book_that_grows_moves_no_other():
    """Every book outgrows its block at its own moment; alone or not, the answers are the same."""
    n_books, n = 9, 400
    messages = np.stack([RandomStream(60_000 + book).block(n) for book in range(n_books)])
    counts = np.array([n, 0, 7, n, 30, n, 1, 200, n])
    books = Books(n_books, window=64, slots=1)

    step = books.step(messages, counts=counts)

    for book in range(n_books):
        alone = Book()
        outcome = alone.process(messages[book, : counts[book]])
        assert np.array_equal(step.results[book, : counts[book]], outcome.results)
        start, end = step.fill_starts[book : book + 2]
        assert np.array_equal(step.fills[start:end], outcome.fills)
        assert books.hash(book) == alone.hash()
        assert (step.results[book, counts[book] :] == np.zeros(1, RESULT_DTYPE)).all()
        books.check(book)
    sizes = {int(books._arena.block(book)[layout.SIZE]) for book in range(n_books)}
    assert len(sizes) > 2
