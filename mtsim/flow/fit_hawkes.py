"""The Hawkes market of some order events: maximum likelihood, and the time-rescaling test.

With the decays given, the logarithm of the likelihood is concave in base rates and kernels. The
factors of spreads follow from the rest (events over what was expected of them), so that every kind
has as many expected events as there were at every spread; the factors of the time of day are
searched for along with the base rates. The recursion over events is O(events x decays); kernels are
made better by expectation-maximisation first and by L-BFGS-B then.

Spreads' factors are scaled to a mean of 1, weighted by the excitation: branching ratios are then
those at an average spread.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from mtsim.errors import UsageError
from mtsim.flow.hawkes import Hawkes
from mtsim.flow.hawkes_likelihood import (
    Intervals,
    Rescaling,
    by_target,
    expose,
    intervals,
    rescaling,
    residuals,
    sum_events,
)
from mtsim.flow.hawkes_rates import MOST_DECAYS, SPREADS
from mtsim.flow.order_events import SECOND_NS, OrderEvents
from mtsim.flow.placing import (
    CANCEL_DEEP,
    DEEP,
    INSIDE,
    MARKET,
    N_KINDS,
    TOUCH,
    Placing,
)
from mtsim.flow.sizes import Sizes

DECAYS = (10_000.0, 300.0, 10.0, 0.3)
"""Per second. Kernels over 0.1 ms, 3 ms, 0.1 s and 3 s: what feeds with nanoseconds show."""

BY_SPREAD = (INSIDE,)
"""The kinds whose factors differ by spread. With all of them the likelihood is a little higher, and
markets that live by themselves are unstable: takers who prefer narrow spreads come in bursts."""

_MOST_BUCKETS = 10
_EM_STEPS = 20


class FittedHawkes(NamedTuple):
    flow: Hawkes
    log_likelihood: float
    """Nats an event, with time in seconds."""
    evaluations: int
    rescaling: Rescaling
    """Of all types together."""


def fit_hawkes(
    events: OrderEvents,
    *,
    decays: tuple[float, ...] = DECAYS,
    spread_starts: np.ndarray | None = None,
    by_spread: tuple[int, ...] = BY_SPREAD,
    piece_ends_ns: np.ndarray | None = None,
    reference_orders: int = 0,
    first_tick: int = 10_000,
    most_evaluations: int = 400,
) -> FittedHawkes:
    """The likeliest market of these events.

    `spread_starts` are the buckets' first spreads, by default such that each holds about a tenth of
    the time; `piece_ends_ns` divide the day, by default into nothing.
    """
    if not 1 <= len(decays) <= MOST_DECAYS or min(decays) <= 0:
        raise UsageError(f"fit_hawkes: 1 to {MOST_DECAYS} decays above 0, got {decays}")
    missing = np.flatnonzero(events.counts().sum(axis=1) == 0)
    if len(missing) or not events.seconds() > 0:
        raise UsageError(
            "fit_hawkes: every kind of event must occur, over some time; kinds without one: "
            f"{missing.tolist()}, seconds: {events.seconds():g}"
        )
    starts = spread_buckets(events) if spread_starts is None else spread_starts
    ends_ns = np.zeros(0, np.int64) if piece_ends_ns is None else piece_ends_ns
    rows = intervals(events, starts, ends_ns)
    search = _Search(
        rows, np.sort(np.array(decays))[::-1], len(starts), len(ends_ns) + 1, by_spread
    )
    search.run(most_evaluations)
    flow = Hawkes(
        base=search.base,
        decays=search.decays,
        branching=search.branching,
        spread_starts=starts,
        spread_factors=search.spread_factors(),
        placing=fit_placing(events),
        piece_ends_ns=ends_ns,
        time_factors=search.time_factors,
        reference_orders=reference_orders,
        first_tick=first_tick,
    )
    pooled, _ = residuals(flow, events)
    return FittedHawkes(
        flow, search.log_likelihood() / len(events), search.evaluations, rescaling(pooled)
    )


def spread_buckets(events: OrderEvents) -> np.ndarray:
    """First spreads of buckets that hold about as much time each; a spread of 1 is always alone."""
    spreads = np.minimum(np.maximum(events.spread_ticks, 1), SPREADS)
    seconds = np.bincount(spreads, events.gap_ns() / SECOND_NS, minlength=SPREADS + 1)
    share = np.cumsum(seconds) / seconds.sum()
    wanted = np.searchsorted(share, np.arange(1, _MOST_BUCKETS) / _MOST_BUCKETS) + 1
    starts = np.unique(np.concatenate(([1, 2], wanted)))
    return starts[starts <= spreads.max()]


def fit_placing(events: OrderEvents) -> Placing:
    """Sizes and distances as often as they were seen."""

    def law(values: np.ndarray) -> Sizes:
        return Sizes.empirical(*np.unique(values.astype(np.int64), return_counts=True))

    def distances(kind: int) -> Sizes:
        return law(np.maximum(events.distance_ticks[events.kind == kind], 1))

    inside, touch, deep = (law(events.lots[events.kind == kind]) for kind in (INSIDE, TOUCH, DEEP))
    market, whole = _fit_takers(events)
    return Placing(
        (market, inside, touch, deep),
        distances(INSIDE),
        distances(DEEP),
        distances(CANCEL_DEEP),
        whole,
    )


def _fit_takers(events: OrderEvents) -> tuple[Sizes, float]:
    """The lots of takers who leave something at the best price, and the share of those who take
    what is there: so many that, with those of the others who happen to, it is cleared as often as
    it was."""
    takers = events.kind == MARKET
    lots, best = events.lots[takers].astype(np.int64), events.best_lots[takers]
    leaves = lots < best
    if not leaves.any():
        return Sizes.empirical(*np.unique(lots, return_counts=True)), 1.0
    others = np.sort(lots[leaves])
    happens = float((1 - np.searchsorted(others, best) / len(others)).mean())
    share = float((~leaves).mean())
    whole = max(0.0, (share - happens) / (1 - happens)) if happens < 1 else 0.0
    return Sizes.empirical(*np.unique(others, return_counts=True)), whole


class _Search:
    """Parameters on their way to the maximum. `branching` is [source, o, decay, target]."""

    def __init__(
        self,
        rows: Intervals,
        decays: np.ndarray,
        n_buckets: int,
        n_pieces: int,
        by_spread: tuple[int, ...],
    ):
        self._by_spread = np.isin(np.arange(N_KINDS), by_spread)
        self.rows, self.decays = rows, np.ascontiguousarray(decays)
        self.evaluations = 0
        n_decays = len(decays)
        self._left = np.exp(-np.outer(rows.seconds, decays))
        self._exposure = np.zeros((n_buckets, n_decays, N_KINDS))
        self._time = np.zeros((n_buckets, n_pieces))
        expose(
            rows.seconds, rows.kind, rows.side, rows.bucket, rows.piece, rows.opens, self._left,
            self.decays, self._exposure, self._time,
        )  # fmt: skip
        is_event = rows.kind >= 0
        codes = rows.kind[is_event] * n_buckets + rows.bucket[is_event]
        self._counts = np.bincount(codes, minlength=N_KINDS * n_buckets).reshape(N_KINDS, n_buckets)
        self.n = int(is_event.sum())
        rates = self._counts.sum(axis=1) / (2 * rows.seconds.sum())
        self._rates = rates
        self.base = 0.4 * rates
        # Each kind with as many parents of every kind, in proportion to how often they occur.
        shape = (N_KINDS, 2, n_decays, N_KINDS)
        share = rates / rates.sum()
        self.branching = np.broadcast_to(0.6 / (2 * n_decays) * share, shape).copy()
        self.time_factors = np.ones(n_pieces)

    def run(self, most_evaluations: int) -> None:
        for _ in range(_EM_STEPS):
            self._em_step()
        found = minimize(
            self._value_and_gradient,
            self._packed(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(1e-12, None)] * len(self._packed()),
            options={
                "maxiter": most_evaluations,
                "maxfun": most_evaluations,
                "maxcor": 30,
                "ftol": 1e-11,
                "gtol": 1e-7,
            },
        )
        self._unpack(found.x)
        self._normalise()

    def spread_factors(self) -> np.ndarray:
        """[B, K]: events over what was expected of them where all factors are 1."""
        expected, counts = self._expected(), self._counts.astype(np.float64)
        expected[~self._by_spread] = expected[~self._by_spread].sum(axis=1, keepdims=True)
        counts[~self._by_spread] = counts[~self._by_spread].sum(axis=1, keepdims=True)
        return np.divide(counts, expected, out=np.zeros_like(expected), where=expected > 0).T

    def log_likelihood(self) -> float:
        return self._pass()[0]

    def _expected(self) -> np.ndarray:
        """[K, B]: the integrals of intensities without the spreads' factors."""
        excited = np.einsum("jomk,bmj->kb", self.branching, self._exposure)
        return np.outer(2 * self.base, self._time @ self.time_factors) + excited

    def _pass(self) -> tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The log-likelihood, the spreads' factors [K, B], and the sums over events of 1 over the
        intensity times its derivatives by base, branching and time factors."""
        self.evaluations += 1
        by_base = np.zeros(N_KINDS)
        by_branching = np.zeros((N_KINDS, 2, len(self.decays), N_KINDS, 2))
        by_time = np.zeros(len(self.time_factors))
        rows = self.rows
        logs = sum_events(
            rows.kind, rows.side, rows.piece, rows.opens, self._left, self.decays, self.base,
            by_target(self.branching), self.time_factors, by_base, by_branching, by_time,
        )  # fmt: skip
        factors = self.spread_factors().T
        seen = self._counts > 0
        logs += (self._counts[seen] * np.log(factors[seen])).sum() - self.n
        # [target, side, m, source, side] to [source, o, m, target].
        same = by_branching[:, 0, :, :, 0] + by_branching[:, 1, :, :, 1]
        other = by_branching[:, 0, :, :, 1] + by_branching[:, 1, :, :, 0]
        folded = np.stack((same, other)).transpose(3, 0, 2, 1)
        return float(logs), factors, by_base, folded, by_time

    def _penalties(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The derivatives of the expected events."""
        by_base = 2 * factors @ (self._time @ self.time_factors)
        by_branching = np.einsum("kb,bmj->jmk", factors, self._exposure)[:, None]
        by_time = 2 * (self.base @ factors) @ self._time
        return by_base, by_branching, by_time

    def _em_step(self) -> None:
        _, factors, by_base, by_branching, by_time = self._pass()
        of_base, of_branching, of_time = self._penalties(factors)
        self.base = self.base * by_base / np.maximum(of_base, 1e-300)
        self.branching = self.branching * by_branching / np.maximum(of_branching, 1e-300)
        self.time_factors = self.time_factors * by_time / np.maximum(of_time, 1e-300)

    def _packed(self) -> np.ndarray:
        parts = (self.base / self._rates, self.branching.ravel(), self.time_factors)
        return np.concatenate(parts)

    def _unpack(self, packed: np.ndarray) -> None:
        first, last = N_KINDS, N_KINDS + self.branching.size
        self.base = packed[:first] * self._rates
        self.branching = packed[first:last].reshape(self.branching.shape).copy()
        self.time_factors = packed[last:].copy()

    def _value_and_gradient(self, packed: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log-likelihood an event. The spreads' factors are optimal, so that only the
        direct derivatives count."""
        self._unpack(packed)
        value, factors, by_base, by_branching, by_time = self._pass()
        of_base, of_branching, of_time = self._penalties(factors)
        gradient = np.concatenate(
            (
                (by_base - of_base) * self._rates,
                (by_branching - of_branching).ravel(),
                by_time - of_time,
            )
        )
        return -value / self.n, -gradient / self.n

    def _normalise(self) -> None:
        """Scale time factors to a mean of 1 over time, and spreads' factors to one of 1 over the
        excitation."""
        seconds = self._time.sum(axis=0)
        mean = float(self.time_factors @ seconds / seconds.sum())
        self.time_factors = self.time_factors / mean
        self.base = self.base * mean
        factors = self.spread_factors().T
        excited = np.einsum("jomk,bmj->kb", self.branching, self._exposure)
        weights = np.where(excited.sum(axis=1, keepdims=True) > 0, excited, self._time.sum(axis=1))
        means = (factors * weights).sum(axis=1) / weights.sum(axis=1)
        self.base = self.base * means
        self.branching = self.branching * means
