"""The single book for people, its border, and `check`: what it must notice."""

import doctest
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mtsim.engine import book as book_module
from mtsim.engine import layout
from mtsim.engine.book import Answer, Book, Fill
from mtsim.engine.invariants import check_block
from mtsim.engine.messages import (
    MESSAGE_DTYPE,
    FillKind,
    Kind,
    Phase,
    Reject,
    SelfTrade,
    TimeInForce,
)
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_TICK, MIN_TICK, Side
from mtsim.errors import EngineInputError
from tests.engine.streams import RandomStream, batch, limit

BUY, SELL = Side.BUY, Side.SELL


def test_the_example_in_the_module_is_true():
    failed, tried = doctest.testmod(book_module)
    assert tried > 5
    assert failed == 0


def test_the_vocabulary_loads_without_numba():
    """Messages, units and the protocol are for everybody; the compiler is for who needs it."""
    loaded = (
        "import sys, mtsim.engine, mtsim.engine.units, mtsim.engine.messages, mtsim.engine.base\n"
        "print('numba' in sys.modules)\n"
        "mtsim.engine.Book\n"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    # The second line shows that the first one could have failed.
    assert done.stdout.split() == ["False", "True"]


def test_every_public_name_is_there():
    import mtsim.engine

    assert mtsim.engine.Book is Book
    for name in mtsim.engine.__all__:
        assert getattr(mtsim.engine, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Boook'"):
        _ = mtsim.engine.Boook


# The methods for people ---------------------------------------------------------------------------


def test_an_answer_says_what_became_of_the_order():
    book = Book()
    book.limit(SELL, 101, 5, order_id=7, owner=3)

    answer = book.limit(BUY, 102, 8, order_id=9)

    assert answer == Answer(
        order_id=9,
        reject=Reject.NONE,
        filled_lots=5,
        resting_lots=3,
        cancelled_lots=0,
        price_tick=102,
        fills=(Fill(maker_id=7, taker_id=9, price_tick=101, lots=5, kind=FillKind.TRADE),),
    )


def test_each_method_sends_its_kind_of_message():
    """The same things asked for in words and as rows give the same book."""
    spoken, written = Book(), Book()

    spoken.limit(BUY, 100, 10, 1, owner=1, display_lots=2)
    spoken.limit(BUY, 99, 10, 2, owner=1, post_only=True)
    spoken.limit(SELL, 105, 10, 3, owner=2)
    spoken.limit(SELL, 100, 2, 4, owner=1, tif=TimeInForce.IOC, stp=SelfTrade.CANCEL_OLDEST)
    spoken.market(BUY, 3, 5, owner=2, stp=SelfTrade.DECREMENT)
    spoken.market(BUY, 100, 6, tif=TimeInForce.FOK)
    spoken.reduce(2, 4, owner=1)
    spoken.replace(2, 98, 9, owner=1, lose_place=True, post_only=True)
    spoken.cancel(3, owner=2)
    spoken.start_auction()
    spoken.limit(SELL, 90, 3, 7)
    spoken.uncross(95)

    written.process(
        np.array(
            [
                (Kind.LIMIT, 0, 0, 0, 0, 1, 100, 10, 2, 1),
                (Kind.LIMIT, 0, 0, 0, 1, 1, 99, 10, 0, 2),
                (Kind.LIMIT, 1, 0, 0, 0, 2, 105, 10, 0, 3),
                (Kind.LIMIT, 1, 1, 2, 0, 1, 100, 2, 0, 4),
                (Kind.MARKET, 0, 1, 4, 0, 2, 0, 3, 0, 5),
                (Kind.MARKET, 0, 2, 0, 0, 0, 0, 100, 0, 6),
                (Kind.REDUCE, 0, 0, 0, 0, 1, 0, 4, 0, 2),
                (Kind.REPLACE, 0, 0, 0, 3, 1, 98, 9, 0, 2),
                (Kind.CANCEL, 0, 0, 0, 0, 2, 0, 0, 0, 3),
                (Kind.AUCTION, 0, 0, 0, 0, 0, 0, 0, 0, 0),
                (Kind.LIMIT, 1, 0, 0, 0, 0, 90, 3, 0, 7),
                (Kind.UNCROSS, 0, 0, 0, 0, 0, 95, 0, 0, 0),
            ],
            MESSAGE_DTYPE,
        )
    )

    assert spoken.snapshot().to_bytes() == written.snapshot().to_bytes()
    assert spoken.phase is Phase.CONTINUOUS
    assert len(spoken.resting()) > 0


def test_an_order_without_an_id_gets_one_that_is_free():
    book = Book()
    book.limit(BUY, 10, 1, order_id=1)
    book.limit(BUY, 10, 1, order_id=2)

    assert book.limit(BUY, 10, 1).order_id == 3
    assert book.market(SELL, 1).order_id == 4
    assert book.limit(BUY, 10, 1).order_id == 5


def test_a_book_with_handles_names_its_orders_itself():
    """A handle dies with its order, even when its slot is used again."""
    book = Book(ids="handle")
    first = book.limit(BUY, 10, 1, order_id=77).order_id
    assert book.cancel(first).reject is Reject.NONE

    second = book.limit(BUY, 10, 1).order_id

    assert second != first
    assert book.cancel(first).reject is Reject.UNKNOWN_ORDER
    assert book.orders_at(BUY, 10) == [second]


def test_printed_it_is_a_small_ladder():
    book = Book()
    assert repr(book) == "Book: CONTINUOUS\n     no | orders"
    book.start_auction()
    book.limit(BUY, 12, 5)
    book.limit(SELL, -3, 4000)
    assert repr(book) == "Book: AUCTION\n     -3 |  4000 ask\n     12 |     5 bid"


def test_an_order_that_does_not_rest_has_no_queue():
    book = Book()
    for order_id in (1, 0, -1, 2**63, 2**64 + 1):
        with pytest.raises(KeyError, match=str(order_id)):
            book.queue_ahead(order_id)


def test_orders_at_both_ends_of_all_prices_fit_in_one_book():
    book = Book()
    for tick in (MIN_TICK, MAX_TICK - 1, 0, MIN_TICK + 1):
        assert book.limit(BUY, tick, 1).reject is Reject.NONE
    assert book.limit(SELL, MAX_TICK, 1).reject is Reject.NONE
    book.check()

    assert book.touch() == (MAX_TICK - 1, MAX_TICK)
    assert [tick for tick, _ in book.depth(BUY, 9)] == [MAX_TICK - 1, 0, MIN_TICK + 1, MIN_TICK]
    assert book.market(SELL, 4).fills[-1].price_tick == MIN_TICK
    assert book.touch() == (EMPTY_BID, MAX_TICK)
    assert book.cancel(5).reject is Reject.NONE
    assert book.touch() == (EMPTY_BID, EMPTY_ASK)
    assert book.lots_at(BUY, MAX_TICK + 1) == 0
    assert book.orders_at(SELL, 2**40) == []


# The border ---------------------------------------------------------------------------------------


def not_messages() -> dict[str, Any]:
    good = batch(limit(0, 5, 5, 5))
    return {
        "a list": [tuple(good[0].item())],
        "nothing": None,
        "floats": np.full(8, np.nan),
        "one row, no array": good[0],
        "the bytes of a row": good.view("u1"),
        "two dimensions": good.reshape(1, 1),
        "no dimension": good.reshape(()),
        "another order of the fields": good.astype(MESSAGE_DTYPE.descr[::-1]),
        "wider fields": good.astype([(name, "f8") for name in MESSAGE_DTYPE.names or ()]),
        "objects": np.array([object()]),
        "big endian": good.astype(MESSAGE_DTYPE.newbyteorder(">")),
    }


@pytest.mark.parametrize("what", not_messages())
def test_what_is_no_array_of_messages_is_an_error_and_changes_nothing(what):
    book = Book()
    book.limit(BUY, 3, 3)
    before = book.snapshot().to_bytes()

    with pytest.raises(EngineInputError, match=r"Book\.process: messages must be .* got"):
        book.process(not_messages()[what])

    assert book.snapshot().to_bytes() == before


def test_messages_may_lie_in_memory_any_way():
    """Read-only, strided, unaligned and subclassed arrays are the messages that they show."""
    messages = RandomStream(1).block(200)
    expected = Book().process(messages)
    read_only = messages.copy()
    read_only.flags.writeable = False
    strided = np.repeat(messages, 2)[::2]
    unaligned = np.frombuffer(b"x" + messages.tobytes(), MESSAGE_DTYPE, offset=1)

    for same in (read_only, strided, unaligned, messages.view(np.recarray)):
        outcome = Book().process(same)
        assert np.array_equal(outcome.results, expected.results)
        assert np.array_equal(outcome.fills, expected.fills)


def test_an_outcome_belongs_to_the_caller():
    book = Book()
    first = book.process(batch(limit(0, 5, 5, 1), limit(1, 5, 2, 2)))
    kept = first.results.copy(), first.fills.copy()

    book.process(batch(limit(1, 5, 3, 3), limit(0, 9, 9, 4), limit(1, 9, 9, 5)))

    assert np.array_equal(first.results, kept[0])
    assert np.array_equal(first.fills, kept[1])
    assert len(kept[1]) == 1


def test_no_messages_are_no_answers():
    outcome = Book().process(np.zeros(0, MESSAGE_DTYPE))
    assert len(outcome.results) == len(outcome.fills) == 0


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("price_tick", 2**31),
        ("price_tick", -(2**31) - 1),
        ("lots", 2**32 + 5),
        ("lots", 5.0),
        ("lots", float("nan")),
        ("order_id", 2**63),
        ("order_id", "7"),
        ("side", 256),
        ("side", -1),
        ("owner", 2**31),
        ("display_lots", None),
    ],
)
def test_a_number_that_does_not_fit_is_an_error_and_never_wraps(field, number):
    book = Book()
    order = {"side": BUY, "price_tick": 5, "lots": 5, "order_id": 5} | {field: number}

    with pytest.raises(EngineInputError, match=f"{field} must be an integer from"):
        book.limit(**order)

    assert len(book.resting()) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price_tick": 2**31 - 1}, Reject.BAD_TICK),
        ({"lots": 0}, Reject.BAD_LOTS),
        ({"lots": -(2**31)}, Reject.BAD_LOTS),
        ({"order_id": -(2**63)}, Reject.BAD_ID),
        ({"side": 2}, Reject.BAD_SIDE),
        ({"owner": -1}, Reject.BAD_OWNER),
        ({"display_lots": 6}, Reject.BAD_DISPLAY),
    ],
)
def test_a_number_that_fits_and_breaks_a_rule_is_refused(change, reason):
    order = {"side": BUY, "price_tick": 5, "lots": 5, "order_id": 5} | change
    assert Book().limit(**order).reject is reason


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"ids": "both"}, "ids must be 'external' or 'handle'"),
        ({"window": 1_000}, "window must be a power of two"),
        ({"window": 32}, "window must be a power of two"),
        ({"window": 2**17}, "window must be a power of two"),
        ({"slots": 0}, "slots must be from 1"),
        ({"slots": 2**30}, "slots must be from 1"),
    ],
)
def test_a_book_that_cannot_be_is_an_error(options, rule):
    with pytest.raises(EngineInputError, match=rule):
        Book(**options)


# check --------------------------------------------------------------------------------------------


def busy_book(**options: Any) -> Book:
    """Bids at 10 (two orders, one an iceberg), 9 and far away; asks at 12 and 13; one free slot."""
    book = Book(window=64, slots=15, **options)
    book.limit(BUY, 10, 2, 1)
    book.limit(BUY, 10, 9, 2, display_lots=2)
    book.limit(BUY, 9, 7, 3)
    book.limit(BUY, -900, 1, 4)
    book.limit(BUY, -950, 1, 5)
    book.limit(SELL, 12, 4, 6)
    book.limit(SELL, 13, 4, 7)
    book.limit(SELL, 14, 4, 8)
    book.cancel(book.orders_at(SELL, 14)[0])
    book.check()
    return book


def block_of(book: Book) -> np.ndarray:
    return book._books._arena.block(0)


def order_words(book: Book, slot: int) -> np.ndarray:
    block = block_of(book)
    return block[block[layout.ORDERS] + 4 * slot :][:4].view(np.int32)


def ladder_words(book: Book, side: Side, tick: int) -> np.ndarray:
    block = block_of(book)
    window = block[layout.MASK] + 1
    key = -tick if side else tick
    return block[block[layout.LADDER] + 2 * (side * window + key % window) :][:2]


def part(book: Book, word: int) -> np.ndarray:
    return block_of(book)[block_of(book)[word] :]


def end_auction_without_uncross(book: Book) -> None:
    book.start_auction()
    book.limit(BUY, 12, 1)
    block_of(book)[layout.PHASE] = Phase.CONTINUOUS


DAMAGE = {
    "level has 8 lots": lambda book: ladder_words(book, BUY, 10).__setitem__(1, 8),
    "tail 1, last order 2": lambda book: ladder_words(book, BUY, 10).view("i4").__setitem__(1, 1),
    "something left in an empty level": lambda book: ladder_words(book, BUY, 11).__setitem__(1, 1),
    "BUY: bitmap": lambda book: part(book, layout.BITMAP).__setitem__(0, 0),
    "BUY: summary": lambda book: part(book, layout.SUMMARY).__setitem__(0, 0),
    "BUY: best key 9": lambda book: block_of(book).__setitem__(layout.BEST, 9),
    "SELL: best key": lambda book: block_of(book).__setitem__(layout.BEST + 1, -13),
    "BUY: order of the levels": lambda book: part(book, layout.PARKED).__setitem__(0, -800),
    "BUY: parked inside": lambda book: part(book, layout.PARKED).__setitem__(3, 8),
    "BUY: hidden lots": lambda book: block_of(book).__setitem__(layout.HIDDEN, 6),
    "hidden slices": lambda book: block_of(book).__setitem__(layout.HIDDEN_SLICES, 3),
    "previous is 3": lambda book: order_words(book, 2).__setitem__(layout.PREVIOUS, 3),
    "in two places": lambda book: order_words(book, 2).__setitem__(layout.NEXT, 1),
    "the queue leads to slot 99": lambda book: order_words(book, 2).__setitem__(layout.NEXT, 99),
    "place": lambda book: part(book, layout.PLACES).__setitem__(1, 2),
    "on another level": lambda book: order_words(book, 1).__setitem__(layout.KEY, 9),
    "on the other side": lambda book: order_words(book, 1).__setitem__(layout.SECOND_AND_SIDE, 1),
    "owner": lambda book: order_words(book, 1).__setitem__(layout.OWNER, -1),
    "second record outside": lambda book: order_words(book, 1).__setitem__(
        layout.SECOND_AND_SIDE, 2 * 500
    ),
    "second record of two": lambda book: order_words(book, 1).__setitem__(
        layout.SECOND_AND_SIDE, 2 * 3
    ),
    "slice 1": lambda book: order_words(book, 3).__setitem__(layout.SLICE_LOTS, 1),
    "hidden -7": lambda book: order_words(book, 3).__setitem__(layout.HIDDEN_LOTS, -7),
    "slots handed out, 9 accounted": lambda book: block_of(book).__setitem__(layout.FREE, 0),
    "a slot has two uses": lambda book: block_of(book).__setitem__(layout.FREE, 1),
    "the free list leads to slot 77": lambda book: block_of(book).__setitem__(layout.FREE, 77),
    "are not the resting orders": lambda book: part(book, layout.IDS)[:32].__setitem__(
        np.flatnonzero(part(book, layout.IDS)[:32])[0], 0
    ),
    "cannot be found|tag of id|two entries": lambda book: part(book, layout.IDS)[:32].__setitem__(
        slice(None), np.roll(part(book, layout.IDS)[:32], 7)
    ),
    "an id rests twice": lambda book: order_words(book, 1).view("i8").__setitem__(2, 2),
    "crossed: bid 12, ask 12": lambda book: end_auction_without_uncross(book),
    "offset in header word": lambda book: block_of(book).__setitem__(layout.ORDERS, 8),
    "phase": lambda book: block_of(book).__setitem__(layout.PHASE, 2),
    "window": lambda book: block_of(book).__setitem__(layout.MASK, 99),
}


@pytest.mark.parametrize("complaint", DAMAGE)
def test_check_notices(complaint):
    """Each invariant, broken alone, is named; and the book is printed with it."""
    book = busy_book()

    DAMAGE[complaint](book)

    with pytest.raises(AssertionError, match=complaint) as broken:
        book.check()
    assert "header: [" in str(broken.value)


def test_check_notices_a_handle_of_another_slot():
    book = busy_book(ids="handle")
    order_words(book, 1).view("i8")[2] = 2
    with pytest.raises(AssertionError, match="handle 2 in slot 1"):
        book.check()


def test_check_survives_any_damage():
    """Whatever a block holds, `check` says AssertionError or nothing: no crash, no endless loop."""
    rng = np.random.default_rng(3)
    book = Book(window=64, slots=15)
    book.process(RandomStream(4).block(300))
    caught = 0
    for _ in range(500):
        damaged = block_of(book).copy()
        # The header is small, and everything hangs on it.
        word = rng.integers(0, layout.HEADER_WORDS if rng.random() < 0.3 else len(damaged))
        damaged[word] ^= np.int64(1) << np.int64(rng.integers(0, 64))
        try:
            check_block(damaged)
        except AssertionError:
            caught += 1
    assert caught > 100
