"""Many books in one step: each is the book that it would be alone, and arrays say so of all."""

from typing import Any

import numpy as np
import pytest

from mtsim.engine.batch import Books, Step
from mtsim.engine.book import Book
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Phase, Reject
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.errors import EngineInputError
from tests.engine.streams import RandomStream, auction, batch, limit, uncross

BUY, SELL = Side.BUY, Side.SELL


def streams(n_books: int, n_messages: int) -> np.ndarray:
    return np.stack([RandomStream(70_000 + seed).block(n_messages) for seed in range(n_books)])


def stepped(messages: np.ndarray, k: int, threads: int, **options: Any) -> tuple[Books, list]:
    """Books that have done all messages, k a step, and copies of what they answered."""
    books = Books(len(messages), **options)
    answers = []
    for at in range(0, messages.shape[1], k):
        step = books.step(messages[:, at : at + k], threads=threads)
        answers.append(tuple(array.copy() for array in step))
    return books, answers


@pytest.mark.parametrize("k", [1, 7, 300])
def test_every_book_is_the_book_it_would_be_alone(k):
    n_books, n = 11, 300
    messages = streams(n_books, n)

    books, answers = stepped(messages, k, threads=1, window=64, slots=1)

    for book in range(n_books):
        alone = Book()
        expected = alone.process(messages[book])
        results = np.concatenate([results[book] for results, _, _ in answers])
        fills = np.concatenate([rows[at[book] : at[book + 1]] for _, rows, at in answers])
        assert np.array_equal(results, expected.results)
        assert np.array_equal(fills, expected.fills)
        assert np.array_equal(books.resting(book), alone.resting())
        assert books.n_messages()[book] == n
        books.check(book)


@pytest.mark.parametrize("threads", [2, 3, 64])
def test_threads_change_no_answer(threads):
    """More threads than cores, than ranges that come out even, than books."""
    messages = streams(13, 200)

    one, expected = stepped(messages, 40, threads=1, window=64, slots=1)
    several, answers = stepped(messages, 40, threads=threads, window=64, slots=1)

    for arrays, others in zip(answers, expected, strict=True):
        for array, other in zip(arrays, others, strict=True):
            assert array.tobytes() == other.tobytes()
    assert [several.hash(n) for n in range(13)] == [one.hash(n) for n in range(13)]


def test_threads_may_differ_from_step_to_step():
    messages = streams(5, 300)
    books = Books(5)
    for at, threads in zip(range(0, 300, 50), (1, 4, 1, 2, 5, 3), strict=True):
        books.step(messages[:, at : at + 50], threads=threads)
    expected, _ = stepped(messages, 300, threads=1)
    assert [books.hash(n) for n in range(5)] == [expected.hash(n) for n in range(5)]


def test_books_step_in_any_order_and_number():
    """`books` names who steps, `counts` how far: the others stand still."""
    messages = streams(4, 20)
    books = Books(4)

    step = books.step(messages[[3, 1]], counts=np.array([20, 6]), books=np.array([3, 1], np.uint8))

    assert books.n_messages().tolist() == [0, 6, 0, 20]
    third, first = Book(), Book()
    expected = third.process(messages[3]), first.process(messages[1, :6])
    assert np.array_equal(step.results[0], expected[0].results)
    assert np.array_equal(step.results[1, :6], expected[1].results)
    assert not step.results[1, 6:].view(np.int64).any()
    assert len(step.fills) == sum(len(outcome.fills) for outcome in expected)
    assert [books.hash(1), books.hash(3)] == [first.hash(), third.hash()]


def test_auctions_end_in_many_books_at_once():
    """Each at a place of its own in the step, on two threads, with fills before and after."""
    rows = [auction(), limit(0, 10, 5, 1), limit(1, 8, 4, 2), uncross(9), limit(1, 1, 1, 3)]
    noop = limit(0, -5, 1, 99)
    messages = np.stack([batch(*[noop] * n, *rows, *[noop] * (5 - n)) for n in range(6)])
    for threads in (1, 2):
        books = Books(6, slots=1)

        step = books.step(messages, threads=threads)

        uncrosses = step.results[messages["kind"] == Kind.UNCROSS]
        assert uncrosses["filled_lots"].tolist() == [4] * 6
        assert step.fills["lots"].tolist() == [4, 1] * 6
        assert step.fill_starts.tolist() == [0, 2, 4, 6, 8, 10, 12]
        assert books.phases().tolist() == [Phase.CONTINUOUS] * 6


# Questions to all books ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked() -> tuple[Books, list[Book]]:
    """Twelve books after some messages, an empty one among them, and the same as single books."""
    messages = streams(12, 250)
    counts = np.arange(12) * 20
    books = Books(12, window=64)
    books.step(messages, counts=counts)
    alone = [Book() for _ in range(12)]
    for book, rows, count in zip(alone, messages, counts, strict=True):
        book.process(rows[:count])
    return books, alone


def test_touch_and_phase_of_all_books(asked):
    books, alone = asked
    assert books.touch().tolist() == [list(book.touch()) for book in alone]
    assert books.phases().tolist() == [book.phase for book in alone]
    assert books.touch()[0].tolist() == [EMPTY_BID, EMPTY_ASK]


@pytest.mark.parametrize("levels", [0, 1, 4, 60])
def test_depth_of_all_books(asked, levels):
    books, alone = asked
    ticks, lots = books.depth(levels)

    assert ticks.shape == lots.shape == (12, 2, levels)
    assert (ticks.dtype, lots.dtype) == (np.int32, np.int64)
    for n, book in enumerate(alone):
        resting = book.resting()
        for side, nobody in ((BUY, EMPTY_BID), (SELL, EMPTY_ASK)):
            rows = resting[resting["side"] == side]
            expected = [
                (tick, int(rows["lots"][rows["price_tick"] == tick].sum()))
                for tick in dict.fromkeys(rows["price_tick"].tolist())
            ]
            expected += [(nobody, 0)] * levels
            found = zip(ticks[n, side].tolist(), lots[n, side].tolist(), strict=True)
            assert list(found) == expected[:levels]


def test_depth_of_fewer_than_no_levels_is_an_error(asked):
    with pytest.raises(EngineInputError, match="levels must not be negative, got -1"):
        asked[0].depth(-1)


def test_queue_ahead_of_many_orders(asked):
    """Every resting order of every book, and ids that nobody has."""
    books, alone = asked
    named = [
        (n, order_id) for n, book in enumerate(alone) for order_id in book.resting()["order_id"]
    ]
    numbers, ids = np.array([*named, (0, 1), (3, -5), (3, 0), (5, 2**62)]).T
    assert len(named) > 50

    ahead = books.queue_ahead(numbers, ids)

    expected = [alone[n].queue_ahead(int(order_id)) for n, order_id in named]
    assert ahead.tolist() == [*expected, -1, -1, -1, -1]
    assert max(expected) > 0


def test_totals_and_levels_of_one_book(asked):
    books, alone = asked
    for n, book in enumerate(alone):
        resting = book.resting()
        for side in Side:
            rows = resting[resting["side"] == side]
            assert books.total_lots(n, side) == rows["lots"].sum() + rows["hidden_lots"].sum()
            for tick in rows["price_tick"][:5].tolist():
                level = rows[rows["price_tick"] == tick]
                assert np.array_equal(books.orders_at(n, side, tick), level)
                assert book.lots_at(side, tick) == level["lots"].sum()


def test_a_copy_of_all_books_goes_its_own_way(asked):
    books, _ = asked
    copied = books.copy()
    hashes = [books.hash(n) for n in range(12)]
    assert [copied.hash(n) for n in range(12)] == hashes

    copied.step(streams(12, 100))

    assert [books.hash(n) for n in range(12)] == hashes
    assert copied.n_messages().tolist() == (books.n_messages() + 100).tolist()


# The border ---------------------------------------------------------------------------------------

GOOD = np.zeros((3, 2), MESSAGE_DTYPE)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"messages": GOOD[0]}, "messages must be a 2-dimensional array of MESSAGE_DTYPE"),
        ({"messages": GOOD.view("u1")}, "got 2 dimensions of uint8"),
        ({"messages": [[1]]}, "got list"),
        ({"messages": np.full((3, 32), np.nan)}, "got 2 dimensions of float64"),
        ({"messages": GOOD[:2]}, "a row for each of 3 books, got 2"),
        ({"messages": GOOD, "counts": np.array([1, 2])}, "counts must be 3 integers"),
        ({"messages": GOOD, "counts": np.array([1.0, 2.0, 0.0])}, "of float64"),
        ({"messages": GOOD, "counts": np.array([1, 3, 0])}, "counts must be from 0 to 2"),
        ({"messages": GOOD, "counts": np.array([1, -1, 0])}, "counts must be from 0 to 2"),
        ({"messages": GOOD, "books": np.array([0, 1, 3])}, "books 0 to 2, got 0 to 3"),
        ({"messages": GOOD, "books": np.array([0, -1, 1])}, "books 0 to 2, got -1 to 1"),
        ({"messages": GOOD, "books": np.array([0, 1, 1])}, "cannot step twice"),
        ({"messages": GOOD, "books": np.array([0.0, 1.0, 2.0])}, "array of integers"),
        ({"messages": GOOD, "books": np.array([[0, 1, 2]])}, "got 2 dimensions of int64"),
        ({"messages": GOOD, "threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_an_error_and_changes_nothing(arguments, rule):
    books = Books(3)
    with pytest.raises(EngineInputError, match=rule):
        books.step(**arguments)
    assert books.n_messages().tolist() == [0, 0, 0]


def test_a_batch_of_no_books_is_an_error():
    with pytest.raises(EngineInputError, match="n_books must be at least 1, got 0"):
        Books(0)


def test_ids_for_other_than_the_books_asked_about_are_an_error():
    with pytest.raises(EngineInputError, match="order_ids must be one for each of 2 books"):
        Books(3).queue_ahead(np.array([0, 1]), np.array([1, 2, 3]))


def test_steps_of_nothing_do_nothing():
    books = Books(3)
    for step in (
        books.step(np.zeros((3, 0), MESSAGE_DTYPE)),
        books.step(np.zeros((0, 5), MESSAGE_DTYPE), books=np.zeros(0, np.int64), threads=2),
        books.step(GOOD, counts=np.zeros(3, np.int64)),
    ):
        assert isinstance(step, Step)
        assert len(step.fills) == step.fill_starts[-1] == 0
    assert books.n_messages().tolist() == [0, 0, 0]


def test_handles_are_issued_book_by_book():
    """The same messages get the same handles in every book, whatever its neighbours do."""
    books = Books(3, ids="handle", slots=1)
    rows = batch(limit(0, 5, 1, 0), limit(0, 5, 1, 0), limit(1, 5, 1, 0), limit(0, 5, 1, 0))
    step = books.step(np.stack([rows] * 3), counts=np.array([4, 2, 4]))
    assert (step.results["reject"] == Reject.NONE).all()
    handles = step.results["order_id"]
    assert handles[0].tolist() == handles[2].tolist()
    assert handles[0, :2].tolist() == handles[1, :2].tolist()
    assert len(set(books.resting(0)["order_id"].tolist())) == 2
