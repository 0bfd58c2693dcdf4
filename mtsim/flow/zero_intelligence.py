"""The zero-intelligence market of Daniels, Farmer, Iori and Smith (2003), the Santa Fe model.

On each side, independently: limit orders at `add_rate` at each of the `depth` ticks from the
opposite touch outwards (1 to `depth` ticks from it), market orders at `market_rate`, and every
resting background order cancelled at `cancel_rate`. While a side is empty, market orders against it
are null events, and the other side's limit orders keep to the last touch that a background event
found there: of a sweep level by level at one moment, the touch before it.

Nothing here depends on the book but prices: arrivals are a Poisson process of constant rate, and
an order's lifetime is drawn when it comes to rest. That is the same law as a cancel rate for each
order, and it lets twins differ in no more than the one that an agent disturbs: arrivals stay where
they are, and an order that rests in both is cancelled in both at the same time. A cancel whose
order is gone by then is a null event. No message of others makes the flow draw again.

Knows no scenario; `mtsim.build` makes it from one.
"""

from dataclasses import dataclass
from math import isfinite, log
from pathlib import Path

import numpy as np

from mtsim import streams_numba
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, find_id, hot
from mtsim.engine.layout import BEST, EMPTY_KEY, ORDER_WORDS, ORDERS, OWNER, PHASE
from mtsim.engine.messages import Kind, Phase, TimeInForce
from mtsim.engine.units import MAX_TICK
from mtsim.errors import UsageError
from mtsim.flow import agenda
from mtsim.flow.agenda import COUNT, HEADER, OWN, add_due, take_due
from mtsim.flow.base import BACKGROUND, FAR, FIRST_FLOW_ID, SOURCES, Kernels, write_message
from mtsim.flow.sizes import Sizes, draw_lots

LIMIT, MARKET, CANCEL = Kind.LIMIT.value, Kind.MARKET.value, Kind.CANCEL.value
GTC, IOC = TimeInForce.GTC.value, TimeInForce.IOC.value
AUCTION = Phase.AUCTION.value
philox = streams_numba.philox

# Fields of a draw. An arrival's is of its index, a lifetime's of its order's id.
ARRIVAL, LIFETIME = 0, 1
# The index of the draw that the first arrival's time is from: no event has it.
BEFORE_THE_FIRST = 2**63 - 1

# Words of `params_f`, and of `params_i`, where the table of sizes follows them.
HALF_RATE, MARKET_RATE, PER_ADD_RATE, MEAN_GAP_NS, MEAN_LIFE_NS = range(5)
DEPTH, MIRRORED, TABLE = range(3)
# The flow's own words of its agenda: when the next order arrives, the last key of each touch.
NEXT_ARRIVAL, LAST_KEY = OWN, OWN + 1

SECOND_NS = 10**9

# Products of exponential draws and means stay below this, and sums of two of them in int64.
_LONGEST_NS = float(FAR // 2)


@dataclass(frozen=True, eq=False)
class ZeroIntelligence:
    """Rates are per second: `add_rate` of each tick, `market_rate` of each side, `cancel_rate` of
    each resting order.

    `first_tick` is the best bid that an empty book without an opening is taken to have had, one
    tick below its ask. `mirrored` makes the same draws with buys and sells exchanged, and ticks
    negated.
    """

    add_rate: float
    market_rate: float
    cancel_rate: float
    depth: int
    sizes: Sizes
    first_tick: int = 10_000
    mirrored: bool = False

    def __post_init__(self) -> None:
        for name in ("add_rate", "market_rate", "cancel_rate"):
            rate = getattr(self, name)
            if not (isfinite(rate) and rate > 0):
                raise UsageError(f"ZeroIntelligence: {name} must be above 0, got {rate}")
        if not 1 <= self.depth <= MAX_TICK:
            raise UsageError(
                f"ZeroIntelligence: depth must be from 1 to {MAX_TICK} ticks, got {self.depth}"
            )

    @property
    def kernels(self) -> Kernels:
        return KERNELS

    @property
    def owners(self) -> int:
        return BACKGROUND + 1

    def params(self) -> tuple[np.ndarray, np.ndarray]:
        half_rate = self.market_rate + self.add_rate * self.depth
        gap_ns, life_ns = SECOND_NS / (2 * half_rate), SECOND_NS / self.cancel_rate
        params_f = np.array([half_rate, self.market_rate, 1 / self.add_rate, gap_ns, life_ns])
        params_i = np.concatenate(([self.depth, int(self.mirrored)], self.sizes.words()))
        return params_f, params_i

    def new_state(self, n_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        state_i = agenda.new_rows(n_worlds)
        state_i[:, NEXT_ARRIVAL] = -1
        keys = (self.first_tick, -self.first_tick - 1)
        state_i[:, LAST_KEY : LAST_KEY + 2] = keys[::-1] if self.mirrored else keys
        return np.zeros((n_worlds, 0)), state_i

    def grow(self, state_i: np.ndarray) -> np.ndarray:
        return agenda.grown(state_i)


@hot
def exponential_ns(word_0, word_1, mean_ns):
    """An exponential draw from two 32-bit words, in whole nanoseconds."""
    unit = np.float64(((word_1 << U(32)) | word_0) >> U(11)) * 2.0**-53
    return np.int64(min(-log(1.0 - unit) * mean_ns + 0.5, _LONGEST_NS))


@hot
def schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns):
    """The next arrival or the next end of a lifetime, whichever is earlier."""
    if state_i[U(NEXT_ARRIVAL)] < 0:
        word_0, word_1, _, _ = draw(key, world, np.int64(BEFORE_THE_FIRST), ARRIVAL)
        gap_ns = exponential_ns(word_0, word_1, params_f[U(MEAN_GAP_NS)])
        state_i[U(NEXT_ARRIVAL)] = min(now_ns + gap_ns, FAR)
    due_ns = state_i[U(NEXT_ARRIVAL)]
    if state_i[U(COUNT)] > 0:
        due_ns = min(due_ns, state_i[U(HEADER)])
    return due_ns


@hot
def compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message):
    """An order as its draw says, or the cancel of the order whose lifetime ends."""
    for side in range(2):
        best = a64[U(o + BEST + side)]
        if best > EMPTY_KEY + side:
            state_i[U(LAST_KEY + side)] = best
    if state_i[U(COUNT)] > 0 and state_i[U(HEADER)] < state_i[U(NEXT_ARRIVAL)]:
        order_id = take_due(state_i)
        r = (o + a64[U(o + ORDERS)]) * 2
        slot = find_id(a64, o, r, order_id)[1]
        if slot == 0 or np.int64(a32[U(r + slot * ORDER_WORDS + OWNER)]) != BACKGROUND:
            return False
        write_message(message, CANCEL, 0, GTC, BACKGROUND, 0, 0, order_id)
        return True

    word_0, word_1, word_2, word_3 = draw(key, world, index, ARRIVAL)
    gap_ns = exponential_ns(word_0, word_1, params_f[U(MEAN_GAP_NS)])
    state_i[U(NEXT_ARRIVAL)] = min(now_ns + gap_ns, FAR)
    # Where in [buy market | buy limits, tick by tick | sell market | sell limits] the draw falls.
    place = np.float64(word_2) * (2.0 * 2.0**-32 * params_f[U(HALF_RATE)])
    side = params_i[U(MIRRORED)]
    if place >= params_f[U(HALF_RATE)]:
        place -= params_f[U(HALF_RATE)]
        side = 1 - side
    opposite = 1 - side
    lots = draw_lots(params_i, TABLE, np.int64(word_3))
    opposite_key = a64[U(o + BEST + opposite)]
    is_empty = opposite_key <= EMPTY_KEY + opposite
    order_id = FIRST_FLOW_ID + index
    place -= params_f[U(MARKET_RATE)]
    if place < 0.0:
        if is_empty or a64[U(o + PHASE)] == AUCTION:
            return False
        write_message(message, MARKET, side, IOC, BACKGROUND, 0, lots, order_id)
        return True
    if is_empty:
        opposite_key = state_i[U(LAST_KEY + opposite)]
    # The sum of rates is rounded: the last tick may seem to end beyond it.
    distance = 1 + min(np.int64(place * params_f[U(PER_ADD_RATE)]), params_i[U(DEPTH)] - 1)
    own_key = min(max(-opposite_key - distance, -MAX_TICK), MAX_TICK)
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
    """Remember when a background order that has come to rest will be cancelled."""
    is_background = np.int64(np.int32(message[U(1)])) == BACKGROUND
    rests = result[U(2)] >> 32 > 0
    if is_background and rests and message[U(0)] & 255 == LIMIT:
        word_0, word_1, _, _ = draw(key, world, result[U(0)], LIFETIME)
        life_ns = exponential_ns(word_0, word_1, params_f[U(MEAN_LIFE_NS)])
        add_due(state_i, min(now_ns + life_ns, FAR), result[U(0)])


@hot
def draw(key, world, index, field):
    """The four words of a draw: the first two are those of `streams.bits_at`."""
    low = U(0xFFFFFFFF)
    number = U(index)
    return philox(key & low, key >> U(32), number & low, number >> U(32), U(world), U(field))


KERNELS = Kernels(
    schedule,
    compose,
    observe,
    fingerprint(
        SOURCES,
        *(Path(__file__).with_name(f"{name}.py") for name in ("agenda", "sizes")),
        Path(__file__),
    ),
)
