"""Bitstamp's rows, two for each fill, become the orders of takers and the book of its snapshots."""

import json
import random
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import zstandard

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import MAX_LOTS
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import bitstamp
from mtsim.model.sources.base import OWN_IDS, Options, place
from mtsim.model.sources.bitstamp import open_sessions
from tests.model.replaying import replay
from tests.model.venue import BUY, SELL, Venue, levels_of

START_MS = 1_430_438_400_000  # 2015-05-01 00:00 UTC
LOT = 10**8
COINS = 7_654_321  # lots a lot of the venue: sizes have eight digits


class Bitcoins(Venue):
    """The venue without what Bitstamp does not have."""

    def replace(self, order, tick, lots):
        pass

    def cancel(self, order, lots):
        pass


def price(tick):
    return f"{Decimal(tick) / 100:.2f}"


def amount(lots):
    return f"{Decimal(lots * COINS).scaleb(-8):.8f}"


class Log:
    """Lines of a log, in which every order says what is left of it."""

    def __init__(self, venue, first_id=65_000_000):
        self.lines = []
        self.ms = 1000
        self.first_id = first_id
        self.left = {}
        self.trades = 0
        taker = 0
        following = [*venue.rows[1:], ("END",)]
        for row, then, book in zip(venue.rows, following, venue.books, strict=True):
            kind, side, order, other, tick, lots = row
            self.ms += 21 if kind == "FILL" and other == taker else 400
            taker = other if kind == "FILL" else 0
            if kind == "ADD":
                self.left[order] = [side, tick, lots]
                self.say("order_created", order)
            elif kind == "DELETE":
                self.say("order_deleted", order)
            else:
                self.fill(order, other, tick, lots)
            if then[0] != "FILL":
                self.lines.append(("book", self.ms, book))

    def say(self, kind, order):
        side, tick, lots = self.left[order]
        said = {
            "price": price(tick),
            "amount": amount(lots),
            "datetime": str((START_MS + self.ms) // 1000),
            "id": self.first_id + order,
            "order_type": side,
        }
        self.lines.append((kind, self.ms, said))

    def fill(self, maker, taker, tick, lots):
        for order in (maker, taker):
            self.left[order][2] -= lots
            self.say("order_changed" if self.left[order][2] else "order_deleted", order)
            self.ms += 2
        self.trades += 1
        # A float, with all its digits.
        said = {"price": tick / 100, "amount": float(amount(lots)), "id": self.trades}
        self.lines.append(("trade", self.ms, said))

    def text(self, every=9, late_ms=0):
        """The log with every so many books as a snapshot, all but the first late by so much."""
        out, waiting, n = [], [], 0
        for kind, ms, said in self.lines:
            while waiting and waiting[0][0] <= ms:
                out.append(waiting.pop(0))
            if kind != "book":
                out.append((ms, kind, said))
                continue
            n += 1
            if n % every == 0:
                sides = [
                    [[price(tick), amount(lots)] for tick, lots in levels_of(side, 20) if lots]
                    for side in said
                ]
                shown = {"bids": sides[0], "asks": sides[1]}
                late = late_ms if n > every else 0
                waiting.append((ms + late, "order_book", shown))
        return "".join(
            f"{START_MS + ms} {kind} {json.dumps(said)}\n" for ms, kind, said in out + waiting
        )


def written(folder, text, name="BTCUSD_2015-05-01_raw.log.zst"):
    path = folder / name
    data = text.encode() if isinstance(text, str) else bytes(text)
    path.write_bytes(zstandard.compress(data) if name.endswith(".zst") else data)
    return str(path)


def only(file, options=None):
    (source,) = open_sessions((file,), options or Options())
    return source


def feed_of(source):
    return np.concatenate([batch.feed for batch in source.batches()])


def lines_of(folder, *lines):
    """A log that begins with an empty book: (ms, kind, id, side, price, amount) or a trade."""
    empty = {"bids": [["1.00", "1.00000000"]], "asks": [["999.00", "1.00000000"]]}
    text = f"{START_MS} order_book {json.dumps(empty)}\n"
    for ms, kind, *said in lines:
        if kind == "trade":
            told = {"price": float(said[0]), "amount": float(said[1]), "id": 1}
        else:
            told = dict(zip(("id", "order_type", "price", "amount"), said, strict=True))
        text += f"{START_MS + ms} {kind if kind == 'trade' else 'order_' + kind} "
        text += json.dumps(told) + "\n"
    return only(written(folder, text))


def told(feed):
    """Messages after the opening book, for eyes."""
    rows = feed[feed["origin"] != Origin.OPENING]
    return [
        (Kind(m["kind"]).name, int(m["side"]), TimeInForce(m["tif"]).name, int(m["price_tick"]),
         int(m["lots"]), int(m["order_id"]))
        for m in rows["message"]
    ]  # fmt: skip


# --- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("late_ms", [0, 900, -700])
def test_every_snapshot_of_a_log_is_the_book_of_some_moment_near_it(tmp_path, seed, late_ms):
    log = Log(Bitcoins(announces=True).play(seed, 700))
    source = only(written(tmp_path, log.text(late_ms=late_ms)))

    done = replay(source)

    assert done.first_difference == ""
    assert done.compared == done.equal > 40
    assert not done.rejects
    assert done.resting_fills == 0
    assert source.session.date == date(2015, 5, 1)
    assert source.session.instrument.symbol == "BTCUSD"
    assert source.session.instrument.lot_size == Decimal("1e-8")
    counts = source.counts
    assert counts.read == counts.used + counts.dropped.total()
    assert not counts.repaired


def test_the_lots_of_takers_are_those_of_the_trades(tmp_path):
    venue = Bitcoins(announces=True).play(3, 700)
    done = replay(only(written(tmp_path, Log(venue).text(every=1))))

    traded = sum(lots for kind, *_, lots in venue.rows if kind == "FILL")
    assert done.taker_lots == done.filled_lots == traded * COINS


@pytest.mark.parametrize("seed", range(5))
def test_a_log_may_begin_long_after_its_orders(tmp_path, seed):
    """What the first snapshot shows is anonymous, and unknown orders take from it."""
    log = Log(Bitcoins(announces=True).play(seed, 900))
    half = log.text(every=5).splitlines(keepends=True)[1000:]

    done = replay(only(written(tmp_path, "".join(half))))

    assert done.first_difference == ""
    assert done.compared == done.equal > 25
    assert not done.rejects


@pytest.mark.parametrize("seed", range(3))
def test_a_table_of_the_log_gives_the_same_orders(tmp_path, seed):
    log = Log(Bitcoins(announces=True).play(seed, 400))
    rows = ["id,timestamp,exchange.timestamp,price,volume,action,direction"]
    for kind, ms, said in log.lines:
        if kind.startswith("order_"):
            volume = int(Decimal(said["amount"]) * LOT)
            word = ("bid", "ask")[said["order_type"]]
            rows.append(
                f"{said['id']},{START_MS + ms},{START_MS + ms // 1000 * 1000},{said['price']},"
                f"{volume},{kind.removeprefix('order_')},{word}"
            )
    table = only(written(tmp_path, "\n".join(rows) + "\n", "BTCUSD_2015-05-01_orders.csv"))
    logged = only(written(tmp_path, log.text(every=10**6)))

    one, two = feed_of(table), feed_of(logged)
    assert one["message"].tobytes() == two["message"].tobytes()
    assert one["time_ns"].tolist() == two["time_ns"].tolist()


def test_a_sweep_is_one_order_at_the_time_of_its_first_fill(tmp_path):
    source = lines_of(
        tmp_path,
        (10, "created", 1, SELL, "10.00", "1.0"),
        (20, "created", 2, SELL, "10.01", "2.0"),
        (30, "created", 3, BUY, "10.05", "4.0"),
        (60, "changed", 3, BUY, "10.05", "3.0"),
        (61, "deleted", 1, SELL, "10.00", "0.0"),
        (62, "trade", "10.00", "1.0"),
        (70, "created", 4, BUY, "9.00", "1.0"),
        (80, "deleted", 2, SELL, "10.01", "0.0"),
        (81, "changed", 3, BUY, "10.05", "1.0"),
        (82, "trade", "10.01", "2.0"),
    )

    feed = feed_of(source)

    assert told(feed)[2:] == [
        ("LIMIT", BUY, "IOC", 1001, 3 * LOT, OWN_IDS + 2),
        ("LIMIT", BUY, "GTC", 1005, LOT, 3),
        ("LIMIT", BUY, "GTC", 900, LOT, 4),
    ]
    assert feed["time_ns"][-3:].tolist() == [61 * 10**6, 61 * 10**6, 70 * 10**6]
    assert source.counts.read == source.counts.used == 8


def test_the_order_that_came_to_its_price_later_is_the_taker(tmp_path):
    """An old order that follows the price takes, whatever its id."""
    source = lines_of(
        tmp_path,
        (10, "created", 1, BUY, "9.00", "2.0"),
        (20, "created", 2, SELL, "10.00", "1.0"),
        (30, "changed", 1, BUY, "10.00", "2.0"),
        (40, "changed", 1, BUY, "10.00", "1.0"),
        (41, "deleted", 2, SELL, "10.00", "0.0"),
        (42, "trade", "10.00", "1.0"),
    )

    feed = feed_of(source)

    assert told(feed)[2:] == [
        ("CANCEL", BUY, "GTC", 0, 0, 1),
        ("LIMIT", BUY, "IOC", 1000, LOT, OWN_IDS + 2),
        ("LIMIT", BUY, "GTC", 1000, LOT, 1),
    ]
    assert source.counts.repaired.total() == 1


def test_orders_that_shrink_without_a_trade_leave(tmp_path):
    """Two orders of one owner take each other out, and no trade is told."""
    source = lines_of(
        tmp_path,
        (10, "created", 1, BUY, "10.00", "1.0"),
        (20, "created", 2, SELL, "10.00", "1.0"),
        (30, "deleted", 1, BUY, "10.00", "0.0"),
        (31, "deleted", 2, SELL, "10.00", "0.0"),
    )

    feed = feed_of(source)

    assert not np.any(feed["message"]["tif"] == TimeInForce.IOC)
    assert told(feed)[1:] == [
        ("CANCEL", BUY, "GTC", 0, 0, 1),
        ("LIMIT", SELL, "GTC", 1000, LOT, 2),
        ("CANCEL", SELL, "GTC", 0, 0, 2),
    ]


def test_a_deletion_that_is_told_twice_or_too_early_takes_nothing_else(tmp_path):
    source = lines_of(
        tmp_path,
        (10, "created", 5, BUY, "1.00", "1.0"),
        (20, "deleted", 5, BUY, "1.00", "1.0"),
        (21, "deleted", 5, BUY, "1.00", "1.0"),
        (30, "deleted", 6, BUY, "1.00", "1.0"),
        (31, "created", 6, BUY, "1.00", "1.0"),
    )

    books = Books(1)
    books.process(np.ascontiguousarray(feed_of(source)["message"]))

    assert books.resting(0)["lots"].tolist() == [LOT, LOT]  # Those of the opening book.
    assert source.counts.dropped == {
        "cancel of an order that is not in the book": 1,
        "order whose deletion came before it": 2,
    }


def test_orders_of_many_coins_are_several_for_the_engine(tmp_path):
    source = lines_of(
        tmp_path,
        (10, "created", 1, SELL, "10.00", "25.0"),
        (20, "created", 2, BUY, "10.00", "24.0"),
        (30, "changed", 1, SELL, "10.00", "1.0"),
        (31, "deleted", 2, BUY, "10.00", "0.0"),
        (32, "trade", "10.00", "24.0"),
    )

    books = Books(1)
    feed = feed_of(source)
    results = books.process(np.ascontiguousarray(feed["message"])).results

    assert not results["reject"].any()
    assert feed["message"]["lots"].max() == MAX_LOTS
    resting = books.resting(0)
    assert resting["lots"][resting["side"] == SELL].sum() == 2 * LOT
    assert results["filled_lots"].sum() == 24 * LOT


def test_the_cut_between_chunks_changes_nothing(tmp_path, monkeypatch):
    file = written(tmp_path, Log(Bitcoins(announces=True).play(4, 800)).text())
    whole = feed_of(only(file))
    monkeypatch.setattr(bitstamp, "_CHUNK_ROWS", 11)

    assert feed_of(only(file)).tobytes() == whole.tobytes()


# --- tables of events ----------------------------------------------------------------------------


def events(folder, venue, seed, pairs=True):
    """The tables of 2019: orders that are open come first, rows of one time in any order."""
    luck = random.Random(seed)
    start = 1_555_102_800
    rows, trades, spread = [], [], []
    left, n, us, taker = {}, 0, 0, 0
    for k, ((kind, side, order, other, tick, lots), book) in enumerate(
        zip(venue.rows, venue.books, strict=True)
    ):
        same = (kind == "FILL" and other == taker) or (
            kind == "FILL" and k and venue.rows[k - 1][:3] == ("ADD", 1 - side, other)
        )
        us += 0 if same else 250_000
        taker = other if kind == "FILL" else 0
        early = k < 100
        at = start * 10**6 + us - (40 * 10**6 if early else 0)
        stamp = f"{at // 10**6}.{at % 10**6:06}"

        def say(event, order, action, fill=0, matching="", stamp=stamp):
            side, tick, lots = left[order]
            rows.append(
                (stamp, f"{event},{order + 3 * 10**9},{stamp},{stamp},{price(tick)},"
                 f"{amount(lots)},{action},{('bid', 'ask')[side]},{amount(fill)},{matching},,")
            )  # fmt: skip

        if kind == "ADD":
            left[order] = [side, tick, lots]
            say("", order, "created")
        elif kind == "DELETE":
            say("", order, "deleted")
        else:
            n += 1
            for one, name, match in ((order, f"m{n}", f"t{n}"), (other, f"t{n}", f"m{n}")):
                left[one][2] -= lots
                say(name, one, "changed" if left[one][2] else "deleted", lots, match)
            trades.append(f"m{n},t{n}")
        if not early and (k + 1 == len(venue.rows) or venue.rows[k + 1][0] != "FILL"):
            (bid, *_), (ask, *_) = (levels_of(side, 1) for side in book)
            spread.append(
                f"{stamp},{price(bid[0])},{amount(bid[1])},{price(ask[0])},{amount(ask[1])}"
            )
    luck.shuffle(rows)
    rows.sort(key=lambda row: row[0])
    head = "event.id,id,timestamp,exchange.timestamp,price,volume,action,direction,fill,"
    head += "matching.event,type,aggressiveness.bps"
    written(folder, "\n".join(["maker.event.id,taker.event.id", *trades]) + "\n",
            "BTCUSD_2019-04-12_trades.csv")  # fmt: skip
    names = "timestamp,best.bid.price,best.bid.volume,best.ask.price,best.ask.volume"
    written(folder, "\n".join([names, *spread]) + "\n", "BTCUSD_2019-04-12_spread.csv")
    body = "\n".join([head, *(row for _, row in rows)]) + "\n"
    return written(folder, body, "BTCUSD_2019-04-12_events.csv")


@pytest.mark.parametrize("seed", range(5))
def test_the_best_quotes_of_events_are_the_touch(tmp_path, seed):
    venue = Bitcoins(announces=True).play(seed, 600)
    file = events(tmp_path, venue, seed)
    source, again = only(file), only(file)

    done = replay(source)

    assert done.first_difference == ""
    assert done.compared == done.equal > 300
    assert not done.rejects
    assert source.session.date == date(2019, 4, 12)
    assert len(source.session.files) == 3
    shown = [batch.truth.row for batch in again.batches() if batch.truth is not None]
    of = {place(source.session.files, row)[0] for row in np.concatenate(shown)}
    assert {Path(file).name for file in of} == {"BTCUSD_2019-04-12_spread.csv"}
    (reason,) = source.counts.dropped
    assert reason.startswith("before the session")
    assert 100 <= source.counts.dropped[reason] < 110


def test_events_need_no_tables_beside_them(tmp_path):
    file = events(tmp_path, Bitcoins(announces=True).play(1, 300), 1)
    for name in ("trades", "spread"):
        (tmp_path / f"BTCUSD_2019-04-12_{name}.csv").unlink()

    source = only(file)

    assert len(feed_of(source)) > 200
    assert source.session.truth_levels == 0
    assert source.counts.read == source.counts.used


def test_tables_beside_the_events_are_no_sessions(tmp_path):
    file = events(tmp_path, Bitcoins(announces=True).play(1, 300), 1)
    beside = (f"{tmp_path}/BTCUSD_2019-04-12_{part}.csv" for part in ("trades", "spread"))
    files = (file, *beside)

    assert len(list(open_sessions(files, Options()))) == 1


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ('"price": ', '"prize": ', "an order has price, amount, id and order_type"),
        ('"order_type": 0', '"order_type": 2', "no order id and type"),
        ('"id": 65', '"id": -65', "no order id and type"),
        ("order_created", "order_imagined", "unknown kind 'order_imagined'"),
        ('"amount": "', '"amount": "x', "is no number"),
        ('"amount": "0.', '"amount": "0.000000001', "is no whole multiple of 1E-8"),
        ('"amount": "', '"amount": "-', "is out of range"),
        ('"amount": "', '"amount": "99999999', "is out of range"),
        ("{", "{{", "not JSON"),
        (" order_", " order_created order_", "not a line"),
        ("14304384", "14304383", "the time goes back"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path, was, now, says):
    lines = Log(Bitcoins(announces=True).play(2, 200)).text().splitlines(keepends=True)
    at = next(k for k in range(80, 250) if "order_created" in lines[k] and was in lines[k])
    lines[at] = lines[at].replace(was, now, 1)
    file = written(tmp_path, "".join(lines))

    with pytest.raises(DataError, match=f":{at + 1}: .*{says}"):
        feed_of(only(file))


def test_other_files_and_unsaid_symbols_are_refused(tmp_path):
    with pytest.raises(DataError, match="neither a Bitstamp log nor"):
        only(written(tmp_path, "a,b\n1,2\n", "BTCUSD_2015-05-01.csv"))
    log = Log(Bitcoins(announces=True).play(2, 50)).text()
    with pytest.raises(UsageError, match="--symbol"):
        only(written(tmp_path, log, "log.txt"))
    with pytest.raises(UsageError, match="does not begin on 2015-05-02"):
        only(written(tmp_path, log), Options(date=date(2015, 5, 2)))


@pytest.mark.parametrize("kind", ["log", "events"])
def test_a_damaged_file_ends_in_a_data_error(tmp_path, kind):
    venue = Bitcoins(announces=True).play(6, 150)
    if kind == "log":
        good, name = Log(venue).text().encode(), "BTCUSD_2015-05-01_raw.log"
    else:
        good = (tmp_path / events(tmp_path, venue, 6)).read_bytes()
        name = "BTCUSD_2019-04-12_events.csv"
    luck = random.Random(8)
    refused = 0
    for turn in range(60):
        data = bytearray(good[: luck.randrange(len(good))] if turn % 2 else good)
        for _ in range(3 if data else 0):
            data[luck.randrange(len(data))] = luck.randrange(256)
        said = refusal(written(tmp_path, data, name))
        refused += said is not None
        assert said is None or "BTCUSD" in said
    assert refused > 30


def refusal(file):
    """What a DataError says of a file, None where it is read to its end."""
    try:
        feed_of(only(file))
    except DataError as error:
        return str(error)
    return None


# --- the real files ------------------------------------------------------------------------------


def test_every_best_quote_of_the_real_events_is_the_touch(market_data):
    source = only(str(market_data / "bitstamp_l3" / "BTCUSD_2019-04-12_first75_events.csv.zst"))

    done = replay(source)

    assert (done.compared, done.equal) == (3966, 3966)
    assert not done.rejects
    assert done.taker_lots == done.filled_lots


@pytest.mark.slow
def test_the_real_log_meets_its_snapshots_until_it_loses_a_line(market_data):
    """Two orders are created and never heard of again: their ghosts explain all but five."""
    source = only(str(market_data / "bitstamp_l3" / "BTCUSD_2015-05-01_00-16h_raw.log.zst"))

    done = replay(source)

    assert done.compared == 18303
    assert done.equal == 17674
    assert not done.rejects
    assert done.taker_lots == done.filled_lots
