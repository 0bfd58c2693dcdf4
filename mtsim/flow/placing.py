"""Six kinds of order events of each side: told from what a book did, and made into messages.

    MARKET         takes from the other side
    ADD_INSIDE     rests better than the best order of its side
    ADD_TOUCH      joins it
    ADD_DEEP       rests behind it
    CANCEL_TOUCH   takes an order away from the best price
    CANCEL_DEEP    takes one away from behind it

The twelve types are those of Jain, Firoozye, Kochems and Treleaven (2024, "Limit order book
dynamics and order size modelling using compound Hawkes process"). A *type* is 2 x kind + side: of a
MARKET the taker's side. Knows places in a book and nothing of when.

The tables of `Placing` are words of a flow's `params_i`, from TABLES on: what is drawn is how many
lots a new order has, how far from the best price it rests or is taken from, and which order of its
level leaves, each as likely. Where a side is empty, its best price is the last one there was, or
just beyond the other side's.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from mtsim.engine.ladder import U, cold, hot, level_of, next_level
from mtsim.engine.layout import BEST, EMPTY_KEY, ID, NEXT, ORDER_WORDS, ORDERS, OWNER, PHASE
from mtsim.engine.messages import Kind, Phase, TimeInForce
from mtsim.engine.units import MAX_LOTS, MAX_TICK
from mtsim.errors import UsageError
from mtsim.flow.base import BACKGROUND, FIRST_FLOW_ID, write_message
from mtsim.flow.sizes import Sizes, draw_lots


class OrderKind(IntEnum):
    MARKET = 0
    ADD_INSIDE = 1
    ADD_TOUCH = 2
    ADD_DEEP = 3
    CANCEL_TOUCH = 4
    CANCEL_DEEP = 5


N_KINDS = len(OrderKind)
N_TYPES = 2 * N_KINDS
N_ENTERING = 4
"""The first so many kinds are of orders that enter, and have a size."""

MARKET, INSIDE, TOUCH, DEEP, CANCEL_TOUCH, CANCEL_DEEP = (kind.value for kind in OrderKind)
NOTHING = -1
_LIMIT, _MARKET_ORDER, _CANCEL, _REDUCE, _REPLACE = (
    kind.value for kind in (Kind.LIMIT, Kind.MARKET, Kind.CANCEL, Kind.REDUCE, Kind.REPLACE)
)
_GTC, _IOC = TimeInForce.GTC.value, TimeInForce.IOC.value
_AUCTION = Phase.AUCTION.value

# Where the tables begin in `params_i`: of sizes, one for each entering kind; of distances.
SIZE_TABLES = 0
INSIDE_TABLE, ADD_TABLE, CANCEL_TABLE = range(N_ENTERING, N_ENTERING + 3)
# How many of 2^32 takers take what they meet.
WHOLE = N_ENTERING + 3
TABLE_WORDS = N_ENTERING + 4

# Levels that are asked for an order of the background before a cancel finds nothing to do.
_MOST_LEVELS = 8


@dataclass(frozen=True, eq=False)
class Placing:
    """The laws of what is drawn. Distances are ticks from the best price of the own side, from 1
    on: towards the market for `inside`, where those are drawn that the spread has room for.

    `whole` is the share of takers who look first, and take just what the best price shows: most
    real trades that move a price do (Farmer et al. 2004). The others' lots are of `sizes`.
    """

    sizes: tuple[Sizes, Sizes, Sizes, Sizes]
    inside: Sizes
    add_deep: Sizes
    cancel_deep: Sizes
    whole: float = 0.0

    def __post_init__(self) -> None:
        if len(self.sizes) != N_ENTERING:
            raise UsageError(
                f"Placing: sizes of the {N_ENTERING} kinds that enter are needed, got "
                f"{len(self.sizes)}"
            )
        if not 0 <= self.whole <= 1:
            raise UsageError(f"Placing: whole is a share from 0 to 1, got {self.whole}")

    def words(self, first: int) -> np.ndarray:
        """int64 words: where each table is in an array in which these begin at `first`, and the
        tables."""
        laws = (*self.sizes, self.inside, self.add_deep, self.cancel_deep)
        tables = [law.words() for law in laws]
        starts = first + TABLE_WORDS + np.cumsum([0, *(len(table) for table in tables[:-1])])
        # The search in a cut-off law needs no guide: it begins behind it.
        starts[INSIDE_TABLE] += tables[INSIDE_TABLE][0]
        return np.concatenate((starts, [round(self.whole * 2**32)], *tables))

    def as_json(self) -> dict[str, Any]:
        return {
            "sizes": {
                kind.name.lower(): sizes_as_json(law)
                for kind, law in zip(list(OrderKind)[:N_ENTERING], self.sizes, strict=True)
            },
            "inside_ticks": sizes_as_json(self.inside),
            "add_deep_ticks": sizes_as_json(self.add_deep),
            "cancel_deep_ticks": sizes_as_json(self.cancel_deep),
            "whole": self.whole,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Placing":
        market, inside, touch, deep = (
            sizes_from_json(value["sizes"][kind.name.lower()])
            for kind in list(OrderKind)[:N_ENTERING]
        )
        return cls(
            (market, inside, touch, deep),
            inside=sizes_from_json(value["inside_ticks"]),
            add_deep=sizes_from_json(value["add_deep_ticks"]),
            cancel_deep=sizes_from_json(value["cancel_deep_ticks"]),
            whole=float(value["whole"]),
        )


def sizes_as_json(sizes: Sizes) -> dict[str, list[int]]:
    """Values and their weights, which add up to 2^32."""
    weights = np.diff(sizes.upper, prepend=0)
    return {"values": sizes.lots.tolist(), "weights": weights.tolist()}


def sizes_from_json(value: dict[str, list[int]]) -> Sizes:
    return Sizes.empirical(np.array(value["values"]), np.array(value["weights"]))


# --- telling --------------------------------------------------------------------------------------


@hot
def told_kind(message, result, best_key):
    """The kind that an executed message was, given the best key of its side before: NOTHING for
    what neither traded, rested nor left.

    A message that trades and rests is a MARKET and then what `rested_kind` says. A replacement
    counts as the new order it makes.
    """
    kind = message[U(0)] & 255
    if kind in (_CANCEL, _REDUCE):
        return CANCEL_TOUCH if result_key(result) >= best_key else CANCEL_DEEP
    if result[U(1)] > 0:
        return MARKET
    return rested_kind(message, result, best_key)


@hot
def rested_kind(message, result, best_key):
    """The kind of the part of a new order that rests, NOTHING where none does."""
    kind = message[U(0)] & 255
    if kind not in (_LIMIT, _REPLACE) or result[U(2)] >> 32 <= 0:
        return NOTHING
    key = result_key(result)
    if key > best_key:
        return INSIDE
    return TOUCH if key == best_key else DEEP


@hot
def result_side(result):
    return (result[U(5)] >> 40) & 255


@hot
def result_key(result):
    tick = np.int64(np.int32(result[U(4)]))
    return tick if result_side(result) == 0 else -tick


@hot
def was_refused(result):
    return (result[U(5)] >> 32) & 255 != 0


# --- making ---------------------------------------------------------------------------------------


@hot
def own_and_opposite(a64, o, side, last_keys, state_i):
    """The best keys of a side and its opposite; of an empty side, where it would last have been.

    `state_i` holds the last key of each side from word `last_keys` on. The sum is below 0.
    """
    own = a64[U(o + BEST + side)]
    opposite = a64[U(o + BEST + 1 - side)]
    if own <= EMPTY_KEY + side:
        own = state_i[U(last_keys + side)]
        other = opposite if opposite > EMPTY_KEY + 1 - side else state_i[U(last_keys + 1 - side)]
        own = min(own, -other - 1)
    if opposite <= EMPTY_KEY + 1 - side:
        opposite = min(state_i[U(last_keys + 1 - side)], -own - 1)
    return own, opposite


@cold
def place(a32, a64, o, params_i, tables, state_i, last_keys, kind, side, index, words, message):
    """Write the message of an event of this kind: False where there is nothing to do.

    `words` are three times 32 random bits: for the size, the distance, and the order that leaves.
    """
    size_bits, distance_bits, order_bits = words
    order_id = FIRST_FLOW_ID + index
    if kind >= CANCEL_TOUCH:
        order_id = order_to_cancel(
            a32, a64, o, params_i, tables, kind, side, distance_bits, order_bits
        )
        if order_id == 0:
            return False
        write_message(message, _CANCEL, 0, _GTC, BACKGROUND, 0, 0, order_id)
        return True
    lots = draw_lots(params_i, params_i[U(tables + SIZE_TABLES + kind)], size_bits)
    if kind == MARKET:
        is_empty = a64[U(o + BEST + 1 - side)] <= EMPTY_KEY + 1 - side
        if is_empty or a64[U(o + PHASE)] == _AUCTION:
            return False
        if distance_bits < params_i[U(tables + WHOLE)]:
            level = level_of(a64, o, 1 - side, a64[U(o + BEST + 1 - side)])
            lots = min(a64[U(level + 1)], np.int64(MAX_LOTS))
        write_message(message, _MARKET_ORDER, side, _IOC, BACKGROUND, 0, lots, order_id)
        return True
    key, opposite = own_and_opposite(a64, o, side, last_keys, state_i)
    if kind == INSIDE:
        room = -opposite - 1 - key
        if room < 1:
            return False
        key += draw_within(params_i, params_i[U(tables + INSIDE_TABLE)], distance_bits, room)
    elif kind == DEEP:
        key -= draw_lots(params_i, params_i[U(tables + ADD_TABLE)], distance_bits)
    # In an auction the sides may cross: what would take is put just before the other side.
    key = min(max(min(key, -opposite - 1), -MAX_TICK), MAX_TICK)
    tick = key if side == 0 else -key
    write_message(message, _LIMIT, side, _GTC, BACKGROUND, tick, lots, order_id)
    return True


@hot
def draw_within(table, first, bits, most):
    """A draw of the law in the table whose pairs begin at `first`, given that it is at most `most`;
    `most` where the law has nothing there."""
    end = first
    below = np.int64(0)
    while table[U(end + 1)] <= most:
        below = table[U(end)]
        if below == 1 << 32:
            break
        end += 2
    if below == 0:
        return most
    bits = np.int64((U(bits) * U(below)) >> U(32))
    entry = first
    while table[U(entry)] <= bits:
        entry += 2
    return table[U(entry + 1)]


@hot
def order_to_cancel(a32, a64, o, params_i, tables, kind, side, distance_bits, order_bits):
    """The id of the background order that leaves, 0 where there is none to be found.

    A CANCEL_DEEP takes the first level at its distance or beyond, and where the book ends before
    that, the level next to the best.
    """
    best = a64[U(o + BEST + side)]
    empty = EMPTY_KEY + side
    if best <= empty:
        return 0
    if kind == CANCEL_TOUCH:
        return order_at(a32, a64, o, side, best, order_bits)
    distance = draw_lots(params_i, params_i[U(tables + CANCEL_TABLE)], distance_bits)
    key = next_level(a64, o, side, max(best - distance + 1, empty + 1))
    if key <= empty:
        key = next_level(a64, o, side, best)
    for _ in range(_MOST_LEVELS):
        if key <= empty:
            return 0
        order_id = order_at(a32, a64, o, side, key, order_bits)
        if order_id != 0:
            return order_id
        key = next_level(a64, o, side, key)
    return 0


@cold
def order_at(a32, a64, o, side, key, bits):
    """The id of one of the background's orders of a level, each as likely; 0: it has none there.
    O(orders of the level)."""
    r = (o + a64[U(o + ORDERS)]) * 2
    head = np.int64(a32[U(level_of(a64, o, side, key) * 2)])
    count = 0
    slot = head
    while slot != 0:
        count += np.int64(a32[U(r + slot * ORDER_WORDS + OWNER)]) == BACKGROUND
        slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
    if count == 0:
        return 0
    chosen = (count * bits) >> 32
    slot = head
    while True:
        if np.int64(a32[U(r + slot * ORDER_WORDS + OWNER)]) == BACKGROUND:
            if chosen == 0:
                return a64[U((r + slot * ORDER_WORDS + ID) >> 1)]
            chosen -= 1
        slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])


@cold
def count_orders(a32, a64, o, side):
    """The background's orders of a side. O(orders)."""
    r = (o + a64[U(o + ORDERS)]) * 2
    count = 0
    key = a64[U(o + BEST + side)]
    while key > EMPTY_KEY + side:
        slot = np.int64(a32[U(level_of(a64, o, side, key) * 2)])
        while slot != 0:
            count += np.int64(a32[U(r + slot * ORDER_WORDS + OWNER)]) == BACKGROUND
            slot = np.int64(a32[U(r + slot * ORDER_WORDS + NEXT)])
        key = next_level(a64, o, side, key)
    return count
