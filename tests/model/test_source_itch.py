"""ITCH: what the reader makes of bytes, against another decoder and an exchange in lists."""

import gzip
import io
import tracemalloc
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mtsim.engine.batch import Books
from mtsim.engine.events import Origin
from mtsim.engine.messages import Flag, Kind, TimeInForce
from mtsim.errors import DataError, UsageError
from mtsim.model.sources import itch, itch_parser, ledger, ledger_blocks
from mtsim.model.sources.base import BATCH_ROWS, OWN_IDS, NoSession, Options
from mtsim.model.sources.ledger_records import RECORD_DTYPE, Op
from tests.model import itch_writer as itch_file
from tests.model.replaying import replay

OPEN_NS = 34_200 * 10**9


def day(tmp_path: Path, messages: list[bytes], name: str = "20240102.itch", **frame) -> str:
    path = tmp_path / name
    data = itch_file.framed(messages, **frame)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def source_of(path: str, symbol: str | None = None, **options) -> itch.ItchSource:
    (source,) = itch.open_sessions((path,), Options(symbol=symbol, **options))
    return source


def feed_of(path: str, symbol: str | None = None, **options) -> np.ndarray:
    batches = [batch.feed for batch in source_of(path, symbol, **options).batches()]
    return np.concatenate([np.empty(0, batches[0].dtype) if batches else np.empty(0), *batches])


def exchange(steps: int, seed: int = 0, locate: int = 1, **names) -> itch_file.Exchange:
    market = itch_file.Exchange(locate, np.random.default_rng(seed), **names)
    for _ in range(steps):
        market.step()
    return market


def depth_of(books: Books, levels: int = 1000) -> dict[tuple[int, int], int]:
    ticks, lots = (array[0] for array in books.depth(levels))
    return {
        (side, int(ticks[side, k])): int(lots[side, k])
        for side in (0, 1)
        for k in range(levels)
        if lots[side, k]
    }


class TestBook:
    def test_the_engine_holds_the_book_of_the_exchange_wherever_the_file_ends(self, tmp_path):
        market = itch_file.Exchange(1, np.random.default_rng(4))
        for part in range(12):
            for _ in range(150):
                market.step()
            source = source_of(day(tmp_path, market.messages, f"20240102_{part}.itch"))
            done = replay(source)
            assert not done.rejects
            assert depth_of(done.books) == market.depth()
            assert done.taker_lots == done.filled_lots == market.traded
            assert done.resting_fills == 0

    def test_every_order_keeps_its_place_in_the_queue(self, tmp_path):
        """No execution of a price-time market is out of turn."""
        market = exchange(3_000, seed=7)
        source = source_of(day(tmp_path, market.messages))
        replay(source)
        assert not source.counts.repaired

    def test_what_trades_at_one_time_on_one_side_is_one_aggressive_order(self, tmp_path):
        market = exchange(2_000, seed=2)
        feed = feed_of(day(tmp_path, market.messages))
        takers = feed[feed["message"]["tif"] == TimeInForce.IOC]
        assert len(takers) == market.takes
        assert int(takers["message"]["lots"].sum()) == market.traded
        assert (takers["message"]["order_id"] >= OWN_IDS).all()

    def test_no_execution_is_sent_as_a_cancel(self, tmp_path):
        market = exchange(2_000, seed=2)
        feed = feed_of(day(tmp_path, market.messages))
        sent = Counter(Kind(kind).name for kind in feed["message"]["kind"])
        told = Counter(chr(text[0]) for text in market.messages)
        assert sent["CANCEL"] + sent["REDUCE"] == told["D"] + told["X"]
        assert sent["REPLACE"] == told["U"]
        assert set(feed["origin"].tolist()) == {Origin.OBSERVED}

    def test_another_stock_changes_nothing(self, tmp_path):
        market, other = exchange(400), exchange(400, seed=1, locate=2, stock="XYZ")
        names = [itch_file.directory(1, "ABC"), itch_file.directory(2, "XYZ")]
        mixed = sorted(market.messages + other.messages, key=lambda text: text[5:11])
        both = replay(source_of(day(tmp_path, names + mixed), "XYZ"))
        alone = replay(source_of(day(tmp_path, other.messages, "20240102_1.itch")))
        assert both.messages == alone.messages
        assert depth_of(both.books) == depth_of(alone.books) == other.depth()


class TestRules:
    def test_a_replaced_order_goes_to_the_back_and_keeps_its_first_id(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_000),
                itch_file.add(1, 2, 11, "B", 100, 10_000),
                itch_file.replace(1, 3, 10, 12, 100, 10_000),
                itch_file.execute(1, 4, 11, 100),
                itch_file.replace(1, 5, 12, 13, 300, 9_900),
                itch_file.delete(1, 6, 13),
            ],
        )
        source = source_of(path)
        done = replay(source)
        assert not done.rejects
        assert not source.counts.repaired
        assert depth_of(done.books) == {}
        changes = feed_of(path)["message"][[2, 4, 5]]
        assert changes["order_id"].tolist() == [10, 10, 10]
        assert changes["flags"].tolist() == [Flag.LOSE_PLACE, Flag.LOSE_PLACE, Flag.NONE]

    def test_executions_at_two_times_are_two_orders(self, tmp_path):
        adds = [itch_file.add(1, 1, k, "S", 100, 10_000) for k in (10, 11, 12)]
        takes = [itch_file.execute(1, time, k, 100) for time, k in ((5, 10), (5, 11), (6, 12))]
        feed = feed_of(day(tmp_path, adds + takes))
        takers = feed[feed["message"]["tif"] == TimeInForce.IOC]
        assert takers["message"]["lots"].tolist() == [200, 100]
        assert takers["time_ns"].tolist() == [5, 6]

    def test_what_is_too_large_for_one_message_is_two(self, tmp_path):
        adds = [itch_file.add(1, 1, k, "S", 2**30, 10_000) for k in (10, 11)]
        takes = [itch_file.execute(1, 5, k, 2**30) for k in (10, 11)]
        done = replay(source_of(day(tmp_path, adds + takes)))
        assert not done.rejects
        assert done.filled_lots == 2**31

    def test_an_aggressive_order_carries_the_worst_price(self, tmp_path):
        adds = [itch_file.add(1, 1, 10 + k, "S", 100, 10_000 + 100 * k) for k in range(3)]
        takes = [itch_file.execute(1, 5, 10 + k, 100) for k in range(3)]
        (taker,) = feed_of(day(tmp_path, adds + takes))[3:]["message"]
        assert (taker["side"], taker["price_tick"], taker["lots"]) == (0, 102, 300)

    def test_an_execution_at_another_price_trades_at_the_orders_own(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_000),
                itch_file.execute_at(1, 2, 10, 60, 10_050),
            ],
        )
        source = source_of(path)
        done = replay(source)
        assert depth_of(done.books) == {(0, 100): 40}
        assert done.filled_lots == 60
        assert source.counts.noticed == {"C: executed at another price: at the order's own": 1}

    def test_what_a_cross_executes_is_no_aggressive_order(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_000),
                itch_file.add(1, 1, 11, "B", 100, 10_000),
                itch_file.execute_at(1, 2, 10, 100, 10_050, "N"),
                itch_file.execute_at(1, 2, 11, 30, 10_050, "N"),
                itch_file.cross(1, 2, 130, 10_050),
            ],
        )
        feed = feed_of(path)
        assert feed["message"]["kind"].tolist()[2:] == [Kind.CANCEL, Kind.REDUCE]
        assert feed["origin"].tolist()[2:] == [Origin.INFERRED] * 2
        source = source_of(path)
        assert depth_of(replay(source).books) == {(0, 100): 70}
        assert source.counts.dropped == {"Q: cross trade": 1}
        assert sum(source.counts.repaired.values()) == 2

    def test_an_execution_out_of_turn_takes_from_the_order_that_is_named(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_000),
                itch_file.add(1, 1, 11, "B", 100, 10_000),
                itch_file.execute(1, 2, 11, 60),
                itch_file.cancel(1, 3, 11, 30),
                itch_file.delete(1, 4, 10),
            ],
        )
        source = source_of(path)
        done = replay(source)
        assert not done.rejects
        assert depth_of(done.books) == {(0, 100): 10}
        assert list(source.counts.repaired.values()) == [1]

    def test_executions_may_come_in_any_order_within_one_trade(self, tmp_path):
        adds = [itch_file.add(1, 1, k, "B", 100, 10_000) for k in (10, 11, 12)]
        takes = [itch_file.execute(1, 2, k, 100) for k in (12, 10, 11)]
        source = source_of(day(tmp_path, adds + takes))
        done = replay(source)
        assert (done.messages, done.filled_lots) == (4, 300)
        assert not source.counts.repaired

    def test_a_cancel_of_what_a_trade_left_of_an_order_comes_after_the_trade(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_000),
                itch_file.add(1, 1, 11, "B", 100, 10_000),
                itch_file.execute(1, 2, 10, 30),
                itch_file.execute(1, 2, 11, 60),
                itch_file.delete(1, 2, 10),
            ],
        )
        done = replay(source_of(path))
        assert not done.rejects
        assert done.taker_lots == done.filled_lots == 90
        assert depth_of(done.books) == {(0, 100): 40}

    def test_a_crossed_book_is_held_in_an_auction_until_it_is_not(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_100),
                itch_file.add(1, 2, 11, "S", 100, 10_000),
                itch_file.add(1, 3, 12, "S", 100, 10_200),
                itch_file.execute(1, 4, 11, 40),
                itch_file.delete(1, 5, 11),
                itch_file.execute(1, 6, 10, 50),
            ],
        )
        kinds = [Kind(kind).name for kind in feed_of(path)["message"]["kind"]]
        assert kinds == ["LIMIT", "AUCTION", *["LIMIT"] * 2, "REDUCE", "CANCEL", "UNCROSS", "LIMIT"]
        done = replay(source_of(path))
        assert not done.rejects
        assert done.resting_fills == 0
        assert depth_of(done.books) == {(0, 101): 50, (1, 102): 100}

    def test_unknown_orders_are_dropped_and_counted(self, tmp_path):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, 10, "B", 100, 10_000),
                itch_file.execute(1, 2, 99, 100),
                itch_file.delete(1, 2, 99),
                itch_file.cancel(1, 2, 99, 1),
                itch_file.replace(1, 2, 99, 98, 100, 10_000),
                itch_file.delete(1, 2, 98),
            ],
        )
        source = source_of(path)
        assert replay(source).messages == 1
        assert source.counts.dropped == {
            "an unknown order executed": 1,
            "an unknown order cancelled or changed": 4,
        }

    @pytest.mark.parametrize("order_id", [0, OWN_IDS, 2**63 + 5, 2**64 - 1])
    def test_ids_that_the_engine_has_no_room_for_become_our_own(self, tmp_path, order_id):
        path = day(
            tmp_path,
            [
                itch_file.add(1, 1, order_id, "B", 100, 10_000),
                itch_file.execute(1, 2, order_id, 30),
                itch_file.delete(1, 3, order_id),
            ],
        )
        done = replay(source_of(path))
        assert not done.rejects
        assert depth_of(done.books) == {}

    def test_what_says_nothing_of_an_order_is_counted_by_its_letter(self, tmp_path):
        others = [itch_file.filler(letter, 1, 5, "ABC") for letter in itch_file.FILLER]
        path = day(
            tmp_path,
            [
                itch_file.system(1, "O"),
                itch_file.directory(1, "ABC", 2),
                itch_file.trading(1, 3, "ABC", "H"),
                itch_file.add(1, 4, 10, "B", 100, 10_000),
                *others,
                itch_file.hidden_trade(1, 6, 100, 10_000),
                itch_file.cross(1, 6, 100, 10_000),
                itch_file.broken(1, 7),
            ],
        )
        source = source_of(path)
        replay(source)
        letters = Counter("SRHAPQB" + itch_file.FILLER)
        assert source.message_types == itch.count_messages(path) == letters
        assert {reason[0] for reason in source.counts.dropped} == set(letters) - {"A"}

    def test_every_message_is_used_or_dropped_for_a_reason(self, tmp_path):
        market, other = exchange(500), exchange(100, seed=1, locate=2, stock="XYZ")
        strays = [itch_file.delete(1, OPEN_NS, 10**6), itch_file.system(OPEN_NS, "Q")]
        source = source_of(day(tmp_path, strays + market.messages + other.messages), "ABC")
        list(source.batches())
        counts = source.counts
        assert counts.read == len(market.messages) + len(other.messages) + 2
        assert counts.read == counts.used + sum(counts.dropped.values())


class TestDecoder:
    def test_the_fields_are_those_that_another_decoder_finds(self, tmp_path):
        parser = pytest.importorskip("itch.parser", reason="pip install itchfeed")
        market = exchange(1_500, seed=5)
        data = itch_file.framed(market.messages)
        theirs = []
        for text in parser.MessageParser().parse_file(io.BytesIO(data)):
            kind = text.message_type.decode()
            order_id = text.order_reference_number
            row = [kind, text.timestamp, text.stock_locate, order_id, 0, 2, 0, 0]
            if kind in "AF":
                row[5:] = "BS".index(text.buy_sell_indicator.decode()), text.shares, text.price
            elif kind in "EC":
                row[6] = text.executed_shares
            elif kind == "X":
                row[6] = text.cancelled_shares
            elif kind == "U":
                row[4], row[6:] = text.new_order_reference_number, (text.shares, text.price)
            theirs.append(row)
        assert [row[0] for row in theirs] == [chr(text[0]) for text in market.messages]

        records = decoded(day(tmp_path, market.messages))
        letters = {"A": Op.ADD, "F": Op.ADD, "E": Op.FILL, "C": Op.FILL, "X": Op.CANCEL}
        letters |= {"D": Op.DELETE, "U": Op.REPLACE}
        ours = [
            [r["op"], r["time_ns"], 1, r["id"], r["other"], r["side"], r["lots"], r["tick"]]
            for r in records
        ]
        for row, (kind, *_) in zip(ours, theirs, strict=True):
            if kind == "D":
                row[6] = 0
            if kind == "U":
                row[3:5] = row[4], row[3]  # The new order's id comes first.
        assert ours == [[letters[kind], *rest] for kind, *rest in theirs]

    def test_a_row_is_the_offset_of_its_message(self, tmp_path):
        market = exchange(50)
        data = itch_file.framed(market.messages)
        records = decoded(day(tmp_path, market.messages))
        for row, text in zip(records["row"].tolist(), market.messages, strict=True):
            assert data[row : row + len(text)] == text

    @pytest.mark.parametrize("chunk", [64, 1_000, 7_777])
    def test_where_chunks_end_makes_no_difference(self, tmp_path, monkeypatch, chunk):
        path = day(tmp_path, exchange(600).messages)
        whole = feed_of(path)
        monkeypatch.setattr(itch, "_CHUNK_BYTES", chunk)
        monkeypatch.setattr(ledger, "_STEP", 50)
        monkeypatch.setattr(ledger_blocks, "_LONGEST", 50)
        assert np.array_equal(feed_of(path), whole)

    def test_batches_are_bounded(self, tmp_path):
        market = exchange(1_000)
        market.empty()
        path = tmp_path / "20240102.itch"
        path.write_bytes(b"".join(itch_file.repeated(market.messages, 150)))
        sizes = [len(batch.feed) for batch in source_of(str(path)).batches()]
        assert len(sizes) > 3
        assert max(sizes) <= BATCH_ROWS


def decoded(path: str) -> np.ndarray:
    """The order records of locate 1, at a tick of 1e-4."""
    found = []
    clock = np.zeros(1, np.int64)
    for data, offset, starts in itch._Frames(path):
        records = np.zeros(len(starts), RECORD_DTYPE)
        spare = [np.zeros(256, np.int64) for _ in range(2)]
        n, _, fault = itch_parser.decode(data, offset, starts, 1, 1, 1, clock, records, *spare)
        assert not fault
        found.append(records[:n])
    return np.concatenate(found)


class TestFiles:
    def test_frames_that_say_0_are_as_long_as_their_type(self, tmp_path):
        market = exchange(300)
        with_lengths = feed_of(day(tmp_path, market.messages, "20240102_1.itch"))
        without = feed_of(day(tmp_path, market.messages, lengths=False))
        assert np.array_equal(with_lengths["message"], without["message"])

    def test_a_last_frame_of_0_ends_the_session(self, tmp_path):
        path = Path(day(tmp_path, exchange(20).messages))
        before = feed_of(str(path))
        path.write_bytes(path.read_bytes() + b"\0\0")
        assert np.array_equal(feed_of(str(path)), before)

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("writer", ["nanoseconds", "microseconds", "pcapng"])
    @pytest.mark.parametrize("vlan", [False, True])
    def test_a_capture_holds_what_a_day_file_holds(self, tmp_path, order, writer, vlan):
        market = exchange(300)
        groups = [market.messages[k : k + 7] for k in range(0, len(market.messages), 7)]
        frames = [
            itch_file.datagram(itch_file.mold(group, 1 + 7 * k), vlan=vlan)
            for k, group in enumerate(groups)
        ]
        at = 1_704_205_800  # 2024-01-02 09:30 in New York
        path = tmp_path / "some.pcap"
        if writer == "pcapng":
            path.write_bytes(itch_file.pcapng(frames, order=order, at=at))
        else:
            nanoseconds = writer == "nanoseconds"
            path.write_bytes(itch_file.pcap(frames, nanoseconds=nanoseconds, order=order, at=at))
        source = source_of(str(path))
        assert source.session.date == date(2024, 1, 2)
        done = replay(source)
        assert depth_of(done.books) == market.depth()
        assert source.counts.read == len(market.messages)

    def test_what_comes_twice_is_read_once_and_what_is_missing_is_counted(self, tmp_path):
        market = exchange(60)
        one, two, three, four = (market.messages[k : k + 10] for k in (0, 10, 20, 30))
        packets = [(one, 1), (two, 11), (two, 11), (two[5:] + three, 16), (four, 36)]
        noise = [itch_file.datagram(b"x" * 40, protocol=6), itch_file.datagram(b"short"), b"tiny"]
        frames = [itch_file.datagram(itch_file.mold(*packet)) for packet in packets]
        frames += [itch_file.datagram(itch_file.mold([], 46)), *noise]
        path = tmp_path / "a.pcap"
        path.write_bytes(itch_file.pcap(frames, at=1_704_205_800))
        source = source_of(str(path))
        list(source.batches())
        assert sum(source.message_types.values()) == 40
        assert source.counts.dropped["a message captured twice"] == 15
        assert source.counts.dropped["a packet that is not MoldUDP64"] == 3
        assert source.lost == 5
        assert source.counts.noticed["a message that the capture lacks, by the numbers"] == 5

    def test_every_stock_with_orders_is_a_session(self, tmp_path):
        names = [itch_file.directory(k, f"S{k:02}") for k in range(1, 31)]
        adds = [
            itch_file.add(k, k, k, "B", 100, 10_000, stock=f"S{k:02}") for k in (3, 7, 7 + 9, 30)
        ]
        path = day(tmp_path, [*names, *adds])
        sources = list(itch.open_sessions((path,), Options()))
        found = [source.session.instrument.symbol for source in sources]
        assert found == ["S03", "S07", "S16", "S30"]
        assert [replay(source).messages for source in sources] == [1] * 4
        with pytest.raises(UsageError, match="it has no stock S99"):
            source_of(path, "S99")
        assert replay(source_of(path, "S03")).messages == 1

    def test_of_very_many_stocks_one_must_be_named(self, tmp_path):
        adds = [itch_file.add(k, k, k, "B", 100, 10_000, stock=f"S{k:03}") for k in range(1, 102)]
        path = day(tmp_path, adds)
        match = r"101 stocks have orders, .* S020 and 81 more\. Say --symb"
        with pytest.raises(UsageError, match=match):
            list(itch.open_sessions((path,), Options()))
        assert replay(source_of(path, "S100")).messages == 1

    def test_a_file_without_an_order_is_no_session_and_says_what_it_has(self, tmp_path):
        letters = "YLIYS"
        filled = [itch_file.filler(letter, 1, 1, "ABC") for letter in letters[:-1]]
        path = day(tmp_path, [*filled, itch_file.system(1, "O")])
        with pytest.raises(NoSession, match=r"5 messages of types I \(1\), L \(1\), S \(1\), Y"):
            list(itch.open_sessions((path,), Options()))

    def test_a_stock_without_a_name_is_called_by_its_locate(self, tmp_path):
        path = day(tmp_path, [itch_file.delete(7, 1, 10), itch_file.delete(9, 1, 10)])
        sources = itch.open_sessions((path,), Options())
        assert [source.session.instrument.symbol for source in sources] == ["#7", "#9"]
        assert source_of(path, "#9").session.instrument.symbol == "#9"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("01302019.NASDAQ_ITCH50.gz", date(2019, 1, 30)),
            ("20190130.BX_ITCH_50.gz", date(2019, 1, 30)),
            ("S013019-v50.itch", date(2019, 1, 30)),
            ("ex20101224.TEST_ITCH_50.gz", date(2010, 12, 24)),
        ],
    )
    def test_the_date_is_in_the_name(self, tmp_path, name, expected):
        source = source_of(day(tmp_path, exchange(5).messages, name))
        assert source.session.date == expected
        assert source.session.instrument.venue == ("XBOS" if "BX" in name else "XNAS")

    def test_the_date_must_be_said_where_no_name_has_it(self, tmp_path):
        path = day(tmp_path, exchange(5).messages, "plain.itch")
        with pytest.raises(UsageError, match="--date"):
            source_of(path)
        assert source_of(path, date=date(2020, 1, 2)).session.date == date(2020, 1, 2)

    def test_the_tick_is_a_cent_unless_an_order_of_the_stock_lies_between_two(self, tmp_path):
        """Nothing is rounded: below a dollar, prices have four digits."""
        adds = [
            itch_file.add(1, 1, 10, "B", 100, 5_001),
            itch_file.add(2, 2, 11, "B", 100, 10_100),
            itch_file.add(3, 3, 12, "B", 100, 10_100),
            itch_file.replace(3, 4, 12, 13, 100, 9_999),
        ]
        sources = list(itch.open_sessions((day(tmp_path, adds),), Options()))
        ticks = [str(source.session.instrument.tick_size) for source in sources]
        assert ticks == ["0.0001", "0.01", "0.0001"]
        stated = [
            any("The tick is 0.0001" in each for each in source.session.assumptions)
            for source in sources
        ]
        assert stated == [True, False, True]
        assert depth_of(replay(sources[0]).books) == {(0, 5_001): 100}
        assert depth_of(replay(sources[1]).books) == {(0, 101): 100}

    def test_a_price_off_the_grid_is_refused_with_the_way_out(self, tmp_path):
        path = day(tmp_path, [itch_file.add(1, 1, 10, "B", 100, 5_001)])
        with pytest.raises(DataError, match=r"itch:2: .*grid.* 0\.0001"):
            replay(source_of(path, tick_size=Decimal("0.01")))
        done = replay(source_of(path, tick_size=Decimal("0.0001")))
        assert depth_of(done.books) == {(0, 5_001): 100}

    def test_time_that_goes_back_is_refused(self, tmp_path):
        adds = [itch_file.add(1, time, time, "B", 100, 10_000) for time in (5, 4)]
        with pytest.raises(DataError, match="itch:40: the time goes back"):
            replay(source_of(day(tmp_path, adds)))

    def test_an_order_that_is_added_twice_is_refused(self, tmp_path):
        adds = [itch_file.add(1, 1, 10, "B", 100, 10_000)] * 2
        with pytest.raises(DataError, match=r"itch:40: .*rests already"):
            replay(source_of(day(tmp_path, adds)))


class TestDamage:
    def test_a_file_that_is_cut_inside_a_message_says_where(self, tmp_path):
        path = Path(day(tmp_path, exchange(12).messages))
        data = path.read_bytes()
        ends = {0, *np.cumsum([2 + len(text) for text in exchange(12).messages]).tolist()}
        for cut in sorted(set(range(1, len(data))) - ends):
            path.write_bytes(data[:cut])
            with pytest.raises(DataError) as caught:
                replay(source_of(str(path)))
            assert caught.value.row == max(end for end in ends if end < cut)

    def test_a_packed_file_that_is_cut_is_refused(self, tmp_path):
        path = Path(day(tmp_path, exchange(500).messages, "20240102.itch.gz"))
        data = path.read_bytes()
        for cut in np.linspace(1, len(data) - 1, 15).astype(int):
            path.write_bytes(data[:cut])
            with pytest.raises(DataError):
                replay(source_of(str(path)))

    def test_a_capture_that_is_cut_is_refused(self, tmp_path):
        market = exchange(40)
        frames = [itch_file.datagram(itch_file.mold(market.messages, 1))]
        path = tmp_path / "20240102.pcap"
        for data in (itch_file.pcap(frames), itch_file.pcapng(frames)):
            for cut in np.linspace(1, len(data) - 1, 40).astype(int):
                path.write_bytes(data[:cut])
                with pytest.raises(DataError):
                    replay(source_of(str(path)))

    def test_a_packet_that_was_captured_in_part_is_refused(self, tmp_path):
        frame = itch_file.datagram(itch_file.mold(exchange(5).messages, 1))
        data = bytearray(itch_file.pcap([frame]))
        data[32:36] = (len(frame) - 10).to_bytes(4, "little")
        path = tmp_path / "20240102.pcap"
        path.write_bytes(data[:-10])
        with pytest.raises(DataError, match="in part"):
            source_of(str(path))

    @pytest.mark.parametrize("kind", ["day", "pcap", "pcapng"])
    def test_whatever_the_damage_it_is_read_or_refused(self, tmp_path, kind):
        """Bytes changed at random: the messages that come out are still taken by an engine."""
        rng = np.random.default_rng(11)
        market = exchange(150, seed=3)
        groups = [market.messages[k : k + 5] for k in range(0, len(market.messages), 5)]
        frames = [
            itch_file.datagram(itch_file.mold(group, 1 + 5 * k)) for k, group in enumerate(groups)
        ]
        write = {
            "day": lambda: itch_file.framed([itch_file.directory(1, "ABC"), *market.messages]),
            "pcap": lambda: itch_file.pcap(frames),
            "pcapng": lambda: itch_file.pcapng(frames),
        }[kind]
        whole, refused = write(), 0
        for k in range(120):
            data = np.frombuffer(whole, np.uint8).copy()
            places = rng.integers(len(data), size=int(rng.integers(1, 4)))
            data[places] = rng.integers(256, size=len(places))
            path = tmp_path / f"20240102_{k}.itch"
            path.write_bytes(data.tobytes())
            try:
                done = replay(source_of(str(path), "ABC"))
            except (DataError, UsageError):
                refused += 1
                continue
            assert not done.rejects
            assert done.taker_lots == done.filled_lots
        assert 0 < refused < 120

    @pytest.mark.parametrize(
        "data", [b"", b"\0", b"\0\0", np.random.default_rng(0).bytes(64), b"\x0a\x0d\x0d\x0a" * 9]
    )
    def test_what_is_no_itch_is_refused(self, tmp_path, data):
        path = tmp_path / "20240102.itch"
        path.write_bytes(data)
        with pytest.raises(DataError):
            source_of(str(path))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    market = exchange(20_000)
    market.empty()
    peaks = []
    for times in (40, 400):
        path = tmp_path / "20240102.itch"
        with path.open("wb") as file:
            for part in itch_file.repeated(market.messages, times):
                file.write(part)
        tracemalloc.start()
        for _ in source_of(str(path)).batches():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


class TestRealFiles:
    def test_the_synthetic_day_is_read_whole(self, market_data):
        path = str(market_data / "itch" / "ex20101224.TEST_ITCH_50.SYNTHETIC.gz")
        expected = {"P": 5000, "A": 4997, "D": 1745, "E": 198, "X": 45, "U": 12, "S": 6}
        assert itch.count_messages(path) == expected | {"R": 3, "H": 3, "F": 3}
        for symbol in ("ALC", "BOB", "CHAR"):
            source = source_of(path, symbol, tick_size=Decimal("0.0001"))
            assert source.session.date == date(2010, 12, 24)
            done = replay(source)
            assert not done.rejects
            assert done.taker_lots == done.filled_lots
            assert source.counts.read == source.counts.used + sum(source.counts.dropped.values())

    def test_every_capture_is_read_or_has_no_order(self, market_data):
        paths = sorted((market_data / "itch").glob("*/*.pcap"))
        assert len(paths) == 23
        counted = Counter()
        for path in paths:
            counted += itch.count_messages(str(path))
            found = itch.count_messages(str(path))
            if not set(found) & set("AFECXDU"):
                with pytest.raises(NoSession, match="no order of any stock"):
                    next(itch.open_sessions((str(path),), Options()))
                continue
            for source in itch.open_sessions((str(path),), Options()):
                assert source.session.date == date(2023, 8, 22)
                assert not replay(source).rejects
                assert source.message_types == found
        fives = dict.fromkeys("AFQJLIPXDECUYH", 5) | {"S": 1}
        singles = Counter("ALIDEUH") + Counter({"A": 36, "D": 1, "F": 2})
        assert counted == Counter(fives) + singles
