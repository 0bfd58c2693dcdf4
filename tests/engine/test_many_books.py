"""Many books in one arena, and copies of one: each is the book that it would be alone."""

import numpy as np
import pytest

from mtsim.engine.base import Outcome
from mtsim.engine.batch import Books
from mtsim.engine.book import Book
from mtsim.engine.messages import MESSAGE_DTYPE, Phase
from mtsim.engine.reference import ReferenceBook
from mtsim.engine.snapshot import Snapshot
from tests.engine.streams import BUY, RandomStream, auction, batch, limit, uncross


def streams(n_books: int, n_messages: int) -> list[np.ndarray]:
    return [RandomStream(20_000 + seed).block(n_messages) for seed in range(n_books)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_books_that_step_together_are_books_alone(threads):
    """Random numbers of messages for random books, step by step: everyone's answers are its own."""
    rng = np.random.default_rng(5)
    n_books, width = 7, 40
    messages = streams(n_books, 1_500)
    books = Books(n_books, window=64, slots=1)
    at = np.zeros(n_books, np.int64)
    results: list[list[np.ndarray]] = [[] for _ in range(n_books)]
    fills: list[list[np.ndarray]] = [[] for _ in range(n_books)]

    while (at < 1_500).any():
        chosen = rng.permutation(n_books)[: rng.integers(1, n_books + 1)]
        counts = np.minimum(rng.integers(0, width + 1, len(chosen)), 1_500 - at[chosen])
        rows = np.zeros((len(chosen), width), MESSAGE_DTYPE)
        for row, (book, count) in enumerate(zip(chosen, counts, strict=True)):
            rows[row, :count] = messages[book][at[book] : at[book] + count]
        step = books.step(rows, counts=counts, books=chosen, threads=threads)
        for row, (book, count) in enumerate(zip(chosen, counts, strict=True)):
            results[book].append(step.results[row, :count].copy())
            start, end = step.fill_starts[row : row + 2]
            fills[book].append(step.fills[start:end].copy())
        at[chosen] += counts

    for book in range(n_books):
        alone = ReferenceBook()
        expected = alone.process(messages[book])
        assert np.array_equal(np.concatenate(results[book]), expected.results)
        assert np.array_equal(np.concatenate(fills[book]), expected.fills)
        assert books.hash(book) == alone.hash()
        assert tuple(books.touch()[book].tolist()) == alone.touch()
        books.check(book)


def continued(book: Book, messages: np.ndarray) -> tuple[Outcome, str]:
    outcome = book.process(messages)
    book.check()
    return outcome, book.hash()


def assert_goes_on_alike(book: Book, expected: tuple[Outcome, str], messages: np.ndarray) -> None:
    outcome, hashed = continued(book, messages)
    assert np.array_equal(outcome.results, expected[0].results)
    assert np.array_equal(outcome.fills, expected[0].fills)
    assert hashed == expected[1]


@pytest.mark.parametrize("seed", range(10))
def test_a_restored_book_goes_on_as_if_nothing_had_happened(seed):
    """At twenty random moments: from the snapshot, from its bytes, into a book of another size."""
    rng = np.random.default_rng(seed)
    messages = RandomStream(30_000 + seed).block(2_000)
    for moment in rng.integers(0, 1_500, 20):
        book = Book(window=64, slots=int(rng.integers(1, 50)))
        book.process(messages[:moment])
        rest = messages[moment : moment + 500]
        snapshot = book.snapshot()
        before = book.hash()

        expected = continued(book, rest)

        book.restore(snapshot)
        assert book.hash() == before
        assert_goes_on_alike(book, expected, rest)
        other = Book(window=int(rng.choice([64, 1_024])), slots=1)
        other.process(batch(limit(0, 5, 5, 5)))
        other.restore(Snapshot.from_bytes(snapshot.to_bytes()))
        assert_goes_on_alike(other, expected, rest)


def test_a_fork_and_its_source_go_separate_ways():
    """What one of them does, the other does not notice."""
    messages = RandomStream(40_000).block(1_000)
    books = Books(3, window=64, slots=1)
    halves = np.zeros((3, 500), MESSAGE_DTYPE)
    halves[1] = messages[:500]
    books.step(halves, counts=np.array([0, 500, 0]))

    books.fork(1, 2)
    halves[2] = messages[500:]
    books.step(halves, counts=np.array([0, 0, 500]))

    half, whole = ReferenceBook(), ReferenceBook()
    half.process(messages[:500])
    whole.process(messages)
    empty = ReferenceBook().hash()
    assert [books.hash(book) for book in range(3)] == [empty, half.hash(), whole.hash()]
    copied = books.copy()
    books.step(halves, counts=np.array([0, 0, 500]))
    assert copied.hash(2) == whole.hash()


@pytest.mark.parametrize("threads", [1, 2])
def test_one_book_grows_while_another_uncrosses(threads):
    """A book that stops for room moves memory; one that stops in the same step must not be lost."""
    books = Books(2, window=64, slots=1)
    grows = [limit(BUY, 100, 1, order_id) for order_id in range(1, 201)]
    # Both stop again and again: for room once the last is used up, and before every uncross.
    uncrosses = [limit(BUY, 100, 5, 1), *([auction(), uncross(100)] * 20)]
    rows = np.zeros((2, len(grows)), MESSAGE_DTYPE)
    rows[0] = batch(*grows)
    rows[1, : len(uncrosses)] = batch(*uncrosses)

    step = books.step(rows, counts=np.array([len(grows), len(uncrosses)]), threads=threads)

    assert not step.results["reject"].any()
    assert books.phases().tolist() == [Phase.CONTINUOUS, Phase.CONTINUOUS]
    assert [len(books.resting(book)) for book in range(2)] == [len(grows), 1]
    books.check(0)
    books.check(1)
