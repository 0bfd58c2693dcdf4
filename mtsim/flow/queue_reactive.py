"""The queue-reactive market of Huang, Lehalle and Rosenbaum (2015): rates by queue and its size.

Level i of a side is the tick i - 1/2 ticks from the reference price. In each of the first `levels`
levels of each side, independently, orders are added and cancelled at rates that depend on the level
and on the lots that rest there; the best queue of a side is taken from at a third rate of its level
and lots. The reference price is the mid where that lies between ticks, else the half-tick next to
it that is nearer to the reference before (the paper's section 2.2). It follows the book, as in
their model I: no queue is redrawn when it moves, and what lies beyond the levels stays as it is.

Lots are counted in units, in sizes 0 to S - 1: size n is above n - 1 and up to n units, the last
one all that is more. Orders of agents count like others, and are never cancelled. Between messages
all rates are constant; one exponential hazard an event is used up by them, as in `hawkes`.

Knows no scenario; `mtsim.build` makes it from one.
"""

from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from mtsim import streams_numba
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, cold, hot, level_of
from mtsim.engine.layout import BEST, EMPTY_KEY, PHASE
from mtsim.engine.messages import Kind, Phase, TimeInForce
from mtsim.engine.units import MAX_TICK
from mtsim.errors import UsageError
from mtsim.flow.base import (
    BACKGROUND,
    FAR,
    FIRST_FLOW_ID,
    ROOM,
    SOURCES,
    Kernels,
    write_message,
)
from mtsim.flow.placing import order_at, sizes_as_json, sizes_from_json, was_refused
from mtsim.flow.sizes import Sizes, draw_lots

philox = streams_numba.philox

LIMIT, MARKET, CANCEL = Kind.LIMIT.value, Kind.MARKET.value, Kind.CANCEL.value
GTC, IOC = TimeInForce.GTC.value, TimeInForce.IOC.value
AUCTION = Phase.AUCTION.value

MOST_LEVELS = 50
MOST_SIZES = 1000

# What happens to a queue, in the order of the rates.
ADDED, CANCELLED, TAKEN = range(3)

# Words of `params_i`: the tables of sizes follow them.
LEVELS, N_SIZES, UNIT, MIRRORED, ADD_TABLE, TAKE_TABLE = range(6)
HEADER = 6

# Words of `state_f`: what is left to use up, and all rates together.
HAZARD, RATE = 0, 1
# Words of `state_i`: since when `RATE` holds, the index the hazard is drawn for, the reference
# price in half-ticks (odd), the level of each side's best queue (0: none of them); the sizes of the
# bids' queues, then of the asks'.
LAST_NS, HAZARD_INDEX, REFERENCE_X2, BEST_LEVELS, QUEUES = 1, 2, 3, 4, 6


@dataclass(frozen=True, eq=False)
class QueueReactive:
    """`rates` [3, levels, sizes]: per second, of orders added to, cancelled in and taking from a
    queue. Nothing is cancelled in, or taken from, an empty one. An order has the lots of `added` or
    `taking`. `first_tick` and `mirrored` as in `ZeroIntelligence`.
    """

    rates: np.ndarray
    unit_lots: int
    added: Sizes
    taking: Sizes
    first_tick: int = 10_000
    mirrored: bool = False

    def __post_init__(self) -> None:
        shape = self.rates.shape
        if len(shape) != 3 or shape[0] != 3 or not 1 <= shape[1] <= MOST_LEVELS:
            raise UsageError(
                f"QueueReactive: rates must be [3, 1 to {MOST_LEVELS} levels, sizes], got {shape}"
            )
        if not 2 <= shape[2] <= MOST_SIZES:
            raise UsageError(f"QueueReactive: 2 to {MOST_SIZES} sizes, got {shape[2]}")
        if not (np.isfinite(self.rates).all() and (self.rates >= 0).all()):
            raise UsageError("QueueReactive: rates must be finite and not negative")
        if self.rates[CANCELLED:, :, 0].any():
            raise UsageError("QueueReactive: rates of leaving an empty queue must be 0")
        if not self.rates[ADDED, :, 0].any():
            raise UsageError("QueueReactive: some empty queue must be added to")
        if self.unit_lots < 1:
            raise UsageError(f"QueueReactive: unit_lots must be at least 1, got {self.unit_lots}")

    def with_levels(self, levels: int) -> "QueueReactive":
        """The same market of the first `levels` levels."""
        if not 1 <= levels <= self.rates.shape[1]:
            raise UsageError(
                f"QueueReactive: there are rates for 1 to {self.rates.shape[1]} levels, got "
                f"{levels}"
            )
        return replace(self, rates=self.rates[:, :levels])

    def as_json(self) -> dict[str, Any]:
        return {
            "rates": self.rates.tolist(),
            "unit_lots": self.unit_lots,
            "added": sizes_as_json(self.added),
            "taking": sizes_as_json(self.taking),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], *, first_tick: int = 10_000) -> "QueueReactive":
        """What `as_json` gave. KeyError, TypeError or ValueError for what it cannot have given."""
        return cls(
            rates=np.array(value["rates"], np.float64),
            unit_lots=int(value["unit_lots"]),
            added=sizes_from_json(value["added"]),
            taking=sizes_from_json(value["taking"]),
            first_tick=first_tick,
        )

    @property
    def kernels(self) -> Kernels:
        return KERNELS

    @property
    def owners(self) -> int:
        return BACKGROUND + 1

    def params(self) -> tuple[np.ndarray, np.ndarray]:
        added, taking = self.added.words(), self.taking.words()
        head = np.zeros(HEADER, np.int64)
        head[LEVELS], head[N_SIZES] = self.rates.shape[1:]
        head[UNIT], head[MIRRORED] = self.unit_lots, self.mirrored
        head[ADD_TABLE], head[TAKE_TABLE] = HEADER, HEADER + len(added)
        return np.ascontiguousarray(self.rates, np.float64).ravel(), np.concatenate(
            (head, added, taking)
        )

    def new_state(self, n_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        state_i = np.zeros((n_worlds, QUEUES + 2 * self.rates.shape[1]), np.int64)
        state_i[:, ROOM] = 1
        state_i[:, HAZARD_INDEX] = -1
        reference_x2 = 2 * self.first_tick + 1
        state_i[:, REFERENCE_X2] = -reference_x2 if self.mirrored else reference_x2
        state_f = np.zeros((n_worlds, 2))
        # Of empty queues, on both sides.
        for level_rate in self.rates[ADDED, :, 0]:
            state_f[:, RATE] += level_rate + level_rate
        return state_f, state_i

    def grow(self, state_i: np.ndarray) -> np.ndarray:
        raise AssertionError("a queue-reactive flow remembers no orders")


# --- kernels --------------------------------------------------------------------------------------


@hot
def schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns):
    """When what is left of the event's hazard will be used up."""
    if state_i[U(HAZARD_INDEX)] != index:
        word_0, word_1, _, _ = draw(key, world, index)
        unit = np.float64(((word_1 << U(32)) | word_0) >> U(11)) * 2.0**-53
        state_f[U(HAZARD)] = -log(1.0 - unit)
        state_i[U(HAZARD_INDEX)] = index
    if state_f[U(RATE)] <= 0.0:
        return np.int64(FAR)
    gap_ns = min(state_f[U(HAZARD)] / state_f[U(RATE)] * 1e9 + 0.5, np.float64(FAR))
    return max(min(state_i[U(LAST_NS)] + np.int64(gap_ns), FAR), now_ns)


@hot
def compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message):
    """An event of a queue, in proportion to the rates."""
    state_i[U(LAST_NS)] = now_ns
    _, _, type_bits, more_bits = draw(key, world, index)
    chosen = choose(params_f, params_i, state_f, state_i, np.float64(type_bits) * 2.0**-32)
    what, level, side = chosen % 3, (chosen // 6) + 1, (chosen // 3) & 1
    bits = np.int64(more_bits)
    order_id = FIRST_FLOW_ID + index
    own_key = key_of_level(state_i, side, level)
    if what == CANCELLED:
        order_id = order_at(a32, a64, o, side, own_key, bits)
        if order_id == 0:
            return False
        write_message(message, CANCEL, 0, GTC, BACKGROUND, 0, 0, order_id)
        return True
    if what == TAKEN:
        if a64[U(o + PHASE)] == AUCTION:
            return False
        lots = draw_lots(params_i, params_i[U(TAKE_TABLE)], bits)
        write_message(message, MARKET, 1 - side, IOC, BACKGROUND, 0, lots, order_id)
        return True
    lots = draw_lots(params_i, params_i[U(ADD_TABLE)], bits)
    if abs(own_key) > MAX_TICK:
        return False
    tick = own_key if side == 0 else -own_key
    write_message(message, LIMIT, side, GTC, BACKGROUND, tick, lots, order_id)
    return True


@hot
def observe(
    a32,
    a64,
    o,
    params_f,
    params_i,
    state_f,
    state_i,
    key,
    world,
    index,
    now_ns,
    message,
    result,
    fills,
    n_fills,
    own,
):
    """Use up hazard at the rates there were, and see the queues as they are now."""
    if was_refused(result):
        return
    if not own:
        used = state_f[U(RATE)] * ((now_ns - state_i[U(LAST_NS)]) * 1e-9)
        state_f[U(HAZARD)] = max(state_f[U(HAZARD)] - used, 0.0)
        state_i[U(LAST_NS)] = now_ns
    see_queues(a64, o, params_f, params_i, state_f, state_i)


@hot
def key_of_level(state_i, side, level):
    """The key, on its side, of a level's tick."""
    reference_x2 = state_i[U(REFERENCE_X2)]
    return ((reference_x2 if side == 0 else -reference_x2) - (2 * level - 1)) >> 1


@hot
def next_reference_x2(reference_x2, bid_key, ask_key):
    """The reference price after a change of the best keys; a side's EMPTY_KEY leaves it, but that
    it stays between the sides."""
    has_bid, has_ask = bid_key > EMPTY_KEY, ask_key > EMPTY_KEY + 1
    if has_bid and has_ask:
        mid_x2 = bid_key - ask_key
        if mid_x2 & 1:
            return mid_x2
        return mid_x2 + 1 if reference_x2 > mid_x2 else mid_x2 - 1
    if has_bid:
        return max(reference_x2, 2 * bid_key + 1)
    if has_ask:
        return min(reference_x2, -2 * ask_key - 1)
    return reference_x2


@cold
def see_queues(a64, o, params_f, params_i, state_f, state_i):
    """Write the reference price, the queues' sizes and all rates together."""
    levels, n_sizes = params_i[U(LEVELS)], params_i[U(N_SIZES)]
    bid, ask = a64[U(o + BEST)], a64[U(o + BEST + 1)]
    state_i[U(REFERENCE_X2)] = next_reference_x2(state_i[U(REFERENCE_X2)], bid, ask)
    for side in range(2):
        best = a64[U(o + BEST + side)]
        state_i[U(BEST_LEVELS + side)] = 0
        for level in range(1, levels + 1):
            key = key_of_level(state_i, side, level)
            size = np.int64(0)
            if key <= best:
                place = level_of(a64, o, side, key)
                if place != 0:
                    lots = a64[U(place + 1)]
                    size = min((lots + params_i[U(UNIT)] - 1) // params_i[U(UNIT)], n_sizes - 1)
                if key == best:
                    state_i[U(BEST_LEVELS + side)] = level
            state_i[U(QUEUES + side * levels + level - 1)] = size
    total = 0.0
    for level in range(1, levels + 1):
        of_bid = queue_rates(params_f, params_i, state_i, 0, level)
        of_ask = queue_rates(params_f, params_i, state_i, 1, level)
        total += (of_bid[0] + of_bid[1] + of_bid[2]) + (of_ask[0] + of_ask[1] + of_ask[2])
    state_f[U(RATE)] = total


@hot
def queue_rates(params_f, params_i, state_i, side, level):
    """How often orders are added to a queue, cancelled in it, and taking from it."""
    levels, n_sizes = params_i[U(LEVELS)], params_i[U(N_SIZES)]
    size = state_i[U(QUEUES + side * levels + level - 1)]
    word = (level - 1) * n_sizes + size
    step = levels * n_sizes
    taken = 0.0
    if state_i[U(BEST_LEVELS + side)] == level:
        taken = params_f[U(word + 2 * step)]
    return params_f[U(word)], params_f[U(word + step)], taken


@cold
def choose(params_f, params_i, state_f, state_i, unit):
    """6 x (level - 1) + 3 x side + what, in proportion to the rates; `mirrored` asks the other side
    first."""
    place = unit * state_f[U(RATE)]
    before = 0.0
    chosen = np.int64(0)
    for level in range(1, params_i[U(LEVELS)] + 1):
        # Sums as in `see_queues`, whichever side is the first.
        of_sides = 0.0
        for second in range(2):
            side = params_i[U(MIRRORED)] if second == 0 else 1 - params_i[U(MIRRORED)]
            added, cancelled, taken = queue_rates(params_f, params_i, state_i, side, level)
            first = 6 * (level - 1) + 3 * side
            so_far = 0.0
            for what in range(3):
                rate = added if what == ADDED else (cancelled if what == CANCELLED else taken)
                so_far += rate
                if rate > 0.0:
                    chosen = first + what
                    if place < before + (of_sides + so_far):
                        return chosen
            of_sides += so_far
        before += of_sides
    return chosen


@hot
def draw(key, world, index):
    """The four words of a draw: the first two are those of `streams.bits_at`."""
    low = U(0xFFFFFFFF)
    number = U(index)
    return philox(key & low, key >> U(32), number & low, number >> U(32), U(world), U(0))


KERNELS = Kernels(
    schedule,
    compose,
    observe,
    fingerprint(
        SOURCES,
        *(Path(__file__).with_name(f"{name}.py") for name in ("sizes", "placing")),
        Path(__file__),
    ),
)


# --- what ships -----------------------------------------------------------------------------------


def built_in(first_tick: int = 10_000, *, levels: int = 5, mirrored: bool = False) -> QueueReactive:
    """A large-tick market: cancels in proportion to what rests, additions that fall off slowly with
    it, and the fewer takers, the longer the queue. Queues of some ten orders, a spread of one or
    two ticks, about 30 events a second."""
    size = np.arange(31)
    level = np.arange(1, levels + 1)[:, None]
    rates = np.zeros((3, levels, len(size)))
    falls = 0.6 + 0.4 * np.exp(-size / 10)
    rates[ADDED] = np.where(level == 1, 1.4, 2.5 / (1 + 0.25 * (level - 1))) * falls
    rates[CANCELLED] = np.where(level == 1, 0.2, 0.12) * size
    rates[TAKEN] = np.where(size > 0, 0.5 + 1.5 * np.exp(-size / 3), 0.0)
    values = np.arange(1, 11)
    return QueueReactive(
        rates=rates,
        unit_lots=3,
        added=Sizes.empirical(values, 0.7**values),
        taking=Sizes.empirical(values, 0.7**values),
        first_tick=first_tick,
        mirrored=mirrored,
    )
