"""Events are messages with their results in one row, and executing them again changes nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsim.engine import events
from mtsim.engine.columns import read_rows, write_rows
from mtsim.engine.events import EVENT_DTYPE, EVENT_SCHEMA, EventType
from mtsim.engine.messages import Flag, Reject, SelfTrade, TimeInForce
from mtsim.engine.reference import ReferenceBook
from mtsim.errors import EngineInputError, IntegrityError
from tests.engine.streams import (
    BUY,
    SELL,
    RandomStream,
    auction,
    batch,
    cancel,
    limit,
    market,
    message,
    reduce,
    replace,
    uncross,
)


def executed(*rows):
    """The events of these messages on an empty book, one nanosecond apart."""
    messages = batch(*rows)
    outcome = ReferenceBook().process(messages)
    return events.from_messages(np.arange(len(messages)), messages, outcome.results)


@given(seed=st.integers(0, 2**32 - 1))
def test_events_executed_again_give_the_same_results_fills_and_book(seed):
    """Illegal messages, auctions, icebergs and self-trade prevention included."""
    messages = RandomStream(seed).block(300)
    first, again = ReferenceBook(), ReferenceBook()
    outcome = first.process(messages)

    rows = events.from_messages(np.arange(300), messages, outcome.results)
    repeated = again.process(events.to_messages(rows))

    np.testing.assert_array_equal(repeated.results, outcome.results)
    np.testing.assert_array_equal(repeated.fills, outcome.fills)
    assert again.hash() == first.hash()


@given(seed=st.integers(0, 2**32 - 1))
def test_events_of_executed_events_are_the_same_events(seed):
    """What the engine ignores is gone after one pass: the second changes no bit."""
    messages = RandomStream(seed).block(200)
    rows = events.from_messages(7, messages, ReferenceBook().process(messages).results)

    again = events.to_messages(rows)
    results = ReferenceBook().process(again).results

    np.testing.assert_array_equal(events.from_messages(7, again, results), rows)


def test_an_order_that_meets_nobody_is_an_add():
    (event,) = executed(limit(BUY, 100, 5, 1))
    assert (event["type"], event["side"], event["price_tick"]) == (EventType.ADD, BUY, 100)
    assert (event["lots"], event["order_id"], event["filled_lots"]) == (5, 1, 0)


def test_an_order_that_trades_or_may_not_rest_is_marketable():
    maker = limit(SELL, 100, 5, 1)
    for taker in (
        limit(BUY, 100, 9, 2),
        market(BUY, 3, 2),
        limit(BUY, 99, 3, 2, tif=TimeInForce.IOC),
        limit(BUY, 99, 3, 2, tif=TimeInForce.FOK),
        limit(BUY, 100, 3, 2, stp=SelfTrade.CANCEL_NEWEST),
    ):
        assert executed(maker, taker)["type"].tolist() == [EventType.ADD, EventType.MARKETABLE]


def test_a_refused_post_only_order_is_an_add_that_was_refused():
    event = executed(limit(SELL, 100, 5, 1), limit(BUY, 100, 5, 2, flags=Flag.POST_ONLY))[1]
    assert (event["type"], event["reject"]) == (EventType.ADD, Reject.WOULD_TAKE)


def test_a_cancel_carries_side_price_and_lots_of_its_order():
    event = executed(limit(SELL, 105, 8, 1), cancel(1))[1]
    assert (event["type"], event["side"]) == (EventType.CANCEL, SELL)
    assert (event["price_tick"], event["lots"]) == (105, 8)


def test_a_reduce_carries_what_it_took_out():
    small, large = executed(limit(SELL, 105, 8, 1), reduce(1, 3), reduce(1, 100))[1:]
    assert (small["lots"], large["lots"]) == (3, 5)


def test_a_market_order_carries_the_worst_price_it_paid():
    event = executed(limit(SELL, 100, 1, 1), limit(SELL, 103, 5, 2), market(BUY, 4, 3))[2]
    assert (event["price_tick"], event["lots"], event["filled_lots"]) == (103, 4, 4)


def test_a_replace_carries_its_new_price_and_lots_and_the_side_of_its_order():
    event = executed(limit(SELL, 105, 8, 1), replace(1, 107, 6))[1]
    assert (event["type"], event["side"]) == (EventType.REPLACE, SELL)
    assert (event["price_tick"], event["lots"]) == (107, 6)


def test_an_uncross_carries_the_price_it_found():
    rows = executed(auction(), limit(BUY, 110, 5, 1), limit(SELL, 100, 5, 2), uncross(0))
    assert rows["type"][[0, 3]].tolist() == [EventType.AUCTION, EventType.UNCROSS]
    assert (rows[3]["price_tick"], rows[3]["filled_lots"]) == (100, 5)


def test_a_refused_message_is_kept_as_it_was_sent():
    event = executed(cancel(77, price_tick=5, lots=3, side=SELL))[0]
    assert (event["type"], event["reject"]) == (EventType.CANCEL, Reject.UNKNOWN_ORDER)
    assert (event["order_id"], event["price_tick"], event["lots"], event["side"]) == (77, 5, 3, 1)


def test_a_message_of_no_known_kind_is_unknown_and_survives():
    sent = message(200, lots=4, price_tick=-9, order_id=3)
    rows = executed(sent)
    assert (rows[0]["type"], rows[0]["reject"]) == (EventType.UNKNOWN, Reject.BAD_KIND)
    np.testing.assert_array_equal(events.to_messages(rows), batch(sent))


def test_markers_are_not_executed():
    rows = np.concatenate(
        [
            events.marker(0, EventType.SESSION_START),
            executed(limit(BUY, 100, 5, 1)),
            events.marker(9, EventType.GAP),
        ]
    )
    assert len(events.to_messages(rows)) == 1


def test_what_a_book_executes_cannot_be_a_marker():
    with pytest.raises(EngineInputError, match="CANCEL is not a marker"):
        events.marker(0, EventType.CANCEL)


def test_a_row_of_an_unknown_type_is_named():
    rows = executed(limit(BUY, 100, 5, 1), limit(BUY, 100, 5, 2))
    rows["type"][1] = 99
    with pytest.raises(EngineInputError, match=r"events\[1\]: unknown type 99"):
        events.to_messages(rows)


def test_messages_are_not_events():
    with pytest.raises(EngineInputError, match="not events"):
        events.to_messages(batch(limit(BUY, 100, 5, 1)))


def test_every_message_needs_a_result():
    messages = batch(limit(BUY, 100, 5, 1), cancel(1))
    results = ReferenceBook().process(messages).results
    with pytest.raises(EngineInputError, match="2 messages with 1 results"):
        events.from_messages(0, messages, results[:1])


def test_a_parquet_file_gives_the_rows_back(tmp_path):
    messages = RandomStream(4).block(500)
    results = ReferenceBook().process(messages).results
    rows = events.from_messages(np.arange(500) * 10, messages, results)
    write_rows(tmp_path / "events.parquet", EVENT_SCHEMA, rows)
    np.testing.assert_array_equal(read_rows(tmp_path / "events.parquet", EVENT_SCHEMA), rows)


def test_the_parquet_schema_is_named_typed_and_has_no_nulls():
    schema = EVENT_SCHEMA.arrow()
    assert schema.metadata == {b"mtsim.schema": b"event", b"mtsim.version": b"1"}
    assert schema.names == [name for name in EVENT_DTYPE.fields or () if name != "padding"]
    assert str(schema.field("time_ns").type) == "int64"
    assert not any(field.nullable for field in schema)


def test_a_table_of_another_schema_or_version_is_refused():
    table = EVENT_SCHEMA.to_table(executed(limit(BUY, 100, 5, 1)))
    other_version = table.replace_schema_metadata({"mtsim.schema": "event", "mtsim.version": "2"})
    for wrong in (other_version, table.drop_columns(["lots"])):
        with pytest.raises(
            IntegrityError, match=r"week\.parquet: not a table of 'event' version 1"
        ):
            EVENT_SCHEMA.from_table(wrong, "week.parquet")


def loaded_by(imports):
    """Which heavy libraries a fresh interpreter has after these imports."""
    script = f"import sys, {imports}\nprint(*sorted(set(sys.modules) & {_HEAVY}))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


ROOT = Path(__file__).parents[2]
_HEAVY = {"numba", "pyarrow", "pandas", "torch", "sortedcontainers"}


def test_importing_events_and_tape_loads_numpy_alone():
    assert loaded_by("mtsim.engine.events, mtsim.engine.tape, mtsim.engine.tape_files") == []


def test_a_heavy_import_would_be_noticed():
    assert "pyarrow" in loaded_by("mtsim.engine.events, pyarrow")
