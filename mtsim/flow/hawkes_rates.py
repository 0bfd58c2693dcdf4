"""The intensities of a Hawkes flow, compiled: what they are now, and when they will have added up.

The intensity of type (kind k, side s), per second, is

    rate = spread_factor[bucket, k] x stabiliser[k, s] x
           (base[k] x time_factor[piece] + sum over decays m of excitation[m, k, s])

where every excitation falls as exp(-decay[m] x seconds) and jumps by jump[j, o, m, k] at an event
of kind j, on the same side (o = 0) or the other (o = 1). The spread's bucket and the numbers of
orders change at events alone, the piece of the day at its ends. So the compensator is a sum of
exponentials between them: it is inverted, and nothing is drawn but one exponential an event.

The stabiliser of a cancel is the orders that its side has over those it should have, at most 4; of
all else it is 1. Knows no message.
"""

from math import exp

import numpy as np

from mtsim.engine.ladder import U, cold, hot
from mtsim.engine.layout import BEST, EMPTY_KEY
from mtsim.flow.base import FAR
from mtsim.flow.placing import CANCEL_TOUCH, N_KINDS, N_TYPES

MOST_DECAYS = 8
SPREADS = 64
"""Spreads from this on are in the bucket of this."""

# Words of `params_i`; behind them the bucket of each spread, the ends of the pieces of the day,
# the tables of `placing`.
N_DECAYS, N_PIECES, N_BUCKETS, MIRRORED, REFERENCE, TABLES = range(6)
BUCKET_OF = 6
ENDS = BUCKET_OF + SPREADS

# Words of `params_f`: base rates, decays, and factors of the pieces, of spreads, and jumps behind.
BASE = 0
DECAYS = N_KINDS
TIME_FACTORS = DECAYS + MOST_DECAYS

# Words of `state_f`. A sum for each decay is written before it is read.
HAZARD = 0
SUMS = 1
EXCITATION = SUMS + MOST_DECAYS

# Words of `state_i` after the loop's own: what `state_f` is of; the index that the hazard is drawn
# for; the piece; of each side the last best key there was, the best key, the background's orders;
# of each type, how many events have excited the market.
LAST_NS, HAZARD_INDEX, PIECE = 1, 2, 3
LAST_KEYS, BEST_KEYS, N_ORDERS, N_EVENTS = 4, 6, 8, 10
STATE_WORDS = N_EVENTS + N_TYPES

_MOST_STABILISER = 4.0
_SECOND = 1e-9


@hot
def spread_factors_at(params_i, state_i):
    """The word of `params_f` from which the factors of the present spread are."""
    n_buckets = params_i[U(N_BUCKETS)]
    bid, ask = state_i[U(BEST_KEYS)], state_i[U(BEST_KEYS + 1)]
    bucket = n_buckets - 1
    if bid > EMPTY_KEY and ask > EMPTY_KEY + 1:
        spread = min(max(-bid - ask, 1), SPREADS)
        bucket = params_i[U(BUCKET_OF + spread - 1)]
    return TIME_FACTORS + params_i[U(N_PIECES)] + bucket * N_KINDS


@hot
def stabiliser(params_i, state_i, side):
    reference = params_i[U(REFERENCE)]
    if reference == 0:
        return 1.0
    return min(state_i[U(N_ORDERS + side)] / np.float64(reference), _MOST_STABILISER)


@cold
def sum_rates(params_f, params_i, state_f, state_i):
    """The base rate of all types together for a time factor of 1; the excitation of each decay goes
    to `state_f` from SUMS on.

    Sides are added in pairs, so that a mirrored state has the same sums, bit for bit.
    """
    factors = spread_factors_at(params_i, state_i)
    of_bid = stabiliser(params_i, state_i, 0)
    of_ask = stabiliser(params_i, state_i, 1)
    n_decays = params_i[U(N_DECAYS)]
    base = 0.0
    for m in range(n_decays):
        state_f[U(SUMS + m)] = 0.0
    for kind in range(N_KINDS):
        bid = params_f[U(factors + kind)]
        ask = bid
        if kind >= CANCEL_TOUCH:
            bid *= of_bid
            ask *= of_ask
        base += params_f[U(BASE + kind)] * (bid + ask)
        word = EXCITATION + 2 * kind
        for m in range(n_decays):
            state_f[U(SUMS + m)] += bid * state_f[U(word)] + ask * state_f[U(word + 1)]
            word += N_TYPES
    return base


@cold
def hazard_within(base, params_f, n_decays, state_f, seconds):
    """What the sums add up to in so many seconds."""
    total = base * seconds
    for m in range(n_decays):
        decay = params_f[U(DECAYS + m)]
        total += state_f[U(SUMS + m)] * ((1.0 - exp(-decay * seconds)) / decay)
    return total


@cold
def seconds_until(base, params_f, n_decays, state_f, hazard):
    """When the sums have added up to `hazard`; infinity for never."""
    # From below: if the fastest decays were all over, and the others did not decay at all.
    rate = base
    for m in range(n_decays):
        rate += state_f[U(SUMS + m)]
    spent = 0.0
    seconds = 0.0
    for m in range(n_decays + 1):
        if rate > 0.0:
            seconds = max(seconds, (hazard - spent) / rate)
        if m < n_decays:
            spent += state_f[U(SUMS + m)] / params_f[U(DECAYS + m)]
            rate -= state_f[U(SUMS + m)]
    if base <= 0.0 and spent <= hazard:
        return np.inf
    # The compensator is concave, so Newton's steps never pass the root.
    for _ in range(64):
        value = base * seconds - hazard
        slope = base
        for m in range(n_decays):
            decay = params_f[U(DECAYS + m)]
            left = exp(-decay * seconds)
            value += state_f[U(SUMS + m)] * ((1.0 - left) / decay)
            slope += state_f[U(SUMS + m)] * left
        step = -value / slope
        seconds += step
        if step <= 1e-10 + 1e-12 * seconds:
            break
    return seconds


@cold
def due_ns(params_f, params_i, state_f, state_i):
    """When the hazard is used up: the time of the next event if nothing happens before."""
    base = sum_rates(params_f, params_i, state_f, state_i)
    n_decays = params_i[U(N_DECAYS)]
    hazard = state_f[U(HAZARD)]
    now_ns = state_i[U(LAST_NS)]
    piece = state_i[U(PIECE)]
    while True:
        rate = base * params_f[U(TIME_FACTORS + piece)]
        end_ns = params_i[U(ENDS + piece)]
        if end_ns < FAR:
            seconds = (end_ns - now_ns) * _SECOND
            within = hazard_within(rate, params_f, n_decays, state_f, seconds)
            if within < hazard:
                hazard -= within
                for m in range(n_decays):
                    state_f[U(SUMS + m)] *= exp(-params_f[U(DECAYS + m)] * seconds)
                now_ns = end_ns
                piece += 1
                continue
        seconds = seconds_until(rate, params_f, n_decays, state_f, hazard)
        gap_ns = min(seconds * 1e9 + 0.5, np.float64(FAR))
        return min(now_ns + np.int64(gap_ns), end_ns)


@cold
def use_hazard(params_f, params_i, state_f, state_i, now_ns):
    """Take from the hazard what the rates have added up to since the last event."""
    base = sum_rates(params_f, params_i, state_f, state_i)
    n_decays = params_i[U(N_DECAYS)]
    at_ns = state_i[U(LAST_NS)]
    piece = state_i[U(PIECE)]
    hazard = state_f[U(HAZARD)]
    while at_ns < now_ns:
        until_ns = min(now_ns, params_i[U(ENDS + piece)])
        seconds = (until_ns - at_ns) * _SECOND
        rate = base * params_f[U(TIME_FACTORS + piece)]
        hazard -= hazard_within(rate, params_f, n_decays, state_f, seconds)
        for m in range(n_decays):
            state_f[U(SUMS + m)] *= exp(-params_f[U(DECAYS + m)] * seconds)
        at_ns = until_ns
        piece += 1
    # Times are whole nanoseconds: what is due now may have been due half of one ago.
    state_f[U(HAZARD)] = max(hazard, 0.0)


@cold
def decay_to(params_f, params_i, state_f, state_i, now_ns):
    """Let the excitations decay until now."""
    seconds = (now_ns - state_i[U(LAST_NS)]) * _SECOND
    if seconds > 0.0:
        for m in range(params_i[U(N_DECAYS)]):
            left = exp(-params_f[U(DECAYS + m)] * seconds)
            first = EXCITATION + m * N_TYPES
            for word in range(first, first + N_TYPES):
                state_f[U(word)] *= left
        state_i[U(LAST_NS)] = now_ns
    while params_i[U(ENDS + state_i[U(PIECE)])] <= now_ns:
        state_i[U(PIECE)] += 1


@cold
def rate_of(params_f, params_i, state_f, state_i, kind, side):
    """The intensity of one type at LAST_NS, per second."""
    factor = params_f[U(spread_factors_at(params_i, state_i) + kind)]
    if kind >= CANCEL_TOUCH:
        factor *= stabiliser(params_i, state_i, side)
    inner = params_f[U(BASE + kind)] * params_f[U(TIME_FACTORS + state_i[U(PIECE)])]
    word = EXCITATION + 2 * kind + side
    for _ in range(params_i[U(N_DECAYS)]):
        inner += state_f[U(word)]
        word += N_TYPES
    return factor * inner


@cold
def choose_type(params_f, params_i, state_f, state_i, unit):
    """2 x kind + side in proportion to the rates; `mirrored` asks the other side first."""
    total = sum_rates(params_f, params_i, state_f, state_i)
    total *= params_f[U(TIME_FACTORS + state_i[U(PIECE)])]
    for m in range(params_i[U(N_DECAYS)]):
        total += state_f[U(SUMS + m)]
    place = unit * total
    chosen = 0
    before = 0.0
    for kind in range(N_KINDS):
        first = rate_of(params_f, params_i, state_f, state_i, kind, params_i[U(MIRRORED)])
        second = rate_of(params_f, params_i, state_f, state_i, kind, 1 - params_i[U(MIRRORED)])
        # By what has been passed, so that rounding never gives a type whose rate is 0.
        if first > 0.0:
            chosen = 2 * kind + params_i[U(MIRRORED)]
            if place < before + first:
                return chosen
        if second > 0.0:
            chosen = 2 * kind + 1 - params_i[U(MIRRORED)]
            if place < before + (first + second):
                return chosen
        before += first + second
    return chosen


@cold
def excite(params_f, params_i, state_f, state_i, kind, side):
    """An event of this type: all excitations jump."""
    state_i[U(N_EVENTS + 2 * kind + side)] += 1
    n_decays = params_i[U(N_DECAYS)]
    jumps = (
        TIME_FACTORS
        + params_i[U(N_PIECES)]
        + params_i[U(N_BUCKETS)] * N_KINDS
        + kind * 2 * n_decays * N_KINDS
    )
    other = n_decays * N_KINDS
    word = EXCITATION
    for _ in range(n_decays):
        for target in range(N_KINDS):
            state_f[U(word + 2 * target + side)] += params_f[U(jumps + target)]
            state_f[U(word + 2 * target + 1 - side)] += params_f[U(jumps + other + target)]
        jumps += N_KINDS
        word += N_TYPES


@hot
def note_book(a64, o, state_i):
    """Remember where the book is best now, for the time until the next event."""
    for side in range(2):
        key = a64[U(o + BEST + side)]
        state_i[U(BEST_KEYS + side)] = key
        if key > EMPTY_KEY + side:
            state_i[U(LAST_KEYS + side)] = key
