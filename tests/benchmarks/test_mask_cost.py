"""What it costs to ask a book what it allows, and to realise one of it: a shallow book, a deep one.

With a memo the cost is that of a world's step, in which a message changes the book: without one it
does not depend on that.

Nothing here asserts a time. What a run computes is asserted, so that no wrong mask is fast.
"""

from pathlib import Path

import numpy as np
import pytest
from numba import njit

from mtsim.engine import drive
from mtsim.engine.batch import Books
from mtsim.engine.drive import DONE, Drive, execute_one
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.messages import MESSAGE_DTYPE, Kind
from mtsim.engine.units import Side
from mtsim.model import masks, recalled_masks
from mtsim.model.book_codes import LAWS, N_TYPES, n_levels
from mtsim.model.mask_layout import SEEN
from mtsim.model.mask_memo import MaskMemo, expect, learn
from mtsim.model.recalled_masks import (
    recall_tokens,
    recalled_levels,
    recalled_lots,
    recalled_types,
)
from tests.model.coded_books import (
    WIDE,
    World,
    allowed_ids,
    codes_of,
    masks_of,
    realised,
    tables_of,
)

pytestmark = pytest.mark.bench

WORLDS = 256
DEPTHS = {"shallow": (500, 150), "deep": (9_000, 800)}
"""Orders, and the scale in ticks of their distances from the touch."""

TABLES = tables_of(
    *(upper[:-1].tolist() for upper in (WIDE.add_upper, WIDE.cancel_upper, WIDE.lots_upper)),
    gap=[0, 1000, 10**6, 10**9],
    laws={law: dict.fromkeys([*range(1, 60), 100, 200, 300], 1) for law in LAWS},
    share=0.65,
)


@pytest.fixture(scope="module", params=DEPTHS)
def world(request):
    n_orders, scale = DEPTHS[request.param]
    draw = np.random.default_rng(1)
    messages = np.zeros(n_orders, MESSAGE_DTYPE)
    messages["side"] = draw.integers(2, size=n_orders)
    distance = draw.exponential(scale, n_orders).astype(int)
    is_bid = messages["side"] == Side.BUY
    messages["price_tick"] = np.where(is_bid, 20_000 - distance, 20_002 + distance)
    messages["lots"] = draw.choice([1, 1, 1, 2, 5, 10, 100], n_orders)
    messages["order_id"] = np.arange(1, n_orders + 1)
    world = World()
    assert not world.process(messages)["reject"].any()
    return world


def repeated(world: World, n: int) -> tuple[np.ndarray, ...]:
    a32, a64, bases, past_i = world.arrays()
    return a32, a64, bases.repeat(n), past_i.repeat(n, axis=0)


@pytest.mark.parametrize("type_code", range(N_TYPES))
def test_masks_by_field(benchmark, world, type_code):
    """Types, the levels of one type, and the lots of one level: what one action asks for."""
    a32, a64, bases, past_i = repeated(world, WORLDS)
    codes = masks_of(world, TABLES)
    codes = codes[codes[:, 0] == type_code]
    picked = codes[np.random.default_rng(2).integers(len(codes), size=WORLDS)]
    levels_of = np.ascontiguousarray(picked[:, 1])
    types_of = np.full(WORLDS, type_code)
    types = np.zeros((WORLDS, N_TYPES), np.bool_)
    n_level = n_levels(len(TABLES.add_lower), len(TABLES.cancel_lower))
    levels = np.zeros((WORLDS, n_level), np.bool_)
    lots = np.zeros((WORLDS, len(TABLES.lots_lower)), np.bool_)

    def ask():
        masks.allow_types(a32, a64, bases, past_i, 1, types)
        masks.allow_levels(a32, a64, bases, past_i, TABLES, 1, types_of, levels)
        masks.allow_lots(a32, a64, bases, TABLES, types_of, levels_of, lots)

    benchmark.pedantic(ask, rounds=20, warmup_rounds=1)
    benchmark.extra_info["worlds"] = WORLDS
    row = np.arange(WORLDS)
    assert types.all()
    assert levels[row, levels_of].all()
    assert lots[row, picked[:, 2]].all()


def test_masks_by_id(benchmark, world):
    a32, a64, bases, past_i = repeated(world, WORLDS)
    runs = masks.runs_of(TABLES)
    cells = np.zeros(masks.n_cells(TABLES), np.bool_)
    out = np.zeros((WORLDS, len(TABLES.token_type)), np.bool_)

    def ask():
        masks.allow_tokens(a32, a64, bases, past_i, TABLES, runs, 1, cells, out)

    benchmark.pedantic(ask, rounds=20, warmup_rounds=1)
    benchmark.extra_info.update(worlds=WORLDS, ids=len(TABLES.token_type), runs=len(runs.end))
    allowed = set(map(tuple, masks_of(world, TABLES).tolist()))
    codes = np.column_stack([TABLES.token_type, TABLES.token_level, TABLES.token_lots])
    assert out[-1].tolist() == [code in allowed for code in map(tuple, codes.tolist())]


def steps(world: World, n: int) -> np.ndarray:
    """Messages of the kinds and places that a market has most: half of them cancel an order added
    before, a few trade, and so move the touch."""
    draw = np.random.default_rng(4)
    tick = world.books.touch()[0]
    messages = np.zeros(n, MESSAGE_DTYPE)
    messages["side"] = draw.integers(2, size=n)
    behind = draw.geometric(0.2, n) - np.where(draw.random(n) < 0.05, 4, 1)
    own = tick[messages["side"]]
    messages["price_tick"] = own + np.where(messages["side"] == Side.BUY, -behind, behind)
    messages["lots"] = draw.choice([1, 1, 1, 2, 5, 10], n)
    messages["order_id"] = 10**6 + np.arange(n)
    messages["kind"][1::2] = Kind.CANCEL
    messages["order_id"][1::2] = messages["order_id"][::2]
    return messages


def _compile(sources: int):
    @njit(cache=True, error_model="numpy")
    def live(driven, at, world, words, past_i, tables, plan, known, tokens, picked, out, asked):
        """Execute `words` in every world, from message `at` and `world` on, and ask for masks.

        Where a world needs room: (message, world, what it needs).
        """
        _ = sources
        a32, a64, bases, _message, result, fills, span, control = driven
        types, levels, lots = out
        while at < words.shape[0]:
            for n in range(world, bases.size):
                o, memory = bases[n], known[n]
                if asked != NOTHING:
                    expect(a32, a64, o, plan, memory, words[at])
                status = execute_one(a32, a64, o, words[at], result, fills, span, control)
                if status != DONE:
                    return at, n, status
                if asked != NOTHING:
                    learn(a32, a64, o, plan, memory)
                if asked == FIELDS:
                    kind, level, _ = picked[(at + n) % len(picked)]
                    recalled_types(a32, a64, o, past_i[n], plan, memory, 1, types)
                    recalled_levels(a32, a64, o, past_i[n], tables, plan, memory, 1, kind, levels)
                    recalled_lots(a32, a64, o, tables, plan, memory, kind, level, lots)
                if asked == IDS:
                    recall_tokens(a32, a64, o, past_i[n], plan, memory, tokens[n], 1)
            at += 1
            world = 0
        return at, 0, DONE

    return live


NOTHING, UPKEEP, FIELDS, IDS = range(4)
live = _compile(fingerprint(drive.SOURCES, recalled_masks.SOURCES, Path(__file__)))


@pytest.mark.parametrize("worlds", [1, 64])
@pytest.mark.parametrize("asked", [NOTHING, UPKEEP, FIELDS, IDS])
def test_masks_with_a_memo(benchmark, world, asked, worlds):
    """Steps of all worlds: messages, the upkeep of the memos, and the masks by field or by id.

    NOTHING is the messages alone, to be subtracted.
    """
    messages = steps(world, 6400 // worlds)
    words = messages.view(np.int64).reshape(len(messages), -1)
    picked = masks_of(world, TABLES)
    picked = picked[np.random.default_rng(2).permutation(len(picked))]
    n_level = n_levels(len(TABLES.add_lower), len(TABLES.cancel_lower))
    sizes = N_TYPES, n_level, len(TABLES.lots_lower)
    out = tuple(np.zeros(size, np.bool_) for size in sizes)
    memo = MaskMemo(TABLES, worlds)
    books = Books(worlds)
    driven = Drive(books)
    past_i = world.past.integers.repeat(worlds, axis=0)

    def run(words):
        at, first = 0, 0
        while at < len(words):
            known = memo.plan, memo.words, memo.tokens
            arrays = driven.arrays()
            at, first, status = live(
                arrays, at, first, words, past_i, TABLES, *known, picked, out, asked
            )
            if status != DONE:
                driven.make_room(first, status)

    def begin():
        for n in range(worlds):
            books.restore(n, world.books.snapshot(0))
        memo.forget()
        a32, a64, bases = books.memory()
        recalled_masks.recall_all_tokens(
            a32, a64, bases, past_i, memo.plan, memo.words, memo.tokens, 1
        )

    benchmark.pedantic(run, args=(words,), setup=begin, rounds=7, warmup_rounds=1)
    benchmark.extra_info["steps"] = worlds * len(messages)
    if asked != NOTHING:
        np.testing.assert_array_equal(memo.words[:, SEEN], books.n_messages())
    if asked == IDS:
        after = World()
        after.books.restore(0, books.snapshot(worlds - 1))
        after.past.integers[:] = past_i[:1]
        np.testing.assert_array_equal(memo.tokens[-1], allowed_ids(after, TABLES))


def test_realise(benchmark, world):
    codes = masks_of(world, TABLES)
    picked = codes[np.random.default_rng(3).integers(len(codes), size=20_000)]
    indices = np.arange(len(picked))

    def find():
        return realised(world, TABLES, picked, indices=indices)

    messages, found = benchmark.pedantic(find, rounds=10, warmup_rounds=1)
    benchmark.extra_info["messages"] = len(picked)
    assert found.all()
    actions, _ = world.told(messages)
    np.testing.assert_array_equal(codes_of(TABLES, actions), picked)
