"""Messages for the engine's tests: written by hand, drawn at random, and printed back as Python.

Knows the vocabulary of messages and nothing of the rules, so legal and illegal ones come out of the
same hands. A `RandomStream` never looks at a book: what it draws depends on its seed alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mtsim.engine.messages import (
    MAX_TRANCHES,
    MESSAGE_DTYPE,
    Flag,
    Kind,
    SelfTrade,
    TimeInForce,
)
from mtsim.engine.units import MAX_LOTS, MAX_TICK, MIN_TICK, Side

BUY, SELL = Side.BUY, Side.SELL

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

Row = tuple[int, ...]


def message(
    kind: int,
    *,
    side: int = 0,
    tif: int = 0,
    stp: int = 0,
    flags: int = 0,
    owner: int = 1,
    price_tick: int = 0,
    lots: int = 0,
    display_lots: int = 0,
    order_id: int = 0,
) -> Row:
    """One MESSAGE_DTYPE row; any value that the fields can hold, whether it makes sense or not."""
    return (kind, side, tif, stp, flags, owner, price_tick, lots, display_lots, order_id)


def limit(side: int, price_tick: int, lots: int, order_id: int, **more: int) -> Row:
    return message(
        Kind.LIMIT, side=side, price_tick=price_tick, lots=lots, order_id=order_id, **more
    )


def market(side: int, lots: int, order_id: int, tif: int = TimeInForce.IOC, **more: int) -> Row:
    return message(Kind.MARKET, side=side, lots=lots, order_id=order_id, tif=tif, **more)


def cancel(order_id: int, **more: int) -> Row:
    return message(Kind.CANCEL, order_id=order_id, **more)


def reduce(order_id: int, lots: int, **more: int) -> Row:
    return message(Kind.REDUCE, order_id=order_id, lots=lots, **more)


def replace(order_id: int, price_tick: int, lots: int, **more: int) -> Row:
    return message(Kind.REPLACE, order_id=order_id, price_tick=price_tick, lots=lots, **more)


def auction() -> Row:
    return message(Kind.AUCTION)


def uncross(reference_tick: int) -> Row:
    return message(Kind.UNCROSS, price_tick=reference_tick)


def batch(*rows: Row) -> np.ndarray:
    """The rows as one array of MESSAGE_DTYPE."""
    return np.array(list(rows), MESSAGE_DTYPE)


def as_python(messages: np.ndarray) -> str:
    """The messages as source text: paste it into a test and they are the same array again."""
    return "\n".join(["batch(", *(f"    {_call(row)}," for row in messages.tolist()), ")"])


def _call(row: Row) -> str:
    default = message(row[0])
    named = zip(MESSAGE_DTYPE.names or (), row, default, strict=True)
    changed = [f"{name}={value}" for name, value, usual in named if value != usual]
    kind = f"Kind.{Kind(row[0]).name}" if row[0] in set(Kind) else str(row[0])
    return f"message({', '.join([kind, *changed])})"


@dataclass(frozen=True)
class Mix:
    """What one stretch of a random stream is made of. Shares are probabilities a message."""

    kind_weights: tuple[float, ...]  # LIMIT, MARKET, CANCEL, REDUCE, REPLACE
    tif_weights: tuple[float, ...]  # GTC, IOC, FOK of a LIMIT
    mean_depth_ticks: float  # of an order behind the mid
    aggressive_ticks: int  # how far a limit order may reach beyond the mid
    step_ticks: float  # standard deviation of the mid's move, a message
    jump_share: float  # the mid jumps by thousands of ticks
    far_share: float  # an order thousands of ticks, or all the way, behind the mid
    mean_lots: float
    large_share: float  # an order of hundreds to thousands of lots
    iceberg_share: float
    post_only_share: float
    self_trade_share: float  # `stp` other than ALLOW
    lose_place_share: float
    auction_share: float  # an auction begins
    auction_messages: int  # mean length of one
    illegal_share: float  # one field gets a value from the edges of its type


def draw_mix(rng: np.random.Generator) -> Mix:
    """A mix at random: between quiet and wild in every respect."""
    return Mix(
        kind_weights=tuple(rng.dirichlet([10.0, 0.7, 2.5, 1.0, 2.5])),
        tif_weights=tuple(rng.dirichlet([6.0, 1.0, 1.0])),
        mean_depth_ticks=float(rng.choice([1.5, 4.0, 15.0, 120.0])),
        aggressive_ticks=int(rng.integers(0, 6)),
        step_ticks=float(rng.choice([0.0, 0.1, 0.5, 4.0])),
        jump_share=float(rng.choice([0.0, 0.0002, 0.002])),
        far_share=float(rng.choice([0.0, 0.01, 0.06])),
        mean_lots=float(rng.choice([2.0, 8.0, 60.0])),
        large_share=float(rng.choice([0.0, 0.005, 0.03])),
        iceberg_share=float(rng.choice([0.0, 0.15, 0.5])),
        post_only_share=float(rng.choice([0.0, 0.1])),
        self_trade_share=float(rng.choice([0.0, 0.5, 1.0])),
        lose_place_share=float(rng.choice([0.0, 0.3])),
        auction_share=float(rng.choice([0.0, 0.001, 0.01])),
        auction_messages=int(rng.choice([3, 30, 300])),
        illegal_share=float(rng.choice([0.0, 0.03, 0.3])),
    )


class RandomStream:
    """Endless random messages of one seed. Ids are few, so duplicate and unknown ones are frequent.

    The ids and who owns them last as long as the stream; the mix is drawn anew for each block.
    """

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)
        n_ids = int(self._rng.choice([8, 40, 200, 1_000, 5_000]))
        self._ids = _draw_ids(self._rng, n_ids)
        self._n_owners = int(self._rng.choice([1, 2, 3, 10]))
        self._owner_of = self._rng.integers(0, self._n_owners, n_ids).astype(np.int32)
        self._mid_tick = 0
        self._n_new = 0

    def blocks(self, n_messages: int, block_messages: int) -> Iterator[np.ndarray]:
        """`n_messages` messages in blocks. Every block ends outside an auction."""
        for begin in range(0, n_messages, block_messages):
            yield self.block(min(block_messages, n_messages - begin))

    def block(self, n_messages: int) -> np.ndarray:
        """The next messages, of one mix."""
        rng, mix = self._rng, draw_mix(self._rng)
        n = n_messages
        messages = np.zeros(n, MESSAGE_DTYPE)
        side = rng.integers(0, 2, n)
        in_auction, begins, ends = _auctions(rng, mix, n)

        kind = _draw(rng, mix.kind_weights, n)
        tif = np.where(kind == Kind.MARKET, rng.integers(1, 3, n), _draw(rng, mix.tif_weights, n))
        tif[kind > Kind.MARKET] = TimeInForce.GTC
        # An auction takes plain orders only: a few others are left in it to be refused.
        tamed = in_auction & (rng.random(n) < 0.9)
        kind[tamed & (kind == Kind.MARKET)] = Kind.LIMIT
        tif[tamed] = TimeInForce.GTC

        which = self._which_ids(kind <= Kind.MARKET)

        post_only = (kind == Kind.LIMIT) | (kind == Kind.REPLACE)
        post_only &= (tif == TimeInForce.GTC) & ~tamed & (rng.random(n) < mix.post_only_share)
        loses_place = (kind == Kind.REPLACE) & (rng.random(n) < mix.lose_place_share)

        self_trade = rng.random(n) < mix.self_trade_share
        lots = np.minimum(rng.geometric(1 / mix.mean_lots, n), 100_000)
        large = rng.random(n) < mix.large_share
        lots[large] = rng.integers(100, 6_000, int(large.sum()))
        icebergs = (rng.random(n) < mix.iceberg_share) & (kind == Kind.LIMIT)
        icebergs &= tif == TimeInForce.GTC
        slices = rng.integers(1, np.where(rng.random(n) < 0.1, MAX_TRANCHES, 8), n)

        messages["kind"] = kind
        messages["side"] = side
        messages["tif"] = tif
        messages["stp"] = np.where(self_trade, rng.integers(1, len(SelfTrade), n), SelfTrade.ALLOW)
        messages["flags"] = Flag.POST_ONLY * post_only + Flag.LOSE_PLACE * loses_place
        stranger = rng.random(n) < 0.03
        anyone = rng.integers(0, self._n_owners + 1, n)
        messages["owner"] = np.where(stranger, anyone, self._owner_of[which])
        messages["price_tick"] = self._prices(mix, side, in_auction, n)
        messages["lots"] = lots
        messages["display_lots"] = np.where(icebergs, -(-lots // slices), 0)
        messages["order_id"] = self._ids[which]
        messages["kind"][begins] = Kind.AUCTION
        messages["kind"][ends] = Kind.UNCROSS
        _spoil(rng, messages, rng.random(n) < mix.illegal_share)
        messages[-1:] = batch(uncross(self._mid_tick))
        return messages

    def _which_ids(self, is_new: np.ndarray) -> np.ndarray:
        """Indices of ids: new orders mostly take the next in turn, others name a recent one."""
        rng, n_ids, n = self._rng, len(self._ids), len(is_new)
        turn = self._n_new + np.cumsum(is_new)
        self._n_new = int(turn[-1])
        recent = turn - rng.integers(0, 1 + n_ids // 2, n)
        which = np.where(is_new, turn, recent) % n_ids
        return np.where(rng.random(n) < 0.2, rng.integers(0, n_ids, n), which)

    def _prices(self, mix: Mix, side: np.ndarray, in_auction: np.ndarray, n: int) -> np.ndarray:
        """Limits around a mid that roams, and some thousands of ticks away from it."""
        rng = self._rng
        steps = np.rint(rng.normal(0.0, mix.step_ticks, n)).astype(np.int64)
        jumps = rng.random(n) < mix.jump_share
        steps[jumps] = rng.integers(-20_000, 20_001, int(jumps.sum()))
        mids = self._mid_tick + np.cumsum(steps)
        # A mid that has come near the edge of all prices starts anew; that takes very many jumps.
        self._mid_tick = int(mids[-1]) if abs(int(mids[-1])) < MAX_TICK // 2 else 0

        behind = rng.geometric(1 / mix.mean_depth_ticks, n) - rng.integers(
            0, mix.aggressive_ticks + 1, n
        )
        behind[in_auction] -= rng.integers(0, 6, int(in_auction.sum()))
        far = rng.random(n) < mix.far_share
        distances = 2 ** rng.uniform(8, 30, n)
        behind[far] = distances[far].astype(np.int64)
        # A rare order is as far beyond the mid: it sweeps a side, or waits there for the other one.
        behind[far & (rng.random(n) < 0.03)] *= -1
        prices = np.where(side == BUY, mids - behind, mids + behind)
        return np.clip(prices, MIN_TICK, MAX_TICK)


def _draw(rng: np.random.Generator, weights: tuple[float, ...], n: int) -> np.ndarray:
    return np.searchsorted(np.cumsum(weights)[:-1], rng.random(n), side="right")


def _draw_ids(rng: np.random.Generator, n_ids: int) -> np.ndarray:
    """Distinct ids: dense, far apart, or alike in their low bits, as a hash table dreads them."""
    scheme = rng.integers(0, 3)
    dense = np.arange(1, n_ids + 1, dtype=np.int64)
    if scheme == 0:
        return dense
    if scheme == 1:
        return dense << np.int64(rng.integers(8, 48))
    return np.unique(rng.integers(1, INT64_MAX, 2 * n_ids, dtype=np.int64))[:n_ids]


def _auctions(
    rng: np.random.Generator, mix: Mix, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where auctions are on, and the positions at which they begin and end."""
    in_auction = np.zeros(n, bool)
    begins, ends = [], []
    position = 0
    while mix.auction_share > 0:
        begin = position + int(rng.geometric(mix.auction_share))
        end = begin + int(rng.geometric(1 / mix.auction_messages))
        if end >= n:
            break
        in_auction[begin:end] = True
        begins.append(begin)
        ends.append(end)
        position = end
    return in_auction, np.array(begins, np.int64), np.array(ends, np.int64)


# The edges of every field: values that are just legal, just not, or as far off as the type goes.
_EDGES = {
    "kind": [*Kind, Kind.UNCROSS, Kind.UNCROSS, 7, 8, 255],
    "side": [0, 1, 2, 255],
    "tif": [0, 1, 2, 3, 255],
    "stp": [0, 4, 5, 255],
    "flags": [0, 1, 2, 3, 4, 5, 8, 2**31, 2**32 - 1],
    "owner": [0, -1, INT32_MIN, INT32_MAX],
    "price_tick": [
        MIN_TICK,
        MIN_TICK - 1,
        MAX_TICK,
        MAX_TICK + 1,
        INT32_MIN,
        INT32_MIN + 1,
        INT32_MAX,
    ],
    "lots": [0, 1, -1, INT32_MIN, INT32_MAX, MAX_LOTS, MAX_LOTS + 1],
    "display_lots": [-1, 1, 2, 7, INT32_MIN, INT32_MAX, MAX_LOTS],
    "order_id": [0, 1, -1, INT64_MIN, INT64_MAX, 2**32, 2**32 + 1, 2**31, -(2**32)],
}


def _spoil(rng: np.random.Generator, messages: np.ndarray, chosen: np.ndarray) -> None:
    """Give one field of each chosen message a value from the edges of its type."""
    fields = rng.integers(0, len(_EDGES), len(messages))
    for i, (name, edges) in enumerate(_EDGES.items()):
        rows = np.flatnonzero(chosen & (fields == i))
        values = np.array(edges, dtype=MESSAGE_DTYPE[name])
        messages[name][rows] = rng.choice(values, len(rows))


def concatenated(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """The blocks as one array, empty where there are none."""
    return np.concatenate([np.zeros(0, MESSAGE_DTYPE), *blocks])
