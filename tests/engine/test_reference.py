"""The reference book beside the contract: that it stands alone, and that its `check` can fail."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from mtsim.engine.base import OrderBook
from mtsim.engine.messages import Phase
from mtsim.engine.reference import ReferenceBook, uncross_price
from mtsim.engine.units import MAX_LOTS, MAX_TICK, MIN_TICK
from tests.engine.asking import accept
from tests.engine.streams import BUY, SELL, auction, limit, uncross


def test_it_shares_no_code_with_the_compiled_engine():
    """Importing and using it loads the vocabulary of the engine, and no Numba."""
    program = (
        "import sys, numpy as np\n"
        "from mtsim.engine.messages import MESSAGE_DTYPE\n"
        "from mtsim.engine.reference import ReferenceBook\n"
        "ReferenceBook().process(np.zeros(3, MESSAGE_DTYPE))\n"
        "parts = [name.split('.') for name in sys.modules]\n"
        "loaded = {part[2] for part in parts if part[:2] == ['mtsim', 'engine'] and part[2:]}\n"
        "assert loaded == {'base', 'messages', 'reference', 'units'}, loaded\n"
        "assert 'numba' not in sys.modules\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    subprocess.run([sys.executable, "-c", path + program], check=True)


def test_it_is_an_order_book():
    """As a type checker sees it, too."""
    book: OrderBook = ReferenceBook()

    assert book.touch()[0] < book.touch()[1]


def test_it_prints_its_touch_and_its_life():
    """Enough to tell two books apart in a debugger."""
    book = ReferenceBook()
    accept(book, limit(BUY, 100, 5, 1), limit(SELL, 103, 5, 2), auction())

    assert repr(book) == (
        "ReferenceBook(AUCTION, bid_tick=100, ask_tick=103, orders=2, messages=3)"
    )


def sound_book() -> ReferenceBook:
    """Two bids at 100 (1, an iceberg, before 2), one at 99 (3), asks at 103 (4) and 104 (5)."""
    book = ReferenceBook()
    accept(
        book,
        limit(BUY, 100, 30, 1, display_lots=10),
        limit(BUY, 100, 5, 2),
        limit(BUY, 99, 5, 3),
        limit(SELL, 103, 5, 4),
        limit(SELL, 104, 5, 5),
    )
    return book


def moved(book: ReferenceBook, resting_id: int, **fields: int) -> None:
    """Change fields of an order behind the book's back, and put it where its line wants it."""
    order = book._by_id[resting_id]
    book._lines[order.side].remove(order)
    for name, value in fields.items():
        setattr(order, name, value)
    book._lines[order.side].add(order)


BREAKS: dict[str, tuple[Callable[[ReferenceBook], object], str]] = {
    "an id is lost": (lambda book: book._by_id.pop(2), "as many orders rest as have an id"),
    "an id names another": (
        lambda book: book._by_id.update({2: book._by_id[3]}),
        "is another's",
    ),
    "an order under another id": (lambda book: moved(book, 2, order_id=3), "is another's"),
    "an order is out of its line": (
        lambda book: book._lines[BUY].remove(book._by_id[3]),
        "as many orders rest as have an id",
    ),
    "a place taken twice": (lambda book: moved(book, 3, place=0), "two orders have one place"),
    "a place from the future": (lambda book: moved(book, 3, place=99), "a place not given out"),
    "on the wrong side": (
        lambda book: setattr(book._by_id[5], "side", BUY),
        "a stranger on side SELL",
    ),
    "a price its line does not know": (
        lambda book: setattr(book._by_id[3], "price_tick", 101),
        "is behind",
    ),
    "a place its line does not know": (
        lambda book: (
            setattr(book._by_id[1], "place", 1),
            setattr(book._by_id[2], "place", 0),
        ),
        "is behind",
    ),
    "nothing shown": (lambda book: setattr(book._by_id[2], "shown_lots", 0), "lots of"),
    "more shown than open": (lambda book: setattr(book._by_id[2], "shown_lots", 6), "lots of"),
    "more open than allowed": (
        lambda book: setattr(book._by_id[1], "open_lots", MAX_LOTS + 1),
        "lots of",
    ),
    "hidden without a slice": (
        lambda book: setattr(book._by_id[2], "open_lots", 6),
        "hidden lots in",
    ),
    "more shown than a slice": (
        lambda book: setattr(book._by_id[1], "shown_lots", 11),
        "more than a slice",
    ),
    "too many slices": (lambda book: setattr(book._by_id[1], "open_lots", 10_241), "1025 slices"),
    "a strange owner": (lambda book: setattr(book._by_id[2], "owner", -1), "owner of"),
    "a price beyond the limit": (
        lambda book: moved(book, 5, price_tick=MAX_TICK + 1),
        "price of",
    ),
    "crossed outside an auction": (lambda book: moved(book, 3, price_tick=103), "crossed"),
}


@pytest.mark.parametrize(("breaking", "broken"), BREAKS.values(), ids=BREAKS.keys())
def test_check_finds_what_is_broken_and_prints_the_book(breaking, broken):
    """Each invariant, broken alone, is the one that is named; every order is printed."""
    book = sound_book()
    book.check()

    breaking(book)

    with pytest.raises(AssertionError, match=broken) as found:
        book.check()
    assert "ReferenceBook(CONTINUOUS" in str(found.value)
    assert str(found.value).count("_Order(order_id=") >= 4


def test_check_allows_a_crossed_book_in_an_auction():
    """There it is no mistake."""
    book = sound_book()
    accept(book, auction(), limit(BUY, 110, 5, 6))

    assert book.phase is Phase.AUCTION
    assert book.touch() == (110, 103)
    accept(book, uncross(0))


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ([], [], (7, 0)),
        ([(5, 1)], [], (7, 0)),
        ([], [(5, 1)], (7, 0)),
        ([(5, 1)], [(6, 1)], (7, 0)),
        ([(5, 1)], [(5, 1)], (5, 1)),
        ([(MAX_TICK, 1)], [(MIN_TICK, 1)], (7, 1)),
        ([(MAX_TICK, 2)], [(MIN_TICK, 1)], (MAX_TICK, 1)),
        ([(MAX_TICK, 1)], [(MIN_TICK, 2)], (MIN_TICK, 1)),
        ([(9, 2**40)], [(3, 2**40), (4, 2**40)], (3, 2**40)),
    ],
)
def test_the_uncross_price_is_exact_at_the_ends(bids, asks, expected):
    """No side, no cross, all ticks there are, more lots than 32 bits hold."""
    assert uncross_price(bids, asks, reference_tick=7) == expected
