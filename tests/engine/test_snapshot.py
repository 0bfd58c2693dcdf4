"""A snapshot is the whole book and nothing but the book, in memory and as bytes."""

import hashlib

import numpy as np
import pytest

from mtsim.engine import layout
from mtsim.engine.batch import Books
from mtsim.engine.book import Book
from mtsim.engine.messages import Phase, Reject
from mtsim.engine.snapshot import Snapshot
from mtsim.engine.units import Side
from mtsim.errors import EngineInputError, IntegrityError
from tests.engine.streams import RandomStream

BUY, SELL = Side.BUY, Side.SELL


def busy_book() -> Book:
    book = Book(window=64, slots=7)
    book.process(RandomStream(2).block(400))
    assert len(book.resting()) > 3
    return book


@pytest.mark.parametrize("ids", ["external", "handle"])
@pytest.mark.parametrize("seed", range(5))
def test_a_restored_book_answers_as_the_original_would_have(ids, seed):
    """200 moments: the continuation is the same, bit for bit, handles and places included."""
    messages = RandomStream(seed).block(1_200)
    rng = np.random.default_rng(seed)
    book = Book(window=64, slots=1, ids=ids)
    for moment in np.sort(rng.integers(0, 1_000, 20)):
        book.process(messages[:moment])
        snapshot = book.snapshot()
        expected = book.process(messages[moment : moment + 200])
        after = book.snapshot().to_bytes()

        other = Book()
        other.restore(snapshot)
        outcome = other.process(messages[moment : moment + 200])

        assert np.array_equal(outcome.results, expected.results)
        assert np.array_equal(outcome.fills, expected.fills)
        other.check()
        # The block may have grown at another moment; what it says may not differ.
        assert other.hash() == book_from(after).hash()
        book.restore(snapshot)


def book_from(stored: bytes) -> Book:
    book = Book()
    book.restore(Snapshot.from_bytes(stored))
    return book


def test_a_snapshot_does_not_change_with_its_book():
    book = busy_book()
    snapshot = book.snapshot()
    stored = snapshot.to_bytes()

    book.process(RandomStream(3).block(400))

    assert snapshot.to_bytes() == stored
    with pytest.raises(ValueError, match="read-only"):
        snapshot.block[0] = 1


def test_a_snapshot_can_be_restored_again_and_again():
    book = busy_book()
    snapshot, before = book.snapshot(), book.hash()
    for seed in range(3):
        book.process(RandomStream(seed).block(200))
        assert book.hash() != before
        book.restore(snapshot)
        assert book.hash() == before


def test_a_snapshot_keeps_the_auction():
    book = Book()
    book.start_auction()
    book.limit(BUY, 10, 5, 1)
    book.limit(SELL, 8, 5, 2)
    snapshot = book.snapshot()
    assert book.uncross(9).filled_lots == 5

    book.restore(snapshot)

    assert book.phase is Phase.AUCTION
    assert book.start_auction().reject is Reject.WRONG_PHASE
    assert book.uncross(9).filled_lots == 5


def test_a_fork_shares_nothing():
    book = busy_book()
    fork = book.fork()
    before = book.hash()
    assert fork.hash() == before

    fork.process(RandomStream(9).block(200))

    assert book.hash() == before
    assert fork.hash() != before


def test_a_fork_within_a_batch_fits_books_of_other_sizes():
    """The source has grown, the target has not, and their neighbours notice nothing."""
    books = Books(3, window=64, slots=1)
    messages = np.stack([RandomStream(seed).block(600) for seed in range(3)])
    books.step(messages, counts=np.array([600, 5, 5]))
    hashes = [books.hash(book) for book in range(3)]

    books.fork(0, 2)

    assert [books.hash(book) for book in range(3)] == [hashes[0], hashes[1], hashes[0]]
    books.fork(1, 0)
    assert [books.hash(book) for book in range(3)] == [hashes[1], hashes[1], hashes[0]]
    for book in range(3):
        books.check(book)


def test_there_is_no_book_outside_the_batch():
    books = Books(2)
    for ask in (books.snapshot, books.resting, books.hash, books.check):
        for book in (-1, 2):
            with pytest.raises(EngineInputError, match="there are books 0 to 1, got"):
                ask(book)


# As bytes -----------------------------------------------------------------------------------------


def test_bytes_are_the_snapshot():
    snapshot = busy_book().snapshot()
    again = Snapshot.from_bytes(snapshot.to_bytes())
    assert np.array_equal(again.block, snapshot.block)
    assert again.to_bytes() == snapshot.to_bytes()


def test_a_flipped_bit_anywhere_is_noticed():
    stored = busy_book().snapshot().to_bytes()
    rng = np.random.default_rng(1)
    places = np.concatenate([np.arange(0, 64), rng.integers(64, len(stored), 200)])
    for place in places:
        flipped = bytearray(stored)
        flipped[place] ^= 1 << int(rng.integers(0, 8))
        with pytest.raises(IntegrityError, match="snapshot: "):
            Snapshot.from_bytes(bytes(flipped))


@pytest.mark.parametrize("length", [0, 5, 48, 100, -8, -1])
def test_half_a_snapshot_is_noticed(length):
    stored = busy_book().snapshot().to_bytes()
    with pytest.raises(IntegrityError, match="snapshot: "):
        Snapshot.from_bytes(stored[:length])


def test_a_forged_book_is_noticed_before_it_can_do_harm():
    """Whoever can write the digest can write any links: the book itself is checked, too."""
    stored = busy_book().snapshot().to_bytes()
    body = np.frombuffer(stored[48:], np.int64).copy()
    head = int(np.flatnonzero(body[body[layout.LADDER] :][::2])[0])
    body[body[layout.LADDER] + 2 * head] = 10**6
    forged = stored[:16] + hashlib.sha256(body.tobytes()).digest() + body.tobytes()

    with pytest.raises(IntegrityError, match="the book in it is not sound"):
        Snapshot.from_bytes(forged)
