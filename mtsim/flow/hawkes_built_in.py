"""The Hawkes market that ships: what holds where no fitted parameters are named.

A mid-cap's market of about 15 events a second with a spread of a few ticks. Rates are stated, and
base rates follow from them: base = (1 - children) rates. The pattern of the kernels is that of the
literature (Bacry, Jaisson and Muzy 2016; Jain et al. 2024): like follows like; takers are answered
by takers of the same side, by cancels of those they would meet next, and by improvements that fill
the gap; additions and cancels of one price call for one another. The spread holds itself: the wider
it is, the more improve it, and the fewer cancel at the touch.
"""

from math import exp
from statistics import NormalDist

import numpy as np

from mtsim.flow.hawkes import Hawkes, spectral_radius
from mtsim.flow.placing import N_KINDS, Placing
from mtsim.flow.sizes import Sizes

BRANCHING = 0.7

# Per second and side: MARKET, ADD_INSIDE, ADD_TOUCH, ADD_DEEP, CANCEL_TOUCH, CANCEL_DEEP.
RATES = np.array([0.35, 0.45, 1.6, 1.9, 1.45, 1.7])

# Shares of a kernel that are over in about a hundredth, a half and ten seconds.
DECAYS = np.array([100.0, 2.0, 0.1])
_SHARES = np.array([0.35, 0.4, 0.25])

# Children of one event (row) by kind (column), before they are scaled to BRANCHING.
_SAME_SIDE = np.array(
    [
        [0.30, 0.06, 0.12, 0.06, 0.10, 0.08],
        [0.05, 0.10, 0.30, 0.12, 0.20, 0.10],
        [0.02, 0.03, 0.25, 0.08, 0.20, 0.06],
        [0.01, 0.01, 0.05, 0.28, 0.05, 0.24],
        [0.03, 0.05, 0.20, 0.05, 0.20, 0.06],
        [0.01, 0.01, 0.05, 0.24, 0.05, 0.24],
    ]
)
_OTHER_SIDE = np.array(
    [
        [0.02, 0.16, 0.14, 0.08, 0.22, 0.08],
        [0.03, 0.03, 0.05, 0.04, 0.08, 0.04],
        [0.01, 0.01, 0.05, 0.03, 0.03, 0.02],
        [0.01, 0.01, 0.02, 0.06, 0.02, 0.04],
        [0.02, 0.02, 0.05, 0.03, 0.05, 0.03],
        [0.01, 0.01, 0.02, 0.04, 0.02, 0.06],
    ]
)

# Of spreads of 1, 2, 3, 4, 5 to 7 and from 8 ticks on: how much more improve, take, and cancel at
# the touch.
_SPREAD_STARTS = np.array([1, 2, 3, 4, 5, 8])
_IMPROVE = np.array([0.0, 0.7, 1.2, 1.8, 3.0, 6.0])
_TAKE = np.array([1.2, 1.0, 0.9, 0.8, 0.7, 0.5])
_LEAVE = np.array([1.05, 1.0, 1.0, 0.9, 0.75, 0.5])

REFERENCE_ORDERS = 100


def built_in(first_tick: int = 10_000, *, mirrored: bool = False) -> Hawkes:
    pattern = np.stack((_SAME_SIDE, _OTHER_SIDE), axis=1)
    branching = pattern[:, :, None, :] * _SHARES[:, None]
    branching *= BRANCHING / spectral_radius(branching)
    children = branching.sum(axis=(1, 2))
    factors = np.ones((len(_SPREAD_STARTS), N_KINDS))
    factors[:, 0], factors[:, 1], factors[:, 4] = _TAKE, _IMPROVE, _LEAVE
    return Hawkes(
        base=RATES - children.T @ RATES,
        decays=DECAYS,
        branching=branching,
        spread_starts=_SPREAD_STARTS,
        spread_factors=factors,
        placing=_placing(),
        piece_ends_ns=np.zeros(0, np.int64),
        time_factors=np.ones(1),
        reference_orders=REFERENCE_ORDERS,
        first_tick=first_tick,
        mirrored=mirrored,
    )


def _placing() -> Placing:
    def lognormal(median: float, sigma: float) -> Sizes:
        normal = NormalDist()
        return Sizes.of_quantiles(lambda unit: median * exp(sigma * normal.inv_cdf(unit)))

    distances = np.arange(1, 41)
    return Placing(
        sizes=(lognormal(4, 0.9), lognormal(3, 0.8), lognormal(4, 0.8), lognormal(5, 0.8)),
        inside=Sizes.empirical(distances[:8], 0.5 ** distances[:8]),
        add_deep=Sizes.empirical(distances, np.exp(-distances / 8)),
        cancel_deep=Sizes.empirical(distances, np.exp(-distances / 8)),
    )
