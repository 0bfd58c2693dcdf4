"""Recorded Binance lines become messages that rebuild the exchange's book at every update."""

import gzip
import json
import random
from collections import Counter
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import zstandard

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import TimeInForce
from mtsim.errors import DataError, MissingError, UsageError
from mtsim.model.sources import binance_stream
from mtsim.model.sources.base import OWN_IDS, Options, place
from mtsim.model.sources.binance_stream import open_sessions
from tests.model.binance_recording import HOUR_MS, MIDNIGHT_MS, Exchange, recorded
from tests.model.replaying import replay

DAY_NS = 86_400 * 10**9


def written(tmp_path, data, name="btcusdt.log"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.recording())
    return (str(path),)


def only(files, options=None):
    """The first session of a recording, not yet read."""
    return next(open_sessions(files, options or Options()))


def read(source):
    """All messages of a source, and its counts proven complete."""
    feed = np.concatenate([batch.feed for batch in source.batches()])
    counts = source.counts
    assert counts.read == counts.used + counts.dropped.total()
    return feed


def takers(feed):
    """Orders that took, as (time in ms of the day, side, worst tick, lots)."""
    takes = feed[feed["message"]["tif"] == TimeInForce.IOC]
    return [
        (
            int(row["time_ns"]) // 10**6,
            int(row["message"]["side"]),
            int(row["message"]["price_tick"]),
            int(row["message"]["lots"]),
        )
        for row in takes
    ]


def books_by_row(source):
    """The whole book after the last message of each row of the file, by row."""
    books, found = Books(1), {}
    feed = np.concatenate([batch.feed for batch in source.batches()])
    for part in np.split(feed, np.flatnonzero(np.diff(feed["row"])) + 1):
        books.process(np.ascontiguousarray(part["message"]))
        found[int(part["row"][0])] = levels_of(books)
    return found


def levels_of(books, levels=100):
    ticks, lots = books.depth(levels)
    return tuple(
        {int(t): int(n) for t, n in zip(ticks[0, s], lots[0, s], strict=True) if n}
        for s in range(2)
    )


@pytest.mark.parametrize("futures", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_book_is_the_exchanges_after_every_update(tmp_path, seed, futures):
    exchange = recorded(seed, futures)

    found = books_by_row(only(written(tmp_path, exchange)))

    compared = 0
    for row, line in enumerate(exchange.lines, 1):
        message = json.loads(line.partition(" ")[2]).get("data", {})
        if message.get("e") == "depthUpdate" and row in found:
            assert found[row] == exchange.truth[message["u"]]
            compared += 1
    assert compared > 40


@pytest.mark.parametrize("futures", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_best_quotes_are_the_touch_that_the_book_shows(tmp_path, seed, futures):
    done = replay(only(written(tmp_path, recorded(seed, futures))))

    assert done.equal == done.compared > 20, done.first_difference
    assert not done.rejects
    assert done.filled_lots == done.taker_lots
    assert done.resting_fills == 0


def test_a_wrong_best_quote_is_found_out(tmp_path):
    """The evidence can fail: it is not made of the same records as the book."""
    exchange = recorded()
    n = max(n for n, line in enumerate(exchange.lines) if "depth@" in line)
    at = max(k for k in range(n) if "bookTicker" in exchange.lines[k])
    exchange.lines[at] = exchange.lines[at].replace('"B":"', '"B":"7')
    exchange.id += 1
    exchange.quote()

    done = replay(only(written(tmp_path, exchange)))

    assert done.compared - done.equal == 1


def test_the_fills_of_one_taker_are_one_order(tmp_path):
    """Its time is the trades', its price the worst one, its lots all of them."""
    exchange = recorded(updates=0).live(1)
    exchange.traded.clear()
    exchange.now_ms += 5
    exchange.trade(0, 45)
    (when, side, prints) = exchange.traded[0]
    exchange.now_ms += 5
    exchange.flush()

    feed = read(only(written(tmp_path, exchange)))

    assert len(prints) > 1
    day_ms = MIDNIGHT_MS - 24 * HOUR_MS
    wanted = (when - day_ms, side, max(t for t, _ in prints), sum(n for _, n in prints))
    assert wanted in takers(feed)


def test_order_ids_of_older_recordings_tell_takers_apart(tmp_path):
    """Two buyers at one time and price are two orders, if the recording says so."""
    exchange = recorded(updates=2)
    ask = exchange.touch()[2]
    for taker in (71, 72):
        exchange.trade_id += 1
        data = {"e": "trade", "E": exchange.now_ms, "s": "BTCUSDT", "t": exchange.trade_id}
        data |= {"p": exchange.price(ask), "q": "0.001", "T": exchange.now_ms + 1, "m": False}
        exchange.send("trade", data | {"b": taker, "a": 9})
    exchange.now_ms += 10

    told = takers(read(only(written(tmp_path, exchange))))

    assert [lots for *_, lots in told[-2:]] == [1, 1]


def test_a_trade_line_after_its_update_is_sent_before_it(tmp_path):
    """Streams come apart: what decides is the time of the trade, not the place of its line."""
    exchange = recorded(3, updates=10)
    files = written(tmp_path, exchange)
    in_place = read(only(files))
    lines = exchange.lines
    moved = 0
    for n in range(len(lines) - 1, 0, -1):
        if "depth@" in lines[n] and "@trade" in lines[n - 1]:
            lines[n - 1], lines[n] = lines[n], lines[n - 1]
            moved += 1
    assert moved

    late = read(only(written(tmp_path, exchange)))

    for field in ("time_ns", "message"):
        assert late[field].tobytes() == in_place[field].tobytes()


def test_messages_carry_the_exchanges_time_and_own_ids(tmp_path):
    exchange = recorded()
    source = only(written(tmp_path, exchange))
    session = source.session

    feed = read(source)

    assert (session.date, session.start_ns, session.timezone) == (date(2024, 8, 8), 0, "UTC")
    assert (np.diff(feed["time_ns"]) >= 0).all()
    assert 23 * HOUR_MS * 10**6 <= feed["time_ns"][0] <= feed["time_ns"][-1] < DAY_NS
    assert feed["message"]["order_id"].min() == OWN_IDS
    assert (feed["message"]["owner"] == 0).all()
    assert not session.by_order
    assert any("inferred from levels" in each for each in session.assumptions)


def test_the_grid_is_found_or_said(tmp_path):
    files = written(tmp_path, recorded())

    found = only(files).session
    said = only(files, Options(tick_size=Decimal("0.005"), lot_size=Decimal("0.0005")))

    assert (found.instrument.tick_size, found.instrument.lot_size) == (
        Decimal("0.01"),
        Decimal("0.001"),
    )
    assert any("0.01" in each for each in found.assumptions)
    assert said.session.instrument.tick_size == Decimal("0.005")
    done = replay(said)
    assert done.equal == done.compared > 0
    with pytest.raises(DataError, match=r":\d+: .*no multiple of 0.02"):
        read(only(files, Options(tick_size=Decimal("0.02"))))


@pytest.mark.parametrize("futures", [False, True])
def test_a_gap_is_counted_and_the_next_snapshot_puts_the_book_in_place(tmp_path, futures):
    exchange = recorded(5, futures, updates=20)
    before = len(exchange.lines)
    exchange.live(5)
    missing = [line for line in exchange.lines[before:] if "depth@" in line]
    del exchange.lines[before:]
    assert missing
    exchange.live(5)
    gap_end = len(exchange.lines)
    exchange.snapshot()
    exchange.live(20)
    source = only(written(tmp_path, exchange))

    found = books_by_row(source)

    last = max(n for n, line in enumerate(exchange.lines, 1) if "depth@" in line)
    message = json.loads(exchange.lines[last - 1].partition(" ")[2])["data"]
    assert found[max(row for row in found)] == exchange.truth[message["u"]]
    assert source.counts.noticed["gap in the ids of depth updates"] == 1
    assert not [row for row in found if before < row < gap_end]


def test_a_gap_without_a_later_snapshot_ends_the_session(tmp_path):
    exchange = recorded(5, updates=20)
    before = len(exchange.lines)
    exchange.live(3)
    del exchange.lines[before:]
    exchange.live(10)
    source = only(written(tmp_path, exchange))

    feed = read(source)

    assert feed["row"].max() <= before
    assert source.counts.noticed["gap in the ids of depth updates"] == 1
    assert source.counts.dropped["depth update while the book is not known"] > 5


def test_later_snapshots_are_held_against_twenty_levels(tmp_path):
    """Even one that came between two updates, or late: later updates are put on top of it."""
    exchange = recorded(8, updates=5)
    for _ in range(6):
        exchange.live(4)
        exchange.set(0, exchange.touch()[0], 77)
        exchange.snapshot()
        late = exchange.lines.pop()
        exchange.set(1, exchange.touch()[2], 66)
        exchange.live(3)
        exchange.lines.append(late)
    exchange.live(3)
    source = only(written(tmp_path, exchange))

    done = replay(source)

    assert source.session.truth_levels == 20
    assert done.equal == done.compared == 6, done.first_difference


def test_snapshots_that_no_update_continues_are_passed_over(tmp_path):
    """One that is too old, and then one that fits."""
    exchange = Exchange(2).live(2)
    exchange.snapshot()
    old = exchange.lines.pop()
    exchange.live(6)
    del exchange.lines[: len(exchange.lines) // 2]
    exchange.lines.insert(0, old)
    exchange.snapshot()
    exchange.live(20)

    source = only(written(tmp_path, exchange))
    done = replay(source, levels=1)

    assert done.compared == done.equal
    assert source.counts.dropped["snapshot that no depth update continues"] == 1
    assert done.messages > 20


def test_a_recording_without_a_snapshot_is_refused(tmp_path):
    exchange = Exchange().live(10)

    with pytest.raises(DataError, match="no depth snapshot") as caught:
        only(written(tmp_path, exchange))

    assert "snapshot before it" in str(caught.value)


def test_a_recording_may_go_on_in_the_next_file_and_on_the_next_day(tmp_path):
    """The second day opens with the book of the first, and stands for itself."""
    exchange = recorded(6, start_ms=MIDNIGHT_MS - 1000, updates=80)
    half = len(exchange.lines) // 2
    first = written(tmp_path, "".join(exchange.lines[:half]).encode(), "a.log")
    second = written(tmp_path, "".join(exchange.lines[half:]).encode(), "b.log")

    days, done = [], []
    for source in open_sessions((*first, *second), Options()):
        days.append(source.session.date)
        done.append(replay(source))
        assert source.counts.read == source.counts.used + source.counts.dropped.total()

    assert days == [date(2024, 8, 8), date(2024, 8, 9)]
    for each in done:
        assert each.equal == each.compared > 0, each.first_difference
        assert each.filled_lots == each.taker_lots


def test_a_day_that_is_not_read_does_not_hold_up_the_next(tmp_path):
    files = written(tmp_path, recorded(6, start_ms=MIDNIGHT_MS - 1000, updates=80))
    sessions = open_sessions(files, Options())
    next(sessions)

    done = replay(next(sessions))

    assert done.equal == done.compared > 0


def test_lines_that_were_read_before_are_dropped(tmp_path):
    """Two recordings may overlap."""
    exchange = recorded(4)
    overlap = exchange.recording() + b"".join(
        line.encode() for line in exchange.lines[-30:] if "bookTicker" not in line
    )
    plain = read(only(written(tmp_path, exchange)))

    source = only(written(tmp_path, overlap))

    assert read(source)["message"].tobytes() == plain["message"].tobytes()
    assert source.counts.dropped["depth update that was read before"] > 0


def test_missing_trade_ids_are_counted(tmp_path):
    exchange = recorded(4)
    trades = [n for n, line in enumerate(exchange.lines) if "@trade" in line]
    del exchange.lines[trades[len(trades) // 2]]
    source = only(written(tmp_path, exchange))

    done = replay(source)

    assert source.counts.noticed["trade id missing in the feed"] == 1
    assert done.equal == done.compared


def test_what_is_no_trade_in_the_book_is_dropped_by_its_reason(tmp_path):
    exchange = recorded(4, futures=True)
    data = {"e": "trade", "E": exchange.now_ms, "T": exchange.now_ms, "s": "BTCUSDT", "m": True}
    exchange.send("trade", data | {"t": exchange.trade_id + 1, "p": "0", "q": "0", "X": "NA"})
    fund = data | {"t": exchange.trade_id + 2, "p": "9.99", "q": "0.001", "X": "INSURANCE_FUND"}
    exchange.send("trade", fund)
    exchange.send("markPrice", {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "10.0"})
    exchange.send("", {"result": None, "id": 1}, wrapped=False)
    source = only(written(tmp_path, exchange))

    read(source)

    for reason in (
        "trade outside the book: NA",
        "trade outside the book: INSURANCE_FUND",
        "message that is not read: markPriceUpdate",
        "message that is not read: answer",
    ):
        assert source.counts.dropped[reason] == 1


def test_a_stream_that_pauses_is_not_held_without_end(tmp_path, monkeypatch):
    """Trades and quotes go on without depth updates, before there is a book and after."""
    monkeypatch.setattr(binance_stream, "_MOST_HELD", 20)
    monkeypatch.setattr(binance_stream, "_MOST_UPDATES", 3)
    exchange = Exchange(3)
    for _ in range(40):
        exchange.trade(0, 1)
        exchange.set(0, 990, 1 + exchange.id % 7)
        exchange.now_ms += 1
    exchange.live(6)
    exchange.snapshot()
    exchange.live(6)
    for n in range(60):
        exchange.trade(n % 2, 2)
        exchange.now_ms += 1
    exchange.live(6)
    source = only(written(tmp_path, exchange))

    done = replay(source)

    assert done.equal == done.compared > 0, done.first_difference
    assert done.filled_lots == done.taker_lots > 60
    assert source.counts.dropped["trade while the book is not known"] >= 40
    assert source.counts.dropped["depth update while the book is not known"] >= 3


def test_one_symbol_is_read(tmp_path):
    exchange = recorded(4)
    other = Exchange(9, symbol="ETHUSDT").live(3)
    mixed = exchange.lines[:]
    mixed[20:20] = other.lines

    with pytest.raises(DataError, match="not said which"):
        only(written(tmp_path, "".join(mixed).encode()))
    with pytest.raises(DataError, match="no message of XRPUSDT"):
        only(written(tmp_path, exchange), Options(symbol="XRPUSDT"))

    futures = recorded(4, futures=True)
    lines = [
        line.replace('"lastUpdateId"', '"symbol":"BTCUSDT","lastUpdateId"')
        for line in futures.lines
    ]
    lines[20:20] = Exchange(9, futures=True, symbol="ETHUSDT").live(3).lines
    files = written(tmp_path, "".join(lines).encode())
    with pytest.raises(UsageError, match="2 symbols"):
        only(files)
    source = only(files, Options(symbol="BTCUSDT"))
    done = replay(source)
    assert done.equal == done.compared > 0
    assert source.counts.dropped["another symbol"] > 0


def test_a_date_that_the_lines_do_not_have_is_refused(tmp_path):
    files = written(tmp_path, recorded())

    assert only(files, Options(date=date(2024, 8, 8))).session.date == date(2024, 8, 8)
    with pytest.raises(UsageError, match="2024-08-08"):
        only(files, Options(date=date(2024, 8, 1)))


@pytest.mark.parametrize("packed", ["gz", "zst"])
@pytest.mark.parametrize("stamped", ["ns", "us", "none"])
def test_lines_are_read_packed_and_with_any_stamp(tmp_path, packed, stamped):
    exchange = recorded()
    plain = read(only(written(tmp_path, exchange)))
    cut = {"ns": 0, "us": 3, "none": None}[stamped]
    lines = []
    for line in exchange.lines:
        stamp, _, text = line.partition(" ")
        lines.append(text if cut is None else f"{stamp[: len(stamp) - cut]} {text}")
    data = "".join(lines).encode()
    data = gzip.compress(data) if packed == "gz" else zstandard.compress(data)

    feed = read(only(written(tmp_path, data, f"btcusdt.log.{packed}")))

    assert feed.tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"123 {not json}\n", "no recorded message"),
        (b"yesterday {}\n", "local time"),
        (b'123 {"data": 5}\n', "is an object"),
        (b'123 {"e":"trade","s":"BTCUSDT","p":"1e5","q":"1"}\n', "no decimal"),
        (b'123 {"e":"trade","s":"BTCUSDT","p":10.5,"q":"1"}\n', "in quotes"),
        (b'123 {"e":"depthUpdate","s":"BTCUSDT","E":1,"U":1,"u":1,"b":[],"a":[]}\n', "no time"),
        (b'123 {"e":"depthUpdate","s":"BTCUSDT","b":[["1"]],"a":[]}\n', "no recorded message"),
        (b'123 {"lastUpdateId":5,"bids":[]}\n', "asks"),
        (b"123 " + b"[" * 100_000 + b"\n", "no recorded message"),
        (b'123 {"e":"trade","s":"BTCUSDT","p":NaN,"q":"1"}\n', "NaN"),
        (b"\xff\xfe\n", "no recorded message"),
    ],
)
def test_a_line_that_is_none_of_ours_is_named(tmp_path, line, rule):
    exchange = recorded()
    n = len(exchange.lines) // 2
    data = "".join(exchange.lines[:n]).encode() + line + "".join(exchange.lines[n:]).encode()

    with pytest.raises(DataError, match=rule) as caught:
        read(only(written(tmp_path, data)))

    assert caught.value.row == n + 1


def test_time_that_goes_back_is_refused(tmp_path):
    exchange = recorded()
    exchange.now_ms -= 60_000
    exchange.set(0, 990, 5)
    exchange.flush()

    with pytest.raises(DataError, match="earlier than the one before it") as caught:
        read(only(written(tmp_path, exchange)))

    assert caught.value.row == len(exchange.lines)


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError):
        only((str(tmp_path / "none.log"),))


@pytest.mark.parametrize("packed", ["gz", "zst"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, packed):
    data = recorded().recording()
    data = gzip.compress(data) if packed == "gz" else zstandard.compress(data)

    with pytest.raises(DataError, match="cut short"):
        read(only(written(tmp_path, data[: len(data) * 2 // 3], f"btcusdt.{packed}")))


def test_damaged_lines_are_refused_or_change_numbers_only(tmp_path):
    """Whatever bytes are put in, nothing but a DataError comes out, or messages that add up."""
    random_ = random.Random(1)
    data = recorded(updates=15).recording()
    outcomes = Counter()
    for _ in range(300):
        mutated = bytearray(data)
        for _ in range(random_.randint(1, 3)):
            at = random_.randrange(len(mutated))
            kind = random_.randrange(3)
            if kind == 0:
                mutated[at] = random_.randrange(256)
            elif kind == 1:
                del mutated[at : at + random_.randint(1, 300)]
            else:
                mutated[at:at] = random_.choice([b"0", b"9", b"-", b'"', b"\n", b"null", b"{}"])
        try:
            for source in open_sessions(written(tmp_path, bytes(mutated)), Options()):
                read(source)
            outcomes["read"] += 1
        except (DataError, UsageError) as error:
            outcomes[type(error).__name__] += 1
    assert outcomes["DataError"] > 100
    assert outcomes["read"] > 5


RECORDINGS = {
    "spot_btcusdt": ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"),
    "spot_ethusdt": ("spot_ethusdt_20240808.gz",),
    "usdm_btcusdt_july": ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz"),
    "usdm_btcusdt": ("usdm_btcusdt_20240808.gz",),
    "usdm_ethusdt": ("usdm_ethusdt_20240808.gz",),
    "cm_btcusd": ("cm_btcusd_perp_20240808.gz", "cm_btcusd_perp_20240809.gz"),
    "spot_nexousdt": ("spot_nexousdt_20240723.dat.zst", "spot_nexousdt_20240724.dat.zst"),
}
# Depth updates that were cut in the middle of a sweep: they already show fills that best quotes of
# later ids do not show yet.
EXCEPTIONS = {"spot_btcusdt": 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDINGS)
def test_real_recordings_meet_their_best_quotes(market_data, name):
    files = tuple(str(market_data / "binance_ws" / file) for file in RECORDINGS[name])
    compared = equal = 0
    for source in open_sessions(files, Options()):
        done = replay(source)
        counts = source.counts
        assert counts.read == counts.used + counts.dropped.total()
        assert not done.rejects
        assert done.filled_lots == done.taker_lots
        assert done.resting_fills == 0
        compared, equal = compared + done.compared, equal + done.equal

    assert compared > 1000
    assert compared - equal == EXCEPTIONS.get(name, 0)


@pytest.mark.parametrize(
    "file",
    [
        "spot_nexousdt_20240723.dat.zst",
        pytest.param("usdm_btcusdt_20240718.gz", marks=pytest.mark.slow),
        pytest.param("spot_btcusdt_20240808.gz", marks=pytest.mark.slow),
    ],
)
def test_a_real_recording_is_the_book_rebuilt_by_hand(market_data, file):
    """On the best 20 levels after every update, rebuilt here with a dictionary and floats."""
    path = market_data / "binance_ws" / file
    unpack = gzip.open if path.suffix == ".gz" else zstandard.open
    with unpack(path, "rt") as lines:
        messages = [json.loads(line.partition(" ")[2]) for line in lines]
    messages = [message.get("data", message) for message in messages]
    snapshot = next(message for message in messages if "lastUpdateId" in message)
    mine = [{float(p): float(q) for p, q in snapshot[side]} for side in ("bids", "asks")]
    source = only((str(path),))
    tick, lot = (
        float(size)
        for size in (source.session.instrument.tick_size, source.session.instrument.lot_size)
    )
    feed = np.concatenate([batch.feed for batch in source.batches()])
    updates = [
        (row, message)
        for row, message in enumerate(messages, 1)
        if message.get("e") == "depthUpdate" and message["u"] > snapshot["lastUpdateId"]
    ]

    books, done, compared = Books(1), 0, 0
    for row, message in updates:
        for side, changes in enumerate((message["b"], message["a"])):
            for price, size in changes:
                mine[side][float(price)] = float(size)
        of_update = np.flatnonzero(feed["row"] == row)
        if not len(of_update):
            continue
        books.process(np.ascontiguousarray(feed["message"][done : of_update[-1] + 1]))
        done = int(of_update[-1]) + 1
        ticks, lots = books.depth(20)
        for side, sign in ((0, -1), (1, 1)):
            best = sorted((sign * p, q) for p, q in mine[side].items() if q)[:20]
            assert ticks[0, side].tolist() == [round(sign * p / tick) for p, _ in best]
            assert lots[0, side].tolist() == [round(q / lot) for _, q in best]
        compared += 1
    assert compared > 1000


def test_the_opening_is_flagged(tmp_path):
    feed = read(only(written(tmp_path, recorded())))

    opening = feed["origin"] == Origin.OPENING
    assert 10 < opening.sum() < 40
    assert opening[: opening.sum()].all()


@pytest.mark.parametrize(
    ("symbol", "futures", "venue"),
    [
        ("BTCUSDT", False, "binance"),
        ("BTCUSDT", True, "binance-um"),
        ("BTCUSDT_240927", True, "binance-um"),
        ("BTCUSD_PERP", True, "binance-cm"),
        ("BTCUSD_240927", True, "binance-cm"),
    ],
)
def test_what_updates_look_like_tells_the_market(tmp_path, symbol, futures, venue):
    """The name of the file says another one."""
    exchange = recorded(1, futures, symbol=symbol)
    (file,) = written(tmp_path, exchange, "spot_usdm_cm.log")
    assert only((file,)).session.instrument.venue == venue
    assert only((file,), Options(venue="elsewhere")).session.instrument.venue == "elsewhere"


def test_the_pair_of_a_symbol_tells_coin_margined_futures(tmp_path):
    text = recorded(1, futures=True).recording().replace(b'"pu":', b'"ps":"BTCUSD","pu":')
    assert only(written(tmp_path, text)).session.instrument.venue == "binance-cm"


def test_recordings_of_two_markets_are_not_one_feed(tmp_path):
    files = (
        *written(tmp_path, recorded(1), "a.log"),
        *written(tmp_path, recorded(1, futures=True), "b.log"),
    )
    with pytest.raises(UsageError, match="binance, binance-um"):
        only(files)


def test_a_row_says_which_file_it_is_of(tmp_path):
    exchange = recorded(2)
    lines = exchange.lines
    cut = len(lines) // 2
    whole = written(tmp_path, exchange, "whole.log")
    files = (
        *written(tmp_path, "".join(lines[:cut]).encode(), "a.log"),
        *written(tmp_path, "".join(lines[cut:]).encode(), "b.log"),
    )
    shown = []
    for source in (only(whole), only(files)):
        batches = list(source.batches())
        rows = [batch.feed["row"] for batch in batches]
        rows += [batch.truth.row for batch in batches if batch.truth is not None]
        shown.append([place(source.session.files, row) for row in np.concatenate(rows).tolist()])
    one, two = shown
    assert two == [(files[0], row) if row <= cut else (files[1], row - cut) for _, row in one]
