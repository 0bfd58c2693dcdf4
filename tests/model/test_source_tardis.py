"""Tardis files become orders without a book, or orders among the levels that a file shows."""

import random
from collections import Counter
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import zstandard

from mtsim.engine.events import Origin
from mtsim.engine.messages import TimeInForce
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import files as files_module
from mtsim.model.sources.base import Options, place
from mtsim.model.sources.tardis import open_sessions
from tests.model.replaying import replay

START_US = 1_582_329_600_000_000  # 2020-02-22 00:00 UTC
DAY_US = 86_400_000_000
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
QUOTES = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"


def trade(us, side, price, amount, symbol="BTCUSDT", number=1):
    when = START_US + us
    return f"binance-futures,{symbol},{when},{when + 9},{number},{side},{price},{amount}\n"


def quote(us, bid, bid_amount, ask, ask_amount, symbol="BTCUSDT"):
    when = START_US + us
    return f"binance-futures,{symbol},{when},{when + 9},{ask_amount},{ask},{bid},{bid_amount}\n"


def snapshots(rows, depth=25):
    """A book_snapshot file of (us, bids, asks); levels that are missing are empty fields."""
    names = [
        f"{side}[{n}].{what}"
        for n in range(depth)
        for side in ("asks", "bids")
        for what in ("price", "amount")
    ]
    lines = ["exchange,symbol,timestamp,local_timestamp," + ",".join(names)]
    for us, bids, asks in rows:
        fields = ["binance-futures", "BTCUSDT", str(START_US + us), str(START_US + us + 9)]
        for n in range(depth):
            for side in (asks, bids):
                fields += [str(x) for x in side[n]] if n < len(side) else ["", ""]
        lines.append(",".join(fields))
    return "\n".join(lines) + "\n"


def written(tmp_path, text, name):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(source):
    feed = np.concatenate([batch.feed for batch in source.batches()])
    assert source.counts.read == source.counts.used + source.counts.dropped.total()
    return feed


def only(files, options):
    return next(open_sessions(files, options))


def takers(feed):
    takes = feed[feed["message"]["tif"] == TimeInForce.IOC]
    message = takes["message"]
    columns = (takes["time_ns"] // 1000, *(message[f] for f in ("side", "price_tick", "lots")))
    return list(zip(*(column.tolist() for column in columns), strict=True))


SOME_TRADES = (
    TRADES
    + trade(50, "buy", 100.5, 1)
    + trade(100, "buy", 101, 2)
    + trade(100, "buy", 101.5, 3)
    + trade(100, "sell", 100, 1)
    + trade(300, "sell", 99.5, 4)
    + trade(301, "unknown", 99.5, 4)
    + trade(900, "buy", 99.5, 4)
)
SOME_QUOTES = (
    QUOTES
    + quote(60, 100, 5, 101, 2)
    + quote(100, 100, 4, 102, 6)
    + quote(200, 100, 4, 102, 7)
    + quote(400, 99, 4, 102, 7)
)


def test_trades_alone_are_orders_without_a_book(tmp_path):
    source = only((written(tmp_path, SOME_TRADES, "trades.csv"),), Options())

    feed = read(source)

    assert takers(feed) == [
        (50, 0, 201, 1),
        (100, 0, 203, 5),
        (100, 1, 200, 1),
        (300, 1, 199, 4),
        (900, 0, 199, 4),
    ]
    session = source.session
    assert (session.instrument.symbol, session.instrument.venue) == ("BTCUSDT", "binance-um")
    assert (session.instrument.tick_size, session.date) == (Decimal("0.5"), date(2020, 2, 22))
    assert (session.by_order, session.truth_levels) == (False, 0)
    assert source.counts.dropped == {"trade without side, price or amount": 1}


def test_trades_meet_the_touch_that_quotes_show(tmp_path):
    """Trades come before the quotes of their time, and only within the time of the quotes."""
    files = (
        written(tmp_path, SOME_QUOTES, "quotes.csv"),
        written(tmp_path, SOME_TRADES, "trades.csv"),
    )
    source = only(files, Options())

    done = replay(source)

    assert source.session.truth_levels == 1
    assert done.equal == done.compared == 4, done.first_difference
    assert done.filled_lots == done.taker_lots == 10
    assert source.counts.dropped["trade outside the time of the books"] == 2


def test_snapshots_are_the_book(tmp_path):
    """25 levels or fewer; what a snapshot does not show is gone."""
    draw = random.Random(4)
    rows, trades = [], TRADES
    for n in range(200):
        mid = 1000 + draw.randint(-8, 8)
        bids = [(mid - k, draw.randint(1, 9)) for k in range(1, draw.randint(2, 26))]
        asks = [(mid + k, draw.randint(1, 9)) for k in range(1, draw.randint(2, 26))]
        rows.append((1000 * n, bids, asks))
        side = draw.choice(["buy", "sell"])
        trades += trade(
            1000 * n + 500, side, mid + (1 if side == "buy" else -1), draw.randint(1, 20)
        )
    files = (
        written(tmp_path, trades, "trades.csv"),
        written(tmp_path, snapshots(rows), "book_snapshot_25.csv"),
    )
    source = only(files, Options())

    done = replay(source)

    assert source.session.truth_levels == 25
    assert done.equal == done.compared == 200, done.first_difference
    assert done.filled_lots == done.taker_lots > 0
    assert source.counts.used == 399


def test_where_blocks_end_makes_no_difference(tmp_path, monkeypatch):
    draw = random.Random(5)
    times = sorted(draw.choices(range(3000), k=600))
    trades = TRADES + "".join(
        trade(us, draw.choice(["buy", "sell"]), 100 + draw.randint(-2, 2), draw.randint(1, 5))
        for us in times
    )
    quotes = QUOTES + "".join(
        quote(us, 99 - us % 2, 1 + us % 7, 101 + us % 3, 1 + us % 5) for us in range(0, 3000, 7)
    )
    files = (written(tmp_path, trades, "trades.csv"), written(tmp_path, quotes, "quotes.csv"))
    source = only(files, Options())
    whole = read(source)

    monkeypatch.setattr(files_module, "_BLOCK_BYTES", 700)
    source = only(files, Options())

    assert read(source).tobytes() == whole.tobytes()
    assert (np.diff(whole["time_ns"]) >= 0).all()


def test_every_day_is_a_session_that_opens_with_the_book_before(tmp_path):
    quotes = QUOTES + quote(1, 100, 5, 101, 2) + quote(DAY_US + 5, 100, 6, 101, 2)
    trades = TRADES + trade(5, "buy", 101, 1) + trade(DAY_US + 3, "buy", 101, 1)
    files = (written(tmp_path, trades, "trades.csv"), written(tmp_path, quotes, "quotes.csv"))

    days = []
    for source in open_sessions(files, Options()):
        done = replay(source)
        days.append((source.session.date.day, done.compared, done.equal, done.filled_lots))

    assert days == [(22, 1, 1, 1), (23, 1, 1, 1)]


def test_one_symbol_is_read(tmp_path):
    text = SOME_TRADES + trade(901, "buy", 7, 1, symbol="ETHUSDT")
    file = written(tmp_path, text, "trades.csv")

    with pytest.raises(UsageError, match="ETHUSDT"):
        list(open_sessions((file,), Options()))
    source = only((file,), Options(symbol="BTCUSDT"))
    assert len(read(source)) == 5
    assert source.counts.dropped["another symbol"] == 1


def test_of_quotes_and_snapshots_those_that_show_more_are_read(tmp_path):
    """They are two views of one book; that the others are not read is stated."""
    files = (
        written(tmp_path, SOME_QUOTES, "quotes.csv"),
        written(tmp_path, snapshots([(1, [(9, 1)], [(10, 1)])]), "book_snapshot_25.csv"),
    )

    source = only(files, Options())

    assert source.session.files == files[1:]
    assert source.session.truth_levels == 25
    assert any(each.startswith("quotes.csv is not read") for each in source.session.assumptions)


@pytest.mark.parametrize(
    ("text", "row", "rule"),
    [
        ("", 1, "header"),
        ("a,b,c\n1,2,3\n", 1, "header"),
        (TRADES, 2, "no row"),
        (SOME_TRADES.replace("100.5", "x"), 2, "x"),
        (SOME_TRADES.replace(",100.5,", ",,"), 2, "cannot be converted"),
        (SOME_TRADES.replace(str(START_US + 300), "300"), 6, "microseconds"),
        (SOME_TRADES.replace(str(START_US + 300), str(START_US + 30)), 6, "before that of the row"),
        (SOME_TRADES.replace("100.5,1", "100.5,-1"), 2, "amount"),
        (SOME_QUOTES + SOME_QUOTES.partition("\n")[2], 6, "before that of the row"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(tmp_path, text, row, rule):
    file = written(tmp_path, text, "BTCUSDT.csv")

    with pytest.raises(DataError, match=rule) as caught:
        [read(source) for source in open_sessions((file,), Options())]

    assert (caught.value.file, caught.value.row) == (file, row)


def test_damaged_files_are_refused_or_change_numbers_only(tmp_path):
    draw = random.Random(7)
    book = snapshots([(n, [(100 - n % 3, 5)], [(103, n + 1)]) for n in range(30)], depth=3)
    outcomes = Counter()
    for n in range(300):
        text = (SOME_TRADES, SOME_QUOTES, book)[n % 3].encode()
        data = bytearray(text if n % 2 else zstandard.compress(text))
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(data))
            if draw.random() < 0.5:
                data[at] = draw.randrange(256)
            else:
                del data[at : at + draw.randint(1, 30)]
        file = written(tmp_path, bytes(data), "BTCUSDT.csv" + ("" if n % 2 else ".zst"))
        try:
            [read(source) for source in open_sessions((file,), Options())]
            outcomes["read"] += 1
        except (DataError, UsageError) as error:
            outcomes[type(error).__name__] += 1
    assert outcomes["DataError"] > 150
    assert outcomes["read"] > 5


def test_real_quotes_are_the_touch(market_data):
    folder = market_data / "tardis"
    files = tuple(
        str(folder / f"binance-futures_{kind}_BTCUSDT_2020-02-22.csv.zst")
        for kind in ("trades", "quotes")
    )
    source = only(files, Options())

    done = replay(source)

    assert done.equal == done.compared == 9_999, done.first_difference
    assert done.filled_lots == done.taker_lots > 0
    assert not done.rejects
    assert source.counts.used == 9_999 + 502


def test_a_row_says_which_file_it_is_of(tmp_path):
    files = (
        written(tmp_path, SOME_QUOTES, "quotes.csv"),
        written(tmp_path, SOME_TRADES, "trades.csv"),
    )
    source = only(files, Options())

    batches = list(source.batches())

    feed = np.concatenate([batch.feed for batch in batches])
    takes = feed["message"]["tif"] == TimeInForce.IOC
    assert {place(files, row) for row in feed["row"][takes]} == {(files[1], k) for k in (4, 5, 6)}
    opens = feed["origin"] == Origin.OPENING
    assert {place(files, row) for row in feed["row"][opens]} == {(files[0], 2)}
    shown = [place(files, row) for batch in batches if batch.truth for row in batch.truth.row]
    assert shown == [(files[0], k) for k in (2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("exchange", "venue"),
    [
        ("binance", "binance"),
        ("binance-futures", "binance-um"),
        ("binance-delivery", "binance-cm"),
        ("deribit", "deribit"),
    ],
)
def test_a_market_of_binance_is_the_venue_that_it_is_elsewhere(tmp_path, exchange, venue):
    text = SOME_TRADES.replace("binance-futures", exchange)
    source = only((written(tmp_path, text, "trades.csv"),), Options())
    assert source.session.instrument.venue == venue
