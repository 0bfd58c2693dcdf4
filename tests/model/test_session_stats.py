"""The numbers of a stored session are those one gets by looking at every event by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.engine.book import Book
from mtsim.engine.events import EventType, Origin
from mtsim.engine.messages import Kind, TimeInForce
from mtsim.engine.units import EMPTY_ASK, EMPTY_BID, Side
from mtsim.model.histogram import Histogram, lower_edges
from mtsim.model.ingest import import_session
from mtsim.model.session_stats import DEPTH_EVENTS, measure
from mtsim.model.sources.base import FEED_DTYPE
from mtsim.model.store import Store
from tests.model.generated_feed import made_up


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A made-up source, stored."""
    folder = tmp_path_factory.mktemp("stats")
    source = made_up(folder / "f", n=2000)
    return source, import_session(source, Store(folder / "store"))


def by_hand(source):
    """One row an event after the opening: touch before and after, and what happened."""
    book, rows = Book(), []
    touch = (EMPTY_BID, EMPTY_ASK)
    for row in source.feed:
        result = book.process(row["message"].reshape(1)).results[0]
        after = int(result["bid_tick"]), int(result["ask_tick"])
        if row["origin"] != Origin.OPENING:
            rows.append((int(row["time_ns"]), touch, after, int(result["filled_lots"])))
        touch = after
    return rows


def test_moves_and_trades_are_counted_as_by_hand(session):
    source, stored = session
    rows = by_hand(source)
    moved = [sum(before) != sum(after) for _, before, after, _ in rows]
    traded = [filled > 0 for *_, filled in rows]
    said = measure(stored).as_json()
    assert said["events"] == len(rows) == 2000
    assert said["trades"] == sum(traded)
    rates = said["move_rate"]
    assert rates["per_event"] == pytest.approx(sum(moved) / len(rows), abs=1e-6)
    both = sum(m and t for m, t in zip(moved, traded, strict=True))
    assert rates["per_trade"] == pytest.approx(both / sum(traded), abs=1e-6)


def test_the_spread_is_that_of_the_book_after_each_event(session):
    source, stored = session
    rows = by_hand(source)
    spreads = sorted(after[1] - after[0] for _, _, after, _ in rows)
    said = measure(stored).as_json()["spread_ticks"]
    assert said["p50"] == spreads[len(spreads) // 2 - 1]
    weights = np.diff([time for time, *_ in rows])
    held = [before[1] - before[0] for _, before, _, _ in rows[1:]]
    mean = np.average(held, weights=weights)
    assert said["time_weighted_mean"] == pytest.approx(mean, rel=1e-6)


def test_the_depth_is_the_mean_of_books_at_equal_distances(session):
    source, stored = session
    book, books = Book(), []
    for k in range(0, len(source.feed), DEPTH_EVENTS):
        if k > 80:
            books.append([lots for _, lots in book.depth(Side.BUY, 10)])
        book.process(np.ascontiguousarray(source.feed["message"][k : k + DEPTH_EVENTS]))
    found = measure(stored).as_json()["depth_lots"]["buy"]
    assert found == pytest.approx(np.mean(books, axis=0), abs=1e-3)


def test_every_event_is_in_the_mix_and_in_the_gaps(session):
    source, stored = session
    stats = measure(stored)
    said = stats.as_json()
    assert sum(sum(sides.values()) for sides in said["by_type"].values()) == 2000
    assert said["by_origin"] == {"OBSERVED": 2000, "OPENING": 80}
    assert stats.gap_ns.total() == 1999
    gaps = np.diff(source.feed["time_ns"][80:])
    assert said["gap_ns"]["p50"] == pytest.approx(np.median(gaps), rel=0.04)
    json.dumps(said, allow_nan=False)


def test_a_quiet_time_and_a_gap_are_listed(tmp_path):
    def pause(feed, truth):
        feed["time_ns"][300:] += 90 * 10**9
        feed["origin"][400:405] = Origin.OPENING
        return feed, truth

    source = made_up(tmp_path / "f", n=500, change=pause)
    stored = import_session(source, Store(tmp_path / "store"))
    said = measure(stored).as_json()
    before, after = source.feed["time_ns"][299:301].tolist()
    assert said["quiet"] == [{"from_ns": before, "to_ns": after}]
    assert said["gaps"] == stored.manifest["gaps"]
    assert len(said["gaps"]) == 1


def test_orders_that_are_collected_for_an_auction_are_no_spread(tmp_path):
    def auction(feed, truth):
        bid, ask = feed["message"][0]["price_tick"], feed["message"][1]["price_tick"]
        collected = np.zeros(4, FEED_DTYPE)
        collected["time_ns"] = feed["time_ns"][100]
        collected["row"] = feed["row"][100]
        collected["message"]["kind"] = (Kind.AUCTION, Kind.LIMIT, Kind.LIMIT, Kind.UNCROSS)
        collected["message"]["side"] = (0, Side.BUY, Side.SELL, 0)
        middle = (int(bid) + int(ask)) // 2
        collected["message"]["price_tick"] = (0, middle + 500, middle - 500, middle)
        collected["message"]["lots"][1:3] = 1
        collected["message"]["order_id"][1:3] = (10**6, 10**6 + 1)
        return np.concatenate([feed[:101], collected, feed[101:]]), None

    plain = made_up(tmp_path / "f", n=500, change=lambda feed, truth: (feed, None), truth_levels=0)
    crossed = made_up(tmp_path / "f", n=500, change=auction, truth_levels=0)

    said = measure(import_session(crossed, Store(tmp_path / "crossed"), keep=True)).as_json()

    assert said["events"] == 504
    without = measure(import_session(plain, Store(tmp_path / "plain"))).as_json()
    assert said["spread_ticks"] == without["spread_ticks"]


def test_parts_make_no_difference(tmp_path, session, monkeypatch):
    from mtsim.model import store as stores

    source, stored = session
    monkeypatch.setattr(stores, "PART_ROWS", 300)
    again = import_session(replace(source, counts=type(source.counts)()), Store(tmp_path / "small"))
    assert len(again.manifest["parts"]) == 7
    assert measure(again).as_json() == measure(stored).as_json()


def test_a_feed_of_nothing_but_trades_has_trades_and_price_changes(tmp_path):
    def trades(feed, truth):
        return feed[feed["message"]["tif"] == TimeInForce.IOC], None

    source = made_up(tmp_path / "f", n=1000, change=trades, truth_levels=0)
    said = measure(import_session(source, Store(tmp_path / "store"))).as_json()
    prices = source.feed["message"]["price_tick"]
    assert said["trades"] == said["events"] == len(prices)
    assert said["spread_ticks"]["p50"] is None
    changes = np.count_nonzero(np.diff(prices)) / (len(prices) - 1)
    assert said["move_rate"]["price_changes_per_trade"] == pytest.approx(changes, abs=1e-6)
    assert list(said["by_type"]) == [EventType.MARKETABLE.name]


def test_the_picture_of_a_session_is_always_the_same_bytes(session, tmp_path):
    _, stored = session
    for name in ("a.png", "b.png"):
        measure(stored).draw(tmp_path / name)
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert b"Software" not in content
    assert len(content) > 20_000


def test_the_picture_of_a_session_without_a_book_is_drawn_too(tmp_path):
    def trades(feed, truth):
        return feed[feed["message"]["tif"] == TimeInForce.IOC][:1], None

    source = made_up(tmp_path / "f", n=100, change=trades, truth_levels=0)
    measure(import_session(source, Store(tmp_path / "store"))).draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@given(values=st.lists(st.integers(0, 2**63 - 1), min_size=1), share=st.floats(0, 1))
def test_a_quantile_is_at_most_a_bin_below_the_true_one(values, share):
    """Exact below 64, and at most 1/32 too low above."""
    histogram = Histogram()
    histogram.add(np.array(values))
    rank = max(1, int(np.ceil(share * len(values))))
    true = sorted(values)[rank - 1]
    found = histogram.quantile(share)
    assert found is not None
    assert found <= true <= found + found // 32


def test_a_histogram_counts_every_value_once():
    histogram = Histogram()
    values = np.concatenate([np.arange(5000), 2 ** np.arange(63), 2 ** np.arange(1, 63) - 1])
    histogram.add(values)
    assert histogram.total() == len(values)
    assert (np.diff(lower_edges()) > 0).all()
    assert histogram.quantile(0.0) == 0
    assert Histogram().quantile(0.5) is None
