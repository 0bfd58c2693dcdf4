"""What it costs to ask a book what it allows, and to realise one of it: a shallow book, a deep one.

Nothing here asserts a time. What a run computes is asserted, so that no wrong mask is fast.
"""

import numpy as np
import pytest

from mtsim.engine.messages import MESSAGE_DTYPE
from mtsim.engine.units import Side
from mtsim.model import masks
from mtsim.model.book_codes import LAWS, N_TYPES, n_levels
from tests.model.coded_books import WIDE, World, codes_of, masks_of, realised, tables_of

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
