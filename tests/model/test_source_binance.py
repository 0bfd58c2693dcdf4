"""Binance's archives of trades become aggressive orders, each day a session."""

import gzip
import hashlib
import io
import random
import zipfile
from collections import Counter
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
import zstandard

from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.errors import DataError, MissingError, UsageError
from mtsim.model.sources import files as files_module
from mtsim.model.sources.base import OWN_IDS, Options, place
from mtsim.model.sources.binance import open_sessions

START_MS = 1_723_075_200_000  # 2024-08-08 00:00 UTC
DAY_MS = 86_400_000

# (id, ms after the start, price, size, whether the buyer was the maker)
TRADES = (
    (7, 1, "100.10", "0.5", False),
    (8, 1, "100.20", "0.25", False),
    (9, 1, "100.20", "1", False),
    (10, 1, "100.10", "2", False),  # A better price: another buyer.
    (11, 1, "100.00", "3", True),
    (12, 2, "100.00", "1", True),
    (15, 2, "99.90", "1", True),  # After a gap in the ids.
)
ORDERS = [(1, 0, 10020, 175), (1, 0, 10010, 200), (1, 1, 10000, 300), (2, 1, 10000, 100)]
ORDERS += [(2, 1, 9990, 100)]

GRID = Options(tick_size=Decimal("0.01"), lot_size=Decimal("0.01"))

SPOT = "{id},{price},{size},1.0,{time},{maker},True"
FUTURES = "{id},{price},{size},1.0,{time},{maker}"
SPOT_AGGREGATED = "{id},{price},{size},{id},{id},{time},{maker},True"
FUTURES_AGGREGATED = "{id},{price},{size},{id},{id},{time},{maker}"
FUTURES_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker\n"
AGGREGATED_HEADER = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
)


def csv(trades=TRADES, layout=SPOT, header="", unit=1, start_ms=START_MS, words=("False", "True")):
    rows = [
        layout.format(
            id=number, price=price, size=size, time=(start_ms + ms) * unit, maker=words[maker]
        )
        for number, ms, price, size, maker in trades
    ]
    return (header + "\n".join(rows) + "\n").encode()


def written(tmp_path, data, name="BTCUSDT-trades-2024-08-08.csv"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def zipped(data, name="BTCUSDT-trades-2024-08-08.csv"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return packed.getvalue()


def read(source):
    feed = np.concatenate([batch.feed for batch in source.batches()])
    assert source.counts.read == source.counts.used + source.counts.dropped.total()
    return feed


def orders(feed):
    """Messages as (ms of the day, side, worst tick, lots), proven to be IOC limits."""
    message = feed["message"]
    assert (message["kind"] == Kind.LIMIT).all()
    assert (message["tif"] == TimeInForce.IOC).all()
    assert message["order_id"].tolist() == list(range(OWN_IDS, OWN_IDS + len(feed)))
    assert (feed["origin"] == Origin.OBSERVED).all()
    columns = (feed["time_ns"] // 10**6, *(message[f] for f in ("side", "price_tick", "lots")))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def all_of(files, options=None):
    return [(source, read(source)) for source in open_sessions(files, options or Options())]


@pytest.mark.parametrize(
    ("layout", "header"),
    [(SPOT, ""), (FUTURES, FUTURES_HEADER), (FUTURES, "")],
)
@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("words", [("False", "True"), ("false", "true")])
def test_trades_of_one_taker_are_one_order(tmp_path, layout, header, unit, words):
    """With a header or without, in milliseconds or microseconds."""
    file = written(tmp_path, csv(layout=layout, header=header, unit=unit, words=words))

    ((source, feed),) = all_of((file,), GRID)

    assert orders(feed) == ORDERS
    assert source.counts.used == len(TRADES)
    assert source.counts.noticed == {"trade id missing in the feed": 2}
    first = 2 if header else 1
    assert feed["row"].tolist() == [first + n for n in (0, 3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("layout", "header"),
    [(SPOT_AGGREGATED, ""), (FUTURES_AGGREGATED, AGGREGATED_HEADER), (FUTURES_AGGREGATED, "")],
)
def test_aggregated_trades_at_one_price_are_of_two_orders(tmp_path, layout, header):
    """Trades of one order at one price are one row there already."""
    file = written(tmp_path, csv(layout=layout, header=header), "BTCUSDT-aggTrades-2024-08-08.csv")

    ((_, feed),) = all_of((file,), GRID)

    assert orders(feed) == [(1, 0, 10020, 75), (1, 0, 10020, 100), *ORDERS[1:]]


def test_the_session_says_what_it_is_and_what_it_lacks(tmp_path):
    source = next(open_sessions((written(tmp_path, csv()),), Options()))
    session = source.session

    assert (session.source, session.date) == ("binance", date(2024, 8, 8))
    assert session.instrument.symbol == "BTCUSDT"
    assert session.instrument.currency == "USDT"
    assert (session.instrument.tick_size, session.instrument.lot_size) == (
        Decimal("0.1"),
        Decimal("0.25"),
    )
    assert (session.by_order, session.truth_levels) == (False, 0)
    assert any("empty book" in each for each in session.assumptions)
    assert any("common divisor of all prices" in each for each in session.assumptions)


def test_the_user_says_the_grid_and_the_symbol(tmp_path):
    options = Options("ETHBTC", None, Decimal("0.05"), Decimal("0.125"), "elsewhere")
    source = next(open_sessions((written(tmp_path, csv(), "trades.csv"),), options))

    instrument = source.session.instrument
    assert (instrument.symbol, instrument.venue, instrument.currency) == (
        "ETHBTC",
        "elsewhere",
        "BTC",
    )
    assert orders(read(source))[0] == (1, 0, 2004, 14)
    assert not any("common divisor" in each for each in source.session.assumptions)
    with pytest.raises(UsageError, match="does not begin with a symbol"):
        next(open_sessions((written(tmp_path, csv(), "trades.csv"),), Options()))
    with pytest.raises(UsageError, match="tick size"):
        next(open_sessions((written(tmp_path, csv()),), Options(tick_size=Decimal(0))))


@pytest.mark.parametrize(("divisor", "tick"), [("0.3", "0.1"), ("0.06", "0.01"), ("7", "1")])
def test_a_few_prices_do_not_make_an_odd_grid(tmp_path, divisor, tick):
    """A common divisor that is no usual step gives way to the power of ten in it."""
    step = Decimal(divisor)
    trades = [(n, n, str(step * n), "2", False) for n in range(1, 9)]
    file = written(tmp_path, csv(trades))

    instrument = next(open_sessions((file,), Options())).session.instrument

    assert instrument.tick_size == Decimal(tick)
    assert instrument.lot_size == 2


def test_every_day_is_a_session(tmp_path):
    """An order does not go over midnight, and a file may hold part of a day."""
    trades = [
        (1, DAY_MS - 1, "100", "1", False),
        (2, DAY_MS, "100", "2", False),
        (3, DAY_MS + 5, "100", "4", True),
        (4, 3 * DAY_MS, "100", "8", True),
    ]
    options = Options(tick_size=Decimal(1), lot_size=Decimal(1))
    a = written(tmp_path, csv(trades[:2]))
    b = written(tmp_path, csv(trades[2:]), "b.csv")

    days = [(source.session.date.day, orders(feed)) for source, feed in all_of((a, b), options)]

    assert days == [
        (8, [(DAY_MS - 1, 0, 100, 1)]),
        (9, [(0, 0, 100, 2), (5, 1, 100, 4)]),
        (11, [(0, 1, 100, 8)]),
    ]
    with pytest.raises(UsageError, match="2024-08-09"):
        all_of((a, b), Options(date=date(2024, 8, 8)))


def test_where_blocks_end_makes_no_difference(tmp_path, monkeypatch):
    """An order may begin in one block of the file and end in the next."""
    draw = random.Random(3)
    trades = [
        (n, n // 5, f"{100 + draw.randint(0, 3)}", f"{draw.randint(1, 9)}", draw.random() < 0.2)
        for n in range(1, 400)
    ]
    file = written(tmp_path, csv(trades))
    ((_, whole),) = all_of((file,))

    monkeypatch.setattr(files_module, "_BLOCK_BYTES", 300)
    ((source, parts),) = all_of((file,))

    assert parts.tobytes() == whole.tobytes()
    assert source.counts.used == 399
    assert whole["message"]["lots"].sum() == sum(int(size) for *_, size, _ in trades)
    assert len(whole) < 399


def test_an_order_of_more_lots_than_the_engine_takes_is_several(tmp_path):
    trades = [(1, 1, "1", f"{MAX_LOTS}", False), (2, 1, "1", "3", False), (3, 2, "1", "1", False)]

    ((source, feed),) = all_of((written(tmp_path, csv(trades)),))

    assert orders(feed) == [(1, 0, 1, MAX_LOTS), (1, 0, 1, 3), (2, 0, 1, 1)]
    assert source.counts.used == 3


def test_trades_of_nothing_are_dropped(tmp_path):
    trades = [*TRADES, (16, 3, "0", "5", False), (17, 3, "100", "0", False)]

    ((source, feed),) = all_of((written(tmp_path, csv(trades)),))

    assert len(feed) == len(ORDERS)
    assert source.counts.dropped == {"trade without price or size": 2}


def test_other_tables_of_trades_are_read_by_their_header(tmp_path):
    """The names differ, and some say the aggressor's side."""
    rows = "".join(
        f"{number},{START_MS + ms},{price},{size},{'sell' if maker else 'buy'}\n"
        for number, ms, price, size, maker in TRADES
    )
    file = written(tmp_path, f"tradeId,timestamp,price,quantity,side\n{rows}".encode())

    assert orders(all_of((file,), GRID)[0][1]) == ORDERS


COIN_HEADER = "id,price,qty,base_qty,time,is_buyer_maker\n"


@pytest.mark.parametrize(
    ("venue", "name", "layout", "header"),
    [
        ("binance", "BTCUSDT-trades-2024-08-08.csv", SPOT, ""),
        ("binance", "BTCUSDT-um-trades.csv", SPOT, ""),
        ("binance", "BTCUSDT-aggTrades-2024-08-08.csv", SPOT_AGGREGATED, ""),
        ("binance-um", "BTCUSDT-trades-2024-08-08.csv", FUTURES, ""),
        ("binance-um", "BTCUSDT-trades-2024-08-08.csv", FUTURES, FUTURES_HEADER),
        ("binance-um", "BTCUSDT_240927-trades-2024-08-08.csv", FUTURES, FUTURES_HEADER),
        ("binance-um", "BTCUSDT-aggTrades-2024-08-08.csv", FUTURES_AGGREGATED, AGGREGATED_HEADER),
        ("binance-cm", "BTCUSD_PERP-trades-2024-08-08.csv", FUTURES, ""),
        ("binance-cm", "BTCUSD_240927-aggTrades-2024.csv", FUTURES_AGGREGATED, AGGREGATED_HEADER),
        ("binance-cm", "BTCUSD-trades-2024-08-08.csv", FUTURES, COIN_HEADER),
    ],
)
def test_symbol_and_columns_tell_the_market(tmp_path, venue, name, layout, header):
    """A name that says otherwise is not asked."""
    file = written(tmp_path, csv(layout=layout, header=header), name)

    session = next(open_sessions((file,), Options())).session

    assert session.instrument.venue == venue
    assert session.instrument.symbol == name.partition("-")[0]
    assert not any("market" in each for each in session.assumptions)


@pytest.mark.parametrize(
    ("venue", "name", "is_stated"),
    [
        ("binance", "TRXUSDT_2025-03-04_trades.csv", True),
        ("binance", "TRXUSDT_spot_2025-03-04_trade_stream.csv", False),
        ("binance-um", "TRXUSDT_usdm_2025-03-04_trade_stream.csv", False),
        ("binance-cm", "TRXUSD_PERP_2025-03-04_trade_stream.csv", False),
    ],
)
def test_where_columns_do_not_tell_the_market_the_name_may(tmp_path, venue, name, is_stated):
    text = f"tradeId,timestamp,price,quantity,side\n1,{START_MS},100,1,buy\n"
    file = written(tmp_path, text.encode(), name)

    session = next(open_sessions((file,), Options())).session
    said = next(open_sessions((file,), Options(venue="elsewhere"))).session

    assert session.instrument.venue == venue
    assert any("market is spot" in each for each in session.assumptions) == is_stated
    assert said.instrument.venue == "elsewhere"
    assert not any("market is spot" in each for each in said.assumptions)


def test_files_of_two_markets_are_not_one_feed(tmp_path):
    files = (
        written(tmp_path, csv(TRADES[:3])),
        written(tmp_path, csv(TRADES[3:], FUTURES), "BTCUSDT-trades-2024-08-09.csv"),
    )
    with pytest.raises(UsageError, match="binance, binance-um"):
        next(open_sessions(files, Options()))


def test_a_row_says_which_file_it_is_of(tmp_path):
    files = (written(tmp_path, csv(TRADES[:4])), written(tmp_path, csv(TRADES[4:]), "b.csv"))
    ((source, feed),) = all_of(files, GRID)

    found = [place(source.session.files, row) for row in feed["row"].tolist()]

    assert found == [(files[0], 1), (files[0], 4), (files[1], 1), (files[1], 2), (files[1], 3)]


@pytest.mark.parametrize("packed", ["zip", "gz", "zst"])
def test_archives_are_read_packed(tmp_path, packed):
    pack = {"zip": zipped, "gz": gzip.compress, "zst": zstandard.compress}[packed]

    file = written(tmp_path, pack(csv()), f"BTCUSDT-trades-2024-08-08.csv.{packed}")

    assert len(all_of((file,))[0][1]) == len(ORDERS)


def test_a_checksum_beside_the_file_must_agree(tmp_path):
    data = zipped(csv())
    file = written(tmp_path, data, "BTCUSDT-trades-2024-08-08.zip")
    beside = tmp_path / "BTCUSDT-trades-2024-08-08.zip.CHECKSUM"
    digest = hashlib.sha256(data).hexdigest()

    beside.write_text(f"{digest.upper()}  BTCUSDT-trades-2024-08-08.zip\n")
    assert len(all_of((file,))[0][1]) == len(ORDERS)

    beside.write_text(f"{hashlib.sha256(b'').hexdigest()}  BTCUSDT-trades-2024-08-08.zip\n")
    with pytest.raises(DataError, match=digest):
        all_of((file,))

    beside.write_text("<html>")
    with pytest.raises(DataError, match="no SHA-256"):
        all_of((file,))


@pytest.mark.parametrize(
    ("data", "row", "rule"),
    [
        (b"", 1, "empty|no column"),
        (b"hello\n", 1, "no column"),
        (b"1,2,3\n", 1, "no row of trades"),
        (csv().replace(b"100.20", b"100,20"), 2, "columns"),
        (csv().replace(b"99.90", b"x"), 7, "x"),
        (csv().replace(b"99.90", b"-99.90"), 7, "price"),
        (csv().replace(b"99.90", b"0.000000001"), 7, "data loss"),
        (csv().replace(b",3,1.0", b",9999999999999,1.0"), 5, "does not fit"),
        (csv().replace(b"True,True\n12", b"Maybe,True\n12"), 5, "'Maybe' is not one of"),
        (csv()[:-30], 7, "columns"),
        (csv() + csv(unit=1000), 8, "id of a trade|unit of the others"),
        (csv(TRADES[::-1]), 2, "id of a trade is not after"),
        (csv([(1, 5, "1", "1", False), (2, 4, "1", "1", False)]), 2, "time of a trade"),
        (csv([(1, 5, "1", "1", False), (1, 5, "1", "1", False)]), 2, "id of a trade"),
        (csv(start_ms=1_723_075_200), 1, "no time in milliseconds"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(tmp_path, data, row, rule):
    file = written(tmp_path, data)

    with pytest.raises(DataError, match=rule) as caught:
        all_of((file,))

    assert caught.value.file == file
    assert caught.value.row == row


def test_files_in_the_wrong_order_are_refused(tmp_path):
    later = written(tmp_path, csv([(n + 100, *rest) for n, *rest in TRADES]))
    sooner = written(tmp_path, csv(), "sooner.csv")

    with pytest.raises(DataError, match="in the order of time"):
        all_of((later, sooner))


def test_a_file_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError):
        all_of((str(tmp_path / "BTCUSDT-trades-2024-08-08.zip"),))


def test_damaged_files_are_refused_or_change_numbers_only(tmp_path):
    """Whatever bytes are put in, nothing but an error of ours comes out, or orders that add up."""
    draw = random.Random(2)
    trades = [(n, n // 3, f"{100 + n % 4}.5", f"{1 + n % 5}", n % 7 < 2) for n in range(1, 60)]
    plain, packed = csv(trades), zipped(csv(trades))
    outcomes = Counter()
    for n in range(400):
        mutated = bytearray(packed if n % 2 else plain)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(mutated))
            if draw.random() < 0.5:
                mutated[at] = draw.randrange(256)
            else:
                del mutated[at : at + draw.randint(1, 40)]
        name = "BTCUSDT-trades-2024-08-08." + ("zip" if n % 2 else "csv")
        try:
            all_of((written(tmp_path, bytes(mutated), name),))
            outcomes["read"] += 1
        except (DataError, UsageError) as error:
            outcomes[type(error).__name__] += 1
    assert outcomes["DataError"] > 200
    assert outcomes["read"] > 5


REAL = {
    "BTCUSDT-trades-2024-08-08_2354-0005.zip": (19_904, [9_738, 10_166]),
    "ETHUSDT-trades-2024-08-08_2354-0000.zip": (6_106, [6_098, 8]),
    "NEXOUSDT-trades-2024-07-23_16h-24_16h.zip": (12_280, [4_503, 7_777]),
    "LTCUSDT_2025-06-21_22_trades.csv.zst": (114_852, [53_325, 61_527]),
    "TRXUSDT_spot_2025-03-04_trade_stream.csv.zst": (10_000, [10_000]),
    "TRXUSDT_usdm_2025-03-04_trade_stream.csv.zst": (10_000, [10_000]),
}


@pytest.mark.parametrize("name", REAL)
def test_real_archives_are_read_to_the_last_trade(market_data, name):
    sessions = all_of((str(market_data / "binance_trades" / name),))

    n_trades, by_day = REAL[name]
    assert [source.counts.read for source, _ in sessions] == by_day
    assert sum(by_day) == n_trades
    assert all(len(feed) < source.counts.used for source, feed in sessions)
