"""What the masks allow is what some message of the background flow would be told as: no more, no
less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.engine.batch import Books
from mtsim.engine.messages import Kind
from mtsim.engine.units import Side
from mtsim.model import masks
from mtsim.model.actions import ActionKind
from mtsim.model.book_codes import N_TYPES, BookTables, n_levels
from mtsim.model.describe import Told
from mtsim.model.past import new_past
from tests.model.coded_books import (
    SMALL,
    WIDE,
    World,
    allowed_ids,
    busy_worlds,
    codes_of,
    every_message,
    masks_of,
    orders,
    small_tables,
    tables_of,
)

FAR_ORDER = st.fixed_dictionaries(
    {
        "side": st.integers(0, 1),
        "price_tick": st.integers(1, 400),
        "lots": st.integers(1, 30),
        "owner": st.sampled_from([0, 0, 1]),
        "hidden": st.sampled_from([0, 0, 0, 9]),
    }
)


def told_codes(world: World, tables: BookTables, ticks: range, most_lots: int) -> np.ndarray:
    """The codes of all messages that the book would execute as an action, rows ascending."""
    ids = world.books.resting(0)["order_id"]
    actions, told = world.told(every_message(ids, ticks, most_lots, new_id=10**9))
    # As one number each: rows are sorted far slower.
    radix = 1 << np.array([40, 20, 0])
    distinct = np.unique(codes_of(tables, actions[told == Told.ACTION]) @ radix)
    return distinct[:, None] // radix % (1 << 20)


def codes_of_ids(tables: BookTables) -> np.ndarray:
    return np.column_stack([tables.token_type, tables.token_level, tables.token_lots])


def as_set(codes: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, codes.tolist()))


@given(world=busy_worlds(), tables=st.just(SMALL) | small_tables())
@settings(max_examples=50, deadline=None)
def test_allowed_is_what_some_message_is_told_as(world, tables):
    """Against every message there is, on small books of all kinds: field by field and by id."""
    # The highest tick and the most lots reach into every last bin that the book leaves open.
    told = as_set(told_codes(world, tables, range(1, 40), 100))

    assert as_set(masks_of(world, tables)) == told

    ids = allowed_ids(world, tables)
    expected = [code in told for code in map(tuple, codes_of_ids(tables).tolist())]
    assert ids.tolist() == expected


@given(world=busy_worlds(FAR_ORDER))
@settings(max_examples=10, deadline=None)
def test_levels_outside_the_window_count_like_others(world):
    told = told_codes(world, WIDE, range(1, 1000), 260)

    np.testing.assert_array_equal(masks_of(world, WIDE), told)


def test_a_book_that_never_held_an_order_allows_nothing():
    world = World()

    assert not len(masks_of(world, SMALL))
    assert not allowed_ids(world, SMALL).any()


def test_an_emptied_book_allows_orders_where_its_touch_was():
    world = World()
    world.send(kind=Kind.LIMIT, side=Side.BUY, price_tick=10, lots=3, order_id=1)
    world.send(kind=Kind.LIMIT, side=Side.SELL, price_tick=12, lots=3, order_id=2)
    world.send(kind=Kind.CANCEL, order_id=1)
    world.send(kind=Kind.CANCEL, order_id=2)

    codes = masks_of(world, SMALL)

    assert set(codes[:, 0].tolist()) == {ActionKind.ADD * 2, ActionKind.ADD * 2 + 1}
    np.testing.assert_array_equal(codes, told_codes(world, SMALL, range(1, 60), 12))


def test_the_orders_of_agents_may_be_traded_with_but_not_cancelled():
    world = World()
    world.send(kind=Kind.LIMIT, side=Side.BUY, price_tick=10, lots=3, order_id=1, owner=1)

    types = set(masks_of(world, SMALL)[:, 0].tolist())

    assert types == {0, 1, ActionKind.TRADE * 2 + Side.SELL}


def test_the_orders_of_agents_count_in_the_places_of_others():
    """One order alone in the eyes of the flow is still the last of its level's queue."""
    world = World()
    world.send(kind=Kind.LIMIT, side=Side.BUY, price_tick=10, lots=1, order_id=1, owner=1)
    world.send(kind=Kind.LIMIT, side=Side.BUY, price_tick=10, lots=1, order_id=2)

    codes = masks_of(world, SMALL)

    cancels = codes[codes[:, 0] == ActionKind.CANCEL * 2]
    np.testing.assert_array_equal(cancels, told_codes(world, SMALL, range(1, 30), 8)[-1:])


def test_a_book_in_auction_allows_nothing():
    world = World()
    world.send(kind=Kind.LIMIT, side=Side.BUY, price_tick=10, lots=3, order_id=1)
    world.send(kind=Kind.AUCTION)

    assert not len(masks_of(world, SMALL))
    assert not allowed_ids(world, SMALL).any()


@pytest.mark.parametrize("lowest_tick", [1, 9, -50])
def test_prices_go_down_to_the_lowest_tick_and_no_further(lowest_tick):
    world = World()
    world.send(kind=Kind.LIMIT, side=Side.BUY, price_tick=10, lots=3, order_id=1)

    codes = masks_of(world, WIDE, lowest_tick)

    np.testing.assert_array_equal(codes, told_codes(world, WIDE, range(lowest_tick, 500), 120))


def test_a_touch_at_the_lowest_tick_leaves_asks_no_room_to_improve():
    world = World()
    world.send(kind=Kind.LIMIT, side=Side.SELL, price_tick=1, lots=3, order_id=1)

    codes = masks_of(world, SMALL)

    assert ActionKind.ADD * 2 + Side.BUY not in codes[:, 0]
    np.testing.assert_array_equal(codes, told_codes(world, SMALL, range(1, 60), 12))


@given(worlds=st.lists(busy_worlds(orders, most=6), min_size=2, max_size=3))
@settings(max_examples=10, deadline=None)
def test_many_books_are_masked_as_each_alone(worlds):
    """Each book of an arena gets the mask it would get alone, whatever its neighbours are."""
    books = Books(len(worlds))
    past = new_past(len(worlds))
    for n, world in enumerate(worlds):
        books.restore(n, world.books.snapshot(0))
        past.integers[n] = world.past.integers[0]
    a32, a64, bases = books.memory()
    cells = np.zeros(masks.n_cells(SMALL), np.bool_)
    out = np.zeros((len(worlds), len(SMALL.token_type)), np.bool_)
    types = np.zeros((len(worlds), N_TYPES), np.bool_)

    masks.allow_tokens(a32, a64, bases, past.integers, SMALL, masks.runs_of(SMALL), 1, cells, out)
    masks.allow_types(a32, a64, bases, past.integers, 1, types)

    for n, world in enumerate(worlds):
        np.testing.assert_array_equal(out[n], allowed_ids(world, SMALL))
        alone = np.unique(masks_of(world, SMALL)[:, 0])
        np.testing.assert_array_equal(np.flatnonzero(types[n]), alone)


def test_runs_are_the_ids_of_one_type_level_and_lots():
    """Each id lies in one run, and shares its cell with the ids of the same codes only."""
    tables = tables_of([0, 1], [0, 1], [1, 2], [0, 5, 9], share=0.4)
    runs = masks.runs_of(tables)

    run = np.searchsorted(runs.end, np.arange(len(tables.token_type)), side="right")
    cell = runs.cell[run]

    lots = np.arange(len(runs.lots_code))
    assert (tables.lots_lower[runs.lots_code[1:]] <= lots[1:]).all()
    assert (tables.lots_upper[runs.lots_code[1:]] >= lots[1:]).all()
    assert runs.end[-1] == len(tables.token_type)
    assert (cell[:3] == masks.n_cells(tables) - 1).all()
    codes = codes_of_ids(tables)[3:]
    assert len({(*code, at) for code, at in zip(map(tuple, codes), cell[3:], strict=True)}) == len(
        np.unique(cell[3:])
    )
    assert len(as_set(codes)) == len(np.unique(cell[3:]))
    assert cell[3:].max() < 2 * n_levels(3, 3) * 3


@pytest.mark.parametrize("name", ["allow_types", "allow_levels", "allow_lots", "allow_tokens"])
def test_other_threads_run_while_masks_are_made(name):
    assert getattr(masks, name).targetoptions["nogil"]
