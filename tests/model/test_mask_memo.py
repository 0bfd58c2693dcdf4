"""With a memo the masks are what they are without one, whatever became of the book since."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsim.engine.batch import Books
from mtsim.engine.events import to_messages
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, Phase, SelfTrade
from mtsim.engine.units import Side
from mtsim.model import mask_memo, recalled_masks
from mtsim.model.book_codes import N_TYPES, BookTables, n_levels
from mtsim.model.ingest import import_files
from mtsim.model.mask_layout import CELLS, SEEN, plan_of
from mtsim.model.mask_memo import MaskMemo
from mtsim.model.past import new_past
from mtsim.model.sources.base import Options
from mtsim.model.sources.databento import open_sessions as open_databento
from mtsim.model.sources.lobster import open_sessions as open_lobster
from mtsim.model.store import Store
from tests.engine.streams import RandomStream, batch, cancel, limit, market, reduce, replace
from tests.model.coded_books import (
    SMALL,
    WIDE,
    World,
    allowed_ids,
    busy_worlds,
    masks_of,
    tables_of,
)

LOWEST_TICK = -(10**6)
BROAD = tables_of(
    add=[-1, 0, 5],
    cancel=[-3, 0, 3, 50, 3000, 6000, 10**6],
    lots=[1, 2, 50, 1500, 3000],
    gap=[0],
    share=0.7,
)
"""Bins beyond the distances and lots whose codes are looked up."""


@dataclass
class Remembered:
    """A world with its memo."""

    tables: BookTables
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.memo = MaskMemo(self.tables, 1)

    def expect(self, message: np.ndarray) -> None:
        words = np.ascontiguousarray(message).view(np.int64)
        a32, a64, bases, _ = self.world.arrays()
        mask_memo.expect_all(a32, a64, bases, self.memo.plan, self.memo.words, words)

    def learn(self) -> None:
        a32, a64, bases, _ = self.world.arrays()
        mask_memo.learn_all(a32, a64, bases, self.memo.plan, self.memo.words)

    def process(self, messages: np.ndarray) -> None:
        """Execute messages one by one, and let the memo know."""
        for at in range(len(messages)):
            self.expect(messages[at : at + 1])
            self.world.process(messages[at : at + 1])
            self.learn()

    def is_current(self) -> bool:
        return self.memo.words[0, SEEN] == self.world.books.n_messages()[0]

    def ids(self) -> np.ndarray:
        arrays = self.world.arrays()
        memo = self.memo
        recalled_masks.recall_all_tokens(*arrays, memo.plan, memo.words, memo.tokens, LOWEST_TICK)
        return memo.tokens[0]

    def codes(self) -> np.ndarray:
        """`masks_of`, asked of the memo."""
        a32, a64, bases, past_i = self.world.arrays()
        plan, words, tables = self.memo.plan, self.memo.words, self.tables
        types = np.ones((1, N_TYPES), np.bool_)
        recalled_masks.recall_types(a32, a64, bases, past_i, plan, words, LOWEST_TICK, types)
        kinds = np.flatnonzero(types[0])
        n_level = n_levels(len(tables.add_lower), len(tables.cancel_lower))
        levels = np.ones((len(kinds), n_level), np.bool_)
        of = np.zeros(len(kinds), np.int64)
        recalled_masks.recall_levels(
            a32,
            a64,
            bases[of],
            past_i[of],
            tables,
            plan,
            words[of],
            LOWEST_TICK,
            kinds,
            levels,
        )
        row, level = np.nonzero(levels)
        lots = np.ones((len(row), len(tables.lots_lower)), np.bool_)
        of = np.zeros(len(row), np.int64)
        recalled_masks.recall_lots(
            a32, a64, bases[of], tables, plan, words[of], kinds[row], level, lots
        )
        at, code = np.nonzero(lots)
        return np.column_stack([kinds[row[at]], level[at], code])

    def check(self) -> None:
        """The masks, in whatever order they are asked for, are those without a memo."""
        np.testing.assert_array_equal(self.codes(), masks_of(self.world, self.tables, LOWEST_TICK))
        expected = allowed_ids(self.world, self.tables, LOWEST_TICK)
        np.testing.assert_array_equal(self.ids(), expected)


@given(
    seed=st.integers(0, 2**32),
    tables=st.sampled_from([SMALL, WIDE, BROAD]),
    asked=st.sampled_from([1, 2, 7, 40]),
)
@settings(max_examples=15, deadline=None)
def test_masks_of_a_memo_are_those_without_one(seed, tables, asked):
    """Agents' orders, icebergs, self-trades, refusals, auctions, jumps of the touch, books that
    grow: through all of that, and however seldom it is asked."""
    remembered = Remembered(tables)
    messages = RandomStream(seed).block(160)
    remembered.check()
    for at in range(len(messages)):
        was_current = remembered.is_current()
        remembered.process(messages[at : at + 1])
        if was_current and messages["kind"][at] <= Kind.REPLACE:
            assert remembered.is_current(), "counted anew without need"
        if at % asked == 0:
            remembered.check()
    remembered.check()


@given(world=busy_worlds(), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_books_near_their_touch_are_remembered(world, seed):
    """All kinds of messages to a few ticks around the touch, where every order changes its place
    and every level its bin."""
    remembered = Remembered(SMALL, world)
    remembered.check()
    for message in near_messages(np.random.default_rng(seed), 60):
        remembered.process(message[None])
        remembered.check()
        assert remembered.is_current()


def near_messages(rng: np.random.Generator, n: int) -> np.ndarray:
    kinds = rng.choice([Kind.LIMIT, Kind.MARKET, Kind.CANCEL, Kind.REDUCE, Kind.REPLACE], n)
    messages = np.zeros(n, MESSAGE_DTYPE)
    messages["kind"] = kinds
    messages["side"] = np.where(kinds <= Kind.MARKET, rng.integers(2, size=n), 0)
    messages["tif"] = np.where(kinds == Kind.MARKET, 1, 0)
    messages["price_tick"] = rng.integers(7, 16, n)
    messages["lots"] = rng.integers(1, 7, n)
    messages["owner"] = rng.choice([0, 0, 0, 1], n)
    messages["stp"] = np.where(kinds <= Kind.MARKET, rng.integers(len(SelfTrade), size=n), 0)
    new = np.arange(n) + 100
    messages["order_id"] = np.where(kinds <= Kind.MARKET, new, rng.integers(1, 30, n))
    later = (kinds > Kind.MARKET) & (rng.random(n) < 0.5)
    messages["order_id"][later] = (new - rng.integers(1, 10, n))[later]
    return messages


def quiet() -> Remembered:
    remembered = Remembered(SMALL)
    remembered.process(
        batch(*(limit(n % 2, 10 + 2 * (n % 2), 1 + n, n, owner=0) for n in range(1, 7)))
    )
    remembered.check()
    return remembered


def test_a_message_that_nobody_announced_is_noticed():
    remembered = quiet()

    remembered.world.process(batch(cancel(1, owner=0), cancel(3, owner=0)))

    assert not remembered.is_current()
    remembered.check()


def test_a_message_may_be_expected_again_after_its_book_made_room():
    remembered = quiet()
    message = batch(reduce(5, 2, owner=0))

    remembered.expect(message)
    remembered.process(message)

    remembered.check()


def test_a_message_that_never_came_leaves_the_masks_right():
    remembered = quiet()

    remembered.expect(batch(market(Side.BUY, 50, 99, owner=0)))

    remembered.check()


def test_a_memo_forgets_a_book_that_another_is_put_in_place_of():
    """As many messages on another branch: only being told can save the memo from a mistake."""
    remembered = quiet()
    snapshot = remembered.world.books.snapshot(0)
    remembered.process(batch(cancel(1, owner=0)))
    other = remembered.world.books.snapshot(0)
    remembered.world.books.restore(0, snapshot)
    remembered.memo.forget()
    remembered.process(batch(replace(4, 14, 9, owner=0)))
    remembered.check()
    taken = remembered.ids().copy()

    remembered.world.books.restore(0, other)
    assert remembered.is_current()
    remembered.memo.forget(np.array([0]))

    remembered.check()
    assert (remembered.ids() != taken).any()


def test_an_auction_begins_and_ends():
    remembered = quiet()

    remembered.process(batch((Kind.AUCTION, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    remembered.check()
    assert not remembered.ids().any()
    remembered.process(batch(limit(Side.BUY, 12, 4, 50, owner=0)))
    remembered.check()
    remembered.process(batch((Kind.UNCROSS, 0, 0, 0, 0, 0, 11, 0, 0, 0)))

    assert remembered.world.books.phases()[0] == Phase.CONTINUOUS
    remembered.check()


@given(worlds=st.lists(busy_worlds(), min_size=2, max_size=3))
@settings(max_examples=10, deadline=None)
def test_many_books_are_remembered_as_each_alone(worlds):
    books = Books(len(worlds))
    past = new_past(len(worlds))
    for n, world in enumerate(worlds):
        books.restore(n, world.books.snapshot(0))
        past.integers[n] = world.past.integers[0]
    memo = MaskMemo(SMALL, len(worlds))

    recalled_masks.recall_all_tokens(
        *books.memory(), past.integers, memo.plan, memo.words, memo.tokens, 1
    )

    for n, world in enumerate(worlds):
        np.testing.assert_array_equal(memo.tokens[n], allowed_ids(world, SMALL))


def test_a_plan_knows_the_ids_of_each_cell():
    """Each id lies between the bounds of its own cell and of no other."""
    plan = plan_of(BROAD)
    n_level = n_levels(len(BROAD.add_lower), len(BROAD.cancel_lower))
    n_lots = len(BROAD.lots_lower)
    n_cells = 2 * n_level * n_lots
    bounds = plan[plan[CELLS] : plan[CELLS] + 2 * n_cells].reshape(n_cells, 2)

    assert plan[CELLS] + 2 * n_cells == len(plan)
    assert (bounds[:, 1] - bounds[:, 0]).sum() == len(BROAD.token_type) - 3
    for token in range(3, len(BROAD.token_type)):
        side = BROAD.token_type[token] % 2
        level = side * n_level + BROAD.token_level[token]
        first, end = bounds[level * n_lots + BROAD.token_lots[token]]
        assert first <= token < end


@pytest.mark.parametrize(
    "entry",
    [
        mask_memo.expect_all,
        mask_memo.learn_all,
        recalled_masks.recall_types,
        recalled_masks.recall_levels,
        recalled_masks.recall_lots,
        recalled_masks.recall_all_tokens,
    ],
)
def test_other_threads_run_meanwhile(entry):
    assert entry.targetoptions["nogil"]


FEEDS = {
    "amzn": (open_lobster, "lobster/AMZN_2012-06-21_34200000_57600000_message_5.csv.zst"),
    "es": (open_databento, "databento_mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst"),
}


@pytest.mark.parametrize("feed", FEEDS)
def test_a_real_session_is_remembered(market_data, tmp_path, feed):
    """A few thousand messages from the middle of a session, asked about now and then."""
    open_sessions, file = FEEDS[feed]
    files = (str(market_data / file),)
    for one in import_files(open_sessions, files, Options(), Store(tmp_path), keep=True):
        assert one.stored is not None
        messages = np.concatenate([to_messages(rows) for rows in one.stored.events()])
        middle = len(messages) // 2
        remembered = Remembered(WIDE)
        remembered.world.process(messages[:middle])
        for start in range(middle, middle + 3000, 50):
            remembered.process(messages[start : start + 50])
            expected = allowed_ids(remembered.world, WIDE, LOWEST_TICK)
            np.testing.assert_array_equal(remembered.ids(), expected)
            assert remembered.is_current()
            assert expected.sum() > 1000
