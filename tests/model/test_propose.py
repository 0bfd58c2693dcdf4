"""A mapping proposed from a file's first rows reads that file as it stands."""

import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from mtsim.errors import DataError, UsageError
from mtsim.model.sources.base import OWN_IDS, Options
from mtsim.model.sources.mapped import MappedSource
from mtsim.model.sources.mapping import loads
from mtsim.model.sources.propose import propose
from tests.model.mapped_files import Shanghai, shanghai
from tests.model.replaying import replay
from tests.model.venue import BUY, Venue, levels_of

SAID = Options(symbol="ABC")


def written(folder, rows, name="orders_2024-01-31.csv"):
    path = folder / name
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return str(path)


def open_lines(file):
    return Path(file).read_text().splitlines()


def source_of(file, text, options=SAID):
    return MappedSource((file,), loads(text), options)


def diary(words):
    """A venue's rows as (what, side, id, other, tick, lots, book) in the words of a feed."""
    venue = Venue().play(1, 500)
    for row, book in zip(venue.rows, venue.books, strict=True):
        yield words.get(row[0], row[0]), *row[1:], book


def nasdaq(folder):
    names = ["event_index", "timestamp_ns", "time_seconds", "message_type", "order_id"]
    names += ["old_order_id", "size", "price", "old_price", "execution_price", "direction"]
    names += ["stock_locate", "stock"]
    names += [f"{side}_{field}_{n}" for n in (1, 2, 3) for side in ("ask", "bid") for field in
              ("price", "size")]  # fmt: skip
    rows: list[list[object]] = [[*names]]
    ns = 34_200_000_000_000
    words = {"ADD": "A", "FILL": "E", "CANCEL": "X", "DELETE": "D", "REPLACE": "U"}
    for k, (what, side, order, other, tick, lots, (bids, asks)) in enumerate(diary(words)):
        ns += 1_234_567
        old = f"{other}.0" if what == "U" else ""
        row = [k, ns, f"{ns / 1e9:.6f}", what, order, old, lots, tick / 100, "", ""]
        row += [1 if side == BUY else -1, 14, "ABC"]
        for bid, ask in zip(levels_of(bids, 3), levels_of(asks, 3), strict=True):
            row += [ask[0] / 100, f"{ask[1]}.0", bid[0] / 100, f"{bid[1]}.0"]
        rows.append(row)
    # One order far from anything, at a price that no tick has.
    rows.insert(300, [0, rows[300][1], "", "A", 10**6, "", 5, 0.0001, "", "", 1, 14, "ABC",
                      *rows[299][13:]])  # fmt: skip
    return written(folder, rows)


def test_a_feed_with_a_book_beside_it(tmp_path):
    file = nasdaq(tmp_path)

    text = propose(file)
    source = source_of(file, text, Options())
    done = replay(source)

    assert "between_ticks: drop" in text
    assert "levels: 3" in text
    assert "replace: {old_id: old_order_id}" in text
    assert "add: A, cancel: X, delete: D, replace: U, fill: E" in text
    assert source.session.instrument.symbol == "ABC"
    assert done.compared == done.equal > 400
    assert source.counts.dropped == {"new order at a price between two ticks": 1}


def test_a_feed_that_names_both_orders_of_a_trade(tmp_path):
    file = shanghai(tmp_path, Shanghai().play(2, 500), 0)

    text = propose(file)
    source = source_of(file, text)
    done = replay(source)

    assert "format: HHMMSScc" in text
    assert "scale: 1000" in text
    assert 'session: {from: "09:30:00"}' in text
    assert "sell: sell_order_no" in text
    assert not done.rejects
    assert not source.counts.repaired
    assert done.taker_lots == done.filled_lots > 0


def test_a_feed_with_large_ids_on_both_sides(tmp_path):
    rows: list[list[object]] = [
        ["epoch_ns", "order_id", "symbol", "side", "action", "price", "qty"]
    ]
    words = {"ADD": "NEW", "FILL": "TRADE", "DELETE": "CANCEL"}
    first = {}
    for k, (what, side, order, _, tick, lots, _) in enumerate(diary(words)):
        if what in words.values():
            number = OWN_IDS + first.setdefault((side, order), len(first)) // 2
            word = ("BUY", "SELL")[side]
            ns = 1_609_722_840_000_000_000 + k * 10**6
            rows.append([ns, number, "XYZ", word, what, f"{tick / 100:.2f}", lots])
            if what == "TRADE" and k % 9 == 0:
                rows.append([ns, 0, "XYZ", "UNK", what, f"{tick / 100:.2f}", lots])
    file = written(tmp_path, rows)

    text = propose(file)
    source = source_of(file, text, Options())

    assert "renumber: true, unique: side" in text
    assert "is: UNK" in text
    assert not replay(source).rejects
    assert source.counts.dropped["no side"] > 3


def test_a_log_without_fills(tmp_path):
    luck = random.Random(3)
    rows: list[list[object]] = [["ts", "type", "oid", "qty", "px", "bs"]]
    orders = []
    for k in range(400):
        us = 1_700_000_000_000_000 + k * 1000
        if orders and luck.random() < 0.3:
            rows.append([us, "CANCEL", orders.pop(), 1.5, 100, "B"])
        else:
            orders.append(k + 1)
            rows.append([us, "LIMIT", k + 1, luck.choice((0.5, 1.25)), 100 + k % 3, "B"])
        if k % 50 == 0:
            rows.append([us, "MARKET", 9000 + k, 0.25, "", "S"])
    file = written(tmp_path, rows)

    text = propose(file)

    assert "market: MARKET" in text
    assert "delete: CANCEL" in text
    assert "lot: 0.25" in text
    assert "what crosses trades by price and time" in text
    assert not replay(source_of(file, text)).rejects


def test_what_came_of_trying_it_is_said_below(tmp_path):
    read, *lost = propose(nasdaq(tmp_path)).splitlines()[-2:]

    assert re.fullmatch(r"# Tried on the first 5\d\d rows: 5\d\d used\.", read)
    assert lost == ["#   1 new order at a price between two ticks"]


def test_a_proposal_that_does_not_read_says_so(tmp_path):
    rows = [line.split(",") for line in open_lines(nasdaq(tmp_path))]
    rows[50][6] = "-5"

    assert "# Tried, and refused: " in propose(written(tmp_path, rows))


def test_sides_of_0_and_1_are_pointed_out(tmp_path):
    rows = [["time", "action", "id", "side", "price", "size"]]
    rows += [[f"2024-01-31 09:30:{k:02}.5", ("ADD", "DELETE")[k % 2], k // 2, (k // 2) % 2,
              "1.5", 3] for k in range(2, 60)]  # fmt: skip
    text = propose(written(tmp_path, rows))

    assert "# 0 is taken for the buy side" in text
    assert 'buy: "0", sell: "1"' in text
    assert "format: iso" in text


def test_a_parquet_file_is_looked_at_as_well(tmp_path):
    csv = pa_csv.read_csv(nasdaq(tmp_path))
    path = tmp_path / "orders_2024-01-31.parquet"
    pq.write_table(csv, path)

    text = propose(str(path))

    assert len(np.concatenate([b.feed for b in source_of(str(path), text).batches()])) > 400
    assert pa.types.is_floating(csv.schema.field("price").type)


def test_a_column_named_strangely_is_quoted(tmp_path):
    rows = [["time, local", "what: type", "id #", "side", "price", "size"]]
    rows = [['"time, local"', *rows[0][1:]]]
    rows += [[1_700_000_000_000 + k, "ADD" if k % 3 else "DELETE", k, "BS"[k % 2], 5, 3]
             for k in range(50)]  # fmt: skip
    file = written(tmp_path, rows)

    assert 'column: "what: type"' in propose(file)


def test_what_is_no_order_feed_is_refused(tmp_path):
    quotes = [["time", "bid", "ask"], *([1_700_000_000 + k, 10, 11] for k in range(20))]
    with pytest.raises(UsageError, match=r"no column can be the action\. Columns: time, bid, ask"):
        propose(written(tmp_path, quotes))
    with pytest.raises(DataError, match=r"no rows|empty"):
        propose(written(tmp_path, [["a", "b"]]))


@pytest.mark.parametrize(
    ("name", "used", "equal"),
    [
        ("nasdaq_itch_csv/AAPL_2019-01-30_093000_093028_itch_events_book10.csv.zst", 9979, 9649),
        ("l3_log_2021/SCS_2021-01-04_orders.csv.zst", 9993, 0),
        ("sse_l3/600519_2023-02-07_0915_1400_orders_trades.csv.zst", 51135, 0),
        ("nasdaq_replay/TSLA_2015-01-30_0930_1200_submissions.csv.zst", 112895, 0),
    ],
)
def test_the_real_files_are_read_by_what_is_proposed(market_data, name, used, equal):
    file = str(market_data / name)

    text = propose(file)
    source = source_of(file, text, Options() if "\ninstrument:" in text else SAID)
    done = replay(source)

    assert source.counts.used == used
    assert done.compared == done.equal == equal
    assert not done.rejects
