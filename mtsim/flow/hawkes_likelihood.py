"""What Hawkes intensities add up to over order events: for likelihoods, and for the rescaling test.

Knows a market's parameters, not how they are found. One pass is O(events x decays).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.special import kolmogorov

from mtsim.engine.fingerprint import fingerprint
from mtsim.errors import UsageError
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.hawkes_rates import SPREADS
from mtsim.flow.order_events import SECOND_NS, OrderEvents
from mtsim.flow.placing import N_KINDS, N_TYPES

_SPLIT = -1


class Rescaling(NamedTuple):
    """The time-rescaling test: where the model is right, residuals are exponential of mean 1."""

    mean: float
    distance: float
    """Kolmogorov's: the largest difference of the distributions."""
    p_value: float
    n: int


@dataclass(frozen=True)
class Intervals:
    """Events as the compiled pass reads them: rows with kind _SPLIT only end a piece of the day."""

    seconds: np.ndarray
    kind: np.ndarray
    side: np.ndarray
    bucket: np.ndarray
    piece: np.ndarray
    opens: np.ndarray


def intervals(
    events: OrderEvents, spread_starts: np.ndarray, piece_ends_ns: np.ndarray
) -> Intervals:
    """Events and the ends of pieces between them, each with the time since the row before."""
    # An end that falls on an event comes before it, as it does in the market.
    at = np.searchsorted(events.time_ns, piece_ends_ns, side="left")
    inside = (at > 0) & (at < len(events))
    inside[inside] = ~events.opens[at[inside]]
    at, ends_ns = at[inside], piece_ends_ns[inside]
    spread = np.where(events.spread_ticks < 1, SPREADS, events.spread_ticks)
    bucket = np.searchsorted(spread_starts, np.minimum(spread, SPREADS), side="right") - 1
    time_ns = np.insert(events.time_ns, at, ends_ns)
    opens = np.insert(events.opens, at, False)
    opens[0] = True
    seconds = np.diff(time_ns, prepend=time_ns[0]) / SECOND_NS
    seconds[opens] = 0.0
    kind = np.insert(events.kind.astype(np.int64), at, _SPLIT)
    # A row that ends a piece is of it; an event is of the piece that it begins with.
    piece = np.searchsorted(piece_ends_ns, time_ns, side="right")
    piece[kind == _SPLIT] -= 1
    return Intervals(
        seconds,
        kind,
        np.insert(events.side.astype(np.int64), at, 0),
        np.insert(bucket, at, bucket[at]),
        piece,
        opens,
    )


def residuals(flow: Hawkes, events: OrderEvents) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays: what all intensities together added up to between events, and that of its own
    type since the last event of it, for each event. Without those that nothing was before."""
    rows = intervals(events, flow.spread_starts, flow.piece_ends_ns)
    of_all = np.full(len(rows.kind), np.nan)
    of_own = np.full(len(rows.kind), np.nan)
    _compensate(
        rows.seconds,
        rows.kind,
        rows.side,
        rows.bucket,
        rows.piece,
        rows.opens,
        flow.decays,
        flow.base,
        by_target(flow.branching),
        flow.spread_factors,
        flow.time_factors,
        of_all,
        of_own,
    )
    return of_all[~np.isnan(of_all)], of_own[~np.isnan(of_own)]


def rescaling(residuals: np.ndarray) -> Rescaling:
    """Kolmogorov's test of residuals against the exponential law of mean 1."""
    n = len(residuals)
    if not n:
        raise UsageError("rescaling: there are no residuals to test")
    law = -np.expm1(-np.sort(residuals))
    ranks = np.arange(n)
    distance = float(max((law - ranks / n).max(), ((ranks + 1) / n - law).max()))
    p_value = float(kolmogorov(np.sqrt(n) * distance))
    return Rescaling(float(residuals.mean()), distance, p_value, n)


def by_target(branching: np.ndarray) -> np.ndarray:
    """[target, side, m, source, side]: what `sum_events` multiplies excitations with."""
    same, other = branching.transpose(1, 3, 2, 0)
    both = np.stack((np.stack((same, other), -1), np.stack((other, same), -1)), axis=1)
    return np.ascontiguousarray(both)


# --- compiled -------------------------------------------------------------------------------------

_FAST = {"reassoc", "contract", "nsz"}


def _entry_points(sources: int):
    n_kinds, n_types = N_KINDS, N_TYPES

    @njit(cache=True, nogil=True, error_model="numpy")
    def expose(seconds, kind, side, bucket, piece, opens, left, decays, exposure, time):
        """Integrate the excitation by each kind, both sides together, and the time, by bucket."""
        _ = sources
        n_decays = len(decays)
        state = np.zeros((n_decays, n_kinds))
        for i in range(len(kind)):
            if opens[i]:
                state[:] = 0.0
            time[bucket[i], piece[i]] += seconds[i]
            for m in range(n_decays):
                over = (1.0 - left[i, m]) / decays[m]
                for j in range(n_kinds):
                    exposure[bucket[i], m, j] += state[m, j] * over
                    state[m, j] *= left[i, m]
                if kind[i] >= 0:
                    state[m, kind[i]] += decays[m]

    @njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
    def sum_events(
        kind, side, piece, opens, left, decays, base, branching, time_factors,
        by_base, by_branching, by_time,
    ):  # fmt: skip
        """The sum of the logarithms of intensities at events; derivatives go to the arrays."""
        _ = sources
        n_decays = len(decays)
        width = n_decays * n_types
        state = np.zeros(width)
        weights = branching.reshape(n_kinds, 2, width)
        sums = by_branching.reshape(n_kinds, 2, width)
        total = 0.0
        for i in range(len(kind)):
            if opens[i]:
                state[:] = 0.0
            for m in range(n_decays):
                remains = left[i, m]
                for t in range(m * n_types, (m + 1) * n_types):
                    state[t] *= remains
            k = kind[i]
            if k < 0:
                continue
            s = side[i]
            factor = time_factors[piece[i]]
            rate = base[k] * factor
            row = weights[k, s]
            for t in range(width):
                rate += row[t] * state[t]
            total += np.log(rate)
            share = 1.0 / rate
            by_base[k] += factor * share
            by_time[piece[i]] += base[k] * share
            row = sums[k, s]
            for t in range(width):
                row[t] += state[t] * share
            for m in range(n_decays):
                state[m * n_types + 2 * k + s] += decays[m]
        return total

    @njit(cache=True, nogil=True, error_model="numpy")
    def compensate(
        seconds, kind, side, bucket, piece, opens, decays, base, branching, spread_factors,
        time_factors, of_all, of_own,
    ):  # fmt: skip
        """Integrate each intensity from event to event; see `residuals`."""
        _ = sources
        n_decays = len(decays)
        width = n_decays * n_types
        state = np.zeros(width)
        over = np.zeros(n_decays)
        since = np.zeros(n_types)
        begun = np.zeros(n_types, np.bool_)
        weights = branching.reshape(n_kinds, 2, width)
        all_since = 0.0
        is_begun = False
        for i in range(len(kind)):
            if opens[i]:
                state[:] = 0.0
                begun[:] = False
                is_begun = False
            for m in range(n_decays):
                over[m] = -np.expm1(-decays[m] * seconds[i]) / decays[m]
            for k in range(n_kinds):
                for s in range(2):
                    within = base[k] * time_factors[piece[i]] * seconds[i]
                    for m in range(n_decays):
                        part = 0.0
                        for t in range(m * n_types, (m + 1) * n_types):
                            part += weights[k, s, t] * state[t]
                        within += part * over[m]
                    within *= spread_factors[bucket[i], k]
                    since[2 * k + s] += within
                    all_since += within
            for m in range(n_decays):
                for t in range(m * n_types, (m + 1) * n_types):
                    state[t] *= 1.0 - decays[m] * over[m]
            if kind[i] >= 0:
                own = 2 * kind[i] + side[i]
                if is_begun:
                    of_all[i] = all_since
                if begun[own]:
                    of_own[i] = since[own]
                is_begun = True
                begun[own] = True
                all_since = 0.0
                since[own] = 0.0
                for m in range(n_decays):
                    state[m * n_types + own] += decays[m]

    return expose, sum_events, compensate


expose, sum_events, _compensate = _entry_points(fingerprint(Path(__file__)))
