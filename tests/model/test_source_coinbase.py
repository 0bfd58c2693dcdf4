"""Level changes of Coinbase and Bitfinex become orders that keep the book of the feed."""

import random
from collections import Counter
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import zstandard

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import Reject, TimeInForce
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import bitfinex, coinbase
from mtsim.model.sources import files as files_module
from mtsim.model.sources.base import Options, place

SNAPSHOT = "side,price,size\nbuy,99.5,1.5\nbuy,99,2\nsell,101,0.25\nsell,102,4\n"
UPDATES = (
    "side,price,size,time\n"
    "buy,99.5,0.5,2018-04-24T03:52:17.202Z\n"
    "sell,100.5,0.9009999999999999,2018-04-24T03:52:17.202Z\n"
    "buy,100,7e-05,2018-04-24T23:59:59.999Z\n"
    "sell,101,0.0,2018-04-25T00:00:00Z\n"
)
DEPTH = (
    "timestamp,price,volume,side\n"
    "1555107025.000000,166.19,0.5,ask\n"
    "1555107025.000000,166.18,2.25,bid\n"
    "1555107025.144000,166.18,0.0,bid\n"
    "1555107025.144000,166.17,1.0,bid\n"
    "1555107026.000001,166.19,0.25,ask\n"
)
FEED = "_id,asks,bids,changes,maker_order_id,price,product_id,side,size,taker_order_id,time,type\n"


def snapshot(bids, asks):
    return f'x,"{[list(a) for a in asks]}","{[list(b) for b in bids]}",,,,BTC-USD,,,,,snapshot\n'


def update(time, *changes):
    return f'x,,,"{[list(c) for c in changes]}",,,BTC-USD,,,,2018-04-17T{time}Z,l2update\n'


def match(time, maker_side, price, size, taker):
    return f"x,,,,m,{price},BTC-USD,{maker_side},{size},{taker},2018-04-17T{time}Z,match\n"


OPENING = snapshot([("99", "5"), ("98", "5")], [("101", "3"), ("102", "5"), ("20000000000", "1")])


def written(tmp_path, text, name):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(source):
    feed = np.concatenate([batch.feed for batch in source.batches()])
    assert source.counts.read == source.counts.used + source.counts.dropped.total()
    return feed


def book_of(feed, levels=50):
    """The book after these messages, as lots by tick, bids and asks."""
    books = Books(1)
    outcome = books.process(np.ascontiguousarray(feed["message"]))
    assert (outcome.results["reject"] == Reject.NONE).all()
    takes = feed["message"]["tif"] == TimeInForce.IOC
    assert outcome.results["filled_lots"][~takes].sum() == 0
    assert (outcome.results["filled_lots"] == feed["message"]["lots"])[takes].all()
    ticks, lots = books.depth(levels)
    return tuple(
        {int(t): int(n) for t, n in zip(ticks[0, s], lots[0, s], strict=True) if n}
        for s in range(2)
    )


def only(module, files, options):
    return next(module.open_sessions(files, options))


def takers(feed):
    message = feed["message"][feed["message"]["tif"] == TimeInForce.IOC]
    return list(zip(*(message[f].tolist() for f in ("side", "price_tick", "lots")), strict=True))


def test_a_snapshot_and_updates_are_the_book(tmp_path):
    """Sizes that went through floating point are the decimals that they came from."""
    files = (
        written(tmp_path, SNAPSHOT, "BTC-USD_snapshot.csv"),
        written(tmp_path, UPDATES, "BTC-USD_updates.csv"),
    )
    days = []
    for source in coinbase.open_sessions(files, Options()):
        feed = read(source)
        days.append((source.session.date.day, book_of(feed), int(feed["time_ns"][0])))
        instrument = source.session.instrument
        assert (instrument.symbol, instrument.currency) == ("BTC-USD", "USD")
        assert (instrument.tick_size, instrument.lot_size) == (Decimal("0.5"), Decimal("0.00001"))
        assert (feed["origin"][:4] == Origin.OPENING).all()

    lots = 100_000
    bids = {200: 7, 199: lots // 2, 198: 2 * lots}
    assert days == [
        (24, (bids, {201: 90_100, 202: lots // 4, 204: 4 * lots}), 13_937_202_000_000),
        (25, (bids, {201: 90_100, 204: 4 * lots}), 0),
    ]


def test_updates_need_a_snapshot(tmp_path):
    file = written(tmp_path, UPDATES, "BTC-USD_updates.csv")

    with pytest.raises(DataError, match="no snapshot is given"):
        next(coinbase.open_sessions((file,), Options()))
    with pytest.raises(UsageError, match="begin with a product"):
        next(coinbase.open_sessions((written(tmp_path, UPDATES, "x.csv"),), Options()))


def test_a_match_is_no_cancel(tmp_path):
    """The update before it tells of the same lots: it is what the trade left."""
    feed = (
        FEED
        + OPENING
        + update("00:55:01.100", ("sell", "101", "2"))
        + match("00:55:01.098", "sell", "101", "1", "taker")
        + update("00:55:02.000", ("buy", "98", "0"))
    )
    source = only(coinbase, (written(tmp_path, feed, "BTC-USD_feed.csv"),), Options())

    messages = read(source)

    assert takers(messages) == [(0, 101, 1)]
    assert len(messages) == 4 + 2
    assert book_of(messages) == ({99: 5}, {101: 2, 102: 5})
    assert source.counts.noticed == {"level at a price that the engine does not have, left out": 1}
    assert source.session.date == date(2018, 4, 17)


def test_matches_of_one_taker_are_one_order(tmp_path):
    """Each with its update before it; another taker, or another update, ends the order."""
    feed = (
        FEED
        + OPENING
        + update("00:55:01.100", ("sell", "101", "0"))
        + match("00:55:01.098", "sell", "101", "3", "a")
        + update("00:55:01.101", ("sell", "102", "4"))
        + match("00:55:01.098", "sell", "102", "1", "a")
        + match("00:55:01.200", "sell", "102", "1", "b")
        + update("00:55:01.202", ("sell", "102", "3"))
        + update("00:55:03.000", ("buy", "100", "1"))
        + update("00:55:03.101", ("buy", "100", "0"))
        + match("00:55:03.100", "buy", "100", "1", "b")
    )
    source = only(coinbase, (written(tmp_path, feed, "BTC-USD_feed.csv"),), Options())

    messages = read(source)

    assert takers(messages) == [(0, 102, 4), (0, 102, 1), (1, 100, 1)]
    assert book_of(messages) == ({99: 5, 98: 5}, {102: 3})
    assert not any("trade" in reason for reason in source.counts.repaired)
    assert (np.diff(messages["time_ns"]) >= 0).all()


def test_messages_that_are_not_read_are_dropped_by_their_type(tmp_path):
    feed = (
        FEED
        + update("00:55:01.000", ("buy", "98", "0"))
        + match("00:55:01.098", "sell", "101", "1", "taker")
        + "x"
        + "," * 11
        + "subscriptions\n"
        + OPENING
        + update("00:55:02.000", ("buy", "98", "0"))
    )
    source = only(coinbase, (written(tmp_path, feed, "BTC-USD_feed.csv"),), Options())

    read(source)

    assert source.counts.dropped == {
        "update before the snapshot": 1,
        "match before the snapshot": 1,
        "message that is not read: subscriptions": 1,
    }


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('x,"[[1]]",,,,,BTC-USD,,,,,snapshot\n', "no list of levels"),
        (update("00:55:09", ("buy", "1e5", "1")), "no list of levels"),
        (update("00:55:09", ("hold", "1", "1")), "no list of levels"),
        (update("25:55:09", ("buy", "1", "1")), "hour|Invalid"),
        (update("00:00:09", ("buy", "1", "1")), "long before"),
        (match("00:55:09", "none", "1", "1", "a"), "none"),
        (match("00:55:09", "buy", "x", "1", "a"), "no decimal"),
        (match("00:55:09", "buy", "90000000000", "1", "a"), "ticks"),
        ("x,y\n", "columns"),
        ('x,"\n', "comma is expected"),
    ],
)
def test_a_message_that_is_none_is_named_with_its_row(tmp_path, line, rule):
    feed = FEED + OPENING + update("00:55:01.100", ("sell", "101", "2")) + line
    file = written(tmp_path, feed, "BTC-USD_feed.csv")

    with pytest.raises(DataError, match=rule) as caught:
        [read(source) for source in coinbase.open_sessions((file,), Options())]

    assert (caught.value.file, caught.value.row) == (file, 4)


def test_rows_of_one_time_are_one_state_of_bitfinex(tmp_path):
    file = written(tmp_path, DEPTH, "ETHUSD_depth.csv")
    source = only(bitfinex, (file,), Options())

    feed = read(source)

    assert book_of(feed) == ({16617: 4}, {16619: 1})
    assert feed["origin"].tolist() == [Origin.OPENING] * 2 + [Origin.INFERRED] * 3
    assert len(set(feed["time_ns"])) == 3
    assert source.session.instrument.lot_size == Decimal("0.25")


def test_where_blocks_of_a_table_end_makes_no_difference(tmp_path, monkeypatch):
    draw = random.Random(1)
    rows = [DEPTH]
    for n in range(500):
        side = draw.choice(["bid", "ask"])
        price = 166.18 - draw.randint(0, 5) if side == "bid" else 166.19 + draw.randint(0, 5)
        rows.append(f"{1555107027 + n // 4}.5,{price:.2f},{draw.randint(0, 3)},{side}\n")
    file = written(tmp_path, "".join(rows), "ETHUSD_depth.csv")
    source = only(bitfinex, (file,), Options())
    whole = read(source)

    monkeypatch.setattr(files_module, "_BLOCK_BYTES", 300)
    source = only(bitfinex, (file,), Options())

    assert read(source).tobytes() == whole.tobytes()
    assert source.counts.used == 505


@pytest.mark.parametrize(
    ("text", "row", "rule"),
    [
        ("", 1, "empty"),
        ("a,b\n1,2\n", 1, "column"),
        (DEPTH.replace("1.0,bid", "1.0,mid"), 5, "'mid'"),
        (DEPTH.replace("1555107026.000001", "1555107024"), 6, "before that of the row"),
        (DEPTH.replace("1555107025.", "1555107."), 2, "time"),
        (DEPTH.replace("166.17", "166.170000001"), 5, "data loss"),
        (DEPTH.replace("2.25", "-2.25"), 3, "size"),
        (DEPTH.replace("2.25", ""), 3, "cannot be converted"),
    ],
)
def test_a_row_of_a_table_that_is_wrong_is_named(tmp_path, text, row, rule):
    file = written(tmp_path, text, "ETHUSD_depth.csv")

    with pytest.raises(DataError, match=rule) as caught:
        [read(source) for source in bitfinex.open_sessions((file,), Options())]

    assert (caught.value.file, caught.value.row) == (file, row)


@pytest.mark.parametrize("size", ["0.9009", "0.90090000001", "nan", "inf", "-1", "x", "1e300"])
def test_a_float_that_is_no_decimal_is_refused(tmp_path, size):
    updates = UPDATES.replace("0.9009999999999999", size)
    files = (
        written(tmp_path, SNAPSHOT, "BTC-USD_snapshot.csv"),
        written(tmp_path, updates, "BTC-USD_updates.csv"),
    )
    if size == "0.9009":
        next(coinbase.open_sessions(files, Options()))
        return
    with pytest.raises(DataError) as caught:
        [read(source) for source in coinbase.open_sessions(files, Options())]
    assert caught.value.file == files[1]


def test_damaged_files_are_refused_or_change_numbers_only(tmp_path):
    draw = random.Random(11)
    feed = (
        FEED
        + OPENING
        + "".join(
            update(f"00:55:{n:02}.1", ("sell", "101", f"{n + 1}"))
            + match(f"00:55:{n:02}.1", "sell", "101", "1", f"t{n}")
            for n in range(30)
        )
    )
    outcomes = Counter()
    for n in range(300):
        text = (feed if n % 3 else DEPTH).encode()
        packed = n % 4 == 0
        data = bytearray(zstandard.compress(text) if packed else text)
        for _ in range(draw.randint(1, 2)):
            at = draw.randrange(len(data))
            if draw.random() < 0.5:
                data[at] = draw.randrange(256)
            else:
                del data[at : at + draw.randint(1, 30)]
        name = ("BTC-USD" if n % 3 else "ETHUSD") + ".csv" + (".zst" if packed else "")
        module = coinbase if n % 3 else bitfinex
        try:
            file = written(tmp_path, bytes(data), name)
            [read(source) for source in module.open_sessions((file,), Options())]
            outcomes["read"] += 1
        except (DataError, UsageError) as error:
            outcomes[type(error).__name__] += 1
    assert outcomes["DataError"] > 150
    assert outcomes["read"] > 5


def rebuilt_by_hand(changes):
    """The last state of (side, price, size), by price."""
    book = ({}, {})
    for is_ask, price, size in changes:
        if float(size):
            book[is_ask][float(price)] = float(size)
        else:
            book[is_ask].pop(float(price), None)
    return book


@pytest.mark.slow
def test_real_level_changes_end_in_the_book_rebuilt_by_hand(market_data):
    """All levels of Bitfinex, after 419,139 changes."""
    path = market_data / "bitfinex_l2" / "ETHUSD_2019-04-12_depth_first75.csv.zst"
    with zstandard.open(path, "rt") as lines:
        rows = [line.strip().split(",") for line in lines][1:]
    bids, asks = rebuilt_by_hand((side == "ask", price, size) for _, price, size, side in rows)
    source = only(bitfinex, (str(path),), Options())

    found = book_of(read(source), levels=300)

    assert source.counts.used == len(rows)
    assert not source.counts.repaired
    for mine, theirs in zip((bids, asks), found, strict=True):
        assert {round(p * 1e5): round(q * 1e8) for p, q in mine.items()} == theirs


def test_real_recordings_of_coinbase_are_never_crossed(market_data):
    """Every match fills, and none leaves a cancel behind."""
    folder = market_data / "coinbase_l2"
    source = only(
        coinbase, (str(folder / "BTC-USD_2018-04-17_feed_l2update_match.csv.zst"),), Options()
    )
    feed = read(source)
    book_of(feed)
    assert source.counts.used == 1 + 18_093 + 256
    assert not source.counts.repaired
    assert list(source.counts.noticed) == [
        "level at a price that the engine does not have, left out"
    ]

    files = sorted(str(path) for path in folder.glob("BTC-USD_2018-04-24*"))
    source = only(coinbase, tuple(files), Options())
    book_of(read(source))
    assert not source.counts.repaired
    assert source.counts.dropped == {"level at a price that the engine does not have": 23}


def files_of_rows(source):
    """The file and row of every message and snapshot."""
    feed = np.concatenate([batch.feed for batch in source.batches()])
    return [place(source.session.files, row) for row in feed["row"].tolist()]


def test_a_row_of_levels_says_which_file_it_is_of(tmp_path):
    names = ("BTC-USD_1.csv", "BTC-USD_2.csv", "BTC-USD_3.csv")
    lines = UPDATES.splitlines(keepends=True)
    texts = ("".join(lines[:3]), SNAPSHOT, lines[0] + lines[3])
    files = tuple(written(tmp_path, text, name) for name, text in zip(names, texts, strict=True))
    found = set[tuple[str, int]]()
    for source in coinbase.open_sessions(files, Options()):
        found.update(files_of_rows(source))
    # Levels of one time are one state, which is there with the last of them.
    assert found == {(files[1], 5), (files[0], 3), (files[2], 2)}


def test_a_row_of_a_recording_says_which_file_it_is_of(tmp_path):
    first = FEED + OPENING + update("00:55:01.100", ("buy", "98", "1"))
    second = FEED + update("00:55:02.100", ("buy", "98", "7"))
    files = (
        written(tmp_path, first, "BTC-USD_1.csv"),
        written(tmp_path, second, "BTC-USD_2.csv"),
    )
    found = files_of_rows(only(coinbase, files, Options()))
    assert set(found[:-1]) <= {(files[0], 2), (files[0], 3)}
    assert found[-1] == (files[1], 2)


def test_time_that_goes_back_names_the_file_of_its_row(tmp_path):
    files = (
        written(tmp_path, DEPTH, "ETHUSD_1.csv"),
        written(tmp_path, DEPTH, "ETHUSD_2.csv"),
    )
    with pytest.raises(DataError, match="before that of the row before") as raised:
        list(only(bitfinex, files, Options()).batches())
    assert (raised.value.file, raised.value.row) == (files[1], 2)
