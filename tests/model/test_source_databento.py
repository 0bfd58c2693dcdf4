"""Databento MBO: records into messages, against the official decoder and an exchange in lists."""

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import zstandard

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.errors import DataError, MtsimError, UsageError
from mtsim.model.sources import databento, databento_files, ledger, ledger_blocks
from mtsim.model.sources.base import OWN_IDS, Options
from mtsim.model.sources.databento_files import MBO_DTYPE, read_records
from tests.model import mbo_writer
from tests.model.mbo_writer import SNAPSHOT, record
from tests.model.replaying import Replay, replay

official = pytest.importorskip("databento_dbn", reason="pip install databento-dbn")


def written(tmp_path: Path, data: bytes, name: str = "day.mbo.dbn") -> str:
    path = tmp_path / name
    path.write_bytes(zstandard.compress(data) if name.endswith(".zst") else data)
    return str(path)


def source_of(path: str, **options) -> databento.DatabentoSource:
    (source,) = databento.open_sessions((path,), Options(**options))
    return source


def played(tmp_path: Path, *records: np.ndarray) -> tuple[Replay, databento.DatabentoSource]:
    source = source_of(written(tmp_path, mbo_writer.dbn(mbo_writer.joined(records))))
    return replay(source), source


def feed_of(path: str, **options) -> np.ndarray:
    return np.concatenate([batch.feed for batch in source_of(path, **options).batches()])


def exchange(steps: int, *, as_cme: bool, seed: int = 0) -> mbo_writer.Exchange:
    market = mbo_writer.Exchange(np.random.default_rng(seed), as_cme=as_cme)
    for _ in range(steps):
        market.step()
    return market


def depth_of(books: Books) -> dict[tuple[int, int], int]:
    ticks, lots = (array[0] for array in books.depth(500))
    return {
        (side, int(ticks[side, k])): int(lots[side, k])
        for side in (0, 1)
        for k in range(500)
        if lots[side, k]
    }


@pytest.mark.parametrize("as_cme", [True, False], ids=["cme", "nasdaq"])
class TestBook:
    def test_the_engine_holds_the_book_of_the_exchange_after_every_event(self, tmp_path, as_cme):
        market = exchange(1_500, as_cme=as_cme)
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records)))
        written(tmp_path, mbo_writer.mbp10(market.books), "day.mbp-10.csv")
        source = source_of(path)
        done = replay(source)
        assert done.first_difference == ""
        assert done.compared == done.equal == market.events
        assert not done.rejects
        assert depth_of(done.books) == market.levels()
        assert source.books is not None
        assert source.books.without_record == 0

    def test_a_trade_is_one_aggressive_order_and_no_cancel(self, tmp_path, as_cme):
        market = exchange(1_500, as_cme=as_cme, seed=1)
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records)))
        done = replay(source_of(path))
        assert done.taker_lots == done.filled_lots == market.traded
        source = source_of(path)
        feed = np.concatenate([batch.feed for batch in source.batches()])
        takers = feed[feed["message"]["tif"] == TimeInForce.IOC]
        assert len(takers) == market.takes
        assert (takers["message"]["order_id"] >= OWN_IDS).all()
        assert set(feed["origin"].tolist()) == {Origin.OBSERVED}
        assert not source.counts.repaired
        told = Counter(row["action"][0].decode() for row in market.records)
        sent = Counter(Kind(kind).name for kind in feed["message"]["kind"])
        implied = source.counts.dropped["a cancel or change that a fill implies"]
        unchanged = source.counts.dropped["a change that changes nothing"]
        out = sent["CANCEL"] + sent["REDUCE"] + sent["REPLACE"]
        assert out + implied + unchanged == told["C"] + told["M"]
        assert implied == told["F"] - again(market.records)

    def test_every_record_is_used_or_dropped_for_a_reason(self, tmp_path, as_cme):
        market = exchange(500, as_cme=as_cme, seed=2)
        source = source_of(written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records))))
        list(source.batches())
        assert source.counts.read == len(market.records)
        assert source.counts.read == source.counts.used + sum(source.counts.dropped.values())

    def test_where_chunks_end_makes_no_difference(self, tmp_path, monkeypatch, as_cme):
        market = exchange(600, as_cme=as_cme, seed=3)
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records)))
        whole = feed_of(path)
        monkeypatch.setattr(databento_files, "_CHUNK_BYTES", 1_000)
        monkeypatch.setattr(ledger, "_STEP", 50)
        monkeypatch.setattr(ledger_blocks, "_LONGEST", 50)
        assert np.array_equal(feed_of(path), whole)


def again(records: list[np.ndarray]) -> int:
    """Fills that the cancel or change of another fill of the same order and time covers."""
    fills = [(int(r["ts_event"][0]), int(r["order_id"][0])) for r in records if r["action"] == b"F"]
    return len(fills) - len(set(fills))


class TestRules:
    def test_a_snapshot_opens_the_book_at_the_time_of_the_snapshot(self, tmp_path):
        market = exchange(200, as_cme=True)
        market.records.clear()
        market.snapshot()
        n = len(market.records)
        market.step()
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records)))
        feed = feed_of(path)
        assert feed["origin"].tolist()[: n + 1] == [Origin.OPENING] * n + [Origin.OBSERVED]
        assert feed["time_ns"][:n].tolist() == [0] * n
        assert depth_of(replay(source_of(path)).books) == market.levels()

    def test_growing_and_moving_lose_the_place_and_shrinking_keeps_it(self, tmp_path):
        """Whoever trades first tells who was first in line."""
        for change, first in (((19_000, 3), 1), ((19_000, 9), 2), ((18_999, 5), 2)):
            done, source = played(
                tmp_path,
                record("A", "B", 19_000, 5, 1, at_ns=1),
                record("A", "B", 19_000, 5, 2, at_ns=2),
                record("M", "B", *change, 1, at_ns=3),
                record("M", "B", 19_000, change[1], 1, at_ns=4),
                *trade(first, 3, at_ns=5),
            )
            assert not done.rejects
            assert not source.counts.repaired
            assert done.filled_lots == 3

    def test_a_change_of_price_is_one_message_that_loses_the_place(self, tmp_path):
        path = written(
            tmp_path,
            mbo_writer.dbn(
                mbo_writer.joined(
                    [record("A", "B", 19_000, 5, 1), record("M", "B", 18_990, 5, 1, at_ns=3)]
                )
            ),
        )
        message = feed_of(path)["message"][1]
        assert (message["kind"], message["flags"]) == (Kind.REPLACE, Flag.LOSE_PLACE)
        assert (message["order_id"], message["price_tick"], message["lots"]) == (1, 18_990, 5)

    def test_a_clear_empties_the_book(self, tmp_path):
        done, source = played(
            tmp_path,
            record("R", at_ns=0),
            record("A", "B", 19_000, 5, 1, at_ns=1),
            record("A", "A", 19_010, 5, 2, at_ns=2),
            record("R", at_ns=3),
            record("A", "A", 19_020, 7, 1, at_ns=4),
        )
        assert not done.rejects
        assert depth_of(done.books) == {(1, 19_020): 7}
        assert source.counts.repaired == {"cancelled because the feed cleared its book": 2}

    def test_hidden_trades_are_dropped_and_counted(self, tmp_path):
        done, source = played(
            tmp_path,
            record("A", "B", 19_000, 5, 1, at_ns=1),
            record("T", "N", 19_001, 5, 0, at_ns=2),
            record("T", "B", 19_001, 5, 0, at_ns=3),
        )
        assert done.messages == 1
        reason = "a trade without a resting order that is shown"
        assert source.counts.dropped == {reason: 2}

    def test_an_order_made_to_cross_takes_and_the_rest_of_it_rests(self, tmp_path):
        """CME lists such an order among the fills of the trade that it made."""
        done, source = played(
            tmp_path,
            record("A", "A", 19_010, 3, 1, at_ns=1),
            record("A", "B", 19_000, 5, 2, at_ns=2),
            record("T", "B", 19_010, 3, 2, at_ns=3, flags=0),
            record("F", "B", 19_010, 3, 2, at_ns=3, flags=0),
            record("F", "A", 19_010, 3, 1, at_ns=3, flags=0),
            record("C", "A", 19_010, 3, 1, at_ns=3, flags=0),
            record("M", "B", 19_010, 2, 2, at_ns=3),
        )
        assert not done.rejects
        assert (done.taker_lots, done.filled_lots) == (3, 3)
        assert depth_of(done.books) == {(0, 19_010): 2}
        assert source.counts.repaired == {"a resting order that took: withdrawn before": 1}

    def test_an_order_made_to_cross_several_prices_is_one_aggressive_order(self, tmp_path):
        done, source = played(
            tmp_path,
            record("A", "A", 19_010, 3, 1, at_ns=1),
            record("A", "A", 19_011, 3, 3, at_ns=1),
            record("A", "B", 19_000, 6, 2, at_ns=2),
            record("T", "B", 19_010, 3, 2, at_ns=3, flags=0),
            record("F", "B", 19_010, 3, 2, at_ns=3, flags=0),
            record("F", "A", 19_010, 3, 1, at_ns=3, flags=0),
            record("T", "B", 19_011, 3, 2, at_ns=3, flags=0),
            record("F", "B", 19_011, 3, 2, at_ns=3, flags=0),
            record("F", "A", 19_011, 3, 3, at_ns=3, flags=0),
            record("C", "A", 19_010, 3, 1, at_ns=3, flags=0),
            record("C", "A", 19_011, 3, 3, at_ns=3, flags=0),
            record("C", "B", 19_000, 6, 2, at_ns=3),
        )
        # Three orders, two withdrawals (all that the taker had), one taker.
        assert (done.messages, done.filled_lots, depth_of(done.books)) == (6, 6, {})
        assert source.counts.repaired == {"a resting order that took: withdrawn before": 2}

    def test_a_cancel_told_behind_the_fills_it_made_way_for_comes_first(self, tmp_path):
        """Self-match prevention: the order in front leaves, the one behind it is filled."""
        done, source = played(
            tmp_path,
            record("A", "A", 19_010, 3, 1, at_ns=1),
            record("A", "A", 19_010, 3, 2, at_ns=2),
            record("T", "B", 19_010, 3, 9, at_ns=3, flags=0),
            record("F", "A", 19_010, 3, 2, at_ns=3, flags=0),
            record("C", "A", 19_010, 3, 2, at_ns=3, flags=0),
            record("C", "A", 19_010, 3, 1, at_ns=3),
        )
        assert (done.filled_lots, depth_of(done.books)) == (3, {})
        assert source.counts.repaired == {"a cancel moved before the fills it made way for": 1}

    def test_a_new_order_does_not_meet_what_is_cancelled_for_it(self, tmp_path):
        done, source = played(
            tmp_path,
            record("A", "A", 19_010, 3, 1, at_ns=1),
            record("A", "B", 19_010, 2, 2, at_ns=2, flags=0),
            record("C", "A", 19_010, 3, 1, at_ns=2),
        )
        assert done.resting_fills == 0
        assert depth_of(done.books) == {(0, 19_010): 2}
        assert source.counts.repaired == {"a cancel moved before the fills it made way for": 1}

    def test_an_iceberg_trades_what_it_shows_and_comes_back_at_the_end(self, tmp_path):
        """One fill tells all its slices; the change behind it shows the next."""
        done, source = played(
            tmp_path,
            record("A", "A", 19_010, 2, 1, at_ns=1),
            record("A", "A", 19_010, 3, 2, at_ns=2),
            record("T", "B", 19_010, 6, 9, at_ns=3, flags=0),
            record("F", "A", 19_010, 3, 2, at_ns=3, flags=0),
            record("F", "A", 19_010, 3, 1, at_ns=3, flags=0),
            record("C", "A", 19_010, 3, 2, at_ns=3, flags=0),
            record("M", "A", 19_010, 2, 1, at_ns=3),
        )
        assert not done.rejects
        assert (done.taker_lots, done.filled_lots) == (5, 5)
        assert depth_of(done.books) == {(1, 19_010): 2}
        reason = "more lots taken than the order showed: what it showed"
        assert source.counts.repaired == {reason: 1}

    def test_the_trades_of_an_auction_leave_the_book_without_a_taker(self, tmp_path):
        done, source = played(
            tmp_path,
            record("A", "A", 19_000, 5, 1, at_ns=1),
            record("A", "B", 19_010, 4, 2, at_ns=2),
            record("A", "B", 18_990, 4, 3, at_ns=2),
            record("T", "N", 19_005, 4, 0, at_ns=3, flags=0),
            record("F", "N", 19_005, 4, 1, at_ns=3, flags=0),
            record("F", "N", 19_005, 4, 2, at_ns=3, flags=0),
            record("M", "A", 19_000, 1, 1, at_ns=3, flags=0),
            record("C", "B", 19_010, 4, 2, at_ns=3),
            *trade(1, 1, at_ns=4, side="A", price=19_000),
        )
        assert not done.rejects
        assert (done.filled_lots, done.resting_fills) == (1, 0)
        assert depth_of(done.books) == {(0, 18_990): 4}
        assert source.counts.dropped["a trade of an auction"] == 1
        reason = "executed in an auction: taken out of the order the feed names"
        assert source.counts.repaired[reason] == 2

    def test_a_change_of_an_unknown_order_adds_it(self, tmp_path):
        done, source = played(tmp_path, record("M", "B", 19_000, 5, 1, at_ns=1))
        assert depth_of(done.books) == {(0, 19_000): 5}
        assert source.counts.repaired == {"a change of an unknown order: the order added": 1}

    def test_what_cannot_rest_is_dropped_and_counted(self, tmp_path):
        done, source = played(
            tmp_path,
            record("A", "N", 19_000, 5, 1, at_ns=1),
            record("A", "B", None, 5, 2, at_ns=1),
            record("A", "B", 19_000, 0, 3, at_ns=1),
            record("C", "B", 19_000, 5, 4, at_ns=1),
            record("N", at_ns=1),
        )
        assert done.messages == 0
        assert sorted(source.counts.dropped.values()) == [1] * 5

    def test_a_small_step_back_in_time_is_held_and_a_large_one_refused(self, tmp_path):
        adds = [record("A", "B", 19_000 - k, 5, 1 + k, at_ns=10**10) for k in range(2)]
        adds[1]["ts_event"] -= 10**6
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(adds)))
        assert feed_of(path)["time_ns"].tolist() == [10**10] * 2
        adds[1]["ts_event"] -= 10**9
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(adds)))
        with pytest.raises(DataError, match=r"dbn:416: the time goes back"):
            feed_of(path)

    def test_a_price_off_the_grid_is_refused_with_the_way_out(self, tmp_path):
        add = record("A", "B", 19_000, 5, 1)
        add["price"] += 10_000_000
        path = written(tmp_path, mbo_writer.dbn(add))
        with pytest.raises(DataError, match=r"dbn:360: .*grid of the tick 0\.25.*--tick"):
            feed_of(path)
        assert feed_of(path, tick_size=Decimal("0.01"))["message"]["price_tick"] == [475_001]

    @pytest.mark.parametrize(
        ("name", "value", "rule"),
        [
            ("action", b"Z", "no action"),
            ("flags", 16, "price level"),
            ("ts_event", 2**64 - 1, "without a time"),
            ("size", 2**31, "lots up to"),
        ],
    )
    def test_a_record_that_cannot_be_is_refused(self, tmp_path, name, value, rule):
        adds = mbo_writer.joined(record("A", "B", 19_000 - k, 5, 1 + k) for k in range(3))
        adds[name][1] = value
        with pytest.raises(DataError, match=f"dbn:416: .*{rule}"):
            feed_of(written(tmp_path, mbo_writer.dbn(adds)))

    def test_time_goes_on_past_midnight(self, tmp_path):
        adds = [
            record("A", "B", 19_000, 5, 1),
            record("A", "B", 19_000, 5, 2, at_ns=25 * 3600 * 10**9),
        ]
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(adds)))
        assert source_of(path).session.date == date(2024, 1, 2)
        assert feed_of(path)["time_ns"].tolist() == [0, 25 * 3600 * 10**9]


def trade(
    order_id: int, size: int, *, at_ns: int, side: str = "B", price: int = 19_000
) -> list[np.ndarray]:
    """A resting order is hit, as CME tells it."""
    taker_side = "A" if side == "B" else "B"
    return [
        record("T", taker_side, price, size, 99, at_ns=at_ns, flags=0),
        record("F", side, price, size, order_id, at_ns=at_ns, flags=0),
        record("C", side, price, size, order_id, at_ns=at_ns),
    ]


class TestTruth:
    def test_a_wrong_book_is_seen(self, tmp_path):
        market = exchange(200, as_cme=False)
        row, depth = market.books[100]
        market.books[100] = (row, ([(p, q + 1) for p, q in depth[0]], depth[1]))
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records)))
        written(tmp_path, mbo_writer.mbp10(market.books), "day.mbp-10.csv")
        done = replay(source_of(path))
        assert done.compared - done.equal == 1
        assert " at row 102 of " in done.first_difference
        assert "day.mbp-10.csv, bid 1: " in done.first_difference

    def test_a_book_between_two_fills_of_one_aggressive_order_is_left_out(self, tmp_path):
        """The engine has no such moment: to it, the order is one message."""
        adds = [record("A", "B", 19_000, 5, k, at_ns=k, sequence=k) for k in (1, 2)]
        fills, books = [], []
        for k in (1, 2):
            marks = {"at_ns": 3, "sequence": 2 + k}
            fills.append(record("T", "A", 19_000, 5, 0, **marks))
            fills.append(record("F", "B", 19_000, 5, k, **marks))
            fills.append(record("C", "B", 19_000, 5, k, **marks))
            books.append((fills[-1], ([(19_000, 5)][k - 1 :], [])))
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined([*adds, *fills])))
        written(tmp_path, mbo_writer.mbp10(books), "day.mbp-10.csv")
        done = replay(source_of(path))
        assert (done.messages, done.filled_lots) == (3, 10)
        assert (done.compared, done.equal) == (1, 1)

    def test_a_book_that_no_record_accounts_for_is_counted(self, tmp_path):
        market = exchange(200, as_cme=False)
        gone = market.books[100][0]
        records = [row for row in market.records if row["sequence"] != gone["sequence"]]
        path = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(records)))
        written(tmp_path, mbo_writer.mbp10(market.books), "day.mbp-10.csv")
        source = source_of(path)
        list(source.batches())
        assert source.books is not None
        assert source.books.without_record == 1

    def test_books_are_no_session_of_their_own(self, tmp_path):
        market = exchange(20, as_cme=False)
        orders = written(tmp_path, mbo_writer.dbn(mbo_writer.joined(market.records)))
        books = written(tmp_path, mbo_writer.mbp10(market.books), "day.mbp-10.csv")
        sessions = list(databento.open_sessions((books, orders), Options()))
        assert [source.session.files for source in sessions] == [(orders, books)]
        assert sessions[0].session.truth_levels == 10
        with pytest.raises(UsageError, match="name the MBO file"):
            source_of(books)


class TestFiles:
    @pytest.mark.parametrize("version", [1, 2, 3])
    @pytest.mark.parametrize("ts_out", [False, True])
    def test_the_fields_are_those_that_the_official_decoder_finds(self, tmp_path, version, ts_out):
        market = exchange(300, as_cme=True)
        data = mbo_writer.dbn(mbo_writer.joined(market.records), version=version, ts_out=ts_out)
        (read,) = read_records(written(tmp_path, data))
        agree(read.mbo, data, ts_out=ts_out)
        for row, record_bytes in zip(read.row.tolist(), read.mbo, strict=True):
            assert data[row + 2 : row + 56] == record_bytes.tobytes()[2:]

    @pytest.mark.parametrize("name", ["day.mbo.csv", "day.mbo.csv.zst"])
    @pytest.mark.parametrize("pretty", [False, True])
    def test_a_csv_file_says_what_a_dbn_file_says(self, tmp_path, name, pretty):
        records = mbo_writer.joined([record("R"), *exchange(300, as_cme=True).records])
        data = mbo_writer.csv(records, pretty=pretty, symbol="ESH4" if pretty else "")
        path = written(tmp_path, data, name)
        (read,) = read_records(path)
        unread = ["ts_in_delta"]
        for field in (field for field in MBO_DTYPE.names or () if field not in unread):
            assert np.array_equal(read.mbo[field], records[field]), field
        assert read.row.tolist() == list(range(2, len(records) + 2))
        theirs = feed_of(path, symbol="ESH4")
        ours = feed_of(written(tmp_path, mbo_writer.dbn(records)))
        assert np.array_equal(theirs["message"], ours["message"])
        assert np.array_equal(theirs["time_ns"], ours["time_ns"])

    def test_records_of_other_kinds_are_counted(self, tmp_path):
        other = bytes([5, 23, *range(18)])
        data = mbo_writer.dbn(record("A", "B", 19_000, 5, 1))
        more = record("A", "B", 18_999, 5, 2).tobytes()
        source = source_of(written(tmp_path, data + other + more + other))
        assert depth_of(replay(source).books) == {(0, 19_000): 5, (0, 18_999): 5}
        assert source.counts.read == 4
        assert source.counts.dropped == {"a record of another kind": 2}

    def test_the_instrument_must_be_named_where_there_are_several(self, tmp_path):
        adds = [record("A", "B", 19_000, 5, k, instrument_id=k) for k in (7, 8)]
        data = mbo_writer.dbn(mbo_writer.joined(adds), {"ESH4": 7, "ESM4": 8})
        path = written(tmp_path, data)
        with pytest.raises(UsageError, match=r"There are ESH4, ESM4\. Say --symbol"):
            source_of(path)
        for symbol in ("ESM4", "8"):
            source = source_of(path, symbol=symbol)
            assert source.session.instrument.symbol == "ESM4"
            assert [int(b.feed["message"]["order_id"][0]) for b in source.batches()] == [8]
            assert source.counts.dropped == {"a record of another instrument": 1}

    def test_an_instrument_that_shows_up_late_is_refused(self, tmp_path):
        adds = [record("A", "B", 19_000, 5, k, instrument_id=k) for k in (7, 8)]
        data = mbo_writer.dbn(mbo_writer.joined(adds), {"ESH4": 7})
        with pytest.raises(MtsimError, match="Say "):
            feed_of(written(tmp_path, data))

    @pytest.mark.parametrize(
        ("dataset", "symbol", "tick_size"),
        [
            ("GLBX.MDP3", "ESH4", "0.25"),
            ("GLBX.MDP3", "MNQZ25", "0.25"),
            ("GLBX.MDP3", "CLF5", "0.01"),
            ("XNAS.ITCH", "NVDA", "0.01"),
            ("ARCX.PILLAR", "SPY", "0.01"),
        ],
    )
    def test_the_tick_size_is_known(self, tmp_path, dataset, symbol, tick_size):
        data = mbo_writer.dbn(record("A", "B", 4, 5, 1), {symbol: 7}, dataset=dataset)
        session = source_of(written(tmp_path, data)).session
        assert session.instrument.tick_size == Decimal(tick_size)
        assert not any("The tick is" in each for each in session.assumptions)

    def test_the_tick_size_is_the_step_of_all_prices_where_it_is_not_known(self, tmp_path):
        """Stated as an assumption, and the user's word goes before it."""
        adds = [record("A", "B", price, 5, k) for k, price in enumerate((1050, 1051, 1053), 1)]
        data = mbo_writer.dbn(mbo_writer.joined(adds), {"BRN FMJ0024!": 7}, dataset="IFEU.IMPACT")
        path = written(tmp_path, data)
        session = source_of(path).session
        assert session.instrument.tick_size == Decimal("0.25")
        assert any("The tick is 0.25, found as" in each for each in session.assumptions)
        said = source_of(path, tick_size=Decimal("0.05")).session
        assert said.instrument.tick_size == Decimal("0.05")
        assert not any("The tick is" in each for each in said.assumptions)

    def test_the_tick_size_is_asked_for_where_there_is_no_price(self, tmp_path):
        cleared = record("R")
        path = written(tmp_path, mbo_writer.dbn(cleared, {"BRN": 7}, dataset="IFEU.IMPACT"))
        with pytest.raises(UsageError, match="--tick"):
            source_of(path)

    def test_an_instrument_without_a_name_is_called_by_its_number(self, tmp_path):
        path = written(tmp_path, mbo_writer.dbn(record("A", "B", 19_000, 5, 1), {}))
        session = source_of(path).session
        assert session.instrument.symbol == "7"
        assert any("names no symbol" in each for each in session.assumptions)
        named = source_of(path, symbol="ARL").session
        assert named.instrument.symbol == "ARL"
        assert not any("names no symbol" in each for each in named.assumptions)

    def test_another_date_than_that_of_the_file_is_refused(self, tmp_path):
        path = written(tmp_path, mbo_writer.dbn(record("A", "B", 19_000, 5, 1)))
        assert source_of(path, date=date(2024, 1, 2)).session.date == date(2024, 1, 2)
        with pytest.raises(UsageError, match="begins on 2024-01-02"):
            source_of(path, date=date(2024, 1, 3))


class TestDamage:
    @pytest.mark.parametrize("name", ["day.mbo.dbn", "day.mbo.dbn.zst", "day.mbo.csv.zst"])
    def test_a_file_that_is_cut_is_refused(self, tmp_path, name):
        records = mbo_writer.joined(exchange(60, as_cme=True).records)
        data = mbo_writer.csv(records) if "csv" in name else mbo_writer.dbn(records)
        whole = Path(written(tmp_path, data, name)).read_bytes()
        for cut in np.linspace(1, len(whole) - 1, 60).astype(int).tolist():
            if name == "day.mbo.dbn" and cut >= 360 and (cut - 360) % 56 == 0:
                continue
            (tmp_path / name).write_bytes(whole[:cut])
            with pytest.raises(DataError):
                feed_of(str(tmp_path / name), symbol="ESH4")

    def test_a_file_that_is_cut_inside_a_record_says_where(self, tmp_path):
        data = mbo_writer.dbn(mbo_writer.joined(exchange(60, as_cme=True).records))
        with pytest.raises(DataError, match=r"dbn:416: the file ends inside a record"):
            feed_of(written(tmp_path, data[: 360 + 56 + 9]))

    @pytest.mark.parametrize("name", ["day.mbo.dbn", "day.mbo.csv", "day.mbo.dbn.zst"])
    def test_whatever_the_damage_it_is_read_or_refused(self, tmp_path, name):
        """Bytes changed at random: the messages that come out are still taken by an engine."""
        rng = np.random.default_rng(5)
        records = mbo_writer.joined(exchange(60, as_cme=True).records)
        data = mbo_writer.csv(records, pretty=True) if "csv" in name else mbo_writer.dbn(records)
        whole = Path(written(tmp_path, data, name)).read_bytes()
        refused = 0
        for _ in range(120):
            changed = np.frombuffer(whole, np.uint8).copy()
            places = rng.integers(len(changed), size=int(rng.integers(1, 4)))
            changed[places] = rng.integers(256, size=len(places))
            (tmp_path / name).write_bytes(changed.tobytes())
            try:
                source = source_of(str(tmp_path / name), symbol="ESH4", tick_size=Decimal("0.25"))
                done = replay(source)
            except (DataError, UsageError):
                refused += 1
                continue
            assert not done.rejects
            assert done.taker_lots == done.filled_lots
        assert refused > 0

    @pytest.mark.parametrize("data", [b"", b"DBN", b"DBN\x03\xff\xff\xff\xff", b"a,b\n1,2\n" * 9])
    @pytest.mark.parametrize("name", ["day.mbo.dbn", "day.mbo.csv"])
    def test_what_is_no_mbo_is_refused(self, tmp_path, name, data):
        with pytest.raises(DataError):
            source_of(written(tmp_path, data, name))


def agree(mbo: np.ndarray, data: bytes, *, ts_out: bool = False) -> None:
    """Every field of every record is what Databento's decoder says it is."""
    decoder = official.DBNDecoder(upgrade_policy=official.VersionUpgradePolicy.AS_IS)
    decoder.write(data)
    _, *theirs = decoder.decode()
    assert len(theirs) == len(mbo)
    for ours, their in zip(mbo.tolist(), theirs, strict=True):
        row = dict(zip(MBO_DTYPE.names or (), ours, strict=True))
        assert row.pop("length") * 4 == 56 + 8 * ts_out
        assert row.pop("rtype") == int(their.rtype)
        for name, value in row.items():
            expected = getattr(their, name)
            if name in ("action", "side"):
                value, expected = value.decode(), str(expected)
            assert value == (int(expected) if isinstance(value, int) else expected), name


class TestRealFiles:
    def test_a_whole_day_of_ARL_is_the_book_of_databento(self, market_data):
        path = str(market_data / "databento_mbo" / "arl-xnas-itch-20250717.mbo.csv.zst")
        source = source_of(path)
        done = replay(source)
        assert source.session.date == date(2025, 7, 17)
        assert source.session.instrument.symbol == "ARL"
        assert done.first_difference == ""
        assert done.equal == done.compared > 3_000
        assert not done.rejects
        assert (done.taker_lots, done.filled_lots) == (231, 231)
        assert source.books is not None
        assert source.books.without_record == 0
        assert not source.counts.repaired
        assert source.counts.read == 5_886

    def test_every_fill_of_ESH4_is_in_turn_and_the_book_is_that_of_its_records(
        self, market_data, monkeypatch
    ):
        path = str(market_data / "databento_mbo" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst")
        monkeypatch.setattr(ledger, "_STEP", 400)
        monkeypatch.setattr(ledger_blocks, "_LONGEST", 400)
        records = np.concatenate([block.mbo for block in read_records(path)])
        snapshot = records["flags"] & SNAPSHOT != 0
        time_ns = np.where(snapshot, records["ts_recv"], records["ts_event"]).astype(np.int64)
        time_ns -= int(records["ts_recv"][0]) // (86_400 * 10**9) * (86_400 * 10**9)
        source, books = source_of(path), Books(1)
        plain, done, compared = PlainBook(), 0, 0
        crossed = []
        for batch in source.batches():
            begin = int(batch.feed["time_ns"][0])
            stop = int(np.searchsorted(time_ns, begin))
            plain.apply(records[done:stop])
            done = stop
            if begin:
                assert resting(books) == plain.orders
                compared += 1
            outcome = books.process(np.ascontiguousarray(batch.feed["message"]))
            assert (outcome.results["reject"] == 0).all()
            takes = batch.feed["message"]["tif"] == TimeInForce.IOC
            lots = batch.feed["message"]["lots"]
            assert (outcome.results["filled_lots"] == np.where(takes, lots, 0)).all()
            kinds = batch.feed["message"]["kind"]
            crossed += batch.feed["time_ns"][kinds == Kind.AUCTION].tolist()
        plain.apply(records[done:])
        assert resting(books) == plain.orders
        assert compared > 100
        assert all(time < 23 * 3_600 * 10**9 for time in crossed)
        assert "executed out of turn" not in str(source.counts.repaired)

    def test_every_dbn_file_is_what_the_official_decoder_says(self, market_data):
        paths = sorted((market_data / "databento_mbo").glob("*.dbn.zst"))
        assert len(paths) == 4
        for path in paths:
            mbo = np.concatenate([block.mbo for block in read_records(str(path))])
            data = zstandard.ZstdDecompressor().stream_reader(
                path.read_bytes(), read_across_frames=True
            )
            agree(mbo, data.read())

    def test_the_csv_of_ESH4_is_its_dbn(self, market_data):
        folder = market_data / "databento_mbo"
        ours, theirs = (
            feed_of(str(folder / f"esh4-glbx-mdp3-20231225.mbo.{kind}.zst"), symbol="ESH4")
            for kind in ("dbn", "csv")
        )
        assert np.array_equal(ours["message"], theirs["message"])
        assert np.array_equal(ours["time_ns"], theirs["time_ns"])


class PlainBook:
    """Orders by id from adds, cancels and changes alone: what fills say is not looked at."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[int, int, int]] = {}

    def apply(self, records: np.ndarray) -> None:
        for row in records:
            order_id, action = int(row["order_id"]), row["action"]
            if action in (b"A", b"M"):
                side = b"BA".index(row["side"])
                size = int(row["size"])
                self.orders[order_id] = (side, int(row["price"]) // 250_000_000, size)
            elif action == b"C" and order_id in self.orders:
                side, tick, lots = self.orders.pop(order_id)
                if lots > row["size"]:
                    self.orders[order_id] = (side, tick, lots - int(row["size"]))


def resting(books: Books) -> dict[int, tuple[int, int, int]]:
    return {
        int(order["order_id"]): (int(order["side"]), int(order["price_tick"]), int(order["lots"]))
        for order in books.resting(0)
    }
