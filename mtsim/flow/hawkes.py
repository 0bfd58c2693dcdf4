"""Twelve types of order events that excite one another: a compound Hawkes market.

The types are those of `placing`, the intensities those of `hawkes_rates`: base rates that follow
the time of day, kernels that are sums of exponentials with decays shared by all types, factors by
spread, sizes and distances from tables. Buys and sells have the same parameters, so the market is
its own mirror image.

Time is drawn as one exponential hazard for each event, which the intensities use up: when somebody
else's message changes them, what is left of the hazard is used up at the new ones. So orders of
agents excite the market and draw nothing, and messages that the book refuses change nothing at all.
What the background does at time 0 is the opening, which excites nobody; worlds begin with the
excitations that they have on average.

Knows no scenario; `mtsim.build` makes it from one.
"""

from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from mtsim import streams_numba
from mtsim.engine.fingerprint import fingerprint
from mtsim.engine.ladder import U, hot
from mtsim.engine.layout import EMPTY_KEY
from mtsim.engine.messages import Kind
from mtsim.errors import UsageError
from mtsim.flow import hawkes_rates as rates
from mtsim.flow.base import BACKGROUND, FAR, ROOM, SOURCES, Kernels
from mtsim.flow.hawkes_rates import (
    BEST_KEYS,
    EXCITATION,
    HAZARD,
    HAZARD_INDEX,
    LAST_KEYS,
    MOST_DECAYS,
    N_ORDERS,
    SPREADS,
    STATE_WORDS,
    TABLES,
    choose_type,
    decay_to,
    due_ns,
    excite,
    note_book,
    use_hazard,
)
from mtsim.flow.placing import (
    INSIDE,
    MARKET,
    N_KINDS,
    N_TYPES,
    NOTHING,
    Placing,
    count_orders,
    place,
    rested_kind,
    result_side,
    told_kind,
    was_refused,
)

philox = streams_numba.philox

# Fields of a draw: the hazard, the type and the size; the distance and the order that leaves.
WHEN_AND_WHAT, WHERE = 0, 1

_CANCEL, _UNCROSS, _REPLACE = Kind.CANCEL.value, Kind.UNCROSS.value, Kind.REPLACE.value


@dataclass(frozen=True, eq=False)
class Hawkes:
    """Rates are per second. K kinds of `placing.OrderKind`, M decays, P pieces, B buckets.

    `base` [K]; `decays` [M], at most 8; `branching` [K, 2, M, K]: how many events of the last index
    one event of the first brings about through this decay, on its own side (0) and the other (1),
    where the spread's factors are 1. `spread_starts` [B]: the first spread of each bucket, from 1,
    at most 64; `spread_factors` [B, K]. The last bucket is also that of a book with an empty side.
    `piece_ends_ns` [P - 1] and `time_factors` [P], of the base rates. `reference_orders`: of a
    side; with more, cancels are more frequent. 0: they do not depend on them. `first_tick` and
    `mirrored` as in `ZeroIntelligence`.
    """

    base: np.ndarray
    decays: np.ndarray
    branching: np.ndarray
    spread_starts: np.ndarray
    spread_factors: np.ndarray
    placing: Placing
    piece_ends_ns: np.ndarray
    time_factors: np.ndarray
    reference_orders: int = 0
    first_tick: int = 10_000
    mirrored: bool = False

    def __post_init__(self) -> None:
        n_decays, n_buckets = len(self.decays), len(self.spread_starts)
        shapes = {
            "base": (N_KINDS,),
            "decays": (n_decays,),
            "branching": (N_KINDS, 2, n_decays, N_KINDS),
            "spread_factors": (n_buckets, N_KINDS),
            "time_factors": (len(self.piece_ends_ns) + 1,),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise UsageError(f"Hawkes: {name} must have the shape {shape}, got {value.shape}")
            if not (np.isfinite(value).all() and (value >= 0).all()):
                raise UsageError(f"Hawkes: {name} must be finite and not negative, got {value}")
        if not 1 <= n_decays <= MOST_DECAYS or (self.decays <= 0).any():
            raise UsageError(f"Hawkes: 1 to {MOST_DECAYS} decays above 0, got {self.decays}")
        starts = self.spread_starts
        if not n_buckets or starts[0] != 1 or (np.diff(starts) < 1).any() or starts[-1] > SPREADS:
            raise UsageError(
                f"Hawkes: spread_starts must ascend from 1 to at most {SPREADS}, got {starts}"
            )
        if self.spread_factors[0, INSIDE] > 0:
            raise UsageError(
                "Hawkes: nothing can rest inside a spread of 1: the first factor of that kind must "
                f"be 0, got {self.spread_factors[0, INSIDE]}"
            )
        ends_ns = self.piece_ends_ns
        if len(ends_ns) and (ends_ns[0] <= 0 or (np.diff(ends_ns) < 1).any() or ends_ns[-1] >= FAR):
            raise UsageError(f"Hawkes: piece_ends_ns must ascend from above 0, got {ends_ns}")
        if not self.base.sum() > 0 or not self.time_factors[-1] > 0:
            raise UsageError("Hawkes: some base rate, and the last time factor, must be above 0")
        if self.reference_orders < 0:
            raise UsageError(
                f"Hawkes: reference_orders must not be negative, got {self.reference_orders}"
            )
        if self.branching_ratio() >= 1:
            raise UsageError(
                f"Hawkes: the branching ratio must be below 1, got {self.branching_ratio():.4f}: "
                "events would bring about ever more of them"
            )

    # Summaries ------------------------------------------------------------------------------------

    def branching_ratio(self) -> float:
        """The spectral radius of the matrix of children: how many events an event brings about."""
        return spectral_radius(self.branching)

    def mean_rates(self) -> np.ndarray:
        """float64 [K]: events per second and side where all factors are 1."""
        children = self.branching.sum(axis=(1, 2))
        return np.linalg.solve(np.eye(N_KINDS) - children.T, self.base)

    def rescaled(self, *, intensity: float = 1.0, branching: float | None = None) -> "Hawkes":
        """The same market with base rates times `intensity`, and kernels scaled to a branching
        ratio. Base rates stay, so there are the more events, the higher it is."""
        scale = 1.0
        if branching is not None:
            found = self.branching_ratio()
            if found == 0 and branching > 0:
                raise UsageError("Hawkes: kernels that are all 0 cannot be scaled up")
            scale = branching / found if found > 0 else 0.0
        return replace(self, base=self.base * intensity, branching=self.branching * scale)

    def as_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
            "placing": self.placing.as_json(),
            "reference_orders": self.reference_orders,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], *, first_tick: int = 10_000) -> "Hawkes":
        """What `as_json` gave, for a market that begins at `first_tick`. KeyError, TypeError or
        ValueError for what it cannot have given."""
        arrays: dict[str, Any] = {
            name: np.array(value[name], np.int64 if name in _INTEGERS else np.float64)
            for name in _ARRAYS
        }
        return cls(
            **arrays,
            placing=Placing.from_json(value["placing"]),
            reference_orders=int(value["reference_orders"]),
            first_tick=first_tick,
        )

    # Flow -----------------------------------------------------------------------------------------

    @property
    def kernels(self) -> Kernels:
        return KERNELS

    @property
    def owners(self) -> int:
        return BACKGROUND + 1

    def params(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(-self.decays, kind="stable")
        decays = np.zeros(MOST_DECAYS)
        decays[: len(order)] = self.decays[order]
        jumps = (self.branching * self.decays[:, None])[:, :, order]
        factors = (self.time_factors, self.spread_factors)
        params_f = np.concatenate([array.ravel() for array in (self.base, decays, *factors, jumps)])
        spreads = np.arange(1, SPREADS + 1)
        head = np.zeros(rates.BUCKET_OF, np.int64)
        head[rates.N_DECAYS] = len(order)
        head[rates.N_PIECES] = len(self.time_factors)
        head[rates.N_BUCKETS] = len(self.spread_starts)
        head[rates.MIRRORED] = self.mirrored
        head[rates.REFERENCE] = self.reference_orders
        head[TABLES] = rates.ENDS + len(self.time_factors)
        params_i = np.concatenate(
            (
                head,
                np.searchsorted(self.spread_starts, spreads, side="right") - 1,
                self.piece_ends_ns,
                [FAR],
                self.placing.words(int(head[TABLES])),
            )
        )
        return params_f, params_i.astype(np.int64)

    def new_state(self, n_worlds: int) -> tuple[np.ndarray, np.ndarray]:
        state_i = np.zeros((n_worlds, STATE_WORDS), np.int64)
        state_i[:, ROOM] = 1
        state_i[:, HAZARD_INDEX] = -1
        keys = (self.first_tick, -self.first_tick - 1)
        state_i[:, LAST_KEYS : LAST_KEYS + 2] = keys[::-1] if self.mirrored else keys
        state_i[:, BEST_KEYS : BEST_KEYS + 2] = EMPTY_KEY, EMPTY_KEY + 1
        state_f = np.zeros((n_worlds, EXCITATION + len(self.decays) * N_TYPES))
        order = np.argsort(-self.decays, kind="stable")
        # The mean of an excitation: rates of the sources times the integrals of their kernels.
        mean = np.einsum("j,jomk->mk", self.mean_rates(), self.branching[:, :, order])
        state_f[:, EXCITATION:] = np.repeat(mean * self.time_factors[0], 2, axis=1).ravel()
        return state_f, state_i

    def grow(self, state_i: np.ndarray) -> np.ndarray:
        raise AssertionError("a Hawkes flow remembers no orders")


_INTEGERS = ("spread_starts", "piece_ends_ns")
_ARRAYS = ("base", "decays", "branching", "spread_factors", "time_factors", *_INTEGERS)


def spectral_radius(branching: np.ndarray) -> float:
    """Of the 12 x 12 matrix of children. Both sides alike, it is that of the sum over both."""
    return float(np.abs(np.linalg.eigvals(branching.sum(axis=(1, 2)))).max())


# --- kernels --------------------------------------------------------------------------------------


@hot
def schedule(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns):
    """When what is left of the event's hazard will be used up."""
    if state_i[U(HAZARD_INDEX)] != index:
        word_0, word_1, _, _ = draw(key, world, index, WHEN_AND_WHAT)
        unit = np.float64(((word_1 << U(32)) | word_0) >> U(11)) * 2.0**-53
        state_f[U(HAZARD)] = -log(1.0 - unit)
        state_i[U(HAZARD_INDEX)] = index
    return max(due_ns(params_f, params_i, state_f, state_i), now_ns)


@hot
def compose(a32, a64, o, params_f, params_i, state_f, state_i, key, world, index, now_ns, message):
    """An event of a type in proportion to the intensities now."""
    decay_to(params_f, params_i, state_f, state_i, now_ns)
    _, _, type_bits, size_bits = draw(key, world, index, WHEN_AND_WHAT)
    unit = np.float64(type_bits) * 2.0**-32
    chosen = choose_type(params_f, params_i, state_f, state_i, unit)
    kind, side = chosen >> 1, chosen & 1
    distance_bits, order_bits, _, _ = draw(key, world, index, WHERE)
    words = (np.int64(size_bits), np.int64(distance_bits), np.int64(order_bits))
    tables = params_i[U(TABLES)]
    return place(
        a32, a64, o, params_i, tables, state_i, LAST_KEYS, kind, side, index, words, message
    )


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
    """Be excited by what was done, whoever did it, and remember the book after it."""
    if was_refused(result):
        return
    if not own:
        use_hazard(params_f, params_i, state_f, state_i, now_ns)
        decay_to(params_f, params_i, state_f, state_i, now_ns)
    kind = message[U(0)] & 255
    side = result_side(result)
    is_background = np.int64(np.int32(message[U(1)])) == BACKGROUND
    if kind <= _REPLACE and (now_ns > 0 or not is_background):
        best_key = state_i[U(BEST_KEYS + side)]
        if best_key <= EMPTY_KEY + side:
            best_key = state_i[U(LAST_KEYS + side)]
        told = told_kind(message, result, best_key)
        if told != NOTHING:
            excite(params_f, params_i, state_f, state_i, told, side)
        if told == MARKET:
            told = rested_kind(message, result, best_key)
            if told != NOTHING:
                excite(params_f, params_i, state_f, state_i, told, side)
    if kind == _UNCROSS or (kind == _REPLACE and is_background):
        for of in range(2):
            state_i[U(N_ORDERS + of)] = count_orders(a32, a64, o, of)
    else:
        count_changes(state_i, message, result, fills, n_fills, side, is_background)
    note_book(a64, o, state_i)


@hot
def count_changes(state_i, message, result, fills, n_fills, side, is_background):
    """Keep the numbers of the background's orders: one rests, one leaves, makers are filled."""
    kind = message[U(0)] & 255
    left = result[U(2)] >> 32
    if is_background:
        if kind == Kind.LIMIT.value:
            state_i[U(N_ORDERS + side)] += left > 0
        elif kind >= _CANCEL:
            previous = result[U(3)] >> 32
            state_i[U(N_ORDERS + side)] -= previous > 0 and left <= 0
    for fill in range(n_fills):
        maker_owner = np.int64(np.int32(fills[U(fill * 6 + 4)]))
        maker_open = np.int64(np.int32(fills[U(fill * 6 + 5)]))
        if maker_owner == BACKGROUND and maker_open == 0:
            state_i[U(N_ORDERS + 1 - side)] -= 1


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
        *(
            Path(__file__).with_name(f"{name}.py")
            for name in ("sizes", "placing", "hawkes_rates", "hawkes")
        ),
    ),
)
