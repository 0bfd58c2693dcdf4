"""LOBSTER files become messages that give, row for row, the book that LOBSTER shows."""

import gzip
import random
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import zstandard

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import Side
from mtsim.errors import DataError, MissingError, UsageError
from mtsim.model.sources import digits, lobster, lobster_orders
from mtsim.model.sources.base import OWN_IDS, Options, place
from mtsim.model.sources.lobster import LobsterSource, open_sessions
from tests.model.lobster_files import (
    ADD,
    CROSS,
    DELETE,
    DUMMY,
    EXECUTE,
    HALT,
    HIDDEN,
    REDUCE,
    LobsterDay,
    Market,
)
from tests.model.replaying import Replay, replay


def source_of(path: Path, options: Options | None = None) -> LobsterSource:
    (source,) = open_sessions((str(path),), options or Options())
    return source


def feed_of(path: Path) -> np.ndarray:
    return np.concatenate([batch.feed for batch in source_of(path).batches()])


def replayed(path: Path) -> tuple[LobsterSource, Replay]:
    source = source_of(path)
    return source, replay(source)


def error_of(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        for _ in source_of(path).batches():
            pass
    return caught.value


def book_file(path: Path) -> Path:
    return path.with_name(path.name.replace("message", "orderbook"))


def assert_agrees(done: Replay) -> None:
    """The engine held the feed's book at every snapshot, and traded what the feed says it did."""
    assert done.first_difference == ""
    assert done.equal == done.compared
    assert not done.rejects
    assert done.resting_fills == 0
    assert done.filled_lots == done.taker_lots


# The book -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 2, 3, 5, 10, 50])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_engine_holds_every_level_of_every_row(tmp_path, levels, seed):
    day = Market(seed, levels).run(2_500)
    source, done = replayed(day.write(tmp_path, columns=6 + seed % 2))
    assert_agrees(done)
    in_orders = day.count(EXECUTE) + day.count(HIDDEN)
    assert len(day.books) - in_orders < done.compared < len(day.books)
    assert done.taker_lots == day.total(EXECUTE)
    assert source.session.truth_levels == levels
    assert source.counts.read == len(day.messages)
    assert source.counts.dropped == {
        "hidden_execution": day.count(HIDDEN),
        "cross": day.count(CROSS),
    }
    assert source.counts.used == day.count(ADD, REDUCE, DELETE, EXECUTE)


def test_levels_that_come_back_changed_are_repaired(tmp_path):
    """The generated market visits every kind of repair that a narrow window needs."""
    repaired = set()
    for seed in range(20, 24):
        source, done = replayed(Market(seed, 2, spread_ticks=60).run(3_000).write(tmp_path))
        assert_agrees(done)
        repaired |= set(source.counts.repaired)
    assert repaired == {
        "level_entered",
        "level_grew",
        "level_shrank",
        "level_gone",
        "queue_order",
        "other_order",
        "order_split",
    }


@pytest.mark.parametrize("start", range(0, 600, 23))
def test_a_file_may_begin_with_any_row(tmp_path, start):
    """The first message is undone on the first book row, whatever it is."""
    day = Market(5, 4).run(700).part(slice(start, None))
    assert_agrees(replayed(day.write(tmp_path))[1])


def test_a_window_deeper_than_the_book_needs_no_repair(tmp_path):
    """Order for order, and in the same queues, the engine holds what the market's engine held."""
    market = Market(7, 60, opening=0)
    source, done = replayed(market.run(1_200).write(tmp_path))
    assert_agrees(done)
    assert not source.counts.repaired
    there = market.book.resting()
    here = done.books.resting(0)
    assert here.tolist() == there.tolist()
    assert len(there) > 20


def test_without_a_book_file_announced_orders_make_the_same_book(tmp_path):
    market = Market(8, 60, opening=0)
    source, done = replayed(market.run(1_200).write(tmp_path, book=False))
    assert done.books.resting(0).tolist() == market.book.resting().tolist()
    assert (done.compared, source.session.truth_levels) == (0, 0)
    assert len(source.session.files) == 1


@pytest.mark.parametrize("levels", [1, 4])
def test_without_a_book_file_every_execution_still_trades(tmp_path, levels):
    """Unknown makers are put in place, stale orders that would trade instead are taken out."""
    day = Market(9, levels).run(4_000)
    source, done = replayed(day.write(tmp_path, book=False))
    assert_agrees(done)
    assert done.taker_lots == day.total(EXECUTE)
    assert source.counts.repaired["maker_unseen"] > 10
    assert source.counts.repaired["price_passed"] > 10
    assert source.counts.dropped["unknown_order"] > 10


def test_a_book_may_have_any_number_of_levels_and_orders(tmp_path):
    """More than there is room for at first: 6,000 orders, each at its own price, swept by one."""
    n = 6_000
    rows = [((k, ADD, k + 1, 10, 10_000 + k, -1), ()) for k in range(n)]
    rows += [((n, EXECUTE, k + 1, 10, 10_000 + k, -1), ()) for k in range(n)]
    path = day_of(*rows, levels=1).write(tmp_path, book=False)
    done = replayed(path)[1]
    assert_agrees(done)
    assert (done.messages, done.taker_lots) == (n + 1, 10 * n)
    assert_agrees(replayed(Market(18, 700).run(40).write(tmp_path))[1])


def test_without_a_book_file_an_order_that_would_have_traded_is_gone(tmp_path):
    """An ask rested at 101, so the bid there had left; and an order swept past has no lots left."""
    day = day_of(
        ((1, ADD, 1, 10, 101, 1), ()),
        ((2, EXECUTE, 2, 10, 101, -1), ()),
        ((3, ADD, 3, 100, 101, -1), ()),
        ((4, EXECUTE, 3, 40, 101, -1), ()),
        ((4, EXECUTE, 4, 10, 102, -1), ()),
    )
    source, done = replayed(day.write(tmp_path, book=False))
    assert_agrees(done)
    assert done.taker_lots == 60
    assert source.counts.repaired == {"price_passed": 2, "maker_unseen": 2}
    assert not len(done.books.resting(0))


def test_halts_collect_orders_and_end_in_a_cross(tmp_path):
    market = Market(10, 60, opening=0, halts=True)
    day = market.run(2_500)
    path = day.write(tmp_path)
    source, done = replayed(path)
    assert_agrees(done)
    halts = sum(row[1] == HALT and row[4] == -1 for row in day.messages)
    kinds = feed_of(path)["message"]["kind"].tolist()
    assert kinds.count(Kind.AUCTION) == kinds.count(Kind.UNCROSS) == halts > 5
    assert source.counts.dropped["halt_marker"] == 3 * halts
    assert source.counts.repaired["executed_in_halt"] > 5
    assert done.books.resting(0).tolist() == market.book.resting().tolist()


def test_a_half_full_table_of_ids_finds_what_it_holds_and_nothing_else():
    w = lobster_orders.new_window(0)._replace(ids=np.zeros((64, 2), np.int64))
    held: dict[int, int] = {}
    chance = random.Random(6)
    for slot in range(1, 2_000):
        order_id = chance.randrange(1, 200)
        if order_id in held:
            lobster_orders.drop_id(w.ids, order_id)
            del held[order_id]
        elif len(held) < 32:
            lobster_orders.put_id(w.ids, order_id, slot)
            held[order_id] = slot
        for sought in range(1, 200, 3):
            at = lobster_orders.find_id(w, sought)
            assert (w.ids[at, 1] if at >= 0 else None) == held.get(sought)


# Messages -----------------------------------------------------------------------------------------


def day_of(*rows: tuple[tuple[int, ...], tuple[int, ...]], levels: int = 2) -> LobsterDay:
    """A day of (message, (ask, size, bid, size, ...)) rows, prices in cents, times in ns."""
    day = LobsterDay(levels)
    for (time_ns, type, order_id, size, cents, direction), book in rows:
        day.messages.append((time_ns, type, order_id, size, 100 * cents, direction))
        cells = [100 * value if at % 2 == 0 else value for at, value in enumerate(book)]
        while len(cells) < 4 * levels:
            cells += [DUMMY if len(cells) % 4 == 0 else -DUMMY, 0]
        day.books.append(tuple(cells))
    return day


BOOK = (101, 10, 99, 30, 102, 20, 98, 40)
SWEEP = day_of(
    ((5, ADD, 7, 10, 101, -1), (101, 20, 99, 30, 102, 20, 98, 40)),
    ((9, EXECUTE, 3, 10, 101, -1), (101, 10, 99, 30, 102, 20, 98, 40)),
    ((9, HIDDEN, 0, 500, 101, -1), (101, 10, 99, 30, 102, 20, 98, 40)),
    ((9, EXECUTE, 7, 10, 101, -1), (102, 20, 99, 30, 103, 5, 98, 40)),
    ((9, EXECUTE, 4, 15, 102, -1), (102, 5, 99, 30, 103, 5, 98, 40)),
    ((9, EXECUTE, 5, 30, 99, 1), (102, 5, 98, 40, 103, 5, 97, 1)),
    ((12, EXECUTE, 6, 40, 98, 1), (102, 5, 97, 1, 103, 5, 96, 2)),
)


def test_executions_of_one_time_and_direction_are_one_aggressive_order(tmp_path):
    feed = feed_of(SWEEP.write(tmp_path))
    takers = feed[feed["message"]["tif"] == TimeInForce.IOC]
    message = takers["message"]
    assert message["side"].tolist() == [Side.BUY, Side.SELL, Side.SELL]
    assert message["price_tick"].tolist() == [102, 99, 98]
    assert message["lots"].tolist() == [35, 30, 40]
    assert takers["time_ns"].tolist() == [9, 9, 12]
    assert takers["row"].tolist() == [2, 6, 7]
    assert (takers["origin"] == Origin.OBSERVED).all()
    assert (message["order_id"] >= OWN_IDS).all()
    assert not np.isin(message["kind"], (Kind.CANCEL, Kind.REDUCE)).any()


def test_a_price_that_gets_better_begins_another_aggressive_order(tmp_path):
    """One order takes the best price first, so these are two; no book file is needed to tell."""
    day = day_of(
        ((9, EXECUTE, 3, 10, 102, -1), ()),
        ((9, EXECUTE, 4, 20, 101, -1), ()),
        ((9, EXECUTE, 5, 30, 98, 1), ()),
        ((9, EXECUTE, 6, 40, 99, 1), ()),
    )
    path = day.write(tmp_path, book=False)
    message = feed_of(path)["message"]
    takers = message[message["tif"] == TimeInForce.IOC]
    assert takers["price_tick"].tolist() == [102, 101, 98, 99]
    assert takers["lots"].tolist() == [10, 20, 30, 40]
    assert_agrees(replayed(path)[1])


def test_levels_that_a_sweep_brings_in_are_there_before_it(tmp_path):
    """Its price is the worst that it pays, so nothing that it brings in can be in its way."""
    day = Market(11, 1).run(3_000)
    done = replayed(day.write(tmp_path))[1]
    assert_agrees(done)
    assert done.taker_lots == day.total(EXECUTE)


def test_the_opening_book_is_the_first_row_before_its_message(tmp_path):
    feed = feed_of(SWEEP.write(tmp_path))
    opening = feed[feed["origin"] == Origin.OPENING]
    assert opening["message"][["side", "price_tick", "lots"]].tolist() == [
        (Side.BUY, 99, 30),
        (Side.BUY, 98, 40),
        (Side.SELL, 101, 10),
        (Side.SELL, 102, 20),
    ]
    assert set(opening["time_ns"].tolist()) == {5}
    first = feed[len(opening)]
    assert (first["message"]["order_id"], first["message"]["lots"]) == (7, 10)
    assert (first["origin"], first["row"]) == (Origin.OBSERVED, 1)


def test_snapshots_skip_the_midst_of_an_aggressive_order(tmp_path):
    source = source_of(SWEEP.write(tmp_path))
    (batch,) = source.batches()
    assert batch.truth is not None
    books = source.session.files[1]
    shown = [place(source.session.files, row) for row in batch.truth.row]
    assert shown == [(books, row) for row in (1, 5, 6, 7)]
    assert batch.truth.tick[1].tolist() == [[99, 98], [102, 103]]
    assert batch.truth.lots[1].tolist() == [[30, 40], [5, 5]]
    taker = np.flatnonzero(batch.feed["message"]["tif"] == TimeInForce.IOC)
    assert batch.truth.after[1:].tolist() == (taker + 1).tolist()


def test_messages_keep_id_time_and_row_of_the_feed(tmp_path):
    day = Market(12, 5).run(1_500)
    feed = feed_of(day.write(tmp_path))
    adds = feed[(feed["origin"] == Origin.OBSERVED) & (feed["message"]["order_id"] < OWN_IDS)]
    adds = adds[adds["message"]["kind"] == Kind.LIMIT]
    assert len(adds) == day.count(ADD)
    for row, time_ns, message in adds[["row", "time_ns", "message"]]:
        expected = day.messages[row - 1]
        assert (time_ns, message["order_id"], message["lots"]) == (*expected[:1], *expected[2:4])
        assert message["price_tick"] == expected[4] // 100
    assert (np.diff(feed["time_ns"]) >= 0).all()


@pytest.mark.parametrize(("block_bytes", "batch_rows"), [(1_500, 700), (6_000, 90)])
@pytest.mark.parametrize("book", [True, False])
def test_where_blocks_and_batches_end_changes_nothing(
    tmp_path, monkeypatch, block_bytes, batch_rows, book
):
    path = Market(13, 3).run(4_000).write(tmp_path, book=book)
    whole = feed_of(path)
    monkeypatch.setattr(digits, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(lobster, "BATCH_ROWS", batch_rows)
    sizes = [len(batch.feed) for batch in source_of(path).batches()]
    assert max(sizes) <= batch_rows
    assert len(sizes) > 6
    assert feed_of(path).tobytes() == whole.tobytes()
    assert_agrees(replayed(path)[1])


def test_an_order_longer_than_a_batch_is_cut_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "_BLOCK_BYTES", 1_500)
    monkeypatch.setattr(lobster, "BATCH_ROWS", 50)
    rows = [((k, ADD, k + 1, 10, 101, -1), (101, 10 * k + 20)) for k in range(300)]
    rows += [((999, EXECUTE, k + 1, 10, 101, -1), (101, 3_000 - 10 * k)) for k in range(300)]
    done = replayed(day_of(*rows, levels=1).write(tmp_path))[1]
    assert_agrees(done)
    assert done.taker_lots == 3_000


def test_times_are_rounded_to_a_nanosecond_and_counted(tmp_path):
    path = SWEEP.write(tmp_path)
    text = path.read_text().replace("34200.000000012,", "34200.000000012004,")
    path.write_text(text)
    source = source_of(path)
    feed = np.concatenate([batch.feed for batch in source.batches()])
    assert feed["time_ns"].max() == 12
    assert source.counts.noticed["time_rounded"] == 1


# Names and options --------------------------------------------------------------------------------


def test_the_session_is_what_the_name_says(tmp_path):
    session = source_of(SWEEP.write(tmp_path)).session
    assert (session.instrument.symbol, session.instrument.venue) == ("ABC", "NASDAQ")
    assert (session.instrument.tick_size, session.instrument.lot_size) == (Decimal("0.01"), 1)
    assert (session.date, session.timezone) == (date(2024, 3, 1), "America/New_York")
    assert session.start_ns == 34_200 * 10**9
    assert [Path(file).name for file in session.files] == [
        "ABC_2024-03-01_34200000_57600000_message_2.csv",
        "ABC_2024-03-01_34200000_57600000_orderbook_2.csv",
    ]


def test_another_name_needs_symbol_and_date(tmp_path):
    path = SWEEP.write(tmp_path).rename(tmp_path / "message.csv")
    book_file(SWEEP.write(tmp_path)).rename(tmp_path / "orderbook.csv")
    with pytest.raises(UsageError, match="Give --symbol and --date"):
        source_of(path)
    source = source_of(path, Options(symbol="XYZ", date=date(2020, 2, 3), venue="ARCX"))
    assert_agrees(replay(source))
    assert source.session.instrument.symbol == "XYZ"
    assert source.session.instrument.venue == "ARCX"
    assert source.session.date == date(2020, 2, 3)
    assert source.session.truth_levels == 2


@pytest.mark.parametrize("packings", [(".zst", ".gz"), (".gz", ""), ("", ".zst")])
def test_the_order_book_file_is_found_whatever_its_packing(tmp_path, packings):
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path = Market(14, 3).run(500).write(tmp_path)
    for file, packing in zip((path, book_file(path)), packings, strict=True):
        content = file.read_bytes()
        file.unlink()
        file.with_name(file.name + packing).write_bytes(pack[packing](content))
    source, done = replayed(path.with_name(path.name + packings[0]))
    assert_agrees(done)
    assert done.compared > 300
    assert len(source.session.files) == 2


def test_an_order_book_file_may_be_given_with_its_message_file(tmp_path):
    path = SWEEP.write(tmp_path)
    (source,) = open_sessions((str(book_file(path)), str(path)), Options())
    assert len(source.session.files) == 2


def test_an_order_book_file_alone_is_no_session(tmp_path):
    with pytest.raises(UsageError, match="Give the message file"):
        source_of(book_file(SWEEP.write(tmp_path)))


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError, match="there is no file"):
        source_of(tmp_path / "ABC_2024-03-01_34200000_57600000_message_2.csv")


def test_ticks_and_lots_may_be_coarser_or_finer(tmp_path):
    path = SWEEP.part(slice(5)).write(tmp_path)
    source = source_of(path, Options(tick_size=Decimal("0.0001"), lot_size=Decimal(5)))
    feed = next(iter(source.batches())).feed
    message = feed["message"][-1]
    assert (message["price_tick"], message["lots"]) == (10_200, 7)
    assert_agrees(replay(source_of(path, Options(tick_size=Decimal("0.005")))))


@pytest.mark.parametrize(
    "options",
    [
        Options(tick_size=Decimal("0.00001")),
        Options(tick_size=Decimal("0")),
        Options(lot_size=Decimal("0.5")),
    ],
)
def test_ticks_and_lots_that_the_files_cannot_have_are_refused(tmp_path, options):
    with pytest.raises(UsageError, match="must be a positive multiple of"):
        source_of(SWEEP.write(tmp_path), options)


def test_a_date_that_is_none_is_a_data_error(tmp_path):
    path = SWEEP.write(tmp_path).rename(tmp_path / "ABC_2024-13-01_0_1_message_2.csv")
    with pytest.raises(DataError, match="no such date: 2024-13-01"):
        source_of(path)


# Wrong data ---------------------------------------------------------------------------------------

GOOD = Market(15, 3).run(1_200)


def swapped(row: tuple[int, ...]) -> tuple[int, ...]:
    """A book row with bid and ask columns exchanged."""
    return tuple(row[4 * (k // 4) + (k + 2) % 4] for k in range(len(row)))


@pytest.mark.parametrize("levels", [1, 3])
def test_exchanged_bid_and_ask_columns_are_refused_at_once(tmp_path, levels):
    day = Market(17, levels).run(100)
    path = replace(day, books=[swapped(row) for row in day.books]).write(tmp_path)
    error = error_of(path)
    assert (error.file, error.row) == (str(book_file(path)), 1)
    assert "bids and asks exchanged?" in str(error)


def test_exchanged_directions_are_refused(tmp_path):
    messages = [(*row[:5], -row[5]) for row in GOOD.messages]
    error = error_of(replace(GOOD, messages=messages).write(tmp_path))
    assert error.row is not None
    assert error.row < 20


def test_deleted_rows_are_refused_where_they_are_missing(tmp_path):
    """1 % of the rows, out of both files: the row after the first that mattered is named."""
    gone = set(random.Random(1).sample(range(len(GOOD.messages)), len(GOOD.messages) // 100))
    day = GOOD.part([k for k in range(len(GOOD.messages)) if k not in gone])
    error = error_of(day.write(tmp_path))
    assert error.row is not None
    assert "does not follow" in error.rule or "more lots leave" in error.rule
    assert error.row - 1 in {k - n for n, k in enumerate(sorted(gone))}


def test_every_deleted_row_that_changes_the_best_levels_is_found(tmp_path):
    """The top L - 1 levels must follow from the row before: a gap there cannot pass."""
    top = 4 * (GOOD.levels - 1)
    found = 0
    for k in range(100, 400, 7):
        if GOOD.books[k - 1][:top] == GOOD.books[k][:top]:
            continue
        day = GOOD.part([i for i in range(600) if i != k])
        error = error_of(day.write(tmp_path))
        assert error.row == k + 1
        found += 1
    assert found > 20


def test_shuffled_rows_are_refused(tmp_path):
    order = list(range(len(GOOD.messages)))
    random.Random(2).shuffle(order)
    assert "time goes back" in error_of(GOOD.part(order).write(tmp_path)).rule


def test_shuffled_book_rows_are_refused(tmp_path):
    books = GOOD.books[:]
    random.Random(3).shuffle(books)
    error = error_of(replace(GOOD, books=books).write(tmp_path))
    assert error.row in (1, 2)


@pytest.mark.parametrize("book", [True, False])
@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        (0, -1, "time is not within the day"),
        (0, 60_000 * 10**9, "time is not within the day"),
        (1, 0, "type must be from 1 to 7"),
        (1, 8, "type must be from 1 to 7"),
        (2, 0, "order id must be positive"),
        (2, OWN_IDS, "more digits"),
        (2, 10**17, ""),
        (3, 0, "size must be positive"),
        (3, -100, "size must be positive"),
        (3, 2**31, "size is not a whole number of lots, or more"),
        (4, -1_000_000, "price must be positive"),
        (4, 1_000_050, "price is off the tick grid"),
        (4, 10**12, "price is beyond the highest tick"),
        (5, 0, "direction must be 1 or -1"),
        (5, 2, "direction must be 1 or -1"),
    ],
)
def test_a_message_that_breaks_a_rule_is_named(tmp_path, book, column, value, rule):
    at = next(k for k in range(500, 600) if GOOD.messages[k][1] == DELETE)
    messages = GOOD.messages[:]
    row = list(messages[at])
    row[column] = value
    messages[at] = (row[0], row[1], row[2], row[3], row[4], row[5])
    path = replace(GOOD, messages=messages).write(tmp_path, book=book)
    if not rule:
        assert source_of(path).session
        return
    error = error_of(path)
    assert (error.file, error.row) == (str(path), at + 1)
    assert rule in error.rule


@pytest.mark.parametrize(
    ("cell", "value", "rule"),
    [
        (1, 0, "size must be positive"),
        (1, -5, "size must be positive"),
        (0, -1_000_000, "price must be positive"),
        (0, 1_000_050, "price is off the tick grid"),
        (4, 0, "price must be positive"),
        (4, 1_000_000, "get worse from level to level"),
        (3, 12_345, "does not follow"),
    ],
)
def test_a_book_row_that_breaks_a_rule_is_named(tmp_path, cell, value, rule):
    books = GOOD.books[:]
    row = list(books[500])
    row[cell] = value
    books[500] = tuple(row)
    path = replace(GOOD, books=books).write(tmp_path)
    error = error_of(path)
    assert (error.file, error.row) == (str(book_file(path)), 501)
    assert rule in error.rule


def test_a_level_behind_an_empty_one_is_refused(tmp_path):
    day = replace(SWEEP, books=SWEEP.books[:])
    day.books[3] = (DUMMY, 0, *day.books[3][2:])
    error = error_of(day.write(tmp_path))
    assert (error.row, "a level follows one that is not there" in error.rule) == (4, True)


def test_an_order_id_added_twice_is_refused(tmp_path):
    day = day_of(
        ((1, ADD, 7, 10, 101, -1), (101, 10)),
        ((2, ADD, 7, 10, 102, -1), (101, 10)),
        levels=1,
    )
    for book in (True, False):
        error = error_of(day.write(tmp_path, book=book))
        assert (error.row, "order id is added twice" in error.rule) == (2, True)
        book_file(day.write(tmp_path)).unlink()


def test_an_execution_behind_the_best_price_is_refused(tmp_path):
    day = day_of(
        ((1, ADD, 7, 10, 101, -1), (101, 20, 99, 30, 102, 20)),
        ((2, EXECUTE, 8, 20, 102, -1), (101, 20, 99, 30, 103, 20)),
    )
    error = error_of(day.write(tmp_path))
    assert (error.row, "an execution must be at the best price" in error.rule) == (2, True)


def test_more_lots_than_a_level_has_cannot_leave_it(tmp_path):
    day = day_of(
        ((1, ADD, 7, 10, 101, -1), (101, 20)),
        ((2, DELETE, 8, 21, 101, -1), (102, 20)),
        levels=1,
    )
    error = error_of(day.write(tmp_path))
    assert (error.row, "more lots leave the price" in error.rule) == (2, True)


def test_a_first_row_that_lacks_the_order_it_adds_is_refused(tmp_path):
    day = day_of(((1, ADD, 7, 30, 101, -1), (101, 20)), levels=1)
    assert "does not show the order of 30 lots" in error_of(day.write(tmp_path)).rule


def test_trading_cannot_resume_with_a_crossed_book(tmp_path):
    day = day_of(
        ((1, HALT, 0, 0, -1, -1), (101, 20, 99, 30)),
        ((2, ADD, 7, 10, 102, 1), (101, 20, 102, 10)),
        ((3, HALT, 0, 0, 1, -1), (101, 20, 102, 10)),
        levels=1,
    )
    day.messages = [
        (*row[:4], row[4] // 100 if row[1] == HALT else row[4], row[5]) for row in day.messages
    ]
    error = error_of(day.write(tmp_path))
    assert (error.row, "trading resumes with a crossed book" in error.rule) == (3, True)


def test_a_marker_of_an_unknown_halt_is_refused(tmp_path):
    day = day_of(((1, HALT, 0, 0, 5, -1), (101, 20, 99, 30)), levels=1)
    assert "price of a halt marker" in error_of(day.write(tmp_path)).rule


@pytest.mark.parametrize("more", ["message", "orderbook"])
def test_files_of_different_length_are_refused(tmp_path, more):
    path = GOOD.write(tmp_path)
    longer, shorter = (path, book_file(path)) if more == "message" else (book_file(path), path)
    lines = shorter.read_text().splitlines(keepends=True)
    shorter.write_text("".join(lines[:-3]))
    error = error_of(path)
    assert (error.file, error.row) == (str(shorter), len(lines) - 2)
    assert longer.name in error.rule


def test_the_number_of_columns_is_checked(tmp_path):
    path = GOOD.write(tmp_path, columns=8)
    with pytest.raises(DataError, match="6 or 7 columns are expected, found 8"):
        source_of(path)
    path = GOOD.write(tmp_path)
    book = book_file(path)
    book.write_text(book.read_text().replace(",", ",,", 1))
    with pytest.raises(DataError, match="12 columns are expected, found 13"):
        source_of(path)


@pytest.mark.parametrize("kind", ["message", "orderbook"])
def test_a_file_cut_short_in_a_row_is_refused(tmp_path, kind):
    path = GOOD.write(tmp_path)
    file = path if kind == "message" else book_file(path)
    content = file.read_bytes()
    for cut in range(len(content) // 2, len(content) // 2 + 60, 7):
        file.write_bytes(content[:cut])
        assert error_of(path).row is not None


@pytest.mark.parametrize("kind", ["message", "orderbook"])
def test_changed_bytes_give_a_data_error_or_a_book_that_agrees(tmp_path, kind):
    """Never another exception: what passes is a file that keeps all rules."""
    path = Market(16, 3).run(300).write(tmp_path)
    file = path if kind == "message" else book_file(path)
    content = file.read_bytes()
    chance = random.Random(4)
    errors, named = 0, set()
    for _ in range(150):
        changed = bytearray(content)
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        file.write_bytes(bytes(changed))
        try:
            done = replayed(path)[1]
        except DataError as error:
            named.add(error.file)
            errors += 1
        else:
            assert_agrees(done)
    assert errors > 75
    assert str(file) in named <= {str(path), str(book_file(path))}


# The real files -----------------------------------------------------------------------------------

AMZN = "AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"
AAPL = "AAPL_2012-06-21_34200000_57600000_message_1.csv.zst"
MSFT = "MSFT_2012-06-21_34200000_37800000_message_50.first_1000_rows.csv.zst"
AAPL_50 = "AAPL_2012-06-21_34200000_37800000_message_50.csv.zst"
AMZN_2021 = "AMZN_2021-04-12_34200000_57600000_message_10.first_30min.csv.zst"


@pytest.mark.parametrize(
    ("name", "rows", "taken", "every"),
    [
        (AMZN, 155_935, 613_248, 97),
        (AAPL, 118_497, 1_845_964, 97),
        (MSFT, 1_000, 30_891, 1),
        pytest.param(AMZN, 155_935, 613_248, 1, marks=pytest.mark.slow),
        pytest.param(AAPL, 118_497, 1_845_964, 1, marks=pytest.mark.slow),
    ],
)
def test_real_books_agree_row_for_row(market_data, name, rows, taken, every):
    """Every row follows from the row before it, and the engine holds all levels after each."""
    source = source_of(market_data / "lobster" / name)
    done = replay(source, every=every)
    assert_agrees(done)
    assert source.counts.read == rows
    assert done.taker_lots == taken
    assert done.compared > 0.8 * rows / every


@pytest.mark.parametrize(
    ("name", "rows", "taken"), [(AAPL_50, 91_997, 350_494), (AMZN_2021, 40_674, None)]
)
def test_real_messages_without_books_trade_what_they_say(market_data, name, rows, taken):
    source = source_of(market_data / "lobster" / name)
    done = replay(source)
    assert_agrees(done)
    assert source.counts.read == rows
    assert taken is None or done.taker_lots == taken


def test_real_files_with_exchanged_sides_or_missing_rows_are_refused(market_data, tmp_path):
    decompress = zstandard.ZstdDecompressor()
    lines = {}
    for kind in ("message", "orderbook"):
        packed = (market_data / "lobster" / AMZN.replace("message", kind)).read_bytes()
        with decompress.stream_reader(packed) as reader:
            lines[kind] = reader.read().decode().splitlines()
    path = tmp_path / AMZN.removesuffix(".zst")
    gone = set(random.Random(5).sample(range(len(lines["message"])), len(lines["message"]) // 100))
    for kind, name in (("message", path.name), ("orderbook", book_file(path).name)):
        kept = [line for k, line in enumerate(lines[kind]) if k not in gone]
        (tmp_path / name).write_text("\n".join(kept))
    assert error_of(path).row in range(min(gone), min(gone) + 500)
    path.write_text("\n".join(lines["message"]))
    books = [swapped(tuple(map(int, line.split(",")))) for line in lines["orderbook"]]
    book_file(path).write_text("\n".join(",".join(map(str, row)) for row in books))
    assert error_of(path).row == 1
