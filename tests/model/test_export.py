"""LOBSTER files of a stored session: read again, they are the same events, as far as they go."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mtsim.engine.book import Book
from mtsim.engine.events import EventType, Origin, to_messages
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Reject, TimeInForce
from mtsim.engine.units import Side
from mtsim.errors import UsageError
from mtsim.model.export import Exported, export_lobster
from mtsim.model.ingest import import_session
from mtsim.model.sources import lobster
from mtsim.model.sources.base import Options
from mtsim.model.store import Store, StoredSession
from tests.model.generated_feed import made_up

LEVELS = 60
"""More than the made-up books have: the window shows everything."""


def imported(file: Path, store: Path) -> StoredSession:
    (source,) = lobster.open_sessions((str(file),), Options())
    return import_session(source, Store(store), all_snapshots=True)


def events(stored: StoredSession) -> np.ndarray:
    rows = np.concatenate(list(stored.events()))
    return rows[rows["type"] < EventType.SESSION_START]


def message_rows(file: Path) -> list[list[str]]:
    return [line.split(",") for line in file.read_text().splitlines()]


def book_rows(file: Path) -> list[list[int]]:
    return [[int(cell) for cell in line.split(",")] for line in file.read_text().splitlines()]


def said(exported: Exported) -> tuple[Counter[tuple[str, ...]], dict[str, list[int]]]:
    """What files say whatever the orders are called that were there before: lots by time, what
    happened, price and side, and the book after each time."""
    lots = Counter[tuple[str, ...]]()
    books: dict[str, list[int]] = {}
    for row, cells in zip(
        message_rows(exported.messages), book_rows(exported.orderbook), strict=True
    ):
        lots[row[0], "off" if row[1] in "23" else row[1], *row[4:]] += int(row[3])
        books[row[0]] = cells
    return lots, books


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A made-up session without replaces, which LOBSTER does not know, and its export."""

    def plain(feed, truth):
        return feed[feed["message"]["kind"] != Kind.REPLACE], None

    folder = tmp_path_factory.mktemp("export")
    source = made_up(folder / "f", n=1500, change=plain, truth_levels=0)
    stored = import_session(source, Store(folder / "store"), keep=True)
    return stored, export_lobster(stored, folder / "out", LEVELS)


def test_the_names_say_symbol_date_bounds_and_levels(made):
    _, exported = made
    assert exported.messages.name.startswith("MADE_2020-01-02_34200000_")
    assert exported.messages.name.endswith(f"_message_{LEVELS}.csv")
    assert exported.orderbook.name == exported.messages.name.replace("message", "orderbook")


def test_both_files_have_a_row_for_every_row(made):
    _, exported = made
    assert len(message_rows(exported.messages)) == exported.rows
    assert len(book_rows(exported.orderbook)) == exported.rows


def test_a_book_row_is_the_book_after_its_message(made):
    """Told by executing the messages on another book, seeded with what stood before the first."""
    stored, exported = made
    book = Book()
    rows = events(stored)
    opening = rows[rows["origin"] == Origin.OPENING]
    book.process(to_messages(opening))
    for row, cells in zip(
        message_rows(exported.messages), book_rows(exported.orderbook), strict=True
    ):
        kind, order_id, lots, price = (int(cell) for cell in row[1:5])
        side = 0 if row[5] == "1" else 1
        tick = price // 100
        if kind == 1:
            book.process(limit(side, tick, lots, order_id))
        elif kind == 4:
            book.process(limit(1 - side, tick, lots, 10**9, TimeInForce.IOC))
        else:
            ids = book.resting()["order_id"].tolist()
            named = order_id if order_id in ids else order_id - 9 * 10**17 + 2**62
            book.process(taking(named, lots))
        for at, which in ((0, 1), (2, 0)):
            depth = book.depth(Side(which), LEVELS)
            shown = [
                (p // 100, n) for p, n in zip(cells[at::4], cells[at + 1 :: 4], strict=True) if n
            ]
            assert shown == depth


def limit(side, tick, lots, order_id, tif=TimeInForce.GTC):
    message = np.zeros(1, MESSAGE_DTYPE)
    message["side"], message["price_tick"], message["lots"] = side, tick, lots
    message["order_id"], message["tif"] = order_id, tif
    return message


def taking(order_id, lots):
    message = limit(0, 0, lots, order_id)
    message["kind"] = Kind.REDUCE
    return message


def test_read_again_it_is_the_same_events(made, tmp_path):
    stored, exported = made
    again = imported(exported.messages, tmp_path / "store")
    assert again.key.symbol == stored.key.symbol
    assert again.key.date == stored.key.date
    there = events(stored)
    there = there[(there["origin"] == Origin.OBSERVED) & (there["reject"] == Reject.NONE)]
    here = events(again)
    here = here[here["origin"] == Origin.OBSERVED]
    assert Counter(here["type"].tolist()) == Counter(there["type"].tolist())
    for field in ("time_ns", "type", "side", "filled_lots"):
        assert np.array_equal(here[field], there[field]), field
    # Of aggressors LOBSTER says what they got, not what they asked for.
    adds = there["type"] != EventType.MARKETABLE
    for field in ("lots", "price_tick"):
        assert np.array_equal(here[field][adds], there[field][adds]), field
    known = adds & (there["order_id"] < 2**62)
    assert np.array_equal(here["order_id"][known], there["order_id"][known])
    assert again.manifest["agreement"]["equal"] == again.manifest["agreement"]["compared"]
    assert again.manifest["counts"]["dropped"] == {}


def test_exported_once_more_it_says_the_same(made, tmp_path):
    _, exported = made
    again = export_lobster(imported(exported.messages, tmp_path / "store"), tmp_path, LEVELS)
    assert said(again) == said(exported)
    assert again.orderbook.read_bytes() == exported.orderbook.read_bytes()


def test_of_a_few_levels_only_their_events_are_rows(made, tmp_path):
    stored, whole = made
    few = export_lobster(stored, tmp_path / "few", 3)
    assert few.rows < whole.rows
    books = book_rows(few.orderbook)
    assert all(len(cells) == 12 for cells in books)
    rows = message_rows(few.messages)
    assert all(
        row[1] == "4" or a != b for row, a, b in zip(rows[1:], books, books[1:], strict=False)
    )
    again = imported(few.messages, tmp_path / "store")
    assert again.manifest["agreement"]["equal"] == again.manifest["agreement"]["compared"] > 0


def test_a_replace_is_a_deletion_and_an_addition(tmp_path):
    source = made_up(tmp_path / "f", n=600)
    stored = import_session(source, Store(tmp_path / "store"))
    exported = export_lobster(stored, tmp_path / "out", LEVELS)
    rows = message_rows(exported.messages)
    replaced = source.feed["message"]["order_id"][source.feed["message"]["kind"] == Kind.REPLACE]
    assert len(replaced)
    for order_id in replaced.tolist():
        order_id = order_id if order_id < 2**62 else order_id - 2**62 + 9 * 10**17
        kinds = [row[1] for row in rows if row[2] == str(order_id)]
        assert "3" in kinds
        assert "1" in kinds
    again = imported(exported.messages, tmp_path / "again")
    assert again.manifest["agreement"]["equal"] == again.manifest["agreement"]["compared"]


def test_what_was_inferred_of_a_feed_by_order_is_left_to_the_book(tmp_path):
    """Levels that enter the window are no messages; the book just shows them."""
    source = made_up(tmp_path / "f", n=800)
    stored = import_session(source, Store(tmp_path / "store"))
    few = export_lobster(stored, tmp_path / "few", 5)
    window = imported(few.messages, tmp_path / "window")
    assert window.manifest["events"]["by_origin"]["INFERRED"] > 0
    again = export_lobster(window, tmp_path / "again", 5)
    assert said(again) == said(few)


def test_what_was_inferred_of_levels_is_all_there_is(tmp_path):
    def infer(feed, truth):
        feed["origin"][80:] = Origin.INFERRED
        return feed, truth

    source = made_up(tmp_path / "f", n=300, change=infer, by_order=False)
    stored = import_session(source, Store(tmp_path / "store"), keep=True)
    exported = export_lobster(stored, tmp_path / "out", LEVELS)
    assert exported.rows >= 300


def test_a_halt_is_a_row_and_comes_back_as_one(tmp_path):
    def halt(feed, truth):
        feed = feed[feed["message"]["kind"] != Kind.REPLACE]
        feed["message"]["kind"][100] = Kind.AUCTION
        feed["message"]["kind"][101] = Kind.UNCROSS
        for name in ("side", "tif", "lots", "order_id", "price_tick"):
            feed["message"][name][100:102] = 0
        return feed[:102], None

    source = made_up(tmp_path / "f", n=100, change=halt, truth_levels=0)
    stored = import_session(source, Store(tmp_path / "store"), keep=True)
    exported = export_lobster(stored, tmp_path / "out", LEVELS)
    halts = [row for row in message_rows(exported.messages) if row[1] == "7"]
    assert [row[4] for row in halts] == ["-1", "1"]
    again = events(imported(exported.messages, tmp_path / "again"))
    assert [EventType(int(t)).name for t in again["type"][-2:]] == ["AUCTION", "UNCROSS"]


@pytest.mark.parametrize(("auction", "reason"), [(False, "iceberg"), (True, "an auction trades")])
def test_what_lobster_cannot_hold_is_refused_and_leaves_no_file(tmp_path, auction, reason):
    def unsayable(feed, truth):
        feed = feed[:90].copy()
        feed["message"][80:] = 0
        feed["message"]["order_id"][80:] = np.arange(10) + 1
        feed["message"]["lots"][80:] = 50
        feed["message"]["price_tick"][80:] = 9_000
        if auction:
            feed["message"]["kind"][80] = Kind.AUCTION
            feed["message"]["price_tick"][81:] = 10_001
            feed["message"]["kind"][89] = Kind.UNCROSS
        else:
            feed["message"]["display_lots"][80:] = 5
        return feed, None

    source = made_up(tmp_path / "f", n=100, change=unsayable, truth_levels=0)
    stored = import_session(source, Store(tmp_path / "store"), keep=True)
    with pytest.raises(UsageError, match=reason):
        export_lobster(stored, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_prices_and_times_that_lobster_cannot_hold_are_refused(tmp_path):
    source = made_up(tmp_path / "f", n=50)
    fine = replace(
        source.session,
        instrument=replace(source.session.instrument, tick_size=Decimal("0.00005")),
    )
    stored = import_session(replace(source, session=fine), Store(tmp_path / "fine"))
    with pytest.raises(UsageError, match="ten-thousandths"):
        export_lobster(stored, tmp_path / "out")
    late = made_up(tmp_path / "f", n=50, start_ns=86_400 * 10**9)
    stored = import_session(late, Store(tmp_path / "late"), keep=True)
    with pytest.raises(UsageError, match="seconds after midnight"):
        export_lobster(stored, tmp_path / "out")


@pytest.mark.slow
def test_a_day_of_amzn_comes_back(market_data, tmp_path):
    """Every message but the hidden executions, which are dropped, and every book row."""
    (file,) = (market_data / "lobster").glob("AMZN_2012-06-21_*_message_5.csv.zst")
    first = imported(file, tmp_path / "first")
    exported = export_lobster(first, tmp_path / "out")
    second = imported(exported.messages, tmp_path / "second")
    agreement = second.manifest["agreement"]
    assert agreement["equal"] == agreement["compared"] == agreement["snapshots"]
    for what in ("fills", "traded_lots", "last_ns"):
        assert second.manifest["events"][what] == first.manifest["events"][what]
    again = export_lobster(second, tmp_path / "again")
    assert again.orderbook.read_bytes() == exported.orderbook.read_bytes()
