"""Laws of a matching engine that no rule states but all rules together imply.

They are checked on random streams, legal and illegal, of both books: what conserves, what is
symmetric, and what must not matter.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.engine.base import OrderBook, Outcome
from mtsim.engine.book import Book
from mtsim.engine.messages import (
    FILL_DTYPE,
    RESULT_DTYPE,
    FillKind,
    Kind,
    Phase,
    Reject,
    TimeInForce,
)
from mtsim.engine.reference import ReferenceBook, uncross_price
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, MAX_LOTS, Side
from tests.engine.streams import (
    BUY,
    SELL,
    RandomStream,
    batch,
    concatenated,
    limit,
    market,
    uncross,
)

MakeBook = Callable[[], OrderBook]
SEEDS = [0, 1, 2, 3]


def stream(seed: int, n_messages: int = 6_000) -> np.ndarray:
    """Several mixes of one random stream."""
    return concatenated(RandomStream(10_000 + seed).blocks(n_messages, 1_000))


def in_chunks(book: OrderBook, messages: np.ndarray, chunk: int) -> Outcome:
    outcomes = [book.process(messages[i : i + chunk]) for i in range(0, len(messages), chunk)]
    return Outcome(
        np.concatenate([outcome.results for outcome in outcomes]),
        np.concatenate([outcome.fills for outcome in outcomes]),
    )


def digest(book: OrderBook, outcome: Outcome) -> str:
    """One number for all that was answered and what is left."""
    hashed = hashlib.sha256(outcome.results.tobytes())
    hashed.update(outcome.fills.tobytes())
    hashed.update(book.hash().encode())
    return hashed.hexdigest()


def traded_lots(outcome: Outcome, kind: FillKind) -> np.ndarray:
    """The lots of all rows of one kind, message by message."""
    rows = outcome.fills[outcome.fills["kind"] == kind]
    lots = np.zeros(len(outcome.results), np.int64)
    np.add.at(lots, rows["message"], rows["lots"].astype(np.int64))
    return lots


# What conserves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_every_message_conserves_lots(make_book, seed):
    """What an order brought rests, was filled or was cancelled; what it met lost what it took."""
    messages = stream(seed)
    book = make_book()
    outcome = book.process(messages)
    results, fills = outcome
    fine = results["reject"] == Reject.NONE
    lots = messages["lots"].astype(np.int64)
    gone = results["filled_lots"] + results["cancelled_lots"]
    open_lots = results["resting_lots"] + gone
    stays = (messages["kind"] == Kind.REPLACE) & (results["previous_lots"] == open_lots)

    new = fine & (messages["kind"] <= Kind.MARKET)
    assert np.array_equal(open_lots[new], lots[new])
    named = fine & ((messages["kind"] == Kind.CANCEL) | (messages["kind"] == Kind.REDUCE))
    assert np.array_equal(open_lots[named], results["previous_lots"][named].astype(np.int64))
    moved = fine & (messages["kind"] == Kind.REPLACE) & ~stays
    assert np.array_equal(open_lots[moved], lots[moved])
    for field in ("filled_lots", "n_fills", "resting_lots", "cancelled_lots", "previous_lots"):
        assert not results[field][~fine].any()

    trades = traded_lots(outcome, FillKind.TRADE)
    decremented = traded_lots(outcome, FillKind.BOTH_DECREMENTED)
    cancelled = traded_lots(outcome, FillKind.MAKER_CANCELLED)
    assert np.array_equal(trades, results["filled_lots"])
    assert (decremented <= results["cancelled_lots"]).all()
    rows = np.bincount(fills["message"], minlength=len(results))
    assert np.array_equal(rows, results["n_fills"])
    assert (np.diff(fills["message"]) >= 0).all()

    # Of the whole book: what entered is what rests or has left, from either side of a fill.
    orders = messages["kind"] <= Kind.REPLACE
    entered = (open_lots - results["previous_lots"])[orders].sum()
    left = gone.sum() + trades.sum() + decremented.sum() + cancelled.sum()
    assert sum(map(book.total_lots, Side)) == entered - left


@pytest.mark.parametrize("seed", SEEDS)
def test_a_taker_goes_from_the_best_price_to_the_worst(make_book, seed):
    """Within a message prices get no better, and none is beyond the order's limit."""
    messages = stream(seed)
    fills = make_book().process(messages).fills
    swept = fills[messages["kind"][fills["message"]] != Kind.UNCROSS]
    worse = np.where(swept["taker_side"] == BUY, 1, -1) * swept["price_tick"].astype(np.int64)

    one_message = np.diff(swept["message"]) == 0
    assert one_message.sum() > 100
    assert (np.diff(worse)[one_message] >= 0).all()
    limits = messages[swept["message"]]
    has_limit = limits["kind"] != Kind.MARKET
    sign = np.where(swept["taker_side"] == BUY, 1, -1)
    assert (worse <= sign * limits["price_tick"].astype(np.int64))[has_limit].all()


@pytest.mark.parametrize("seed", SEEDS)
def test_first_in_is_first_out(make_book, seed):
    """Where nobody changes an order, each level trades in the order of the messages."""
    messages = stream(seed)
    messages = messages[messages["kind"] <= Kind.CANCEL]
    messages["display_lots"] = 0
    outcome = make_book().process(messages)
    came = np.flatnonzero(outcome.results["resting_lots"] > 0)
    came_as = outcome.results["order_id"][came]

    level_before: dict[tuple[int, int], int] = {}
    n_checked = 0
    for row in outcome.fills:
        at = came[(came_as == row["maker_id"]) & (came < row["message"])][-1]
        level = (int(row["message"]), int(row["price_tick"]))
        assert level_before.get(level, -1) <= at
        n_checked += level in level_before
        level_before[level] = at
    assert n_checked > 10


# What is symmetric --------------------------------------------------------------------------------


def mirrored(messages: np.ndarray) -> np.ndarray:
    """Bids become asks at minus their prices, and the other way round."""
    mirror = messages.copy()
    mirror["price_tick"] = -messages["price_tick"]
    sided = messages["side"] <= SELL
    mirror["side"][sided] = 1 - messages["side"][sided]
    return mirror


def mirrored_outcome(outcome: Outcome) -> Outcome:
    results, fills = outcome.results.copy(), outcome.fills.copy()
    results["price_tick"] = -outcome.results["price_tick"]
    bids, asks = outcome.results["bid_tick"], outcome.results["ask_tick"]
    results["bid_tick"] = np.where(asks == EMPTY_ASK, EMPTY_BID, -asks)
    results["ask_tick"] = np.where(bids == EMPTY_BID, EMPTY_ASK, -bids)
    # An accepted AUCTION or UNCROSS has no side: its 0 is not BUY.
    refused = outcome.results["reject"] != Reject.NONE
    sided = (outcome.results["side"] <= SELL) & (
        refused | (outcome.results["kind"] <= Kind.REPLACE)
    )
    results["side"][sided] = 1 - outcome.results["side"][sided]
    fills["price_tick"] = -outcome.fills["price_tick"]
    fills["taker_side"] = 1 - outcome.fills["taker_side"]
    return Outcome(results, fills)


@pytest.mark.parametrize("seed", SEEDS)
def test_buying_and_selling_mirror_each_other(make_book, seed):
    """The mirrored messages have the mirrored answers, auctions and their ties included."""
    messages = stream(seed)
    book, mirror = make_book(), make_book()

    outcome = mirrored_outcome(book.process(messages))
    other = mirror.process(mirrored(messages))

    assert np.array_equal(other.results, outcome.results)
    assert np.array_equal(other.fills, outcome.fills)
    resting = book.resting()
    swapped = np.concatenate([resting[resting["side"] == side] for side in (SELL, BUY)])
    swapped["price_tick"] *= -1
    swapped["side"] = 1 - swapped["side"]
    assert np.array_equal(mirror.resting(), swapped)


@pytest.mark.parametrize("shift_ticks", [1, 63, -4_097, 2**29 + 12_345])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_only_differences_of_prices_matter(make_book, seed, shift_ticks):
    """All prices shifted by as much: all answers shifted by as much."""
    messages = stream(seed)
    messages["price_tick"] = np.clip(messages["price_tick"], -(2**28), 2**28)
    moved = messages.copy()
    moved["price_tick"] += shift_ticks
    book, shifted = make_book(), make_book()

    results, fills = book.process(messages)
    other = shifted.process(moved)

    # Answers that are no price at all stay what they are.
    fine = results["reject"] == Reject.NONE
    no_price = fine & (results["kind"] == Kind.AUCTION)
    no_price |= fine & (results["kind"] == Kind.MARKET) & (results["filled_lots"] == 0)
    results["price_tick"][~no_price] += shift_ticks
    results["bid_tick"][results["bid_tick"] != EMPTY_BID] += shift_ticks
    results["ask_tick"][results["ask_tick"] != EMPTY_ASK] += shift_ticks
    fills["price_tick"] += shift_ticks
    assert np.array_equal(other.results, results)
    assert np.array_equal(other.fills, fills)


# What must not matter -----------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 64, 999])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_how_messages_are_handed_over_does_not_matter(make_book, seed, chunk):
    """One by one or all at once: the same answers and the same book."""
    messages = stream(seed)
    whole, chunked = make_book(), make_book()

    assert digest(chunked, in_chunks(chunked, messages, chunk)) == digest(
        whole, whole.process(messages)
    )


@pytest.mark.parametrize("slots", [1, 2, 3, 100, 100_000])
@pytest.mark.parametrize("window", [64, 128, 1_024, 4_096, 65_536])
def test_the_memory_that_a_book_begins_with_does_not_matter(window, slots):
    """Neither where the window lies nor when the book has to grow changes an answer."""
    for seed in SEEDS:
        messages = stream(seed, 4_000)
        plain, other = ReferenceBook(), Book(window=window, slots=slots)

        assert digest(other, in_chunks(other, messages, 1_500)) == digest(
            plain, plain.process(messages)
        )
        other.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_refused_messages_could_as_well_not_have_been_sent(make_book, seed):
    """Without them the others have the same answers, only counted differently."""
    messages = stream(seed)
    every, fine = make_book(), make_book()
    outcome = every.process(messages)
    accepted = outcome.results["reject"] == Reject.NONE
    assert 0 < accepted.sum() < len(messages)

    other = fine.process(messages[accepted])

    assert np.array_equal(other.results, outcome.results[accepted])
    expected = outcome.fills.copy()
    expected["message"] = (np.cumsum(accepted) - 1)[outcome.fills["message"]]
    assert np.array_equal(other.fills, expected)
    assert fine.hash() == every.hash()


@pytest.mark.parametrize("seed", SEEDS)
def test_handles_or_ids_of_ones_own_do_not_matter(seed):
    """A book that issues handles does the same, order by order, to the same orders."""
    messages = stream(seed)
    reject = ReferenceBook().process(messages).results["reject"]
    # A book with handles knows neither of these two.
    messages = messages[(reject != Reject.DUPLICATE_ID) & (reject != Reject.BAD_ID)]
    reference = ReferenceBook()
    expected = reference.process(messages)

    book = Book(ids="handle", slots=1)
    handle_of: dict[int, int] = {}
    id_of: dict[int, int] = {}
    results = np.zeros(len(messages), RESULT_DTYPE)
    fills = []
    for row, given_message in enumerate(messages):
        translated = given_message.copy()
        order_id = int(given_message["order_id"])
        is_new = given_message["kind"] <= Kind.MARKET
        # A new order's own id is ignored, and one that never rested has left no handle.
        translated["order_id"] = -5 if is_new else handle_of.get(order_id, 0)
        outcome = book.process(translated[None])
        answer = outcome.results[0]
        fine = answer["reject"] == Reject.NONE
        if fine and is_new:
            handle = int(answer["order_id"])
            id_of[handle] = order_id
            if answer["resting_lots"] > 0:
                handle_of[order_id] = handle
        for fill in outcome.fills:
            fill["maker_id"] = id_of[int(fill["maker_id"])]
            fill["taker_id"] = id_of[int(fill["taker_id"])]
            fills.append(fill.item())
        results[row] = answer
        if not fine or given_message["kind"] <= Kind.REPLACE:
            results["order_id"][row] = order_id

    assert np.array_equal(results, expected.results)
    assert np.array_equal(np.array(fills, FILL_DTYPE), expected.fills)
    resting = book.resting()
    resting["order_id"] = [id_of[handle] for handle in resting["order_id"].tolist()]
    assert np.array_equal(resting, reference.resting())
    book.check()


def test_stale_handles_name_nobody():
    """A handle of an order that has left is unknown, although its slot is in use again."""
    book = Book(ids="handle", slots=1)
    stale: list[int] = []
    for _ in range(50):
        handle = int(book.process(batch(limit(BUY, 100, 5, 0))).results["order_id"][0])
        assert handle not in stale
        for old in stale:
            told = book.process(batch((Kind.CANCEL, 0, 0, 0, 0, 1, 0, 0, 0, old))).results
            assert told["reject"].tolist() == [Reject.UNKNOWN_ORDER]
        stale.append(handle)
        book.process(batch((Kind.CANCEL, 0, 0, 0, 0, 1, 0, 0, 0, handle)))
    assert len(book.resting()) == 0


DIGEST_PROGRAM = """
from mtsim.engine.book import Book
from numba import config
from tests.engine.test_laws import SEEDS, digest, in_chunks, stream

assert bool(config.BOUNDSCHECK) is BOUNDSCHECK
for seed in SEEDS:
    book = Book(window=64, slots=1)
    print(digest(book, in_chunks(book, stream(seed), 777)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("boundscheck", [False, True])
def test_checked_indices_and_a_cold_cache_do_not_matter(tmp_path, boundscheck):
    """Compiled anew, with and without bounds checks, in a process of its own: the same digests."""
    program = DIGEST_PROGRAM.replace("is BOUNDSCHECK", f"is {boundscheck}")
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": str(int(boundscheck)),
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    for _ in ("cold cache", "warm cache"):
        finished = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        expected = []
        for seed in SEEDS:
            book = ReferenceBook()
            expected.append(digest(book, book.process(stream(seed))))
        assert finished.stdout.split() == expected


# What rules imply ---------------------------------------------------------------------------------


def test_fok_is_accepted_exactly_when_ioc_would_trade_in_full(make_book):
    """The one looks before it trades, the other trades and sees: they must agree."""
    rng = np.random.default_rng(7)
    n_accepted = n_probes = 0
    for seed in range(60):
        # The shorter the history, the smaller the book: both answers come up.
        messages = stream(seed, 300)
        for _ in range(4):
            past = messages[: rng.integers(20, 300)]
            probe = limit(
                int(rng.integers(0, 2)),
                0,
                int(rng.integers(1, 40)),
                2**61,
                owner=int(rng.integers(0, 3)),
                stp=int(rng.integers(0, 5)),
            )
            now, whole = make_book(), make_book()
            now.process(past)
            whole.process(past)
            if now.phase is Phase.AUCTION:
                now.process(batch(uncross(0)))
                whole.process(batch(uncross(0)))
            ticks = [tick for side in Side for tick, _ in now.depth(side, 4)]
            order = batch(probe)
            order["price_tick"] = rng.choice(ticks) if ticks else 0
            order["kind"] = Kind.LIMIT if rng.random() < 0.8 else Kind.MARKET

            order["tif"] = TimeInForce.IOC
            filled = now.process(order).results["filled_lots"][0] == order["lots"][0]
            order["tif"] = TimeInForce.FOK
            result = whole.process(order).results[0]

            assert (result["reject"] == Reject.NONE) == filled, order
            if filled:
                assert now.hash() == whole.hash()
            else:
                assert result["reject"] == Reject.UNFILLABLE
            n_accepted += filled
            n_probes += 1
    assert 0.2 < n_accepted / n_probes < 0.8


ORDERS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=8)


def price_by_the_rules(bids, asks, reference_tick):
    """Rules 1 to 4 of the auction, word by word, tick by tick."""
    ticks = [tick for tick, _ in bids + asks]
    if not bids or not asks or max(bids)[0] < min(asks)[0]:
        return reference_tick, 0
    every = range(min(ticks), max(ticks) + 1)
    demand = {p: sum(lots for tick, lots in bids if tick >= p) for p in every}
    supply = {p: sum(lots for tick, lots in asks if tick <= p) for p in every}
    volume = max(min(demand[p], supply[p]) for p in every)
    most = [p for p in every if min(demand[p], supply[p]) == volume]
    imbalance = min(abs(demand[p] - supply[p]) for p in most)
    least = [p for p in most if abs(demand[p] - supply[p]) == imbalance]
    assert least == list(range(least[0], least[-1] + 1))
    if all(demand[p] > supply[p] for p in least):
        return least[-1], volume
    if all(demand[p] < supply[p] for p in least):
        return least[0], volume
    return min(least, key=lambda p: abs(p - reference_tick)), volume


@settings(max_examples=500)
@given(bids=ORDERS, asks=ORDERS, reference_tick=st.integers(-2, 14))
def test_the_uncross_price_follows_the_rules_word_by_word(bids, asks, reference_tick):
    """The price and volume of both books, and of the formula, are those of all ticks tried."""
    price_tick, volume = price_by_the_rules(bids, asks, reference_tick)

    assert uncross_price(bids, asks, reference_tick) == (price_tick, volume)
    rows = [limit(BUY, tick, lots, 1 + i) for i, (tick, lots) in enumerate(bids)]
    rows += [limit(SELL, tick, lots, 50 + i) for i, (tick, lots) in enumerate(asks)]
    messages = batch((Kind.AUCTION, 0, 0, 0, 0, 0, 0, 0, 0, 0), *rows, uncross(reference_tick))
    for book in (Book(), ReferenceBook()):
        told = book.process(messages).results[-1]
        assert (told["price_tick"], told["filled_lots"]) == (price_tick, volume)
        bid_tick, ask_tick = book.touch()
        assert bid_tick < ask_tick
        book.check()


@given(
    orders=st.lists(st.tuples(st.integers(90, 110), st.integers(1, 500)), max_size=20),
    taken=st.integers(1, 3_000) | st.just(MAX_LOTS),
)
def test_taking_conserves_lots(orders, taken):
    """What leaves the book is exactly what was filled."""
    rows = [limit(SELL, tick, lots, i + 1) for i, (tick, lots) in enumerate(orders)]
    for book in (Book(), ReferenceBook()):
        book.process(batch(*rows))
        before = book.total_lots(SELL)

        outcome = book.process(batch(market(BUY, taken, 99)))

        book.check()
        filled = outcome.results["filled_lots"][0]
        assert before - book.total_lots(SELL) == outcome.fills["lots"].sum() == filled
        assert filled == min(taken, before)
        assert outcome.fills["message"].tolist() == [len(rows)] * len(outcome.fills)
