"""Small tokenizers by hand, books of any kind, and what every message to a book would be told as.

For the tests of `masks` and `realise`, which hold the codes that they allow against that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numba import njit

from mtsim.engine.batch import Books
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.layout import MESSAGE_WORDS
from mtsim.engine.messages import MESSAGE_DTYPE, Kind, TimeInForce
from mtsim.model import masks
from mtsim.model.actions import ACTION_DTYPE, ActionKind
from mtsim.model.book_codes import (
    LAWS,
    N_SWEPT,
    N_TYPES,
    BookTables,
    add_level,
    cancel_level,
    n_levels,
    trade_level,
)
from mtsim.model.describe import describe, take_apart
from mtsim.model.past import Settings, new_past, rebase
from mtsim.model.realise import realise_all

FAR = 2**31 - 1
_LINE = {
    "add_distance": 0,
    "cancel_distance": 1,
    "add_lots": 2,
    "trade_lots": 2,
    "cancel_lots": 2,
    "gap": 3,
}


def tables_of(
    add: list[int],
    cancel: list[int],
    lots: list[int],
    gap: list[int],
    laws: dict[str, dict[int, int]] | None = None,
    share: float = 1.0,
) -> BookTables:
    """Tables whose bins end at these values, and a last one; the first reaches as far as can be.

    `laws` gives the weight of values; without it bins are hollow. Of all combinations that make
    sense a `share` are ids, the same ones every time.
    """
    upper = [np.array([*ends, FAR]) for ends in (add, cancel, lots, gap)]
    lowest = (-FAR, -FAR, 1, 0)
    lower = [np.append(low, ends[:-1] + 1) for low, ends in zip(lowest, upper, strict=True)]
    first, start, value, weight = [0], [0], [], []
    for law in LAWS:
        weights = (laws or {}).get(law, {})
        line = _LINE[law]
        for low, high in zip(lower[line], upper[line], strict=True):
            inside = sorted(at for at in weights if low <= at <= high)
            value += inside
            weight += np.cumsum([weights[at] for at in inside], dtype=np.int64).tolist()
            start.append(len(value))
        first.append(len(start) - 1)
    kept = _ids(len(upper[0]), len(upper[1]), len(upper[2]), len(upper[3]), share)
    return BookTables(
        *(bound for line in zip(lower, upper, strict=True) for bound in line),
        *(np.array(column, np.int64) for column in (first, start, value, weight)),
        *(np.append([-1, -1, -1], column) for column in kept.T),
    )


def _ids(n_add: int, n_cancel: int, n_lots: int, n_gap: int, share: float) -> np.ndarray:
    levels = np.arange(n_levels(n_add, n_cancel))
    kind_of = np.digitize(levels, [n_add, n_add + N_SWEPT])
    grid = np.indices((N_TYPES, len(levels), n_lots, n_gap)).reshape(4, -1).T
    grid = grid[grid[:, 0] // 2 == kind_of[grid[:, 1]]]
    return grid[np.random.default_rng(0).random(len(grid)) < share]


SMALL = tables_of(
    add=[-4, -2, -1, 0, 1, 3, 8],
    cancel=[0, 1, 2, 4, 9],
    lots=[1, 2, 4, 5, 9],
    gap=[0, 1000],
)


WIDE = tables_of(
    add=[-9, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 9, 13, 20, 40, 90, 300],
    cancel=[0, 1, 2, 4, 7, 12, 30, 100, 250],
    lots=[1, 2, 3, 5, 9, 10, 19, 20, 50, 99, 100],
    gap=[0, 1000, 10**6, 10**9],
)


@dataclass
class World:
    """One book with its past."""

    window: int | None = None
    books: Books = field(init=False)

    def __post_init__(self) -> None:
        self.books = Books(1, window=self.window)
        self.past = new_past(1)

    def send(self, **fields: int) -> np.ndarray:
        """Execute one message; its answer."""
        message = np.zeros(1, MESSAGE_DTYPE)
        for name, value in fields.items():
            message[name] = value
        return self.process(message)[0]

    def process(self, messages: np.ndarray) -> np.ndarray:
        """Execute some messages, and take note of what became of the touch; their answers."""
        results = self.books.process(messages).results
        _, a64, bases = self.books.memory()
        _rebase(a64, bases[0], self.past.floats[0], self.past.integers[0])
        return results

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What the entry points of masks begin with."""
        return (*self.books.memory(), self.past.integers)

    def told(self, messages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(action, `Told`) of each message, or of its first part, if it came next."""
        actions = np.zeros(len(messages), ACTION_DTYPE)
        told = np.zeros(len(messages), np.int64)
        a32, a64, bases, past_i = self.arrays()
        words = np.ascontiguousarray(messages).view(np.int64)
        _tell(a32, a64, bases[0], past_i[0], Settings().row(), words, actions, told)
        return actions, told


def _compile(sources: int):
    @njit(cache=True)
    def rebase_one(a64, o, past_f, past_i):
        _ = sources
        rebase(a64, o, past_f, past_i)

    @njit(cache=True)
    def tell(a32, a64, o, past_i, settings, words, actions, told):
        _ = sources
        message = np.empty(MESSAGE_WORDS, np.int64)
        rest = np.empty(MESSAGE_WORDS, np.int64)
        for n in range(told.size):
            message[:] = words[n * MESSAGE_WORDS : (n + 1) * MESSAGE_WORDS]
            take_apart(a32, a64, o, message, rest, False)
            told[n] = describe(a32, a64, o, past_i, settings, message, actions, n)

    return rebase_one, tell


_rebase, _tell = _compile(fingerprint(masks.SOURCES, Path(__file__)))


def codes_of(tables: BookTables, actions: np.ndarray) -> np.ndarray:
    """[n, 3]: the type, level and lots codes of actions, from the definitions of the fields."""
    n_add = len(tables.add_lower)
    kind = actions["kind"].astype(np.int64)
    level = np.select(
        [kind == ActionKind.ADD, kind == ActionKind.TRADE],
        [
            add_level(np.searchsorted(tables.add_upper, actions["distance_ticks"])),
            trade_level(n_add, actions["swept"].astype(np.int64)),
        ],
        cancel_level(
            n_add,
            np.searchsorted(tables.cancel_upper, actions["distance_ticks"]),
            actions["place"].astype(np.int64),
            actions["whole"].astype(np.int64),
        ),
    )
    lots = np.searchsorted(tables.lots_upper, actions["lots"])
    return np.column_stack([kind * 2 + actions["side"], level, lots])


def masks_of(world: World, tables: BookTables, lowest_tick: int = 1) -> np.ndarray:
    """What the masks by field allow together, as rows of type, level and lots, ascending.

    Fails where they lead to a dead end.
    """
    a32, a64, bases, past_i = world.arrays()
    types = np.ones((1, N_TYPES), np.bool_)
    masks.allow_types(a32, a64, bases, past_i, lowest_tick, types)
    kinds = np.flatnonzero(types[0])
    same = bases.repeat(len(kinds))
    n_level = n_levels(len(tables.add_lower), len(tables.cancel_lower))
    levels = np.ones((len(kinds), n_level), np.bool_)
    past = past_i.repeat(len(kinds), axis=0)
    masks.allow_levels(a32, a64, same, past, tables, lowest_tick, kinds, levels)
    assert levels.any(axis=1).all(), "an allowed type has no allowed level"
    row, level = np.nonzero(levels)
    lots = np.ones((len(row), len(tables.lots_lower)), np.bool_)
    masks.allow_lots(a32, a64, bases.repeat(len(row)), tables, kinds[row], level, lots)
    assert lots.any(axis=1).all(), "an allowed level has no allowed lots"
    at, code = np.nonzero(lots)
    return np.column_stack([kinds[row[at]], level[at], code])


def allowed_ids(world: World, tables: BookTables, lowest_tick: int = 1) -> np.ndarray:
    """What `allow_tokens` says of each id, bool [V]."""
    a32, a64, bases, past_i = world.arrays()
    out = np.ones((1, len(tables.token_type)), np.bool_)
    cells = np.ones(masks.n_cells(tables), np.bool_)
    masks.allow_tokens(
        a32, a64, bases, past_i, tables, masks.runs_of(tables), lowest_tick, cells, out
    )
    return out[0]


def every_code(tables: BookTables) -> np.ndarray:
    """All types, levels and lots that make sense together, as rows, ascending."""
    sizes = len(tables.add_lower), len(tables.cancel_lower), len(tables.lots_lower)
    return _ids(*sizes, 1, 1.0)[:, :3]


def realised(
    world: World,
    tables: BookTables,
    codes: np.ndarray,
    *,
    lowest_tick: int = 1,
    key: int = 7,
    worlds: np.ndarray | int = 0,
    indices: np.ndarray | int = 0,
    order_id: int = 10**9,
) -> tuple[np.ndarray, np.ndarray]:
    """(messages, found) of `realise_all` for rows of codes, all on this one book."""
    a32, a64, bases, past_i = world.arrays()
    n = len(codes)
    messages = np.zeros(n, MESSAGE_DTYPE)
    found = np.zeros(n, np.bool_)
    realise_all(
        a32,
        a64,
        bases.repeat(n),
        past_i.repeat(n, axis=0),
        tables,
        lowest_tick,
        np.ascontiguousarray(codes),
        np.uint64(key),
        np.broadcast_to(np.asarray(worlds, np.uint64), n).copy(),
        np.broadcast_to(np.asarray(indices, np.uint64), n).copy(),
        np.full(n, order_id),
        messages.view(np.int64),
        found,
    )
    return messages, found


def every_message(
    ids: np.ndarray, ticks: range, most_lots: int, new_id: int, owner: int = 0
) -> np.ndarray:
    """All messages there are with these ids, prices and lots up to `most_lots`, of one owner."""
    lots = np.arange(1, most_lots + 1)
    orders = _grid(
        kind=[Kind.LIMIT],
        side=[0, 1],
        tif=list(TimeInForce),
        price_tick=ticks,
        lots=lots,
        order_id=[new_id],
    )
    markets = _grid(
        kind=[Kind.MARKET],
        side=[0, 1],
        tif=[TimeInForce.IOC, TimeInForce.FOK],
        lots=lots,
        order_id=[new_id],
    )
    cancels = _grid(kind=[Kind.CANCEL], order_id=ids)
    reductions = _grid(kind=[Kind.REDUCE], lots=lots, order_id=ids)
    changes = _grid(
        kind=[Kind.REPLACE], price_tick=ticks, lots=lots[: most_lots // 2], order_id=ids
    )
    messages = np.concatenate([orders, markets, cancels, reductions, changes])
    messages["owner"] = owner
    return messages


def _grid(**values: Iterable) -> np.ndarray:
    columns = np.meshgrid(*(np.asarray(list(column)) for column in values.values()), indexing="ij")
    messages = np.zeros(columns[0].size, MESSAGE_DTYPE)
    for name, column in zip(values, columns, strict=True):
        messages[name] = column.reshape(-1)
    return messages


orders = st.fixed_dictionaries(
    {
        "side": st.integers(0, 1),
        "price_tick": st.integers(8, 15),
        "lots": st.integers(1, 8),
        "owner": st.sampled_from([0, 0, 0, 1]),
        "hidden": st.sampled_from([0, 0, 0, 0, 1, 5]),
    }
)


@st.composite
def busy_worlds(draw: st.DrawFn, order: st.SearchStrategy = orders, most: int = 16) -> World:
    """Worlds after some orders, of which a few traded and a few were cancelled since."""
    world = World(draw(st.sampled_from([None, 64])))
    sent = draw(st.lists(order, max_size=most))
    for order_id, fields in enumerate(sent, 1):
        hidden = fields.pop("hidden")
        fields["display_lots"] = fields["lots"] if hidden else 0
        fields["lots"] += hidden
        world.send(kind=Kind.LIMIT, order_id=order_id, **fields)
    for order_id in draw(st.sets(st.integers(1, max(len(sent), 1)), max_size=len(sent))):
        world.send(kind=Kind.CANCEL, order_id=order_id)
    return world


@st.composite
def small_tables(draw: st.DrawFn) -> BookTables:
    """Any small bins, with any laws inside: exact, hollow, and beside what a book has room for."""
    ends = [
        sorted(draw(st.sets(st.integers(low, high), min_size=1, max_size=6)))
        for low, high in ((-6, 14), (0, 8), (1, 20), (0, 50))
    ]
    weights = st.dictionaries(st.integers(-8, 30), st.integers(1, 9), max_size=10)
    laws = {law: draw(weights) for law in LAWS}
    return tables_of(*ends, laws=laws, share=draw(st.sampled_from([0.3, 1.0])))
