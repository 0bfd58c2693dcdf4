"""A mapping says how a file speaks of orders; the messages give the book that the file shows."""

import io
import random
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import zstandard

from mtsim.engine.batch import Books
from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.errors import DataError, MissingError, UsageError
from mtsim.model.sources import ledger, ledger_records, mapping, tables
from mtsim.model.sources.base import BATCH_ROWS, OWN_IDS, Options, place
from mtsim.model.sources.mapped import MappedSource, open_sessions
from tests.model.mapped_files import (
    BESIDE,
    DAY,
    NAMES,
    PLAIN,
    SAID,
    Shanghai,
    cents,
    feed_of,
    mapped,
    shanghai,
    small,
    table,
    text_of,
    told,
    written,
)
from tests.model.replaying import replay
from tests.model.venue import BUY, SELL, Venue

# --- the book ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_book_after_every_row_is_the_one_beside_it(tmp_path, seed):
    venue = Venue().play(seed, 600)
    file = written(tmp_path, text_of(table(venue, books=True)), "orders.csv.zst")

    source = mapped(file, BESIDE)
    done = replay(source)

    inside = sum(
        one[0] == two[0] == "FILL" and one[3] == two[3]
        for one, two in zip(venue.rows, venue.rows[1:], strict=False)
    )
    assert done.first_difference == ""
    assert (done.compared, done.equal) == (len(venue.rows) - inside, done.compared)
    assert source.counts.read == source.counts.used == len(venue.rows)
    assert not source.counts.dropped
    assert not source.counts.repaired
    assert not done.rejects
    assert done.resting_fills == 0
    fills = sum(row[5] for row in venue.rows if row[0] == "FILL")
    assert done.taker_lots == done.filled_lots == fills


@pytest.mark.parametrize("seed", range(6))
def test_a_file_that_begins_in_the_midst_begins_with_its_first_book(tmp_path, seed):
    venue = Venue().play(seed, 900)
    file = written(tmp_path, text_of(table(venue, books=True, start=300)))

    source = mapped(file, BESIDE)
    done = replay(source)

    assert done.first_difference == ""
    assert done.compared == done.equal > 400
    assert not done.rejects
    counts = source.counts
    assert counts.read == counts.used + counts.dropped.total()
    assert set(counts.dropped) <= {
        ledger_records.DROPPED[ledger_records.Drop.CANCEL],
        ledger_records.DROPPED[ledger_records.Drop.FILL],
    }


def test_one_aggressive_order_takes_all_fills_of_one_time(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "S", 2, "", "10.01", 5),
        ("FILL", "S", 1, "", "10.00", 5),
        ("FILL", "S", 2, "", "10.01", 3),
        ("ADD", "B", 3, "", "9.99", 4),
    ]

    feed = feed_of(small(rows)(tmp_path, [1, 2, 3, 3, 3]))

    assert told(feed)[2:] == [
        ("LIMIT", BUY, "IOC", 1001, 8, OWN_IDS, "OBSERVED"),
        ("LIMIT", BUY, "GTC", 999, 4, 3, "OBSERVED"),
    ]
    assert feed["row"].tolist() == [2, 3, 4, 6]


def test_fills_of_two_times_or_at_better_prices_are_two_orders(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "S", 2, "", "10.01", 5),
        ("FILL", "S", 1, "", "10.00", 1),
        ("FILL", "S", 1, "", "10.00", 4),
        ("FILL", "S", 2, "", "10.01", 1),
        ("ADD", "S", 3, "", "10.00", 5),
        ("FILL", "S", 3, "", "10.00", 1),
    ]

    feed = feed_of(small(rows)(tmp_path, [1, 2, 3, 4, 4, 4, 4]))

    takers = feed["message"][feed["message"]["tif"] == TimeInForce.IOC]
    assert takers["lots"].tolist() == [1, 5, 1]
    assert takers["order_id"].tolist() == [OWN_IDS, OWN_IDS + 1, OWN_IDS + 2]


def test_an_order_that_a_trade_passes_over_goes_behind(tmp_path):
    """Something that the feed does not show cost it its place; the named order still trades."""
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "S", 2, "", "10.00", 6),
        ("ADD", "S", 3, "", "10.01", 7),
        ("FILL", "S", 3, "", "10.01", 2),
        ("DELETE", "S", 1, "", "10.00", 5),
    ]
    source = small(rows)(tmp_path)

    feed = feed_of(source)

    assert told(feed)[3:] == [
        ("CANCEL", SELL, "GTC", 0, 0, 1, "INFERRED"),
        ("CANCEL", SELL, "GTC", 0, 0, 2, "INFERRED"),
        ("LIMIT", BUY, "IOC", 1001, 2, OWN_IDS, "OBSERVED"),
        ("LIMIT", SELL, "GTC", 1000, 5, 1, "INFERRED"),
        ("LIMIT", SELL, "GTC", 1000, 6, 2, "INFERRED"),
        ("CANCEL", SELL, "GTC", 0, 0, 1, "OBSERVED"),
    ]
    assert source.counts.repaired == {"order that a trade passed over, taken out and put back": 4}


@pytest.mark.parametrize("seed", range(4))
def test_fills_out_of_turn_leave_the_lots_of_every_order_right(tmp_path, seed):
    """A venue that fills pro rata: any order of a level may trade any of its lots."""
    luck = random.Random(seed)
    rows, open_lots = [], {}
    for order in range(1, 60):
        open_lots[order] = luck.randrange(2, 30)
        rows.append(("ADD", "S", order, "", cents(1000 + order % 3), open_lots[order]))
    times = list(range(len(rows)))
    for moment in range(40):
        touched = luck.sample([order for order in open_lots if open_lots[order] > 1], 3)
        for order in sorted(touched, key=lambda order: order % 3):
            lots = luck.randrange(1, open_lots[order])
            open_lots[order] -= lots
            rows.append(("FILL", "S", order, "", cents(1000 + order % 3), lots))
            times.append(1000 + moment)
    source = small(rows)(tmp_path, times)

    books = Books(1)
    results = books.process(np.ascontiguousarray(feed_of(source)["message"])).results

    assert not results["reject"].any()
    resting = books.resting(0)
    assert dict(zip(resting["order_id"].tolist(), resting["lots"].tolist(), strict=True)) == {
        order: lots for order, lots in open_lots.items() if lots
    }
    assert source.counts.used == len(rows)


def test_a_fill_or_cancel_of_what_is_not_there_is_counted(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("FILL", "S", 9, "", "10.00", 1),
        ("CANCEL", "B", 9, "", "10.00", 1),
        ("DELETE", "S", 9, "", "10.00", 1),
        ("ADD", "S", 1, "", "10.02", 5),
        ("FILL", "S", 1, "", "10.00", 7),
        ("FILL", "S", 1, "", "10.00", 1),
    ]
    source = small(rows)(tmp_path, [1, 2, 3, 4, 5, 6, 6])

    feed = feed_of(source)

    assert told(feed)[1:] == [("LIMIT", BUY, "IOC", 1000, 5, OWN_IDS, "OBSERVED")]
    assert source.counts.used == 2
    assert source.counts.dropped == {
        "fill of an order that is not in the book": 1,
        "cancel of an order that is not in the book": 2,
        "new order with the id of one that is in the book": 1,
        "fill of an order whose lots have all traded": 1,
    }
    assert source.counts.repaired == {"fill of more lots than its order had, cut to what it had": 1}


# --- aggressors that are shown before they trade -------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_taker_that_is_announced_enters_with_what_its_fills_leave(tmp_path, seed):
    venue = Venue(announces=True).play(seed, 600)
    both = PLAIN + "fill: {names: both, maker: id, taker: other}\n"
    file = written(tmp_path, text_of(table(venue)))

    source = mapped(file, both)
    books = Books(1)
    results = books.process(np.ascontiguousarray(feed_of(source)["message"])).results

    assert not results["reject"].any()
    assert not source.counts.repaired
    assert source.counts.used == len(venue.rows)
    ticks, lots = books.depth(50)
    for side, there in enumerate(venue.book()):
        assert [
            (int(tick), int(n)) for tick, n in zip(ticks[0, side], lots[0, side], strict=True) if n
        ] == there[:50]


def test_a_row_for_each_order_of_a_trade_counts_its_lots_once(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "B", 2, "", "10.00", 8),
        ("FILL", "S", 1, "", "10.00", 5),
        ("FILL", "B", 2, "", "10.00", 5),
        ("ADD", "B", 3, "", "9.99", 1),
    ]
    each = PLAIN + "fill: {names: each}\n"

    feed = feed_of(small(rows, each)(tmp_path, [1, 2, 2, 2, 3]))

    assert told(feed)[1:3] == [
        ("LIMIT", BUY, "IOC", 1000, 5, OWN_IDS, "OBSERVED"),
        ("LIMIT", BUY, "GTC", 1000, 3, 2, "OBSERVED"),
    ]


def test_what_stands_in_the_way_for_too_long_was_stale(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "B", 2, "", "10.00", 8),
        ("ADD", "B", 3, "", "9.00", 8),
    ]
    source = small(rows)(tmp_path, [1, 2, 8])

    feed = feed_of(source)

    assert told(feed)[1:] == [
        ("CANCEL", SELL, "GTC", 0, 0, 1, "INFERRED"),
        ("LIMIT", BUY, "GTC", 1000, 8, 2, "OBSERVED"),
        ("LIMIT", BUY, "GTC", 900, 8, 3, "OBSERVED"),
    ]
    assert source.counts.repaired.total() == 1


def test_an_order_that_crosses_many_and_never_trades_is_left_out(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "S", 2, "", "10.00", 5),
        ("ADD", "B", 3, "", "10.00", 8),
        ("ADD", "B", 4, "", "9.00", 8),
    ]

    feed = feed_of(small(rows)(tmp_path, [1, 2, 3, 9]))

    assert feed["message"]["order_id"].tolist() == [1, 2, 4]


# --- what cancels, changes and fills give --------------------------------------------------------


CHANGES = PLAIN.replace("replace: REPLACE", "modify: MODIFY").replace(
    "replace: {old_id: other}\n", ""
)


@pytest.mark.parametrize(
    ("gives", "size", "kind", "lots"),
    [
        ("gives: remaining", 3, Kind.REDUCE, 2),
        ("gives: remaining", 9, Kind.REPLACE, 9),
        ("gives: remaining", 0, Kind.CANCEL, 0),
        ("gives: delta", -2, Kind.REDUCE, 2),
        ("gives: delta", 4, Kind.REPLACE, 9),
        ("gives: remaining, place: lost", 3, Kind.REPLACE, 3),
    ],
)
def test_a_change_is_read_as_the_mapping_says(tmp_path, gives, size, kind, lots):
    rows = [("ADD", "S", 1, "", "10.00", 5), ("MODIFY", "S", 1, "", "10.00", size)]

    message = feed_of(small(rows, CHANGES + f"modify: {{{gives}}}\n")(tmp_path))["message"][1]

    assert (message["kind"], message["lots"]) == (kind, lots)
    assert message["flags"] == (Flag.LOSE_PLACE if "lost" in gives else 0)


def test_a_change_of_price_moves_the_order(tmp_path):
    rows = [("ADD", "S", 1, "", "10.00", 5), ("MODIFY", "S", 1, "", "10.02", 5)]

    message = feed_of(small(rows, CHANGES)(tmp_path))["message"][1]

    assert (message["kind"], message["price_tick"]) == (Kind.REPLACE, 1002)


def test_a_change_whose_new_size_is_untold_is_counted(tmp_path):
    rows = [("ADD", "S", 1, "", "10.00", 5), ("MODIFY", "S", 1, "", "10.00", 5)]
    source = small(rows, CHANGES + "modify: {gives: before}\n")(tmp_path)

    assert len(feed_of(source)) == 1
    assert source.counts.dropped == {"change whose new size the file does not say": 1}


def test_a_cancel_may_give_what_remains(tmp_path):
    rows = [("ADD", "S", 1, "", "10.00", 5), ("CANCEL", "S", 1, "", "10.00", 2)]
    text = PLAIN + "cancel: {gives: remaining}\n"

    assert told(feed_of(small(rows, text)(tmp_path)))[1][:5] == ("REDUCE", SELL, "GTC", 0, 3)


def test_a_fill_may_have_the_side_of_the_taker(tmp_path):
    """The side finds anonymous lots; the side of a known order is known."""
    rows = [("ADD", "S", 1, "", "10.00", 5), ("FILL", "B", 1, "", "10.00", 2)]
    text = PLAIN.replace("id: {column: id}", "id: {column: id, unique: side}")

    feed = feed_of(small(rows, text + "fill: {names: maker, side: taker}\n")(tmp_path))

    assert told(feed)[1][:5] == ("LIMIT", BUY, "IOC", 1000, 2)


def test_one_id_may_rest_on_both_sides(tmp_path):
    rows = [
        ("ADD", "S", 7, "", "10.00", 5),
        ("ADD", "B", 7, "", "9.00", 6),
        ("DELETE", "S", 7, "", "10.00", 5),
        ("FILL", "B", 7, "", "9.00", 6),
    ]
    text = PLAIN.replace("id: {column: id}", "id: {column: id, unique: side, renumber: true}")

    feed = feed_of(small(rows, text)(tmp_path))

    assert feed["message"]["order_id"].tolist() == [1, 2, 1, OWN_IDS]
    assert feed["message"]["side"].tolist() == [SELL, BUY, SELL, SELL]


def test_ids_of_letters_are_numbered_as_they_come(tmp_path):
    rows = [
        ("ADD", "S", "x-1", "", "10.00", 5),
        ("ADD", "S", "x-0", "", "10.00", 6),
        ("DELETE", "S", "x-1", "", "10.00", 5),
    ]
    text = PLAIN.replace("id: {column: id}", "id: {column: id, text: true}")

    assert feed_of(small(rows, text)(tmp_path))["message"]["order_id"].tolist() == [1, 2, 1]


def test_where_no_fills_are_recorded_orders_trade_by_price_and_time(tmp_path):
    rows = [
        ("LIMIT", "S", 1, "", "10.00", 5),
        ("LIMIT", "S", 2, "", "10.00", 5),
        ("LIMIT", "B", 3, "", "10.00", 7),
        ("CANCEL", "S", 1, "", "10.00", 5),
        ("MARKET", "B", 4, "", "", 1),
        ("CANCEL", "S", 2, "", "10.00", 2),
    ]
    text = PLAIN.replace(
        "add: ADD, cancel: CANCEL, delete: DELETE, replace: REPLACE, fill: FILL",
        "add: LIMIT, delete: CANCEL, market: MARKET",
    ).replace("replace: {old_id: other}\n", "")
    source = small(rows, text)(tmp_path)

    books = Books(1)
    results = books.process(np.ascontiguousarray(feed_of(source)["message"])).results

    assert results["filled_lots"].tolist() == [0, 0, 7, 1, 0]
    assert len(books.resting(0)) == 0
    assert source.counts.dropped == {"cancel of an order that is not in the book": 1}


def test_an_order_too_large_for_the_engine_is_several(tmp_path):
    """They trade as one would; only the first has the feed's id."""
    large = 2 * MAX_LOTS + 10
    rows = [
        ("ADD", "S", 1, "", "10.00", large),
        ("ADD", "S", 2, "", "10.00", 5),
        ("FILL", "S", 1, "", "10.00", MAX_LOTS + 1),
        ("CANCEL", "S", 1, "", "10.00", 20),
        ("FILL", "S", 1, "", "10.00", 4),
        ("DELETE", "S", 1, "", "10.00", 0),
    ]

    feed = feed_of(small(rows)(tmp_path))

    books = Books(1)
    results = books.process(np.ascontiguousarray(feed["message"])).results
    assert not results["reject"].any()
    assert feed["message"]["order_id"][0] == 1
    assert books.resting(0)["order_id"].tolist() == [2]
    takers = feed["message"]["tif"] == TimeInForce.IOC
    assert results["filled_lots"][takers].sum() == MAX_LOTS + 5


# --- sessions and auctions -----------------------------------------------------------------------


def test_what_comes_before_the_session_builds_its_opening_book(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "B", 2, "", "10.05", 9),
        ("ADD", "B", 3, "", "9.00", 4),
        ("FILL", "S", 1, 2, "10.02", 5),
        ("ADD", "S", 4, "", "11.00", 1),
        ("ADD", "S", 5, "", "12.00", 1),
    ]
    text = PLAIN + (
        "fill: {names: both, buy: other, sell: id, "
        "aggressor: {column: side, buy: X, sell: Y, none: [B, S]}}\n"
        'session: {from: "09:31:00", to: "09:32:00"}\n'
    )
    source = small(rows, text)(tmp_path, [34_200, 34_201, 34_202, 34_203, 34_265, 34_320])

    feed = feed_of(source)

    assert told(feed) == [
        ("LIMIT", BUY, "GTC", 1005, 4, 2, "OPENING"),
        ("LIMIT", BUY, "GTC", 900, 4, 3, "OPENING"),
        ("LIMIT", SELL, "GTC", 1100, 1, 4, "OBSERVED"),
    ]
    assert feed["time_ns"].tolist() == [0, 0, 5 * 10**9]
    assert source.session.start_ns == (9 * 60 + 31) * 60 * 10**9
    assert source.counts.dropped == {
        "before the session or in an auction: its outcome is in the book after it": 4,
        "after the end of the session": 1,
    }


def test_in_an_auction_there_is_no_book(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("ADD", "B", 2, "", "10.50", 3),
        ("DELETE", "S", 1, "", "10.00", 5),
        ("ADD", "B", 3, "", "9.00", 3),
    ]
    text = PLAIN + 'session: {auctions: [["09:30:05", "09:30:10"]]}\n'
    source = small(rows, text)(tmp_path, [34_200, 34_206, 34_207, 34_211])

    assert told(feed_of(source)) == [
        ("LIMIT", SELL, "GTC", 1000, 5, 1, "OBSERVED"),
        ("CANCEL", SELL, "GTC", 0, 0, 1, "OPENING"),
        ("LIMIT", BUY, "GTC", 1050, 3, 2, "OPENING"),
        ("LIMIT", BUY, "GTC", 900, 3, 3, "OBSERVED"),
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("late_ms", [0, 2500])
def test_shanghai_snapshots_show_the_book_some_moment_before(tmp_path, seed, late_ms):
    venue = Shanghai().play(seed, 700)
    file = shanghai(tmp_path, venue, late_ms)

    (source,) = open_sessions((file,), Options(symbol="600000"))
    done = replay(source)

    assert done.first_difference == ""
    assert done.compared == done.equal > 15
    assert source.session.date == date(2023, 2, 7)
    assert source.session.timezone == "Asia/Shanghai"
    assert not source.counts.repaired
    assert source.counts.dropped == {
        "before the session or in an auction: its outcome is in the book after it": 5
    }


def test_a_snapshot_that_fits_nowhere_is_not_equal(tmp_path):
    venue = Venue()
    for k in range(80):
        venue.submit(k % 2, 990 - k if k % 2 == 0 else 1010 + k, 1 + k)
    file = shanghai(tmp_path, venue, 0)
    path = tmp_path / "600000_2023-02-07_snapshots.csv"
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[5] = "99000"
    path.write_text("\n".join([*lines[:2], ",".join(cells), *lines[3:]]) + "\n")

    (source,) = open_sessions((file,), Options(symbol="600000"))
    done = replay(source)

    assert done.compared == done.equal + 1
    assert "the feed 99" in done.first_difference


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "cell"),
    [
        ("epoch_ns", "1706711400123456000"),
        ("epoch_us", "1706711400123456"),
        ("epoch_ms", "1706711400123.456"),
        ("epoch_s", "1706711400.123456"),
        ("midnight_ns", "34200123456000"),
        ("midnight_us", "34200123456"),
        ("midnight_ms", "34200123.456"),
        ("midnight_s", "34200.123456"),
        ("HHMMSSuuuuuu", "93000123456"),
        ("iso", "2024-01-31 09:30:00.123456"),
        ("iso", "2024-01-31T14:30:00.123456Z"),
        ("iso", "2024-01-31T15:30:00.123456+01:00"),
    ],
)
def test_a_time_is_the_same_however_it_is_written(tmp_path, form, cell):
    row = [cell, "ADD", "B", "1", "", "1.00", "1"]
    text = PLAIN.replace("midnight_ns", form)
    file = written(tmp_path, text_of([list(NAMES), row]))

    source = mapped(file, text, Options(symbol="ABC", date=DAY))

    assert feed_of(source)["time_ns"].tolist() == [34_200_123_456_000]
    if form in ("iso", "epoch_ns"):
        assert mapped(file, text, Options(symbol="ABC")).session.date == DAY


@pytest.mark.parametrize(
    ("form", "cell", "ms"), [("HHMMSS", "93001", 1000), ("HHMMSScc", "9300125", 1250),
                             ("HHMMSSmmm", "93001250", 1250)]
)  # fmt: skip
def test_clock_digits_are_hours_minutes_seconds(tmp_path, form, cell, ms):
    row = [cell, "ADD", "B", "1", "", "1.00", "1"]
    file = written(tmp_path, text_of([list(NAMES), row]))

    feed = feed_of(mapped(file, PLAIN.replace("midnight_ns", form)))

    assert feed["time_ns"].tolist() == [34_200_000_000_000 + ms * 10**6]


def test_parquet_is_read_as_csv_is(tmp_path):
    """Whatever types its columns have: prices as floats, times as timestamps."""
    lines = table(Venue().play(1, 300))
    text = PLAIN.replace("format: midnight_ns", "format: iso").replace("America/New_York", "UTC")
    read = pa_csv.read_csv(io.BytesIO(text_of(lines).encode()))
    midnight = tables.midnight_ns(DAY, "UTC")
    ns = pa.array([midnight + int(cells[0]) for cells in lines[1:]], pa.timestamp("ns"))
    path = tmp_path / "orders.parquet"
    pq.write_table(read.set_column(0, "t", ns), path)
    file = written(tmp_path, text_of(lines))

    by_parquet = mapped(str(path), text, Options(symbol="ABC"))
    by_csv = mapped(file, PLAIN.replace("America/New_York", "UTC"))

    assert by_parquet.session.date == DAY
    one, two = feed_of(by_parquet), feed_of(by_csv)
    one["row"] += 1  # A CSV has a header line.
    assert one.tobytes() == two.tobytes()


def test_the_size_of_blocks_and_steps_changes_nothing(tmp_path, monkeypatch):
    lines = table(Venue().play(3, 700), books=True, start=100)
    file = written(tmp_path, text_of(lines))
    whole = list(mapped(file, BESIDE).batches())
    monkeypatch.setattr(tables, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(ledger, "_STEP", 3)

    parts = list(mapped(file, BESIDE).batches())

    assert len(parts) > len(whole)
    for of in (
        lambda batch: batch.feed.tobytes(),
        lambda batch: batch.truth.row.tobytes() if batch.truth else b"",
        lambda batch: batch.truth.lots.tobytes() if batch.truth else b"",
    ):
        assert b"".join(map(of, parts)) == b"".join(map(of, whole))


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "BATCH_ROWS", 50)
    file = written(tmp_path, text_of(table(Venue().play(3, 700), books=True)))

    done = replay(mapped(file, BESIDE))

    assert done.compared == done.equal > 500
    assert BATCH_ROWS > 50
    assert max(len(batch.feed) for batch in mapped(file, BESIDE).batches()) == 50


def test_codes_may_be_numbers_and_truth_values(tmp_path):
    text = PLAIN.replace("buy: B, sell: S", "buy: true, sell: false").replace("ADD", "1")
    row = ["34200000000000", "1", "True", "1", "", "1.00", "1"]

    feed = feed_of(mapped(written(tmp_path, text_of([list(NAMES), row])), text))

    assert feed["message"]["side"].tolist() == [BUY]


def test_a_file_without_a_header_has_its_columns_named(tmp_path):
    rows = table(Venue().play(2, 50))
    text = PLAIN + f"file: {{delimiter: ';', columns: [{', '.join(NAMES)}]}}\n"
    body = "".join(";".join(cells) + "\n" for cells in rows[1:])

    source = mapped(written(tmp_path, body), text)

    assert len(feed_of(source)) > 0
    assert source.counts.read == len(rows) - 1


def test_rows_are_dropped_for_the_reasons_that_the_mapping_gives(tmp_path):
    rows = [
        ("ADD", "S", 1, "", "10.00", 5),
        ("NOTE", "S", 1, "", "10.00", 5),
        ("ADD", "?", 1, "", "what?", 5),
        ("ADD", "S", 2, "", "10.005", 5),
        ("DELETE", "S", 2, "", "10.005", 5),
        ("ADD", "S", 3, "", "10.00", 0),
    ]
    text = PLAIN.replace("tick: 0.01", "tick: 0.01, between_ticks: drop").replace(
        "fill: FILL", "fill: FILL, ignore: NOTE"
    )
    source = small(rows, text + 'drop: [{column: side, is: "?", because: nonsense}]\n')(tmp_path)

    assert len(feed_of(source)) == 1
    assert source.counts.dropped == {
        "nonsense": 1,
        "action that the mapping ignores": 1,
        "new order at a price between two ticks": 1,
        "cancel of an order that is not in the book": 1,
        "row of 0 lots": 1,
    }
    assert source.counts.read == source.counts.used + source.counts.dropped.total() == 6


def test_one_instrument_of_many_is_read(tmp_path):
    rows = [("ADD", "S", 1, "ABC", "10.00", 5), ("ADD", "S", 2, "XYZ", "10.00", 5)]
    text = PLAIN.replace("replace: {old_id: other}\n", "").replace(", replace: REPLACE", "")
    text += "instrument: {column: other}\n"
    source = small(rows, text)(tmp_path)

    assert len(feed_of(source)) == 1
    assert source.counts.dropped == {"another instrument": 1}
    with pytest.raises(DataError, match="no row is about NONE"):
        feed_of(small(rows, text, options=Options(symbol="NONE", date=DAY))(tmp_path))
    with pytest.raises(DataError, match=r":3: another instrument than ABC\. .*--symbol"):
        feed_of(small(rows, text, options=Options(date=DAY))(tmp_path))


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("t", "34200", "the time goes back"),
        ("t", "", "t has no time"),
        ("t", "-1", r"the time (is not on 2024-01-31|goes back)"),
        ("t", "9" * 18, "the time is not on 2024-01-31"),
        ("t", "soon", "t 'soon' is no number"),
        ("what", "SING", "unknown code in what. Known: ADD, CANCEL"),
        ("side", "?", "unknown code in side"),
        ("side", "", "a new order without a side"),
        ("id", "", "a new order without an id"),
        ("id", "-3", "id '-3' is below 0"),
        ("id", "1.5", "id '1.5' is no whole multiple of 1"),
        ("id", str(OWN_IDS), "an id that is too large to be kept. .*renumber"),
        ("price", "", "a new order without a price"),
        ("price", "10.005", "price '10.005' is no whole multiple of 0.01"),
        ("price", "nan", "price 'nan' is no number"),
        ("price", "1e30", "price does not fit 64 bits"),
        ("price", "99999999999", "price is more than .* ticks"),
        ("size", "-5", "a size below 0"),
        ("size", "0.5", "size '0.5' is no whole multiple of 1"),
        ("size", "9" * 17, "size is more than .* lots"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_row(tmp_path, column, cell, says):
    lines = table(Venue().play(5, 100))
    at = next(k for k in range(60, 100) if lines[k][1] == "ADD")
    lines[at][lines[0].index(column)] = cell
    file = written(tmp_path, text_of(lines))

    with pytest.raises(DataError, match=f":{at + 1}: {says}"):
        feed_of(mapped(file, PLAIN))


def test_a_row_with_another_number_of_cells_is_refused(tmp_path):
    lines = table(Venue().play(5, 100))
    lines[50] = lines[50][:-1]

    with pytest.raises(DataError, match=r":51: "):
        feed_of(mapped(written(tmp_path, text_of(lines)), PLAIN))


def test_a_missing_column_and_an_empty_file_are_refused(tmp_path):
    lines = table(Venue().play(5, 20))
    lines[0][3] = "ident"
    with pytest.raises(DataError, match="column"):
        mapped(written(tmp_path, text_of(lines)), PLAIN)
    with pytest.raises(DataError, match="empty"):
        mapped(written(tmp_path, ""), PLAIN)
    with pytest.raises(MissingError, match="no file"):
        mapped(str(tmp_path / "nowhere.csv"), PLAIN)


def test_what_neither_file_nor_user_says_is_asked_for(tmp_path):
    file = written(tmp_path, text_of(table(Venue().play(5, 20))))
    with pytest.raises(UsageError, match="--symbol"):
        mapped(file, PLAIN, Options(date=DAY))
    with pytest.raises(UsageError, match="--date"):
        mapped(file, PLAIN, Options(symbol="ABC"))
    with pytest.raises(UsageError, match="--tick"):
        mapped(file, PLAIN.replace(", tick: 0.01", ""))
    dated = written(tmp_path, text_of(table(Venue().play(5, 20))), "abc_2024-01-31.csv")
    assert mapped(dated, PLAIN, Options(symbol="ABC")).session.date == DAY


@pytest.mark.parametrize("kind", ["csv", "csv.zst", "parquet"])
def test_a_damaged_file_ends_in_a_data_error(tmp_path, kind):
    lines = table(Venue().play(8, 200), books=True)
    good = text_of(lines).encode()
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa_csv.read_csv(io.BytesIO(good)), sink)
        good = sink.getvalue()
    elif kind == "csv.zst":
        good = zstandard.compress(good)
    luck = random.Random(4)
    refused = 0
    for turn in range(80):
        data = bytearray(good)
        if turn % 2:
            data = data[: luck.randrange(len(data))]
        for _ in range(luck.randrange(1, 4) if data else 0):
            data[luck.randrange(len(data))] = luck.randrange(256)
        path = tmp_path / f"damaged_{turn}.{kind}"
        path.write_bytes(data)
        said = refusal(str(path))
        refused += said is not None
        assert said is None or str(path) in said
    assert refused > 40


def refusal(file):
    """What a DataError says of a file, None where it is read to its end."""
    try:
        feed_of(mapped(file, BESIDE))
    except DataError as error:
        return str(error)
    return None


# --- the real files ------------------------------------------------------------------------------


def test_every_row_of_the_nasdaq_file_has_its_book(market_data):
    name = "AAPL_2019-01-30_093000_093028_itch_events_book10.csv.zst"
    (source,) = open_sessions((str(market_data / "nasdaq_itch_csv" / name),), Options())

    done = replay(source)

    assert (done.compared, done.equal) == (9649, 9649)
    assert not done.rejects
    assert done.taker_lots == done.filled_lots
    assert source.counts.used == 9979


def test_every_snapshot_of_the_shanghai_file_is_met(market_data):
    name = "600519_2023-02-07_0915_1400_orders_trades.csv.zst"
    (source,) = open_sessions((str(market_data / "sse_l3" / name),), Options(symbol="600519"))

    done = replay(source)

    assert (done.compared, done.equal) == (3715, 3715)
    assert not done.rejects
    assert not source.counts.repaired
    assert done.taker_lots == done.filled_lots


def test_the_scs_log_trades_in_price_time_priority(market_data):
    (source,) = open_sessions(
        (str(market_data / "l3_log_2021" / "SCS_2021-01-04_orders.csv.zst"),), Options()
    )

    done = replay(source)

    assert not done.rejects
    assert not source.counts.repaired
    assert source.counts.dropped == {"trade without an order": 7}
    assert done.taker_lots == done.filled_lots == 1479


def test_a_row_says_which_file_it_is_of(tmp_path):
    lines = table(Venue().play(1, 60))
    one = written(tmp_path, text_of(lines[:31]), "one.csv")
    two = written(tmp_path, text_of([lines[0], *lines[31:]]), "two.csv")
    layout = mapping.loads(PLAIN)
    whole = MappedSource((written(tmp_path, text_of(lines)),), layout, SAID)
    parts = MappedSource((one, two), layout, SAID)
    rows = feed_of(whole)["row"].tolist()
    found = [place(parts.session.files, row) for row in feed_of(parts)["row"].tolist()]
    assert found == [(one, row) if row <= 31 else (two, row - 30) for row in rows]
    assert {file for file, _ in found} == {one, two}


def test_a_row_of_a_snapshot_is_one_of_the_file_beside(tmp_path):
    file = shanghai(tmp_path, Shanghai().play(3, 300), 0)
    (source,) = open_sessions((file,), Options(symbol="600000"))
    files = source.session.files
    found = [
        place(files, row)
        for batch in source.batches()
        if batch.truth is not None
        for row in batch.truth.row
    ]
    assert {Path(file).name for file, _ in found} == {"600000_2023-02-07_snapshots.csv"}
    assert min(row for _, row in found) < 5
