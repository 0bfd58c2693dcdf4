"""Codes come back as messages that the engine executes and that are told as these codes again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.engine.events import to_messages
from mtsim.engine.messages import Kind, Phase, Reject, TimeInForce
from mtsim.engine.units import Side
from mtsim.model.actions import ActionKind, Place
from mtsim.model.book_codes import BookTables, add_level, cancel_level, trade_level
from mtsim.model.describe import Told
from mtsim.model.history import observe_session
from mtsim.model.ingest import import_files
from mtsim.model.realise import draw_gaps, realise_all
from mtsim.model.schemas import schema_named
from mtsim.model.sources.base import Options
from mtsim.model.sources.databento import open_sessions as open_databento
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.store import Store
from mtsim.model.tokenizer import Tokenizer, Training
from tests.model.coded_books import (
    SMALL,
    World,
    allowed_ids,
    busy_worlds,
    codes_of,
    every_code,
    masks_of,
    realised,
    small_tables,
    tables_of,
)

ADD_BUY = ActionKind.ADD * 2 + Side.BUY
TRADE_BUY = ActionKind.TRADE * 2 + Side.BUY
CANCEL_BUY = ActionKind.CANCEL * 2 + Side.BUY


def check_execution(world: World, messages: np.ndarray, actions: np.ndarray) -> None:
    """Execute each message on a copy of the book: it must come to what its action says."""
    before = world.books.snapshot(0)
    for n in range(len(messages)):
        action = actions[n]
        result = world.books.process(messages[n : n + 1]).results[0]
        assert result["reject"] == Reject.NONE
        assert messages["owner"][n] == 0
        match ActionKind(action["kind"]):
            case ActionKind.ADD:
                assert result["resting_lots"] == action["lots"]
                assert result["price_tick"] == action["price_tick"]
                assert result["filled_lots"] == result["cancelled_lots"] == 0
            case ActionKind.TRADE:
                assert result["filled_lots"] == action["lots"] == action["order_lots"]
                assert result["resting_lots"] == result["cancelled_lots"] == 0
            case ActionKind.CANCEL:
                assert result["cancelled_lots"] == action["lots"]
                assert (result["resting_lots"] == 0) == action["whole"]
        world.books.restore(0, before)


def check_law(world: World, tables: BookTables, key: int) -> None:
    """Realise all codes there are: found are those allowed, and they are told as themselves."""
    codes = every_code(tables)
    messages, found = realised(world, tables, codes, key=key, indices=np.arange(len(codes)))

    np.testing.assert_array_equal(codes[found], masks_of(world, tables))
    assert not messages[~found].view(np.uint8).any()
    actions, told = world.told(messages[found])
    assert (told == Told.ACTION).all()
    np.testing.assert_array_equal(codes_of(tables, actions), codes[found])
    check_execution(world, messages[found], actions)


@given(world=busy_worlds(), tables=st.just(SMALL) | small_tables(), key=st.integers(0, 2**64 - 1))
@settings(max_examples=50, deadline=None)
def test_a_message_is_found_exactly_where_the_masks_allow_one(world, tables, key):
    check_law(world, tables, key)


def quiet_world() -> World:
    """Bids of 10 and less, asks of 20 and more, a queue of five at the best bid."""
    world = World()
    queue = [(10, 4), (10, 1), (10, 6), (10, 3), (10, 2), (8, 5), (5, 9), (1, 30)]
    for order_id, (price_tick, lots) in enumerate(queue, 1):
        send_limit(world, Side.BUY, price_tick, lots, order_id)
    for order_id, (price_tick, lots) in enumerate([(20, 5), (21, 7), (25, 4), (30, 50)], 11):
        send_limit(world, Side.SELL, price_tick, lots, order_id)
    return world


def send_limit(world: World, side: Side, price_tick: int, lots: int, order_id: int) -> None:
    world.send(kind=Kind.LIMIT, side=side, price_tick=price_tick, lots=lots, order_id=order_id)


def draws(world: World, tables: BookTables, code: tuple[int, int, int], n: int) -> np.ndarray:
    """`n` messages for one code, of as many indices."""
    messages, found = realised(world, tables, np.tile(np.array(code), (n, 1)), indices=np.arange(n))
    assert found.all()
    return messages


def assert_drawn_like(values: np.ndarray, weights: dict[int, int]) -> None:
    """Each value as often as its weight says, within five standard deviations; no other."""
    total = sum(weights.values())
    drawn = dict(zip(*np.unique(values, return_counts=True), strict=True))
    assert set(drawn) <= set(weights)
    for value, weight in weights.items():
        share = weight / total
        spread = 5 * np.sqrt(len(values) * share * (1 - share))
        assert abs(drawn.get(value, 0) - len(values) * share) <= spread


def test_an_order_rests_where_the_law_of_its_bin_has_room():
    """The distances of a bin keep their law among those that do not cross, up to the last tick."""
    world = quiet_world()
    improving = {-12: 50, -10: 50, -9: 6, -5: 3, -2: 1}
    deep = {3: 1, 7: 4, 9: 2, 10: 90, 40: 90}
    tables = tables_of([-1, 2], [0], [50], [0], laws={"add_distance": improving | deep})

    improved = draws(world, tables, (ADD_BUY, add_level(0), 0), 20_000)
    deepened = draws(world, tables, (ADD_BUY, add_level(2), 0), 20_000)

    # The best bid is 10 and the best ask 20, so -9 is the furthest in, and 9 reaches tick 1.
    assert_drawn_like(10 - improved["price_tick"], {-9: 6, -5: 3, -2: 1})
    assert_drawn_like(10 - deepened["price_tick"], {3: 1, 7: 4, 9: 2})


def test_without_a_value_of_the_law_in_reach_all_integers_of_the_bin_are_alike():
    world = quiet_world()
    tables = tables_of([-1, 2], [0], [50], [0], laws={"add_distance": {-40: 5, 90: 5}})

    improved = draws(world, tables, (ADD_BUY, add_level(0), 0), 20_000)

    assert_drawn_like(10 - improved["price_tick"], dict.fromkeys(range(-9, 0), 1))


def test_no_order_is_larger_than_any_that_was_seen():
    """Training saw 60 lots cancelled and none added above 6: a larger order has 7 to 60."""
    laws = {"add_lots": {1: 3, 6: 1}, "cancel_lots": {60: 1}}
    tables = tables_of([0], [0], [6], [0], laws=laws)

    messages = draws(quiet_world(), tables, (ADD_BUY, add_level(1), 1), 20_000)

    assert_drawn_like(messages["lots"], dict.fromkeys(range(7, 61), 1))


def test_taken_lots_keep_their_law_between_what_the_levels_show():
    """One level taken whole and less than two: 5 to 11 lots, at the worst price of the two."""
    world = quiet_world()
    law = {1: 40, 4: 40, 5: 8, 6: 1, 11: 3, 12: 40, 60: 40}
    tables = tables_of([0], [0], [100], [0], laws={"trade_lots": law})

    messages = draws(world, tables, (TRADE_BUY, trade_level(2, 1), 0), 20_000)

    assert_drawn_like(messages["lots"], {5: 8, 6: 1, 11: 3})
    assert (messages["tif"] == TimeInForce.IOC).all()
    worst = np.where(messages["lots"] == 5, 20, 21)
    np.testing.assert_array_equal(messages["price_tick"], worst)


def test_most_levels_swept_reaches_to_the_end_of_the_side():
    world = quiet_world()
    tables = tables_of([0], [0], [100], [0], laws={"trade_lots": {15: 1, 16: 2, 66: 3, 67: 9}})

    messages = draws(world, tables, (TRADE_BUY, trade_level(2, 3), 0), 10_000)

    assert_drawn_like(messages["lots"], {16: 2, 66: 3})
    worst = np.where(messages["lots"] == 16, 25, 30)
    np.testing.assert_array_equal(messages["price_tick"], worst)


def test_candidates_of_a_level_are_alike():
    """In the middle of the queue at 10 stand orders of 1, 6 and 3 lots; two have 2 or more."""
    world = quiet_world()
    tables = tables_of([0], [0], [1, 10], [0])

    level = cancel_level(2, 0, Place.MIDDLE, 1)
    messages = draws(world, tables, (CANCEL_BUY, level, 1), 10_000)

    assert (messages["kind"] == Kind.CANCEL).all()
    assert_drawn_like(messages["order_id"], {3: 1, 4: 1})


def test_lots_cut_off_an_order_leave_it_some():
    world = quiet_world()
    tables = tables_of([0], [0], [100], [0], laws={"cancel_lots": {1: 1, 2: 2, 3: 5, 4: 40}})

    level = cancel_level(2, 0, Place.FIRST, 0)
    messages = draws(world, tables, (CANCEL_BUY, level, 0), 10_000)

    assert (messages["kind"] == Kind.REDUCE).all()
    assert (messages["order_id"] == 1).all()
    assert_drawn_like(messages["lots"], {1: 1, 2: 2, 3: 5})


@pytest.mark.parametrize(
    ("drawn", "nearest"),
    [(1, 8), (2, 8), (3, 8), (4, 5), (5, 5), (6, 5), (7, 1), (8, 1), (9, 1), (50, 1)],
)
def test_the_level_nearest_to_the_drawn_distance_is_chosen(drawn, nearest):
    """Candidates stand 2, 5 and 9 ticks from the best bid, one of other lots 3 ticks from it; of
    two levels equally near it is the one further from the touch."""
    world = World()
    for order_id, (price_tick, lots) in enumerate([(10, 1), (8, 5), (7, 1), (5, 5), (1, 5)], 1):
        send_limit(world, Side.BUY, price_tick, lots, order_id)
    tables = tables_of([0], [0], [1], [0], laws={"cancel_distance": {drawn: 1}})

    level = cancel_level(2, 1, Place.ONLY, 1)
    message = draws(world, tables, (CANCEL_BUY, level, 1), 1)[0]

    assert {2: 8, 4: 5, 5: 1}[int(message["order_id"])] == nearest


def test_draws_depend_on_their_key_world_and_index_alone():
    world = quiet_world()
    codes = every_code(SMALL)
    _, allowed = realised(world, SMALL, codes)
    codes = codes[allowed]
    n = len(codes)
    worlds, indices = np.arange(n) % 7, np.arange(n) % 5

    messages, _ = realised(world, SMALL, codes, worlds=worlds, indices=indices)
    order = np.random.default_rng(3).permutation(n)
    shuffled, _ = realised(world, SMALL, codes[order], worlds=worlds[order], indices=indices[order])
    assert messages[order].tobytes() == shuffled.tobytes()

    for other in ({"key": 8}, {"worlds": worlds + 1}, {"indices": indices + 1}):
        moved, _ = realised(world, SMALL, codes, **{"worlds": worlds, "indices": indices, **other})
        assert (moved != messages).any()


def test_new_orders_get_the_id_they_are_given():
    world = quiet_world()
    codes = masks_of(world, SMALL)

    messages, _ = realised(world, SMALL, codes, order_id=4711)

    enters = codes[:, 0] < ActionKind.CANCEL * 2
    assert (messages["order_id"][enters] == 4711).all()
    assert (messages["order_id"][~enters] < 20).all()


def test_gaps_keep_the_law_of_their_bin():
    tables = tables_of([0], [0], [1], [0, 100], laws={"gap": {0: 9, 7: 2, 100: 1, 500: 4}})
    n = 10_000
    indices = np.arange(n, dtype=np.uint64)
    out = np.zeros(n, np.int64)

    draw_gaps(tables, np.ones(n, np.int64), np.uint64(1), np.zeros(n, np.uint64), indices, out)

    assert_drawn_like(out, {7: 2, 100: 1})


def test_other_threads_run_while_messages_are_found():
    assert realise_all.targetoptions["nogil"]


# --- real sessions --------------------------------------------------------------------------------


FEEDS = {
    "amzn": (open_lobster, "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"),
    "es": (open_databento, "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst"),
}


@pytest.mark.parametrize("feed", FEEDS)
def test_ids_come_back_from_the_books_of_a_real_session(market_data, tmp_path, feed):
    """At moments all over a session: what the masks allow is realised, executed, told and encoded
    as the id that it was, and nothing else is realised."""
    open_sessions, file = FEEDS[feed]
    files = (str(market_data / file),)
    for one in import_files(open_sessions, files, Options(), Store(tmp_path), keep=True):
        assert one.stored is not None
        stored = one.stored
        actions = [batch.actions for batch in observe_session(stored)]
        tokenizer = Tokenizer.fit(schema_named("book"), lambda: [Training("", actions)], saw=feed)  # noqa: B023
        messages = np.concatenate([to_messages(rows) for rows in stored.events()])
        cuts = np.sort(np.random.default_rng(11).integers(1, len(messages), 12))
        world = World()
        for start, end in zip(np.append(0, cuts[:-1]), cuts, strict=True):
            world.process(messages[start:end])
            if world.books.phases()[0] == Phase.CONTINUOUS:
                check_ids(world, tokenizer, int(end))


def check_ids(world: World, tokenizer: Tokenizer, index: int) -> None:
    tables = tokenizer.tables()
    codes = every_code(tables)
    messages, found = realised(world, tables, codes, indices=index + np.arange(len(codes)))
    np.testing.assert_array_equal(codes[found], masks_of(world, tables))

    ids = np.flatnonzero(allowed_ids(world, tables))
    fields = tokenizer.fields_of(ids)
    assert len(ids) > 100
    allowed = set(map(tuple, codes[found].tolist()))
    everywhere = tokenizer.fields_of(np.arange(3, tokenizer.vocabulary))[:, :3].tolist()
    assert len(ids) == sum(tuple(code) in allowed for code in everywhere)

    messages, found = realised(world, tables, fields[:, :3], indices=index + np.arange(len(ids)))
    assert found.all()
    actions, told = world.told(messages)
    assert (told == Told.ACTION).all()
    gaps = np.zeros(len(ids), np.int64)
    draw_gaps(
        tables,
        np.ascontiguousarray(fields[:, 3]),
        np.uint64(7),
        np.zeros(len(ids), np.uint64),
        np.arange(len(ids), dtype=np.uint64),
        gaps,
    )
    actions["gap_ns"] = gaps
    encoded = tokenizer.encode(actions)
    assert not encoded.edits
    np.testing.assert_array_equal(encoded.tokens, ids)
    some = np.random.default_rng(index).choice(len(ids), 30)
    check_execution(world, messages[some], actions[some])
